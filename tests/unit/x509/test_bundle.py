# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import re
import subprocess
import warnings
from datetime import UTC, datetime

import pytest
from ansible.errors import AnsibleFilterError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.authority import DAY, NOW, Credential, key, make

from ansible_collections.servicemesh.pki.plugins.filter.x509 import x509_certificates, x509_chain
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.test.x509 import issued_by, trusted_by

ROOT = make("root", path_length=1)
ISSUER = make("issuer", ROOT, own_key=key("p256", 1))
SECRET = ROOT.key_pem.decode()


@pytest.mark.parametrize(
    "text",
    [
        ROOT.pem + ISSUER.pem,
        (ROOT.pem + ISSUER.pem).encode(),
        (ROOT.pem + ISSUER.pem).replace("\n", "\r\n"),
        f"# the root\n{ROOT.pem}\nand the issuer\n{ISSUER.pem}".rstrip(),
    ],
)
def test_bundle_is_parsed_in_order(text):
    assert certs.parse_bundle(text) == [ROOT.certificate, ISSUER.certificate]


@pytest.mark.parametrize(
    ("text", "code", "location"),
    [
        ("", "invalid_pem", "no certificate"),
        ("x" * 1_000_000, "invalid_pem", "no certificate"),
        ("-----BEGIN " * 90_000, "invalid_pem", "offset 0"),
        (ROOT.certificate.public_bytes(Encoding.DER), "invalid_pem", "DER"),
        (b"\xff\xfe", "invalid_pem", "offset 0"),
        (ROOT.pem[:-30], "invalid_pem", "line 1, offset 0"),
        (ROOT.pem + ISSUER.pem.replace("MII", "MI!"), "invalid_pem", "PEM block 2"),
        (
            ROOT.pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "invalid_certificate",
            "PEM block 2",
        ),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "invalid_pem", "PUBLIC KEY"),
    ],
)
def test_error_of_invalid_bundle_has_code_and_location(text, code, location):
    with pytest.raises(certs.X509Error, match=location) as caught:
        certs.parse_bundle(text)
    assert caught.value.code == code
    assert len(str(caught.value)) < 400


def altered(made: Credential, old: bytes, new: bytes) -> str:
    """Return the PEM text of a certificate with replaced bytes, as no library creates it."""
    der = made.certificate.public_bytes(Encoding.DER)
    assert der.count(old) == 1
    body = base64.encodebytes(der.replace(old, new)).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


def extended(*extensions: tuple[str, str]) -> Credential:
    """Return a certificate with extensions of these OIDs and contents."""
    unknown = [x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(raw)) for oid, raw in extensions]
    return make("odd", extensions=tuple((one, False) for one in unknown))


LATE = make("late", start=datetime(2051, 1, 1, tzinfo=UTC), end=datetime(2052, 1, 1, tzinfo=UTC))
BEGINS = b"20510101000000Z"
ODD = {
    "of version 6": altered(ROOT, bytes.fromhex("a003020102"), bytes.fromhex("a003020105")),
    "of version 2": altered(ROOT, bytes.fromhex("a003020102"), bytes.fromhex("a003020101")),
    "with an extension twice": altered(
        extended(("1.2.3.4.5", "0500"), ("1.2.3.4.6", "0500")),
        bytes.fromhex("06042a030406"),
        bytes.fromhex("06042a030405"),
    ),
    "with an X.400 address": extended(("2.5.29.17", "3004a3023000")).pem,
    "with an EDI party": extended(("2.5.29.17", "3008a506a1040c027878")).pem,
    "of the year 0": altered(LATE, BEGINS, b"00000101000000Z"),
}


@pytest.mark.parametrize("name", ODD)
def test_certificate_that_cryptography_cannot_parse_is_located(name):
    with pytest.raises(certs.X509Error, match=r"^PEM block 2 \(line \d+, offset \d+\)") as caught:
        certs.parse_bundle(ROOT.pem + ODD[name])
    assert caught.value.code == "invalid_certificate"


@pytest.mark.parametrize("name", ODD)
def test_profile_has_verdict_for_certificate_that_cryptography_cannot_parse(name):
    """Without a profile it is an error. A report must not fail because of one certificate."""
    options = {"at": NOW.isoformat()}
    with pytest.raises(AnsibleFilterError, match="PEM block 2"):
        x509_chain(ISSUER.pem, ROOT.pem + ODD[name], **options)
    found = x509_chain(ISSUER.pem, ROOT.pem + ODD[name], profile="linkerd", **options)
    assert (found["verified"], found["path"], found["refused_by"]) == (False, [], [])
    [reason] = found["reasons"]
    assert (reason["code"], reason["subject"]) == ("unreadable", "the anchors")
    assert "PEM block 2" in reason["message"]
    assert trusted_by(ODD[name], ROOT.pem, profile="linkerd", **options) is False


