# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift of an existing CA certificate, for each option."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

import pytest
from cryptography import x509
from support.authority import DAY, NOW, key, make

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import authority

SECOND = timedelta(seconds=1)
END = NOW + 30 * DAY
LATER = "2026-12-25T12:00:00Z"


def options(**given):
    """The result of authority.validate_options() with only the key and the given options set."""
    unset = dict.fromkeys(authority.AUTHORITY_OPTIONS)
    return {**unset, "key_type": "ec", "key_bits": 256, "minimum_remaining": 0, **given}


def drift(ca, now=NOW, **given):
    return authority.find_drift(options(**given), ca.certificate, now)


@pytest.fixture(scope="module")
def root():
    return make("root", path_length=1, start=NOW - 30 * SECOND, end=END)


def test_no_options_are_no_drift(root):
    assert drift(root) == {}


def test_equal_options_are_no_drift(root):
    assert drift(root, common_name="root", ttl=30 * 86400, not_after=END.isoformat(), max_path_length=1) == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"common_name": "other"}, {"common_name": {"expected": "other", "found": "root"}}),
        ({"organization": ["x"]}, {"organization": {"expected": ["x"], "found": []}}),
        ({"serial_number": "7"}, {"serial_number": {"expected": "7", "found": []}}),
        ({"key_bits": 384}, {"key_bits": {"expected": 384, "found": 256}}),
        ({"key_type": "rsa"}, {"key_type": {"expected": "rsa", "found": "ec"}}),
        ({"max_path_length": 0}, {"max_path_length": {"expected": 0, "found": 1}}),
        ({"max_path_length": -1}, {"max_path_length": {"expected": -1, "found": 1}}),
        ({"permitted_dns_domains": ["a.example"]}, {"permitted_dns_domains": {"expected": ["a.example"], "found": []}}),
        ({"ttl": 31 * 86400}, {"ttl": {"expected": "31d", "found": "30d"}}),
        ({"not_after": LATER}, {"not_after": {"expected": LATER, "found": END.isoformat()}}),
        ({"minimum_remaining": 31 * 86400}, {"minimum_remaining": {"expected": "31d", "found": "30d"}}),
    ],
    ids=str,
)  # fmt: skip
def test_each_option(root, given, expected):
    assert drift(root, **given) == expected


def test_subject_with_several_attributes(root):
    name = x509.Name(
        [x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in
         [("2.5.4.3", "root"), ("2.5.4.10", "b"), ("2.5.4.10", "a"), ("2.5.4.5", "7")]]
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key().public_key()).serial_number(1)
        .not_valid_before(NOW).not_valid_after(END)
        .sign(key(), authority.certs.hashes.SHA256())
    )  # fmt: skip
    requested = options(common_name="root", organization=["a", "b"], serial_number="7")
    # Without basic constraints it is not a CA and has no path length.
    assert authority.find_drift(requested, certificate, NOW) == {"is_ca": {"expected": True, "found": False}}
    assert authority.find_drift(options(organization=["a"]), certificate, NOW)["organization"]["found"] == ["b", "a"]
    assert authority.basic_constraints(certificate) == {"is_ca": False, "max_path_length": -1}


def test_ca_without_path_length():
    assert drift(make("root"), max_path_length=-1) == {}
    assert drift(make("root"), max_path_length=1) == {"max_path_length": {"expected": 1, "found": -1}}


def test_certificate_that_is_not_a_ca():
    assert drift(make("leaf", ca=False)) == {"is_ca": {"expected": True, "found": False}}


@pytest.mark.parametrize(
    ("kind", "given"), [("ed25519", {"key_type": "ed25519", "key_bits": 0}), ("p384", {"key_bits": 384})]
)
def test_other_key_types(kind, given):
    assert drift(make("root", own_key=key(kind)), **given) == {}


def test_name_constraints():
    names = {
        "dns_domains": (x509.DNSName("a.example"), "a.example"),
        "ip_ranges": (x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")), "10.0.0.0/8"),
        "email_addresses": (x509.RFC822Name("a.example"), "a.example"),
        "uri_domains": (x509.UniformResourceIdentifier("u.example"), "u.example"),
    }
    everything = [entry for entry, dummy in names.values()]
    both = make("root", extensions=((x509.NameConstraints(everything, everything[:1]), True),))
    permitted = {f"permitted_{name}": [text] for name, (dummy, text) in names.items()}
    assert drift(both, **permitted, excluded_dns_domains=["a.example"]) == {}
    assert set(drift(both, excluded_ip_ranges=["10.0.0.0/8"])) == {"excluded_ip_ranges"}
    assert set(drift(both, permitted_uri_domains=["a.example"])) == {"permitted_uri_domains"}


@pytest.mark.parametrize(
    ("off", "differs"), [(-121, True), (-120, False), (0, False), (120, False), (121, True)], ids=str
)
def test_ttl_tolerance(root, off, differs):
    assert ("ttl" in drift(root, ttl=30 * 86400 + off)) == differs


@pytest.mark.parametrize(("not_before_duration", "differs"), [(None, True), (0, True), (3600, False)])
def test_backdated_start(not_before_duration, differs):
    dated = make("root", start=NOW - timedelta(hours=1), end=END)
    assert ("ttl" in drift(dated, ttl=30 * 86400, not_before_duration=not_before_duration)) == differs


def test_found_ttl_is_not_negative():
    short = make("root", start=NOW - 10 * SECOND, end=NOW)
    assert drift(short, now=NOW - DAY, ttl=3600) == {"ttl": {"expected": "1h", "found": "0s"}}


@pytest.mark.parametrize(("off", "differs"), [(0, False), (1, False), (2, True), (-2, True)])
def test_not_after_to_the_second(root, off, differs):
    assert ("not_after" in drift(root, not_after=(END + off * SECOND).isoformat())) == differs


@pytest.mark.parametrize(
    ("remaining", "found"),
    [
        (3 * 86400 + 59, "3d"),
        (3601, "1h"),
        (3600, "1h"),
        (3599, "59m59s"),
        (1, "1s"),
        (0, f"expired since {END.isoformat()}"),
        (-1, f"expired since {END.isoformat()}"),
    ],
)
def test_remaining_validity_is_rounded(root, remaining, found):
    differing = drift(root, now=END - remaining * SECOND, minimum_remaining=30 * 86400)
    assert differing == {"minimum_remaining": {"expected": "30d", "found": found}}


def test_remaining_validity_must_exceed_the_minimum(root):
    assert drift(root, minimum_remaining=30 * 86400 - 1) == {}
    assert set(drift(root, minimum_remaining=30 * 86400)) == {"minimum_remaining"}
    assert set(drift(root, now=END)) == {"minimum_remaining"}
    assert drift(root, now=END - SECOND) == {}
