# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sandbox of the lab, with the programs that a user runs in it to check the result."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from lab.sandbox import Names, Sandbox
from support.ports import free_port

# Names of all containers, networks and volumes of the tests begin with this prefix, after the prefix of k3d.
PREFIX = "pki-e2e-"
# Timeouts for a busy machine. A passing test does not reach them.
COMMAND_SECONDS, UNTIL_SECONDS = 600, 300
CREATION_TIMEOUT = "--timeout=300s"
WORKLOADS = ("Pod", "Deployment", "ReplicaSet")
OF_ROLLOUT = "deployment.kubernetes.io/"  # prefix of annotations that the controller of Deployments writes


def until(attempt: Callable[[], Any], seconds: float = UNTIL_SECONDS) -> Any:
    """Call `attempt` until it returns a true value, and return it. AssertionError, KeyError and OSError are retried."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = attempt()
            assert value, f"still {value!r}"
            return value
        except (AssertionError, KeyError, OSError) as error:
            if time.monotonic() > end:
                raise AssertionError(f"timed out after {seconds} s: {error}") from error
            time.sleep(0.5)


def version_of(item: dict) -> tuple[str, ...]:
    """Identity and version of an object of the cluster.

    The status of a workload changes when the machine is too busy for a probe, so its generation counts. Labels and
    annotations do not change that, so they count, too.
    """
    meta = item["metadata"]
    if item["kind"] not in WORKLOADS:
        return meta.get("uid", ""), meta.get("resourceVersion", "")
    annotations = {
        name: text for name, text in (meta.get("annotations") or {}).items() if not name.startswith(OF_ROLLOUT)
    }
    compared = json.dumps([meta.get("labels"), annotations], sort_keys=True)
    return meta["uid"], str(meta.get("generation", "")), compared


class Lab(Sandbox):
    """A sandbox named after the class, with ports that are free on this machine."""

    name = "lab"
    suffixes = ("",)  # of the names of the clusters

    def __init__(self, home: Path) -> None:
        own = f"{PREFIX}{self.name}"
        clusters = tuple(f"{own}{suffix}" for suffix in self.suffixes)
        ports = (free_port(), free_port(), free_port())
        super().__init__(home, Names(clusters, f"{own}-network", f"{own}-vault", *ports))

    @classmethod
    @contextmanager
    def sandbox(cls) -> Iterator[Self]:
        """An empty sandbox, also after an interrupted run. Everything in it is removed at the end."""
        with tempfile.TemporaryDirectory(prefix="servicemesh-pki-e2e-") as home:
            sandbox = cls(Path(home))
            sandbox.remove()
            try:
                yield sandbox
            finally:
                sandbox.remove()

    @property
    def cluster(self) -> str:
        return self.names.clusters[0]

    @property
    def server(self) -> str:
        """Name of the container of the cluster's node."""
        return f"k3d-{self.cluster}-server-0"

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "KUBECONFIG": str(self.kubeconfig)}

    def execute(self, *command: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program and return it with any exit status. `given` is its standard input."""
        return subprocess.run(
            command, env=self.env, input=given, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )

    def run(self, *command: str, given: str | None = None, check: bool = True) -> str:
        """Run a program and return its standard output. Unless `check` is false, a failure fails the test."""
        done = self.execute(*command, given=given)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return self.run("kubectl", *arguments, given=given)

    def get(self, *arguments: str) -> dict:
        """An object or a list of objects of the cluster."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def data(self, kind: str, name: str, key: str, namespace: str = "linkerd") -> str:
        """A value of a ConfigMap or Secret; values of a Secret are in base64."""
        return self.get(kind, name, f"--namespace={namespace}")["data"][key]

    def container(self, name: str = "") -> dict:
        """The output of `docker inspect` for a container, by default that of Vault."""
        return json.loads(self.run("docker", "inspect", name or self.names.vault))[0]


def http(url: str, method: str = "GET", data: dict | None = None, token: str = "", **options: Any) -> tuple[int, str]:
    """Status and body of the response of Vault or of a test application."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"X-Vault-Token": token} if token else {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60, **options) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
