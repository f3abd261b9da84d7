# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab with other names and ports and its own home folder, for tests and bench, beside the mesh of `make demo`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import commands
from lab.places import SOURCES, LabError, cache_root

ROOT = SOURCES.parent
INVENTORY_FILES = ("k3d/group_vars/all/workshop.yml", "lab/group_vars/all/lab.yml")


@dataclass(frozen=True)
class Names:
    """Names of the Docker network, the Vault container and the clusters, and their published ports."""

    clusters: tuple[str, ...]
    network: str
    vault: str
    vault_port: int
    http_port: int
    https_port: int


def environment_file() -> dict:
    """The content of env.json, which `python -m lab up` writes. Raises LabError if the lab is not up."""
    if not commands.env_file().exists():
        raise LabError("The lab is not up. Run `python -m lab up` first.")
    return json.loads(commands.env_file().read_text())


class Sandbox:
    """An inventory with clusters in its own home folder, and the environment variables of programs."""

    def __init__(self, home: Path, names: Names) -> None:
        self.home, self.names, self.parts = home, names, environment_file()

    @property
    def inventory(self) -> Path:
        """The folder of the inventory that `write_inventory` writes."""
        return self.home / "inventory"

    @property
    def kubeconfig(self) -> Path:
        """The path of the kubeconfig of the first cluster in the inventory of the lab."""
        return self.kubeconfig_of(self.names.clusters[0])

    def kubeconfig_of(self, cluster: str) -> Path:
        """The path of the kubeconfig that k3d writes for a cluster."""
        return self.home / ".config" / "k3d" / f"kubeconfig-{cluster}.yaml"

    @property
    def env(self) -> dict[str, str]:
        """Environment variables of programs, with the tools of the lab in PATH and the sandbox as HOME."""
        path = f"{self.parts['path_prefix']}:{os.environ['PATH']}"
        return {**self.playbook_env, **self.parts["environment"], "PATH": path}

    @property
    def playbook_env(self) -> dict[str, str]:
        """Environment variables of ansible-playbook, without those that the inventory sets."""
        removed = ("KUBECONFIG", "VAULT_TOKEN", *self.parts["environment"])
        inherited = {name: value for name, value in os.environ.items() if name not in removed}
        return {**inherited, "SERVICEMESH_PKI_CACHE": str(cache_root()), "HOME": str(self.home)}

    def variables(self) -> dict:
        """The variables of the inventory that differ from inventories/lab."""
        return {
            "k3d_cluster_network": self.names.network,
            "k3d_cluster_ports": [],
            "vault_dev_name": self.names.vault,
            "vault_dev_network": self.names.network,
            "vault_dev_port": self.names.vault_port,
        }

    def write_inventory(self) -> None:
        """Write the inventory. The first cluster publishes the HTTP and HTTPS ports."""
        common = self.inventory / "group_vars" / "all"
        common.mkdir(parents=True)
        for other in INVENTORY_FILES:
            (common / Path(other).name).symlink_to(ROOT / "inventories" / other)
        (common / "workshop_own.json").write_text(json.dumps(self.variables()))  # loaded after workshop.yml
        ports = [
            {"port": f"{port}:{target}", "nodeFilters": ["loadbalancer"]}
            for port, target in ((self.names.http_port, 80), (self.names.https_port, 443))
        ]
        hosts: dict[str, dict] = {name: {} for name in self.names.clusters}
        hosts[self.names.clusters[0]] = {"k3d_cluster_ports": ports}
        local = {
            "ansible_connection": "servicemesh.pki.forkserver",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        }
        groups = {"vault": {"hosts": {self.names.vault: {}}}, "clusters": {"hosts": hosts}}
        (self.inventory / "hosts.json").write_text(json.dumps({"all": {"vars": local, "children": groups}}))

    def remove(self) -> None:
        """Remove the clusters, Vault, network and kubeconfigs with these names."""
        for name in self.names.clusters:
            subprocess.run(["k3d", "cluster", "delete", name], env=self.env, capture_output=True)
        for command in (["rm", "--force", "--volumes", self.names.vault], ["network", "rm", self.names.network]):
            subprocess.run(["docker", *command], env=self.env, capture_output=True)
        shutil.rmtree(self.home / ".config", ignore_errors=True)
