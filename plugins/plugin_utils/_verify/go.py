# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify an issuer as Linkerd's identity controller and CLI do. Private to this collection.

They call Verify of Go's crypto/x509 without a name and without key usages, which means serverAuth (linkerd2:
pkg/tls/cred.go). The rules are those of crypto/x509/verify.go in Go 1.26: a limit of 100 candidates, self-issued CAs
count for the path length, key identifiers only order the candidates, and anchors are checked like any CA.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der, go_name_constraints, oids
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import go_parse as parse
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.go_policies import policies_hold
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import (
    Attempt,
    LimitReached,
    Limits,
    Link,
    Signatures,
    best,
    by_subject,
    not_a_ca,
    path_length,
    unknown_issuer,
    validity,
    wrong_signature,
)

MAX_CANDIDATES = 100  # maxChainSignatureChecks
MAX_EXPLAINED = 300  # candidates of the second search, which collects the reasons
UNDERSTOOD = {
    oids.SUBJECT_ALTERNATIVE_NAME,
    oids.NAME_CONSTRAINTS,
    oids.EXTENDED_KEY_USAGE,
    oids.CERTIFICATE_POLICIES,
    oids.BASIC_CONSTRAINTS,
    oids.KEY_USAGE,
    oids.POLICY_CONSTRAINTS,
    oids.CRL_DISTRIBUTION_POINTS,
    oids.POLICY_MAPPINGS,
    oids.INHIBIT_ANY_POLICY,
    *parse.NEVER_CRITICAL,  # refused by go_parse.py
}
SIGNATURES = {
    oids.RSA: {f"1.2.840.113549.1.1.{number}" for number in (11, 12, 13)},
    oids.EC: {f"1.2.840.10045.4.3.{number}" for number in (2, 3, 4)},
    oids.ED25519: {oids.ED25519},
}
PSS, MGF1 = "1.2.840.113549.1.1.10", "1.2.840.113549.1.1.8"
SALTS = {"2.16.840.1.101.3.4.2.1": 32, "2.16.840.1.101.3.4.2.2": 48, "2.16.840.1.101.3.4.2.3": 64}


def verify(leaf: Link, intermediates: list[Node], roots: list[Node], at: datetime, signed: Signatures) -> Attempt:
    """Return the path that Go finds, or else the best path with the reasons against it."""
    limits = go_name_constraints.limits()
    search = Search(intermediates, roots, at, signed, limits)
    found = search.run(leaf)
    if not found.reasons:
        return found
    if search.exhausted:
        return Attempt(found.path, [leaf.reason("too_complex", search.exhausted)], found.complete)
    explained = Search(intermediates, roots, at, signed, limits, candidates=MAX_EXPLAINED, strict=False).run(leaf)
    return explained if explained.reasons and not limits.reached else found


class Search:
    """A search for a path. A strict search leaves a path at the first reason, as Go does."""

    def __init__(
        self,
        intermediates: list[Node],
        roots: list[Node],
        at: datetime,
        signed: Signatures,
        limits: Limits,
        candidates: int = MAX_CANDIDATES,
        strict: bool = True,
    ) -> None:
        self.pools = ((by_subject(roots), True), (by_subject(intermediates), False))
        self.roots = {node.certificate for node in roots}
        self.at, self.signed, self.limits, self.left, self.strict = at, signed, limits, candidates, strict
        self.exhausted = ""  # the limit that was reached, as a message
        self.attempts: list[Attempt] = []

    def run(self, leaf: Link) -> Attempt:
        reasons = list(_valid(leaf, [], self.at)) if isinstance(leaf, Node) else []
        if isinstance(leaf, Node) and leaf.certificate in self.roots:
            return Attempt([leaf], [*reasons, *self._path_reasons([leaf])])
        if not (self.strict and reasons):
            self._extend(Attempt([leaf], reasons, False))
        return best(self.attempts or [Attempt([leaf], reasons or [unknown_issuer(leaf)], False)])

    def _extend(self, so_far: Attempt) -> bool:
        """Return whether a path without reasons was found. It is the last attempt."""
        path, child, has_candidates = so_far.path, so_far.path[-1], False
        for parent, is_root in self._candidates(child):
            self.left -= 1
            if self.left < 0:
                self.exhausted = f"Go stops after {MAX_CANDIDATES} candidates: give fewer certificates of the same name"
            if self.exhausted:
                return False
            if _in_chain(parent, path):
                continue
            has_candidates = True
            bad_signature = list(self._signature(child, parent))
            reasons = [*so_far.reasons, *bad_signature, *_valid(parent, path, self.at, intermediate=not is_root)]
            if bad_signature or (self.strict and reasons):
                self.attempts.append(Attempt(path, reasons, False))
                continue
            longer = [*path, parent]
            if is_root:
                self.attempts.append(Attempt(longer, [*reasons, *self._path_reasons(longer)]))
                if not self.attempts[-1].reasons:
                    return True
            elif self._extend(Attempt(longer, reasons, False)):
                return True
        if not has_candidates:
            self.attempts.append(Attempt(path, [*so_far.reasons, unknown_issuer(child)], False))
        return False

    def _candidates(self, child: Link) -> Iterator[tuple[Node, bool]]:
        identifier = child.key_identifiers[1]
        for pool, is_root in self.pools:
            for node in sorted(pool.get(child.raw.issuer, []), key=lambda node: _distance(node, identifier)):
                yield node, is_root

    def _path_reasons(self, path: list[Link]) -> Iterator[Reason]:
        """Yield the reasons against a complete path: extended key usages, name constraints and policies."""
        yield from _usages(path)
        try:
            yield from self.limits.violations(path)
        except LimitReached as exc:
            self.exhausted = str(exc)
            yield path[0].reason("too_complex", self.exhausted)
        if not policies_hold(path):
            yield path[0].reason(
                "policies", "The path does not have the certificate policy that its policy constraints require"
            )

    def _signature(self, child: Link, parent: Node) -> Iterator[Reason]:
        if (parent.raw.version == 3 and parent.constraints is None) or _is_no_ca(parent):
            yield not_a_ca(parent)
        elif _may_not_sign(parent):
            yield parent.reason("key_usage", "Its key usage does not permit signing certificates (keyCertSign)")
        elif isinstance(child, Node):
            yield from self._verified(child, parent)
        elif not self.signed(child, parent):
            yield wrong_signature(child, parent)

    def _verified(self, child: Node, parent: Node) -> Iterator[Reason]:
        algorithm_of_key = key_algorithm(parent)
        oid, *parameters = der.children(child.raw.signature_inner)
        algorithm = der.dotted(oid.value)
        if algorithm_of_key not in SIGNATURES or (algorithm == PSS and not _is_usual_pss(parameters)):
            yield child.reason("weak_signature", "Go does not support its signature algorithm")
        elif algorithm not in SIGNATURES[algorithm_of_key] and not (algorithm == PSS and algorithm_of_key == oids.RSA):
            name = certs.signature_algorithm(child.certificate)
            yield child.reason(
                "weak_signature", f"Its signature algorithm {name} does not match the key of {parent.subject}"
            )
        elif not self.signed(child, parent) or (
            (certs.key_facts(parent.certificate)[1] or 0) < 1024 and algorithm_of_key == oids.RSA
        ):
            yield wrong_signature(child, parent)


