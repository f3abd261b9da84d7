#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_condition
short_description: Wait for Kubernetes conditions and explain timeouts
version_added: 0.1.0
description:
  - Waits until a condition of an object is true B(for the object's current generation). A C(Ready) that refers to the
    state before the last change does not count.
  - The module compares C(observedGeneration) of the condition, or that of the status. It accepts the condition of an
    object that has neither.
  - One task can wait for several objects. The timeout applies to all of them together.
  - After a timeout, the error contains the object's conditions and events, and for a Certificate of cert-manager also
    its newest CertificateRequest and its issuer.
  - For a Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or Pod, the error explains why pods are not ready. It
    contains the reason and message of their containers, of the scheduler or of the quota, and the last log line of a
    container that crashed.
  - The module stops before the timeout if a workload cannot recover. This is at once for an invalid image name, after
    30 s for pods that a quota or an admission rule rejects, and after 60 s for an image that its registry refuses and
    for a missing ConfigMap or Secret.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
options:
  api_version:
    description: API group and version of the object.
    type: str
    default: v1
  kind:
    description: Kind of the object. Required with O(name), or if neither O(objects) nor O(accepts) is set.
    type: str
  name:
    description: Name of the object. Required with O(kind).
    type: str
  namespace:
    description:
      - Namespace of the object. Leave it out for cluster-scoped objects.
      - Required for an object of a namespaced kind, even in check mode.
    type: str
  condition:
    description:
      - Type of the condition.
      - The default is V(Ready), except for kinds without conditions (ConfigMap, Namespace, Secret, ServiceAccount) and
        when O(keys) or O(rollout) is set. Then the module waits until the object exists.
    type: str
  status:
    description: Expected status of the condition.
    type: str
    choices: ["True", "False", "Unknown"]
    default: "True"
  keys:
    description:
      - Data keys of a ConfigMap or Secret that must exist and must not be empty.
      - The module never returns their values.
    type: list
    elements: str
    default: []
  rollout:
    description:
      - Whether to wait until all pods of a Deployment, StatefulSet or DaemonSet have its current template and are
        available. The condition C(Available) of a Deployment is true even while pods of an earlier template run.
      - The module then waits for no condition, unless O(condition) is set.
    type: bool
    default: false
    version_added: 0.3.0
  objects:
    description: Objects to wait for, instead of O(kind) and the options with it.
    type: list
    elements: dict
    suboptions:
      api_version:
        description: See O(api_version).
        type: str
        default: v1
      kind:
        description: See O(kind).
        type: str
        required: true
      name:
        description: See O(name).
        type: str
        required: true
      namespace:
        description: See O(namespace).
        type: str
      condition:
        description: See O(condition).
        type: str
      status:
        description: See O(status).
        type: str
        choices: ["True", "False", "Unknown"]
        default: "True"
      keys:
        description: See O(keys).
        type: list
        elements: str
        default: []
      rollout:
        description: See O(rollout).
        type: bool
        default: false
        version_added: 0.3.0
  accepts:
    description:
      - Manifests that the API server and its admission webhooks must accept. The module sends them as a dry run, so
        nothing is stored. An object of that name may exist.
      - Each manifest needs C(apiVersion), C(kind), C(metadata.name) and, for a namespaced kind, C(metadata.namespace).
      - Use it to wait for a webhook, which responds some seconds after its Deployment is available.
    type: list
    elements: dict
  state:
    description: >-
      V(present) waits until the objects exist in the expected state, V(absent) until they no longer exist.
    type: str
    choices: [present, absent]
    default: present
  timeout:
    description:
      - Seconds to wait. V(0) checks once.
      - A kind or namespace that does not exist and an invalid manifest in O(accepts) are errors after 10 seconds.
      - The module retries a request when the API server is busy or does not respond. If the API server does not respond
        to the first request, the task fails at once.
    type: int
    default: 120
requirements:
  - kubernetes >= 24.2.0
notes:
  - Requires C(get) on the objects and on the namespaces of those that do not exist yet, and C(create) on the kinds of
    the manifests in O(accepts). With C(watch) on the objects, it notices a change at once.
  - To explain why pods are not ready, the module needs C(list) on pods, events and ReplicaSets, and C(get) on
    C(pods/log) for the log line. It leaves out what it is not permitted to read.
  - In check mode the module checks once and returns the result. It neither waits nor fails if an object does not have
    the expected state, because an earlier task may not have created the object.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Wait for the certificate of the issuer
  servicemesh.pki.k8s_condition:
    api_version: cert-manager.io/v1
    kind: Certificate
    name: linkerd-identity-issuer
    namespace: linkerd
    timeout: 60

- name: Wait for the Secret and the ConfigMap that Linkerd reads
  servicemesh.pki.k8s_condition:
    objects:
      - kind: Secret
        name: linkerd-identity-issuer
        namespace: linkerd
        keys: [tls.crt, tls.key, ca.crt]
      - kind: ConfigMap
        name: linkerd-identity-trust-roots
        namespace: linkerd
        keys: [ca-bundle.crt]
      - api_version: trust.cert-manager.io/v1alpha1
        kind: Bundle
        name: linkerd-identity-trust-roots
        condition: Synced

- name: Wait for the restart of the identity controller
  servicemesh.pki.k8s_condition:
    api_version: apps/v1
    kind: Deployment
    name: linkerd-identity
    namespace: linkerd
    rollout: true
    timeout: 300

- name: Wait for cert-manager and its webhook
  servicemesh.pki.k8s_condition:
    objects:
      - {api_version: apps/v1, kind: Deployment, name: cert-manager, namespace: cert-manager, condition: Available}
    accepts:
      - apiVersion: cert-manager.io/v1
        kind: Issuer
        metadata: {name: probe, namespace: cert-manager}
        spec: {selfSigned: {}}
"""

RETURN = r"""
objects:
  description: The objects in the order of the options, those of O(accepts) last.
  returned: success, and failure with RV(code) V(timeout) or V(unrecoverable)
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
      returned: always
    name:
      description: Name of the object.
      type: str
      returned: always
    namespace:
      description: Namespace of the object. None for cluster-scoped objects.
      type: str
      returned: always
    condition:
      description: Type of the expected condition, if any.
      type: str
      returned: always
    fulfilled:
      description: Whether the object has the expected state.
      type: bool
      returned: always
    reason:
      description: Why the object does not have the expected state. Empty if it has.
      type: str
      returned: always
    causes:
      description: Why the pods of a workload are not ready. Empty for other objects, when fulfilled, and in check mode.
      type: list
      elements: dict
      returned: always
      contains:
        pod:
          description: Name of the pod. Empty if no pod could be created.
          type: str
          returned: always
        container:
          description: Name of the container. Empty if the reason is that of the pod.
          type: str
          returned: always
        reason:
          description: Reason, as Kubernetes reports it.
          type: str
          returned: always
          sample: ImagePullBackOff
        message:
          description: Message, as Kubernetes reports it.
          type: str
          returned: always
    seconds:
      description: Seconds from the start of the task until the object had the expected state, or the module stopped.
      type: float
      returned: always
code:
  description:
    - V(timeout) when an object did not have the expected state in time, V(unrecoverable) when the pods of a workload
      cannot recover.
    - V(invalid_manifest) when a manifest in O(accepts) lacks a field, V(unsupported_kind) when O(rollout) is set for a
      kind without one, V(missing_namespace) when an object of a namespaced kind has no namespace.
    - V(kind_not_found), V(namespace_not_found) or V(namespace_terminating) when the object cannot exist.
    - V(ambiguous_cluster), V(no_login) or V(no_host) when the options and the environment do not name one cluster.
    - V(invalid_kubeconfig), V(unreachable), V(refused), V(server_busy) or V(unexpected_answer)
      when the API server cannot be used.
  returned: failure
  type: str
"""

import copy
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, run
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Expectation, ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.wait import (
    Wait,
    wait_for_admission,
    wait_for_object,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)


def expectations(params: dict[str, Any]) -> list[Expectation]:
    """The objects to wait for. Raises ClusterError for options that do not fit together."""
    for number, manifest in enumerate(params["accepts"] or [], 1):
        if fields := conditions.missing_fields(manifest):
            raise ClusterError(
                f"Manifest {number} in accepts lacks {', '.join(fields)}. Add it as a string.", code="invalid_manifest"
            )
    expected = [Expectation.from_options(one) for one in params["objects"] or ([params] if params["kind"] else [])]
    for one in expected:
        if one.rollout and one.kind not in conditions.ROLLOUT_COUNTS:
            kinds = ", ".join(conditions.ROLLOUT_COUNTS)
            raise ClusterError(f"{one} has no rollout. Set rollout for {kinds} only.", code="unsupported_kind")
    return expected


def wait_for_all(module: AnsibleK8SModule, cluster: Cluster) -> dict[str, Any]:
    """Wait for all objects and manifests, and return the results or raise one ClusterError for all that failed."""
    params = module.params
    expected, absent = expectations(params), params["state"] == "absent"
    wait = Wait(cluster, expected, 0 if module.check_mode else params["timeout"])
    results, messages = [], []
    for one in expected:
        item, found = wait_for_object(wait, one, absent)
        results.append(item)
        if not item["fulfilled"] and not module.check_mode:
            item["causes"] = [] if absent else [cause.facts() for cause in cluster.causes(one, found)]
            missing = None if absent or found else cluster.missing_prerequisite(one)
            messages.append(str(missing) if missing else cluster.explain(one, item["reason"], found))
    for manifest in params["accepts"] or []:
        item = wait_for_admission(wait, manifest)
        results.append(item)
        if not item["fulfilled"] and not module.check_mode:
            messages.append(conditions.explain_rejection(ObjectReference.from_manifest(manifest), item["reason"]))
    if messages:
        raise failure(wait, messages, results)
    return dict(changed=False, objects=results)


def failure(wait: Wait, messages: list[str], results: list[dict[str, Any]]) -> ClusterError:
    seconds, message = max(item["seconds"] for item in results), " ".join(messages)
    if wait.is_stopped:
        return ClusterError(
            f"Stopped after {seconds:g} s, because waiting longer does not help: {message}",
            code="unrecoverable",
            objects=results,
        )
    return ClusterError(f"Timed out after {seconds:g} s: {message}", code="timeout", objects=results)


def argument_spec() -> dict:
    options = dict(
        api_version=dict(type="str", default="v1"),
        kind=dict(type="str"),
        name=dict(type="str"),
        namespace=dict(type="str"),
        condition=dict(type="str"),
        status=dict(type="str", choices=["True", "False", "Unknown"], default="True"),
        keys=dict(type="list", elements="str", default=[], no_log=False),
        rollout=dict(type="bool", default=False),
    )
    item = copy.deepcopy(options)
    item["kind"]["required"] = item["name"]["required"] = True
    return {
        **copy.deepcopy(AUTH_ARG_SPEC),
        **options,
        "objects": dict(type="list", elements="dict", options=item),
        "accepts": dict(type="list", elements="dict"),
        "state": dict(type="str", choices=["present", "absent"], default="present"),
        "timeout": dict(type="int", default=120),
    }


def main() -> None:
    module = AnsibleK8SModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[["kind", "objects", "accepts"]],
        mutually_exclusive=[["kind", "objects"], ["name", "objects"]],
        required_together=[["kind", "name"]],
    )
    run(module, lambda cluster: wait_for_all(module, cluster))


if __name__ == "__main__":
    main()
