# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the paths from a certificate to a trust anchor whose names and signatures match. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import (
    Encoding,
    ExtensionOID,
    PublicFormat,
    UnsupportedAlgorithm,
    x509,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der, oids

MAX_DEPTH = 12  # certificates in a path
MAX_EDGES = 1000  # pairs of certificates; the number of paths of a hostile bundle grows exponentially
EMPTY = b"\x30\x00"  # DER of an empty sequence


@dataclass(frozen=True)
class Reason:
    """Why a certificate is refused, its subject, and the components of Linkerd that refuse it."""

    code: str
    message: str
    subject: str
    refused_by: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        own = {"code": self.code, "message": self.message, "subject": self.subject}
        return {**own, "refused_by": list(self.refused_by)}


class Node:
    """A certificate with its parsed parts, which the searches need many times."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self.certificate = certificate
        # Names are compared byte by byte, as in Go and rustls.
        self.subject_bytes = certificate.subject.public_bytes()
        self.issuer_bytes = certificate.issuer.public_bytes()
        self.is_self_issued = self.subject_bytes == self.issuer_bytes
        self.extensions = {item.oid: item for item in certificate.extensions}

    @cached_property
    def raw(self) -> der.Fields:
        return der.fields(self.certificate)

    def value(self, oid: str) -> bytes | None:
        """Return the DER of an extension, or None."""
        found = self.raw.extensions.get(oid)
        return None if found is None else found[1]

    @cached_property
    def constraints(self) -> Any:
        """Basic constraints, or None."""
        return self.extension(ExtensionOID.BASIC_CONSTRAINTS)

    @cached_property
    def usages(self) -> list[str] | None:
        """Extended key usages as object identifiers, or None without the extension."""
        found = self.extension(ExtensionOID.EXTENDED_KEY_USAGE)
        return None if found is None else [oid.dotted_string for oid in found]

    @property
    def usage_names(self) -> list[str]:
        return [certs.oid_name(oid) for oid in self.extension(ExtensionOID.EXTENDED_KEY_USAGE) or ()]

    @cached_property
    def alternative_names(self) -> list[der.Element]:
        """Subject alternative names as DER."""
        return der.children(self.value(oids.SUBJECT_ALTERNATIVE_NAME) or EMPTY)

    @cached_property
    def key_identifiers(self) -> tuple[bytes, bytes]:
        """Subject and authority key identifier, each empty if the certificate has none."""
        subject = self.extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
        authority = self.extension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
        return (subject.digest if subject else b""), (authority.key_identifier or b"") if authority else b""

    @cached_property
    def key_bytes(self) -> bytes:
        try:
            return self.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except (UnsupportedAlgorithm, ValueError):
            return self.certificate.public_bytes(Encoding.DER)  # no signature can be verified with this key

    @cached_property
    def subject(self) -> str:
        return self.certificate.subject.rfc4514_string() or f"serial {certs.serial_number(self.certificate)}"

    @property
    def issuer(self) -> str:
        return self.certificate.issuer.rfc4514_string() or "an empty name"

    def extension(self, oid: x509.ObjectIdentifier) -> Any:
        item = self.extensions.get(oid)
        return None if item is None else item.value

    def reason(self, code: str, message: str) -> Reason:
        return Reason(code, message, self.subject)


class Builder:
    """Finds paths from a leaf to one of the anchors: a depth-first search with backtracking."""

    def __init__(self, intermediates: Iterable[Node], anchors: Iterable[Node]) -> None:
        self.anchors: dict[x509.Certificate, Node] = {node.certificate: node for node in anchors}
        self.by_subject: dict[bytes, list[Node]] = {}
        seen = set()
        for node in [*self.anchors.values(), *intermediates]:  # anchors first, for the shortest path
            if node.certificate not in seen:
                seen.add(node.certificate)
                self.by_subject.setdefault(node.subject_bytes, []).append(node)
        self.edges = 0
        self.signatures: dict[tuple[int, int], bool] = {}
        # The longest path, and the reasons why it does not continue, to explain that there is no path.
        self.partial: list[Node] = []
        self.obstacles: list[Reason] = []

    def paths(self, leaf: Node) -> Iterator[list[Node]]:
        yield from self._extend([leaf])

    def is_anchor(self, node: Node) -> bool:
        return node.certificate in self.anchors

    @property
    def exhausted(self) -> bool:
        return self.edges >= MAX_EDGES

    def _extend(self, path: list[Node]) -> Iterator[list[Node]]:
        last = path[-1]
        if self.is_anchor(last):
            yield path
            return
        obstacles = []
        parents = self.by_subject.get(last.issuer_bytes, []) if len(path) < MAX_DEPTH else []
        for parent in parents:
            if self.exhausted:
                return
            if _contains_ca(path, parent):
                continue  # a cycle
            self.edges += 1
            obstacle = self._obstacle(last, parent)
            if obstacle:
                obstacles.append(obstacle)
            else:
                yield from self._extend([*path, parent])
        if len(path) > len(self.partial):
            self.partial, self.obstacles = path, obstacles or [_unknown_issuer(last, len(path))]

    def _obstacle(self, child: Node, parent: Node) -> Reason | None:
        if not identifiers_agree(child, parent):
            return aki_mismatch(child, parent)
        if is_forgeable(child.certificate):
            algorithm = certs.signature_algorithm(child.certificate)
            return child.reason("weak_signature", f"Its signature algorithm {algorithm} is not secure, or not known")
        pair = (id(child), id(parent))
        if pair not in self.signatures:
            self.signatures[pair] = certs.is_signed_by(child.certificate, parent.certificate)
        if not self.signatures[pair]:
            return child.reason("wrong_signature", f"It was not signed by the key of {parent.subject}")
        return None


def is_forgeable(certificate: x509.Certificate) -> bool:
    """Return whether the signature algorithm is not secure or not known. Then the signature proves nothing."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return True
    return algorithm is not None and algorithm.name in certs.WEAK_HASHES


