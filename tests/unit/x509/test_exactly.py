# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases that mutation testing found missing: small errors in the code that no other test saw."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from authority import DAY, NOW, key, make, named, verdict_on
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import authority, errors
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains, name_constraints, paths

SECP256K1 = ec.generate_private_key(ec.SECP256K1())
EAST = timezone(timedelta(hours=2))


def reasons(chain, anchors, **wanted) -> list[tuple[str, str]]:
    return [(reason.code, reason.message) for reason in verdict_on(chain, anchors, **wanted).reasons]


def test_one_of_the_same_names_that_another_key_signed_is_not_self_signed():
    assert certs.is_self_signed(make("root").certificate)
    assert not certs.is_self_signed(make("root", own_key=key(), sign_with=key("p256", 7)).certificate)
    assert not certs.is_self_signed(make("leaf", make("root")).certificate)


def test_an_issuer_has_the_name_the_identifier_and_the_key():
    root, other = make("root"), make("other", own_key=key("p256", 7))
    assert paths.is_issued_by(make("leaf", root).certificate, root.certificate)
    assert not paths.is_issued_by(make("leaf", root, aki=b"x" * 20).certificate, root.certificate)
    assert not paths.is_issued_by(make("leaf", root, sign_with=other.key).certificate, root.certificate)
    assert not paths.is_issued_by(make("leaf", root).certificate, make("elsewhere").certificate)


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "00"), (1, "01"), (0x80, "80"), (0xFF, "ff"), (0x100, "01:00"), (0xABCD, "ab:cd"), (2**64, "01" + ":00" * 8)],
)
def test_a_serial_number_as_openssl_writes_it(number, told):
    assert certs.serial(SimpleNamespace(serial_number=number)) == told


@pytest.mark.parametrize("moment", [chains.moment, authority.moment], ids=["chain", "vault"])
def test_a_time_without_a_zone_is_utc_and_one_with_a_zone_is_kept(moment):
    assert moment("2026-11-24T12:00:00") == datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert moment("2026-11-24T12:00:00+02:00") == datetime(2026, 11, 24, 10, tzinfo=UTC)


def test_now_has_a_zone_and_a_given_time_comes_back_in_utc():
    assert chains.moment(None).tzinfo is UTC
    assert chains.moment(datetime(2026, 11, 24, 12, tzinfo=EAST)).tzinfo is UTC


def test_what_is_no_time_is_said():
    with pytest.raises(certs.X509Error, match=r"^Requirements of the chain: at is a time in ISO 8601, such as 2026-"):
        chains.requirements(at=7)  # type: ignore[arg-type]
    with pytest.raises(certs.X509Error, match=r"^There is no profile 'istio'\. Choose one of: linkerd$"):
        chains.requirements(profile="istio")
    with pytest.raises(errors.VaultError, match=r"^not_after 'soon' is no time: write it like 2027-03-31T"):
        authority.moment("soon")


def test_the_sentences_of_the_verdict():
    root = make("root")
    ca = make("ca", root, own_key=key("p256", 2), ca=False, key_cert_sign=False)
    leaf = make("leaf", ca, own_key=key("p256", 3), ca=False, key_cert_sign=False)
    assert reasons([leaf, ca], [root]) == [
        ("not_a_ca", "It is not a CA (basic constraints), so what it signs is not to be trusted"),
        ("key_usage", "Its key usage does not allow to sign certificates (keyCertSign)"),
    ]
    assert reasons([make("alone")], [root]) == [("unknown_issuer", "It is self-signed and not among the anchors")]
    old = make("leaf", root, start=NOW - 9 * DAY, end=NOW - DAY)
    assert reasons([old], [root]) == [
        ("expired", "It expired at 2026-11-23T12:00:00Z, requested is 2026-11-24T12:00:00Z")
    ]
    early = make("leaf", root, start=NOW + DAY)
    assert reasons([early], [root]) == [
        ("not_yet_valid", "It is valid from 2026-11-25T12:00:00Z, requested is 2026-11-24T12:00:00Z")
    ]


def test_the_sentences_of_too_little_life():
    root, leaf = make("root"), make("leaf", make("root"), end=NOW + 10 * DAY)
    soon = [
        ("expires_soon", "As leaf it has 10.0 days left, wanted 20"),
        ("expires_soon", "As anchor it has 30.0 days left, wanted 40"),
    ]
    assert reasons([leaf], [root], leaf_min_days=20, anchor_min_days=40) == soon
    ends = make("leaf", root, end=NOW)
    assert reasons([ends], [root], leaf_min_days=1) == [("expires_soon", "As leaf it has 0.0 days left, wanted 1")]


def test_the_top_of_a_path_that_leads_nowhere_is_not_taken_for_an_anchor():
    gone = make("gone", own_key=key("p256", 4))
    ca = make("ca", gone, own_key=key("p256", 2))
    leaf = make("leaf", ca, own_key=key("p256", 3))
    assert [code for code, dummy in reasons([leaf, ca], [make("root")], anchor_min_days=90)] == ["unknown_issuer"]


