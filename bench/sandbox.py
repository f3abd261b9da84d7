# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox of the bench: the lab with its own names and ports, and a temporary home folder."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.chart_values import chart_values
from bench.programs import program_seconds, response_seconds, write_recorders
from bench.usage import ROOT, Usage, run
from lab.sandbox import Names, Sandbox

FORKSERVER = "servicemesh.pki.forkserver"


class TimedSandbox(Sandbox):
    """A sandbox of the lab whose runs are timed."""

    def run_script(self, site_values: bool = False, watch: bool = False) -> Usage:
        """Run the commands of the workshop, with the workshop's options of the charts or the values of site.yml."""
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
        if site_values:
            names["CHART_VALUES"] = str(self.write_chart_values())
        return run(["bash", "bench/workshop.sh"], self.env | names, watch)

    def write_chart_values(self) -> Path:
        """Write the values that site.yml uses to a file for each release. Returns their folder."""
        folder = self.home / "values"
        folder.mkdir(exist_ok=True)
        for release, values in chart_values(self.parts["linkerd_values"]).items():
            (folder / f"{release}.json").write_text(json.dumps(values))
        return folder

    def play(
        self, name: str, *arguments: str, connection: str = FORKSERVER, watch: bool = False, timeout: float = 900
    ) -> tuple[Usage, list[dict]]:
        """Run a playbook of the collection on a connection. Returns its usage and the times of its tasks."""
        times = self.home / "times.jsonl"
        times.unlink(missing_ok=True)
        command = ["ansible-playbook", f"playbooks/{name}.yml", "-i", str(self.inventory)]
        command += [f"--extra-vars=ansible_connection={connection}", *arguments]
        usage = run(command, self.playbook_env | callback_variables(times), watch, timeout)
        return usage, read_times(times)

    def kubectl(self, cluster: str, *arguments: str) -> str:
        """The output of kubectl for a cluster."""
        return run(["kubectl", f"--kubeconfig={self.kubeconfig_of(cluster)}", *arguments], self.env).output

    def measure_programs(self) -> dict[str, float]:
        """Run site.yml from nothing, and return the seconds that helm, linkerd check and the API server take."""
        self.remove()
        times = self.home / "program-times"
        environment = {
            **self.parts["environment"],
            "PATH": f"{write_recorders(self.home / 'recorders')}:{self.env['PATH']}",
            "BENCH_PROGRAMS": self.parts["path_prefix"],
            "BENCH_PROGRAM_TIMES": str(times),
        }
        self.play("site", "--extra-vars", json.dumps({"pki_environment": environment}))
        recorded = times.read_text() if times.exists() else ""
        context = f"k3d-{self.names.clusters[0]}"
        return program_seconds(recorded) | {"api_response": response_seconds(self.kubeconfig, context)}

    def remove(self) -> None:
        """Remove the objects of a run, and the kubeconfig that k3d writes in the script."""
        super().remove()
        shutil.rmtree(self.home / ".kube", ignore_errors=True)

    def container_memory(self) -> dict[str, float]:
        """Memory of each container in MiB without the page cache, from `docker stats`."""
        nodes = ("server-0", "serverlb")
        names = [self.names.vault, *(f"k3d-{cluster}-{node}" for cluster in self.names.clusters for node in nodes)]
        command = ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        units = {"KiB": 2**-10, "MiB": 1, "GiB": 2**10}
        memory = {}
        for line in done.stdout.splitlines():
            name, used = line.split()[:2]
            memory[name] = float(used[:-3]) * units[used[-3:]]
        return memory


def callback_variables(times: Path) -> dict[str, str]:
    """Environment variables with which Ansible writes the times of tasks to a file."""
    return {
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "bench" / "callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "task_times",
        "BENCH_TASK_TIMES": str(times),
    }


def read_times(times: Path) -> list[dict]:
    """The times of tasks in such a file."""
    return [json.loads(line) for line in times.read_text().splitlines()]


@contextlib.contextmanager
def timed_sandbox(clusters: int = 1) -> Iterator[TimedSandbox]:
    """An empty sandbox, which is removed at the end of the block."""
    names = ("bench",) if clusters == 1 else tuple(f"bench-{number}" for number in range(1, clusters + 1))
    with tempfile.TemporaryDirectory(prefix="servicemesh-pki-bench-") as home:
        sandbox = TimedSandbox(Path(home), Names(names, "bench-network", "bench-vault", 8280, 8281, 8282))
        sandbox.write_inventory()
        sandbox.remove()  # objects of an interrupted run
        try:
            yield sandbox
        finally:
            sandbox.remove()
