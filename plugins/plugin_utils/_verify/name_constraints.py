# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check name constraints (RFC 5280 section 4.2.1.10). Private to this collection.

They apply to subject alternative names (DNS, IP, email, URI, directory) and to the subject. A common name is not a DNS
name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import ExtensionOID, NameOID, x509
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import Limits

Kind = type  # a subclass of x509.GeneralName


class Domains:
    """DNS subtrees: each covers its name and all names below, with a leading dot only those below.

    An excluded subtree also covers a wildcard that matches its name.
    """

    def __init__(self, trees: Iterable[str], excluded: bool) -> None:
        self.trees = {tree.lower() for tree in trees}
        self.parents = {tree.partition(".")[2] for tree in self.trees if excluded and "." in tree.lstrip(".")}

    def cover(self, name: str) -> bool:
        name = name.lower()
        if not self.trees:
            return False
        if "" in self.trees or name in self.trees or (name.startswith("*.") and name[2:] in self.parents):
            return True
        at = name.find(".")
        while at >= 0:
            if name[at + 1 :] in self.trees or (at > 0 and name[at:] in self.trees):
                return True
            at = name.find(".", at + 1)
        return False


class Networks:
    """IP networks, each as address and mask in one bytes object."""

    def __init__(self, trees: Iterable[bytes]) -> None:
        self.by_mask: dict[bytes, set[int]] = {}
        for tree in trees:
            address, mask = tree[: len(tree) // 2], tree[len(tree) // 2 :]
            self.by_mask.setdefault(mask, set()).add(int.from_bytes(address, "big") & int.from_bytes(mask, "big"))

    def cover(self, address: bytes) -> bool:
        number = int.from_bytes(address, "big")
        return any(
            len(mask) == len(address) and number & int.from_bytes(mask, "big") in found
            for mask, found in self.by_mask.items()
        )


def limits() -> Limits:
    """Return the name constraints for a search."""
    return Limits(_split, names, _refusal)


def violations(path: list[Node], known: Limits) -> Iterator[Reason]:
    """Yield the names in a path that a CA above does not permit. Raises LimitReached."""
    for height, authority in enumerate(path):
        for depth, node in enumerate(path[:height]):
            if depth == 0 or not node.is_self_issued:
                yield from known.reasons(authority, node)


def _split(node: Node) -> tuple[Trees, Trees] | None:
    constraints = node.extension(ExtensionOID.NAME_CONSTRAINTS)
    if constraints is None:
        return None
    return Trees(constraints.permitted_subtrees), Trees(constraints.excluded_subtrees)


def _refusal(found: tuple[Kind, Any], permitted: Trees, excluded: Trees) -> str | None:
    kind, name = found
    why = forbidden(kind, name, permitted, excluded)
    shown = name.rfc4514_string() if why and isinstance(name, x509.Name) else name
    return f"{why} its name {shown}" if why else None


def names(node: Node) -> Iterator[tuple[Kind, Any]]:
    """Yield type and value of each name. An email address in the subject counts only without an alternative name."""
    alternatives = list(node.extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME) or ())
    for name in alternatives:
        yield type(name), name.value
    subject = node.certificate.subject
    if list(subject):
        yield x509.DirectoryName, subject
    if not any(isinstance(name, x509.RFC822Name) for name in alternatives):
        for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
            yield x509.RFC822Name, attribute.value


class Trees:
    """The permitted or the excluded subtrees of one CA, indexed so that not every pair is compared."""

    def __init__(self, trees: Iterable[x509.GeneralName] | None) -> None:
        by_kind: dict[Kind, list[Any]] = {}
        for tree in trees or ():
            by_kind.setdefault(type(tree), []).append(tree.value)
        self.kinds = set(by_kind)
        indexes = _indexes()
        self.indexes = {kind: indexes[kind](found) for kind, found in by_kind.items() if kind in indexes}

    def cover(self, kind: Kind, name: Any) -> bool:
        return kind in self.indexes and self.indexes[kind].cover(name)

    def reach(self, name: str) -> bool:
        """Return whether a wildcard matches the name of a subtree."""
        index = self.indexes.get(x509.DNSName)
        return isinstance(index, DnsNames) and index.reach(name)


