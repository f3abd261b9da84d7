# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Linkerd's identity controller and CLI verify an issuer. Private to this collection.

They call Verify of Go's crypto/x509 without a name and without key usages, which means serverAuth (linkerd2:
pkg/tls/cred.go). The rules are those of crypto/x509/verify.go in Go 1.26: a limit of 100 candidates, self-issued CAs
count as any other, key identifiers only order the candidates, and anchors are checked like any CA.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import go_parse as parse
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.go_name_constraints import violations
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.go_policies import policies_hold
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import (
    SERVER,
    Attempt,
    Link,
    Signatures,
    best,
    by_subject,
    unknown_issuer,
    validity,
)

MAX_CANDIDATES = 100  # maxChainSignatureChecks
EXPLAINED = 300  # candidates of the second search, which only explains
UNDERSTOOD = {
    *(parse.SAN, parse.NAME_CONSTRAINTS, parse.EXTENDED_KEY_USAGE, parse.POLICIES, parse.BASIC_CONSTRAINTS),
    *parse.NEVER_CRITICAL,  # Go does not parse those that are
    *(parse.KEY_USAGE, parse.POLICY_CONSTRAINTS, parse.CRL_POINTS, parse.POLICY_MAPPINGS, parse.INHIBIT_ANY_POLICY),
}
SIGNATURES = {
    parse.RSA: {f"1.2.840.113549.1.1.{number}" for number in (11, 12, 13)},
    parse.EC: {f"1.2.840.10045.4.3.{number}" for number in (2, 3, 4)},
    parse.ED25519: {parse.ED25519},
}
PSS, MGF1 = "1.2.840.113549.1.1.10", "1.2.840.113549.1.1.8"
SALTS = {"2.16.840.1.101.3.4.2.1": 32, "2.16.840.1.101.3.4.2.2": 48, "2.16.840.1.101.3.4.2.3": 64}
ANY_USAGE = "2.5.29.37.0"


def verify(leaf: Link, intermediates: list[Node], roots: list[Node], at: datetime, signed: Signatures) -> Attempt:
    """The path that Go finds, without reasons; else the one that explains most, with what stands against it."""
    search = Search(intermediates, roots, at, signed)
    found = search.run(leaf)
    if not found.reasons:
        return found
    if search.exhausted:
        text = f"Go gives up after {MAX_CANDIDATES} candidates for issuers: give fewer certificates of the same name"
        return Attempt(found.path, [leaf.reason("too_complex", text)], found.complete)
    explained = Search(intermediates, roots, at, signed, limit=EXPLAINED, strict=False).run(leaf)
    return explained if explained.reasons else found


class Search:
    """One search for a path. Where it is strict it leaves a path at the first thing that Go refuses, as Go does."""

    def __init__(
        self,
        intermediates: list[Node],
        roots: list[Node],
        at: datetime,
        signed: Signatures,
        limit: int = MAX_CANDIDATES,
        strict: bool = True,
    ) -> None:
        self.pools = ((by_subject(roots), True), (by_subject(intermediates), False))
        self.roots = {node.certificate for node in roots}
        self.at, self.signed, self.left, self.strict = at, signed, limit, strict
        self.attempts: list[Attempt] = []

    @property
    def exhausted(self) -> bool:
        return self.left < 0

    def run(self, leaf: Link) -> Attempt:
        reasons = list(_valid(leaf, [], self.at)) if isinstance(leaf, Node) else []
        if isinstance(leaf, Node) and leaf.certificate in self.roots:
            return Attempt([leaf], [*reasons, *_whole([leaf])])
        if not (self.strict and reasons):
            self._extend(Attempt([leaf], reasons, False))
        return best(self.attempts or [Attempt([leaf], reasons or [unknown_issuer(leaf)], False)])

    def _extend(self, so_far: Attempt) -> bool:
        """Whether a path was found that nothing stands against; then it is the last attempt and the best."""
        path, child, nothing = so_far.path, so_far.path[-1], True
        for parent, is_root in self._candidates(child):
            self.left -= 1
            if self.exhausted:
                return False
            if _in_chain(parent, path):
                continue
            nothing = False
            broken = list(self._signature(child, parent))
            reasons = [*so_far.reasons, *broken, *_valid(parent, path, self.at, intermediate=not is_root)]
            if broken or (self.strict and reasons):
                self.attempts.append(Attempt(path, reasons, False))
                continue
            longer = [*path, parent]
            if is_root:
                self.attempts.append(Attempt(longer, [*reasons, *_whole(longer)]))
                if not self.attempts[-1].reasons:
                    return True
            elif self._extend(Attempt(longer, reasons, False)):
                return True
        if nothing:
            self.attempts.append(Attempt(path, [*so_far.reasons, unknown_issuer(child)], False))
        return False

    def _candidates(self, child: Link) -> Iterator[tuple[Node, bool]]:
        wanted = child.key_identifiers[1]
        for pool, is_root in self.pools:
            for node in sorted(pool.get(child.raw.issuer, []), key=lambda node: _distance(node, wanted)):
                yield node, is_root

    def _signature(self, child: Link, parent: Node) -> Iterator[Reason]:
        if (parent.raw.version == 3 and parent.constraints is None) or _is_no_ca(parent):
            yield parent.reason("not_a_ca", "It is not a CA (basic constraints), so what it signs is not trusted")
        elif _may_not_sign(parent):
            yield parent.reason("key_usage", "Its key usage does not allow it to sign certificates (keyCertSign)")
        elif isinstance(child, Node):
            yield from self._verified(child, parent)
        elif not self.signed(child, parent):
            yield child.reason("wrong_signature", f"Its signature was not made by the key of {parent.subject}")

    def _verified(self, child: Node, parent: Node) -> Iterator[Reason]:
        kind = key_kind(parent)
        oid, *parameters = der.children(child.raw.signature_inner)
        algorithm = der.dotted(oid.value)
        if kind not in SIGNATURES or (algorithm == PSS and not _is_usual_pss(parameters)):
            yield child.reason("weak_signature", "Go does not verify signatures of its kind")
        elif algorithm not in SIGNATURES[kind] and not (algorithm == PSS and kind == parse.RSA):
            name = certs.signature_algorithm(child.certificate)
            yield child.reason(
                "weak_signature", f"Go does not verify its signature ({name}) by a key of {parent.subject}"
            )
        elif not self.signed(child, parent) or (
            (certs.key_facts(parent.certificate)[1] or 0) < 1024 and kind == parse.RSA
        ):
            yield child.reason("wrong_signature", f"Its signature was not made by the key of {parent.subject}")


