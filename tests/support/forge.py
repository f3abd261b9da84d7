# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that cryptography cannot create: their DER is changed and signed again."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from support.authority import Credential

Parts = dict[str, bytes]
ORDER = ("version", "serial", "algorithm", "issuer", "validity", "subject", "spki", "ids", "extensions")


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def split(content: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return tag, content and whole encoding of each element."""
    found, at = [], 0
    while at < len(content):
        start, size, at = at, content[at + 1], at + 2
        if size & 0x80:
            digits = size & 0x7F
            size, at = int.from_bytes(content[at : at + digits], "big"), at + digits
        found.append((content[start], content[at : at + size], content[start : at + size]))
        at += size
    return found


def parts(certificate: x509.Certificate) -> Parts:
    elements = [whole for dummy, dummy2, whole in split(split(certificate.tbs_certificate_bytes)[0][1])]
    names = [name for name in ORDER if name != "ids" and (name != "version" or elements[0][0] == 0xA0)]
    return dict(zip(names, elements, strict=False))


def reissued(
    made: Credential, signer: object, change: Callable[[Parts], None], outer: bytes | None = None
) -> Credential:
    """Return the certificate with changed parts, signed with SHA-256. `outer` replaces the outer algorithm."""
    changed = parts(made.certificate)
    change(changed)
    tbs = tlv(0x30, b"".join(changed.get(name, b"") for name in ORDER))
    if isinstance(signer, rsa.RSAPrivateKey):
        signature = signer.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(signer, ed25519.Ed25519PrivateKey):
        signature = signer.sign(tbs)
    else:
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        signature = signer.sign(tbs, ec.ECDSA(hashes.SHA256()))
    der = tlv(0x30, tbs + (outer or changed["algorithm"]) + tlv(3, b"\0" + signature))
    return Credential(x509.load_der_x509_certificate(der), made.key)


def extension(oid: str, value: bytes, critical: bool = False) -> tuple[x509.ExtensionType, bool]:
    """Return an extension with any content, for authority.make()."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical


def pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    import base64

    lines = base64.encodebytes(der).decode().replace("\n", "")
    body = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode()


def der(made: Credential) -> bytes:
    return made.certificate.public_bytes(Encoding.DER)
