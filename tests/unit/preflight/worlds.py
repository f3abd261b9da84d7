# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What mesh_prerequisites_info returns for made-up clusters, and what the roles request by default."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.evaluate import evaluate

Facts = dict[str, Any]
CLUSTER = "berlin"
VAULT_ISSUER = {"group": "cert-manager.io", "kind": "Issuer", "name": "vault"}
NOW = datetime(2026, 11, 27, tzinfo=UTC)


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(
    name: str,
    issuer: str = "",
    number: int = 0,
    own: Any = None,
    digest: hashes.HashAlgorithm | None = None,
    is_ca: bool = True,
) -> Facts:
    """A certificate of that name with its own key; self-signed without an issuer. Facts as the modules return them."""
    own = own or key(name)
    subject, signer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer or name))
    start = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(days=number)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer)
        .public_key(own.public_key())
        .serial_number(number + 1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .sign(key(issuer) if issuer else own, digest or hashes.SHA256())
    )
    return {**certs.certificate_facts(made), "certificate": made.public_bytes(Encoding.PEM).decode()}


def issuers(*names: str, **certificates: Facts) -> list[Facts]:
    """Issuers of Vault, as vault_pki_issuer_info returns them, with a certificate or only with a name."""
    found: dict[str, Facts] = {**{name: {"certificate": ""} for name in names}, **certificates}
    return [{**one, "issuer_name": name, "issuer_id": f"id-of-{name}"} for name, one in found.items()]


def source(where: str, *certificates: Facts, problem: str = "") -> Facts:
    return {"where": where, "certificates": list(certificates), "problem": problem}


def pods(*names: str, trust: tuple[Facts, ...] = (), evidence: str = "spec") -> Facts:
    return {"evidence": evidence, "certificates": list(trust), "problem": "", "pods": list(names)}


def mesh(anchors: list[Facts], issuer: Facts | None, groups: list[Facts], **changes: Any) -> Facts:
    """A mesh whose issuer and anchors come from cert-manager and trust-manager."""
    return {
        "anchors": source("ConfigMap linkerd/linkerd-identity-trust-roots", *anchors),
        "anchors_exist": bool(anchors),
        "anchors_owner": "Bundle linkerd-identity-trust-roots" if anchors else "",
        "copies": [],
        "issuer": source("Secret linkerd/linkerd-identity-issuer, tls.crt", *([issuer] if issuer else [])),
        "issuer_owner": "Certificate linkerd-identity-issuer" if issuer else "",
        "issuer_reference": VAULT_ISSUER if issuer else {},
        "issuer_type": "kubernetes.io/tls" if issuer else "",
        "signer": source("Secret linkerd/linkerd-identity-issuer, ca.crt"),
        "pods": groups,
        **changes,
    }


NO_MESH = mesh([], None, [])


def namespace(**changes: Any) -> Facts:
    return {
        "exists": True, "terminating": False, "held_by": [], "managed": False, "labels": {}, "annotations": {},
        "secrets": 0, "releases": 0, **changes,
    }  # fmt: skip


def empty(**changes: Any) -> Facts:
    """A cluster without any component."""
    gone = namespace(exists=False)
    return {
        "releases": [], "deployments": [], "definitions": [], "admission_policies": [], "objects": [],
        "bundles": [], "uses": [], "anchor_sources": [],
        "namespaces": dict.fromkeys(("cert-manager", "linkerd", "linkerd-trust"), gone),
        "mesh": copy.deepcopy(NO_MESH), "unreadable": [], "programs": {"helm": "3.22.0", "linkerd": "edge-26.6.3"},
        **changes,
    }  # fmt: skip


def release(chart: str, name: str = "", where: str = "", **changes: Any) -> Facts:
    where = where or ("linkerd" if chart.startswith("linkerd") else "cert-manager")
    return {
        "name": name or chart, "namespace": where, "chart": chart, "chart_version": "0.1.0", "app_version": "v1.0.0",
        "status": "deployed", "revision": 1, "managed": "", "is_earlier": False,
        "user_values": {}, "hidden_values": [], "definitions": [],
        **changes,
    }  # fmt: skip


