# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cert-manager and trust-manager report about their objects of a mesh. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Optional

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Expectation, ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources

Object = dict[str, Any]
Found = Optional[Object]  # noqa: UP045 - pylint of ansible-test knows no other form
Read = Callable[[ObjectReference], tuple[Found, str]]
CERT_MANAGER, TRUST_MANAGER = "cert-manager.io/v1", "trust.cert-manager.io/v1alpha1"
EXPIRES = "servicemesh.pki/credential-expires"  # the annotation that the role vault_issuer writes


def failed_attempts(certificate: Object | None) -> int | None:
    """Return how often in a row the latest issuance failed. cert-manager removes the number when it succeeds."""
    if certificate is None:
        return None
    return int((certificate.get("status") or {}).get("failedIssuanceAttempts") or 0)


def issuer_of(certificate: Object | None) -> ObjectReference | None:
    """Return the issuer of cert-manager that a Certificate names, or None if it is of another group."""
    found = ((certificate or {}).get("spec") or {}).get("issuerRef") or {}
    kind = found.get("kind") or "Issuer"
    if certificate is None or not found or found.get("group", "cert-manager.io") != "cert-manager.io":
        return None
    namespace = certificate["metadata"].get("namespace") if kind == "Issuer" else None
    return ObjectReference(CERT_MANAGER, kind, found["name"], namespace)


def credential(issuer: Object | None) -> dict[str, str] | None:
    """Return the Secret with the credential for Vault and the end of its validity, or None if it is not known."""
    found = ((((issuer or {}).get("spec") or {}).get("vault") or {}).get("auth")) or {}
    secret = found.get("tokenSecretRef") or (found.get("appRole") or {}).get("secretRef")
    metadata = (issuer or {}).get("metadata") or {}
    end = (metadata.get("annotations") or {}).get(EXPIRES)
    if not secret or not end:
        return None
    try:
        datetime.fromisoformat(str(end))
    except ValueError:
        return None
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return {"where": f"Secret {place}{secret['name']}", "not_after": str(end)}


def state(reference: ObjectReference, found: Object | None, problem: str, condition: str) -> dict[str, Any] | None:
    """Return whether an object has a condition for its current generation. None if the object cannot be read.

    `problem` is the predicate of an object that was not found. One that does not exist is not ready.
    """
    if found is None:
        return {"where": str(reference), "ready": False} if problem == sources.MISSING else None
    expected = Expectation(reference.api_version, reference.kind, reference.name, reference.namespace, condition)
    return {"where": str(reference), "ready": conditions.unmet_reason(found, expected) is None}


def issuer_state(reference: ObjectReference, issuer: Object | None, problem: str) -> dict[str, Any] | None:
    """Return whether an issuer of cert-manager is Ready, and the path in Vault that signs its certificates."""
    found = state(reference, issuer, problem, "Ready")
    path = (((issuer or {}).get("spec") or {}).get("vault") or {}).get("path")
    return found and {**found, "path": path}


def states(read: Read, certificate: Object | None, bundle: str | None) -> dict[str, Any]:
    """Return what both controllers report. `read` returns an object, or None and the predicate of its reference."""
    reference = issuer_of(certificate)
    issuer, problem = read(reference) if reference else (None, "")
    source = ObjectReference(TRUST_MANAGER, "Bundle", bundle) if bundle else None
    return {
        "failed_attempts": failed_attempts(certificate),
        "cert_manager_issuer": issuer_state(reference, issuer, problem) if reference else None,
        "bundle": state(source, *read(source), "Synced") if source else None,
        "credential": credential(issuer),
    }
