# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of PEM compared with the readers of Go and of rustls-pki-types, and damaged certificates compared with Go."""

from __future__ import annotations

import corpus
import oracles
import pytest
import verdicts
from ansible.errors import AnsibleFilterError
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from hypothesis import event, example, given
from hypothesis import strategies as st
from support import forge
from support.authority import NOW, make
from support.oddities import POLICY, raw, raw_names, tlv

from ansible_collections.servicemesh.pki.plugins.filter.x509 import x509_certificates, x509_chain, x509_pem
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, strict_pem
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import go_parse, paths

ONE, TWO = make("one"), make("two", own_key=corpus.key("p256", 1))
KNOWN = {forge.der(ONE), forge.der(TWO)}
BLOCKS = [ONE.pem.encode(), TWO.pem.encode()]


def joined(block: bytes) -> bytes:
    return block.rstrip(b"\n")


def changed(block: bytes, *pairs: tuple[bytes, bytes]) -> bytes:
    for old, new in pairs:
        block = block.replace(old, new)
    return block


def one_line(block: bytes) -> bytes:
    begin, *body, end = block.splitlines()
    return b"\n".join([begin, b"".join(body), end, b""])


FORMS = [
    *BLOCKS,
    *BLOCKS,
    *(joined(block) for block in BLOCKS),
    *(one_line(block) for block in BLOCKS),
    changed(BLOCKS[0], (b"\n", b"\r\n")),
    changed(BLOCKS[0], (b"\n", b"\r")),
    changed(BLOCKS[0], (b"CERTIFICATE", b"X509 CERTIFICATE")),
    changed(BLOCKS[0], (b"CERTIFICATE", b"TRUSTED CERTIFICATE")),
    changed(BLOCKS[0], (b"BEGIN CERTIFICATE", b"BEGIN X")),
    changed(BLOCKS[0], (b"CERTIFICATE-----\n", b"CERTIFICATE-----\nComment: x\n\n")),
    changed(BLOCKS[0], (b"BEGIN CERTIFICATE-----\n", b"BEGIN CERTIFICATE-----\nA: b\nC: d\n\n")),
    changed(BLOCKS[0], (b"-----\n", b"----- \t\n")),
    changed(BLOCKS[0], (b"-----END", b" -----END")),
    changed(BLOCKS[0], (b"-----BEGIN", b" -----BEGIN")),
    changed(BLOCKS[0], (b"\nMII", b"\n\nMII")),
    changed(BLOCKS[0], (b"\nMII", b"\n MII")),
    changed(BLOCKS[0], (b"\nMII", b"\nMI!I")),
    changed(BLOCKS[0], (b"BEGIN CERTIFICATE-----", b"BEGIN CERTIFICATE----")),
    changed(BLOCKS[0], (b"END CERTIFICATE-----", b"END CERTIFICATE------")),
    b"\n",
    b"\n\n",
    b" ",
    b"\t",
    b"\r\n",
    b"# a comment\n",
    b"subject: CN=one\n",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b"-----BEGIN CERTIFICATE-----\n",
    b"-----END CERTIFICATE-----\n",
    b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    b"-----BEGIN X-----\n-----END X-----\n",
]
TEXTS = st.lists(st.sampled_from(FORMS), max_size=5).map(b"".join)
ISSUER = BLOCKS[0]


@given(TEXTS)
def test_read_as_go_matches_go(text):
    found = strict_pem.read_as_go(text)
    if set(found.certificates) - KNOWN:
        event("an empty block")  # Go cannot parse it; here that is a task of go_parse.py
        return
    answer = oracles.ask_controller(ISSUER, text, NOW)["ReadAnchors"]
    event(answer or "read")
    assert bool(answer) is found.fatal, (found.problem, answer)
    if not answer:
        assert oracles.ask_controller(ISSUER, text, NOW)["Anchors"] == len(found.certificates)


