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
    seconds:
      description: Seconds from the start of the task until it was so, or until the module gave up.
      type: float
      returned: always
"""

import copy
import time
from typing import Any

from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule

from ansible_collections.servicemesh.pki.plugins.module_utils import _k8s_condition as judge
from ansible_collections.servicemesh.pki.plugins.module_utils._k8s_cluster import Cluster, ClusterError, run
from ansible_collections.servicemesh.pki.plugins.module_utils._k8s_condition import Wanted

GRACE = 10  # seconds that a kind, its current schema or a namespace may take to appear
PAUSE = 0.2  # seconds between two questions where there is nothing to watch


def wait(cluster: Cluster, wanted: Wanted, absent: bool, started: float, timeout: float) -> dict:
    """Waits for one object. One after the other is as good as all at once, for all have to be so."""
    until = started + timeout
    while True:
        found = cluster.patiently(lambda: cluster.get(wanted), until)
        waited = time.monotonic() - started
        reason = ("still exists" if found else None) if absent else judge.unmet(found, wanted)
        if reason is None or waited >= timeout:
            return result(wanted, reason, waited, found)
        if found is None and waited >= GRACE:
            ground = cluster.patiently(lambda: cluster.missing_ground(wanted), until)
            if ground:
                raise ClusterError(ground)
        cluster.wait_for_change(wanted, found, min(timeout - waited, GRACE if found is None else timeout))


def wait_accepted(cluster: Cluster, definition: dict, started: float, timeout: float) -> dict:
    """Asks until an object would be taken, or never will be."""
    wanted = Wanted.named(definition)
    while True:
        reason, for_good = cluster.patiently(lambda: cluster.refusal(definition), started + timeout)
        waited = time.monotonic() - started
        if reason is None or waited >= (min(GRACE, timeout) if for_good else timeout):
            return result(wanted, reason, waited, None)
        time.sleep(PAUSE)


def result(wanted: Wanted, reason: str | None, seconds: float, found: dict | None) -> dict:
    return {
        "kind": wanted.kind,
        "name": wanted.name,
        "namespace": wanted.namespace,
        "condition": wanted.condition,
        "fulfilled": reason is None,
        "reason": reason or "",
        "seconds": round(seconds, 1),
        "_found": found,
    }


def work(module: AnsibleK8SModule, cluster: Cluster) -> dict[str, Any]:
    params = module.params
    absent, timeout = params["state"] == "absent", 0 if module.check_mode else params["timeout"]
    accepts = params["accepts"] or []
    for number, definition in enumerate(accepts, 1):
        if lacks := judge.lacking(definition):
            raise ClusterError(f"Definition {number} in accepts lacks {', '.join(lacks)}. Give it that, as text.")
    started, results, sentences = time.monotonic(), [], []
    for options in params["objects"] or ([params] if params["kind"] is not None else []):
        wanted = Wanted.from_options(options)
        item = wait(cluster, wanted, absent, started, timeout)
        found = item.pop("_found")
        results.append(item)
        if not item["fulfilled"] and not module.check_mode:
            ground = None if absent or found else cluster.missing_ground(wanted)
            sentences.append(ground or cluster.explain(wanted, item["reason"], found))
    for definition in accepts:
        item = wait_accepted(cluster, definition, started, timeout)
        del item["_found"]
        results.append(item)
        if not item["fulfilled"] and not module.check_mode:
            sentences.append(judge.explain_refusal(Wanted.named(definition), item["reason"]))
    if sentences:
        waited = max(item["seconds"] for item in results)
        raise ClusterError(f"Not so after {waited:g} s: {' '.join(sentences)}", objects=results)
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
