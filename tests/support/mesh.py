# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh that site.yml creates with the inventory of the lab, with names and ports of the tests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deprecations import deprecations

from lab.sandbox import ROOT
from support.lab import Lab, http, until

KINDS = (
    "namespaces,serviceaccounts,configmaps,secrets,deployments,services,"
    "issuers.cert-manager.io,clusterissuers.cert-manager.io,certificates.cert-manager.io,bundles.trust.cert-manager.io"
)
# A program that does not use the kubeconfig of the sandbox connects to this closed port.
USERS_KUBECONFIG = """apiVersion: v1
kind: Config
current-context: of-the-user
clusters: [{name: of-the-user, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: of-the-user, context: {cluster: of-the-user, user: of-the-user}}]
users: [{name: of-the-user, user: {}}]
"""


class Run:
    """Exit status and output of a playbook."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.rc, self.output = done.returncode, done.stdout + done.stderr
        self.flat = re.sub(r"\s+", " ", self.output)  # messages are wrapped

    @property
    def changed(self) -> int:
        return sum(int(count) for count in re.findall(r"changed=(\d+)", self.output))


class Mesh(Lab):
    """The cluster and Vault of the lab, with functions to run playbooks and to compare the state of the mesh."""

    name = "mesh"
    options: tuple[str, ...] = ()

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.runs: list[Run] = []
        self.creation: Run | None = None
        self.initial_state: dict = {}
        (home / ".kube").mkdir()
        (home / ".kube" / "config").write_text(USERS_KUBECONFIG)
        self.write_inventory()

    @property
    def vault_url(self) -> str:
        return f"http://127.0.0.1:{self.names.vault_port}"

    def extra_variables(self) -> dict:
        """Extra variables of every run."""
        return {}

    def play(self, playbook: str, *arguments: str, variables: dict | None = None) -> Run:
        """Run a playbook of the checkout without a terminal. A deprecation warning fails the test."""
        done = subprocess.run(
            self.command(playbook, *arguments, variables=variables), cwd=ROOT, env=self.command_env,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800, check=False,
        )  # fmt: skip
        self.runs.append(Run(done))
        assert deprecations(self.runs[-1].output) == []
        return self.runs[-1]

    def kill(self, playbook: str, at: int | str, variables: dict | None = None, after: Sequence[str] = ()) -> str:
        """End a run with SIGKILL when its task of this number or name begins. Return the name of the task.

        Tasks are counted behind the first one whose name contains a text of `after`. A run without such a task runs to
        its end, and then the name is empty.
        """
        run = subprocess.Popen(
            self.command(playbook, variables=variables), cwd=ROOT, env=self.command_env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        assert run.stdout
        lines, number, name, counts = [], 0, "", not after
        with run, run.stdout as output:
            for line in output:
                lines.append(line)
                if not line.startswith("TASK ["):
                    continue
                number += counts
                if counts and (at in line if isinstance(at, str) else number == at):
                    os.killpg(run.pid, signal.SIGKILL)
                    name = line
                    break
                counts = counts or any(one in line for one in after)
        self.runs.append(Run(subprocess.CompletedProcess(run.args, run.returncode, "".join(lines), "")))
        return name.strip(" *\n")

    def command(self, playbook: str, *arguments: str, variables: dict | None = None) -> list[str]:
        """The command that runs a playbook with the inventory of the sandbox."""
        extra = self.home / "variables.json"
        extra.write_text(json.dumps({**self.extra_variables(), **(variables or {})}))
        return [
            *("ansible-playbook", playbook, "-i", str(self.inventory)),
            *("-e", f"@{extra}", *self.options, *arguments),
        ]

    @property
    def command_env(self) -> dict[str, str]:
        return {**self.playbook_env, "ANSIBLE_NOCOLOR": "1"}

    def task(self, folder: Path, task: str, *arguments: str) -> Run:
        """Run a playbook with a task, or several, on the host of the cluster."""
        head = "- hosts: clusters\n  gather_facts: false\n  environment: '{{ pki_environment }}'\n  tasks:\n"
        (folder / "task.yml").write_text(head + "".join(f"    {line}\n" for line in task.strip().splitlines()))
        return self.play(str(folder / "task.yml"), *arguments)

    def root_token(self) -> str:
        """The root token of Vault, from the environment of its container."""
        values = dict(entry.split("=", 1) for entry in self.container()["Config"]["Env"])
        return values["VAULT_DEV_ROOT_TOKEN_ID"]

    def vault(self, method: str, path: str, data: dict | None = None, token: str = "") -> tuple[int, dict]:
        """Status and response of Vault."""
        status, body = http(f"{self.vault_url}/v1/{path}", method, data, token)
        return status, json.loads(body or "{}")

    def ensure(self) -> None:
        """Create the mesh with -vvv, unless it exists and is unchanged."""
        if self.creation and not self.differences():
            return
        self.remove()
        self.creation = self.play("playbooks/site.yml", "-vvv")
        assert self.creation.rc == 0, self.creation.output[-4000:]
        self.initial_state = self.state()

    def ensure_restored(self) -> None:
        """Fail if the mesh does not return to the state that `ensure` created."""

        def restored() -> bool:
            found = self.differences()
            assert not found, f"a test left the mesh changed: {found}"
            return True

        until(restored, 120)

    def differences(self) -> list[str]:
        """Names of the objects that changed since site.yml, or the error of a server that does not respond."""
        try:
            now = self.state()
        except (AssertionError, KeyError, OSError) as error:  # such as the missing mount of a restarted Vault
            return [repr(error)]
        return sorted(name for name in {*self.initial_state, *now} if self.initial_state.get(name) != now.get(name))

    def state(self) -> dict:
        """Objects of the mesh by name, with the fields that only tests change."""
        found: dict = {}
        for item in self.get(KINDS, "--all-namespaces")["items"]:
            meta = item["metadata"]
            if item.get("type") != "helm.sh/release.v1":
                name = f"{item['kind']} {meta.get('namespace', '')}/{meta['name']}"
                found[name] = (meta["uid"], item.get("spec"), sorted(item.get("data") or ()))
        for release in json.loads(self.run("helm", "list", "--all", "--all-namespaces", "--output=json")):
            found[f"release {release['namespace']}/{release['name']}"] = release["status"]
        for name in (self.names.vault, self.server):
            container = self.container(name)
            found[f"container {name}"] = (container["Id"], container["State"]["StartedAt"])
        token = self.root_token()
        for path in ("sys/mounts", "sys/auth", "sys/policies/acl?list=true", "pki/issuers?list=true"):
            answer = self.vault("GET", path, token=token)[1]
            found[f"Vault's {path}"] = sorted(answer["data"].get("keys") or answer["data"])
        return found