def forbidden(kind: Kind, name: Any, permitted: Trees, excluded: Trees) -> str | None:
    """Return how the constraints refuse a name, or None if they permit it. Only constraints of its type apply."""
    limited = kind in permitted.kinds or kind in excluded.kinds
    if limited and kind not in _indexes():
        return "has name constraints of an unsupported type for"
    if limited and kind is x509.UniformResourceIdentifier and not _uri_host(name):
        return "has name constraints on the host of URIs, and there is none in"
    if excluded.cover(kind, name):
        return "excludes"
    if kind is x509.DNSName and excluded.reach(name):
        return "excludes a name that matches"
    if kind in permitted.kinds and not permitted.cover(kind, name):
        return "does not permit"
    return None


class DnsNames:
    def __init__(self, trees: Iterable[str]) -> None:
        plain = [tree.rstrip(".") for tree in trees]
        self.below, self.wildcards = Domains(plain, excluded=False), Domains(plain, excluded=True)

    def cover(self, name: str) -> bool:
        return self.below.cover(name.rstrip("."))

    def reach(self, name: str) -> bool:
        return self.wildcards.cover(name.rstrip("."))


class Hosts:
    """Hosts of URIs and email addresses: a subtree is that host, or with a leading dot all hosts below it."""

    def __init__(self, trees: Iterable[str]) -> None:
        self.trees = {tree.lower() for tree in trees}
        self.dotted = any(tree.startswith(".") for tree in self.trees)

    def cover(self, host: str) -> bool:
        host = host.lower()
        if not self.dotted or host in self.trees:
            return host in self.trees and not host.startswith(".")
        at = host.find(".", 1)
        while at >= 0:
            if host[at:] in self.trees:
                return True
            at = host.find(".", at + 1)
        return False


class Mails:
    def __init__(self, trees: Iterable[str]) -> None:
        found = [tree.rpartition("@") for tree in trees]
        self.hosts = Hosts(host for dummy, at, host in found if not at)
        self.boxes = {(local, host.lower()) for local, at, host in found if at}

    def cover(self, name: str) -> bool:
        local, at, host = name.rpartition("@")
        return (bool(at) and (local, host.lower()) in self.boxes) or self.hosts.cover(host)


class Uris:
    def __init__(self, trees: Iterable[str]) -> None:
        self.hosts = Hosts(trees)

    def cover(self, name: str) -> bool:
        return self.hosts.cover(_uri_host(name))


def _uri_host(name: str) -> str:
    """Return the host name, or an empty text if there is none or an IP address."""
    try:
        host = urlsplit(name).hostname or ""
    except ValueError:
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return ""


class Addresses:
    def __init__(self, trees: Iterable[Any]) -> None:
        self.networks = Networks(tree.network_address.packed + tree.netmask.packed for tree in trees)

    def cover(self, name: Any) -> bool:
        return hasattr(name, "packed") and self.networks.cover(name.packed)


class Directories:
    """Directory names, compared without case and repeated spaces (RFC 5280 section 7.1)."""

    def __init__(self, trees: Iterable[x509.Name]) -> None:
        self.trees = {tuple(map(_folded, tree.rdns)) for tree in trees}

    def cover(self, name: x509.Name) -> bool:
        parts = tuple(map(_folded, name.rdns))
        return any(parts[:length] in self.trees for length in range(len(parts) + 1))


def _folded(part: x509.RelativeDistinguishedName) -> frozenset[tuple[x509.ObjectIdentifier, str | bytes]]:
    return frozenset(
        (one.oid, " ".join(one.value.casefold().split()) if isinstance(one.value, str) else one.value) for one in part
    )


def _indexes() -> dict[Kind, Callable[[Any], Any]]:
    """Return the supported types. A function, because x509 is None without the library cryptography."""
    return {
        x509.DNSName: DnsNames,
        x509.IPAddress: Addresses,
        x509.RFC822Name: Mails,
        x509.UniformResourceIdentifier: Uris,
        x509.DirectoryName: Directories,
    }
