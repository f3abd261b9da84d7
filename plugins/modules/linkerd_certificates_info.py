#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_certificates_info
short_description: The public certificates that the Linkerd mesh of a cluster runs on
version_added: 0.2.0
description:
  - Reads from one cluster everything public that tells whom its mesh trusts, which are the trust anchors in the
    ConfigMap C(linkerd-identity-trust-roots), the identity issuer and its signer in the Secret
    C(linkerd-identity-issuer), the trust anchors that running pods carry, and on request the certificates that
    their proxies present.
  - The issuer's private key is beside its certificate in the Secret. It is neither looked at nor returned, so the task
    needs no C(no_log).
  - What is missing or cannot be read in one of the places is told there and is no failure.
  - P(servicemesh.pki.mesh_report#filter) compares what this module returns for any number of clusters with Vault.
extends_documentation_fragment:
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
  - kubernetes.core.k8s_auth_options
options:
  linkerd_namespace:
    description: Namespace of Linkerd's control plane.
    type: str
    default: linkerd
  leaves:
    description:
      - Whether to read the certificate that each meshed pod presents, as C(linkerd identity) does - a connection
        through the API server to the proxy's admin port, and there a TLS handshake. Up to 16 pods are read at a time.
      - Pods that have finished or are terminating are left out.
    type: bool
    default: false
    version_added: 0.3.0
  leaves_timeout:
    description: Seconds that reading the certificates of all pods may take. Pods that are left then are not read.
    type: int
    default: 60
    version_added: 0.3.0
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
notes:
  - Needs C(get) on that ConfigMap and that Secret, C(list) on pods of all namespaces, and if it may C(get) on the
    Certificate C(linkerd-identity-issuer) of cert-manager.
  - O(leaves) needs C(get) and C(create) on C(pods/portforward) in the pods' namespaces. Kubernetes before 1.35 checks
    C(get) alone. Without these permissions the module does not fail, and RV(leaves_missing) has the reason.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: What does the mesh run on
  servicemesh.pki.linkerd_certificates_info:
    kubeconfig: ~/.kube/config
    context: production
  register: mesh

- name: Which pods carry other anchors than the ConfigMap has
  ansible.builtin.debug:
    msg: "{{ item.pods }}"
  loop: "{{ mesh.pods | selectattr('evidence', 'eq', 'spec') }}"
  loop_control:
    label: "{{ item.certificates | map(attribute='subject') | join(', ') }}"
  when: >-
    item.certificates | map(attribute='fingerprint_sha256') | sort
    != mesh.anchors.certificates | map(attribute='fingerprint_sha256') | sort
"""

RETURN = r"""
anchors:
  description: The trust anchors in the ConfigMap, which Linkerd's identity controller and the injector read.
  returned: success
  type: dict
  contains:
    where: &where
      description: The place, with kind, namespace and name.
      type: str
      returned: always
    certificates: &certificates
      description:
        - The certificates found there, in their order. Empty where there is a problem.
        - Beside the key below those of the filter P(servicemesh.pki.x509_certificates#filter).
      type: list
      elements: dict
      returned: always
      contains:
        certificate:
          description: The certificate as PEM.
          type: str
          returned: always
    problem: &problem
      description: Why there are none, as the rest of a sentence that begins with the place. Else empty.
      type: str
      returned: always
    changed_at:
      description: When its data was last written, as far as the API server remembers. None without a ConfigMap.
      type: str
      returned: always
      sample: "2026-11-24T12:00:00Z"
issuer:
  description: The identity issuer in C(tls.crt) of the Secret, first, and the intermediate CAs above it, if any.
  returned: success
  type: dict
  contains:
    where: *where
    certificates: *certificates
    problem: *problem
signer:
  description: What C(ca.crt) of the Secret says signed it. C(linkerd check) reads it, Linkerd itself does not.
  returned: success
  type: dict
  contains:
    where: *where
    certificates: *certificates
    problem: *problem
renewal_time:
  description: When cert-manager will renew the issuer. None when it does not say so.
  returned: success
  type: str
  sample: "2026-11-25T11:00:00Z"
pods:
  description:
    - Pods with a proxy, those with the same anchors together, the largest group first.
    - Empty where RV(pods_problem) is not.
  returned: success
  type: list
  elements: dict
  contains:
    evidence:
      description:
        - How it is known what they carry.
        - V(spec) when their specification holds the anchors, as the injector wrote them. C(certificates) has them.
        - V(started_after) for pods of the control plane, which take them from the ConfigMap when they start, that
          started after the ConfigMap's last change. They carry what it has.
        - V(started_before) for those that started before or at that time. What they carry cannot be read from outside.
      type: str
      returned: always
    certificates: *certificates
    problem:
      description: Why the anchors in their specification cannot be read. Else empty.
      type: str
      returned: always
    pods:
      description: The pods, each as namespace and name.
      type: list
      elements: str
      returned: always
      sample: [emojivoto/web-5f4b8c7d9-abcde]
leaves:
  description:
    - The certificates that proxies present, those with the same certificates above them together, the largest group
      first. None without O(leaves).
    - They are read, not verified. P(servicemesh.pki.mesh_report#filter) judges them.
  returned: success
  type: list
  elements: dict
  contains:
    certificates:
      description:
        - What the proxies present above their own certificate, which is the identity issuer that certified them first.
          Keys as in RV(anchors).
      type: list
      elements: dict
      returned: always
    leaves:
      description: The proxies' own certificates.
      type: list
      elements: dict
      returned: always
      contains:
        pod:
          description: Namespace and name of the pod.
          type: str
          returned: always
          sample: emojivoto/web-5f4b8c7d9-abcde
        identity:
          description: The name that it was asked for.
          type: str
          returned: always
          sample: web.emojivoto.serviceaccount.identity.linkerd.cluster.local
        started_at:
          description: When the proxy started.
          type: str
          returned: always
        serial_number:
          description: Serial number, as Vault writes it. The identity controller counts from 1 again after each start.
          type: str
          returned: always
        not_before: &time
          description: ISO 8601, UTC.
          type: str
          returned: always
        not_after: *time
        fingerprint_sha256:
          description: SHA-256 of the certificate, hex.
          type: str
          returned: always
        certificate:
          description: The certificate as PEM.
          type: str
          returned: always
leaves_missing:
  description: Pods whose certificate was not read. None without O(leaves).
  returned: success
  type: list
  elements: dict
  contains:
    pod:
      description: Namespace and name of the pod.
      type: str
      returned: always
    started_at:
      description: When the proxy started. None before its first start.
      type: str
      returned: always
    code:
      description:
        - V(refused) when the pod presents none, V(starting) when its proxy has not started, V(forbidden) when the API
          server does not permit the connection, V(unreadable) when the pod was not reached.
      type: str
      returned: always
    problem:
      description: Why, as the rest of a sentence.
      type: str
      returned: always
pods_problem:
  description: Why the pods cannot be listed, as the rest of a sentence that begins with them. Else empty.
  type: str
  returned: success
"""

import contextlib
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import (
    ANSWER,
    Cluster,
    ClusterError,
    api_message,
    run,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Wanted
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import handshake, sources
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography

with contextlib.suppress(ImportError):  # AnsibleK8SModule says so
    from kubernetes.dynamic.exceptions import DynamicApiError

PAGE = 500  # pods in one answer


def read(cluster: Cluster, wanted: Wanted) -> tuple[dict[str, Any] | None, str]:
    """The object, or why not as the rest of a sentence."""
    try:
        found = cluster.get(wanted)
    except ClusterError as exc:
        return None, f"may not be read: {exc}"
    return found, "" if found else "does not exist"


def meshed_pods(cluster: Cluster, namespace: str) -> tuple[list[dict[str, Any]], str]:
    """All of them, or why not as the rest of a sentence."""
    resource, pods, more = cluster.client.resource("Pod", "v1"), [], None
    while True:
        selection = {"label_selector": sources.SELECTOR.format(namespace=namespace), "limit": PAGE}
        if more:
            selection["_continue"] = more
        try:
            page = resource.get(**selection, _request_timeout=ANSWER).to_dict()
        except DynamicApiError as exc:
            return [], f"may not be listed: {exc.status} {exc.reason}. {api_message(exc)}"
        pods += page["items"]
        more = page["metadata"].get("continue")
        if not more:
            return pods, ""


def read_leaves(
    cluster: Cluster, namespace: str, pods: list[dict[str, Any]], seconds: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    def again() -> list[dict[str, Any]]:
        found, problem = meshed_pods(cluster, namespace)
        return pods if problem else found

    return handshake.read_all(cluster.client.client.client, pods, seconds, again)


def collect(cluster: Cluster, params: dict[str, Any]) -> dict[str, Any]:
    namespace = params["linkerd_namespace"]
    config_map, no_anchors = read(cluster, Wanted("v1", "ConfigMap", sources.CONFIG_MAP, namespace))
    secret, no_issuer = read(cluster, Wanted("v1", "Secret", sources.SECRET, namespace))
    certificate = read(cluster, Wanted("cert-manager.io/v1", "Certificate", sources.SECRET, namespace))[0]
    anchors = sources.anchors_source(config_map, namespace, no_anchors)
    pods, no_pods = meshed_pods(cluster, namespace)
    leaves, missing = None, None
    if params["leaves"]:
        leaves, missing = read_leaves(cluster, namespace, pods, params["leaves_timeout"])
    return {
        "changed": False,
        "anchors": anchors,
        "issuer": sources.secret_source(secret, namespace, "tls.crt", no_issuer),
        "signer": sources.secret_source(secret, namespace, "ca.crt", no_issuer),
        "renewal_time": sources.renewal_time(certificate),
        "pods": sources.pod_groups(pods, anchors["changed_at"]),
        "pods_problem": no_pods,
        "leaves": leaves,
        "leaves_missing": missing,
    }


def main() -> None:
    module = AnsibleK8SModule(
        argument_spec={
            **AUTH_ARG_SPEC,
            "linkerd_namespace": dict(type="str", default="linkerd"),
            "leaves": dict(type="bool", default=False),
            "leaves_timeout": dict(type="int", default=60),
        },
        supports_check_mode=True,
    )
    cryptography.require(module)
    run(module, lambda cluster: collect(cluster, module.params))


if __name__ == "__main__":
    main()
