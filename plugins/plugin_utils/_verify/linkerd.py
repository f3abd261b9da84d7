# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Linkerd accepts an issuer and the workloads below it, and which part of it does not. Private to this
collection.

The identity controller and the CLI verify with Go, the proxies with rustls-webpki. What both accept is not refused,
however unusual it is: that is listed beside the verdict.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, strict_pem
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import Encoding, x509
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der, go, go_parse, paths, rules, webpki
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import (
    CLIENT,
    SERVER,
    Attempt,
    Signatures,
    Workload,
)

CONTROLLER, PROXIES, CHECK = "identity controller", "proxies", "linkerd check"
GO_CLIENTS = "Go clients"
ISSUER_KEYS, ANCHOR_KEYS = ("ec:256",), ("ec:256", "rsa:2048", "rsa:4096")
SIGNATURES = {"ec": ("ecdsa-with-SHA256", "sha256WithRSAEncryption"), "rsa": ("sha256WithRSAEncryption",)}


@dataclass(frozen=True)
class Texts:
    """PEM texts as given, and the certificates that were found in them."""

    what: str
    texts: Sequence[bytes]
    nodes: list[Node]

    @classmethod
    def of(cls, what: str, certificates: Iterable[x509.Certificate], texts: Sequence[bytes] | None) -> Texts:
        """Without texts they are PEM as this collection writes it."""
        found = list(certificates)
        return cls(what, [strict_pem.encode(found).encode()] if texts is None else texts, [Node(one) for one in found])

    def read(self, reader: strict_pem.Reader) -> tuple[list[Node], list[Reason]]:
        """What a reader finds in them, all that there is where it stops with an error; and what it does not read."""
        known = {node.certificate.public_bytes(Encoding.DER): node for node in self.nodes}
        readings = [reader(text) for text in self.texts]
        problems = [
            Reason("pem" if one.fatal else "ignored_text", f"{self.what} cannot be read: {one.problem}", self.what)
            for one in readings
            if one.problem
        ]
        if any(one.fatal for one in readings):
            return self.nodes, problems
        return [known[item] for one in readings for item in one.certificates if item in known], problems


def verify(chain: Texts, anchors: Texts, wanted: rules.Requirements) -> rules.Verdict:
    """Judges the first certificate of the chain as identity issuer, and a workload below it."""
    issuers, chain_problems = chain.read(strict_pem.read_as_go)
    roots, anchor_problems = anchors.read(strict_pem.read_as_go)
    proxy_roots, proxy_problems = anchors.read(strict_pem.read_as_rustls)
    problems = [*chain_problems, *anchor_problems, *proxy_problems]
    reasons = Collected()
    reasons.add((CONTROLLER, CHECK), _fatal([*chain_problems, *anchor_problems]))
    reasons.add((PROXIES,), _fatal(proxy_problems))
    unparseable = list(_parsed([*issuers, *roots]))
    reasons.add((CONTROLLER, CHECK), unparseable)
    try:
        return _searched(issuers, roots, proxy_roots, wanted, reasons, problems)
    except der.MALFORMED:
        if not unparseable:
            raise
    return rules.Verdict([issuers[0]], reasons.reasons(), list(_other(problems)))


def _searched(
    issuers: list[Node],
    roots: list[Node],
    proxy_roots: list[Node],
    wanted: rules.Requirements,
    reasons: Collected,
    problems: list[Reason],
) -> rules.Verdict:
    """The verdict on certificates that were read, with all that the searches for a path add."""
    issuer, *others = issuers
    signed = Signatures()
    by_go = go.verify(issuer, others, roots, wanted.at, signed)
    reasons.add((CONTROLLER, CHECK), by_go.reasons)
    reasons.add((CONTROLLER,), _signs(issuer))
    reasons.add((CHECK,), _algorithms(by_go))
    workload = Workload(wanted.workload, issuer)
    for usage in (SERVER, CLIENT):
        reasons.add((PROXIES,), webpki.verify(workload, issuers, proxy_roots, wanted.at, usage, signed).reasons)
    if not reasons.found:
        reasons.add((GO_CLIENTS,), go.verify(workload, issuers, roots, wanted.at, signed).reasons)
    path = [node for node in by_go.path if isinstance(node, Node)]
    refused = reasons.reasons()
    unusual = [
        *_other(problems),
        *_unusual(path, by_go.complete, wanted, refused),
    ]
    return rules.Verdict(path, [*refused, *rules.requested(path, wanted, by_go.complete)], unusual)


