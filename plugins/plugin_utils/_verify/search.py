# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts that the path searches of Go and of webpki have in common. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Union

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import oids
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.der import Element, Fields
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason

MAX_NAMES = 20_000  # names that a search compares with the name constraints of a CA


class Workload:
    """A certificate that the identity controller would sign with the key of an issuer (linkerd2: pkg/tls/ca.go)."""

    constraints = None
    usages = (oids.SERVER_AUTH, oids.CLIENT_AUTH)

    def __init__(self, name: str, parent: Node) -> None:
        self.name, self.parent = name, parent
        self.subject, self.issuer = f"CN={name}", parent.subject
        self.raw = Fields(3, b"", b"", b"", parent.raw.subject, b"", b"", False, {})
        self.key_identifiers = b"", parent.key_identifiers[0]
        self.alternative_names = [Element(oids.DNS, name.encode(), b"")]

    def value(self, dummy: str) -> None:
        return None

    def reason(self, code: str, message: str) -> Reason:
        return Reason(code, message, self.subject)


Link = Union[Node, Workload]  # of a path  # noqa: UP007 - pylint of ansible-test knows no other form


@dataclass(frozen=True)
class Attempt:
    """A path and the reasons against it. It is complete if it ends at a trust anchor."""

    path: list[Link]
    reasons: list[Reason] = field(default_factory=list)
    complete: bool = True


def best(attempts: list[Attempt]) -> Attempt:
    """Return the complete attempt with the fewest reasons, or else the longest attempt."""
    complete = [attempt for attempt in attempts if attempt.complete]
    if complete:
        return min(complete, key=lambda attempt: len(attempt.reasons))
    return max(attempts, key=lambda attempt: len(attempt.path))


def by_subject(nodes: Iterable[Node]) -> dict[bytes, list[Node]]:
    """Return the certificates without duplicates, by the DER of their subject."""
    found: dict[bytes, list[Node]] = {}
    for node in {node.certificate: node for node in reversed(list(nodes))}.values():
        found.setdefault(node.raw.subject, []).insert(0, node)
    return found


def unknown_issuer(node: Link) -> Reason:
    if node.raw.subject == node.raw.issuer:
        return node.reason("unknown_issuer", "It is self-signed and not one of the trust anchors")
    return node.reason("unknown_issuer", f"Its issuer {node.issuer} is neither in the chain nor a trust anchor")


def wrong_signature(child: Link, parent: Node) -> Reason:
    return child.reason("wrong_signature", f"It was not signed by the key of {parent.subject}")


def not_a_ca(node: Node) -> Reason:
    message = "It is not a CA (basic constraints), so certificates that it signed are not trusted"
    return node.reason("not_a_ca", message)


def path_length(node: Node, limit: int, below: int) -> Reason:
    return node.reason("path_length", f"It allows {limit} CA(s) below it, but there are {below}")


def validity(node: Node, at: datetime) -> Iterator[Reason]:
    if at < node.certificate.not_valid_before_utc:
        start = certs.iso(node.certificate.not_valid_before_utc)
        yield node.reason("not_yet_valid", f"It is not valid before {start} (checked for {certs.iso(at)})")
    if at > node.certificate.not_valid_after_utc:
        end = certs.iso(node.certificate.not_valid_after_utc)
        yield node.reason("expired", f"It expired at {end} (checked for {certs.iso(at)})")


class Signatures:
    """Verifies signatures, each pair of certificates once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Node, Node], bool] = {}  # the nodes themselves, an id() may be reused

    def __call__(self, child: Link, parent: Node) -> bool:
        """Return whether the key of the parent signed the child."""
        if isinstance(child, Workload):
            return child.parent.raw.spki == parent.raw.spki
        pair = (child, parent)
        if pair not in self._known:
            self._known[pair] = certs.is_signed_by(child.certificate, parent.certificate)
        return self._known[pair]


class LimitReached(Exception):  # noqa: N818 - a result, not an error
    """A search stops, because there are too many names below CAs with name constraints."""


class Limits:
    """The name constraints of the CAs in a search. Compares each CA with each certificate once, up to MAX_NAMES names.

    `split` returns the permitted and the excluded subtrees of a CA, `names` the names of a certificate, and `refusal`
    how the subtrees refuse a name.
    """

    def __init__(
        self,
        split: Callable[[Any], tuple[Any, Any] | None],
        names: Callable[[Any], Iterable[Any]],
        refusal: Callable[[Any, Any, Any], str | None],
    ) -> None:
        self._split, self._names, self._refusal, self._left = split, names, refusal, MAX_NAMES
        self._trees: dict[Link, tuple[Any, Any] | None] = {}
        self._reasons: dict[tuple[Link, Link], list[Reason]] = {}

    @property
    def reached(self) -> bool:
        return self._left < 0

    def trees(self, authority: Link) -> tuple[Any, Any] | None:
        if authority not in self._trees:
            self._trees[authority] = self._split(authority)
        return self._trees[authority]

    def violations(self, path: Sequence[Link]) -> Iterator[Reason]:
        """Yield the names in a path that a CA above does not permit. The leaf is first. Raises LimitReached."""
        for place, authority in enumerate(path):
            for node in path[:place]:
                yield from self.reasons(authority, node)

    def reasons(self, authority: Link, node: Link) -> list[Reason]:
        """Return the names of a certificate that a CA does not permit. Raises LimitReached."""
        trees = self.trees(authority)
        if trees is None:
            return []
        pair = (authority, node)
        if pair not in self._reasons:
            names = list(self._names(node))
            self._left -= len(names)
            if self.reached:
                raise LimitReached(
                    f"It needs more than {MAX_NAMES} comparisons of names with name constraints: give fewer"
                    " certificates of the same name, or certificates with fewer names"
                )
            found = [why for name in names if (why := self._refusal(name, *trees))]
            self._reasons[pair] = [node.reason("name_constraint", f"The CA {authority.subject} {why}") for why in found]
        return self._reasons[pair]
