# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases that mutation testing found missing: small errors in the code that no other test saw."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from authority import DAY, NOW, key, make
from cryptography import x509

from ansible_collections.servicemesh.pki.plugins.module_utils import (
    _vault_authority,
    _vault_errors,
    _x509,
    _x509_chain,
    _x509_names,
    _x509_path,
)

EAST = timezone(timedelta(hours=2))


def reasons(chain, anchors, **wanted) -> list[tuple[str, str]]:
    given, trusted = ([one.certificate for one in some] for some in (chain, anchors))
    verdict = _x509_chain.verify(given, trusted, _x509_chain.requirements(at=NOW, **wanted))
    return [(reason.code, reason.message) for reason in verdict.reasons]


def test_one_of_the_same_names_that_another_key_signed_is_not_self_signed():
    assert _x509.is_self_signed(make("root").certificate)
    assert not _x509.is_self_signed(make("root", own_key=key(), sign_with=key("p256", 7)).certificate)
    assert not _x509.is_self_signed(make("leaf", make("root")).certificate)


def test_an_issuer_has_the_name_the_identifier_and_the_key():
    root, other = make("root"), make("other", own_key=key("p256", 7))
    assert _x509_path.is_issued_by(make("leaf", root).certificate, root.certificate)
    assert not _x509_path.is_issued_by(make("leaf", root, aki=b"x" * 20).certificate, root.certificate)
    assert not _x509_path.is_issued_by(make("leaf", root, sign_with=other.key).certificate, root.certificate)
    assert not _x509_path.is_issued_by(make("leaf", root).certificate, make("elsewhere").certificate)


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "00"), (1, "01"), (0x80, "80"), (0xFF, "ff"), (0x100, "01:00"), (0xABCD, "ab:cd"), (2**64, "01" + ":00" * 8)],
)
def test_a_serial_number_as_openssl_writes_it(number, told):
    assert _x509.serial(SimpleNamespace(serial_number=number)) == told


@pytest.mark.parametrize("moment", [_x509_chain.moment, _vault_authority.moment], ids=["chain", "vault"])
def test_a_time_without_a_zone_is_utc_and_one_with_a_zone_is_kept(moment):
    assert moment("2026-11-24T12:00:00") == datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert moment("2026-11-24T12:00:00+02:00") == datetime(2026, 11, 24, 10, tzinfo=UTC)


def test_now_has_a_zone_and_a_given_time_comes_back_in_utc():
    assert _x509_chain.moment(None).tzinfo is UTC
    assert _x509_chain.moment(datetime(2026, 11, 24, 12, tzinfo=EAST)).tzinfo is UTC


def test_what_is_no_time_is_said():
    with pytest.raises(_x509.X509Error, match=r"^Requirements of the chain: at is a time in ISO 8601, such as 2026-"):
        _x509_chain.requirements(at=7)  # type: ignore[arg-type]
    with pytest.raises(_x509.X509Error, match=r"^There is no profile 'istio'\. Choose one of: linkerd$"):
        _x509_chain.requirements(profile="istio")
    with pytest.raises(_vault_errors.VaultError, match=r"^not_after 'soon' is no time: write it like 2027-03-31T"):
        _vault_authority.moment("soon")


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
    assert reasons([old], [root]) == [("expired", "It expired at 2026-11-23T12:00:00Z, asked for 2026-11-24T12:00:00Z")]
    early = make("leaf", root, start=NOW + DAY)
    assert reasons([early], [root]) == [
        ("not_yet_valid", "It is valid from 2026-11-25T12:00:00Z, asked for 2026-11-24T12:00:00Z")
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
    assert _x509_names.MATCHERS[kind](name, tree) is fits


@pytest.mark.parametrize(
    ("permitted", "excluded", "said"),
    [
        ([x509.DNSName("a.example")], [], "does not permit"),
        ([], [x509.DNSName("example")], "excludes"),
        ([x509.DNSName("b.example")], [], None),
        ([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))], [], None),
    ],
)
def test_how_a_limit_is_told(permitted, excluded, said):
    assert _x509_names.forbidden(x509.DNSName, "b.example", permitted, excluded) == said


def test_a_limit_on_a_kind_that_is_not_understood_refuses():
    oid = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    said = _x509_names.forbidden(x509.RegisteredID, oid.value, [oid], [])
    assert said == "limits a kind of name that is not understood here, and so refuses"


def test_a_range_of_addresses_is_told_as_one():
    assert _x509._general_name(x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))) == "IP:10.0.0.0/8"
    assert _x509._general_name(x509.IPAddress(ipaddress.ip_address("10.0.0.1"))) == "IP:10.0.0.1"


def test_facts_of_what_has_no_name_and_no_length():
    plain = _x509.certificate_facts(make(x509.Name([]), ca=None, identifiers=False).certificate)
    assert (plain["common_name"], plain["path_length"], plain["signature_algorithm"]) == (
        None,
        None,
        "ecdsa-with-SHA256",
    )
    assert _x509.certificate_facts(make("ca", path_length=3).certificate)["path_length"] == 3
