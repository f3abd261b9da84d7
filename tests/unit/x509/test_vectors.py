# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification of NIST PKITS, the certificates of cryptography-vectors and the roots of certifi, compared with Go and
with rustls-webpki.
"""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import certifi
import cryptography_vectors
import oracles
import pytest
import verdicts
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support import forge

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import go as verify_go
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import go_parse, oids, paths, search, webpki

FOLDER = Path(cryptography_vectors.__file__).parent / "x509"
PKITS = FOLDER / "PKITS_data/certs"
UNREAD = {"ValidDSAParameterInheritanceTest5EE"}  # cryptography cannot parse a key that inherits its parameters
AT = datetime(2020, 1, 1, tzinfo=UTC)
USES = {"server": oids.SERVER_AUTH, "client": oids.CLIENT_AUTH}


@cache
def certificates() -> dict[str, bytes]:
    """Return the DER of every file that contains a certificate, by its path."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        data = path.read_bytes() if path.suffix in (".pem", ".crt", ".der") else b""
        if b"-----BEGIN CERTIFICATE-----" in data:
            body = data.partition(b"-----BEGIN CERTIFICATE-----")[2].partition(b"-----END")[0]
            data = base64.b64decode(b"".join(line for line in body.splitlines() if b":" not in line))
        if data[:1] == b"\x30":
            found[str(path.relative_to(FOLDER))] = data
    return found


def test_problems_of_vectors_match_go():
    known, different = 0, {}
    for name, der in certificates().items():
        text = forge.pem(der)
        try:
            certificate = certs.parse_bundle(text)[0]
        except certs.X509Error:
            continue  # an error before
        problem = go_parse.problem(certificate, paths.Node(certificate).raw)
        answer = oracles.ask_controller(text, text, AT)["ReadChain"]
        known += 1
        if bool(problem) is not bool(answer):
            different[name] = (problem, answer)
    assert known > 500
    assert different == {}


def test_public_roots_match_go():
    text = Path(certifi.where()).read_bytes()
    found = verdicts.certs.parse_bundle(text)
    assert len(found) > 100
    for certificate in found:
        pem = certificate.public_bytes(Encoding.PEM)
        node = paths.Node(certificate)
        answer = oracles.ask_controller(pem, pem, AT)["ReadChain"]
        assert bool(answer) is bool(go_parse.problem(certificate, node.raw)), certificate.subject
        at = certificate.not_valid_before_utc
        verdict, go = verdicts.ours(pem, pem, at), verdicts.Controller.of(pem, pem, at)
        assert (verdicts.CHECK not in verdict.refused_by) is go.check, (certificate.subject, go.answer, verdict.reasons)


def alone() -> list[x509.Certificate]:
    """Return the certificates of cryptography-vectors and the roots of certifi, as far as cryptography parses them."""
    found = list(certs.parse_bundle(Path(certifi.where()).read_bytes()))
    for der in certificates().values():
        with contextlib.suppress(certs.X509Error):
            found += certs.parse_bundle(forge.pem(der))
    return found


@pytest.mark.rust
def test_certificates_alone_match_webpki():
    """Each one as a trust anchor, and as the certificate of a workload below itself."""
    different = []
    for certificate in alone():
        node, der = paths.Node(certificate), certificate.public_bytes(Encoding.DER)
        at = max(certificate.not_valid_before_utc, datetime(1970, 1, 1, tzinfo=UTC))
        answer = oracles.ask_proxies([der], forge.pem(der), at)
        found = {
            use: webpki.verify(node, [], [node], at, usage, search.Signatures()).reasons for use, usage in USES.items()
        }
        found["skipped"] = webpki.unreadable(node, anchor=True)
        different += [
            (node.subject, one, found[one], answer[one]) for one in found if bool(found[one]) is not bool(answer[one])
        ]
    assert len(alone()) > 600
    assert different == []


@cache
def authorities() -> list[x509.Certificate]:
    """Return the CAs of PKITS that Go parses, without the trust anchor."""
    found = []
    for path in sorted(PKITS.glob("*.crt")):
        try:
            certificate = x509.load_der_x509_certificate(path.read_bytes())
        except ValueError:
            continue  # DSA keys that inherit their parameters
        pem = certificate.public_bytes(Encoding.PEM)
        if (
            not path.stem.endswith(("EE", "TrustAnchorRootCertificate"))
            and not oracles.ask_controller(pem, pem, AT)["ReadChain"]
        ):
            found.append(certificate)
    return found


def ends() -> list[str]:
    return [path.stem for path in sorted(PKITS.glob("*EE.crt")) if path.stem not in UNREAD]


@pytest.mark.parametrize("name", ends())
def test_chains_of_pkits_match_go(name):
    leaf = x509.load_der_x509_certificate((PKITS / f"{name}.crt").read_bytes())
    root = x509.load_der_x509_certificate((PKITS / "TrustAnchorRootCertificate.crt").read_bytes())
    chain = b"".join(one.public_bytes(Encoding.PEM) for one in [leaf, *authorities()])
    answer = oracles.ask_controller(chain, root.public_bytes(Encoding.PEM), AT)
    if answer["ReadChain"]:
        assert go_parse.problem(leaf, paths.Node(leaf).raw)
        return
    nodes = [paths.Node(one) for one in [leaf, *authorities()]]
    found = verify_go.verify(nodes[0], nodes[1:], [paths.Node(root)], AT, search.Signatures())
    assert (not found.reasons) is (not answer["Verify"]), (answer["Verify"], found.reasons)


@pytest.mark.rust
@pytest.mark.parametrize("name", ends())
def test_chains_of_pkits_match_webpki(name):
    leaf = x509.load_der_x509_certificate((PKITS / f"{name}.crt").read_bytes())
    root = x509.load_der_x509_certificate((PKITS / "TrustAnchorRootCertificate.crt").read_bytes())
    chain = [one.public_bytes(Encoding.DER) for one in [leaf, *authorities()]]
    answer = oracles.ask_proxies(chain, root.public_bytes(Encoding.PEM), AT)
    nodes = [paths.Node(one) for one in [leaf, *authorities()]]
    for use, usage in USES.items():
        found = webpki.verify(nodes[0], nodes[1:], [paths.Node(root)], AT, usage, search.Signatures())
        assert (not found.reasons) is (not answer[use]), (answer[use], found.reasons)
