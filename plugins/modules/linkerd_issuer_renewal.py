#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_issuer_renewal
short_description: Renew Linkerd's identity issuer
version_added: 0.2.0
description:
  - Requests a new identity issuer from cert-manager, as C(cmctl renew) does, by setting the condition C(Issuing) in the
    status of its Certificate.
  - Waits until the Secret contains the new certificate, or cert-manager reports a failed attempt. After a failed
    attempt the error contains what the CertificateRequest and the issuer report, and Linkerd still uses the old
    certificate.
  - After a timeout, or when the API server stops responding, the outcome is unknown. cert-manager may still issue the
    certificate.
  - Waits until every pod of Linkerd's identity controller has reported the event C(IssuerUpdated). It occurs when the
    changed Secret reaches the pod, usually within two minutes. The event C(IssuerUpdateSkipped) of one of them is an
    error with its message.
  - Each run renews the certificate, even if it is still valid for a long time.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - servicemesh.pki._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: none
    details:
      - Each run renews the certificate.
options:
  name:
    description: Name of the Certificate.
    type: str
    default: linkerd-identity-issuer
  linkerd_namespace:
    description: Namespace of the Certificate and of Linkerd's control plane.
    type: str
    default: linkerd
  timeout:
    description:
      - Seconds to wait for the new certificate.
      - If the API server is busy or does not respond, the module retries its request until then.
    type: int
    default: 120
  event_timeout:
    description:
      - Seconds to wait for Linkerd's events. After that, RV(in_use) is false, and the task does not fail.
      - If events or the pods of the identity controller cannot be listed, the task fails before it renews the
        certificate.
    type: int
    default: 180
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
notes:
  - Requires C(get) on the Certificate and on its Secret, C(update) on C(certificates/status), and C(list) on events and
    pods, all in O(linkerd_namespace). With C(watch) on Certificates, it notices a change at once.
  - To explain a failed attempt, it reads CertificateRequests, events and the issuer, as far as it is permitted.
seealso:
  - module: servicemesh.pki.k8s_condition
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Renew the identity issuer
  servicemesh.pki.linkerd_issuer_renewal:
    kubeconfig: ~/.kube/config
    context: production
  register: renewal

- name: Show the new certificate
  ansible.builtin.debug:
    msg: "{{ renewal.certificate.subject }} until {{ renewal.certificate.not_after }}"
