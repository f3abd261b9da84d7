# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh that the tests of the flow look at: `site.yml` run in the lab, once for all of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from deprecations import deprecations

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(
    os.environ.get("SERVICEMESH_PKI_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "servicemesh-pki"
)
KUBECONFIG = Path("~/.config/k3d/kubeconfig-pki-cluster.yaml").expanduser()


class Run:
    """A playbook that was run."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.rc, self.output = done.returncode, done.stdout + done.stderr
        self.flat = re.sub(r"\s+", " ", self.output)  # messages are wrapped

    @property
    def changed(self) -> int:
        return sum(int(count) for count in re.findall(r"changed=(\d+)", self.output))


def ansible_playbook(env: dict[str, str], *arguments: str) -> Run:
    """From the checkout, as a user would, with nobody at the keyboard. A deprecation warning fails the test."""
    done = subprocess.run(
        ["ansible-playbook", *arguments],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    run = Run(done)
    assert deprecations(run.output) == []
    return run


class Mesh:
    """The lab's cluster and Vault, asked by the programs a user would ask."""

    def __init__(self) -> None:
        self.told = json.loads((CACHE / "lab" / "env.json").read_text())
        self.env = {**os.environ, **self.told["environment"], "KUBECONFIG": str(KUBECONFIG), "ANSIBLE_NOCOLOR": "1"}
        self.env["PATH"] = f"{self.told['path_prefix']}:{os.environ['PATH']}"

    def run(self, *command: str, given: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            command, env=self.env, input=given, capture_output=True, text=True, timeout=300, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def play(self, playbook: str, *arguments: str, variables: dict | None = None) -> Run:
        given = ["-i", "inventories/lab", *arguments]
        for name, value in (variables or {}).items():
            given += ["-e", json.dumps({name: value})]
        env = {name: value for name, value in self.env.items() if name not in self.told["environment"]}
        del env["KUBECONFIG"]  # the inventory says all that is needed
        return ansible_playbook(env, playbook, *given)

    def task(self, tmp_path: Path, task: str, *arguments: str) -> Run:
        """Runs one task against the lab's cluster."""
        head = "- hosts: clusters\n  gather_facts: false\n  environment: '{{ pki_environment }}'\n  tasks:\n"
        (tmp_path / "task.yml").write_text(head + "".join(f"    {line}\n" for line in task.strip().splitlines()))
        return self.play(str(tmp_path / "task.yml"), *arguments)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return self.run("kubectl", *arguments, given=given)

    def data(self, kind: str, name: str, key: str, namespace: str = "linkerd") -> str:
        return json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))["data"][key]

    def container(self, name: str = "vault") -> dict:
        return json.loads(self.run("docker", "inspect", name))[0]

    def root_token(self) -> str:
        values = dict(entry.split("=", 1) for entry in self.container()["Config"]["Env"])
        return values["VAULT_DEV_ROOT_TOKEN_ID"]


@pytest.fixture(scope="session")
def first_run() -> Run:
    """From an empty network to a mesh, at the highest verbosity that a user would choose."""
    subprocess.run([sys.executable, "-m", "lab", "fresh"], cwd=ROOT, check=True, capture_output=True)
    return Mesh().play("playbooks/site.yml", "-vvv")


@pytest.fixture(scope="session")
def mesh(first_run: Run) -> Mesh:
    assert first_run.rc == 0, first_run.output[-4000:]
    return Mesh()
