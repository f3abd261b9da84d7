# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the searches for a path of Go and of webpki have in common. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Union

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.der import Element, Fields
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason

SERVER, CLIENT = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"
DNS = 0x82  # tag of a DNS name


class Workload:
    """A certificate as the identity controller would sign it with the issuer's key (linkerd2: pkg/tls/ca.go)."""

    constraints = None
    usages = (SERVER, CLIENT)

    def __init__(self, name: str, parent: Node) -> None:
        self.name, self.parent = name, parent
        self.subject, self.issuer = f"CN={name}", parent.subject
        self.raw = Fields(3, b"", b"", b"", parent.raw.subject, b"", b"", False, {})
        self.key_identifiers = b"", parent.key_identifiers[0]
        self.alternative_names = [Element(DNS, name.encode(), b"")]

    def value(self, dummy: str) -> None:
        return None

    def reason(self, code: str, message: str) -> Reason:
        return Reason(code, message, self.subject)


Link = Union[Node, Workload]  # of a path  # noqa: UP007 - pylint of ansible-test knows no other form


@dataclass(frozen=True)
class Attempt:
    """A path and what stands against it. Complete: it ends at an anchor."""

    path: list[Link]
    reasons: list[Reason] = field(default_factory=list)
    complete: bool = True


def best(attempts: list[Attempt]) -> Attempt:
    """The attempt that explains most: a complete one with the fewest reasons, else the longest."""
    complete = [attempt for attempt in attempts if attempt.complete]
    if complete:
        return min(complete, key=lambda attempt: len(attempt.reasons))
    return max(attempts, key=lambda attempt: len(attempt.path))


def by_subject(nodes: Iterable[Node]) -> dict[bytes, list[Node]]:
    """Each certificate once, by the bytes of its subject."""
    found: dict[bytes, list[Node]] = {}
    for node in {node.certificate: node for node in reversed(list(nodes))}.values():
        found.setdefault(node.raw.subject, []).insert(0, node)
    return found


def unknown_issuer(node: Link) -> Reason:
    if node.raw.subject == node.raw.issuer:
        return node.reason("unknown_issuer", "It is self-signed and not among the anchors")
    return node.reason("unknown_issuer", f"Its issuer {node.issuer} is neither in the chain nor among the anchors")


def validity(node: Node, at: datetime) -> Iterator[Reason]:
    if at < node.certificate.not_valid_before_utc:
        start = certs.iso(node.certificate.not_valid_before_utc)
        yield node.reason("not_yet_valid", f"It is valid from {start}, requested is {certs.iso(at)}")
    if at > node.certificate.not_valid_after_utc:
        end = certs.iso(node.certificate.not_valid_after_utc)
        yield node.reason("expired", f"It expired at {end}, requested is {certs.iso(at)}")


class Signatures:
    """Whether one certificate's key made the signature of another, verified once for each pair."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], bool] = {}

    def __call__(self, child: Link, parent: Node) -> bool:
        if isinstance(child, Workload):
            return child.parent.raw.spki == parent.raw.spki
        pair = (id(child), id(parent))
        if pair not in self.known:
            self.known[pair] = certs.is_signed_by(child.certificate, parent.certificate)
        return self.known[pair]
