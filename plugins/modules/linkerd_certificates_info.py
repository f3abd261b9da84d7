#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_certificates_info
short_description: Read the certificates of a Linkerd mesh
version_added: 0.2.0
description:
  - Reads the public certificates of the mesh of one cluster. These are the trust anchors in the ConfigMap
    C(linkerd-identity-trust-roots), the identity issuer and its signer in the Secret C(linkerd-identity-issuer), the
    trust anchors of running pods, and on request the certificates that their proxies present.
  - The Secret also contains the private key of the issuer. The module neither uses nor returns it, so the task needs no
    C(no_log).
  - A source that is missing or cannot be read does not fail the task. The result has the reason for each source.
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
      - Whether to read the certificate that each meshed pod presents, as C(linkerd identity) does, with a connection
        through the API server to the proxy's admin port, and a TLS handshake. Up to 16 pods are read at a time.
      - Pods that have finished or are terminating are skipped.
    type: bool
    default: false
    version_added: 0.3.0
  leaves_timeout:
    description: Seconds for reading the certificates of all pods. The remaining pods are not read.
    type: int
    default: 60
    version_added: 0.3.0
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
notes:
  - Requires C(get) on the ConfigMap and the Secret, and C(list) on pods in all namespaces.
  - RV(renewal_time) requires C(get) on the Certificate C(linkerd-identity-issuer), and RV(bundle) on the Bundle.
  - RV(cert_manager_issuer) and RV(credential) require C(get) on the issuer that the Certificate names.
  - RV(trust_domain) requires C(get) on the ConfigMap C(linkerd-config).
  - O(leaves) requires C(get) and C(create) on C(pods/portforward) in the namespaces of the pods. Kubernetes before 1.35
    checks C(get) only. Without these permissions the module does not fail, and RV(leaves_missing) has the reason.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Read the certificates of the mesh
  servicemesh.pki.linkerd_certificates_info:
    kubeconfig: ~/.kube/config
    context: production
  register: mesh

