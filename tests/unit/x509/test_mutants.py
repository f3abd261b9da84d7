# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases for small errors in the code (mutants) that no other test detects."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from support.authority import DAY, NOW, key, make, named, verdict_on

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import authority, errors
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains, name_constraints, paths

SECP256K1 = ec.generate_private_key(ec.SECP256K1())
EAST = timezone(timedelta(hours=2))
ROOT = make("root")


def reasons(chain, anchors, **required) -> list[tuple[str, str]]:
    """Return code and subject of each reason."""
    return [(reason.code, reason.subject) for reason in verdict_on(chain, anchors, **required).reasons]


def messages(chain, anchors, **required) -> str:
    return "\n".join(reason.message for reason in verdict_on(chain, anchors, **required).reasons)


def test_self_signed_needs_own_signature():
    assert certs.is_self_signed(make("root").certificate)
    assert not certs.is_self_signed(make("root", own_key=key(), sign_with=key("p256", 7)).certificate)
    assert not certs.is_self_signed(make("leaf", make("root")).certificate)


def test_issued_by_compares_name_identifier_and_signature():
    root, other = make("root"), make("other", own_key=key("p256", 7))
    assert paths.is_issued_by(make("leaf", root).certificate, root.certificate)
    assert not paths.is_issued_by(make("leaf", root, aki=b"x" * 20).certificate, root.certificate)
    assert not paths.is_issued_by(make("leaf", root, sign_with=other.key).certificate, root.certificate)
    assert not paths.is_issued_by(make("leaf", root).certificate, make("elsewhere").certificate)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "00"), (1, "01"), (0x80, "80"), (0xFF, "ff"), (0x100, "01:00"), (0xABCD, "ab:cd"), (2**64, "01" + ":00" * 8)],
)
def test_serial_number_has_format_of_vault(number, text):
    assert certs.serial_number(SimpleNamespace(serial_number=number)) == text


PARSE_TIME = [chains.parse_time, authority.parse_timestamp]


@pytest.mark.parametrize("parse_time", PARSE_TIME, ids=["chain", "vault"])
def test_time_without_zone_is_utc(parse_time):
    assert parse_time("2026-11-24T12:00:00") == datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert parse_time("2026-11-24T12:00:00+02:00") == datetime(2026, 11, 24, 10, tzinfo=UTC)


def test_invalid_time_for_vault_is_named():
    with pytest.raises(errors.VaultError, match="not_after 'soon'"):
        PARSE_TIME[1]("soon")


def test_times_are_returned_in_utc():
    assert chains.parse_time(None).tzinfo is UTC
    assert chains.parse_time(datetime(2026, 11, 24, 12, tzinfo=EAST)).tzinfo is UTC


@pytest.mark.parametrize(("option", "value", "part"), [("at", 7, "ISO 8601"), ("profile", "istio", "'istio'")])
def test_invalid_option_is_named(option, value, part):
    with pytest.raises(certs.X509Error, match=option) as caught:
        chains.requirements(**{option: value})
    assert caught.value.code == "invalid_option"
    assert part in str(caught.value)


def test_reasons_name_subject_and_times():
    root = make("root")
    ca = make("ca", root, own_key=key("p256", 2), ca=False, key_cert_sign=False)
    leaf = make("leaf", ca, own_key=key("p256", 3), ca=False, key_cert_sign=False)
    assert reasons([leaf, ca], [root]) == [("not_a_ca", "CN=ca"), ("key_usage", "CN=ca")]
    assert reasons([make("alone")], [root]) == [("unknown_issuer", "CN=alone")]
    assert "self-signed" in messages([make("alone")], [root])
    old = make("leaf", root, start=NOW - 9 * DAY, end=NOW - DAY)
    assert reasons([old], [root]) == [("expired", "CN=leaf")]
    early = make("leaf", root, start=NOW + DAY)
    assert reasons([early], [root]) == [("not_yet_valid", "CN=leaf")]
    for leaf, time in ((old, "2026-11-23T12:00:00Z"), (early, "2026-11-25T12:00:00Z")):
        assert re.findall(r"\d+-\S+Z", messages([leaf], [root])) == [time, "2026-11-24T12:00:00Z"]


def test_expires_soon_names_remaining_and_required_days():
    root, leaf = make("root"), make("leaf", make("root"), end=NOW + 10 * DAY)
    required = {"leaf_min_days": 20, "anchor_min_days": 40}
    assert reasons([leaf], [root], **required) == [("expires_soon", "CN=leaf"), ("expires_soon", "CN=root")]
    assert re.findall(r"[\d.]+", messages([leaf], [root], **required)) == ["10.0", "20", "30.0", "40"]
    ends = make("leaf", root, end=NOW)
    assert re.findall(r"[\d.]+", messages([ends], [root], leaf_min_days=1)) == ["0.0", "1"]


def test_exactly_the_required_validity_is_enough():
    assert reasons([make("leaf", ROOT, end=NOW + 10 * DAY)], [ROOT], leaf_min_days=10) == []


