# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and key identifiers: facts, name constraints, and issuers."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from support.authority import DAY, NOW, Credential, key, make, named, openssl_verifies, verdict_on

from ansible_collections.servicemesh.pki.plugins.filter.x509 import FilterModule
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains, name_constraints, paths
from ansible_collections.servicemesh.pki.plugins.test.x509 import TestModule as Tests

REQUIRED = chains.requirements(at=NOW)
OID = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")


def codes_of(chain: list[Credential], anchors: list[Credential]) -> set[str]:
    return {reason.code for reason in verdict_on(chain, anchors).reasons}


def leaf(root: Credential, name: str = "leaf", *extensions, **more) -> Credential:
    return make(name, root, own_key=key("p256", 2), ca=False, key_cert_sign=False, extensions=extensions, **more)


def alternatives(*names: x509.GeneralName):
    return x509.SubjectAlternativeName(list(names)), False


def limits(*permitted: x509.GeneralName, excluded=None):
    return x509.NameConstraints(list(permitted) or None, excluded), True


def test_subject_alt_name_has_every_type():
    names = [
        x509.DNSName("a.example"),
        x509.RFC822Name("me@example"),
        x509.UniformResourceIdentifier("spiffe://a"),
        x509.IPAddress(ipaddress.ip_address("10.1.2.3")),
        x509.IPAddress(ipaddress.ip_address("fe80::1")),
        x509.DirectoryName(named("somebody")),
        x509.RegisteredID(OID),
        x509.OtherName(OID, b"\x05\x00"),
    ]
    facts = certs.certificate_facts(leaf(make("root"), "leaf", alternatives(*names)).certificate)
    assert facts["subject_alt_name"] == [
        "DNS:a.example",
        "email:me@example",
        "URI:spiffe://a",
        "IP:10.1.2.3",
        "IP:fe80::1",
        "dirName:CN=somebody",
        f"RID:{OID.dotted_string}",
        f"otherName:{OID.dotted_string}",
    ]


def test_extended_key_usage_has_names():
    usages = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH, OID])
    facts = certs.certificate_facts(leaf(make("root"), "leaf", (usages, False)).certificate)
    assert facts["extended_key_usage"] == ["serverAuth", OID.dotted_string]


EMAIL = x509.NameAttribute(NameOID.EMAIL_ADDRESS, "me@example.org")
BAD_EMAIL = x509.NameAttribute(NameOID.EMAIL_ADDRESS, "Ünicode <me@example.org>")  # not a valid address


@pytest.mark.parametrize(
    ("attribute", "tree", "codes"),
    [
        (EMAIL, "example.org", set()),
        (EMAIL, "me@example.org", set()),
        (EMAIL, "example.com", {"name_constraint"}),
        (BAD_EMAIL, "example.com", {"name_constraint"}),
    ],
)
def test_email_constraint_applies_to_subject(attribute, tree, codes, tmp_path):
    root = make("root", extensions=(limits(x509.RFC822Name(tree)),))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf"), attribute])
    one = leaf(root, subject)
    assert codes_of([one], [root]) == codes
    assert openssl_verifies(tmp_path, [one], [root]) is not bool(codes)


def test_email_constraint_prefers_alternative_name():
    """RFC 5280 section 4.2.1.10: the subject's address counts only without an alternative name of that type."""
    root = make("root", extensions=(limits(x509.RFC822Name("example.com")),))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf"), EMAIL])
    assert codes_of([leaf(root, subject, alternatives(x509.RFC822Name("me@example.com")))], [root]) == set()


def test_constraint_of_unsupported_type_rejects_name_of_that_type(tmp_path):
    root = make("root", extensions=(limits(x509.RegisteredID(OID)),))
    one = leaf(root, "leaf", alternatives(x509.RegisteredID(OID)))
    assert codes_of([one], [root]) == {"name_constraint"}
    assert not openssl_verifies(tmp_path, [one], [root])
    assert codes_of([leaf(root)], [root]) == set()


