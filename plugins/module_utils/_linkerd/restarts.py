# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads of pods, and the order in which they are restarted. Pure. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import pods as kubernetes_pods

Object = dict[str, Any]
# The label of pods that names the template of their workload (Kubernetes API: DefaultDeploymentUniqueLabelKey,
# ControllerRevisionHashLabelKey).
REVISION_LABELS = {
    "DaemonSet": "controller-revision-hash",
    "Deployment": "pod-template-hash",
    "StatefulSet": "controller-revision-hash",
}
RESTARTABLE = tuple(REVISION_LABELS)


class Owner(NamedTuple):
    """What controls an object. All parts are empty without a controller."""

    group: str
    kind: str
    name: str


def controller(item: Object) -> Owner:
    """The object that controls another."""
    references = item["metadata"].get("ownerReferences") or []
    found = next((one for one in references if one.get("controller")), None)
    return Owner(found["apiVersion"].rpartition("/")[0], found["kind"], found["name"]) if found else Owner("", "", "")


def workload_of(pod: Object, replica_sets: Iterable[Object]) -> Owner:
    """The workload that a pod belongs to: of a ReplicaSet its Deployment, if it has one."""
    owner = controller(pod)
    if (owner.group, owner.kind) != ("apps", "ReplicaSet"):
        return owner
    for one in replica_sets:
        if one["metadata"]["name"] == owner.name and (above := controller(one)).kind:
            return above
    return owner


def why_not_owner(owner: Owner) -> str:
    """Why pods of an owner cannot be restarted by a rollout; empty if they can."""
    if not owner.kind:
        return "no controller would create it again. Delete it and create it again"
    if owner.kind not in RESTARTABLE:
        return f"it belongs to a {owner.kind}, which has no rollout. Restart it with the tools of that controller"
    if owner.group != "apps":
        return f"it belongs to a {owner.kind} of {owner.group or 'v1'}. Restart it with the tools of that controller"
    return ""


def why_no_rollout(workload: Object) -> str:
    """Why a controller does not restart all pods of its workload; empty if it does."""
    kind, spec = workload["kind"], workload["spec"]
    if spec.get("paused"):
        return "the Deployment is paused. Resume it: kubectl rollout resume"
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return f"the {kind} has the update strategy OnDelete. Delete its pods one by one"
    if partition := (strategy.get("rollingUpdate") or {}).get("partition"):
        return f"a rollout restarts only its pods from number {partition} on. Set the partition of the {kind} to 0"
    return ""


def why_not_now(workload: Object, budgets: Iterable[Object]) -> str:
    """Why a workload must not be restarted now; empty if it can be."""
    labels = ((workload["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    for budget in budgets:
        if selects(budget["spec"].get("selector"), labels) and not (budget.get("status") or {}).get(
            "disruptionsAllowed"
        ):
            return f"the PodDisruptionBudget {budget['metadata']['name']} permits no disruption now. Wait until it does"
    return ""


def is_replacing(workload: Object, pods: Iterable[Object], history: Iterable[Object]) -> bool:
    """Whether a rollout that has begun will replace all of these pods, because they have an earlier template.

    `history` are the ReplicaSets or ControllerRevisions of the namespace.
    """
    current, label = current_revision(workload, history), REVISION_LABELS[workload["kind"]]
    return bool(current) and all((pod["metadata"].get("labels") or {}).get(label) != current for pod in pods)


def current_revision(workload: Object, history: Iterable[Object]) -> str:
    """The value of the revision label in pods with the current template; empty if it is unknown."""
    kind = workload["kind"]
    if kind == "StatefulSet":
        return str((workload.get("status") or {}).get("updateRevision") or "")
    own = kubernetes_pods.owned(history, workload)
    if kind == "Deployment":
        found = kubernetes_pods.newest(own)
    else:
        found = max(own, key=lambda one: int(one.get("revision") or 0), default=None)
    return str(((found or {}).get("metadata", {}).get("labels") or {}).get(REVISION_LABELS[kind], ""))


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a label selector selects labels (Kubernetes API, LabelSelector). None selects nothing."""
    if selector is None:
        return False
    match_labels = (selector.get("matchLabels") or {}).items()
    return all(labels.get(name) == value for name, value in match_labels) and all(
        _matches(one, labels) for one in selector.get("matchExpressions") or []
    )


def _matches(expression: Object, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[expression["operator"]]


def batches(workloads: Iterable[Object], linkerd_namespace: str, parallel: int) -> Iterator[list[Object]]:
    """Workloads that are restarted together: the control plane first, then namespace by namespace."""
    by_namespace: dict[str, list[Object]] = {}
    for one in workloads:
        by_namespace.setdefault(one["namespace"], []).append(one)
    for namespace in sorted(by_namespace, key=lambda name: (name != linkerd_namespace, name)):
        found = sorted(by_namespace[namespace], key=lambda one: (one["kind"], one["name"]))
        for start in range(0, len(found), parallel):
            yield found[start : start + parallel]
