# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of the modules for a mesh, from Kubernetes objects. Without arguments all certificates match."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import leaves as linkerd_leaves
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import comparison
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains
from support.authority import DAY, NOW, Credential, key, make

ROOT = make("root.linkerd.cluster.local", start=NOW - DAY, end=NOW + 89 * DAY)
NEXT = make("root.linkerd.cluster.local", own_key=key("p256", 40), start=NOW - DAY / 24, end=NOW + 365 * DAY)
ISSUER = make("identity.linkerd.cluster.local", ROOT, own_key=key("p256", 41), start=NOW - DAY / 12, end=NOW + 2 * DAY)
HOUR = DAY / 24
WRITTEN, LATER, EARLIER = "2026-11-24T11:00:00Z", "2026-11-24T11:00:09Z", "2026-11-24T10:59:00Z"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config_map(*anchors: Credential, **data: str) -> dict[str, Any]:
    fields = [
        {"manager": "trust-manager", "time": WRITTEN, "fieldsV1": {"f:data": {}}},
        {"manager": "somebody", "time": LATER, "fieldsV1": {"f:metadata": {}}},
    ]
    meta = {"creationTimestamp": EARLIER, "managedFields": fields}
    return {"metadata": meta, "data": data or {"ca-bundle.crt": "".join(one.pem for one in anchors)}}


def secret(issuer: Credential, signer: Credential | None) -> dict[str, Any]:
    data = {"tls.crt": encoded(issuer.pem), "tls.key": encoded("not a certificate"), "ca.crt": ""}
    return {"metadata": {}, "data": {**data, **({"ca.crt": encoded(signer.pem)} if signer else {})}}


def field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def leaf_of(
    name: Any,
    issuer: Credential = ISSUER,
    *,
    start: datetime = NOW - HOUR,
    end: datetime = NOW + 23 * HOUR,
    **more: Any,
) -> Credential:
    return make(name, issuer, own_key=key("p256", 45), ca=None, key_cert_sign=False, start=start, end=end, **more)


def presented(pod: dict[str, Any], leaf: Credential, *above: Credential) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what is read from a proxy that presents these certificates."""
    [target] = linkerd_leaves.targets([pod])
    return linkerd_leaves.leaf(target, [one.certificate.public_bytes(Encoding.DER) for one in (leaf, *above)])


def pod(
    name: str, pem: str | None = None, *, started: str = LATER, native: bool = False, **more: Any
) -> dict[str, Any]:
    """Return an injected pod with its trust anchors. Without them it is a pod of the control plane."""
    variable: dict[str, Any] = {"name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"}
    reference = {"name": "linkerd-identity-trust-roots", "key": "ca-bundle.crt"}
    variable |= {"value": pem} if pem else {"valueFrom": {"configMapKeyRef": reference}}
    identity = {
        "name": linkerd_leaves.LOCAL_NAME,
        "value": "$(_pod_sa).$(_pod_ns).serviceaccount.identity.linkerd.cluster.local",
    }
    env = [{"name": "OTHER", "value": "x"}, variable, field("_pod_sa", "spec.serviceAccountName")]
    env += [field("_pod_ns", "metadata.namespace"), identity]
    proxy = {"name": "linkerd-proxy", "env": env, "ports": [{"name": "linkerd-admin", "containerPort": 4191}]}
    status = [{"name": "linkerd-proxy", "state": {"running": {"startedAt": started}}}]
    namespace = "emojivoto" if pem else "linkerd"
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid of {name}", **more},
        "spec": {"containers": [{"name": "app"}], "initContainers": [proxy]}
        if native
        else {"containers": [{"name": "app"}, proxy]},
        "status": {"phase": "Running", "initContainerStatuses" if native else "containerStatuses": status},
    }


def reading(
    anchors: tuple[Credential, ...] = (ROOT,),
    issuer: Credential = ISSUER,
    signer: Credential | None = ROOT,
    pods: list[dict[str, Any]] | None = None,
    renewal: str | None = "2026-11-25T09:00:00Z",
    leaves: list[tuple[dict[str, Any], list[dict[str, Any]]]] | None = None,
    missing: list[dict[str, Any]] | None = None,
    above: tuple[Credential, ...] = (),
    trust_domain: str | None = "cluster.local",
) -> dict[str, Any]:
    """Return a result. Each pod presents a leaf of the issuer and the certificates above, unless leaves are given."""
    found = sources.anchors_source(config_map(*anchors), "linkerd")
    pem = "".join(one.pem for one in anchors)
    pods = [pod("linkerd-identity-0"), pod("web-0", pem), pod("web-1", pem, native=True)] if pods is None else pods
    if leaves is None:
        certified = [] if missing else [one for one in pods if is_certified(one)]
        leaves = [presented(one, leaf_of("web", issuer), issuer, *above) for one in certified]
    return {
        "anchors": found,
        "issuer": sources.secret_source(secret(issuer, signer), "linkerd", "tls.crt"),
        "signer": sources.secret_source(secret(issuer, signer), "linkerd", "ca.crt"),
        "renewal_time": renewal,
        "trust_domain": trust_domain,
        "pods": sources.pod_groups(pods, found["changed_at"]),
        "leaves": linkerd_leaves.groups(leaves),
        "leaves_missing": missing or [],
    }


def is_certified(one: dict[str, Any]) -> bool:
    return any(target.started_at for target in linkerd_leaves.targets([one]))


def vault(*issuers: Credential) -> dict[str, Any]:
    return {
        "address": "http://127.0.0.1:8200",
        "mount": "pki",
        "issuers": [sources.with_pem(one.certificate) for one in issuers or (ROOT,)],
    }


PASSED = {"passed": True, "categories": {"linkerd-identity": {"success": 39, "warning": 1, "error": 0}},
          "warnings_allowed": [{"description": "issuer cert is valid for at least 60 days"}]}  # fmt: skip


def report(
    vault_result: dict[str, Any] | None = None,
    allowed: tuple[str, ...] = (),
    min_days: tuple[float, ...] = (0, 0),
    **clusters: Any,
) -> dict[str, Any]:
    """Return a report at NOW. A cluster is its reading, or its reading and the result of linkerd_check.

    `min_days` is the required remaining validity of issuer, anchor and the CAs between them.
    """
    read = [
        comparison.Cluster.from_results(name, *(given if isinstance(given, tuple) else (given, PASSED)))
        for name, given in clusters.items()
    ]
    leaf, anchor, intermediate = (*min_days, 0)[:3]
    required = chains.requirements(NOW, "linkerd", None, leaf, anchor, intermediate_min_days=intermediate)
    return comparison.report(comparison.vault_facts(vault_result or vault()), read, required, allowed)
