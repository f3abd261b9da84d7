# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh that site.yml makes with the inventory of the lab, under names and ports of the tests."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from deprecations import deprecations

from lab.sandbox import ROOT
from support.lab import Lab, http, until

KINDS = (
    "namespaces,serviceaccounts,configmaps,secrets,deployments,services,"
    "issuers.cert-manager.io,clusterissuers.cert-manager.io,certificates.cert-manager.io,bundles.trust.cert-manager.io"
)
# Whatever a program tries to reach without the sandbox's kubeconfig ends here.
USERS_KUBECONFIG = """apiVersion: v1
kind: Config
current-context: of-the-user
clusters: [{name: of-the-user, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: of-the-user, context: {cluster: of-the-user, user: of-the-user}}]
users: [{name: of-the-user, user: {}}]
"""


class Run:
    """A playbook that was run."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.rc, self.output = done.returncode, done.stdout + done.stderr
        self.flat = re.sub(r"\s+", " ", self.output)  # messages are wrapped

    @property
    def changed(self) -> int:
        return sum(int(count) for count in re.findall(r"changed=(\d+)", self.output))


class Mesh(Lab):
    """The lab's cluster and Vault, inspected with the programs a user would run, changed with the playbooks."""

    name = "mesh"
    options: tuple[str, ...] = ()

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.runs: list[Run] = []
        self.creation: Run | None = None
        self.whole: dict = {}
        (home / ".kube").mkdir()
        (home / ".kube" / "config").write_text(USERS_KUBECONFIG)
        self.write_inventory()

    @property
    def vault_url(self) -> str:
        return f"http://127.0.0.1:{self.names.vault_port}"

    def extra_variables(self) -> dict:
        """Variables of every run, on top of the inventory."""
        return {}

    def play(self, playbook: str, *arguments: str, variables: dict | None = None) -> Run:
        """Run a playbook from the checkout, with nobody at the keyboard. A deprecation warning fails the test."""
        extra = self.home / "variables.json"
        extra.write_text(json.dumps({**self.extra_variables(), **(variables or {})}))
        done = subprocess.run(
            ["ansible-playbook", playbook, "-i", str(self.inventory), "-e", f"@{extra}", *self.options, *arguments],
            cwd=ROOT, env={**self.playbook_env, "ANSIBLE_NOCOLOR": "1"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=1800, check=False,
        )  # fmt: skip
        self.runs.append(Run(done))
        assert deprecations(self.runs[-1].output) == []
        return self.runs[-1]

    def task(self, folder: Path, task: str, *arguments: str) -> Run:
        """Run one task against the cluster."""
        head = "- hosts: clusters\n  gather_facts: false\n  environment: '{{ pki_environment }}'\n  tasks:\n"
        (folder / "task.yml").write_text(head + "".join(f"    {line}\n" for line in task.strip().splitlines()))
        return self.play(str(folder / "task.yml"), *arguments)

    def root_token(self) -> str:
        values = dict(entry.split("=", 1) for entry in self.container()["Config"]["Env"])
        return values["VAULT_DEV_ROOT_TOKEN_ID"]

    def vault(self, method: str, path: str, data: dict | None = None, token: str = "") -> tuple[int, dict]:
        """Status and answer of Vault."""
        status, body = http(f"{self.vault_url}/v1/{path}", method, data, token)
        return status, json.loads(body or "{}")

    def ensure(self) -> None:
        """Make the mesh from nothing, at the highest verbosity that a user would choose, unless it is whole."""
        if self.creation and not self.differences():
            return
        self.remove()
        self.creation = self.play("playbooks/site.yml", "-vvv")
        assert self.creation.rc == 0, self.creation.output[-4000:]
        self.whole = self.state()

    def ensure_restored(self) -> None:
        """Fail unless the mesh is, or becomes, what `ensure` made."""

        def restored() -> bool:
            found = self.differences()
            assert not found, f"a test left the mesh changed: {found}"
            return True

        until(restored, 120)

    def differences(self) -> list[str]:
        """Names of what is not as it was right after site.yml. An engine or API server that does not answer is one."""
        try:
            now = self.state()
        except (AssertionError, KeyError, OSError) as error:  # a Vault that was restarted has no mount to list
            return [repr(error)]
        return sorted(name for name in {*self.whole, *now} if self.whole.get(name) != now.get(name))

    def state(self) -> dict:
        """Objects of the mesh by name, with what tests could change in them and programs do not change on their own."""
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
