#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_workloads_info
short_description: List the workloads to restart for a set of meshed pods
version_added: 0.3.0
description:
  - Finds the Deployments, StatefulSets and DaemonSets that pods belong to, in the order in which to restart them - the
    control plane first, then namespace by namespace.
  - Lists separately which pods a rollout cannot restart, which workloads must not be restarted now, and which are being
    restarted already.
extends_documentation_fragment:
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
  - kubernetes.core.k8s_auth_options
options:
  pods:
    description: Names of the pods, as C(namespace/name). Pods that no longer exist are left out.
    type: list
    elements: str
    required: true
  linkerd_namespace:
    description: Namespace of Linkerd's control plane.
    type: str
    default: linkerd
  namespaces:
    description:
      - Patterns of namespaces, such as V(shop-*). Pods of other namespaces are only listed in RV(left).
      - A pattern that begins with V(!) excludes namespaces. If all patterns begin with it, all other namespaces are
        selected.
      - The default is all namespaces.
    type: list
    elements: str
  label_selectors:
    description:
      - Label selectors, such as C(tier=frontend). Pods that do not match all of them are only listed in RV(left).
    type: list
    elements: str
    default: []
  parallel:
    description: How many workloads of a namespace are in one batch.
    type: int
    default: 4
  trust_anchors:
    description:
      - Trust anchors as PEM that the pods must carry after the restart.
      - A workload that was injected by hand (C(linkerd inject --manual)) has its trust anchors in its template, so a
        restart does not change them. If they differ from O(trust_anchors), the workload is in RV(manual).
    type: list
    elements: str
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
notes:
  - Requires C(list) on C(pods), C(replicasets), C(controllerrevisions) and C(poddisruptionbudgets), and C(get) on
    workloads, in the namespaces of the pods.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: List what must be restarted
  servicemesh.pki.linkerd_workloads_info:
    context: production
    pods: [emojivoto/web-7d5f9c9b6-x2x5v]
  register: workloads

- name: Restart the first batch
  kubernetes.core.k8s:
    context: production
    state: patched
    api_version: apps/v1
    kind: "{{ item.kind }}"
    name: "{{ item.name }}"
    namespace: "{{ item.namespace }}"
    definition:
      spec: {template: {metadata: {annotations: {kubectl.kubernetes.io/restartedAt: "{{ now(utc=true) }}"}}}}
  loop: "{{ workloads.batches | first | difference(workloads.in_progress) }}"
"""

RETURN = r"""
batches:
  description:
    - Lists of workloads that are restarted together, in order. Each has C(api_version), C(kind), C(namespace), C(name),
      and C(rollout), so that M(servicemesh.pki.k8s_condition) can wait for it.
  returned: success
  type: list
  elements: list
pods_before:
  description: For each of the RV(batches), the number of pods in the batches before it.
  returned: success
  type: list
  elements: int
  sample: [0, 6]
pods_in_batches:
  description: Number of pods in all RV(batches).
  returned: success
  type: int
  sample: 14
left:
  description: The pods that O(namespaces) or O(label_selectors) leave out.
  returned: success
  type: list
  elements: str
in_progress:
  description:
    - The workloads of RV(batches) with a rollout in progress that replaces all of the pods. Another restart would also
      restart the pods that this rollout has already replaced.
  returned: success
  type: list
  elements: dict
manual:
  description: What is not restarted, each with C(object), C(pods) and C(reason).
  returned: success
  type: list
  elements: dict
  contains:
    object:
      description: Kind, namespace and name of the workload or pod.
      type: str
      returned: always
    pods:
      description: Pods that belong to it.
      type: list
      elements: str
      returned: always
    reason:
      description: Why it is not restarted, and what to do.
      type: str
      returned: always
code:
  description:
    - V(missing_library) when C(cryptography) cannot be imported.
    - V(ambiguous_cluster), V(no_login) or V(no_host) when the options and the environment do not name one cluster.
    - V(invalid_kubeconfig), V(unreachable), V(refused), V(server_busy) or V(unexpected_answer) when the API server
      cannot be used.
  returned: failure
  type: str
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, run
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import restarts, sources
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography

GONE = "its {kind} does not exist any more. Wait until the cluster has deleted the pod, or delete it"
BY_HAND = (
    "its template contains a proxy with other trust anchors (linkerd inject --manual). "
    "Remove the proxy from it and set the annotation linkerd.io/inject: enabled"
)


