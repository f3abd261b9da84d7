# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check name constraints as rustls-webpki does (subject_name of 0.103). Private to this collection.

They apply to the alternative names and the subject of every certificate below, also of self-issued ones. A constraint
on directory names refuses every certificate, one on URIs every URI, and one on email addresses every email address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der, oids
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.name_constraints import Domains, Networks
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import Limits, Link

LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
NAME = re.compile(rf"(?=.{{1,253}}\Z)(\*\.(?=.*\.))?({LABEL}\.)*(?![0-9]+\Z){LABEL}")
TREE = re.compile(rf"(?=.{{0,253}}\Z)(\.?({LABEL}\.)*(?![0-9]+\Z){LABEL})?")
KINDS = {
    oids.DNS: "DNS names",
    oids.IP: "IP addresses",
    oids.URI: "URIs",
    oids.DIRECTORY: "directory names",
    oids.EMAIL: "email addresses",
}


class Trees:
    """The permitted or the excluded subtrees of one certificate."""

    def __init__(self, bases: list[der.Element], excluded: bool) -> None:
        self.count = len(bases)
        self.kinds = {base.tag & 0x1F for base in bases}
        texts = [base.value.decode("latin-1") for base in bases if base.tag == oids.DNS]
        self.malformed = not all(TREE.fullmatch(text) for text in texts)
        self.domains = Domains(texts, excluded)
        self.networks = Networks([base.value for base in bases if base.tag == oids.IP])

    def applies(self, name: der.Element) -> bool:
        return name.tag & 0x1F in self.kinds

    def cover(self, name: der.Element) -> bool:
        if name.tag == oids.IP:
            return self.networks.cover(name.value)
        return self.domains.cover(name.value.decode("latin-1"))


def limits() -> Limits:
    """Return the name constraints for a search."""
    return Limits(_split, _names, _refusal)


def comparisons(path: Sequence[Link], known: Limits) -> int:
    """Return how many pairs of a name and a subtree webpki compares in a path."""
    return sum(
        len(_names(node)) * sum(one.count for one in trees)
        for place, authority in enumerate(path)
        if (trees := known.trees(authority))
        for node in path[:place]
    )


def _names(node: Link) -> list[der.Element]:
    return [*node.alternative_names, der.Element(oids.DIRECTORY, b"", b"")]


def _split(node: Link) -> tuple[Trees, Trees] | None:
    value = node.value(oids.NAME_CONSTRAINTS)
    if not value:
        return None
    parts = {part.tag: part.value for part in der.children(value)}
    permitted, excluded = (
        [der.first(tree.value) for tree in der.elements(parts.get(tag, b""))] for tag in (0xA0, 0xA1)
    )
    return Trees(permitted, excluded=False), Trees(excluded, excluded=True)


def _refusal(name: der.Element, permitted: Trees, excluded: Trees) -> str | None:
    """Return how the constraints refuse a name, or None if they permit it."""
    applying = [trees for trees in (permitted, excluded) if trees.applies(name)]
    if not applying:
        return None
    kind = KINDS.get(name.tag, "names")
    if name.tag not in (oids.DNS, oids.IP):
        return f"has name constraints on {kind}, and the proxies refuse all of them"
    shown = name.value.decode("latin-1")
    if name.tag == oids.DNS and (not NAME.fullmatch(shown) or any(trees.malformed for trees in applying)):
        return f"has name constraints that the proxies cannot compare with its name {shown}"
    if permitted in applying and not permitted.cover(name):
        return f"does not permit its name {shown}" if name.tag == oids.DNS else f"does not permit its {kind}"
    if excluded in applying and excluded.cover(name):
        return f"excludes its name {shown}" if name.tag == oids.DNS else f"excludes its {kind}"
    return None
