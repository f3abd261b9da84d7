#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_condition
short_description: Wait until Kubernetes objects are what they should be, and say why when they are not
version_added: 0.1.0
description:
  - Waits until a condition of an object is true B(at the object's current generation). A C(Ready) that belongs to
    what the object was before its last change does not count.
  - C(observedGeneration) of the condition is compared, else that of the status; an object that tells neither is taken
    at its word.
  - Several objects are waited for in one task. The limit is for all of them together.
  - When the time is over the error holds what the object's conditions and events say, for a Certificate of cert-manager
    also what its newest CertificateRequest and its issuer say.
  - For a Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or Pod the error names why pods are not ready - the reason
    and message of their containers, of the scheduler, of the quota, and the last log line of a container that crashed.
  - The module stops early when one of its workloads has a cause that waiting does not help against. That is at once
    for an image whose name is not valid, after 30 s for pods that a quota or an admission rule refuses, and after 60 s
    for an image that its registry refuses, and for a ConfigMap or Secret that is still missing.
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
    description: Kind of the object. Required with O(name), and unless O(objects) or O(accepts) is given.
    type: str
  name:
    description: Name of the object. Required with O(kind).
    type: str
  namespace:
    description:
      - Namespace of the object, none for objects of the cluster.
      - An object of a kind that lives in namespaces has to have one. It is an error otherwise, in check mode too.
    type: str
  condition:
    description:
      - Type of the condition.
      - The default is V(Ready), except for kinds that have no conditions (ConfigMap, Namespace, Secret,
        ServiceAccount) and where O(keys) is given. For these the module waits until the object exists.
    type: str
  status:
    description: Status that the condition should have.
    type: str
    choices: ["True", "False", "Unknown"]
    default: "True"
  keys:
    description:
      - Data keys of a ConfigMap or Secret that have to be there and not empty.
      - Their values are never returned.
    type: list
    elements: str
    default: []
  rollout:
    description:
      - Whether all pods of a Deployment, StatefulSet or DaemonSet have to be of its current template and available. The
        condition C(Available) of a Deployment is true already while pods of an earlier template are.
      - No condition is waited for then, unless O(condition) names one.
    type: bool
    default: false
    version_added: 0.3.0
  objects:
    description: Objects to wait for, in place of O(kind) and its companions.
    type: list
    elements: dict
    suboptions:
      api_version:
        description: As O(api_version).
        type: str
        default: v1
      kind:
        description: As O(kind).
        type: str
        required: true
      name:
        description: As O(name).
        type: str
        required: true
      namespace:
        description: As O(namespace).
        type: str
      condition:
        description: As O(condition).
        type: str
      status:
        description: As O(status).
        type: str
        choices: ["True", "False", "Unknown"]
        default: "True"
      keys:
        description: As O(keys).
        type: list
        elements: str
        default: []
      rollout:
        description: As O(rollout).
        type: bool
        default: false
        version_added: 0.3.0
  accepts:
    description:
      - Definitions that the API server has to accept, together with the admission webhooks that it asks. They are sent
        as a dry run, so nothing is stored. An object of that name may exist.
      - Each needs C(apiVersion), C(kind), C(metadata.name) and, where O(namespace) would be needed,
        C(metadata.namespace).
      - A webhook answers some seconds after its Deployment is available. This waits for it.
    type: list
    elements: dict
  state:
    description: V(absent) waits until the objects are gone.
    type: str
    choices: [present, absent]
    default: present
  timeout:
    description:
      - Seconds to wait at most. V(0) looks once.
      - A kind or a namespace that does not exist, and a definition in O(accepts) that is not valid, are an error after
        10 seconds already.
      - An API server that cannot answer for a moment is asked again until then. One that does not answer at all is an
        error at once.
    type: int
    default: 120
requirements:
  - kubernetes >= 24.2.0
notes:
  - To name why pods are not ready it needs C(list) on pods, events and ReplicaSets, and C(get) on C(pods/log) for the
    log line. What it may not read is left out.
  - In check mode the module looks once and reports; it neither waits nor fails, for what is waited for may not have
    been made.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: The issuer's certificate is there
  servicemesh.pki.k8s_condition:
    api_version: cert-manager.io/v1
    kind: Certificate
    name: linkerd-identity-issuer
    namespace: linkerd
    timeout: 60

- name: The Secret and the ConfigMap that Linkerd starts from
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

- name: Wait until the restarted identity controller runs
  servicemesh.pki.k8s_condition:
    api_version: apps/v1
    kind: Deployment
    name: linkerd-identity
    namespace: linkerd
    rollout: true
    timeout: 300

- name: cert-manager runs, and its webhook answers
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
  description: The objects in the order asked for, those of O(accepts) last.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Kind.
      type: str
      returned: always
    name:
      description: Name.
      type: str
      returned: always
    namespace:
      description: Namespace, none for an object of the cluster.
      type: str
      returned: always
    condition:
      description: Type of the condition that was waited for, if any.
      type: str
      returned: always
    fulfilled:
      description: Whether the object is what it should be.
      type: bool
      returned: always
    reason:
      description: What is missing, or the empty string.
      type: str
      returned: always
    causes:
      description: Why the pods of a workload are not ready. Empty for other objects, when fulfilled, and in check mode.
      type: list
      elements: dict
      returned: always
      contains:
        pod:
          description: Name of the pod, empty where no pod could be created.
          type: str
          returned: always
        container:
          description: Name of the container, empty where the reason is the pod's.
          type: str
          returned: always
        reason:
          description: Reason as Kubernetes has it.
          type: str
          returned: always
          sample: ImagePullBackOff
        message:
          description: Message as Kubernetes has it.
          type: str
          returned: always
    seconds:
      description: Seconds from the start of the task until it was so, or until the module gave up.
      type: float
      returned: always
"""

import copy
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError, run
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Wanted
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.wait import Waiting, wait, wait_accepted
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)


def work(module: AnsibleK8SModule, cluster: Cluster) -> dict[str, Any]:
    params = module.params
    absent, timeout = params["state"] == "absent", 0 if module.check_mode else params["timeout"]
    accepts = params["accepts"] or []
    for number, definition in enumerate(accepts, 1):
        if lacks := conditions.lacking(definition):
            raise ClusterError(f"Definition {number} in accepts lacks {', '.join(lacks)}. Give it that, as text.")
    objects = [Wanted.from_options(one) for one in params["objects"] or ([params] if params["kind"] else [])]
    for wanted in objects:
        if wanted.rollout and wanted.kind not in conditions.ROLLED_OUT:
            raise ClusterError(f"{wanted} has no rollout. Use rollout with a {', '.join(conditions.ROLLED_OUT)} only.")
    waiting, results, sentences = Waiting(cluster, objects, timeout), [], []
    for wanted in objects:
        item = wait(waiting, wanted, absent)
        found = item.pop("_found")
        results.append(item)
        if not item["fulfilled"] and not module.check_mode:
            ground = None if absent or found else cluster.missing_ground(wanted)
            item["causes"] = [] if absent else [cause.facts() for cause in cluster.causes(wanted, found)]
            sentences.append(ground or cluster.explain(wanted, item["reason"], found))
    for definition in accepts:
        item = wait_accepted(waiting, definition)
        del item["_found"]
        results.append(item)
        if not item["fulfilled"] and not module.check_mode:
            sentences.append(conditions.explain_refusal(Wanted.named(definition), item["reason"]))
    if sentences:
        waited = max(item["seconds"] for item in results)
        verdict = (
            "Stopped after {:g} s, since waiting longer does not help" if waiting.stopped else "Not so after {:g} s"
        )
        raise ClusterError(f"{verdict.format(waited)}: {' '.join(sentences)}", objects=results)
    return dict(changed=False, objects=results)


def argument_spec() -> dict:
    wanted = dict(
        api_version=dict(type="str", default="v1"),
        kind=dict(type="str"),
        name=dict(type="str"),
        namespace=dict(type="str"),
        condition=dict(type="str"),
        status=dict(type="str", choices=["True", "False", "Unknown"], default="True"),
        keys=dict(type="list", elements="str", default=[], no_log=False),
        rollout=dict(type="bool", default=False),
    )
    item = copy.deepcopy(wanted)
    item["kind"]["required"] = item["name"]["required"] = True
    return {
        **copy.deepcopy(AUTH_ARG_SPEC),
        **wanted,
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
    run(module, lambda cluster: work(module, cluster))


if __name__ == "__main__":
    main()
