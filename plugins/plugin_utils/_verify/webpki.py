# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Linkerd's proxies verify a workload below an issuer. Private to this collection.

They verify with rustls-webpki (linkerd2-proxy: linkerd/meshtls/src/creds.rs), each workload as a server and as a
client. The rules are those of rustls-webpki 0.103 (cert.rs, verify_cert.rs, trust_anchor.rs) with the signature
algorithms that the proxy chooses (linkerd/rustls/src/crypto.rs). Of an anchor only its name, its key and its name
constraints count.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import go_parse as parse
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import (
    CLIENT,
    SERVER,
    Attempt,
    Link,
    Signatures,
    Workload,
    best,
    unknown_issuer,
    validity,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.webpki_name_constraints import Limits, TooMany

MAX_SIGNATURES, MAX_COMPARISONS = 100, 250_000
MAX_CALLS = 2000  # candidates; webpki gives up after 200 000, of which no chain that Go verifies comes near
MAX_AUTHORITIES = 6  # certificates between the workload and an anchor
MAX_SIZE = 0xFFFF
USAGES = {SERVER: ("serverAuth", "servers"), CLIENT: ("clientAuth", "clients")}
UNDERSTOOD = {
    *(parse.KEY_USAGE, parse.SAN, parse.BASIC_CONSTRAINTS, parse.NAME_CONSTRAINTS, parse.CRL_POINTS),
    parse.EXTENDED_KEY_USAGE,
}
# The content of algorithm identifiers.
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
    """The path that webpki finds for a use, without reasons; else the one that explains most, with its reasons."""
    search = Search(intermediates, anchors, at, usage, signed)
    search.run(leaf)
    found = best(search.attempts)
    if not found.reasons:
        return found
    if search.too_much:
        return Attempt(found.path, [leaf.reason("too_complex", search.too_much)], found.complete)
    explained = Search(intermediates, anchors, at, usage, signed, strict=False)
    explained.run(leaf)
    return best(explained.attempts) if not explained.too_much else found


class Search:
    """One search for a path. Where it is strict it leaves a path at the first thing that webpki refuses."""

    def __init__(
        self,
        intermediates: list[Node],
        anchors: list[Node],
        at: datetime,
        usage: str,
        signed: Signatures,
        strict: bool = True,
    ) -> None:
        self.intermediates = intermediates
        self.anchors = [node for node in anchors if not unreadable(node, anchor=True)]
        self.at, self.usage, self.signed, self.strict = at, usage, signed, strict
        self.signatures, self.calls, self.limits = MAX_SIGNATURES, MAX_CALLS, Limits(MAX_COMPARISONS)
        self.too_much = ""
        self.attempts: list[Attempt] = []

    def run(self, leaf: Link) -> None:
        broken = unreadable(leaf, anchor=False) if isinstance(leaf, Node) else []
        if self.strict and broken:
            self.attempts.append(Attempt([leaf], broken, False))
        else:
            self._extend(Attempt([leaf], broken, False))
        if not self.attempts:
            self.attempts.append(Attempt([leaf], [unknown_issuer(leaf)], False))

    def _extend(self, so_far: Attempt) -> bool:
        """Whether the search is over: a path without reasons was found and is the last attempt, or it is too much."""
        path, head = so_far.path, so_far.path[-1]
        reasons = list(so_far.reasons)
        if isinstance(head, Node):
            reasons += self._independent(head, len(path) - 1)
        if self.strict and reasons:
            self.attempts.append(Attempt(path, reasons, False))
            return False
        nothing = True
        for anchor in self.anchors:
            if anchor.raw.subject == head.raw.issuer:
                nothing = False
                if self._end(path, anchor, reasons):
                    return True
        for parent in self.intermediates:
            if parent.raw.subject == head.raw.issuer and not _in_path(parent, path):
                nothing = False
                if self._climb(path, parent, reasons):
                    return True
        if nothing:
            self.attempts.append(Attempt(path, [*reasons, unknown_issuer(head)], False))
        return False

    def _climb(self, path: list[Link], parent: Node, reasons: list[Reason]) -> bool:
        self.calls -= 1
        if self.calls < 0:
            self.too_much = "There are too many ways through the certificates: give fewer of the same names"
            return True
        reasons = [*reasons, *unreadable(parent, anchor=False)]
        if len(path) > MAX_AUTHORITIES:
            text = f"The proxies allow {MAX_AUTHORITIES} certificates between a workload and its anchor"
            self.attempts.append(Attempt(path, [*reasons, path[-1].reason("path_too_long", text)], False))
            return False
        broken = [] if self.strict else list(self._signature(path[-1], parent))
        if broken or (self.strict and reasons):
            self.attempts.append(Attempt(path, [*reasons, *broken], False))
            return False
        return self._extend(Attempt([*path, parent], reasons, False))

    def _end(self, path: list[Link], anchor: Node, reasons: list[Reason]) -> bool:
        """Judges a path that reaches an anchor: all of its signatures, then all names."""
        whole = [*path, anchor]
        above = {place: node for place, node in enumerate(path) if isinstance(node, Node)}
        for place in range(len(path), 0, -1):
            self.signatures -= self.strict
            if self.signatures < 0:
                self.too_much = f"The proxies give up after {MAX_SIGNATURES} signatures: give fewer of the same names"
                return True
            broken = list(self._signature(whole[place - 1], anchor if place == len(path) else above[place]))
            if broken:
                self.attempts.append(Attempt(path, [*reasons, *broken], False))
                return False
        try:
            reasons = [*reasons, *self.limits.violations(whole)]
        except TooMany as exc:
            self.too_much = str(exc)
            return True
        self.attempts.append(Attempt(whole, reasons))
        return not reasons

    def _signature(self, child: Link, parent: Node) -> Iterator[Reason]:
        key = der.children(parent.raw.spki)[0].value.hex()
        if isinstance(child, Workload):
            if key not in EC_KEYS:
                yield parent.reason("key_type", "The proxies do not verify what its key signs, wanted is EC P-256")
            elif not self.signed(child, parent):
                yield child.reason("wrong_signature", f"Its signature is not made by the key of {parent.subject}")
            return
        algorithm = der.first(child.raw.signature_outer).value.hex()
        if algorithm not in SIGNATURES.get(key, ()):
            name = certs.signature_algorithm(child.certificate)
            yield child.reason(
                "weak_signature", f"The proxies do not verify its signature ({name}) by the key above it"
            )
        elif key == RSA_KEY and certs.key_facts(parent.certificate)[1] not in RSA_BITS:
            yield parent.reason("weak_key", "The proxies verify with RSA keys of 2048 to 8192 bits only")
        elif not self.signed(child, parent):
            yield child.reason("wrong_signature", f"Its signature was not made by the key of {parent.subject}")

    def _independent(self, node: Node, depth: int) -> Iterator[Reason]:
        """What webpki asks of a certificate, given how many stand below it."""
        yield from validity(node, self.at)
        if node.certificate.not_valid_before_utc < EPOCH:
            yield node.reason(
                "not_yet_valid", "The proxies cannot read a time before 1970, such as the start of its validity"
            )
        if node.certificate.not_valid_before_utc > node.certificate.not_valid_after_utc:
            yield node.reason("expired", "Its validity ends before it begins")
        constraints = node.constraints
        if depth > 0 and (constraints is None or not constraints.ca):
            yield node.reason("not_a_ca", "It is not a CA (basic constraints), so what it signs is not trusted")
        elif depth == 0 and constraints is not None and constraints.ca:
            yield node.reason("not_a_leaf", "It is a CA (basic constraints), so no workload may use it")
        elif depth > 0 and constraints.path_length is not None and depth - 1 > constraints.path_length:
            text = f"It allows {constraints.path_length} CA(s) below it, there are {depth - 1}"
            yield node.reason("path_length", text)
        if node.usages is not None and self.usage not in node.usages:
            found = ", ".join(node.usage_names) or "empty"
            wanted, users = USAGES[self.usage]
            text = f"Its extended key usages are {found}: without {wanted} workloads below it cannot be TLS {users}"
            yield node.reason("extended_key_usage", text)


def unreadable(node: Node, anchor: bool) -> list[Reason]:
    """Why webpki does not parse a certificate, as an anchor or as part of a chain."""
    return [node.reason(code, f"The proxies refuse it: {text}") for code, text in _problems(node, anchor)]


def _problems(node: Node, anchor: bool) -> Iterator[tuple[str, str]]:
    raw = node.raw
    if raw.version != 3 and not (anchor and raw.version == 1):
        yield "version", f"it is of version {raw.version}, wanted is 3"
    if raw.unique_ids:
        yield "version", "it has a unique identifier of its issuer or subject"
    if raw.signature_bits[:1] != b"\0":
        yield "wrong_signature", "its signature is no whole number of bytes"
    if len(node.certificate.tbs_certificate_bytes) > MAX_SIZE:
        yield "too_complex", "it is larger than 64 kB"
    for oid, (critical, _value) in raw.extensions.items():
        if critical and oid not in UNDERSTOOD and not anchor:
            yield "critical_extension", f"they do not understand its critical extension {oid}"
    if not anchor:
        limit = node.constraints.path_length if node.constraints else None
        if limit is not None and limit > 255:
            yield "path_length", "its path length is larger than 255"


def _in_path(candidate: Node, path: list[Link]) -> bool:
    return any(node.raw.spki == candidate.raw.spki and node.raw.subject == candidate.raw.subject for node in path)
