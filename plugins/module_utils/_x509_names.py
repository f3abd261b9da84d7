# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name constraints, RFC 5280 section 4.2.1.10. Private to this collection.

Judged are subject alternative names (DNS, IP, email, URI, directory) and the subject. A common name is never taken for
a DNS name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.servicemesh.pki.plugins.module_utils._cryptography import ExtensionOID, NameOID, x509
from ansible_collections.servicemesh.pki.plugins.module_utils._x509_path import Node, Reason

Kind = type[x509.GeneralName]


def violations(path: list[Node]) -> Iterator[Reason]:
    """Names in a path that a CA above them does not allow."""
    for height, authority in enumerate(path):
        constraints = authority.extension(ExtensionOID.NAME_CONSTRAINTS) if height else None
        if constraints is None:
            continue
        for depth, node in enumerate(path[:height]):
            if depth > 0 and node.is_self_issued:
                continue
            for kind, name in names(node):
                why = forbidden(kind, name, constraints.permitted_subtrees or (), constraints.excluded_subtrees or ())
                if why:
                    shown = name.rfc4514_string() if isinstance(name, x509.Name) else name
                    yield node.reason("name_constraint", f"The CA {authority.subject} {why} its name {shown}")


def names(node: Node) -> Iterator[tuple[Kind, Any]]:
    """What constraints apply to: kind and value. An address in the subject counts only without one beside it."""
    alternatives = list(node.extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME) or ())
    for name in alternatives:
        yield type(name), name.value
    subject = node.certificate.subject
    if list(subject):
        yield x509.DirectoryName, subject
    if not any(isinstance(name, x509.RFC822Name) for name in alternatives):
        for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
            yield x509.RFC822Name, attribute.value


def forbidden(
    kind: Kind, name: Any, permitted: Iterable[x509.GeneralName], excluded: Iterable[x509.GeneralName]
) -> str | None:
    """How the constraints treat a name that they do not allow. Only constraints of the name's own kind count."""
    inside = [tree for tree in permitted if isinstance(tree, kind)]
    outside = [tree for tree in excluded if isinstance(tree, kind)]
    if (inside or outside) and kind not in MATCHERS:
        return "limits a kind of name that is not understood here, and so refuses"
    if (inside or outside) and kind is x509.UniformResourceIdentifier and not _uri_host(name):
        return "limits URIs by the name of their host, which is not in"
    if any(MATCHERS[kind](name, tree.value) for tree in outside):
        return "excludes"
    if kind is x509.DNSName and any(_stands_for(name, tree.value) for tree in outside):
        return "excludes a name that is covered by"
    if inside and not any(MATCHERS[kind](name, tree.value) for tree in inside):
        return "does not permit"
    return None


def _dns(name: str, tree: str) -> bool:
    name, tree = name.lower().rstrip("."), tree.lower().rstrip(".")
    return not tree or name == tree or name.endswith(tree if tree.startswith(".") else f".{tree}")


def _stands_for(name: str, tree: str) -> bool:
    """Whether a wildcard covers the name at the top of a tree. It stands for one label, so for none below that."""
    name, tree = name.lower().rstrip("."), tree.lower().rstrip(".")
    return name.startswith("*.") and not tree.startswith(".") and tree.partition(".")[2] == name.removeprefix("*.")


def _host(host: str, tree: str) -> bool:
    """A host of a URI or a mail address: the tree is that host, or with a leading dot all below it."""
    host, tree = host.lower(), tree.lower()
    return host.endswith(tree) and host != tree if tree.startswith(".") else host == tree


def _email(name: str, tree: str) -> bool:
    local, at, host = name.rpartition("@")
    wanted_local, wanted_at, wanted_host = tree.rpartition("@")
    if wanted_at:
        return bool(at) and local == wanted_local and host.lower() == wanted_host.lower()
    return _host(host, tree)


def _uri_host(name: str) -> str:
    """The name of the host; empty without one, and where it is an address."""
    try:
        host = urlsplit(name).hostname or ""
    except ValueError:
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return ""


def _uri(name: str, tree: str) -> bool:
    return _host(_uri_host(name), tree)


def _ip(name: Any, tree: Any) -> bool:
    return getattr(name, "version", None) == getattr(tree, "version", None) and name in tree


def _directory(name: x509.Name, tree: x509.Name) -> bool:
    """Without regard to case and blanks, RFC 5280 section 7.1."""
    wanted = [_folded(part) for part in tree.rdns]
    return [_folded(part) for part in name.rdns][: len(wanted)] == wanted


def _folded(part: x509.RelativeDistinguishedName) -> set[tuple[x509.ObjectIdentifier, str | bytes]]:
    return {
        (one.oid, " ".join(one.value.casefold().split()) if isinstance(one.value, str) else one.value) for one in part
    }


MATCHERS: dict[Kind, Callable[[Any, Any], bool]] = {
    x509.DNSName: _dns,
    x509.IPAddress: _ip,
    x509.RFC822Name: _email,
    x509.UniformResourceIdentifier: _uri,
    x509.DirectoryName: _directory,
}
