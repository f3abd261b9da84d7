# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the bench runs: the lab, under names and ports that meet nobody else's, and a folder that goes away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.usage import ROOT, BenchError, Done, run
from lab import commands

NETWORK, VAULT, VAULT_PORT = "bench-network", "bench-vault", 8280
HTTP_PORT, HTTPS_PORT = 8281, 8282


@dataclass
class Place:
    """An inventory of some clusters in a folder of its own, and how to run there."""

    home: Path
    clusters: list[str]
    told: dict

    @property
    def env(self) -> dict[str, str]:
        """For programs: the lab's tools, and a HOME of their own, so that they leave nothing in the user's."""
        given = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "VAULT_TOKEN")}
        path = f"{self.told['path_prefix']}:{os.environ['PATH']}"
        return {**given, **self.told["environment"], "HOME": str(self.home), "PATH": path}

    def script(self, watch: bool = False) -> Done:
        """Runs the workshop's commands."""
        values = self.home / "linkerd.json"
        values.write_text(json.dumps(self.told["linkerd_values"]))
        charts = self.told["charts"]
        names = {
            "CLUSTER": self.clusters[0], "NETWORK": NETWORK, "VAULT_NAME": VAULT, "VAULT_PORT": str(VAULT_PORT),
            "HTTP_PORT": str(HTTP_PORT), "HTTPS_PORT": str(HTTPS_PORT),
            "NODE_IMAGE": self.told["node_image"], "VAULT_IMAGE": self.told["vault_image"],
            "CERT_MANAGER_CHART": charts["cert_manager"], "TRUST_MANAGER_CHART": charts["trust_manager"],
            "LINKERD_CRDS_CHART": charts["linkerd_crds"], "LINKERD_CHART": charts["linkerd_control_plane"],
            "LINKERD_VALUES": str(values), "LINKERD_VERSION": self.told["linkerd_version"],
        }  # fmt: skip
        return run(["bash", "bench/workshop.sh"], self.env | names, watch)

    def play(self, name: str, *arguments: str, watch: bool = False) -> tuple[Done, list[dict]]:
        """Runs a playbook of the project; returns what it took and the times of its tasks."""
        times = self.home / "times.jsonl"
        times.unlink(missing_ok=True)
        extra = {
            "SERVICEMESH_PKI_CACHE": str(commands.env_file().parent.parent),
            "HOME": str(self.home),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "bench" / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "task_times",
            "BENCH_TASK_TIMES": str(times),
        }
        env = {name: value for name, value in os.environ.items() if name not in self.told["environment"]}
        command = ["ansible-playbook", f"playbooks/{name}.yml", "-i", str(self.home / "inventory"), *arguments]
        done = run(command, env | extra, watch)
        return done, [json.loads(line) for line in times.read_text().splitlines()]

    def remove(self) -> None:
        """Removes what a run made, and waits for nothing else."""
        for name in self.clusters:
            subprocess.run(["k3d", "cluster", "delete", name], env=self.env, capture_output=True)
        for command in (["rm", "--force", "--volumes", VAULT], ["network", "rm", NETWORK]):
            subprocess.run(["docker", *command], env=self.env, capture_output=True)
        for made in (self.home / ".kube", self.home / ".config"):
            shutil.rmtree(made, ignore_errors=True)

    def containers(self) -> dict[str, float]:
        """MiB that each container uses, without the page cache, as docker counts it."""
        names = [VAULT, *(f"k3d-{cluster}-{node}" for cluster in self.clusters for node in ("server-0", "serverlb"))]
        command = ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names]
        told = subprocess.run(command, env=self.env, capture_output=True, text=True)
        units = {"KiB": 2**-10, "MiB": 1, "GiB": 2**10}
        found = {}
        for line in told.stdout.splitlines():
            name, used = line.split()[:2]
            found[name] = float(used[:-3]) * units[used[-3:]]
        return found


def environment_file() -> dict:
    """What the lab tells those who use it."""
    if not commands.env_file().exists():
        raise BenchError("the lab is not up; run `python -m lab up` first")
    return json.loads(commands.env_file().read_text())


def inventory(folder: Path, clusters: list[str]) -> None:
    """The lab's inventory, with the bench's own names."""
    common = folder / "group_vars" / "all"
    common.mkdir(parents=True)
    for other in ("k3d/group_vars/all/workshop.yml", "lab/group_vars/all/lab.yml"):
        (common / Path(other).name).symlink_to(ROOT / "inventories" / other)
    own = {
        "k3d_cluster_network": NETWORK,
        "k3d_cluster_ports": [],
        "vault_dev_name": VAULT,
        "vault_dev_network": NETWORK,
        "vault_dev_port": VAULT_PORT,
        "pki_vault_address": f"http://127.0.0.1:{VAULT_PORT}",
    }
    (common / "workshop_bench.json").write_text(json.dumps(own))
    ports = [
        {"port": f"{port}:{inside}", "nodeFilters": ["loadbalancer"]}
        for port, inside in ((HTTP_PORT, 80), (HTTPS_PORT, 443))
    ]
    hosts = {name: {} for name in clusters}
    hosts[clusters[0]] = {"k3d_cluster_ports": ports}
    local = {
        "ansible_connection": "servicemesh.pki.forkserver",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    groups = {"vault": {"hosts": {VAULT: {}}}, "clusters": {"hosts": hosts}}
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": local, "children": groups}}))


@contextlib.contextmanager
def place(clusters: int = 1) -> Iterator[Place]:
    """A place to run in, empty at first, gone afterwards."""
    told = environment_file()
    names = ["bench"] if clusters == 1 else [f"bench-{number}" for number in range(1, clusters + 1)]
    with tempfile.TemporaryDirectory(prefix="servicemesh-pki-bench-") as home:
        inventory(Path(home) / "inventory", names)
        here = Place(Path(home), names, told)
        here.remove()  # of an interrupted bench
        try:
            yield here
        finally:
            here.remove()
