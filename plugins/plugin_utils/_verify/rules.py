# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of RFC 5280 for a path, and what a playbook asks beyond them. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import ExtensionOID
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import name_constraints
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import validity

Facts = dict[str, Any]
UNDERSTOOD = {  # critical extensions that are checked, or that (policies, CRL addresses) only inform
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
}
REQUESTED = ("expires_soon", "key_type")  # reasons that only a request makes
LEAST_BITS = {"ec": 256, "rsa": 2048}


@dataclass(frozen=True)
class Requirements:
    """What is asked. The workload is the DNS identity that the profile linkerd judges below the issuer."""

    at: datetime
    profile: str | None = None
    key_types: tuple[str, ...] = ()
    leaf_min_life: timedelta = timedelta()
    anchor_min_life: timedelta = timedelta()
    workload: str = ""
    trust_domain: str = "cluster.local"


@dataclass(frozen=True)
class Verdict:
    """A path, what stands against it, and what is unusual about it and does not."""

    path: list[Node]
    reasons: list[Reason]
    unusual: list[Reason] = field(default_factory=list)
    second_judge: Callable[[], Facts | None] = lambda: None  # asked only where the facts are wanted: it takes its time

    @property
    def verified(self) -> bool:
        return not self.reasons

    @property
    def refused_by(self) -> list[str]:
        """The parts of Linkerd that refuse it, each once."""
        return list(dict.fromkeys(part for reason in self.reasons for part in reason.refused_by))

    def facts(self) -> Facts:
        return {
            "verified": self.verified,
            "path": [certs.certificate_facts(node.certificate) for node in self.path],
            "reasons": [reason.facts() for reason in self.reasons],
            "refused_by": self.refused_by,
            "unusual": [reason.facts() for reason in self.unusual],
            "second_judge": self._second(),
        }

    def _second(self) -> Facts | None:
        found = self.second_judge()
        ours = all(reason.code in REQUESTED for reason in self.reasons)
        return None if found is None else {**found, "agrees": found["verified"] is ours}


def path_reasons(path: list[Node], wanted: Requirements, complete: bool = True) -> Iterator[Reason]:
    """Everything that stands against a path whose names and signatures fit."""
    for depth, node in enumerate(path):
        yield from validity(node, wanted.at)
        yield from _strength(node)
        yield from _critical(node)
        if depth > 0:
            yield from _authority(node)
    yield from _path_lengths(path)
    yield from name_constraints.violations(path)
    yield from requested(path, wanted, complete)


def requested(path: list[Node], wanted: Requirements, complete: bool = True) -> Iterator[Reason]:
    """What stands against a path of all that is only requested: kinds of keys, and time that is left."""
    for node in path:
        yield from _keys(node, wanted.key_types)
    yield from _remaining(path[0], wanted.at, wanted.leaf_min_life, "leaf")
    if complete:
        yield from _remaining(path[-1], wanted.at, wanted.anchor_min_life, "anchor")


def _remaining(node: Node, at: datetime, least: timedelta, what: str) -> Iterator[Reason]:
    if not least:
        return
    left = node.certificate.not_valid_after_utc - at
    if timedelta() <= left < least:
        days = left / timedelta(days=1)
        yield node.reason(
            "expires_soon", f"As {what} it has {days:.1f} days left, wanted {least / timedelta(days=1):g}"
        )


def _strength(node: Node) -> Iterator[Reason]:
    key_type, bits, dummy = certs.key_facts(node.certificate)
    if key_type == "unknown" or (bits or 0) < LEAST_BITS.get(key_type, 0):
        yield node.reason("weak_key", f"Its key ({key_type}, {bits} bits) is too weak or not known")


def _keys(node: Node, key_types: tuple[str, ...]) -> Iterator[Reason]:
    if not key_types:
        return
    key_type, bits, dummy = certs.key_facts(node.certificate)
    if not key_is(key_types, key_type, bits):
        yield node.reason("key_type", f"Its key is {key_type}:{bits}, allowed are {', '.join(key_types)}")


def key_is(wanted: tuple[str, ...], key_type: str, bits: int | None) -> bool:
    return key_type in wanted or f"{key_type}:{bits}" in wanted


def _critical(node: Node) -> Iterator[Reason]:
    for extension in node.extensions.values():
        if extension.critical and extension.oid not in UNDERSTOOD:
            oid = extension.oid.dotted_string
            yield node.reason("critical_extension", f"Its critical extension {oid} is not understood here")


def _authority(node: Node) -> Iterator[Reason]:
    constraints = node.extension(ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is None or not constraints.ca:
        yield node.reason("not_a_ca", "It is not a CA (basic constraints), so what it signs is not to be trusted")
    usage = node.extension(ExtensionOID.KEY_USAGE)
    if usage is not None and not usage.key_cert_sign:
        yield node.reason("key_usage", "Its key usage does not allow to sign certificates (keyCertSign)")


def _path_lengths(path: list[Node]) -> Iterator[Reason]:
    """Certificates between a CA and the leaf, self-issued ones apart."""
    below = 0
    for node in path[1:]:
        constraints = node.extension(ExtensionOID.BASIC_CONSTRAINTS)
        limit = constraints.path_length if constraints else None
        if limit is not None and below > limit:
            yield node.reason("path_length", f"It allows {limit} CA(s) below it, there are {below}")
        if not node.is_self_issued:
            below += 1
