#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_issuer_renewal
short_description: Renews Linkerd's identity issuer now, and waits until Linkerd says that it uses the new one
version_added: 0.2.0
description:
  - Tells cert-manager to issue the Certificate anew, as C(cmctl renew) does, by the condition C(Issuing) in its status.
  - Waits until the new certificate is in the Secret, or until cert-manager says that the attempt failed. Then the error
    holds what its CertificateRequest and its issuer say, and the old certificate stays in use.
  - When the time is over before that, or the API server can no longer be asked, the error says that the outcome is not
    known. cert-manager goes on with it.
  - Waits for the event C(IssuerUpdated) of Linkerd's identity controller, which comes when Kubernetes has shown the
    changed Secret to its pod, within two minutes as a rule. The event C(IssuerUpdateSkipped) is an error with Linkerd's
    own words.
  - Each run renews. There is nothing to compare, for the certificate that is there may be quite good.
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
      - Renewing is what it is for.
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
      - Seconds to wait at most for the new certificate.
      - An API server that cannot answer for a moment is asked again until then.
    type: int
    default: 120
  event_timeout:
    description:
      - Seconds to wait at most for Linkerd's event. When it does not come, RV(in_use) is false, which is no error.
      - Events that cannot be read are an error, before anything is renewed.
    type: int
    default: 180
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
seealso:
  - module: servicemesh.pki.k8s_condition
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Let Vault sign a new identity issuer
  servicemesh.pki.linkerd_issuer_renewal:
    kubeconfig: ~/.kube/config
    context: production
  register: renewal

- name: Show what it is
  ansible.builtin.debug:
    msg: "{{ renewal.certificate.subject }} until {{ renewal.certificate.not_after }}"