def key_kind(node: Node) -> str:
    """The object identifier of the public key's algorithm."""
    return parse.key_kind(node.raw.spki)


def _distance(node: Node, wanted: bytes) -> int:
    found = node.key_identifiers[0]
    return 0 if found == wanted else 1 if not found or not wanted else 2


def _in_chain(candidate: Node, path: list[Link]) -> bool:
    """Whether a certificate of the same name, key and alternative names is in the path."""
    return any(
        node.raw.subject == candidate.raw.subject
        and node.raw.spki == candidate.raw.spki
        and node.value(parse.SAN) == candidate.value(parse.SAN)
        for node in path
    )


def _is_no_ca(node: Node) -> bool:
    constraints = node.constraints
    return constraints is not None and not constraints.ca


def _may_not_sign(node: Node) -> bool:
    usage = certs.key_usage(node.certificate) if node.raw.version == 3 else None
    return bool(usage) and "keyCertSign" not in (usage or ())


def _is_usual_pss(parameters: list[der.Element]) -> bool:
    """Whether the mask uses the same hash as the signature, and the salt has its length."""
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
    """What Go asks of each certificate of a path, given those below it."""
    if node.raw.version == 3:
        yield from _critical(node)
    yield from validity(node, at)
    constraints = node.constraints
    if intermediate and (constraints is None or not constraints.ca):
        yield node.reason("not_a_ca", "It is not a CA (basic constraints), so what it signs is not trusted")
    limit = constraints.path_length if constraints else None
    if limit is not None and len(below) - 1 > limit:
        yield node.reason("path_length", f"It allows {limit} CA(s) below it, there are {len(below) - 1}")


def _critical(node: Node) -> Iterator[Reason]:
    for oid, (critical, value) in node.raw.extensions.items():
        if not critical:
            continue
        if oid not in UNDERSTOOD:
            yield node.reason("critical_extension", f"Go does not understand its critical extension {oid}")
        elif oid == parse.SAN and not any(name.tag in parse.NAMES for name in der.children(value)):
            yield node.reason(
                "critical_extension", "Its critical subject alternative names are of kinds that Go ignores"
            )
        elif oid == parse.NAME_CONSTRAINTS and not all(base.tag in parse.NAMES for base in parse.bases(value)):
            yield node.reason("critical_extension", "It limits names of kinds other than DNS, IP, email and URI")


def _whole(path: list[Link]) -> Iterator[Reason]:
    """What Go asks of a whole path: serverAuth in all extended key usages, and names within all constraints."""
    for node in path:
        usages = node.usages
        if usages and SERVER not in usages and ANY_USAGE not in usages:
            found = ", ".join(getattr(node, "usage_names", usages))
            yield node.reason(
                "extended_key_usage", f"Its extended key usages are {found}, wanted is serverAuth, or none"
            )
    yield from violations(path)
    if not policies_hold(path):
        yield path[0].reason("policies", "The path has no certificate policy that its policy constraints demand")
