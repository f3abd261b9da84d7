# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a chain leads to an anchor, and if not, exactly why. Private to this collection.

cryptography's own verifier is made for the leaves of the Web PKI: it refuses a leaf that is a CA, such as Linkerd's
identity issuer, and one without a subject alternative name. So only the signatures are checked by it, the rules of
RFC 5280 that apply here are below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils import _x509, _x509_names
from ansible_collections.servicemesh.pki.plugins.module_utils._cryptography import (
    ExtendedKeyUsageOID,
    ExtensionOID,
    x509,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509_path import Builder, Node, Reason

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
LEAST_BITS = {"ec": 256, "rsa": 2048}


@dataclass(frozen=True)
class Profile:
    """What is asked beyond RFC 5280."""

    leaf_is_ca: bool = False
    leaf_keys: tuple[str, ...] = ()
    anchor_keys: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()  # of the leaf, and of the anchor itself
    # Of every certificate of the path:
    curves: tuple[str, ...] = ()
    usages: tuple[x509.ObjectIdentifier, ...] = ()  # one of them, where extended key usages are limited
    constraints: tuple[type[x509.GeneralName], ...] = ()  # kinds of names that a critical extension may limit


PROFILES = {
    None: Profile(),
    # The identity controller wants a CA; `linkerd check` wants these algorithms; the rest is what Go's crypto/x509,
    # with which both verify, reads, and what it asks for where its caller names no usage.
    "linkerd": Profile(
        leaf_is_ca=True,
        leaf_keys=("ec:256",),
        anchor_keys=("ec:256", "rsa:2048", "rsa:4096"),
        signatures=("ecdsa-with-SHA256", "sha256WithRSAEncryption"),
        curves=("secp256r1", "secp384r1", "secp521r1"),
        usages=(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
        constraints=(x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier),
    ),
}


@dataclass(frozen=True)
class Requirements:
    at: datetime
    profile: Profile = Profile()
    key_types: tuple[str, ...] = ()
    leaf_min_life: timedelta = timedelta()
    anchor_min_life: timedelta = timedelta()


@dataclass(frozen=True)
class Verdict:
    path: list[Node]
    reasons: list[Reason]

    @property
    def verified(self) -> bool:
        return not self.reasons

    def facts(self) -> dict[str, Any]:
        return {
            "verified": self.verified,
            "path": [_x509.certificate_facts(node.certificate) for node in self.path],
            "reasons": [reason.facts() for reason in self.reasons],
        }


def requirements(
    at: str | datetime | None = None,
    profile: str | None = None,
    key_types: list[str] | str | None = None,
    leaf_min_days: float = 0,
    anchor_min_days: float = 0,
) -> Requirements:
    """From what a playbook gives; a list may be a text with commas, as everywhere in Ansible."""
    if isinstance(key_types, str):
        key_types = [one.strip() for one in key_types.split(",")]
    if profile not in PROFILES:
        raise _x509.X509Error(f"There is no profile {profile!r}. Choose one of: {', '.join(filter(None, PROFILES))}")
    try:
        return Requirements(
            at=moment(at),
            profile=PROFILES[profile],
            key_types=tuple(key_types or ()),
            leaf_min_life=timedelta(days=float(leaf_min_days)),
            anchor_min_life=timedelta(days=float(anchor_min_days)),
        )
    except (TypeError, OverflowError, ValueError) as exc:
        raise _x509.X509Error(f"Requirements of the chain: {exc}") from exc


def moment(at: str | datetime | None) -> datetime:
    """A time with its zone. UTC where none is given, now when there is no time."""
    if at is None:
        return datetime.now(UTC)
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    if not isinstance(at, datetime):
        raise TypeError("at is a time in ISO 8601, such as 2026-11-24T12:00:00Z")
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"at {at.isoformat()} is outside the years 1 to 9999 in UTC: give another time") from None


def verify(chain: list[x509.Certificate], anchors: list[x509.Certificate], wanted: Requirements) -> Verdict:
    """Judges the first certificate of the chain; the others are helpers in any order. Anchors are trusted as given."""
    leaf, *others = [Node(certificate) for certificate in chain]
    builder = Builder(others, [Node(certificate) for certificate in anchors])
    best = None
    for path in builder.paths(leaf):
        verdict = Verdict(path, list(path_reasons(path, wanted)))
        if verdict.verified:
            return verdict
        if best is None or len(verdict.reasons) < len(best.reasons):
            best = verdict
    if best is not None:
        return best
    reasons = [*builder.obstacles, *path_reasons(builder.partial, wanted, complete=False)]
    if builder.exhausted:
        reasons.append(leaf.reason("too_complex", "Too many certificates of the same names: give fewer"))
    return Verdict(builder.partial or [leaf], reasons)


def path_reasons(path: list[Node], wanted: Requirements, complete: bool = True) -> Iterator[Reason]:
    """Everything that stands against a path whose names and signatures fit."""
    for depth, node in enumerate(path):
        yield from _validity(node, wanted.at)
        yield from _keys(node, wanted.key_types)
        yield from _critical(node)
        if depth > 0 or wanted.profile.leaf_is_ca:
            yield from _authority(node)
    yield from _path_lengths(path, wanted.profile.leaf_is_ca)
    yield from _x509_names.violations(path)
    yield from _profile(path, wanted.profile, complete)
    yield from _remaining(path[0], wanted.at, wanted.leaf_min_life, "leaf")
    if complete:
        yield from _remaining(path[-1], wanted.at, wanted.anchor_min_life, "anchor")


def _validity(node: Node, at: datetime) -> Iterator[Reason]:
    if at < node.certificate.not_valid_before_utc:
        start = _x509.iso(node.certificate.not_valid_before_utc)
        yield node.reason("not_yet_valid", f"It is valid from {start}, asked for {_x509.iso(at)}")
    if at > node.certificate.not_valid_after_utc:
        end = _x509.iso(node.certificate.not_valid_after_utc)
        yield node.reason("expired", f"It expired at {end}, asked for {_x509.iso(at)}")


def _remaining(node: Node, at: datetime, least: timedelta, what: str) -> Iterator[Reason]:
    if not least:
        return
    left = node.certificate.not_valid_after_utc - at
    if timedelta() <= left < least:
        days = left / timedelta(days=1)
        yield node.reason(
            "expires_soon", f"As {what} it has {days:.1f} days left, wanted {least / timedelta(days=1):g}"
        )


def _keys(node: Node, key_types: tuple[str, ...]) -> Iterator[Reason]:
    key_type, bits, dummy = _x509.key_facts(node.certificate)
    if key_type == "unknown" or (bits or 0) < LEAST_BITS.get(key_type, 0):
        yield node.reason("weak_key", f"Its key ({key_type}, {bits} bits) is too weak or not known")
    if key_types and not key_is(key_types, key_type, bits):
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


def _path_lengths(path: list[Node], leaf_is_ca: bool) -> Iterator[Reason]:
    """Certificates between a CA and the leaf, self-issued ones apart. A leaf that is to sign leaves counts too."""
    below = 0
    for depth, node in enumerate(path):
        constraints = node.extension(ExtensionOID.BASIC_CONSTRAINTS)
        limit = constraints.path_length if constraints else None
        if depth > 0 and limit is not None and below > limit:
            yield node.reason("path_length", f"It allows {limit} CA(s) below it, there are {below}")
        if (depth > 0 or leaf_is_ca) and not node.is_self_issued:
            below += 1


def _profile(path: list[Node], profile: Profile, complete: bool) -> Iterator[Reason]:
    leaf, anchor = path[0], path[-1]
    for node, keys, what in ((leaf, profile.leaf_keys, "leaf"), (anchor, profile.anchor_keys, "anchor")):
        if not keys or (node is anchor and not complete):
            continue
        key_type, bits, dummy = _x509.key_facts(node.certificate)
        if not key_is(keys, key_type, bits):
            yield node.reason("key_type", f"As {what} its key is {key_type}:{bits}, wanted {' or '.join(keys)}")
    for node in dict.fromkeys([leaf, anchor] if complete else [leaf]):
        algorithm = _x509.signature_algorithm(node.certificate)
        if profile.signatures and algorithm not in profile.signatures:
            wanted = " or ".join(profile.signatures)
            yield node.reason("signature_algorithm", f"It is signed with {algorithm}, wanted {wanted}")
    for node in path:
        yield from _readable(node, profile)


def _readable(node: Node, profile: Profile) -> Iterator[Reason]:
    """What a profile asks of every certificate of the path."""
    curve = _x509.key_facts(node.certificate)[2]
    if profile.curves and curve and curve not in profile.curves:
        told = f"Its key is on the curve {curve}, which Linkerd cannot read, wanted {profile.curves[0]}"
        yield node.reason("key_type", told)
    usages = node.extension(ExtensionOID.EXTENDED_KEY_USAGE)
    if profile.usages and usages is not None and not set(usages) & set(profile.usages):
        found, wanted = ", ".join(_x509.oid_name(oid) for oid in usages), _x509.oid_name(profile.usages[0])
        told = f"Its extended key usages are {found}, wanted {wanted} too, or none at all"
        yield node.reason("extended_key_usage", told)
    limits = node.extensions.get(ExtensionOID.NAME_CONSTRAINTS)
    if profile.constraints and limits is not None and limits.critical:
        trees = [*(limits.value.permitted_subtrees or ()), *(limits.value.excluded_subtrees or ())]
        if not all(isinstance(tree, profile.constraints) for tree in trees):
            told = "It limits a kind of names other than DNS, IP, email and URI, which Linkerd refuses"
            yield node.reason("critical_extension", told)
