# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mount with an issuer whose certificate Vault imports and Python's cryptography rejects."""

from __future__ import annotations

import datetime
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

# An authority key identifier that names the issuer without its serial number, which RFC 5280, section 4.2.1.1, forbids:
# SEQUENCE { [1] { [4] { Name { CN=odd } } } }
ISSUER_WITHOUT_SERIAL = bytes.fromhex("3014a112a410300e310c300a060355040313036f6464")

NONE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


def unreadable_ca(common_name: str, signer: tuple | None = None) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A CA certificate that cryptography rejects. `signer` is certificate and key of its CA, None for a root."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = ca_builder(subject, key.public_key(), signer[0].subject if signer else subject).add_extension(
        x509.UnrecognizedExtension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ISSUER_WITHOUT_SERIAL), critical=False
    )
    return builder.sign(signer[1] if signer else key, hashes.SHA256()), key


def ca_builder(subject, public_key, issuer) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(hours=100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{**NONE, "key_cert_sign": True, "crl_sign": True}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def import_bundle(server, mount: str, bundle: str, name: str = "") -> str:
    done = server.client.write_data(f"{mount}/issuers/import/bundle", data={"pem_bundle": bundle})["data"]
    issuer_id = done["imported_issuers"][0]
    if name:
        server.client.write_data(f"{mount}/issuer/{issuer_id}", data={"issuer_name": name})
    return issuer_id


@pytest.fixture
def beside(server, roots):
    """A mount with the roots one (the default) and two, and a root that cannot be read."""
    return import_bundle(server, roots, pem(unreadable_ca("odd")[0]), "odd")


def test_unreadable_issuer_is_listed_separately(run, roots, beside):
    result = run.ok("vault_pki_issuer_info", mount=roots)
    assert [issuer["issuer_name"] for issuer in result["issuers"]] == ["one", "two"]
    (problem,) = result["unreadable"]
    assert (problem["issuer_id"], problem["issuer_name"]) == (beside, "odd")
    assert problem["problem"] and "CERTIFICATE" in problem["certificate"]
    assert any(f"odd in mount {roots}" in str(warning) for warning in result["warnings"])
    assert run.ok("vault_pki_issuer_info", mount=roots, issuer="two")["unreadable"] == []


def test_other_issuers_can_be_managed(run, roots, beside):
    one = dict(mount=roots, issuer_name="one", common_name="one.test", ttl="100h")
    assert not run.ok("vault_pki_root", **one)["changed"]
    assert run.four_ways("vault_pki_root", **{**one, "issuer_name": "three", "common_name": "three.test"})
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="two", usage=["crl-signing"])
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="two", state="absent")
    assert [issuer["issuer_name"] for issuer in run("vault_pki_issuer_info", mount=roots)["issuers"]] == [
        "one",
        "three",
    ]


def test_unreadable_issuer_can_be_changed_and_deleted(run, roots, beside):
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="odder", rename_from="odd", usage=["read-only"])
    assert done["issuer"]["problem"] and done["issuer"]["issuer_id"] == beside
    result = run("vault_pki_issuer", mount=roots, issuer_name="odder", state="absent")
    assert result["failed"] and (result["code"], result["issuer_id"]) == ("issuer_in_use", beside)
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="odder", state="absent", force=True)


def test_error_names_the_unreadable_issuer(run, roots, beside):
    result = run("vault_pki_root", mount=roots, issuer_name="odd", common_name="odd", ttl="100h")
    assert result["failed"] and (result["code"], result["issuer_id"]) == ("unreadable_certificate", beside)
    assert "odd" in result["msg"]
    child = dict(mount="nosuch", parent_mount=roots, parent_issuer="odd", issuer_name="x", common_name="x", ttl="1h")
    result = run("vault_pki_intermediate", **child)
    assert result["failed"]


def test_root_that_signed_an_unreadable_issuer_is_in_use(run, server, mount):
    """Vault builds the chain of an issuer that Python cannot read."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "above")])
    root = ca_builder(subject, key.public_key(), subject).sign(key, hashes.SHA256())
    import_bundle(server, mount, pem(root), "above")
    below = import_bundle(server, mount, pem(unreadable_ca("below", (root, key))[0]))
    run.ok("vault_pki_root", mount=mount, issuer_name="other", common_name="other", ttl="9h", default=True)
    result = run("vault_pki_issuer", mount=mount, issuer_name="above", state="absent")
    assert result["failed"] and result["code"] == "issuer_in_use"
    assert below in result["msg"]


def test_root_signed_with_sha1_is_self_signed(run, server, mount):
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "/dev/null",
        "-sha1",
        "-subj",
        "/CN=old",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    ]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    import_bundle(server, mount, made, "old")
    (issuer,) = run.ok("vault_pki_issuer_info", mount=mount)["issuers"]
    assert issuer["self_signed"] and issuer["signature_algorithm"] == "sha1WithRSAEncryption"
