# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains with the codes of their reasons, compared with openssl."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from support.authority import DAY, NOW, Credential, key, make, named, openssl_verifies, signed_by_openssl

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains


@dataclass
class Case:
    chain: list[Credential]
    anchors: list[Credential]
    codes: set[str] = field(default_factory=set)
    openssl: bool | None = None  # its result if it differs; the case has the reason
    length: int | None = None


def limits(permitted=None, excluded=None, critical=True):
    return ((x509.NameConstraints(permitted, excluded), critical),)


def usages(*oids):
    return ((x509.ExtendedKeyUsage(oids), False),)


def san(*names):
    return ((x509.SubjectAlternativeName(list(names)), False),)


def dns(name):
    return x509.DNSName(name)


ROOT = make("root")
ISSUER = make("issuer", ROOT, own_key=key("p256", 1))
LEAF = make("leaf", ISSUER, own_key=key("p256", 2), ca=False, key_cert_sign=False)
OTHER = make("other", own_key=key("p256", 9))


def below(root: Credential, **leaf) -> list[Credential]:
    options = {"ca": False, "key_cert_sign": False, "own_key": key("p256", 2), **leaf}
    return [make("leaf", root, **options)]


def tiers(count: int, **root) -> list[Credential]:
    """Leaf first, root last."""
    made = [make("tier 0", own_key=key("p256", 20), **root)]
    for number in range(1, count):
        made.insert(0, make(f"tier {number}", made[0], own_key=key("p256", 20 + number)))
    return made


def constrained(root_limits, **leaf) -> Case:
    root = make("root", extensions=root_limits)
    return Case(below(root, **leaf), [root], {"name_constraint"})


def allowed(root_limits, **leaf) -> Case:
    root = make("root", extensions=root_limits)
    return Case(below(root, **leaf), [root])


def renewed() -> Case:
    old = make("root", end=NOW - DAY / 2)
    return Case([LEAF, ISSUER], [old, ROOT], length=3)


def crossed() -> Case:
    """The old root also signed the new one, and only the old one is trusted. openssl stops at the self-signed one."""
    old, new = make("old", own_key=key("p256", 5)), make("new", own_key=key("p256", 6))
    cross = make("new", old, own_key=key("p256", 6))
    return Case([*below(new), new, cross], [old], openssl=False, length=3)


def same_name_other_key() -> Case:
    """Two CAs have the same name, and the first has the wrong key."""
    wrong, right = make("root", own_key=key("p256", 7)), make("root", own_key=key("p256", 8))
    return Case(below(right), [wrong, right])


def dead_end_first() -> Case:
    """Two certificates of the issuer: the first is expired, the second is not."""
    expired = make("issuer", ROOT, own_key=key("p256", 1), end=NOW - DAY / 2)
    return Case([LEAF, expired, ISSUER], [ROOT], length=3)


def cycle() -> Case:
    one, two = make("one", own_key=key("p256", 11)), make("two", own_key=key("p256", 12))
    cross_one, cross_two = make("one", two, own_key=one.key), make("two", one, own_key=two.key)
    return Case([*below(one), cross_one, cross_two], [OTHER], {"unknown_issuer"})


def self_issued_does_not_count() -> Case:
    root = make("root", path_length=0)
    again = make("root", root, own_key=key("p256", 3))
    return Case([*below(again, own_key=key("p256", 2)), again], [root], length=3)


