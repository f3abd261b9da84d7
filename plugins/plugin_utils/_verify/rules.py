# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of RFC 5280 for a path, and further requirements of a playbook. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import ExtensionOID
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import name_constraints, oids
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import (
    LimitReached,
    Limits,
    not_a_ca,
    path_length,
    validity,
)

Facts = dict[str, Any]
UNDERSTOOD = {  # critical extensions; policies and CRL addresses are not checked
    oids.BASIC_CONSTRAINTS,
    oids.KEY_USAGE,
    oids.EXTENDED_KEY_USAGE,
    oids.SUBJECT_ALTERNATIVE_NAME,
    oids.NAME_CONSTRAINTS,
    oids.SUBJECT_KEY_IDENTIFIER,
    oids.AUTHORITY_KEY_IDENTIFIER,
    oids.CERTIFICATE_POLICIES,
    oids.CRL_DISTRIBUTION_POINTS,
}
REQUESTED = ("expires_soon", "key_type")  # codes that only further requirements can cause
MIN_BITS = {"ec": 256, "rsa": 2048}


@dataclass(frozen=True)
class Requirements:
    """What to verify. `workload` is the DNS identity that the profile linkerd verifies below the issuer."""

    at: datetime
    profile: str | None = None
    key_types: tuple[str, ...] = ()
    leaf_min_validity: timedelta = timedelta()
    anchor_min_validity: timedelta = timedelta()
    intermediate_min_validity: timedelta = timedelta()
    workload: str = ""
    trust_domain: str = "cluster.local"


@dataclass(frozen=True)
class Verdict:
    """The best path, the reasons against it, and what is unusual and does not prevent its use."""

    path: list[Node]
    reasons: list[Reason]
    unusual: list[Reason] = field(default_factory=list)
    run_cryptography: Callable[[], Facts | None] = lambda: None  # only called for facts(), because it takes time

    @property
    def verified(self) -> bool:
        return not self.reasons

    @property
    def refused_by(self) -> list[str]:
        """The components of Linkerd that refuse it, without duplicates."""
        return list(dict.fromkeys(component for reason in self.reasons for component in reason.refused_by))

    def facts(self) -> Facts:
        return {
            "verified": self.verified,
            "path": [certs.certificate_facts(node.certificate) for node in self.path],
            "reasons": [reason.facts() for reason in self.reasons],
            "refused_by": self.refused_by,
            "unusual": [reason.facts() for reason in self.unusual],
            "cryptography": self._cryptography(),
        }

    def _cryptography(self) -> Facts | None:
        found = self.run_cryptography()
        ours = all(reason.code in REQUESTED for reason in self.reasons)
        return None if found is None else {**found, "agrees": found["verified"] is ours}


def path_reasons(path: list[Node], required: Requirements, limits: Limits, complete: bool = True) -> Iterator[Reason]:
    """Yield the reasons against a path whose names and signatures match. It is complete if it ends at an anchor."""
    for depth, node in enumerate(path):
        yield from validity(node, required.at)
        yield from _strength(node)
        yield from _critical(node)
        if depth > 0:
            yield from _authority(node)
    yield from _path_lengths(path)
    try:
        yield from name_constraints.violations(path, limits)
    except LimitReached as exc:
        yield path[0].reason("too_complex", str(exc))
    yield from further_reasons(path, required, complete)


def further_reasons(path: list[Node], required: Requirements, complete: bool = True) -> Iterator[Reason]:
    """Yield the reasons from requirements beyond RFC 5280: key types and remaining validity."""
    for node in path:
        yield from _key_type(node, required.key_types)
    yield from _remaining(path[0], required.at, required.leaf_min_validity, "leaf")
    for node in path[1:-1] if complete else path[1:]:
        yield from _remaining(node, required.at, required.intermediate_min_validity, "intermediate CA")
    if complete:
        yield from _remaining(path[-1], required.at, required.anchor_min_validity, "anchor")


def _remaining(node: Node, at: datetime, minimum: timedelta, role: str) -> Iterator[Reason]:
    if not minimum:
        return
    left = node.certificate.not_valid_after_utc - at
    if timedelta() <= left < minimum:
        days, required = left / timedelta(days=1), minimum / timedelta(days=1)
        yield node.reason("expires_soon", f"It expires in {days:.1f} days, the {role} must have {required:g} left")


def _strength(node: Node) -> Iterator[Reason]:
    key_type, bits, dummy = certs.key_facts(node.certificate)
    if key_type == "unknown" or (bits or 0) < MIN_BITS.get(key_type, 0):
        yield node.reason("weak_key", f"Its key ({key_type}, {bits} bits) is too weak or of an unknown type")


def _key_type(node: Node, key_types: tuple[str, ...]) -> Iterator[Reason]:
    if not key_types:
        return
    key_type, bits, dummy = certs.key_facts(node.certificate)
    if key_type not in key_types and f"{key_type}:{bits}" not in key_types:
        yield node.reason("key_type", f"Its key is {key_type}:{bits}, expected {' or '.join(key_types)}")


def _critical(node: Node) -> Iterator[Reason]:
    for extension in node.extensions.values():
        oid = extension.oid.dotted_string
        if extension.critical and oid not in UNDERSTOOD:
            yield node.reason("critical_extension", f"Its critical extension {oid} is not supported")


def _authority(node: Node) -> Iterator[Reason]:
    if node.constraints is None or not node.constraints.ca:
        yield not_a_ca(node)
    usage = node.extension(ExtensionOID.KEY_USAGE)
    if usage is not None and not usage.key_cert_sign:
        yield node.reason("key_usage", "Its key usage does not permit signing certificates (keyCertSign)")


def _path_lengths(path: list[Node]) -> Iterator[Reason]:
    """Count the certificates between a CA and the leaf, without self-issued ones (RFC 5280 section 4.2.1.9)."""
    below = 0
    for node in path[1:]:
        limit = node.constraints.path_length if node.constraints else None
        if limit is not None and below > limit:
            yield path_length(node, limit, below)
        if not node.is_self_issued:
            below += 1