class Collected:
    """Reasons, each once, with the parts of Linkerd that have it."""

    def __init__(self) -> None:
        self.found: dict[Reason, list[str]] = {}

    def add(self, parts: tuple[str, ...], reasons: Iterable[Reason]) -> None:
        for reason in reasons:
            known = self.found.setdefault(reason, [])
            known += [part for part in parts if part not in known]

    def reasons(self) -> list[Reason]:
        return [replace(reason, refused_by=tuple(parts)) for reason, parts in self.found.items()]


def _fatal(problems: list[Reason]) -> Iterator[Reason]:
    yield from (reason for reason in problems if reason.code == "pem")


def _other(problems: list[Reason]) -> Iterator[Reason]:
    yield from dict.fromkeys(reason for reason in problems if reason.code != "pem")


def _parsed(nodes: list[Node]) -> Iterator[Reason]:
    """Every certificate that Go reads has to parse, needed or not."""
    for node in nodes:
        problem = go_parse.problem(node.certificate, node.raw)
        if problem:
            yield node.reason("unparseable", f"Go cannot parse it: {problem}")


def _signs(issuer: Node) -> Iterator[Reason]:
    """What the identity controller demands of the issuer beside the path (linkerd2: pkg/identity, pkg/tls)."""
    if issuer.constraints is None or not issuer.constraints.ca:
        yield issuer.reason("not_a_ca", "It is not a CA (basic constraints), so what it signs is not trusted")
    if go.key_kind(issuer) != go_parse.EC:
        key_type = certs.key_facts(issuer.certificate)[0]
        yield issuer.reason("key_type", f"Linkerd signs workloads with an EC key, this one is {key_type}")


def _algorithms(found: Attempt) -> Iterator[Reason]:
    """What linkerd check demands of the issuer and its anchor (linkerd2: pkg/issuercerts/issuercerts.go)."""
    issuer, anchor = found.path[0], found.path[-1] if found.complete else None
    for node, keys, what in ((issuer, ISSUER_KEYS, "issuer"), (anchor, ANCHOR_KEYS, "trust anchor")):
        if not isinstance(node, Node):
            continue
        key_type, bits, dummy = certs.key_facts(node.certificate)
        algorithm = certs.signature_algorithm(node.certificate)
        if f"{key_type}:{bits}" not in keys:
            yield node.reason("key_type", f"As {what} its key is {key_type}:{bits}, wanted is {' or '.join(keys)}")
        elif algorithm not in SIGNATURES[key_type]:
            wanted = " or ".join(SIGNATURES[key_type])
            yield node.reason("signature_algorithm", f"It is signed with {algorithm}, wanted is {wanted}")


def _unusual(path: list[Node], complete: bool, wanted: rules.Requirements, refused: list[Reason]) -> Iterator[Reason]:
    """What RFC 5280 demands or good practice avoids, and Linkerd accepts."""
    known = {(reason.code, reason.subject) for reason in refused}
    general = replace(
        wanted, key_types=(), leaf_min_life=wanted.leaf_min_life * 0, anchor_min_life=wanted.anchor_min_life * 0
    )
    found = list(rules.path_reasons(path, general, complete))
    for child, parent in itertools.pairwise(path):
        if not paths.identifiers_agree(child, parent):
            found.append(paths.aki_mismatch(child, parent))
    yield from (reason for reason in found if (reason.code, reason.subject) not in known)