def test_top_of_incomplete_path_is_not_an_anchor():
    gone = make("gone", own_key=key("p256", 4))
    ca = make("ca", gone, own_key=key("p256", 2))
    leaf = make("leaf", ca, own_key=key("p256", 3))
    assert reasons([leaf, ca], [make("root")], anchor_min_days=90) == [("unknown_issuer", "CN=ca")]


def test_path_beside_cycle_is_found():
    """Two CAs have the same name, and the one that is part of a cycle comes first."""
    root = make("root")
    first = make("ca", root, own_key=key("p256", 2))
    cycle = make("root", first, own_key=root.key)
    leaf = make("leaf", first, own_key=key("p256", 3))
    assert reasons([leaf, cycle, first], [root]) == []


@pytest.mark.parametrize(
    ("kind", "name", "tree", "covered"),
    [
        (x509.RFC822Name, '"a@b"@host.example', "host.example", True),
        (x509.RFC822Name, '"a@b"@host.example', '"a@b"@host.example', True),
        (x509.RFC822Name, '"a@b"@host.example', '"a@c"@host.example', False),
        (x509.DNSName, "a.example.", "example", True),
        (x509.DNSName, "a.example", "example.", True),
        (x509.UniformResourceIdentifier, "urn:nothing", "xxxx", False),
        (x509.IPAddress, ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8"), True),
        (x509.IPAddress, ipaddress.ip_address("::ffff:a00:1"), ipaddress.ip_network("10.0.0.0/8"), False),
    ],
)
def test_subtree_covers_name(kind, name, tree, covered):
    assert name_constraints.Trees([kind(tree)]).cover(kind, name) is covered


@pytest.mark.parametrize(
    ("permitted", "excluded", "refused"),
    [
        ([x509.DNSName("a.example")], [], True),
        ([], [x509.DNSName("example")], True),
        ([x509.DNSName("b.example")], [], False),
        ([], [x509.DNSName("c.example")], False),
        ([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))], [], False),
    ],
)
def test_permitted_and_excluded_subtrees(permitted, excluded, refused):
    trees = name_constraints.Trees(permitted), name_constraints.Trees(excluded)
    assert (name_constraints.forbidden(x509.DNSName, "b.example", *trees) is not None) is refused


def test_constraint_of_unsupported_type_refuses():
    oid = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    trees = name_constraints.Trees([oid]), name_constraints.Trees(None)
    assert name_constraints.forbidden(x509.RegisteredID, oid.value, *trees)


def test_ip_network_is_shown_with_prefix():
    assert certs._general_name(x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))) == "IP:10.0.0.0/8"
    assert certs._general_name(x509.IPAddress(ipaddress.ip_address("10.0.0.1"))) == "IP:10.0.0.1"


def test_facts_without_name_and_path_length():
    plain = certs.certificate_facts(make(x509.Name([]), ca=None, identifiers=False).certificate)
    assert (plain["common_name"], plain["path_length"], plain["signature_algorithm"]) == (
        None,
        None,
        "ecdsa-with-SHA256",
    )
    assert certs.certificate_facts(make("ca", path_length=3).certificate)["path_length"] == 3