"""

RETURN = r"""
certificate:
  description:
    - Facts of the first certificate in the Secret, with the keys of P(servicemesh.pki.x509_certificates#filter).
    - In check mode, those of the certificate that would be replaced.
    - Empty without a certificate, or if it cannot be read.
  returned: success, and failure with RV(code) V(issuer_rejected) or V(usage_unknown)
  type: dict
in_use:
  description:
    - Whether every pod of the identity controller reported that it uses the new certificate. False in check mode.
    - A pod that starts during the renewal reports nothing, so it can be false then.
  returned: success
  type: bool
issued_after:
  description: Seconds until the Secret contained the new certificate.
  returned: success, not in check mode
  type: float
in_use_after:
  description: Seconds until Linkerd reported that it uses the certificate, or until O(event_timeout).
  returned: success, not in check mode
  type: float
code:
  description:
    - V(issuance_failed) when cert-manager reports a failed attempt. Linkerd still uses the old certificate.
    - V(outcome_unknown) when the new certificate was requested and it is not known whether it will be issued.
    - V(issuer_rejected) when a pod of the identity controller rejects the new certificate, V(usage_unknown) when its
      events or its pods cannot be listed. The Secret contains the new certificate then.
    - V(certificate_not_found), V(kind_not_found), V(namespace_not_found) or V(namespace_terminating) when there is no
      Certificate.
    - V(missing_library) when C(cryptography) cannot be imported.
    - V(ambiguous_cluster), V(no_login) or V(no_host) when the options and the environment do not name one cluster.
    - V(invalid_kubeconfig), V(unreachable), V(refused), V(server_busy) or V(unexpected_answer)
      when the API server cannot be used.
  returned: failure
  type: str
"""

import base64
import time
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, run
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Expectation, ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import events as linkerd_events
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, cryptography

API = "cert-manager.io/v1"
IDENTITY = "linkerd-identity"
EVENT_INTERVAL = 1  # seconds
OUTCOME_UNKNOWN = "A new certificate was requested, and the outcome is unknown."
DIFF_FACTS = ("subject", "serial_number", "not_before", "not_after", "fingerprint_sha256")


def certificate_facts(cluster: Cluster, certificate: dict[str, Any]) -> dict[str, Any]:
    """Facts of the first certificate in the Secret of a Certificate; empty without one. The key is not used."""
    name, namespace = certificate["spec"]["secretName"], certificate["metadata"]["namespace"]
    secret = cluster.get(ObjectReference("v1", "Secret", name, namespace))
    text = ((secret or {}).get("data") or {}).get("tls.crt")
    try:
        return certs.certificate_facts(certs.parse_bundle(base64.b64decode(text))[0]) if text else {}
    except certs.X509Error:
        return {}


def issuing_condition(certificate: dict[str, Any]) -> dict[str, Any]:
    return next((item for item in conditions.get_conditions(certificate) if item.get("type") == "Issuing"), {})


def request_renewal(cluster: Cluster, certificate: dict[str, Any]) -> None:
    """Set the condition Issuing, unless cert-manager is issuing the certificate already.

    Source: cmctl, pkg/renew/renew.go.
    """
    if issuing_condition(certificate).get("status") == "True":
        return
    condition = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Renewal requested by servicemesh.pki",
        "lastTransitionTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "observedGeneration": certificate["metadata"]["generation"],
    }
    others = [item for item in conditions.get_conditions(certificate) if item.get("type") != "Issuing"]
    body = {**certificate, "status": {**certificate.get("status", {}), "conditions": [*others, condition]}}
    status = cluster.client.resource("Certificate", API).status
    cluster.request(status.replace, body=body, namespace=certificate["metadata"]["namespace"])


def failed_attempt(certificate: dict[str, Any], previous: dict[str, Any]) -> str | None:
    """What cert-manager reports about an attempt that failed after `previous` was read; None without one."""
    status, before = certificate.get("status") or {}, previous.get("status") or {}
    has_more_failures = (status.get("failedIssuanceAttempts") or 0) > (before.get("failedIssuanceAttempts") or 0)
    failure_time = status.get("lastFailureTime")
    if has_more_failures or (failure_time and failure_time != before.get("lastFailureTime")):
        return conditions.describe_condition(issuing_condition(certificate))
    return None


def is_renewed(certificate: dict[str, Any], previous: dict[str, Any]) -> bool:
    """Whether a newer revision is issued and Ready."""
    status, before = certificate.get("status") or {}, previous.get("status") or {}
    is_newer = (status.get("revision") or 0) > (before.get("revision") or 0)
    metadata = certificate["metadata"]
    ready = Expectation(API, "Certificate", metadata["name"], metadata["namespace"], "Ready")
    is_issuing = issuing_condition(certificate).get("status") == "True"
    return is_newer and not is_issuing and conditions.unmet_reason(certificate, ready) is None


def wait_for_certificate(
    cluster: Cluster, expected: Expectation, previous: dict[str, Any], timeout: int
) -> dict[str, Any]:
    """Facts of the new certificate. Raises ClusterError. With the code issuance_failed, the old one remains in use."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            found = cluster.retry_until(lambda: cluster.get(expected), deadline)
            if found and is_renewed(found, previous):
                return cluster.retry_until(lambda: certificate_facts(cluster, previous), deadline)
        except ClusterError as exc:
            raise ClusterError(f"{OUTCOME_UNKNOWN} {exc}", code="outcome_unknown") from exc
        if found is None:
            raise ClusterError(
                f"{OUTCOME_UNKNOWN} {expected} was deleted during the renewal. Create it and run the task again.",
                code="outcome_unknown",
            )
        if failure := failed_attempt(found, previous):
            reason = f"was not renewed, because an attempt failed: {failure.rstrip('.')}"
            message = cluster.explain(expected, reason, found)
            raise ClusterError(f"Linkerd still uses the old certificate. {message}", code="issuance_failed")
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            message = cluster.explain(expected, f"was not renewed within {timeout} s", found)
            raise ClusterError(f"{OUTCOME_UNKNOWN} {message}", code="outcome_unknown")
        cluster.wait_for_change(expected, found, remaining)


def identity_events(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    selector = f"involvedObject.kind=Deployment,involvedObject.name={IDENTITY}"
    return cluster.list_objects("v1", "Event", namespace, field_selector=selector)


def controller_pods(cluster: Cluster, namespace: str) -> int:
    """The number of pods of the identity controller that are neither finished nor terminating."""
    selector = f"{sources.COMPONENT}={sources.CONTROLLER}"
    found = cluster.list_objects("v1", "Pod", namespace, label_selector=selector)
    return sum(not sources.is_finished(pod) for pod in found)


def wait_for_linkerd(cluster: Cluster, namespace: str, known: set[str], timeout: int) -> bool:
    """Whether all pods of the identity controller use the new issuer. Raises ClusterError if one of them rejects it.

    `known` are the resource versions of events from before the renewal.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            events = cluster.retry_until(lambda: identity_events(cluster, namespace), deadline)
            pods = cluster.retry_until(lambda: controller_pods(cluster, namespace), deadline)
        except ClusterError as exc:
            message = f"The new certificate was issued, but it is unknown whether Linkerd uses it: {exc}"
            raise ClusterError(message, code="usage_unknown") from exc
        update = linkerd_events.update_since(events, known, pods)
        if update.rejection:
            raise ClusterError(
                "A pod of the identity controller rejects the new identity issuer and continues with the old one: "
                f"{update.rejection}. Check the chain with `ansible-playbook playbooks/verify.yml`.",
                code="issuer_rejected",
            )
        if update.is_updated or time.monotonic() >= deadline:
            return update.is_updated
        time.sleep(EVENT_INTERVAL)


def renew(module: AnsibleK8SModule, cluster: Cluster) -> dict[str, Any]:
    params, started = module.params, time.monotonic()
    namespace = params["linkerd_namespace"]
    expected = Expectation(API, "Certificate", params["name"], namespace, "Ready")
    certificate = cluster.get(expected)
    if certificate is None:
        raise cluster.missing_prerequisite(expected) or ClusterError(
            f"{expected} does not exist. Create it with the role linkerd first.", code="certificate_not_found"
        )
    old = certificate_facts(cluster, certificate)
    diff = {"before": {name: old[name] for name in DIFF_FACTS if old}, "after": {"subject": "a new certificate"}}
    known = linkerd_events.resource_versions(identity_events(cluster, namespace))
    controller_pods(cluster, namespace)  # fails before the renewal if it is not permitted
    if module.check_mode:
        return dict(changed=True, certificate=old, in_use=False, diff=diff)
    request_renewal(cluster, certificate)
    new = wait_for_certificate(cluster, expected, certificate, params["timeout"])
    issued = time.monotonic() - started
    try:
        in_use = wait_for_linkerd(cluster, namespace, known, params["event_timeout"])
    except ClusterError as exc:
        exc.details |= {"changed": True, "certificate": new}
        raise
    return dict(
        changed=True,
        certificate=new,
        in_use=in_use,
        issued_after=round(issued, 1),
        in_use_after=round(time.monotonic() - started, 1),
        diff={**diff, "after": {name: new[name] for name in DIFF_FACTS if new}},
    )


def main() -> None:
    module = AnsibleK8SModule(
        argument_spec=dict(
            **AUTH_ARG_SPEC,
            name=dict(type="str", default="linkerd-identity-issuer"),
            linkerd_namespace=dict(type="str", default="linkerd"),
            timeout=dict(type="int", default=120),
            event_timeout=dict(type="int", default=180),
        ),
        supports_check_mode=True,
    )
    cryptography.require(module)
    run(module, lambda cluster: renew(module, cluster))


if __name__ == "__main__":
    main()
