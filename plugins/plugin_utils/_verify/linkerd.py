# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify an identity issuer and a workload below it as the components of Linkerd do. Private to this collection.

The identity controller and the CLI verify with Go, the proxies with rustls-webpki. A chain that all of them accept is
verified. What RFC 5280 does not allow in it is listed in `unusual`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, strict_pem
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import Encoding, x509
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import (
    der,
    go,
    go_parse,
    name_constraints,
    oids,
    paths,
    rules,
    webpki,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import (
    Attempt,
    Signatures,
    Workload,
    not_a_ca,
    validity,
)

CONTROLLER, PROXIES, CHECK = "identity controller", "proxies", "linkerd check"
GO_CLIENTS = "Go clients"
ISSUER_KEYS, ANCHOR_KEYS = ("ec:256",), ("ec:256", "rsa:2048", "rsa:4096")
SIGNATURES = {"ec": ("ecdsa-with-SHA256", "sha256WithRSAEncryption"), "rsa": ("sha256WithRSAEncryption",)}


@dataclass(frozen=True)
class Texts:
    """PEM texts, and the certificates that parse_bundle() found in them. `name` is the subject of reasons."""

    name: str
    texts: Sequence[bytes]
    nodes: list[Node]

    @classmethod
    def of(cls, name: str, certificates: Iterable[x509.Certificate], texts: Sequence[bytes] | None) -> Texts:
        """Without texts, the text is PEM as this collection writes it."""
        found = list(certificates)
        return cls(name, [strict_pem.encode(found).encode()] if texts is None else texts, [Node(one) for one in found])

    def read(self, reader: strict_pem.Reader) -> tuple[list[Node], list[Reason]]:
        """Return the certificates that a reader finds, and its problems. All certificates if it fails."""
        known = {node.certificate.public_bytes(Encoding.DER): node for node in self.nodes}
        readings = [reader(text) for text in self.texts]
        problems = [
            Reason("pem", f"Linkerd cannot read {self.name}: {one.problem}", self.name)
            if one.fatal
            else Reason("ignored_text", f"Linkerd ignores a part of {self.name}: {one.problem}", self.name)
            for one in readings
            if one.problem
        ]
        if any(one.fatal for one in readings):
            return self.nodes, problems
        return [known[item] for one in readings for item in one.certificates if item in known], problems


def verify(
    chain: Texts, anchors: Texts, required: rules.Requirements, signed: Signatures | None = None
) -> rules.Verdict:
    """Verify the first certificate of the chain as identity issuer, and a workload below it."""
    issuers, chain_problems = chain.read(strict_pem.read_as_go)
    roots, anchor_problems = anchors.read(strict_pem.read_as_go)
    proxy_roots, proxy_problems = anchors.read(strict_pem.read_as_rustls)
    problems = [*chain_problems, *anchor_problems, *proxy_problems]
    reasons = Reasons()
    reasons.add((CONTROLLER, CHECK), _fatal([*chain_problems, *anchor_problems]))
    reasons.add((PROXIES,), _fatal(proxy_problems))
    unparseable = list(_parsed([*issuers, *roots]))
    reasons.add((CONTROLLER, CHECK), unparseable)
    try:
        return _verify(issuers, roots, proxy_roots, required, reasons, problems, signed or Signatures())
    except der.MALFORMED:
        if not unparseable:
            raise
    return rules.Verdict([issuers[0]], reasons.all(), list(_not_fatal(problems)))


def _verify(
    issuers: list[Node],
    roots: list[Node],
    proxy_roots: list[Node],
    required: rules.Requirements,
    reasons: Reasons,
    problems: list[Reason],
    signed: Signatures,
) -> rules.Verdict:
    issuer, *others = issuers
    by_go = go.verify(issuer, others, roots, required.at, signed)
    reasons.add((CONTROLLER, CHECK), by_go.reasons)
    reasons.add((CONTROLLER,), _cannot_sign(issuer))
    reasons.add((CHECK,), _algorithms(by_go))
    workload = Workload(required.workload, issuer)
    for usage in (oids.SERVER_AUTH, oids.CLIENT_AUTH):
        reasons.add((PROXIES,), webpki.verify(workload, issuers, proxy_roots, required.at, usage, signed).reasons)
    if not reasons.found:
        reasons.add((GO_CLIENTS,), go.verify(workload, issuers, roots, required.at, signed).reasons)
    path = [node for node in by_go.path if isinstance(node, Node)]
    refused = reasons.all()
    beside = _unused(roots, path, required.at) if by_go.complete else ()
    unusual = [*_not_fatal(problems), *_unusual(path, by_go.complete, required, refused), *beside]
    return rules.Verdict(path, [*refused, *rules.further_reasons(path, required, by_go.complete)], unusual)


class Reasons:
    """Reasons without duplicates, each with the components of Linkerd that refuse for it."""

    def __init__(self) -> None:
        self.found: dict[Reason, list[str]] = {}

    def add(self, components: tuple[str, ...], reasons: Iterable[Reason]) -> None:
        for reason in reasons:
            known = self.found.setdefault(reason, [])
            known += [component for component in components if component not in known]

    def all(self) -> list[Reason]:
        return [replace(reason, refused_by=tuple(components)) for reason, components in self.found.items()]


def _fatal(problems: list[Reason]) -> Iterator[Reason]:
    yield from (reason for reason in problems if reason.code == "pem")


def _not_fatal(problems: list[Reason]) -> Iterator[Reason]:
    yield from dict.fromkeys(reason for reason in problems if reason.code != "pem")


def _parsed(nodes: list[Node]) -> Iterator[Reason]:
    """Yield a reason for each certificate that Go cannot parse, whether the path needs it or not."""
    for node in nodes:
        problem = go_parse.problem(node.certificate, node.raw)
        if problem:
            yield node.reason("unparseable", f"Go cannot parse it: {problem}")


def _cannot_sign(issuer: Node) -> Iterator[Reason]:
    """Yield why the identity controller cannot sign workloads with this issuer (linkerd2: pkg/identity, pkg/tls)."""
    if issuer.constraints is None or not issuer.constraints.ca:
        yield not_a_ca(issuer)
    if go.key_algorithm(issuer) != oids.EC:
        key_type = certs.key_facts(issuer.certificate)[0]
        yield issuer.reason("key_type", f"Its key is {key_type}. Linkerd signs workloads with EC keys only")


def _algorithms(found: Attempt) -> Iterator[Reason]:
    """Yield why linkerd check refuses keys and signatures (linkerd2: pkg/issuercerts/issuercerts.go)."""
    issuer, anchor = found.path[0], found.path[-1] if found.complete else None
    for node, keys, role in ((issuer, ISSUER_KEYS, "issuer"), (anchor, ANCHOR_KEYS, "trust anchor")):
        if isinstance(node, Node):
            yield from _algorithm(node, keys, role)


def _algorithm(node: Node, keys: tuple[str, ...], role: str) -> Iterator[Reason]:
    key_type, bits, dummy = certs.key_facts(node.certificate)
    signature = certs.signature_algorithm(node.certificate)
    if refused := _refused_algorithm(role, keys, f"{key_type}:{bits}", signature):
        yield node.reason(*refused)


def _unused(roots: list[Node], path: list[Node], at: datetime) -> Iterator[Reason]:
    """Yield why linkerd check refuses trust anchors that the path does not use (linkerd2: pkg/healthcheck).

    It checks all anchors that it reads: those of the ConfigMap if the Secret of the issuer is of type linkerd.io/tls,
    or else ca.crt of the Secret. The mesh works with such an anchor, so it is no reason to refuse the chain.
    """
    used = {node.certificate for node in path}
    for root in {node.certificate: node for node in roots if node.certificate not in used}.values():
        for reason in (*_algorithm(root, ANCHOR_KEYS, "trust anchor"), *validity(root, at)):
            message = f"The chain does not use this trust anchor, but linkerd check refuses it. {reason.message}"
            yield replace(reason, message=message, refused_by=(CHECK,))


def anchor_algorithm_problem(key: str, signature: str = "") -> str:
    """Why linkerd check refuses a trust anchor with this key, such as ec:384, and signature. Empty if it accepts them.

    Without a signature, only the key is checked: that of a root to create.
    """
    refused = _refused_algorithm("trust anchor", ANCHOR_KEYS, key, signature)
    return refused[1] if refused else ""


def _refused_algorithm(role: str, keys: tuple[str, ...], key: str, signature: str) -> tuple[str, str] | None:
    """Code and message of a reason."""
    if key not in keys:
        return "key_type", f"The key of the {role} is {key}, expected {' or '.join(keys)}"
    expected = SIGNATURES[key.partition(":")[0]]
    if signature and signature not in expected:
        return "signature_algorithm", f"It is signed with {signature}, expected {' or '.join(expected)}"
    return None


def _unusual(path: list[Node], complete: bool, required: rules.Requirements, refused: list[Reason]) -> Iterator[Reason]:
    """Yield what RFC 5280 or good practice does not allow, and Linkerd accepts."""
    known = {(reason.code, reason.subject) for reason in refused}
    found = list(rules.path_reasons(path, rules.Requirements(required.at), name_constraints.limits(), complete))
    for child, parent in itertools.pairwise(path):
        if not paths.identifiers_agree(child, parent):
            found.append(paths.aki_mismatch(child, parent))
    yield from (reason for reason in found if (reason.code, reason.subject) not in known)