def test_name_constraints_skip_self_issued_ca(tmp_path):
    """RFC 5280 section 6.1.4: they apply to a self-issued certificate only if it is the leaf."""
    root = make("root", extensions=(limits(excluded=[x509.DirectoryName(named("root"))]),))
    again = make("root", root, own_key=key("p256", 3))
    assert codes_of([leaf(again), again], [root]) == set()
    assert openssl_verifies(tmp_path, [leaf(again), again], [root])


@pytest.mark.parametrize("name", ["http://[", "mailto:", "urn:x"])
def test_uri_without_host_is_in_no_subtree(name):
    assert not name_constraints.Uris([".example"]).cover(name)
    assert not name_constraints.Uris(["example"]).cover(name)


@pytest.mark.parametrize(
    ("name", "openssl"),
    [
        ("urn:uuid:1", False),
        ("spiffe:///x", None),  # openssl 3.0 refuses it, 3.5 accepts it
        ("spiffe://10.0.0.1/x", True),  # openssl accepts it, against RFC 5280 section 4.2.1.10; Go refuses it
        ("https://[::1]:8443/x", True),
        ("spiffe://good.test/x", True),
    ],
)
def test_uri_constraint_rejects_uri_without_host(name, openssl, tmp_path):
    tree, uri = x509.UniformResourceIdentifier("evil.test"), x509.UniformResourceIdentifier(name)
    root = make("root", extensions=(limits(excluded=[tree]),))
    one = leaf(root, "leaf", alternatives(uri))
    assert codes_of([one], [root]) == (set() if "good.test" in name else {"name_constraint"})
    assert openssl_verifies(tmp_path, [one], [root]) is openssl or openssl is None
    assert codes_of([leaf(plain := make("root"), "leaf", alternatives(uri))], [plain]) == set()


def organization(name: str, unit: str | None = None) -> x509.Name:
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name), *units])


@pytest.mark.parametrize("excluded", [True, False])
@pytest.mark.parametrize(
    ("name", "inside"),
    [("Evil Corp", True), ("EVIL  CORP", True), (" evil corp ", True), ("EvilCorp", False), ("Evil Corps", False)],
)
def test_directory_names_are_compared_without_case_and_spaces(name, inside, excluded, tmp_path):
    """RFC 5280 section 7.1."""
    tree = x509.DirectoryName(organization("Evil Corp"))
    root = make("root", extensions=(limits(excluded=[tree]) if excluded else limits(tree),))
    one = leaf(root, organization(name, "leaf"))
    assert codes_of([one], [root]) == ({"name_constraint"} if inside is excluded else set())
    assert openssl_verifies(tmp_path, [one], [root]) is (inside is not excluded)


@pytest.mark.parametrize(
    ("name", "tree", "refused"),
    [  # as in Go; openssl and RFC 5280 have no wildcards here
        ("*.example.com", "secret.example.com", True),
        ("*.EXAMPLE.com", "secret.example.COM.", True),
        ("*.example.com", "a.secret.example.com", False),  # it matches one label
        ("*.example.com", "secret.example.org", False),
        ("*.example.com", "example.com", True),
        ("example.com", "secret.example.com", False),
    ],
)
def test_wildcard_that_matches_excluded_name(name, tree, refused):
    root = make("root", extensions=(limits(excluded=[x509.DNSName(tree)]),))
    codes = codes_of([leaf(root, "leaf", alternatives(x509.DNSName(name)))], [root])
    assert codes == ({"name_constraint"} if refused else set())


@pytest.mark.parametrize(
    ("name", "tree", "inside"),
    [
        ("a.example", "", True),
        ("a.example", "example", True),
        ("a.example.", "EXAMPLE", True),
        ("example", "example", True),
        ("anexample", "example", False),
        ("example", ".example", False),
        ("a.example", ".example", True),
    ],
)
def test_dns_subtrees(name, tree, inside):
    assert name_constraints.DnsNames([tree]).cover(name) is inside


