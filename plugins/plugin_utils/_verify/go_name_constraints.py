# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check name constraints as Go's crypto/x509 does (constraints.go in Go 1.26). Private to this collection.

They apply to the subject alternative names of every certificate below, also of self-issued ones, and not to subjects.
Constraints on the host of a URI or the domain of an email address include subdomains, as those on DNS names do.
"""

from __future__ import annotations

import ipaddress

from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der, go_uri, oids
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import go_parse as parse
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.name_constraints import Domains, Networks
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import Limits, Link

KINDS = {oids.DNS: "DNS name", oids.IP: "IP address", oids.URI: "URI", oids.EMAIL: "email address"}


class Trees:
    """The permitted or the excluded subtrees of one certificate."""

    def __init__(self, bases: list[der.Element], excluded: bool) -> None:
        texts = {
            tag: [base.value.decode() for base in bases if base.tag == tag] for tag in (oids.DNS, oids.URI, oids.EMAIL)
        }
        mails = texts[oids.EMAIL]
        self.mailboxes = {_folded(found) for text in mails if "@" in text and (found := parse.mailbox(text))}
        texts[oids.EMAIL] = [text for text in mails if "@" not in text]
        self.domains = {tag: Domains(found, excluded) for tag, found in texts.items()}
        self.networks = Networks([base.value for base in bases if base.tag == oids.IP])
        self.kinds = {base.tag for base in bases}

    def cover(self, tag: int, name: bytes) -> bool:
        if tag == oids.IP:
            return self.networks.cover(name)
        text = name.decode()
        if tag == oids.EMAIL:
            found = parse.mailbox(text)
            return found is not None and (_folded(found) in self.mailboxes or self.domains[tag].cover(found[1]))
        return self.domains[tag].cover(_host(text) or "" if tag == oids.URI else text)


def limits() -> Limits:
    """Return the name constraints for a search."""
    return Limits(_split, lambda node: node.alternative_names, _refusal)


def _refusal(name: der.Element, permitted: Trees, excluded: Trees) -> str | None:
    if name.tag not in KINDS:
        return None
    if not _is_comparable(name):
        return f"has name constraints that Go cannot compare with its {KINDS[name.tag]}"
    if name.tag in permitted.kinds and not permitted.cover(name.tag, name.value):
        return f"does not permit its {KINDS[name.tag]} {_shown(name)}"
    if name.tag in excluded.kinds and excluded.cover(name.tag, name.value):
        return f"excludes its {KINDS[name.tag]} {_shown(name)}"
    return None


def _split(node: Link) -> tuple[Trees, Trees] | None:
    value = node.value(oids.NAME_CONSTRAINTS)
    if not value:
        return None
    parts = {part.tag: part.value for part in der.children(value)}
    permitted, excluded = (
        [der.first(tree.value) for tree in der.elements(parts.get(tag, b""))] for tag in (0xA0, 0xA1)
    )
    return Trees(permitted, excluded=False), Trees(excluded, excluded=True)


def _is_comparable(name: der.Element) -> bool:
    """Return whether Go can compare the name with constraints. If not, it refuses the path."""
    if name.tag == oids.IP:
        return True
    text = name.value.decode()
    if name.tag == oids.URI:
        host = _host(text)
        return host is not None and parse.domain_is_valid(host)
    if name.tag == oids.EMAIL:
        found = parse.mailbox(text)
        return found is not None and parse.domain_is_valid(found[1])
    return parse.domain_is_valid(text)


def _host(uri: str) -> str | None:
    """Return the host of a URI without its port, or None if Go compares none with constraints.

    It compares no address and no host with more than one colon, but one that is empty without its port.
    """
    host = (go_uri.host(uri) or "").lower()
    if not host or host.startswith("["):
        return None
    if ":" in host:
        host = host.rpartition(":")[0]
        if ":" in host or "]" in host:
            return None
    return None if parse.is_address(host) else host


def _folded(mailbox: tuple[str, str]) -> tuple[str, str]:
    return mailbox[0], mailbox[1].lower()


def _shown(name: der.Element) -> str:
    return str(ipaddress.ip_address(name.value)) if name.tag == oids.IP else name.value.decode()