"""

RETURN = r"""
certificate:
  description:
    - Facts of the first certificate in the Secret as it is now, as P(servicemesh.pki.x509_certificates#filter) gives
      them. In check mode those of the one that would be replaced.
    - Empty when there is none yet, or what is there is no certificate.
  returned: success
  type: dict
in_use:
  description: Whether Linkerd has said that it uses the new certificate. In check mode false.
  returned: success
  type: bool
issued_after:
  description: Seconds until the new certificate was there.
  returned: success, not in check mode
  type: float
in_use_after:
  description: Seconds until Linkerd said that it uses it, or until the module gave up.
  returned: success, not in check mode
  type: float
"""

import base64
import time
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError, run
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Wanted
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import events as linkerd_events
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, cryptography

API = "cert-manager.io/v1"
IDENTITY = "linkerd-identity"
UNKNOWN = "The renewal was asked for, and its outcome is not known."
SHOWN = ("subject", "serial_number", "not_before", "not_after", "fingerprint_sha256")


def certificate(cluster: Cluster, found: dict[str, Any]) -> dict[str, Any]:
    """Facts of the certificate in the Secret, none where it is no certificate. The key beside it is not looked at."""
    secret = cluster.get(Wanted("v1", "Secret", found["spec"]["secretName"], found["metadata"]["namespace"]))
    text = ((secret or {}).get("data") or {}).get("tls.crt")
    try:
        return certs.certificate_facts(certs.parse_bundle(base64.b64decode(text))[0]) if text else {}
    except certs.X509Error:
        return {}


def issuing(found: dict[str, Any]) -> dict[str, Any]:
    return next((item for item in conditions.conditions(found) if item.get("type") == "Issuing"), {})


def start(cluster: Cluster, found: dict[str, Any]) -> None:
    """One that is being issued already is waited for, not disturbed."""
    if issuing(found).get("status") == "True":
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    condition = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Renewal asked for by servicemesh.pki",
        "lastTransitionTime": now,
        "observedGeneration": found["metadata"]["generation"],
    }
    others = [item for item in conditions.conditions(found) if item.get("type") != "Issuing"]
    found = {**found, "status": {**found.get("status", {}), "conditions": [*others, condition]}}
    status = cluster.client.resource("Certificate", API).status
    cluster.ask(status.replace, body=found, namespace=found["metadata"]["namespace"])


def failure(found: dict[str, Any], before: dict[str, Any]) -> str | None:
    """What cert-manager says of an attempt that failed since."""
    status, old = found.get("status") or {}, before.get("status") or {}
    if (status.get("failedIssuanceAttempts") or 0) > (old.get("failedIssuanceAttempts") or 0) or (
        status.get("lastFailureTime") and status["lastFailureTime"] != old.get("lastFailureTime")
    ):
        return conditions.sentence(issuing(found))
    return None


def renewed(found: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether a newer revision is there and ready."""
    status, old = found.get("status") or {}, before.get("status") or {}
    newer = (status.get("revision") or 0) > (old.get("revision") or 0)
    wanted = Wanted(API, "Certificate", found["metadata"]["name"], found["metadata"]["namespace"], "Ready")
    return newer and issuing(found).get("status") != "True" and conditions.unmet(found, wanted) is None


def wait(cluster: Cluster, wanted: Wanted, before: dict[str, Any], timeout: int) -> dict[str, Any]:
    """Facts of the new certificate. Only an attempt that failed tells that the old one stays."""
    until = time.monotonic() + timeout
    while True:
        try:
            found = cluster.patiently(lambda: cluster.get(wanted), until)
            if found and renewed(found, before):
                return cluster.patiently(lambda: certificate(cluster, before), until)
        except ClusterError as exc:
            raise ClusterError(f"{UNKNOWN} {exc}") from exc
        if found is None:
            raise ClusterError(f"{UNKNOWN} {wanted} was removed a moment ago. Run again when it is there.")
        if failed := failure(found, before):
            why = f"was not renewed. cert-manager could not renew it: {failed.rstrip('.')}"
            raise ClusterError(f"The old certificate stays in use. {cluster.explain(wanted, why, found)}")
        left = until - time.monotonic()
        if left <= 0:
            why = f"was not renewed within {timeout} s"
            raise ClusterError(f"{UNKNOWN} {cluster.explain(wanted, why, found)}")
        cluster.wait_for_change(wanted, found, left)


def events(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    selector = f"involvedObject.kind=Deployment,involvedObject.name={IDENTITY}"
    return cluster.every("v1", "Event", namespace, field_selector=selector)


def wait_for_linkerd(cluster: Cluster, namespace: str, before: set[str], timeout: int) -> bool:
    """Whether Linkerd took the new issuer; a ClusterError when it refused it."""
    until = time.monotonic() + timeout
    while True:
        try:
            said = linkerd_events.since(cluster.patiently(lambda: events(cluster, namespace), until), before)
        except ClusterError as exc:
            raise ClusterError(f"The new certificate is there, but not whether Linkerd uses it: {exc}") from exc
        if said.skipped:
            raise ClusterError(
                f"Linkerd does not take the new identity issuer and goes on with the old one: {said.skipped}. "
                "Look at the chain: ansible-playbook playbooks/verify.yml"
            )
        if said.updated or time.monotonic() >= until:
            return said.updated
        time.sleep(1)


def work(module: AnsibleK8SModule, cluster: Cluster) -> dict[str, Any]:
    params, started = module.params, time.monotonic()
    namespace = params["linkerd_namespace"]
    wanted = Wanted(API, "Certificate", params["name"], namespace, "Ready")
    found = cluster.get(wanted)
    if found is None:
        raise ClusterError(cluster.missing_ground(wanted) or f"{wanted} does not exist. Make it first (role linkerd).")
    old = certificate(cluster, found)
    shown = {"before": {name: old[name] for name in SHOWN if old}, "after": {"subject": "a new certificate"}}
    before = linkerd_events.versions(events(cluster, namespace))
    if module.check_mode:
        return dict(changed=True, certificate=old, in_use=False, diff=shown)
    start(cluster, found)
    new = wait(cluster, wanted, found, params["timeout"])
    issued = time.monotonic() - started
    in_use = wait_for_linkerd(cluster, namespace, before, params["event_timeout"])
    return dict(
        changed=True,
        certificate=new,
        in_use=in_use,
        issued_after=round(issued, 1),
        in_use_after=round(time.monotonic() - started, 1),
        diff={**shown, "after": {name: new[name] for name in SHOWN if new}},
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
    run(module, lambda cluster: work(module, cluster))


if __name__ == "__main__":
    main()
