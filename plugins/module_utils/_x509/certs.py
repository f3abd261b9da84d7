# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PEM to certificates, certificates to facts. Private to this collection."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import (
    ExtensionOID,
    InvalidSignature,
    NameOID,
    UnsupportedAlgorithm,
    dsa,
    ec,
    ed448,
    ed25519,
    hashes,
    padding,
    rsa,
    x509,
)

BEGIN, END, DASHES = "-----BEGIN ", "-----END ", "-----"
LABELS = ("CERTIFICATE", "X509 CERTIFICATE")
KEY_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}
KEY_TYPES = {
    ec.EllipticCurvePublicKey: "ec",
    rsa.RSAPublicKey: "rsa",
    ed25519.Ed25519PublicKey: "ed25519",
    ed448.Ed448PublicKey: "ed448",
    dsa.DSAPublicKey: "dsa",
}
WEAK_HASHES = ("md5", "sha1")
KEY_SIZES = {"ed25519": 256, "ed448": 456}


class X509Error(PkiError, ValueError):
    """An input that is not a certificate or a bundle of them. The message never quotes the input."""

    code = "invalid_certificate"


def parse_bundle(pem: str | bytes) -> list[x509.Certificate]:
    """All certificates of a PEM bundle, in its order. Raises X509Error.

    Lenient: text around the blocks, indentation, a byte order mark and blocks joined on one line are allowed; other
    kinds of blocks are not. Linkerd reads less: see strict_pem.py.
    """
    certificates = []
    for number, (label, offset, line, body) in enumerate(_blocks(_text(pem)), start=1):
        where = f"PEM block {number} (line {line}, offset {offset})"
        if label not in LABELS:
            raise X509Error(f"{where} is {_shown(label)}, wanted CERTIFICATE")
        try:
            certificates.append(_load(base64.b64decode("".join(_content(body).split()), validate=True)))
        except binascii.Error as exc:
            raise X509Error(f"{where} is not valid base64: take the PEM text again from its source") from exc
        except Exception as exc:  # cryptography raises more kinds than it documents, TypeError for example
            raise X509Error(f"{where} is not a valid X.509 certificate: {_cause(exc)}") from exc
    if not certificates:
        raise X509Error(
            "No certificate found: the input is empty or holds no line -----BEGIN CERTIFICATE-----, wanted is PEM"
        )
    return certificates


def _text(pem: str | bytes) -> str:
    if isinstance(pem, bytes):
        if pem[:1] == b"\x30" and pem[1:2] >= b"\x80":
            raise X509Error("The input looks like DER, wanted PEM (openssl x509 -inform der converts)")
        try:
            pem = pem.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise X509Error(f"The input is not PEM: byte at offset {exc.start} is not UTF-8. Give PEM text") from exc
    # Wherever it stands and however broken it is: before anything else, so that no other message comes first.
    if "PRIVATE KEY" in pem:
        raise X509Error(f"The input holds a private key (offset {pem.index('PRIVATE KEY')}). Give only certificates")
    return pem


def _blocks(text: str) -> Iterator[tuple[str, int, int, str]]:
    """(label, offset, line, base64) of each block."""
    start, line, counted = text.find(BEGIN), 1, 0
    while start >= 0:
        line, counted = line + text.count("\n", counted, start), start
        head = text.find(DASHES, start + len(BEGIN), start + 100)
        label = text[start + len(BEGIN) : head]
        if head < 0 or "\n" in label:
            raise X509Error(f"The BEGIN line at line {line}, offset {start} must end in -----")
        head += len(DASHES)
        end = text.find(DASHES, head)
        tail = f"{END}{label}{DASHES}"
        if end < 0 or not text.startswith(tail, end):
            raise X509Error(f"The PEM block at line {line}, offset {start} needs a line -----END {_shown(label)}-----")
        yield label, start, line, text[head:end]
        start = text.find(BEGIN, end + len(tail))


def _content(body: str) -> str:
    """The base64 of a block, without the headers that RFC 1421 allows before it."""
    if ":" not in body:
        return body
    lines = body.lstrip("\r\n").splitlines()
    while lines and ":" in lines[0]:
        del lines[0]
        while lines and lines[0][:1] in (" ", "\t") and lines[0].strip():
            del lines[0]  # a header goes on
    return "\n".join(lines)


def _shown(label: str) -> str:
    """A block's label is shown only when it looks like one."""
    return label if label.replace(" ", "").isalnum() and label.isascii() and label.isupper() else "an unknown kind"


