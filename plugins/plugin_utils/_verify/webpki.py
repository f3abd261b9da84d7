# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify the certificate of a workload as Linkerd's proxies do. Private to this collection.

They use rustls-webpki (linkerd2-proxy: linkerd/meshtls/src/creds.rs) and verify a workload as server and as client. The
rules are those of rustls-webpki 0.103 (cert.rs, verify_cert.rs, trust_anchor.rs) with the signature algorithms that
the proxy supports (linkerd/rustls/src/crypto.rs). Only name, key and name constraints of an anchor are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der, oids
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import webpki_name_constraints as name_constraints
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import (
    Attempt,
    LimitReached,
    Limits,
    Link,
    Signatures,
    Workload,
    best,
    not_a_ca,
    path_length,
    unknown_issuer,
    validity,
    wrong_signature,
)

MAX_SIGNATURES, MAX_COMPARISONS = 100, 250_000
MAX_CALLS = 2000  # candidates for an issuer; webpki allows 200 000, but no chain that Go verifies needs so many
MAX_AUTHORITIES = 6  # certificates between the workload and an anchor
MAX_SIZE = 0xFFFF
USAGES = {oids.SERVER_AUTH: ("serverAuth", "server"), oids.CLIENT_AUTH: ("clientAuth", "client")}
UNDERSTOOD = {
    oids.KEY_USAGE,
    oids.SUBJECT_ALTERNATIVE_NAME,
    oids.BASIC_CONSTRAINTS,
    oids.NAME_CONSTRAINTS,
    oids.CRL_DISTRIBUTION_POINTS,
    oids.EXTENDED_KEY_USAGE,
}
# Content of algorithm identifiers in DER.
EC_KEY, RSA_KEY, ED25519_KEY = "06072a8648ce3d0201", "06092a864886f70d0101010500", "06032b6570"
EC_KEYS = {EC_KEY + curve for curve in ("06082a8648ce3d030107", "06052b81040022", "06052b81040023")}
SIGNATURES = {
    **{key: {f"06082a8648ce3d04030{number}" for number in (2, 3, 4)} for key in EC_KEYS},
    RSA_KEY: {f"06092a864886f70d01010{number}0500" for number in "bcd"},
    ED25519_KEY: {ED25519_KEY},
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RSA_BITS = range(2048, 8192 + 1)


def verify(
    leaf: Link, intermediates: list[Node], anchors: list[Node], at: datetime, usage: str, signed: Signatures
) -> Attempt:
    """Return the path that webpki finds for an extended key usage, or else the best one with the reasons against it."""
    limits = name_constraints.limits()
    search = Search(intermediates, anchors, at, usage, signed, limits)
    search.run(leaf)
    found = best(search.attempts)
    if not found.reasons:
        return found
    if search.exhausted:
        return Attempt(found.path, [leaf.reason("too_complex", search.exhausted)], found.complete)
    explained = Search(intermediates, anchors, at, usage, signed, limits, strict=False)
    explained.run(leaf)
    return best(explained.attempts) if not explained.exhausted else found


class Search:
    """A search for a path. A strict search leaves a path at the first reason, as webpki does."""

    def __init__(
        self,
        intermediates: list[Node],
        anchors: list[Node],
        at: datetime,
        usage: str,
        signed: Signatures,
        limits: Limits,
        strict: bool = True,
    ) -> None:
        self.intermediates = intermediates
        self.anchors = [node for node in anchors if not unreadable(node, anchor=True)]
        self.at, self.usage, self.signed, self.strict = at, usage, signed, strict
        self.signatures, self.calls, self.comparisons, self.limits = MAX_SIGNATURES, MAX_CALLS, MAX_COMPARISONS, limits
        self.exhausted = ""  # the limit that was reached, as a message
        self.attempts: list[Attempt] = []

    def run(self, leaf: Link) -> None:
        reasons = unreadable(leaf, anchor=False) if isinstance(leaf, Node) else []
        if self.strict and reasons:
            self.attempts.append(Attempt([leaf], reasons, False))
        else:
            self._extend(Attempt([leaf], reasons, False))
        if not self.attempts:
            self.attempts.append(Attempt([leaf], [unknown_issuer(leaf)], False))

    def _extend(self, so_far: Attempt) -> bool:
        """Return whether the search is finished: the last attempt has no reasons, or a limit is reached."""
        path, head = so_far.path, so_far.path[-1]
        reasons = list(so_far.reasons)
        if isinstance(head, Node):
            reasons += self._independent(head, len(path) - 1)
        if self.strict and reasons:
            self.attempts.append(Attempt(path, reasons, False))
            return False
        has_candidates = False
        for anchor in self.anchors:
            if anchor.raw.subject == head.raw.issuer:
                has_candidates = True
                if self._end(path, anchor, reasons):
                    return True
        for parent in self.intermediates:
            if parent.raw.subject == head.raw.issuer and not _in_path(parent, path):
                has_candidates = True
                if self._climb(path, parent, reasons):
                    return True
        if not has_candidates:
            self.attempts.append(Attempt(path, [*reasons, unknown_issuer(head)], False))
        return False

    def _climb(self, path: list[Link], parent: Node, reasons: list[Reason]) -> bool:
        self.calls -= 1
        if self.calls < 0:
            self.exhausted = "There are too many paths: give fewer certificates of the same name"
            return True
        reasons = [*reasons, *unreadable(parent, anchor=False)]
        if len(path) > MAX_AUTHORITIES:
            message = f"The proxies allow {MAX_AUTHORITIES} certificates between a workload and its anchor"
            self.attempts.append(Attempt(path, [*reasons, path[-1].reason("path_too_long", message)], False))
            return False
        bad_signature = [] if self.strict else list(self._signature(path[-1], parent))
        if bad_signature or (self.strict and reasons):
            self.attempts.append(Attempt(path, [*reasons, *bad_signature], False))
            return False
        return self._extend(Attempt([*path, parent], reasons, False))

    def _end(self, path: list[Link], anchor: Node, reasons: list[Reason]) -> bool:
        """Check the signatures and then the names of a path that reaches an anchor."""
        whole = [*path, anchor]
        above = {place: node for place, node in enumerate(path) if isinstance(node, Node)}
        for place in range(len(path), 0, -1):
            self.signatures -= self.strict
            if self.signatures < 0:
                self.exhausted = (
                    f"The proxies stop after {MAX_SIGNATURES} signatures: give fewer certificates of the same name"
                )
                return True
            bad_signature = list(self._signature(whole[place - 1], anchor if place == len(path) else above[place]))
            if bad_signature:
                self.attempts.append(Attempt(path, [*reasons, *bad_signature], False))
                return False
        self.comparisons -= name_constraints.comparisons(whole, self.limits)
        if self.comparisons < 0:
            self.exhausted = (
                f"The proxies stop after {MAX_COMPARISONS} comparisons of names with name constraints: give"
                " certificates with fewer of them"
            )
            return True
        try:
            reasons = [*reasons, *self.limits.violations(whole)]
        except LimitReached as exc:
            self.exhausted = str(exc)
            return True
        self.attempts.append(Attempt(whole, reasons))
        return not reasons

    def _signature(self, child: Link, parent: Node) -> Iterator[Reason]:
        key = der.children(parent.raw.spki)[0].value.hex()
        if isinstance(child, Workload):
            if key not in EC_KEYS:
                yield parent.reason("key_type", "The proxies do not support signatures of its key, expected EC P-256")
            elif not self.signed(child, parent):
                yield wrong_signature(child, parent)
            return
        algorithm = der.first(child.raw.signature_outer).value.hex()
        if algorithm not in SIGNATURES.get(key, ()):
            name = certs.signature_algorithm(child.certificate)
            yield child.reason(
                "weak_signature",
                f"The proxies do not support its signature algorithm {name} with the key of its issuer",
            )
        elif key == RSA_KEY and certs.key_facts(parent.certificate)[1] not in RSA_BITS:
            yield parent.reason("weak_key", "The proxies support only RSA keys of 2048 to 8192 bits")
        elif not self.signed(child, parent):
            yield wrong_signature(child, parent)

    def _independent(self, node: Node, depth: int) -> Iterator[Reason]:
        """Yield the reasons against a certificate, given the number of certificates below it."""
        yield from validity(node, self.at)
        if node.certificate.not_valid_before_utc < EPOCH:
            yield node.reason(
                "not_yet_valid", "The proxies cannot read times before 1970, and its validity begins earlier"
            )
        if node.certificate.not_valid_before_utc > node.certificate.not_valid_after_utc:
            yield node.reason("expired", "Its validity ends before it begins")
        constraints = node.constraints
        if depth > 0 and (constraints is None or not constraints.ca):
            yield not_a_ca(node)
        elif depth == 0 and constraints is not None and constraints.ca:
            yield node.reason("not_a_leaf", "It is a CA (basic constraints), so a workload cannot use it")
        elif depth > 0 and constraints.path_length is not None and depth - 1 > constraints.path_length:
            yield path_length(node, constraints.path_length, depth - 1)
        if node.usages is not None and self.usage not in node.usages:
            found = ", ".join(node.usage_names) or "empty"
            expected, role = USAGES[self.usage]
            user = f"workloads below it cannot be TLS {role}s" if depth else f"the workload cannot be a TLS {role}"
            message = f"Its extended key usages are {found}: without {expected} {user}"
            yield node.reason("extended_key_usage", message)


def unreadable(node: Node, anchor: bool) -> list[Reason]:
    """Return why webpki cannot parse a certificate, as an anchor or as part of a chain."""
    return [node.reason(code, f"The proxies refuse it: {message}") for code, message in _problems(node, anchor)]


def _problems(node: Node, anchor: bool) -> Iterator[tuple[str, str]]:
    raw = node.raw
    if raw.version != 3 and not (anchor and raw.version == 1):
        yield "version", f"its version is {raw.version}, expected 3"
    if raw.unique_ids:
        yield "version", "it has a unique identifier of its issuer or subject"
    if raw.version == 3 and raw.signature_inner != raw.signature_outer:
        yield "signature_algorithm", "it names two different signature algorithms"
    if raw.signature_bits[:1] != b"\0":
        yield "wrong_signature", "the length of its signature is not a whole number of bytes"
    if len(node.certificate.tbs_certificate_bytes) > MAX_SIZE:
        yield "too_complex", "it is larger than 64 kB"
    for oid, (critical, _value) in raw.extensions.items():
        if critical and oid not in UNDERSTOOD and not anchor:
            yield "critical_extension", f"its critical extension {oid} is not supported"
    if not anchor:
        limit = node.constraints.path_length if node.constraints else None
        if limit is not None and limit > 255:
            yield "path_length", "its path length is larger than 255"


def _in_path(candidate: Node, path: list[Link]) -> bool:
    return any(node.raw.spki == candidate.raw.spki and node.raw.subject == candidate.raw.subject for node in path)