def test_a_cycle_does_not_hide_the_way_beside_it():
    """Two CAs of the same name: the one that leads round and round comes first."""
    root = make("root")
    first = make("ca", root, own_key=key("p256", 2))
    round_about = make("root", first, own_key=root.key)
    leaf = make("leaf", first, own_key=key("p256", 3))
    assert reasons([leaf, round_about, first], [root]) == []


@pytest.mark.parametrize(
    ("kind", "name", "tree", "fits"),
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
def test_names_and_their_limits(kind, name, tree, fits):
    assert name_constraints.Trees([kind(tree)]).cover(kind, name) is fits


@pytest.mark.parametrize(
    ("permitted", "excluded", "said"),
    [
        ([x509.DNSName("a.example")], [], "does not permit"),
        ([], [x509.DNSName("example")], "excludes"),
        ([x509.DNSName("b.example")], [], None),
        ([], [x509.DNSName("c.example")], None),
        ([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))], [], None),
    ],
)
def test_how_a_limit_is_told(permitted, excluded, said):
    trees = name_constraints.Trees(permitted), name_constraints.Trees(excluded)
    assert name_constraints.forbidden(x509.DNSName, "b.example", *trees) == said


def test_a_limit_on_a_kind_that_is_not_understood_refuses():
    oid = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    said = name_constraints.forbidden(
        x509.RegisteredID, oid.value, name_constraints.Trees([oid]), name_constraints.Trees(None)
    )
    assert said == "limits a kind of name that is not understood here, and so refuses"


def test_a_range_of_addresses_is_told_as_one():
    assert certs._general_name(x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))) == "IP:10.0.0.0/8"
    assert certs._general_name(x509.IPAddress(ipaddress.ip_address("10.0.0.1"))) == "IP:10.0.0.1"


def test_facts_of_what_has_no_name_and_no_length():
    plain = certs.certificate_facts(make(x509.Name([]), ca=None, identifiers=False).certificate)
    assert (plain["common_name"], plain["path_length"], plain["signature_algorithm"]) == (
        None,
        None,
        "ecdsa-with-SHA256",
    )
    assert certs.certificate_facts(make("ca", path_length=3).certificate)["path_length"] == 3


ROOT = make("root")
BEGUN = "-----BEGIN CERTIFICATE"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"one\ntwo\n{ROOT.pem}three\n{BEGUN}\nAAAA",
            f"The BEGIN line at line {ROOT.pem.count(chr(10)) + 4}, offset {len(ROOT.pem) + 14} must end in -----",
        ),
        (
            f"-----BEGIN {'A' * 200}-----\nAAAA",
            "The BEGIN line at line 1, offset 0 must end in -----",
        ),
        (f"{BEGUN}-----\nAAAA", "The PEM block at line 1, offset 0 needs a line -----END CERTIFICATE-----"),
        (
            f"{BEGUN}-----\nAAAA\n-----END X-----",
            "The PEM block at line 1, offset 0 needs a line -----END CERTIFICATE-----",
        ),
        (
            "-----BEGIN what <b>-----\nAAAA\n-----END what <b>-----",
            "PEM block 1 (line 1, offset 0) is an unknown kind, wanted",
        ),
        (
            "-----BEGIN lower-----\nAAAA\n-----END lower-----",
            "PEM block 1 (line 1, offset 0) is an unknown kind, wanted",
        ),
        (
            "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----",
            "PEM block 1 (line 1, offset 0) is X509 CRL, wanted",
        ),
        (
            ROOT.pem.replace("MII", "MII!!!!"),
            "PEM block 1 (line 1, offset 0) is not valid base64: take the PEM text again",
        ),
        (b"\x30\x80", "The input looks like DER, wanted PEM (openssl x509 -inform der converts)"),
        (b"\x30\x7f", "No certificate found: the input is empty"),
        ("a PRIVATE KEY and a PRIVATE KEY", "The input holds a private key (offset 2). Give only certificates"),
    ],
    ids=[  # of their own: the offsets in the sentences differ from one process to the other
        "half a BEGIN line",
        "a long label",
        "no end",
        "another end",
        "an odd label",
        "a lower-case label",
        "another kind",
        "foreign characters",
        "DER",
        "almost DER",
        "a private key",
    ],
)
def test_where_a_bundle_is_broken(text, said):
    with pytest.raises(certs.X509Error, match=f"^{re.escape(said)}"):
        certs.parse_bundle(text)


def test_why_a_block_is_no_certificate():
    cut = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    with pytest.raises(certs.X509Error, match=r"is not a valid X\.509 certificate: (?!None$)\S+ \S+"):
        certs.parse_bundle(cut)


