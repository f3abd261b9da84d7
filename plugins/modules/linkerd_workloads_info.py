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
  - Finds the Deployments, StatefulSets and DaemonSets that pods belong to, in the order in which they are restarted -
    the control plane first, then namespace by namespace.
  - Lists separately which pods a rollout cannot restart, and which workloads must not be restarted now.
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
  parallel:
    description: How many workloads of a namespace are in one batch.
    type: int
    default: 4
requirements:
  - kubernetes >= 24.2.0
notes:
  - Requires C(list) on C(pods), C(replicasets) and C(poddisruptionbudgets), and C(get) on workloads, in the namespaces
    of the pods.
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
  loop: "{{ workloads.batches | first }}"
"""

RETURN = r"""
batches:
  description:
    - Lists of workloads that are restarted together, in order. Each has C(api_version), C(kind), C(namespace), C(name),
      and C(rollout), so that M(servicemesh.pki.k8s_condition) can wait for it.
  returned: success
  type: list
  elements: list
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
    - V(ambiguous_cluster), V(no_login) or V(no_host) when the options and the environment do not name one cluster.
    - V(invalid_kubeconfig), V(unreachable), V(refused), V(server_busy) or V(unexpected_answer) when the API server
      cannot be used.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, run
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import restarts
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)


def collect(cluster: Cluster, pods: list[str], linkerd_namespace: str, parallel: int) -> dict[str, Any]:
    workloads, manual = [], []
    for namespace in sorted({name.partition("/")[0] for name in pods}):
        budgets = cluster.list_objects("policy/v1", "PodDisruptionBudget", namespace)
        for (kind, name), names in owners(cluster, namespace, pods).items():
            reason = restarts.why_not_kind(kind)
            found = None if reason else cluster.get(ObjectReference("apps/v1", kind, name, namespace))
            if found:
                reason = restarts.why_not_now(found, budgets)
            if reason:
                title = f"{kind or 'Pod'} {namespace}/{name}" if kind else f"Pod {names[0]}"
                manual.append({"object": title, "pods": names, "reason": reason})
            elif found:
                head = {"api_version": "apps/v1", "kind": kind, "namespace": namespace, "name": name}
                workloads.append({**head, "rollout": True})
    return {
        "changed": False,
        "batches": list(restarts.batches(workloads, linkerd_namespace, parallel)),
        "manual": manual,
    }


def owners(cluster: Cluster, namespace: str, pods: list[str]) -> dict[tuple[str, str], list[str]]:
    """Pods of a namespace by kind and name of their workload. A pod without one stands alone."""
    replica_sets = cluster.list_objects("apps/v1", "ReplicaSet", namespace)
    found: dict[tuple[str, str], list[str]] = {}
    for pod in cluster.list_objects("v1", "Pod", namespace):
        full_name = f"{namespace}/{pod['metadata']['name']}"
        if full_name in pods:
            kind, name = restarts.workload_of(pod, replica_sets)
            found.setdefault((kind, name or full_name), []).append(full_name)
    return found


def main() -> None:
    module = AnsibleK8SModule(
        argument_spec={
            **AUTH_ARG_SPEC,
            "pods": dict(type="list", elements="str", required=True),
            "linkerd_namespace": dict(type="str", default="linkerd"),
            "parallel": dict(type="int", default=4),
        },
        supports_check_mode=True,
    )
    options = {name: module.params[name] for name in ("pods", "linkerd_namespace", "parallel")}
    run(module, lambda cluster: collect(cluster, **options))


if __name__ == "__main__":
    main()
