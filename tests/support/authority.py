# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create certificates for tests, valid and invalid ones, and verify them with openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CURVES = {"p224": ec.SECP224R1, "p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}


@cache
def key(kind: str = "p256", number: int = 0):
    """Return a key, always the same one for a kind and number."""
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind]())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True)
class Credential:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: object

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make(
    name: str | x509.Name,
    issuer: Credential | None = None,
    *,
    own_key=None,
    ca: bool | None = True,
    path_length: int | None = None,
    start: datetime = NOW - DAY,
    end: datetime = NOW + 30 * DAY,
    key_cert_sign: bool | None = True,
    sign_with=None,
    aki: bytes | None = None,
    authority: x509.AuthorityKeyIdentifier | None = None,
    identifiers: bool = True,
    pss: bool = False,
    algorithm: hashes.HashAlgorithm | None = None,
    extensions: tuple = (),
) -> Credential:
    """Create a certificate with the given values, valid or not. Without an issuer it is self-signed."""
    own_key = own_key or key()
    signer = sign_with or (issuer.key if issuer else own_key)
    parent = issuer.certificate if issuer else None
    name = name if isinstance(name, x509.Name) else named(name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(parent.subject if parent else name)
        .public_key(own_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if identifiers:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own_key.public_key()), False)
    identifier = (
        aki
        or x509.AuthorityKeyIdentifier.from_issuer_public_key(
            (issuer.key if issuer else own_key).public_key()
        ).key_identifier
    )
    authority = authority or x509.AuthorityKeyIdentifier(identifier, None, None)
    if identifiers:
        builder = builder.add_extension(authority, False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), True)
    if key_cert_sign is not None:
        builder = builder.add_extension(usage(key_cert_sign), True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    hashed = None if isinstance(signer, ed25519.Ed25519PrivateKey) else algorithm or hashes.SHA256()
    salted = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH) if pss else None
    return Credential(builder.sign(signer, hashed, rsa_padding=salted), own_key)


def signed_by_openssl(folder: Path, name: str, issuer: Credential, digest: str) -> Credential:
    """Create a leaf with a signature algorithm that cryptography does not support."""
    (folder / "ca.key").write_bytes(issuer.key_pem)
    (folder / "ca.pem").write_text(issuer.pem)
    request = ["openssl", "req", "-new", "-key", folder / "ca.key", "-subj", f"/CN={name}", "-out", folder / "csr"]
    sign = ["openssl", "x509", "-req", f"-{digest}", "-in", folder / "csr", "-CA", folder / "ca.pem", "-CAkey"]
    sign += [folder / "ca.key", "-days", "300", "-CAcreateserial", "-out", folder / "made"]
    for command in (request, sign):
        subprocess.run(command, check=True, capture_output=True)
    return Credential(x509.load_pem_x509_certificate((folder / "made").read_bytes()), issuer.key)


def usage(key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not key_cert_sign, False, False, False, False, key_cert_sign, key_cert_sign, False, False)


def verdict_on(chain: list[Credential], anchors: list[Credential], **required: Any) -> chains.Verdict:
    """Return the verdict at NOW."""
    given, trusted = ([one.certificate for one in some] for some in (chain, anchors))
    return chains.verify(given, trusted, chains.requirements(at=NOW, **required))


def openssl_verifies(
    folder: Path, chain: list[Credential], anchors: list[Credential], at: datetime = NOW, *more: str
) -> bool:
    """Return whether `openssl verify` accepts the chain. With -partial_chain, anchors need not be self-signed."""
    files = {"leaf": chain[:1], "others": chain[1:] or chain[:1], "anchors": anchors}
    for name, certificates in files.items():
        (folder / name).write_text("".join(made.pem for made in certificates))
    command = ["openssl", "verify", "-partial_chain", "-attime", str(int(at.timestamp())), *more]
    command += ["-CAfile", folder / "anchors", "-untrusted", folder / "others", folder / "leaf"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