- name: Show pods with other trust anchors than the ConfigMap
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
  description: Trust anchors in the ConfigMap, which Linkerd's identity controller and the injector read.
  returned: success
  type: dict
  contains:
    where: &where
      description: The source, with kind, namespace and name.
      type: str
      returned: always
    certificates: &certificates
      description:
        - Certificates of the source, in their order. Empty if they cannot be read.
        - Each has the key below, and those that P(servicemesh.pki.x509_certificates#filter) returns.
      type: list
      elements: dict
      returned: always
      contains:
        certificate:
          description: The certificate as PEM.
          type: str
          returned: always
    problem: &problem
      description: Why the source cannot be used, as the predicate of a sentence about it. Otherwise empty.
      type: str
      returned: always
    bundle:
      description: Name of the Bundle from which trust-manager writes the ConfigMap. None if it does not.
      type: str
      returned: always
      version_added: 0.3.0
    in_values:
      description:
        - Whether Linkerd's chart or CLI was given the trust anchors, so that an upgrade writes the ConfigMap. That is
          the case unless C(identity.externalCA) is set. None if the ConfigMap C(linkerd-config) cannot be read.
      type: bool
      returned: always
      version_added: 0.3.0
    changed_at: &changed_at
      description: When its data was last written, according to its managed fields. None if it does not exist.
      type: str
      returned: always
      sample: "2026-11-24T12:00:00Z"
issuer:
  description:
    - Identity issuer in the Secret, followed by the intermediate CAs above it, if any. Read from C(crt.pem) if
      RV(issuer_scheme) is V(linkerd.io/tls), and from C(tls.crt) otherwise.
  returned: success
  type: dict
  contains:
    where: *where
    certificates: *certificates
    problem: *problem
    changed_at: *changed_at
    evidence:
      description:
        - V(started_after) if the pods of the identity controller started after the last change of the Secret. They use
          this issuer, because they read it when they start. Otherwise V(started_before). None without a Secret.
      type: str
      returned: always
      version_added: 0.3.0
    obsolete_key:
      description: Whether the Secret also contains the key of an issuer that Linkerd no longer reads.
      type: bool
      returned: always
      version_added: 0.3.0
issuer_scheme:
  description:
    - Type of the issuer's Secret. V(linkerd.io/tls) when the chart or the CLI was given the issuer, and
      V(kubernetes.io/tls) when cert-manager or another program writes the Secret.
    - Read from the arguments of the identity controller's pods, or else from C(linkerd-config). None if neither exists.
  returned: success
  type: str
  version_added: 0.3.0
signer:
  description: Signer of the issuer according to C(ca.crt) of the Secret. C(linkerd check) reads it, Linkerd does not.
  returned: success
  type: dict
  contains:
    where: *where
    certificates: *certificates
    problem: *problem
renewal_time:
  description: When cert-manager will renew the issuer. None without a Certificate that has this time.
  returned: success
  type: str
  sample: "2026-11-25T11:00:00Z"
certificate_missing:
  description: Whether cert-manager wrote the Secret for a Certificate that does not exist, so nothing renews it.
  returned: success
  type: bool
  version_added: 0.3.0
failed_attempts:
  description: How often in a row cert-manager failed to issue the identity issuer. None without a Certificate.
  returned: success
  type: int
  version_added: 0.3.0
cert_manager_issuer:
  description:
    - The issuer of cert-manager that the Certificate names. C(where) is its kind and name, C(ready) whether it has the
      condition C(Ready) for its current generation, C(path) the path in Vault that signs. None if it cannot be read.
  returned: success
  type: dict
  version_added: 0.3.0
bundle:
  description:
    - The Bundle from which trust-manager writes the ConfigMap. C(where) is its kind and name, C(ready) whether it has
      the condition C(Synced) for its current generation (false without a Bundle). None if it cannot be read.
  returned: success
  type: dict
  version_added: 0.3.0
credential:
  description:
    - The credential with which cert-manager logs in to Vault, if the issuer stores one. C(where) is its Secret,
      C(not_after) the time when it expires. The role vault_issuer writes that time into an annotation of the issuer.
      The Secret is not read. None if it is not known.
  returned: success
  type: dict
  version_added: 0.3.0
trust_domain:
  description: Trust domain of the mesh, from the values in the ConfigMap C(linkerd-config). None if it cannot be read.
  returned: success
  type: str
  sample: cluster.local
  version_added: 0.3.0
pods:
  description: Groups of pods with a proxy by their trust anchors, the largest first. Empty if RV(pods_problem) is set.
  returned: success
  type: list
  elements: dict
  contains:
    evidence:
      description:
        - The evidence for their trust anchors.
        - V(spec) when the specification has the anchors, written by the injector. C(certificates) contains them.
        - V(started_after) for pods of the control plane that started after the last change of the ConfigMap. They have
          its anchors, because they read it when they start.
        - V(started_before) for those that started before or at that time. Their anchors cannot be read from outside.
      type: str
      returned: always
    certificates: *certificates
    problem:
      description: Why the anchors in the specification cannot be read. Otherwise empty.
      type: str
      returned: always
    pods:
      description: Namespace and name of each pod.
      type: list
      elements: str
      returned: always
      sample: [emojivoto/web-5f4b8c7d9-abcde]
leaves:
  description:
    - Groups of certificates that proxies present, by the certificates above them, the largest group first. None without
      O(leaves).
    - They are read, not verified. P(servicemesh.pki.mesh_report#filter) verifies them.
  returned: success
  type: list
  elements: dict
  contains:
    certificates:
      description: The certificates above that of the proxy, from the identity issuer that signed it. As in RV(anchors).
      type: list
      elements: dict
      returned: always
    leaves:
      description: Certificates of the proxies.
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
          description: The name that was requested in the TLS handshake.
          type: str
          returned: always
          sample: web.emojivoto.serviceaccount.identity.linkerd.cluster.local
        started_at:
          description: When the proxy started.
          type: str
          returned: always
        serial_number:
          description: Serial number, as Vault writes it. The identity controller starts at 1 after each restart.
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
    read_at: *time
    code:
      description:
        - V(refused) when the pod presents no certificate, V(starting) when its proxy had not started, V(forbidden) when
          the API server refuses the connection, V(unreadable) when the pod or its certificate could not be read.
      type: str
      returned: always
    problem:
      description: The reason.
      type: str
      returned: always
pods_problem:
  description: Why the pods cannot be listed, as the predicate of a sentence about them. Otherwise empty.
  type: str
  returned: success
code:
  description:
    - V(missing_library) when C(cryptography) cannot be imported.
    - V(ambiguous_cluster), V(no_login) or V(no_host) when the options and the environment do not name one cluster.
    - V(invalid_kubeconfig), V(unreachable), V(refused) or V(unexpected_answer) when the API server cannot be used.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, run
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import controllers, handshake, sources
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography


def read(cluster: Cluster, reference: ObjectReference) -> tuple[dict[str, Any] | None, str]:
    """The object, or a predicate that explains why there is none."""
    try:
        found = cluster.get(reference)
    except ClusterError as exc:
        return None, f"cannot be read: {exc}"
    return found, "" if found else sources.MISSING


def meshed_pods(cluster: Cluster, namespace: str) -> tuple[list[dict[str, Any]], str]:
    """All pods of the mesh, or a predicate that explains why they cannot be listed."""
    try:
        return cluster.list_objects("v1", "Pod", None, label_selector=sources.SELECTOR.format(namespace=namespace)), ""
    except ClusterError as exc:
        return [], f"cannot be listed: {exc}"


def read_leaves(
    cluster: Cluster, namespace: str, pods: list[dict[str, Any]], seconds: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    def list_pods() -> list[dict[str, Any]]:
        found, problem = meshed_pods(cluster, namespace)
        return pods if problem else found

    return handshake.read_all(cluster.client.client.client, pods, seconds, list_pods)


def collect(cluster: Cluster, params: dict[str, Any]) -> dict[str, Any]:
    namespace = params["linkerd_namespace"]
    config_map, anchors_problem = read(cluster, ObjectReference("v1", "ConfigMap", sources.CONFIG_MAP, namespace))
    secret, issuer_problem = read(cluster, ObjectReference("v1", "Secret", sources.SECRET, namespace))
    reference = ObjectReference(controllers.CERT_MANAGER, "Certificate", sources.SECRET, namespace)
    certificate, certificate_problem = read(cluster, reference)
    values = sources.chart_values(read(cluster, ObjectReference("v1", "ConfigMap", sources.VALUES, namespace))[0])
    anchors = sources.anchors_source(config_map, namespace, anchors_problem)
    anchors["in_values"] = sources.anchors_in_values(values)
    pods, pods_problem = meshed_pods(cluster, namespace)
    scheme = sources.scheme_of(values, pods, namespace)
    leaves, missing = None, None
    if params["leaves"]:
        leaves, missing = read_leaves(cluster, namespace, pods, params["leaves_timeout"])
    return {
        "changed": False,
        "anchors": anchors,
        "issuer": sources.issuer_source(secret, namespace, scheme, pods, issuer_problem),
        "issuer_scheme": scheme,
        "signer": sources.secret_source(secret, namespace, "ca.crt", issuer_problem),
        "renewal_time": sources.renewal_time(certificate),
        "certificate_missing": sources.certificate_missing(secret, certificate_problem),
        **controllers.states(lambda reference: read(cluster, reference), certificate, anchors["bundle"]),
        "trust_domain": sources.trust_domain(values),
        "pods": sources.pod_groups(pods, anchors["changed_at"]),
        "pods_problem": pods_problem,
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
