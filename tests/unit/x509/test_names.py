# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and identifiers in certificates: how they are told, limited and matched."""

from __future__ import annotations

import ipaddress

import pytest
from authority import DAY, NOW, Made, key, make, named, openssl_verifies, verdict_on
from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.servicemesh.pki.plugins.filter.x509 import FilterModule
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains, name_constraints, paths
from ansible_collections.servicemesh.pki.plugins.test.x509 import TestModule as Offered

WANTED = chains.requirements(at=NOW)
OID = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")


def judge(chain: list[Made], anchors: list[Made]) -> set[str]:
    return {reason.code for reason in verdict_on(chain, anchors).reasons}


def leaf(root: Made, name: str = "leaf", *extensions, **more) -> Made:
    return make(name, root, own_key=key("p256", 2), ca=False, key_cert_sign=False, extensions=extensions, **more)


def alternatives(*names: x509.GeneralName):
    return x509.SubjectAlternativeName(list(names)), False


def limits(*permitted: x509.GeneralName, excluded=None):
    return x509.NameConstraints(list(permitted) or None, excluded), True


def test_every_kind_of_name_is_told():
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


def test_usages_are_told_by_name_where_they_have_one():
    usages = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH, OID])
    facts = certs.certificate_facts(leaf(make("root"), "leaf", (usages, False)).certificate)
    assert facts["extended_key_usage"] == ["serverAuth", OID.dotted_string]


EMAIL = x509.NameAttribute(NameOID.EMAIL_ADDRESS, "me@example.org")
BAD_EMAIL = x509.NameAttribute(NameOID.EMAIL_ADDRESS, "Ünicode <me@example.org>")  # an address it is not


@pytest.mark.parametrize(
    ("attribute", "tree", "codes"),
    [
        (EMAIL, "example.org", set()),
        (EMAIL, "me@example.org", set()),
        (EMAIL, "example.com", {"name_constraint"}),
        (BAD_EMAIL, "example.com", {"name_constraint"}),
    ],
)
def test_an_address_in_the_subject_is_limited_too(attribute, tree, codes, tmp_path):
    root = make("root", extensions=(limits(x509.RFC822Name(tree)),))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf"), attribute])
    one = leaf(root, subject)
    assert judge([one], [root]) == codes
    assert openssl_verifies(tmp_path, [one], [root]) is not bool(codes)


def test_an_address_beside_the_subject_stands_for_it():
    """RFC 5280 4.2.1.10: the subject's address counts only when there is no alternative name of that kind."""
    root = make("root", extensions=(limits(x509.RFC822Name("example.com")),))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf"), EMAIL])
    assert judge([leaf(root, subject, alternatives(x509.RFC822Name("me@example.com")))], [root]) == set()


def test_a_kind_of_name_that_is_not_understood_is_refused_when_limited(tmp_path):
    root = make("root", extensions=(limits(x509.RegisteredID(OID)),))
    one = leaf(root, "leaf", alternatives(x509.RegisteredID(OID)))
    assert judge([one], [root]) == {"name_constraint"}
    assert not openssl_verifies(tmp_path, [one], [root])
    assert judge([leaf(root)], [root]) == set()


def test_a_self_issued_ca_is_not_limited(tmp_path):
    """RFC 5280 6.1.4: name constraints pass over self-issued certificates, unless they are the last one."""
    root = make("root", extensions=(limits(excluded=[x509.DirectoryName(named("root"))]),))
    again = make("root", root, own_key=key("p256", 3))
    assert judge([leaf(again), again], [root]) == set()
    assert openssl_verifies(tmp_path, [leaf(again), again], [root])


@pytest.mark.parametrize("name", ["http://[", "mailto:", "urn:x"])
def test_an_address_without_a_host_is_inside_nothing(name):
    assert not name_constraints.Uris([".example"]).cover(name)
    assert not name_constraints.Uris(["example"]).cover(name)


@pytest.mark.parametrize(
    ("name", "openssl"),
    [
        ("urn:uuid:1", False),
        ("spiffe:///x", None),  # openssl 3.0 refuses it, 3.5 takes it
        ("spiffe://10.0.0.1/x", True),  # openssl takes it, against RFC 5280 4.2.1.10; Go refuses it
        ("https://[::1]:8443/x", True),
        ("spiffe://good.test/x", True),
    ],
)
def test_a_limit_on_addresses_refuses_one_without_a_name_of_a_host(name, openssl, tmp_path):
    tree, uri = x509.UniformResourceIdentifier("evil.test"), x509.UniformResourceIdentifier(name)
    root = make("root", extensions=(limits(excluded=[tree]),))
    one = leaf(root, "leaf", alternatives(uri))
    assert judge([one], [root]) == (set() if "good.test" in name else {"name_constraint"})
    assert openssl_verifies(tmp_path, [one], [root]) is openssl or openssl is None
    assert judge([leaf(plain := make("root"), "leaf", alternatives(uri))], [plain]) == set()


def organization(name: str, unit: str | None = None) -> x509.Name:
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name), *units])


