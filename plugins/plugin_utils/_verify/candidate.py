# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Linkerd accepts identity issuers and workloads below a CA, before it signs any. Private to this collection.

Nothing asks Vault to sign. The verification gets an issuer as cert-manager requests it, signed with a temporary key,
and assumes that the CA signed it. All other rules apply: keys, signature algorithms, path length, name constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import (
    ExtensionOID,
    NameOID,
    ec,
    ed25519,
    hashes,
    rsa,
    x509,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains, linkerd
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node, Reason
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import Link, Signatures, Workload

MINUTE, ISSUER_VALIDITY = timedelta(minutes=1), timedelta(days=2)
HASHES: dict[int, Any] = {384: hashes.SHA384, 521: hashes.SHA512}  # of Vault, by the bits of an EC key


class AssumedSignatures(Signatures):
    """The identity issuer is signed by the key of its signer."""

    def __init__(self, issuer: x509.Certificate, signer: x509.Certificate) -> None:
        super().__init__()
        self.issuer, self.signer = issuer, Node(signer)

    def __call__(self, child: Link, parent: Node) -> bool:
        if isinstance(child, Workload) or child.certificate != self.issuer:
            return super().__call__(child, parent)
        return bool(parent.raw.spki == self.signer.raw.spki)


def reasons(
    signer: x509.Certificate,
    issuer_name: str,
    workload: str,
    at: datetime,
    chain: Sequence[x509.Certificate] = (),
    anchors: Sequence[x509.Certificate] = (),
) -> list[Reason]:
    """Why Linkerd refuses an identity issuer with this name that a CA signs, or a workload below both.

    `chain` are the CAs that Vault returns with the issuer. Without `anchors`, the signer is the trust anchor.
    """
    issuer = issuer_below(signer, issuer_name, at)
    verdict = linkerd.verify(
        linkerd.Texts.of("the chain", [issuer, *chain], None),
        linkerd.Texts.of("the trust anchors", anchors or [signer], None),
        chains.requirements(at, "linkerd", workload=workload),
        AssumedSignatures(issuer, signer),
    )
    return list(verdict.reasons)


def issuer_below(signer: x509.Certificate, name: str, at: datetime) -> x509.Certificate:
    """An identity issuer as Vault would sign it, but with the signature of a temporary key of the same type."""
    key_type, bits, dummy = certs.key_facts(signer)
    key, public = temporary_key(key_type), temporary_key("ec").public_key()
    identifier = certs.extension(signer, ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)  # signatures, certificates, CRLs
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(signer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - MINUTE)
        .not_valid_after(at + ISSUER_VALIDITY)
        .add_extension(x509.BasicConstraints(True, 0), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
    )
    if identifier is not None:
        above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        builder = builder.add_extension(above, False)
    return builder.sign(key, None if key_type == "ed25519" else HASHES.get(bits or 0, hashes.SHA256)())


@cache
def temporary_key(key_type: str) -> Any:
    if key_type == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate() if key_type == "ed25519" else ec.generate_private_key(ec.SECP256R1())


def new_root_reasons(key_type: str, bits: int, max_path_length: int) -> list[str]:
    """Why Linkerd would refuse identity issuers below a root that is created with these options."""
    found = []
    if problem := linkerd.anchor_algorithm_problem(f"{key_type}:{bits}"):
        found.append(f"{problem}. Correct vault_pki_root_key_type and vault_pki_root_key_bits")
    if max_path_length == 0:
        found.append("vault_pki_root_max_path_length is 0. Set it to 1, so that an identity issuer can follow")
    return found