@pytest.mark.rust
@given(TEXTS)
def test_read_as_rustls_matches_rustls(text):
    found = strict_pem.read_as_rustls(text)
    answer = oracles.ask_proxies([forge.der(ONE)], text, NOW)
    usable = [der for der in found.certificates if der in KNOWN]
    assert bool(answer["anchors"]) is (found.fatal or not usable), (found.problem, answer)
    if not answer["anchors"]:
        assert answer["skipped"] == len(found.certificates) - len(usable)


@given(TEXTS)
def test_encoded_pem_is_read_by_go(text):
    """x509_pem writes all certificates that the lenient reader finds."""
    try:
        found = x509_certificates(text)
    except AnsibleFilterError:
        return
    written = x509_pem(text).encode()
    assert oracles.ask_controller(ISSUER, written, NOW)["Anchors"] == len(found)
    assert len(strict_pem.read_as_rustls(written).certificates) == len(found)


CASES = [
    make() for name, make in corpus.cases().items() if "anchors of one name" not in name and "many names" not in name
]
SOURCES = [forge.der(made) for case in CASES[::5] for made in (*case.chain, *case.anchors)]


@given(st.sampled_from(SOURCES), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3))
def test_damaged_certificate_has_verdict_or_error(source, changes):
    """Certificates that cryptography still parses are verified with all rules, without another exception."""
    data = bytearray(source)
    for position, value in changes:
        data[position % len(data)] = value
    text = forge.pem(bytes(data)).decode()
    for profile in (None, "linkerd"):
        try:
            x509_chain(text, [text, ONE.pem], at=NOW.isoformat(), profile=profile)
        except AnsibleFilterError as exc:
            assert len(str(exc)) < 2000


def assert_parsed_as_go_does(certificate: x509.Certificate, text: bytes) -> str:
    """Compare with the identity controller, which reads the text, and return its message."""
    problem = go_parse.problem(certificate, paths.Node(certificate).raw)
    answer = oracles.ask_controller(text, text, NOW)["ReadChain"]
    assert bool(answer) is bool(problem), (problem, answer, text)
    return answer


@given(st.sampled_from(SOURCES), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=2))
def test_problem_of_damaged_certificate_matches_go(source, changes):
    data = bytearray(source)
    for position, value in changes:
        data[position % len(data)] = value
    text = forge.pem(bytes(data))
    try:
        certificate = certs.parse_bundle(text)[0]
    except certs.X509Error:
        return
    event(assert_parsed_as_go_does(certificate, text) or "parsed")


@pytest.mark.parametrize(
    "mapping",
    [
        tlv(0x30, POLICY + POLICY),
        tlv(0x30, POLICY + POLICY + tlv(5, b"")),
        tlv(0x30, POLICY + tlv(6, b"") + b"*\3\4"),  # an element that is not complete follows
        tlv(0x30, POLICY + tlv(6, b"\xff")),
        tlv(0x30, POLICY),
        tlv(0x30, POLICY + tlv(5, b"")),
        tlv(0x30, POLICY + b"\6\5*"),
        POLICY,
        tlv(0, POLICY + POLICY),
        b"\x30\x81" + tlv(0x30, POLICY + POLICY)[1:],  # a length that is not the shortest
        tlv(0x30, POLICY + b"\6\x81\x03" + POLICY[2:]),
        tlv(0x30, POLICY + tlv(6, b"*" * 200)),
    ],
)
def test_policy_mappings_are_read_as_go_reads_them(mapping):
    """Fuzzing found the third one, which Go accepts, and the one without a sequence, which it refuses."""
    made = make("mapped", ONE, **raw("2.5.29.33", tlv(0x30, mapping)))
    assert_parsed_as_go_does(made.certificate, made.pem.encode())
    x509_chain(made.pem, [ONE.pem], at=NOW.isoformat(), profile="linkerd")


