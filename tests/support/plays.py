# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays that run roles of the collection on this machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROOT_CA = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"
# Variables of a host on this machine, whose modules use the Python of the tests. With this connection a task needs half
# of the processor time. End-to-end tests use local, which inventories/existing has.
THIS_HOST = {
    "ansible_connection": "servicemesh.pki.forkserver",
    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
}


def role_play(role: str, tasks_from: str, hosts: str = "production") -> str:
    """A playbook that runs an entry point of a role."""
    task = {"ansible.builtin.include_role": {"name": f"servicemesh.pki.{role}", "tasks_from": tasks_from}}
    return json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": [task]}])


def production(kubernetes: Any, server: Any) -> dict[str, Any]:
    """Variables of the host `production`, for the role vault_issuer with a real Vault and API server."""
    return {
        **THIS_HOST, "pki_kubernetes": {"kubeconfig": str(kubernetes.kubeconfig)}, "pki_vault": {"url": server.url},
        "pki_vault_server": server.url, "vault_issuer_kubernetes_host": "https://production:6443",
        "pki_vault_jwt_keys": "static",
    }  # fmt: skip


def publish_root_ca(kubernetes: Any, certificate: str = "") -> None:
    """Create the ConfigMap that the controller manager would create. Another test may have left one."""
    text = certificate or kubernetes.ca_file.read_text()
    data = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": text}}
    path = f"{ROOT_CA}?fieldManager=test&force=true"
    kubernetes.call("PATCH", path, {"apiVersion": "v1", "kind": "ConfigMap", **data}, "application/apply-patch+yaml")


def runner(server: Any, folder: Path, play: str, variables: dict[str, Any]) -> Callable[..., Any]:
    """A function that runs the play for the host `production`, and returns the process."""
    (folder / "play.yml").write_text(play)
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {"production": variables}}}))

    def run(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", "-i", folder / "hosts.json", folder / "play.yml", *arguments]
        environment = {**os.environ, "VAULT_TOKEN": server.token}
        return subprocess.run(
            [*command, "-e", json.dumps(more)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    return run
