# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check certificate policies as Go's crypto/x509 does (RFC 5280 section 6.1, RFC 9618). Private to this collection.

Linkerd accepts every policy. A path is refused only if a certificate requires an explicit policy and there is none.
"""

from __future__ import annotations

from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der, oids
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import EMPTY
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import Link

ANY = "2.5.29.32.0"
Level = dict[str, set[str]]  # valid policies, each with those that the next certificate may use for it


def policies_hold(path: list[Link]) -> bool:
    """Return whether the path from the leaf to its anchor satisfies its policy constraints."""
    above = len(path) - 1
    explicit: float = above + 1
    mapping = inhibit_any = explicit
    level: Level | None = {ANY: {ANY}}
    for place in range(above - 1, -1, -1):
        node = path[place]
        named = _policies(node)
        self_issued = node.raw.subject == node.raw.issuer
        level = (
            None if not named or level is None else _next(level, named, inhibit_any > 0 or (place > 0 and self_issued))
        )
        if explicit == 0 and level is None:
            return False
        if place == 0:
            break
        if level is not None and not _map(level, _mappings(node), mapping > 0):
            return False
        if not self_issued:
            explicit, mapping, inhibit_any = (max(0, one - 1) for one in (explicit, mapping, inhibit_any))
        required, mapped = _constraints(node)
        explicit, mapping = min(explicit, required), min(mapping, mapped)
        inhibit_any = min(inhibit_any, _number(node.value(oids.INHIBIT_ANY_POLICY)))
    explicit = 0 if above and _constraints(path[0])[0] == 0 else max(0, explicit - 1)
    return not above or explicit > 0 or bool(level)


def _next(level: Level, named: list[str], any_counts: bool) -> Level:
    expected = {policy for accepted in level.values() for policy in accepted}
    found = {policy: {policy} for policy in named if policy != ANY and (policy in expected or ANY in level)}
    if ANY in named and any_counts:
        found |= {policy: {policy} for policy in expected if policy not in found}
    return found


def _map(level: Level, mappings: list[tuple[str, str]], allowed: bool) -> bool:
    """Apply policy mappings to a level. Return False if one maps from or to anyPolicy."""
    mapped: Level = {}
    for issuer, subject in mappings:
        if not allowed:
            level.pop(issuer, None)
        elif ANY in (issuer, subject):
            return False
        else:
            mapped.setdefault(issuer, set()).add(subject)
    level |= {issuer: subjects for issuer, subjects in mapped.items() if issuer in level or ANY in level}
    return True


def _policies(node: Link) -> list[str]:
    listed = der.children(node.value(oids.CERTIFICATE_POLICIES) or EMPTY)
    return [der.dotted(der.first(item.value).value) for item in listed]


def _mappings(node: Link) -> list[tuple[str, str]]:
    pairs = der.pairs(node.value(oids.POLICY_MAPPINGS) or EMPTY)
    return [(der.dotted(issuer.value), der.dotted(subject.value)) for issuer, subject in pairs]


def _constraints(node: Link) -> tuple[float, float]:
    """Return after how many certificates a policy is required, and mapping is inhibited."""
    parts = {item.tag: item.value for item in der.children(node.value(oids.POLICY_CONSTRAINTS) or EMPTY)}
    required, mapped = (int.from_bytes(parts[tag], "big") if tag in parts else float("inf") for tag in (0x80, 0x81))
    return required, mapped


def _number(value: bytes | None) -> float:
    return int.from_bytes(der.first(value).value, "big") if value else float("inf")
