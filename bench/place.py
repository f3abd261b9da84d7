# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the bench runs: the lab, under names and ports that meet nobody else's, and a folder that goes away."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.usage import ROOT, Done, run
from lab.sandbox import Names, Sandbox


class Place(Sandbox):
    """A sandbox of the lab whose runs are timed."""

    def script(self, watch: bool = False) -> Done:
        """Runs the workshop's commands."""
        values = self.home / "linkerd.json"
        values.write_text(json.dumps(self.parts["linkerd_values"]))
        charts = self.parts["charts"]
        names = {
            "CLUSTER": self.names.clusters[0], "NETWORK": self.names.network,
            "VAULT_NAME": self.names.vault, "VAULT_PORT": str(self.names.vault_port),
            "HTTP_PORT": str(self.names.http_port), "HTTPS_PORT": str(self.names.https_port),
            "NODE_IMAGE": self.parts["node_image"], "VAULT_IMAGE": self.parts["vault_image"],
            "CERT_MANAGER_CHART": charts["cert_manager"], "TRUST_MANAGER_CHART": charts["trust_manager"],
            "LINKERD_CRDS_CHART": charts["linkerd_crds"], "LINKERD_CHART": charts["linkerd_control_plane"],
            "LINKERD_VALUES": str(values), "LINKERD_VERSION": self.parts["linkerd_version"],
        }  # fmt: skip
        return run(["bash", "bench/workshop.sh"], self.env | names, watch)

    def play(self, name: str, *arguments: str, watch: bool = False) -> tuple[Done, list[dict]]:
        """Runs a playbook of the project; returns what it took and the times of its tasks."""
        times = self.home / "times.jsonl"
        times.unlink(missing_ok=True)
        extra = {
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "bench" / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "task_times",
            "BENCH_TASK_TIMES": str(times),
        }
        command = ["ansible-playbook", f"playbooks/{name}.yml", "-i", str(self.inventory), *arguments]
        done = run(command, self.playbook_env | extra, watch)
        return done, [json.loads(line) for line in times.read_text().splitlines()]

    def remove(self) -> None:
        """Remove what a run made, and the kubeconfig that the script lets k3d write."""
        super().remove()
        shutil.rmtree(self.home / ".kube", ignore_errors=True)

    def containers(self) -> dict[str, float]:
        """MiB that each container uses, without the page cache, as docker counts it."""
        nodes = ("server-0", "serverlb")
        names = [self.names.vault, *(f"k3d-{cluster}-{node}" for cluster in self.names.clusters for node in nodes)]
        command = ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names]
        told = subprocess.run(command, env=self.env, capture_output=True, text=True)
        units = {"KiB": 2**-10, "MiB": 1, "GiB": 2**10}
        found = {}
        for line in told.stdout.splitlines():
            name, used = line.split()[:2]
            found[name] = float(used[:-3]) * units[used[-3:]]
        return found


@contextlib.contextmanager
def place(clusters: int = 1) -> Iterator[Place]:
    """A place to run in, empty at first, gone afterwards."""
    names = ("bench",) if clusters == 1 else tuple(f"bench-{number}" for number in range(1, clusters + 1))
    with tempfile.TemporaryDirectory(prefix="servicemesh-pki-bench-") as home:
        here = Place(Path(home), Names(names, "bench-network", "bench-vault", 8280, 8281, 8282))
        here.write_inventory()
        here.remove()  # of an interrupted bench
        try:
            yield here
        finally:
            here.remove()
