# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains that hypothesis generates, compared with openssl, and properties of every verdict."""

from __future__ import annotations

import ipaddress
import itertools

import pytest
from cryptography import x509
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from support.authority import DAY, NOW, Credential, key, make, openssl_verifies, verdict_on

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains as verify_chains

KINDS = ["p256", "p384", "p521", "rsa2048", "ed25519"]
REQUIRED = verify_chains.requirements(at=NOW)
UNRELATED = make("tier 1", own_key=key("p256", 98))  # has a name that is in the chain too

# Without basic constraints, keyCertSign is left out too: openssl takes a certificate that has only that for an old CA.
FAULTS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"path_length": st.integers(0, 2)}),
    st.sampled_from(
        [
            {},
            {"end": NOW - DAY / 2},
            {"start": NOW + DAY},
            {"ca": False},
            {"ca": None, "key_cert_sign": None},
            {"key_cert_sign": False},
            {"sign_with": key("p256", 99)},
            {"aki": b"x" * 20},
        ]
    ),
)
Chain = tuple[list[Credential], list[Credential]]


@st.composite
def chains(draw) -> Chain:
    """Draw a leaf, the other certificates in any order, and an anchor, which can be any certificate of the chain."""
    made: list[Credential] = []
    for tier in range(draw(st.integers(2, 4))):
        own_key = key(draw(st.sampled_from(KINDS)), tier)
        own = draw(FAULTS)
        salted = bool(made) and draw(st.booleans()) and "sign_with" not in own and hasattr(made[0].key, "decrypt")
        made.insert(0, make(f"tier {tier}", made[0] if made else None, own_key=own_key, pss=salted, **own))
    anchor = draw(st.sampled_from([made[-1], made[-1], *made]))
    return [made[0], *draw(st.permutations(made[1:]))], [anchor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("openssl")


@given(chains())
def test_verdict_matches_openssl(folder, drawn):
    chain, anchors = drawn
    verdict = verdict_on(chain, anchors)
    event("verified" if verdict.verified else verdict.reasons[0].code)
    if chain[0] is anchors[0]:
        chain = chain[
            :1
        ]  # openssl also verifies the certificates above an anchor, but here anchors are trusted as they are
    assert verdict.verified is openssl_verifies(folder, chain, anchors), verdict.reasons


@settings(max_examples=settings.default.max_examples // 2)
@given(chains(), st.randoms(use_true_random=False))
def test_order_duplicates_and_unrelated_certificates_do_not_matter(drawn, random):
    (leaf, *others), anchors = drawn
    more = [*others, *others, UNRELATED, leaf]
    random.shuffle(more)
    one, other = verdict_on([leaf, *others], anchors), verdict_on([leaf, *more], [UNRELATED, *anchors])
    assert one.verified is other.verified
    if one.verified:
        assert [node.certificate for node in one.path] == [node.certificate for node in other.path]


@settings(max_examples=settings.default.max_examples // 2)
@given(chains())
def test_verdict_has_reasons_or_complete_path(drawn):
    chain, anchors = drawn
    verdict = verdict_on(chain, anchors)
    path = [node.certificate for node in verdict.path]
    assert path[0] == chain[0].certificate
    if verdict.verified:
        assert path[-1] == anchors[0].certificate
        assert all(certs.is_signed_by(child, parent) for child, parent in itertools.pairwise(path))
    facts = verdict.facts()
    assert set(facts) == {"verified", "path", "reasons", "refused_by", "unusual", "cryptography"}
    assert all(reason["message"] and reason["subject"] for reason in facts["reasons"])


@settings(max_examples=settings.default.max_examples // 4)
@given(chains(), st.timedeltas(-2 * DAY, 40 * DAY))
def test_verdict_matches_openssl_at_other_times(folder, drawn, later):
    chain, anchors = drawn
    assume(chain[0] is not anchors[0])
    at = (NOW + later).replace(microsecond=0)
    certificates, trusted = ([one.certificate for one in some] for some in (chain, anchors))
    verdict = verify_chains.verify(certificates, trusted, verify_chains.requirements(at=at))
    assert verdict.verified is openssl_verifies(folder, chain, anchors, at), verdict.reasons


LABELS = st.lists(st.sampled_from(["a", "b", "A", "xa"]), min_size=1, max_size=3).map(".".join)
HOSTS = st.tuples(st.sampled_from(["", "."]), LABELS).map("".join)
MAILS = st.one_of(HOSTS, st.tuples(st.sampled_from(["me", "Me"]), LABELS).map("@".join))
NETS = st.tuples(st.integers(0, 3), st.integers(6, 32)).map(
    lambda drawn: ipaddress.ip_network((drawn[0] << 24, drawn[1]), strict=False)
)
NAMED = st.one_of(
    st.tuples(st.just(x509.DNSName), LABELS, HOSTS),
    st.tuples(st.just(x509.RFC822Name), st.tuples(st.sampled_from(["me", "Me"]), LABELS).map("@".join), MAILS),
    st.tuples(st.just(x509.UniformResourceIdentifier), LABELS.map("spiffe://{}/x".format), HOSTS),
    st.tuples(st.just(x509.IPAddress), st.integers(0, 2**26).map(ipaddress.ip_address), NETS),
)


@settings(max_examples=settings.default.max_examples // 2)
@given(NAMED, st.booleans())
def test_name_constraints_match_openssl(folder, drawn, excluded):
    kind, name, tree = drawn
    trees = [kind(tree)]
    limits = x509.NameConstraints(None if excluded else trees, trees if excluded else None)
    root = make("root", extensions=((limits, True),))
    names = x509.SubjectAlternativeName([kind(name)])
    leaf = make("leaf", root, own_key=key("p256", 2), ca=False, key_cert_sign=False, extensions=((names, False),))
    verdict = verdict_on([leaf], [root])
    assert {reason.code for reason in verdict.reasons} <= {"name_constraint"}
    assert verdict.verified is openssl_verifies(folder, [leaf], [root]), (kind, name, tree)


@given(st.one_of(st.text(), st.binary(), st.text("-BEGIN CRTFAD\n", max_size=200)))
def test_any_text_without_certificate_is_an_error(text):
    with pytest.raises(certs.X509Error):
        certs.parse_bundle(text)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_changed_byte_is_read_or_refused(position, change):
    pem, position = UNRELATED.pem.encode(), position % len(UNRELATED.pem)
    pem = pem[:position] + change + pem[position + len(change) :]
    try:
        certificates = certs.parse_bundle(pem)
    except certs.X509Error as exc:
        assert len(str(exc)) < 400
    else:
        facts = certs.certificate_facts(certificates[0])  # whatever was parsed has facts and a verdict
        assert facts["fingerprint_sha256"]
        verify_chains.verify(certificates, [UNRELATED.certificate], REQUIRED).facts()