def _contains_ca(path: list[Node], parent: Node) -> bool:
    """Return whether a certificate with the same name and key is in the path."""
    same_name = [node for node in path if node.subject_bytes == parent.subject_bytes]
    return bool(same_name) and any(node.key_bytes == parent.key_bytes for node in same_name)


def _unknown_issuer(node: Node, depth: int) -> Reason:
    if depth >= MAX_DEPTH:
        return node.reason("path_too_long", f"There is no trust anchor within {MAX_DEPTH} certificates")
    if node.is_self_issued:
        return node.reason("unknown_issuer", "It is self-signed and not one of the trust anchors")
    return node.reason("unknown_issuer", f"Its issuer {node.issuer} is neither in the chain nor a trust anchor")


def aki_mismatch(child: Node, parent: Node) -> Reason:
    message = f"Its authority key identifier is not the subject key identifier of {parent.subject}"
    return child.reason("aki_mismatch", message)


def identifiers_agree(child: Node, parent: Node) -> bool:
    """Return whether the child's authority key identifier, if it has one, matches the parent."""
    authority = child.extension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    if authority is None:
        return True
    subject = parent.extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    if authority.key_identifier and subject and authority.key_identifier != subject.digest:
        return False
    if authority.authority_cert_serial_number is None:
        return True
    names = [name.value for name in authority.authority_cert_issuer or [] if isinstance(name, x509.DirectoryName)]
    same_issuer = not names or parent.certificate.issuer in names
    return same_issuer and authority.authority_cert_serial_number == parent.certificate.serial_number


def is_issued_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Return whether the parent issued the child: name, key identifiers, signature."""
    one, other = Node(child), Node(parent)
    same_name = one.issuer_bytes == other.subject_bytes
    return same_name and identifiers_agree(one, other) and certs.is_signed_by(child, parent)