def deployment(component: str, name: str = "", where: str = "", **changes: Any) -> Facts:
    name = name or ("linkerd-identity" if component == "linkerd" else component)
    where = where or ("linkerd" if component == "linkerd" else "cert-manager")
    extra = (
        {"trust_namespace": "linkerd-trust", "target_namespaces": [], "filters": []}
        if component == "trust-manager"
        else {}
    )
    return {
        "component": component, "name": name, "namespace": where, "version": "v1.21.2", "service_account": name,
        "release": None, "created_by": "", **extra, **changes,
    }  # fmt: skip


def definition(name: str, component: str, owner: Facts | None = None, **changes: Any) -> Facts:
    return {
        "name": name, "component": component, "release": owner, "kept": True, "bundle_version": "", "channel": "",
        "created_by": "", **changes,
    }  # fmt: skip


def routes(version: str = "v1.5.1", channel: str = "standard", **changes: Any) -> list[Facts]:
    """The kinds of the Gateway API that Linkerd uses."""
    names = ("httproutes", "grpcroutes")
    return [
        definition(f"{name}.gateway.networking.k8s.io", "gateway-api", bundle_version=version, channel=channel,
                   **{"kept": False, **changes})
        for name in names
    ]  # fmt: skip


def requested(**changes: Facts) -> Facts:
    """What the roles request by default; changes are laid over each part."""
    parts: Facts = {
        "cert_manager": {
            "manage": "auto", "release": "cert-manager", "namespace": "cert-manager", "version": "v1.21.2",
            "chart_version": "v1.21.2", "values": {"crds": {"enabled": True}}, "retry_limit": "1h",
        },
        "trust_manager": {
            "manage": "auto", "release": "trust-manager", "namespace": "cert-manager", "values": {},
            "chart_version": "v0.25.0", "trust_namespace": "linkerd-trust", "make_namespace": True,
            "forbid_secrets": True,
        },
        "linkerd": {
            "manage": "auto", "required": True, "certificates": True, "namespace": "linkerd",
            "values": {}, "crds_values": {}, "cni": False,
            "creates_namespaces": True, "chart_version": "2026.6.3", "crds_chart_version": "2026.6.3",
            "trust_selector": {"matchLabels": {"kubernetes.io/metadata.name": "linkerd"}},
            "duration": "48h", "renew_before": "25h", "common_name": "identity.linkerd.cluster.local",
            "labels": {"linkerd.io/is-control-plane": "true"}, "annotations": {"linkerd.io/inject": "disabled"},
            "gateway_api": {"source": "install.yaml", "version": "1.5.1", "upgrade": False}, "has_configmap": True,
            "issuer": VAULT_ISSUER,
            "trust_source": "anchors", "trust_namespace": "linkerd-trust", "anchors": [], "extra_anchors": [],
            "check": True, "cli": "linkerd", "expected_version": "edge-26.6.3",
        },
        "issuer": {
            "cert_manager_namespace": "cert-manager", "cert_manager_service_account": "cert-manager",
            "needs_service_account": True, "server": "https://vault.test:8200", "auth": "jwt", "kubernetes_host": "",
            "objects": [{"kind": "Issuer", "metadata": {"name": "vault", "namespace": "linkerd"}}],
        },
    }  # fmt: skip
    for name, change in changes.items():
        parts[name] = {**parts[name], **change} if isinstance(change, dict) else change
    return parts


def check(found: Facts, configuration: Facts | None = None, leaves: Facts | None = None) -> Facts:
    return evaluate(CLUSTER, found, configuration or requested(), leaves, NOW)


def codes(result: Facts, part: str = "problems") -> list[str]:
    return [one["code"] for one in result[part]]