@pytest.mark.parametrize("excluded", [True, False])
@pytest.mark.parametrize(
    ("name", "inside"),
    [("Evil Corp", True), ("EVIL  CORP", True), (" evil corp ", True), ("EvilCorp", False), ("Evil Corps", False)],
)
def test_names_of_directories_are_compared_without_case_and_blanks(name, inside, excluded, tmp_path):
    """RFC 5280 7.1."""
    tree = x509.DirectoryName(organization("Evil Corp"))
    root = make("root", extensions=(limits(excluded=[tree]) if excluded else limits(tree),))
    one = leaf(root, organization(name, "leaf"))
    assert judge([one], [root]) == ({"name_constraint"} if inside is excluded else set())
    assert openssl_verifies(tmp_path, [one], [root]) is (inside is not excluded)


@pytest.mark.parametrize(
    ("name", "tree", "refused"),
    [  # as Go judges; openssl and RFC 5280 know no wildcards here
        ("*.example.com", "secret.example.com", True),
        ("*.EXAMPLE.com", "secret.example.COM.", True),
        ("*.example.com", "a.secret.example.com", False),  # it stands for one label
        ("*.example.com", "secret.example.org", False),
        ("*.example.com", "example.com", True),
        ("example.com", "secret.example.com", False),
    ],
)
def test_a_wildcard_that_stands_for_an_excluded_name(name, tree, refused):
    root = make("root", extensions=(limits(excluded=[x509.DNSName(tree)]),))
    codes = judge([leaf(root, "leaf", alternatives(x509.DNSName(name)))], [root])
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
def test_dns_trees(name, tree, inside):
    assert name_constraints.DnsNames([tree]).cover(name) is inside


def test_trees_of_the_other_version_of_ip():
    assert not name_constraints.Addresses([ipaddress.ip_network("0.0.0.0/0")]).cover(ipaddress.ip_address("::1"))
    assert name_constraints.Addresses([ipaddress.ip_network("::/0")]).cover(ipaddress.ip_address("::1"))


@pytest.mark.parametrize(
    ("issuer", "serial", "codes"),
    [(None, 0, set()), ("root", 0, set()), ("other", 0, {"aki_mismatch"}), (None, 1, {"aki_mismatch"})],
)
def test_an_authority_named_by_issuer_and_serial(issuer, serial, codes):
    root = make("root")
    names = [x509.DirectoryName(named(issuer or "root"))]
    number = root.certificate.serial_number + serial
    one = leaf(root, authority=x509.AuthorityKeyIdentifier(None, names, number))
    assert judge([one], [root]) == codes


def test_a_certificate_without_identifiers_is_matched_by_name_and_signature():
    root = make("root", identifiers=False)
    one = leaf(root, identifiers=False)
    assert judge([one], [root]) == set()
    facts = certs.certificate_facts(one.certificate)
    assert facts["subject_key_identifier"] is facts["authority_key_identifier"] is None


def test_more_tiers_than_anyone_needs():
    made = [make("tier 0", own_key=key("p256", 50))]
    for number in range(1, paths.MAX_DEPTH + 1):
        made.insert(0, make(f"tier {number}", made[0], own_key=key("p256", 50 + number)))
    assert judge(made[:-1], made[-1:]) == {"path_too_long"}
    assert judge(made[1:-1], made[-1:]) == set()


def test_a_certificate_without_a_subject_is_named_by_its_serial():
    root = make("root")
    one = leaf(root, x509.Name([]), end=NOW - DAY / 2)
    verdict = chains.verify([one.certificate], [root.certificate], WANTED)
    assert verdict.reasons[0].subject == f"serial {certs.serial(one.certificate)}"


@pytest.mark.parametrize("at", ["2026-11-24T12:00:00Z", "2026-11-24T13:00:00+01:00", "2026-11-24T12:00:00", NOW])
def test_times(at):
    assert chains.moment(at) == NOW


@pytest.mark.parametrize("late", [False, True])
def test_the_ends_of_validity_are_inside(late, tmp_path):
    root = make("root")
    at = root.certificate.not_valid_after_utc if late else root.certificate.not_valid_before_utc
    one = leaf(root)
    for second, codes in ((0, set()), (1 if late else -1, {"expired" if late else "not_yet_valid"})):
        moment = at + second * DAY / 86400
        wanted = chains.requirements(at=moment)
        found = chains.verify([one.certificate], [root.certificate], wanted)
        assert {reason.code for reason in found.reasons} == codes
        if not (late and second == 0):  # RFC 5280 4.1.2.5 and Go count the last second in, openssl does not
            assert openssl_verifies(tmp_path, [one], [root], moment) is not bool(codes)


def test_plugins_offer_what_is_documented():
    assert set(FilterModule().filters()) == {"x509_certificates", "x509_chain", "x509_pem"}
    assert set(Offered().tests()) == {"issued_by", "trusted_by"}


def test_a_path_length_may_be_larger_than_what_stands_below():
    root = make("root", path_length=3)
    middle = make("middle", root, own_key=key("p256", 3))
    assert judge([leaf(middle), middle], [root]) == set()


def test_without_a_path_the_farthest_part_of_one_is_told():
    root = make("root")
    middle = make("middle", root, own_key=key("p256", 3))
    given = [leaf(middle).certificate, middle.certificate]
    verdict = chains.verify(given, [make("other", own_key=key("p256", 9)).certificate], WANTED)
    assert [node.certificate for node in verdict.path] == given