BEGIN = "-----BEGIN CERTIFICATE"
# Text, code of the error, and where the message locates it.
BROKEN = {
    "incomplete BEGIN line": (
        f"one\ntwo\n{ROOT.pem}three\n{BEGIN}\nAAAA",
        "invalid_pem",
        f"line {ROOT.pem.count(chr(10)) + 4}, offset {len(ROOT.pem) + 14}",
    ),
    "long label": (f"-----BEGIN {'A' * 200}-----\nAAAA", "invalid_pem", "BEGIN line at line 1, offset 0"),
    "no END line": (f"{BEGIN}-----\nAAAA", "invalid_pem", "-----END CERTIFICATE-----"),
    "another END line": (f"{BEGIN}-----\nAAAA\n-----END X-----", "invalid_pem", "-----END CERTIFICATE-----"),
    "unprintable label": ("-----BEGIN what <b>-----\nAAAA\n-----END what <b>-----", "invalid_pem", "an unknown type"),
    "lower-case label": ("-----BEGIN lower-----\nAAAA\n-----END lower-----", "invalid_pem", "an unknown type"),
    "another label": ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", "invalid_pem", "X509 CRL"),
    "no base64": (ROOT.pem.replace("MII", "MII!!!!"), "invalid_pem", "PEM block 1 (line 1, offset 0)"),
    "characters beyond ASCII": (ROOT.pem.replace("MII", "MI\x80"), "invalid_pem", "PEM block 1 (line 1, offset 0)"),
    "DER": (b"\x30\x80", "invalid_pem", "DER"),
    "not quite DER": (b"\x30\x7f", "invalid_pem", "no certificate"),
    "private key": ("a PRIVATE KEY and a PRIVATE KEY", "private_key_in_input", "offset 2"),
    "incomplete certificate": (f"{BEGIN}-----\nMIIB\n-----END CERTIFICATE-----", "invalid_certificate", "PEM block 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_error_of_broken_bundle_has_code_and_location(name):
    text, code, location = BROKEN[name]
    with pytest.raises(certs.X509Error, match=re.escape(location)) as caught:
        certs.parse_bundle(text)
    assert caught.value.code == code


def test_error_of_broken_certificate_has_cause():
    with pytest.raises(certs.X509Error, match=r": (?!None$)\S+ \S+"):
        certs.parse_bundle(BROKEN["incomplete certificate"][0])


def test_weak_and_unexpected_keys_are_named():
    unknown = make("leaf", ROOT, own_key=X25519PrivateKey.generate())
    assert reasons([unknown], [ROOT]) == [("weak_key", "CN=leaf")]
    short = make("leaf", ROOT, own_key=key("rsa1024"))
    assert reasons([short], [ROOT]) == [("weak_key", "CN=leaf")]
    assert "(rsa, 1024 bits)" in messages([short], [ROOT])
    required = {"key_types": ["rsa", "ed25519"]}
    assert reasons([make("leaf", ROOT)], [ROOT], **required) == [("key_type", "CN=leaf"), ("key_type", "CN=root")]
    assert "ec:256, expected rsa or ed25519" in messages([make("leaf", ROOT)], [ROOT], **required)


def test_critical_extension_is_named():
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    leaf = make("leaf", ROOT, extensions=((unknown, True),))
    assert reasons([leaf], [ROOT]) == [("critical_extension", "CN=leaf")]
    assert "1.2.3.4" in messages([leaf], [ROOT])


def test_every_ca_below_counts_for_path_length():
    root = make("root", path_length=1)
    first = make("first", root, own_key=key("p256", 2))
    second = make("second", first, own_key=key("p256", 3))
    leaf = make("leaf", second, own_key=key("p256", 4), ca=False, key_cert_sign=False)
    assert reasons([leaf, second, first], [root]) == [("path_length", "CN=root")]
    assert re.findall(r"\d", messages([leaf, second, first], [root])) == ["1", "2"]


def test_profile_names_keys_signatures_and_usages():
    linkerd = {"profile": "linkerd"}
    root = make("root", own_key=key("ed25519"))
    issuer = make("issuer", root, own_key=key("p384"))
    assert reasons([issuer], [root], **linkerd) == [("key_type", "CN=issuer"), ("key_type", "CN=root")]
    assert re.findall(r"\w+:\d+", messages([issuer], [root], **linkerd)) == [
        *("ec:384", "ec:256"),
        *("ed25519:256", "ec:256", "rsa:2048", "rsa:4096"),
    ]
    hashed = make("issuer", ROOT, own_key=key("p256", 2), algorithm=hashes.SHA384())
    assert reasons([hashed], [ROOT], **linkerd) == [("signature_algorithm", "CN=issuer")]
    assert "ecdsa-with-SHA384" in messages([hashed], [ROOT], **linkerd)
    usages = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier("1.2.3")])
    other = make("issuer", ROOT, own_key=key("p256", 2), extensions=((usages, False),))
    assert reasons([other], [ROOT], **linkerd) == [("extended_key_usage", "CN=issuer")] * 2
    assert messages([other], [ROOT], **linkerd).count("clientAuth, 1.2.3") == 2
    assert ("unparseable", "CN=issuer") in reasons([make("issuer", ROOT, own_key=SECP256K1)], [ROOT], **linkerd)


def test_profile_without_path_has_no_reason_for_anchor():
    lost = make("lost", make("gone", own_key=key("p256", 5)), own_key=key("p384"))
    chain = [make("issuer", lost, own_key=key("p521")), lost]
    assert [one for one in reasons(chain, [ROOT], profile="linkerd") if one[0] == "key_type"] == [
        ("key_type", "CN=issuer")
    ]


def test_bad_signature_is_not_taken_from_another_pair():
    """Two certificates of one CA, the forged one first. Then two CAs with one name, the wrong one first."""
    valid = make("ca", ROOT, own_key=key("p256", 2))
    forged = make("ca", ROOT, own_key=valid.key, sign_with=key("p256", 9))
    leaf = make("leaf", valid, own_key=key("p256", 3))
    assert reasons([leaf, forged, valid], [ROOT]) == []
    wrong = make("ca", ROOT, own_key=key("p256", 8), identifiers=False)
    leaf = make("leaf", valid, own_key=key("p256", 3), identifiers=False)
    assert reasons([leaf, wrong, valid], [ROOT]) == []


def test_name_constraints_skip_self_issued_cas():
    """RFC 5280 section 6.1.3 (b): self-issued certificates are skipped, except the leaf."""
    limit = x509.NameConstraints(None, [x509.DirectoryName(named("ca"))])
    root = make("root", extensions=((limit, True),))
    first = make("ca", root, own_key=key("p256", 2))
    again = make("ca", first, own_key=key("p256", 3))
    refused = ("name_constraint", "CN=ca")
    leaf = make("leaf", again, own_key=key("p256", 4), ca=False, key_cert_sign=False)
    assert reasons([leaf, again, first], [root]) == [refused]
    assert "CN=root" in messages([leaf, again, first], [root])
    leaf = make("ca", again, own_key=key("p256", 4), ca=False, key_cert_sign=False)
    assert reasons([leaf, again, first], [root]) == [refused, refused]