RSA = make("root", own_key=key("rsa2048"))
CASES = {
    "one tier": Case(below(ROOT), [ROOT], length=2),
    "two tiers": Case([LEAF, ISSUER], [ROOT], length=3),
    "four tiers": Case((four := tiers(4))[:-1], four[-1:], length=4),
    "any order, duplicates, unrelated certificates": Case(
        [LEAF, OTHER, ROOT, ISSUER, ISSUER, LEAF], [OTHER, ROOT, ROOT], length=3
    ),
    "leaf is the anchor": Case([ROOT], [ROOT], length=1),
    "anchor is an intermediate": Case([LEAF], [ISSUER], length=2),
    "two anchors": Case([LEAF, ISSUER], [OTHER, ROOT]),
    "renewed root, same key, old one expired": renewed(),
    "cross-signed": crossed(),
    "same name, other key": same_name_other_key(),
    "dead end first": dead_end_first(),
    "cycle": cycle(),
    "self-issued CA does not count": self_issued_does_not_count(),
    "expired leaf": Case(below(ROOT, end=NOW - DAY / 2), [ROOT], {"expired"}),
    "future leaf": Case(below(ROOT, start=NOW + DAY), [ROOT], {"not_yet_valid"}),
    "expired root": Case(below(old := make("root", end=NOW - DAY / 2)), [old], {"expired"}),
    "partial chain": Case([LEAF], [ROOT], {"unknown_issuer"}),
    "unknown root": Case([LEAF, ISSUER, ROOT], [OTHER], {"unknown_issuer"}),
    "unknown self-signed certificate": Case([OTHER], [ROOT], {"unknown_issuer"}),
    "wrong signature": Case(below(ROOT, sign_with=key("p256", 9)), [ROOT], {"wrong_signature"}),
    "wrong authority key identifier": Case(below(ROOT, aki=b"\1" * 20), [ROOT], {"aki_mismatch"}),
    "not a ca": Case([*below(no := make("no", ROOT, ca=False, own_key=key("p256", 4))), no], [ROOT], {"not_a_ca"}),
    "no basic constraints": Case(
        [*below(bare := make("no", ROOT, ca=None, key_cert_sign=None, own_key=key("p256", 4))), bare],
        [ROOT],
        {"not_a_ca"},
    ),
    "no keyCertSign": Case(
        [*below(mute := make("no", ROOT, key_cert_sign=False, own_key=key("p256", 4))), mute], [ROOT], {"key_usage"}
    ),
    "path length 0, leaf below": Case(below(short := make("root", path_length=0)), [short]),
    "path length 0, CA as leaf": Case([make("issuer", short, own_key=key("p256", 1))], [short]),
    "path length 0, child and leaf": Case(
        [*below(child := make("issuer", short, own_key=key("p256", 1))), child], [short], {"path_length"}
    ),
    "unknown critical extension": Case(
        below(ROOT, extensions=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True),)),
        [ROOT],
        {"critical_extension"},
    ),
    # openssl checks the strength of keys only with -auth_level.
    "weak RSA key": Case(below(ROOT, own_key=key("rsa1024")), [ROOT], {"weak_key"}, openssl=True),
    "weak curve": Case(below(ROOT, own_key=key("p224")), [ROOT], {"weak_key"}, openssl=True),
    "RSA": Case(below(RSA), [RSA]),
    "RSA PSS, SHA-512": Case(below(RSA, pss=True, algorithm=hashes.SHA512()), [RSA]),
    "RSA PSS, wrong key": Case(below(RSA, pss=True, sign_with=key("rsa2048", 9)), [RSA], {"wrong_signature"}),
    "Ed25519, wrong key": Case(
        below(make("root", own_key=key("ed25519")), sign_with=key("ed25519", 9)),
        [make("root", own_key=key("ed25519"))],
        {"wrong_signature"},
    ),
    "another type of key with the same name": Case(
        below(ROOT), [make("root", own_key=key("rsa2048"))], {"aki_mismatch"}
    ),
    "RSA PSS": Case(below(RSA, pss=True), [RSA]),
    "P-384": Case(below(large := make("root", own_key=key("p384")), algorithm=hashes.SHA384()), [large]),
    "P-521": Case(below(largest := make("root", own_key=key("p521")), algorithm=hashes.SHA512()), [largest]),
    "Ed25519": Case(below(edwards := make("root", own_key=key("ed25519"))), [edwards]),
    "dns permitted": allowed(limits([dns("cluster.local")]), extensions=san(dns("a.cluster.local"))),
    "dns not permitted": constrained(limits([dns("cluster.local")]), extensions=san(dns("example.org"))),
    "dns alike": constrained(limits([dns("cluster.local")]), extensions=san(dns("evilcluster.local"))),
    "dns excluded": constrained(limits(None, [dns("a.cluster.local")]), extensions=san(dns("x.a.cluster.local"))),
    "ip permitted": allowed(
        limits([x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))]),
        extensions=san(x509.IPAddress(ipaddress.ip_address("10.1.2.3"))),
    ),
    "ip not permitted": constrained(
        limits([x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))]),
        extensions=san(x509.IPAddress(ipaddress.ip_address("11.1.2.3"))),
    ),
    "email not permitted": constrained(
        limits([x509.RFC822Name("example.org")]), extensions=san(x509.RFC822Name("a@example.com"))
    ),
    "uri permitted": allowed(
        limits([x509.UniformResourceIdentifier(".cluster.local")]),
        extensions=san(x509.UniformResourceIdentifier("spiffe://a.cluster.local/x")),
    ),
    "uri not permitted": constrained(
        limits([x509.UniformResourceIdentifier(".cluster.local")]),
        extensions=san(x509.UniformResourceIdentifier("spiffe://example.org/x")),
    ),
    "subject excluded": constrained(limits(None, [x509.DirectoryName(named("leaf"))])),
}