def _load(der: bytes) -> x509.Certificate:
    certificate = x509.load_der_x509_certificate(der)
    # These are parsed when first asked for; asked here, a broken one is found with its place in the bundle.
    told = (certificate.extensions, certificate.subject, certificate.issuer, certificate.serial_number)
    dummy = (*told, certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    return certificate


def _cause(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__


def certificate_facts(certificate: x509.Certificate) -> dict[str, Any]:
    """What a playbook may ask of a certificate. Every key is always there, with None or [] where there is nothing."""
    constraints = extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    subject_key, authority_key = key_identifiers(certificate)
    key_type, key_bits, curve = key_facts(certificate)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "common_name": names[-1].value if names else None,
        "version": certificate.version.value + 1,
        "serial_number": serial(certificate),
        "subject_key_identifier": subject_key,
        "authority_key_identifier": authority_key,
        "not_before": iso(certificate.not_valid_before_utc),
        "not_after": iso(certificate.not_valid_after_utc),
        "key_type": key_type,
        "key_bits": key_bits,
        "curve": curve,
        "is_ca": bool(constraints and constraints.ca),
        "path_length": constraints.path_length if constraints else None,
        "key_usage": key_usage(certificate) or [],
        "extended_key_usage": [oid_name(oid) for oid in extension(certificate, ExtensionOID.EXTENDED_KEY_USAGE) or []],
        "subject_alt_name": [
            _general_name(name) for name in extension(certificate, ExtensionOID.SUBJECT_ALTERNATIVE_NAME) or []
        ],
        "signature_algorithm": signature_algorithm(certificate),
        "fingerprint_sha256": fingerprint(certificate),
        "self_signed": is_self_signed(certificate),
    }


def extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> Any:
    """The value of an extension, or None."""
    try:
        return certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None


def key_identifiers(certificate: x509.Certificate) -> tuple[str | None, str | None]:
    """Subject and authority key identifier as lower-case hex."""
    ski = extension(certificate, ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    aki = extension(certificate, ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    return ski.digest.hex() if ski else None, aki.key_identifier.hex() if aki and aki.key_identifier else None


def key_facts(certificate: x509.Certificate) -> tuple[str, int | None, str | None]:
    """Type, size in bits and curve of the public key."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return "unknown", None, None
    key_type = next((name for kind, name in KEY_TYPES.items() if isinstance(key, kind)), "unknown")
    curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else None
    return key_type, KEY_SIZES.get(key_type) or getattr(key, "key_size", None), curve


def key_usage(certificate: x509.Certificate) -> list[str] | None:
    """RFC 5280's names of the key usages, None when the certificate does not limit them."""
    usage = extension(certificate, ExtensionOID.KEY_USAGE)
    return usage and [name for attribute, name in KEY_USAGES.items() if getattr(usage, attribute)]


def is_self_signed(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer and is_signed_by(certificate, certificate)


def is_signed_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Whether the parent's name is the child's issuer and its key made the child's signature."""
    try:
        child.verify_directly_issued_by(parent)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):  # wrong, unknown, of another kind of key
        return _is_weakly_signed_by(child, parent)
    return True


def _is_weakly_signed_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """The same for MD5 and SHA-1, which cryptography verifies only on request."""
    try:
        key, algorithm = parent.public_key(), child.signature_hash_algorithm
        if algorithm is None or algorithm.name not in WEAK_HASHES or child.issuer != parent.subject:
            return False
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(child.signature, child.tbs_certificate_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(child.signature, child.tbs_certificate_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def signature_algorithm(certificate: x509.Certificate) -> str:
    return oid_name(certificate.signature_algorithm_oid)


def serial(certificate: x509.Certificate) -> str:
    """Hex as Vault writes it. No serial number may be negative, and some are: they have a minus, as openssl has it."""
    number = certificate.serial_number
    digits = abs(number).to_bytes(max(1, (number.bit_length() + 7) // 8), "big").hex(":")
    return f"-{digits}" if number < 0 else digits


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def iso(moment: datetime) -> str:
    """A time in UTC. Written by isoformat, since strftime writes the year 1 with one digit."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def oid_name(oid: x509.ObjectIdentifier) -> str:
    name = oid._name
    return oid.dotted_string if name == "Unknown OID" else name


def _general_name(name: x509.GeneralName) -> str:
    match name:
        case x509.DNSName():
            return f"DNS:{name.value}"
        case x509.RFC822Name():
            return f"email:{name.value}"
        case x509.UniformResourceIdentifier():
            return f"URI:{name.value}"
        case x509.IPAddress():
            return f"IP:{ipaddress.ip_network(name.value) if '/' in str(name.value) else name.value}"
        case x509.DirectoryName():
            return f"dirName:{name.value.rfc4514_string()}"
        case x509.RegisteredID():
            return f"RID:{name.value.dotted_string}"
        case _:
            return f"otherName:{cast(x509.OtherName, name).type_id.dotted_string}"
