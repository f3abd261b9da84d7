# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read parts of a certificate's DER that the library cryptography does not provide. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import Encoding, x509

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, SEQUENCE, SET = 1, 2, 3, 4, 5, 6, 0x30, 0x31
MALFORMED = (ValueError, IndexError, StopIteration, RuntimeError)  # raised for malformed content
VERSION, ISSUER_ID, SUBJECT_ID, EXTENSIONS = 0xA0, 0x81, 0x82, 0xA3


class Element(NamedTuple):
    """A DER element: tag, content, and the whole encoding."""

    tag: int
    value: bytes
    whole: bytes


class Fields(NamedTuple):
    """Parts of a certificate. Names, key and algorithms are whole elements. Extensions: OID to (critical, value)."""

    version: int
    signature_inner: bytes
    signature_outer: bytes
    signature_bits: bytes
    issuer: bytes
    subject: bytes
    spki: bytes
    unique_ids: bool
    extensions: dict[str, tuple[bool, bytes]]


def elements(data: bytes) -> Iterator[Element]:
    """Yield the elements in data. Raises ValueError if the last one is not complete."""
    at = 0
    while at < len(data):
        start, at = at, at + 2
        if at > len(data):
            raise ValueError("The input ends within a DER element: give whole certificates")
        size = data[at - 1]
        if size & 0x80:
            digits = size & 0x7F
            size, at = int.from_bytes(data[at : at + digits], "big"), at + digits
        if at + size > len(data):
            raise ValueError("The input ends within a DER element: give whole certificates")
        yield Element(data[start], data[at : at + size], data[start : at + size])
        at += size


def first(data: bytes) -> Element:
    """Return the first element in data. Raises ValueError if there is none."""
    for element in elements(data):
        return element
    raise ValueError("The input contains no DER element: give whole certificates")


def children(data: bytes) -> list[Element]:
    """Return the elements in the content of the first element."""
    return list(elements(first(data).value))


def fields(certificate: x509.Certificate) -> Fields:
    """Return the parts of a certificate."""
    tbs, outer, signature = children(certificate.public_bytes(Encoding.DER))
    parts = list(elements(tbs.value))
    version = parts.pop(0).value[-1] if parts[0].tag == VERSION else 0
    dummy, inner, issuer, dummy, subject, spki, *more = parts
    listed = next((part for part in more if part.tag == EXTENSIONS), None)
    return Fields(
        version + 1,
        inner.whole,
        outer.whole,
        signature.value,
        issuer.whole,
        subject.whole,
        spki.whole,
        any(part.tag in (ISSUER_ID, SUBJECT_ID) for part in more),
        dict(_extension(item.value) for item in children(listed.value)) if listed else {},
    )


def _extension(data: bytes) -> tuple[str, tuple[bool, bytes]]:
    oid, *more = elements(data)
    return dotted(oid.value), (more[0].tag == BOOLEAN and more[0].value != b"\0", more[-1].value)


def pairs(data: bytes) -> list[list[Element]]:
    """Return the first two elements in each element of a sequence. Go ignores what follows them."""
    return [list(islice(elements(item.value), 2)) for item in children(data)]


def dotted(content: bytes) -> str:
    """Return the content of an object identifier in dotted notation, or in hexadecimal if it is not complete."""
    if not content or content[-1] & 0x80:
        return content.hex()
    numbers, number = [], 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))