def test_ip_subtrees_of_other_version():
    assert not name_constraints.Addresses([ipaddress.ip_network("0.0.0.0/0")]).cover(ipaddress.ip_address("::1"))
    assert name_constraints.Addresses([ipaddress.ip_network("::/0")]).cover(ipaddress.ip_address("::1"))


@pytest.mark.parametrize(
    ("issuer", "serial", "codes"),
    [(None, 0, set()), ("root", 0, set()), ("other", 0, {"aki_mismatch"}), (None, 1, {"aki_mismatch"})],
)
def test_authority_key_identifier_with_issuer_and_serial(issuer, serial, codes):
    root = make("root")
    names = [x509.DirectoryName(named(issuer or "root"))]
    number = root.certificate.serial_number + serial
    one = leaf(root, authority=x509.AuthorityKeyIdentifier(None, names, number))
    assert codes_of([one], [root]) == codes


def test_issuer_without_key_identifiers_is_found_by_name():
    root = make("root", identifiers=False)
    one = leaf(root, identifiers=False)
    assert codes_of([one], [root]) == set()
    facts = certs.certificate_facts(one.certificate)
    assert facts["subject_key_identifier"] is facts["authority_key_identifier"] is None


def test_path_too_long():
    made = [make("tier 0", own_key=key("p256", 50))]
    for number in range(1, paths.MAX_DEPTH + 1):
        made.insert(0, make(f"tier {number}", made[0], own_key=key("p256", 50 + number)))
    assert codes_of(made[:-1], made[-1:]) == {"path_too_long"}
    assert codes_of(made[1:-1], made[-1:]) == set()


def test_certificate_without_subject_is_named_by_serial_number():
    root = make("root")
    one = leaf(root, x509.Name([]), end=NOW - DAY / 2)
    verdict = chains.verify([one.certificate], [root.certificate], REQUIRED)
    assert verdict.reasons[0].subject == f"serial {certs.serial_number(one.certificate)}"


@pytest.mark.parametrize("at", ["2026-11-24T12:00:00Z", "2026-11-24T13:00:00+01:00", "2026-11-24T12:00:00", NOW])
def test_parse_time(at):
    assert chains.parse_time(at) == NOW


@pytest.mark.parametrize("late", [False, True])
def test_first_and_last_second_are_valid(late, tmp_path):
    root = make("root")
    at = root.certificate.not_valid_after_utc if late else root.certificate.not_valid_before_utc
    one = leaf(root)
    for second, codes in ((0, set()), (1 if late else -1, {"expired" if late else "not_yet_valid"})):
        time = at + second * DAY / 86400
        required = chains.requirements(at=time)
        found = chains.verify([one.certificate], [root.certificate], required)
        assert {reason.code for reason in found.reasons} == codes
        if not (late and second == 0):  # valid in RFC 5280 section 4.1.2.5 and Go, not in openssl
            assert openssl_verifies(tmp_path, [one], [root], time) is not bool(codes)


def test_filters_and_tests():
    assert set(FilterModule().filters()) == {"x509_certificates", "x509_chain", "x509_pem"}
    assert set(Tests().tests()) == {"issued_by", "trusted_by"}


def test_path_length_can_be_larger_than_needed():
    root = make("root", path_length=3)
    middle = make("middle", root, own_key=key("p256", 3))
    assert codes_of([leaf(middle), middle], [root]) == set()


def test_longest_path_is_returned_without_complete_one():
    root = make("root")
    middle = make("middle", root, own_key=key("p256", 3))
    given = [leaf(middle).certificate, middle.certificate]
    verdict = chains.verify(given, [make("other", own_key=key("p256", 9)).certificate], REQUIRED)
    assert [node.certificate for node in verdict.path] == given