URI = x509.UniformResourceIdentifier("http://ocsp.example/")
LARGE = x509.ObjectIdentifier(f"1.2.{2**31}")
SMALL = x509.ObjectIdentifier(f"1.2.{2**31 - 1}")
FIRST = [x509.ObjectIdentifier(f"2.{2**31 - 80 + more}") for more in (0, -1)]  # encoded as one number


@pytest.mark.parametrize("oid", [LARGE, SMALL, *FIRST])
@pytest.mark.parametrize(
    "changes",
    [
        lambda oid: {"extensions": ((x509.UnrecognizedExtension(oid, b"\5\0"), False),)},
        lambda oid: {"extensions": ((x509.ExtendedKeyUsage([Usage.SERVER_AUTH, Usage.CLIENT_AUTH, oid]), False),)},
        lambda oid: {"extensions": ((x509.AuthorityInformationAccess([x509.AccessDescription(oid, URI)]), False),)},
        lambda oid: {"extensions": ((x509.CertificatePolicies([x509.PolicyInformation(oid, None)]), False),)},
        lambda oid: {"name": x509.Name([x509.NameAttribute(oid, "x")])},
    ],
    ids=["extension", "usage", "access", "policy", "name"],
)
def test_large_numbers_of_object_identifiers_are_refused_as_go_does(oid, changes):
    """Fuzzing found one in the algorithm of a key. Go reads policies of any size."""
    given = changes(oid)
    made = make(given.pop("name", "large"), ONE, **given)
    assert_parsed_as_go_does(made.certificate, made.pem.encode())


def test_large_number_in_the_algorithm_of_a_key():
    data = forge.der(ONE).replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a88c8ce8d0201"))
    text = forge.pem(data)
    assert assert_parsed_as_go_does(certs.parse_bundle(text)[0], text)


URI_PARTS = [
    "http", "spiffe", "1a", ":", "://", "/", "//", "?", "#", "@", "[", "]", "::1", "fe80::1", "80", "a.example", "a..b",
    "%zz", "%20", "%25", "%41", "%c3", "*", " ", "|", "\\", "<", '"', "+", "~", "\x7f", "\n", ".",
]  # fmt: skip
SIGNER = make("signer", ONE)


@given(st.lists(st.sampled_from(URI_PARTS), max_size=9).map("".join))
@example("spiffe: /a.example/%zz")  # an opaque URI, which fuzzing found
@example("http://a:1:2/")
@example("spiffe://a:1:2/")
@example("spiffe://[fe80::1%25eth0]:8/")
@example("spiffe://[1.2.3.4]/")
@example("spiffe://me:%zz@a.example/")
def test_uris_are_parsed_as_go_parses_them(uri):
    made = make("named", SIGNER, own_key=SIGNER.key, **raw_names((0x86, uri.encode())))
    assert_parsed_as_go_does(made.certificate, made.pem.encode())


@given(st.lists(st.sampled_from(URI_PARTS), max_size=9).map("".join), st.booleans())
@example("//a.example/", False)  # a URI without a scheme
@example("spiffe://a.example:/x", False)
@example("spiffe://A.example:8/x", True)
@example("spiffe://[fe80::1]:8/", True)
@example("spiffe://1.2.3.4:8/", True)
@example("spiffe://a:b@a.example/", False)
@example("spiffe:///a.example", True)
@example("spiffe://:8/", True)  # a host that is empty without its port
@example("spiffe://a:1:2/", True)
@example("spiffe://a]:8/", True)
def test_uris_are_compared_with_name_constraints_as_go_compares_them(uri, excluded):
    trees = [x509.UniformResourceIdentifier("a.example")]
    limits = x509.NameConstraints(None if excluded else trees, trees if excluded else None)
    root = make("root", extensions=((limits, True),))
    made = make("named", root, own_key=SIGNER.key, **raw_names((0x86, uri.encode())))
    texts = (made.pem.encode(), root.pem.encode())
    accepted = verdicts.Controller.of(*texts).controller
    assert (verdicts.CONTROLLER not in verdicts.ours(*texts).refused_by) is accepted, uri