@pytest.mark.parametrize("name", CASES)
def test_chain(name, tmp_path):
    case = CASES[name]
    required = chains.requirements(at=NOW)
    verdict = chains.verify(
        [made.certificate for made in case.chain], [made.certificate for made in case.anchors], required
    )
    assert {reason.code for reason in verdict.reasons} == case.codes
    assert verdict.verified is not bool(case.codes)
    if case.length:
        assert len(verdict.path) == case.length
    expected = not case.codes if case.openssl is None else case.openssl
    assert openssl_verifies(tmp_path, case.chain, case.anchors) is expected


@pytest.mark.parametrize(("kind", "digest"), [("p256", "sha1"), ("rsa2048", "sha1"), ("rsa2048", "md5")])
def test_insecure_signature_algorithm(kind, digest, tmp_path):
    """cryptography cannot create such signatures. openssl can, and accepts them by default."""
    root = make("root", own_key=key(kind), end=NOW + 3650 * DAY)
    leaf = signed_by_openssl(tmp_path, "leaf", root, digest)
    at = leaf.certificate.not_valid_before_utc + DAY  # openssl always uses the current time as start
    required = chains.requirements(at=at)
    verdict = chains.verify([leaf.certificate], [root.certificate], required)
    assert {reason.code for reason in verdict.reasons} == {"weak_signature"}
    assert openssl_verifies(tmp_path, [leaf], [root], at)
    assert chains.verify(
        [leaf.certificate], [leaf.certificate], required
    ).verified  # the signature of an anchor is not used


@pytest.mark.parametrize(
    ("issuer", "root", "codes"),
    [
        ({}, {}, set()),
        ({}, {"path_length": 1}, set()),
        ({}, {"path_length": 0}, {"path_length"}),
        ({"ca": False}, {}, {"not_a_ca"}),
        ({"key_cert_sign": False}, {}, {"key_usage"}),
        ({"own_key": key("p384")}, {}, {"key_type"}),
        ({"own_key": key("rsa2048")}, {}, {"key_type"}),
        ({}, {"own_key": key("rsa2048")}, set()),
        ({"algorithm": hashes.SHA384()}, {"own_key": key("p384")}, {"key_type", "signature_algorithm"}),
        ({}, {"algorithm": hashes.SHA384()}, {"signature_algorithm"}),
        ({}, {"own_key": key("rsa4096"), "algorithm": hashes.SHA512()}, {"signature_algorithm"}),
        ({"own_key": ec.generate_private_key(ec.SECP256K1())}, {}, {"unparseable", "key_type"}),
        ({"own_key": ec.generate_private_key(ec.BrainpoolP256R1())}, {}, {"unparseable", "key_type"}),
        ({}, {"own_key": ec.generate_private_key(ec.SECP256K1())}, {"unparseable", "weak_signature"}),
        ({"extensions": usages(Usage.CLIENT_AUTH)}, {}, {"extended_key_usage"}),
        ({"extensions": usages(Usage.CLIENT_AUTH, Usage.SERVER_AUTH)}, {}, set()),
        (
            {"extensions": usages(Usage.ANY_EXTENDED_KEY_USAGE)},
            {},
            {"extended_key_usage"},
        ),  # only the proxies refuse it
        ({}, {"extensions": usages(Usage.EMAIL_PROTECTION)}, {"extended_key_usage"}),
        (
            {},
            {"extensions": limits([x509.DirectoryName(named("identity.linkerd.cluster.local"))])},
            {"critical_extension", "name_constraint"},
        ),
        ({}, {"extensions": limits(None, [x509.DirectoryName(named("x"))], critical=False)}, {"name_constraint"}),
        ({}, {"extensions": limits([dns("cluster.local")])}, set()),
    ],
)
def test_linkerd_profile(issuer, root, codes):
    anchor = make("root.linkerd.cluster.local", **root)
    made = make("identity.linkerd.cluster.local", anchor, **{"own_key": key("p256", 1), **issuer})
    required = chains.requirements(at=NOW, profile="linkerd")
    verdict = chains.verify([made.certificate], [anchor.certificate], required)
    assert {reason.code for reason in verdict.reasons} == codes