def key_algorithm(node: Node) -> str:
    """Return the object identifier of the public key's algorithm."""
    return parse.key_algorithm(node.raw.spki)


def _distance(node: Node, identifier: bytes) -> int:
    found = node.key_identifiers[0]
    return 0 if found == identifier else 1 if not found or not identifier else 2


def _in_chain(candidate: Node, path: list[Link]) -> bool:
    """Return whether a certificate with the same name, key and alternative names is in the path."""
    return any(
        node.raw.subject == candidate.raw.subject
        and node.raw.spki == candidate.raw.spki
        and node.value(oids.SUBJECT_ALTERNATIVE_NAME) == candidate.value(oids.SUBJECT_ALTERNATIVE_NAME)
        for node in path
    )


def _is_no_ca(node: Node) -> bool:
    constraints = node.constraints
    return constraints is not None and not constraints.ca


def _may_not_sign(node: Node) -> bool:
    usage = certs.key_usage(node.certificate) if node.raw.version == 3 else None
    return bool(usage) and "keyCertSign" not in (usage or ())


def _is_usual_pss(parameters: list[der.Element]) -> bool:
    """Return whether the mask uses the hash of the signature, and the salt has the length of that hash."""
    parts = {part.tag: part.value for part in der.elements(parameters[0].value)} if parameters else {}
    if not {0xA0, 0xA1, 0xA2} <= set(parts):
        return False
    hashed = der.children(parts[0xA0])
    mask, *inner = der.children(parts[0xA1])
    name = der.dotted(hashed[0].value)
    salt = int.from_bytes(der.first(parts[0xA2]).value, "big")
    same = bool(inner) and der.first(inner[0].value).value == hashed[0].value
    plain = all(item.whole == b"\5\0" for item in hashed[1:]) and parts.get(0xA3, b"\2\1\1") == b"\2\1\1"
    return der.dotted(mask.value) == MGF1 and same and plain and SALTS.get(name) == salt


def _valid(node: Node, below: list[Link], at: datetime, intermediate: bool = False) -> Iterator[Reason]:
    """Yield the reasons against a certificate of a path, given those below it."""
    if node.raw.version == 3:
        yield from _critical(node)
    yield from validity(node, at)
    constraints = node.constraints
    if intermediate and (constraints is None or not constraints.ca):
        yield not_a_ca(node)
    limit = constraints.path_length if constraints else None
    if limit is not None and len(below) - 1 > limit:
        yield path_length(node, limit, len(below) - 1)


def _critical(node: Node) -> Iterator[Reason]:
    for oid, (critical, value) in node.raw.extensions.items():
        if not critical:
            continue
        if oid not in UNDERSTOOD:
            yield node.reason("critical_extension", f"Go does not support its critical extension {oid}")
        elif oid == oids.SUBJECT_ALTERNATIVE_NAME and not any(
            name.tag in parse.GENERAL_NAMES for name in der.children(value)
        ):
            yield node.reason(
                "critical_extension", "Its critical subject alternative names are of types that Go ignores"
            )
        elif oid == oids.NAME_CONSTRAINTS and not all(map(_is_read, parse.bases(value))):
            yield node.reason(
                "critical_extension", "Its name constraints are for types other than DNS, IP, email and URI"
            )


def _is_read(name: der.Element) -> bool:
    return name.tag in parse.GENERAL_NAMES


def _usages(path: list[Link]) -> Iterator[Reason]:
    for node in path:
        usages = node.usages
        if usages and oids.SERVER_AUTH not in usages and oids.ANY_EXTENDED_KEY_USAGE not in usages:
            found = ", ".join(getattr(node, "usage_names", usages))
            yield node.reason(
                "extended_key_usage", f"Its extended key usages are {found}, expected serverAuth, or no such extension"
            )
