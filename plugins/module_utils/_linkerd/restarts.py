# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads of pods, and the order in which they are restarted. Pure. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Object = dict[str, Any]
RESTARTABLE = ("Deployment", "StatefulSet", "DaemonSet")


def controller(item: Object) -> tuple[str, str]:
    """Kind and name of the object that controls another; both empty without one."""
    references = item["metadata"].get("ownerReferences") or []
    return next(((one["kind"], one["name"]) for one in references if one.get("controller")), ("", ""))


def workload_of(pod: Object, replica_sets: Iterable[Object]) -> tuple[str, str]:
    """Kind and name of the workload that a pod belongs to: of a ReplicaSet its Deployment, if it has one."""
    kind, name = controller(pod)
    if kind != "ReplicaSet":
        return kind, name
    for one in replica_sets:
        if one["metadata"]["name"] == name and (above := controller(one))[0]:
            return above
    return kind, name


def why_not_kind(kind: str) -> str:
    """Why pods of a kind of owner cannot be restarted by a rollout; empty if they can."""
    if kind in RESTARTABLE:
        return ""
    if not kind:
        return "no controller would create it again. Delete it and create it again"
    return f"it belongs to a {kind}, which has no rollout. Restart it as its controller provides for"


def why_not_now(workload: Object, budgets: Iterable[Object]) -> str:
    """Why a workload is not restarted by its controller, or must not be restarted now; empty if it can be."""
    kind, spec = workload["kind"], workload["spec"]
    if spec.get("paused"):
        return "the Deployment is paused. Resume it: kubectl rollout resume"
    strategy = (spec.get("updateStrategy") or {}).get("type")
    if strategy == "OnDelete":
        return f"the {kind} has the update strategy OnDelete. Delete its pods one by one"
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    for budget in budgets:
        if selects(budget["spec"].get("selector"), labels) and not (budget.get("status") or {}).get(
            "disruptionsAllowed"
        ):
            return f"the PodDisruptionBudget {budget['metadata']['name']} permits no disruption now. Wait until it does"
    return ""


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