@pytest.mark.parametrize(
    ("middle", "refused"),
    [
        ({"own_key": ec.generate_private_key(ec.SECP256K1())}, {"unparseable", "weak_signature"}),
        ({"own_key": key("p384")}, set()),
        ({"extensions": usages(Usage.EMAIL_PROTECTION)}, {"extended_key_usage"}),
        ({"extensions": limits([x509.DirectoryName(named("identity"))])}, {"critical_extension", "name_constraint"}),
    ],
)
def test_intermediate_that_only_linkerd_refuses(middle, refused):
    """Go supports fewer curves and constraints, and requires the extended key usage serverAuth in each CA."""
    between = make("between", ROOT, **{"own_key": key("p256", 4), **middle})
    issuer = make("identity", between, own_key=key("p256", 1))
    for profile, codes in ((None, set()), ("linkerd", refused)):
        required = chains.requirements(at=NOW, profile=profile)
        verdict = chains.verify([issuer.certificate, between.certificate], [ROOT.certificate], required)
        assert {reason.code for reason in verdict.reasons} == codes


@pytest.mark.parametrize(
    "oids", [[Usage.SERVER_AUTH], [Usage.CLIENT_AUTH], [Usage.CLIENT_AUTH, Usage.SERVER_AUTH], [Usage.CODE_SIGNING]]
)
def test_extended_key_usages_of_issuer_match_openssl(oids, tmp_path):
    issuer = make("identity", ROOT, own_key=key("p256", 1), extensions=usages(*oids))
    server = make("server", issuer, own_key=key("p256", 2), ca=False, key_cert_sign=False)
    required = chains.requirements(at=NOW, profile="linkerd")
    verdict = chains.verify([issuer.certificate], [ROOT.certificate], required)
    both = [
        openssl_verifies(tmp_path, [server, issuer], [ROOT], NOW, "-purpose", f"ssl{use}")
        for use in ("server", "client")
    ]
    assert all(both) is verdict.verified


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ({"leaf_min_days": 29}, set()),
        ({"leaf_min_days": 31}, {"expires_soon"}),
        ({"anchor_min_days": 60}, {"expires_soon"}),
        ({"key_types": ["ec:256"]}, set()),
        ({"key_types": ["rsa", "ec:384"]}, {"key_type"}),
        ({"key_types": "ec"}, set()),  # Ansible also accepts a text for a list
        ({"key_types": "rsa, ec:256"}, set()),
        ({"key_types": "rsa"}, {"key_type"}),
    ],
)
def test_further_requirements(more, codes):
    required = chains.requirements(at=NOW, **more)
    verdict = chains.verify([LEAF.certificate, ISSUER.certificate], [ROOT.certificate], required)
    assert {reason.code for reason in verdict.reasons} == codes


@pytest.mark.parametrize("bad", [{"profile": "istio"}, {"at": "yesterday"}, {"at": 5}, {"leaf_min_days": "x"}])
def test_invalid_option_has_code(bad):
    with pytest.raises(certs.X509Error) as caught:
        chains.requirements(**bad)
    assert caught.value.code == "invalid_option"


def test_search_for_path_is_limited():
    """The number of paths grows exponentially if all CAs have signed each other."""
    names = [make(f"ca {number}", own_key=key("p256", 30 + number)) for number in range(9)]
    crossed = [make(f"ca {i}", names[j], own_key=names[i].key) for i in range(9) for j in range(9) if i != j]
    chain = [made.certificate for made in [*below(names[0]), *crossed]]
    verdict = chains.verify(chain, [OTHER.certificate], chains.requirements(at=NOW))
    assert "too_complex" in {reason.code for reason in verdict.reasons}


def altered(made: Credential, old: str, new: str) -> x509.Certificate:
    der = made.certificate.public_bytes(Encoding.DER)
    assert bytes.fromhex(old) in der
    return x509.load_der_x509_certificate(der.replace(bytes.fromhex(old), bytes.fromhex(new)))


def test_unknown_signature_algorithm_is_a_reason():
    unknown = altered(below(ROOT)[0], "2a8648ce3d040302", "2a8648ce3d04037f")
    for anchors in ([ROOT.certificate], [OTHER.certificate]):
        verdict = chains.verify([unknown], anchors, chains.requirements(at=NOW, profile="linkerd"))
        assert not verdict.verified
    assert "weak_signature" in {
        reason.code for reason in chains.verify([unknown], [ROOT.certificate], chains.requirements(at=NOW)).reasons
    }


def test_unknown_key_type_is_a_reason():
    unknown = altered(OTHER, "2a8648ce3d030107", "2a8648ce3d03017f")
    assert certs.key_facts(unknown) == ("unknown", None, None)
    assert certs.certificate_facts(unknown)["key_type"] == "unknown"
    verdict = chains.verify([unknown], [unknown], chains.requirements(at=NOW))
    assert {reason.code for reason in verdict.reasons} == {"weak_key"}
    below_it = below(make("other", own_key=key("p256", 9)))[0].certificate
    verdict = chains.verify([below_it], [unknown], chains.requirements(at=NOW))
    assert "wrong_signature" in {reason.code for reason in verdict.reasons}
