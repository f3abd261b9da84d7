# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PEM text as the parts of Linkerd read it, and PEM text that all of them read. Private to this collection.

The identity controller and the CLI read with Go's encoding/pem (linkerd2: pkg/tls/codec.go): a block starts at the
start of a line and ends at the end of one, another type ends the reading, and text that holds no block is an error, a
blank line after the last block included. The proxies read with rustls-pki-types (linkerd2-proxy:
linkerd/meshtls/src/creds.rs): text around blocks and other types are skipped, headers within a block are an error.
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
NEWLINES = b"\r\n"
RUST_BLANKS = b"\t\n\x0b\x0c\r "


class Reading(NamedTuple):
    """The DER of the certificates that were read. The problem is empty where the whole text was read.

    fatal: the reader stops with an error, and the part of Linkerd that reads the text does not start.
    """

    certificates: list[bytes]
    problem: str = ""
    fatal: bool = False


Reader = Callable[[bytes], Reading]


def encode(certificates: Iterable[x509.Certificate]) -> str:
    """PEM text of certificates, which Go, rustls, openssl and cryptography read alike."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def read_as_go(text: bytes) -> Reading:
    """What the identity controller and the CLI read."""
    certificates: list[bytes] = []
    start = 0
    while start < len(text):
        found = _go_block(text, start)
        if found is None:
            return Reading(certificates, _where(text, start), fatal=True)
        label, der, start = found
        if label != LABEL:
            line = text.count(b"\n", 0, start)
            problem = f"reading ends at a block {_shown(label)}, which ends at line {line}"
            return Reading(certificates, problem, fatal=not certificates)
        certificates.append(der)
    return Reading(certificates, "" if certificates else "it holds no certificate", fatal=not certificates)


def _where(text: bytes, start: int) -> str:
    line = text.count(b"\n", 0, start) + 1
    if text.find(BEGIN, start) < 0:
        what = "a blank line follows" if not text[start:].strip() else "other text follows"
        return f"{what} the last block (line {line}), where nothing may" if start else "it holds no PEM block"
    return f"no complete PEM block, with its first and last line alone on their lines, follows line {line}"


def _go_block(text: bytes, start: int) -> tuple[bytes, bytes, int] | None:
    """Label and content of the next block, and where the text goes on; None where Go finds no block in it."""
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
    """The line without blanks at its end, and the start of the next."""
    stop = text.find(b"\n", start)
    if stop < 0:
        return text[start:].rstrip(b" \t"), len(text)
    line = text[start:stop]
    return line.removesuffix(b"\r").rstrip(b" \t"), stop + 1


def _base64(data: bytes, blanks: bytes = b" \t\r\n") -> bytes | None:
    data = data.translate(None, blanks)
    if not BASE64.fullmatch(data):
        return None
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return None


def read_as_rustls(text: bytes) -> Reading:
    """What the proxies read."""
    certificates: list[bytes] = []
    label, body = None, b""
    for line in re.split(rb"[\r\n]", text):
        if line.startswith(BEGIN):
            name = line.rstrip(b"\r\n ")
            if not name.endswith(DASHES) or name.endswith(b"-" + DASHES):
                return Reading(
                    certificates, f"the line {len(certificates) + 1}. block begins with is broken", fatal=True
                )
            label, body = name[len(BEGIN) :].removesuffix(DASHES), body if label else b""
        elif label is not None and line.startswith(END + label + DASHES):
            if label == LABEL:
                der = _base64(body, RUST_BLANKS)
                if der is None:
                    return Reading(certificates, "a block holds more than base64, such as headers", fatal=True)
                certificates.append(der)
            label, body = None, b""
        elif label is not None:
            body += line
    if label is not None:
        return Reading(certificates, "the last block has no end", fatal=True)
    return Reading(certificates, "" if certificates else "it holds no certificate", fatal=not certificates)


def _shown(label: bytes) -> str:
    """A block's label is shown only when it looks like one."""
    plain = label.replace(b" ", b"").isalnum() and label.isascii() and label.isupper()
    return label.decode() if plain else "of an unknown type"