def openssl_output(folder, pem: str, *what: str) -> str:
    (folder / "c").write_text(pem)
    command = ["openssl", "x509", "-in", folder / "c", "-noout", *what, "-dateopt", "iso_8601"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().rpartition("=")[2]


def test_negative_serial_number_has_minus_sign_as_in_openssl(tmp_path):
    number = ROOT.certificate.serial_number
    positive = number.to_bytes(number.bit_length() // 8 + 1, "big")
    pem = altered(
        ROOT, b"\x02" + bytes([len(positive)]) + positive, b"\x02" + bytes([len(positive)]) + b"\x81" + positive[1:]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography plans to refuse them
        number = x509_certificates(pem)[0]["serial_number"]
    assert number.startswith("-")
    assert number.replace(":", "").upper() == openssl_output(tmp_path, pem, "-serial")


@pytest.mark.parametrize("year", ["0001", "0999"])
def test_early_year_has_four_digits(year, tmp_path):
    pem = altered(LATE, BEGINS, f"{year}0101000000Z".encode())
    start = x509_certificates(pem)[0]["not_before"]
    assert start == f"{year}-01-01T00:00:00Z"
    assert datetime.fromisoformat(start) < NOW - DAY
    shown, dummy, day = openssl_output(tmp_path, pem, "-startdate").strip().partition("-")
    assert (int(shown), day) == (int(year), "01-01 00:00:00Z")


@pytest.mark.parametrize("text", [SECRET, ROOT.pem + SECRET, SECRET.replace("\n", "\\n"), SECRET[:-40]])
def test_private_key_is_refused_and_not_shown(text):
    with pytest.raises(certs.X509Error) as caught:
        certs.parse_bundle(text)
    assert caught.value.code == "private_key_in_input"
    assert not any(line in str(caught.value) for line in SECRET.splitlines()[1:-1])


def test_ten_thousand_certificates_are_parsed():
    assert len(certs.parse_bundle(ROOT.pem * 10_000)) == 10_000


def test_anchor_is_found_among_ten_thousand(tmp_path):
    """All have the same name, and only the last has the right key. openssl accepts the bundle too."""
    other = make("root", own_key=key("p256", 3))
    anchors = other.pem * 9_999 + ROOT.pem
    assert trusted_by(ISSUER.pem, anchors, at=NOW.isoformat())
    assert openssl_verify(tmp_path, ISSUER.pem.encode(), anchors.encode())


# Text, whether parse_bundle() reads it, and whether openssl reads it. They differ for DER, which openssl detects, and
# for a block without an END line, which openssl ignores.
FORMS = {
    "pem": (ISSUER.pem.encode(), True, True),
    "CRLF": (ISSUER.pem.replace("\n", "\r\n").encode(), True, True),
    "text around it": (f"issuer\n{ISSUER.pem}\nend".encode(), True, True),
    "no newline at the end": (ISSUER.pem.rstrip().encode(), True, True),
    "missing end line": (ISSUER.pem[:-30].encode(), False, False),
    "second one without an end": ((ISSUER.pem + ROOT.pem[:-30]).encode(), False, True),
    "DER": (ISSUER.certificate.public_bytes(Encoding.DER), False, True),
    # Not larger, because the time of openssl grows with the square: minutes for a megabyte in version 3.5.
    "garbage": (bytes(range(256)) * 256, False, False),
    "letters": (b"x" * 65536, False, False),
    "nothing": (b"", False, False),
    "broken base64": (ISSUER.pem.replace("MII", "MI!").encode(), False, False),
    "a certificate cut short": (
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        False,
        False,
    ),
}


def openssl_verify(folder, leaf: bytes, anchors: bytes) -> bool:
    (folder / "leaf").write_bytes(leaf)
    (folder / "anchors").write_bytes(anchors)
    command = [
        "openssl",
        "verify",
        "-attime",
        str(int(NOW.timestamp())),
        "-CAfile",
        folder / "anchors",
        folder / "leaf",
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", FORMS)
def test_pem_forms_that_openssl_reads(name, tmp_path):
    text, ours, openssl = FORMS[name]
    try:
        read = bool(certs.parse_bundle(text))
    except certs.X509Error:
        read = False
    assert (read, openssl_verify(tmp_path, text, ROOT.pem.encode())) == (ours, openssl)


def test_facts_match_openssl(tmp_path):
    facts = x509_certificates(ISSUER.pem)[0]
    for name, option in {
        "fingerprint_sha256": ["-fingerprint", "-sha256"],
        "serial_number": ["-serial"],
        "subject_key_identifier": ["-ext", "subjectKeyIdentifier"],
        "authority_key_identifier": ["-ext", "authorityKeyIdentifier"],
    }.items():
        shown = openssl_output(tmp_path, ISSUER.pem, *option).lower()
        assert re.findall(r"[0-9a-f]+", shown.replace(":", ""))[-1] == facts[name].replace(":", ""), (name, shown)
    assert (
        facts["authority_key_identifier"]
        == x509_certificates(ROOT.pem)[0]["subject_key_identifier"]
        != facts["subject_key_identifier"]
    )
    assert (facts["not_before"], facts["not_after"]) == ("2026-11-23T12:00:00Z", "2026-12-24T12:00:00Z")
    assert (facts["is_ca"], facts["path_length"], facts["key_usage"]) == (True, None, ["keyCertSign", "cRLSign"])
    assert (facts["key_type"], facts["key_bits"], facts["curve"]) == ("ec", 256, "secp256r1")
    assert (facts["subject"], facts["issuer"], facts["self_signed"]) == ("CN=issuer", "CN=root", False)


def test_filters_and_tests_return_the_same():
    at = NOW.isoformat()
    report = x509_chain(ISSUER.pem, [ROOT.pem], at=at, profile="linkerd")
    assert report["verified"] and [item["common_name"] for item in report["path"]] == ["issuer", "root"]
    assert trusted_by(ISSUER.pem, ROOT.pem, at=at) and not trusted_by(ROOT.pem, ISSUER.pem, at=at)
    assert issued_by(ISSUER.pem, ROOT.pem) and issued_by(ROOT.pem, ROOT.pem) and not issued_by(ROOT.pem, ISSUER.pem)
    late = x509_chain(ISSUER.pem, ROOT.pem, at="2027-06-01")
    assert {(reason["code"], reason["subject"]) for reason in late["reasons"]} == {
        ("expired", "CN=issuer"),
        ("expired", "CN=root"),
    }


@pytest.mark.parametrize("bad", [None, 5, [], [None], "garbage"])
def test_filter_refuses_input_that_is_not_pem(bad):
    with pytest.raises(AnsibleFilterError):
        x509_chain(ROOT.pem, bad)
