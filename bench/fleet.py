# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load of many clusters on the controller: site.yml with a real OpenBao and stand-ins for the clusters.

Ansible, the modules and OpenBao (behind the proxy of counter.py) are real. The API servers (stand_in_api.py) and the
programs helm and linkerd (stand_ins/) are stand-ins, which wait as long as the measurement of the workshop found for
the real ones (programs.py), but use no processor time.
The results show the work of the controller, not the time that a cluster takes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from bench.counter import CountingProxy
from bench.programs import PROGRAMS
from bench.stand_in_api import Clusters
from bench.usage import ROOT, BenchError, run
from lab.sandbox import environment_file

SITE, ONE_TASK = "playbooks/site.yml", "bench/one_task.yml"
# Playbook, clusters, forks. site.yml for 1000 clusters takes hours on two cores, so one task shows how the load grows.
CASES = (
    (SITE, 1, 5),
    (SITE, 10, 5),
    (ONE_TASK, 10, 5),
    (ONE_TASK, 100, 5),
    (ONE_TASK, 1000, 5),
    (ONE_TASK, 100, 2),
    (ONE_TASK, 100, 20),
    (SITE, 10, 2),
    (SITE, 10, 10),
)


def write_kubeconfig(path: Path, name: str, server: str) -> None:
    """Write a kubeconfig whose cluster, user and context have one name."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.write_text(json.dumps(config))


def write_inventory(folder: Path, count: int, api: str, vault: str) -> None:
    """Write an inventory and kubeconfigs for clusters at the stand-in `api`, and a Vault at the address `vault`."""
    hosts = {}
    for number in range(count):
        name = f"cluster-{number}"
        # One file for each cluster. Each host reads its whole file, so one file for all would cost quadratic time.
        write_kubeconfig(folder / f"{name}.kubeconfig", name, f"{api}/clusters/{number}")
        hosts[name] = {"pki_kubernetes": {"kubeconfig": str(folder / f"{name}.kubeconfig"), "context": name}}
    environment = environment_file()
    common = {
        "ansible_connection": "servicemesh.pki.forkserver",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "pki_vault_address": vault,
        "pki_vault": {"url": vault, "auth_method": "token"},
        "pki_vault_server": vault,
        "linkerd_chart_repository": "",
        "linkerd_gateway_api_crds": environment["gateway_api_crds"],
        "linkerd_check_expected_version": environment["linkerd_version"],
    }
    groups = {"vault": {"hosts": {"stand-in-vault": {}}}, "clusters": {"hosts": hosts}}
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": common, "children": groups}}))


def stand_in_env(programs: dict[str, float]) -> dict[str, str]:
    """The environment variables with the seconds that the stand-ins of programs sleep."""
    return {f"STAND_IN_{name.upper()}": str(programs[name]) for name in PROGRAMS}


def measure_one(playbook: str, count: int, forks: int, programs: dict[str, float]) -> dict:
    """Run a playbook for a number of clusters. Raises BenchError if clusters received different numbers of requests."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "integration" / "vault")]
    import conftest  # noqa: F401 makes the checkout importable as a collection
    import server as vault_server

    vault = vault_server.start()
    try:
        temporary = tempfile.TemporaryDirectory(prefix="servicemesh-pki-bench-")
        api = Clusters(programs["api_response"])
        with CountingProxy(vault.url) as proxy, api as clusters, temporary as name:
            folder = Path(name)
            write_inventory(folder, count, clusters.url, proxy.url)
            env = {
                **os.environ,
                "HOME": name,
                "TMPDIR": name,
                "PATH": f"{ROOT / 'bench' / 'stand_ins'}:{os.environ['PATH']}",
                "STAND_IN_STATE": str(folder / "helm"),
                "STAND_IN_LINKERD_VERSION": environment_file()["linkerd_version"],
                **stand_in_env(programs),
                "VAULT_TOKEN": vault.token,
            }
            command = ["ansible-playbook", playbook, "-i", str(folder / "hosts.json"), f"--forks={forks}"]
            done = run(command, env, watch=True, timeout=3000)
    finally:
        vault.stop()
    per_cluster = set(clusters.requests_by_cluster.values())
    if len(per_cluster) > 3:
        raise BenchError(f"The numbers of requests differ too much between clusters: {sorted(per_cluster)}")
    return {
        "playbook": Path(playbook).name,
        "clusters": count,
        "forks": forks,
        "seconds": round(done.seconds, 1),
        "cpu_seconds": round(done.cpu_seconds, 1),
        "memory_mib": round(done.memory_mib),
        "processes": done.processes,
        "requests": sum(clusters.requests.values()),
        "vault_requests": sum(proxy.requests.values()),
    }


def measure(programs: dict[str, float]) -> dict:
    """Measure all CASES with stand-ins that take the seconds of `programs`, which the part workshop measured."""
    results = []
    for playbook, count, forks in CASES:
        results.append(measure_one(playbook, count, forks, programs))
        print(f"  {results[-1]}", flush=True)
    return {"programs": programs, "runs": results}
