# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read PEM as the components of Linkerd do, and write PEM that all of them can read. Private to this collection.

The identity controller and the CLI use Go's encoding/pem (linkerd2: pkg/tls/codec.go). A block must start at the start
of a line and end at the end of one. A block of another type ends the bundle. Remaining text without a block is an
error, even a blank line after the last block.

The proxies use rustls-pki-types (linkerd2-proxy: linkerd/meshtls/src/creds.rs). They skip text around blocks and blocks
of other types. Headers within a block are an error.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import Encoding, x509

LABEL = b"CERTIFICATE"
BEGIN, END, DASHES = b"-----BEGIN ", b"-----END ", b"-----"
BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
RUST_WHITESPACE = b"\t\n\x0b\x0c\r "


class Reading(NamedTuple):
    """What a component of Linkerd reads: the DER of the certificates, and the problem with the rest of the text.

    `problem` is empty if the component reads the whole text. `fatal` means that it fails and does not start.
    """

    certificates: list[bytes]
    problem: str = ""
    fatal: bool = False


Reader = Callable[[bytes], Reading]


def encode(certificates: Iterable[x509.Certificate]) -> str:
    """Return PEM that Go, rustls, openssl and cryptography read in the same way."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def read_as_go(text: bytes) -> Reading:
    """Return what the identity controller and the CLI read."""
    certificates: list[bytes] = []
    start = 0
    while start < len(text):
        found = _go_block(text, start)
        if found is None:
            return Reading(certificates, _go_problem(text, start), fatal=True)
        label, der, start = found
        if label != LABEL:
            line = text.count(b"\n", 0, start)
            problem = f"the block before line {line + 1} is {_printable(label)}, and ends the bundle"
            return Reading(certificates, problem, fatal=not certificates)
        certificates.append(der)
    return Reading(certificates, "" if certificates else "it contains no certificate", fatal=not certificates)


def _go_problem(text: bytes, start: int) -> str:
    """Return why Go finds no block from an offset on."""
    line = text.count(b"\n", 0, start) + 1
    if text.find(BEGIN, start) < 0:
        rest = "other text" if text[start:].strip() else "a blank line"
        return f"{rest} follows the last block (line {line})" if start else "it contains no PEM block"
    return f"no complete PEM block follows from line {line} on. BEGIN and END must each be alone on a line"


def _go_block(text: bytes, start: int) -> tuple[bytes, bytes, int] | None:
    """Return label and content of the next block, and the offset of the rest, or None. See Decode of encoding/pem."""
    search = start
    while (end := text.find(b"\n" + END, search)) >= 0:
        trailer = end + 1 + len(END)
        begin = text.rfind(BEGIN, search, end)
        search = trailer
        if begin < 0 or (begin > start and text[begin - 1 : begin] != b"\n"):
            continue
        label, body = _line(text, begin + len(BEGIN))
        if not label.endswith(DASHES):
            continue
        label = label.removesuffix(DASHES)
        headers = False
        while body <= len(text):
            if body == len(text):
                return None
            line, after = _line(text, body)
            if b":" not in line:
                break
            body, headers = after, True
        tail, rest = text[trailer : trailer + len(label) + len(DASHES)], trailer + len(label) + len(DASHES)
        ending, following = _line(text, rest)
        if (headers and body > end) or tail != label + DASHES or ending:
            continue
        content = _base64(text[body:end])
        if content is not None:
            return label, content, following
    return None


def _line(text: bytes, start: int) -> tuple[bytes, int]:
    """Return the line without trailing whitespace, and the offset of the next line."""
    stop = text.find(b"\n", start)
    if stop < 0:
        return text[start:].rstrip(b" \t"), len(text)
    line = text[start:stop]
    return line.removesuffix(b"\r").rstrip(b" \t"), stop + 1


def _base64(data: bytes, whitespace: bytes = b" \t\r\n") -> bytes | None:
    data = data.translate(None, whitespace)
    if not BASE64.fullmatch(data):
        return None
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return None


def read_as_rustls(text: bytes) -> Reading:
    """Return what the proxies read."""
    certificates: list[bytes] = []
    label, body = None, b""
    for line in re.split(rb"[\r\n]", text):
        if line.startswith(BEGIN):
            name = line.rstrip(b"\r\n ")
            if not name.endswith(DASHES) or name.endswith(b"-" + DASHES):
                problem = f"the BEGIN line after {len(certificates)} certificate(s) is not complete"
                return Reading(certificates, problem, fatal=True)
            label, body = name[len(BEGIN) :].removesuffix(DASHES), body if label else b""
        elif label is not None and line.startswith(END + label + DASHES):
            if label == LABEL:
                der = _base64(body, RUST_WHITESPACE)
                if der is None:
                    return Reading(certificates, "a block contains more than base64, for example headers", fatal=True)
                certificates.append(der)
            label, body = None, b""
        elif label is not None:
            body += line
    if label is not None:
        return Reading(certificates, "the last block has no END line", fatal=True)
    return Reading(certificates, "" if certificates else "it contains no certificate", fatal=not certificates)


def read_as_linkerd(text: bytes) -> Reading:
    """Return what the identity controller reads, and the problem of the proxies if the controller has none."""
    found = read_as_go(text)
    return found if found.problem else read_as_rustls(text)


def _printable(label: bytes) -> str:
    """Return the label of a block if it looks like one, because messages must not quote other input."""
    plain = label.replace(b" ", b"").isalnum() and label.isascii() and label.isupper()
    return label.decode() if plain else "of an unknown type"
