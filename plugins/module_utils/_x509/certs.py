# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse PEM bundles and return facts about certificates. Private to this collection."""

from __future__ import annotations

import base64
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
WEAK_HASHES = ("md5", "sha1")
KEY_SIZES = {"ed25519": 256, "ed448": 456}


class X509Error(PkiError, ValueError):
    """The input is not a PEM bundle of certificates, or a parameter of the verification is not valid.

    The message never quotes the input.
    """

    code = "invalid_certificate"


def parse_bundle(pem: str | bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM bundle in the order of the text. Raises X509Error.

    Text around the blocks, indentation, a byte order mark and several blocks on one line are allowed. Blocks with
    another label are an error. Linkerd reads PEM more strictly, see strict_pem.py.
    """
    certificates = []
    for number, (label, offset, line, body) in enumerate(_blocks(_decode(pem)), start=1):
        block = f"PEM block {number} (line {line}, offset {offset})"
        if label not in LABELS:
            raise X509Error(f"{block} is {_printable(label)}, expected CERTIFICATE. Remove it", code="invalid_pem")
        try:
            der = base64.b64decode("".join(_base64_text(body).split()), validate=True)
        except ValueError as exc:
            raise X509Error(
                f"{block} is not valid base64. Take the certificate from its source again", code="invalid_pem"
            ) from exc
        try:
            certificates.append(parse_der(der))
        except X509Error as exc:
            raise X509Error(f"{block} is {exc}", code="invalid_certificate") from exc
    if not certificates:
        raise X509Error(
            "The input contains no certificate. Give PEM text with at least one -----BEGIN CERTIFICATE----- block",
            code="invalid_pem",
        )
    return certificates


def _decode(pem: str | bytes) -> str:
    if isinstance(pem, bytes):
        if pem[:1] == b"\x30" and pem[1:2] >= b"\x80":
            raise X509Error(
                "The input is DER, expected PEM: run `openssl x509 -inform der` to convert it", code="invalid_pem"
            )
        try:
            pem = pem.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise X509Error(
                f"The input is not PEM: the byte at offset {exc.start} is not UTF-8. Give PEM text", code="invalid_pem"
            ) from exc
    # Checked before the blocks are parsed, so that an incomplete key is reported as a key too.
    if "PRIVATE KEY" in pem:
        raise X509Error(
            f"The input contains a private key (offset {pem.index('PRIVATE KEY')}). Give only certificates",
            code="private_key_in_input",
        )
    return pem


def _blocks(text: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield label, offset, line number and body of each PEM block."""
    start, line, counted = text.find(BEGIN), 1, 0
    while start >= 0:
        line, counted = line + text.count("\n", counted, start), start
        body = text.find(DASHES, start + len(BEGIN), start + 100)
        label = text[start + len(BEGIN) : body]
        if body < 0 or "\n" in label:
            raise X509Error(f"The BEGIN line at line {line}, offset {start} must end in -----", code="invalid_pem")
        body += len(DASHES)
        end = text.find(DASHES, body)
        trailer = f"{END}{label}{DASHES}"
        if end < 0 or not text.startswith(trailer, end):
            raise X509Error(
                f"The PEM block at line {line}, offset {start} needs a line -----END {_printable(label)}-----",
                code="invalid_pem",
            )
        yield label, start, line, text[body:end]
        start = text.find(BEGIN, end + len(trailer))


def _base64_text(body: str) -> str:
    """Remove the headers that RFC 1421 allows at the start of a block."""
    if ":" not in body:
        return body
    lines = body.lstrip("\r\n").splitlines()
    while lines and ":" in lines[0]:
        del lines[0]
        while lines and lines[0][:1] in (" ", "\t") and lines[0].strip():
            del lines[0]  # continuation of the header
    return "\n".join(lines)


def _printable(label: str) -> str:
    """Return the label of a block if it looks like one, because messages must not quote other input."""
    return label if label.replace(" ", "").isalnum() and label.isascii() and label.isupper() else "an unknown type"


def parse_der(der: bytes) -> x509.Certificate:
    """Return a certificate, with the parts that cryptography parses on first access. Raises X509Error."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        for part in ("extensions", "subject", "issuer", "serial_number", "not_valid_before_utc", "not_valid_after_utc"):
            getattr(certificate, part)
    except Exception as exc:  # cryptography raises more exceptions than it documents, for example TypeError
        message = " ".join(str(exc).split())[:200] or type(exc).__name__
        raise X509Error(f"not a valid X.509 certificate: {message}", code="invalid_certificate") from exc
    return certificate


def certificate_facts(certificate: x509.Certificate) -> dict[str, Any]:
    """Return what the filter x509_certificates documents. A key without a value is None or an empty list."""
    constraints = extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    subject_key_identifier, authority_key_identifier = key_identifiers(certificate)
    key_type, key_bits, curve = key_facts(certificate)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "common_name": names[-1].value if names else None,
        "version": certificate.version.value + 1,
        "serial_number": serial_number(certificate),
        "subject_key_identifier": subject_key_identifier,
        "authority_key_identifier": authority_key_identifier,
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
    """Return the value of an extension, or None."""
    try:
        return certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None


def key_identifiers(certificate: x509.Certificate) -> tuple[str | None, str | None]:
    """Return subject and authority key identifier as lower-case hexadecimal, or None."""
    subject = extension(certificate, ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    authority = extension(certificate, ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    return (
        subject.digest.hex() if subject else None,
        authority.key_identifier.hex() if authority and authority.key_identifier else None,
    )


def key_facts(certificate: x509.Certificate) -> tuple[str, int | None, str | None]:
    """Return type, size in bits and curve of the public key."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return "unknown", None, None
    key_type = _key_type(key)
    curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else None
    return key_type, KEY_SIZES.get(key_type) or getattr(key, "key_size", None), curve


def _key_type(key: Any) -> str:
    match key:
        case ec.EllipticCurvePublicKey():
            return "ec"
        case rsa.RSAPublicKey():
            return "rsa"
        case ed25519.Ed25519PublicKey():
            return "ed25519"
        case ed448.Ed448PublicKey():
            return "ed448"
        case dsa.DSAPublicKey():
            return "dsa"
        case _:
            return "unknown"


def key_usage(certificate: x509.Certificate) -> list[str] | None:
    """Return the key usages by their names in RFC 5280, or None without this extension."""
    usage = extension(certificate, ExtensionOID.KEY_USAGE)
    return usage and [name for attribute, name in KEY_USAGES.items() if getattr(usage, attribute)]


def is_self_signed(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer and is_signed_by(certificate, certificate)


def is_signed_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Return whether the subject of the parent is the issuer of the child, and its key signed the child."""
    try:
        child.verify_directly_issued_by(parent)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):  # TypeError: a key of another type
        return _is_weakly_signed_by(child, parent)
    return True


def _is_weakly_signed_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Return the same for MD5 and SHA-1, which verify_directly_issued_by() does not support."""
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


def serial_number(certificate: x509.Certificate) -> str:
    """Return the serial number in the format of Vault, for example 3d:0a:57.

    RFC 5280 forbids negative numbers. Those that exist have a minus sign, as openssl prints them.
    """
    number = certificate.serial_number
    digits = abs(number).to_bytes(max(1, (number.bit_length() + 7) // 8), "big").hex(":")
    return f"-{digits}" if number < 0 else digits


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def iso(time: datetime) -> str:
    """Return a time in UTC as ISO 8601. strftime() cannot be used, it writes the year 1 with one digit."""
    return f"{time.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


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
