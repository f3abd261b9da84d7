# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rotate_trust_anchor.yml for one and three clusters with 30 meshed pods each, which restart instead of waiting."""

from __future__ import annotations

import itertools
import json
import os
import statistics
from typing import Any

from bench.sandbox import TimedSandbox, timed_sandbox
from bench.usage import BenchError, Usage

COUNTS = (1, 3)
NAMESPACES = ("orders", "payments")
WORKLOADS, REPLICAS = 5, 3  # Deployments in each namespace, and pods of each
VARIABLES = {"pki_root_issuer_name": "linkerd-root-2", "rotation_restart_again": True}
TIMEOUT = 3000  # seconds, for a rotation
BEFORE = "before the first phase"
# The beginning of the name of a task in playbooks/tasks/rotate/phase.yml, and a task in batch.yml.
PHASE_TASK, BATCH_TASK = "Run the tasks of the phase ", "Wait until the batch has restarted"
REVISION = "deployment.kubernetes.io/revision"


def measure() -> dict:
    """The results of one rotation for each number of clusters."""
    return {"cores": os.cpu_count(), **{str(count): measure_one(count) for count in COUNTS}}


def measure_one(count: int) -> dict:
    """Install the mesh in new clusters, start the workloads and rotate."""
    with timed_sandbox(count) as sandbox:
        sandbox.play("site", f"--forks={count + 1}", extra_variables(linkerd_values=small_pods(sandbox.parts)))
        start_workloads(sandbox)
        before = started_pods(deployments(sandbox))
        rotate = ("rotate_trust_anchor", f"--forks={count + 1}", extra_variables(**VARIABLES))
        run, times = sandbox.play(*rotate, timeout=TIMEOUT)
        restarted = started_pods(deployments(sandbox)) - before
    print(f"  {count}: {run.seconds:.0f} s, {restarted} pods restarted", flush=True)
    return {
        "seconds": round(run.seconds, 1),
        "cpu_seconds": round(run.cpu_seconds, 1),
        "phases": phases(run, times),
        "restarted_pods": restarted,
        **batches(times),
    }


def extra_variables(**variables: Any) -> str:
    return f"--extra-vars={json.dumps(variables)}"


def small_pods(parts: dict) -> dict:
    """The values of Linkerd's chart with which a pod requests less than a tenth of a core, so that all fit on two."""
    values = parts["linkerd_values"]
    return values | {"proxyInit": values["proxyInit"] | {"resources": {"cpu": {"request": "10m"}}}}


def start_workloads(sandbox: TimedSandbox) -> None:
    """Create the workloads in all clusters, and wait until all their pods are ready."""
    for cluster in sandbox.names.clusters:
        path = sandbox.home / f"workloads-{cluster}.json"
        path.write_text(json.dumps(workloads(cluster, sandbox.parts["test_app_image"])))
        sandbox.kubectl(cluster, "apply", f"--filename={path}")
    wait = ("wait", "deployments", "--all", "--for=condition=Available", "--timeout=600s")
    for cluster, namespace in itertools.product(sandbox.names.clusters, NAMESPACES):
        sandbox.kubectl(cluster, *wait, f"--namespace={namespace}")


def workloads(cluster: str, image: str) -> dict:
    """Namespaces with meshed Deployments. The names contain that of the cluster, as applications of clusters differ."""
    items: list[dict] = []
    for namespace in NAMESPACES:
        meta = {"name": namespace, "annotations": {"linkerd.io/inject": "enabled"}}
        items.append({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        items += [deployment(f"{cluster}-{number}", namespace, image) for number in range(1, WORKLOADS + 1)]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def deployment(name: str, namespace: str, image: str) -> dict:
    """A Deployment of the lab's application. Without a probe, a pod is ready as soon as its proxy is."""
    container = {"name": "app", "image": image, "imagePullPolicy": "IfNotPresent"}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": {"app": name}}, "template": template}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def deployments(sandbox: TimedSandbox) -> list[dict]:
    """The Deployments of all clusters."""
    command = ("get", "deployments", "--all-namespaces", "--output=json")
    found = (json.loads(sandbox.kubectl(cluster, *command)) for cluster in sandbox.names.clusters)
    return [item for one in found for item in one["items"]]


def started_pods(items: list[dict]) -> int:
    """The pods that Deployments have started: all their replicas in each revision."""
    return sum(int(item["metadata"]["annotations"][REVISION]) * item["spec"]["replicas"] for item in items)


def phases(run: Usage, times: list[dict]) -> dict[str, float]:
    """Seconds from the start of each phase to the next one, in order. Raises BenchError without the last phase."""
    starts = {BEFORE: run.started}
    for entry in times:
        if entry.get("task", "").startswith(PHASE_TASK):
            starts.setdefault(entry["task"].removeprefix(PHASE_TASK), entry["start"])
    if "done" not in starts:
        raise BenchError(f"The rotation did not reach its last phase:\n{run.output[-3000:]}")
    ends = [*starts.values(), run.started + run.seconds][1:]
    return {name: round(end - start, 1) for (name, start), end in zip(starts.items(), ends, strict=True)}


def batches(times: list[dict]) -> dict:
    """The number of batches that restarted in a cluster, and the median of the seconds until one had restarted."""
    waits = [entry for entry in times if entry.get("task") == BATCH_TASK and entry["state"] != "skipped"]
    hosts = {entry["host"] for entry in waits}
    seconds = statistics.median(entry["end"] - entry["start"] for entry in waits)
    return {"batches": round(len(waits) / len(hosts)), "batch_seconds": round(seconds, 1)}