def collect(cluster: Cluster, params: dict[str, Any]) -> dict[str, Any]:
    workloads, in_progress, manual, number_of_pods = [], [], [], {}
    anchors = fingerprints(params["trust_anchors"])
    pods = select(cluster, params["pods"], params["namespaces"], params["label_selectors"])
    for namespace in namespaces_of(pods):
        for owner, owned, reason, is_replacing in obstacles(cluster, namespace, pods, anchors):
            names = [f"{namespace}/{pod['metadata']['name']}" for pod in owned]
            if reason:
                title = f"{owner.kind} {namespace}/{owner.name}" if owner.kind else f"Pod {names[0]}"
                manual.append({"object": title, "pods": names, "reason": reason})
                continue
            head = {"api_version": "apps/v1", "kind": owner.kind, "namespace": namespace, "name": owner.name}
            workloads.append({**head, "rollout": True})
            number_of_pods[owner.kind, namespace, owner.name] = len(owned)
            in_progress += workloads[-1:] if is_replacing else []
    batches = list(restarts.batches(workloads, params["linkerd_namespace"], params["parallel"]))
    sizes = [sum(number_of_pods[one["kind"], one["namespace"], one["name"]] for one in batch) for batch in batches]
    return {
        "changed": False,
        "batches": batches,
        "pods_before": [sum(sizes[:number]) for number in range(len(sizes))],
        "pods_in_batches": sum(sizes),
        "in_progress": in_progress,
        "manual": manual,
        "left": [name for name in params["pods"] if name not in pods],
    }


def namespaces_of(pods: list[str]) -> list[str]:
    return sorted({name.partition("/")[0] for name in pods})


def is_selected(namespace: str, patterns: list[str]) -> bool:
    """Whether a pattern matches the namespace, and none that begins with `!` does. Without others, these suffice."""
    excluding = [one[1:] for one in patterns if one.startswith("!")]
    including = [one for one in patterns if not one.startswith("!")] or (["*"] if excluding else [])
    return any(fnmatchcase(namespace, one) for one in including) and not any(
        fnmatchcase(namespace, one) for one in excluding
    )


def select(cluster: Cluster, pods: list[str], namespaces: list[str] | None, label_selectors: list[str]) -> list[str]:
    """The pods of the namespaces to which the label selectors apply."""
    if namespaces is not None:
        pods = [name for name in pods if is_selected(name.partition("/")[0], namespaces)]
    if not label_selectors:
        return pods
    labelled = {
        f"{namespace}/{pod['metadata']['name']}"
        for namespace in namespaces_of(pods)
        for pod in cluster.list_objects("v1", "Pod", namespace, metadata=True, label_selector=",".join(label_selectors))
    }
    return [name for name in pods if name in labelled]


def fingerprints(trust_anchors: list[str] | None) -> frozenset[str] | None:
    if trust_anchors is None:
        return None
    found = sources.source("", "\n".join(trust_anchors))["certificates"]
    return frozenset(one["fingerprint_sha256"] for one in found)


def obstacles(
    cluster: Cluster, namespace: str, pods: list[str], anchors: frozenset[str] | None
) -> Iterator[tuple[restarts.Owner, list[restarts.Object], str, bool]]:
    """Each owner of pods in a namespace: the pods, why it is not restarted, and whether a rollout replaces them."""
    history = cluster.list_objects("apps/v1", "ReplicaSet", namespace)
    budgets = cluster.list_objects("policy/v1", "PodDisruptionBudget", namespace)
    found = owners(cluster, namespace, pods, history)
    if any(owner.kind == "DaemonSet" for owner in found):
        history += cluster.list_objects("apps/v1", "ControllerRevision", namespace)
    for owner, owned in found.items():
        reason, workload = restarts.why_not_owner(owner), None
        if not reason:
            workload = cluster.get(ObjectReference("apps/v1", owner.kind, owner.name, namespace))
            reason = permanent_reason(workload, owner, anchors)
        is_replacing = bool(workload) and restarts.is_replacing(workload, owned, history)
        if workload and not reason and not is_replacing:
            reason = restarts.why_not_now(workload, budgets)
        yield owner, owned, reason, is_replacing


def permanent_reason(workload: restarts.Object | None, owner: restarts.Owner, anchors: frozenset[str] | None) -> str:
    """Why a rollout of a workload does not give other trust anchors to all of its pods; empty if it does."""
    if workload is None:
        return GONE.format(kind=owner.kind)
    if anchors is not None and sources.template_anchors(workload) not in (None, anchors):
        return BY_HAND
    return restarts.why_no_rollout(workload)


def owners(
    cluster: Cluster, namespace: str, pods: list[str], replica_sets: list[restarts.Object]
) -> dict[restarts.Owner, list[restarts.Object]]:
    """Pods of a namespace by their workload. A pod without one stands alone."""
    found: dict[restarts.Owner, list[restarts.Object]] = {}
    for pod in cluster.list_objects("v1", "Pod", namespace):
        if f"{namespace}/{pod['metadata']['name']}" in pods:
            owner = restarts.workload_of(pod, replica_sets)
            found.setdefault(owner if owner.kind else owner._replace(name=pod["metadata"]["name"]), []).append(pod)
    return found


def main() -> None:
    module = AnsibleK8SModule(
        argument_spec={
            **AUTH_ARG_SPEC,
            "pods": dict(type="list", elements="str", required=True),
            "linkerd_namespace": dict(type="str", default="linkerd"),
            "namespaces": dict(type="list", elements="str"),
            "label_selectors": dict(type="list", elements="str", default=[]),
            "parallel": dict(type="int", default=4),
            "trust_anchors": dict(type="list", elements="str"),
        },
        supports_check_mode=True,
    )
    cryptography.require(module)
    run(module, lambda cluster: collect(cluster, module.params))


if __name__ == "__main__":
    main()