def test_the_sentences_on_keys():
    strange = make("leaf", ROOT, own_key=X25519PrivateKey.generate())
    assert reasons([strange], [ROOT]) == [("weak_key", "Its key (unknown, None bits) is too weak or not known")]
    short = make("leaf", ROOT, own_key=key("rsa1024"))
    assert reasons([short], [ROOT]) == [("weak_key", "Its key (rsa, 1024 bits) is too weak or not known")]
    told = "Its key is ec:256, allowed are rsa, ed25519"
    assert reasons([make("leaf", ROOT)], [ROOT], key_types=["rsa", "ed25519"]) == [("key_type", told)] * 2


def test_the_sentence_on_a_critical_extension():
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    leaf = make("leaf", ROOT, extensions=((unknown, True),))
    told = "Its critical extension 1.2.3.4 is not understood here"
    assert reasons([leaf], [ROOT]) == [("critical_extension", told)]


def test_every_ca_below_counts_for_the_path_length():
    root = make("root", path_length=1)
    first = make("first", root, own_key=key("p256", 2))
    second = make("second", first, own_key=key("p256", 3))
    leaf = make("leaf", second, own_key=key("p256", 4), ca=False, key_cert_sign=False)
    assert reasons([leaf, second, first], [root]) == [("path_length", "It allows 1 CA(s) below it, there are 2")]


def test_the_sentences_of_the_profile():
    root = make("root", own_key=key("ed25519"))
    issuer = make("issuer", root, own_key=key("p384"))
    assert reasons([issuer], [root], profile="linkerd") == [
        ("key_type", "As issuer its key is ec:384, wanted is ec:256"),
        ("key_type", "As trust anchor its key is ed25519:256, wanted is ec:256 or rsa:2048 or rsa:4096"),
    ]
    hashed = make("issuer", ROOT, own_key=key("p256", 2), algorithm=hashes.SHA384())
    text = "It is signed with ecdsa-with-SHA384, wanted is ecdsa-with-SHA256 or sha256WithRSAEncryption"
    assert reasons([hashed], [ROOT], profile="linkerd") == [("signature_algorithm", text)]
    strange = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier("1.2.3")])
    odd = make("issuer", ROOT, own_key=key("p256", 2), extensions=((strange, False),))
    text = "Its extended key usages are clientAuth, 1.2.3"
    assert reasons([odd], [ROOT], profile="linkerd") == [
        ("extended_key_usage", f"{text}, wanted is serverAuth, or none"),
        ("extended_key_usage", f"{text}: without serverAuth workloads below it cannot be TLS servers"),
    ]
    other = make("issuer", ROOT, own_key=SECP256K1)
    text = "Go cannot parse it: its EC key is on a curve that Go does not have (wanted is P-256)"
    assert ("unparseable", text) in reasons([other], [ROOT], profile="linkerd")
    lost = make("lost", make("gone", own_key=key("p256", 5)), own_key=key("p384"))
    found = reasons([make("issuer", lost, own_key=key("p521")), lost], [ROOT], profile="linkerd")
    assert ("key_type", "As issuer its key is ec:521, wanted is ec:256") in found
    assert not [message for dummy, message in found if message.startswith("As trust anchor")]  # it ends nowhere


def test_one_bad_signature_is_not_taken_for_that_of_another():
    """Two certificates of one CA, the forged one first; one leaf below two CAs of one name, the strange one first."""
    good = make("ca", ROOT, own_key=key("p256", 2))
    forged = make("ca", ROOT, own_key=good.key, sign_with=key("p256", 9))
    leaf = make("leaf", good, own_key=key("p256", 3))
    assert reasons([leaf, forged, good], [ROOT]) == []
    strange = make("ca", ROOT, own_key=key("p256", 8), identifiers=False)
    leaf = make("leaf", good, own_key=key("p256", 3), identifiers=False)
    assert reasons([leaf, strange, good], [ROOT]) == []


def test_a_self_issued_ca_is_free_of_limits_and_the_others_are_not():
    """RFC 5280, 6.1.3 (b): all but self-issued ones, and the leaf in any case."""
    limit = x509.NameConstraints(None, [x509.DirectoryName(named("ca"))])
    root = make("root", extensions=((limit, True),))
    first = make("ca", root, own_key=key("p256", 2))
    again = make("ca", first, own_key=key("p256", 3))
    told = ("name_constraint", "The CA CN=root excludes its name CN=ca")
    leaf = make("leaf", again, own_key=key("p256", 4), ca=False, key_cert_sign=False)
    assert reasons([leaf, again, first], [root]) == [told]
    leaf = make("ca", again, own_key=key("p256", 4), ca=False, key_cert_sign=False)
    assert reasons([leaf, again, first], [root]) == [told, told]


def test_exactly_the_least_life_is_enough():
    assert reasons([make("leaf", ROOT, end=NOW + 10 * DAY)], [ROOT], leaf_min_days=10) == []
