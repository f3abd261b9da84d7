# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profile linkerd with inputs whose verdict was wrong once. Go and rustls-webpki return the expected results.

The proxies refuse pem_headers.pem: Go reads headers within a block, but rustls-pki-types 1.15 does not, and a proxy
that cannot read its anchors does not start.
"""

from __future__ import annotations

import base64
import codecs
import cProfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import corpus
import oracles
import pytest
import verdicts
from ansible.errors import AnsibleFilterError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from support import forge, oddities
from support.authority import DAY, NOW, Credential, make, verdict_on

from ansible_collections.servicemesh.pki.plugins.filter.x509 import x509_certificates, x509_chain, x509_pem
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, strict_pem
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import go_parse, paths
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.linkerd import anchor_algorithm_problem

FOLDER = Path(__file__).parent / "cases"
AT = datetime(2026, 11, 26, 14, tzinfo=UTC)


def read(name: str) -> bytes:
    if name == "pem/bom.pem":  # not a file, because ansible-test refuses files with a byte order mark
        return codecs.BOM_UTF8 + read("pem/00_root_of_all.pem")
    return (FOLDER / name).read_bytes()


VALID = (read("pem/00_issuer_of_all.pem"), read("pem/00_root_of_all.pem"))
GO, PROXIES, CHECK = verdicts.CONTROLLER, verdicts.PROXIES, verdicts.CHECK
TEXTS = {
    "trailing_blank_line": {GO, CHECK},
    "bom": {GO, CHECK, PROXIES},
    "no_newline_between_blocks": {GO, CHECK, PROXIES},
    "X509_CERTIFICATE": {GO, CHECK, PROXIES},
    "indented_END": {GO, CHECK, PROXIES},
    "pem_headers": {PROXIES},
}


def der_of(text: bytes) -> list[bytes]:
    return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(text)]


def test_valid_chain_is_verified():
    verdict = verdicts.ours(*VALID, AT)
    assert (verdict.verified, verdict.unusual) == (True, [])


@pytest.mark.parametrize("name", TEXTS)
def test_pem_that_a_component_cannot_read(name):
    anchors = read(f"pem/{name}.pem")
    verdict = verdicts.ours(VALID[0], anchors, AT)
    assert set(verdict.refused_by) == TEXTS[name]
    assert {"pem"} <= {reason.code for reason in verdict.reasons}
    assert verdicts.Controller.of(VALID[0], anchors, AT).controller is (GO not in TEXTS[name])


@pytest.mark.rust
@pytest.mark.parametrize("name", TEXTS)
def test_pem_that_the_proxies_cannot_read(name):
    """Another key than the issuer's signs the workload. webpki verifies this signature only if it finds the anchor."""
    issuer = Credential(x509.load_pem_x509_certificate(VALID[0]), corpus.key())
    chain = [forge.der(corpus.workload(issuer, AT)), forge.der(issuer)]
    answer = oracles.ask_proxies(chain, read(f"pem/{name}.pem"), AT)
    problem = answer["anchors"] or answer["server"]
    assert problem.startswith("InvalidSignature") is (PROXIES not in TEXTS[name]), problem


@pytest.mark.parametrize("name", TEXTS)
def test_pem_that_a_component_cannot_read_is_a_problem_of_its_source(name):
    """The certificates are listed in the report all the same."""
    text = read(f"pem/{name}.pem").decode()
    found = sources.anchors_source({"metadata": {"creationTimestamp": "-"}, "data": {"ca-bundle.crt": text}}, "linkerd")
    assert found["problem"]
    assert found["certificates"]


@pytest.mark.parametrize("text", [VALID[0] + b"\n", b"\xef\xbb\xbf" + VALID[0], VALID[0] + b"# the issuer\n"])
def test_chain_that_the_controller_cannot_read(text):
    verdict = verdicts.ours(text, VALID[1], AT)
    assert {reason.code for reason in verdict.reasons} == {"pem"}
    assert not verdicts.Controller.of(text, VALID[1], AT).reads


PROFILE = {
    "A_root_pathlen0_issuer_same_cn": ("path_length", {"Go clients"}),
    "C_name_constraint_without_san": ("name_constraint", {PROXIES}),
    "critical_AKI_on_root": ("unparseable", {GO, CHECK}),
    "webpki_policies": ("critical_extension", {PROXIES}),
    "webpki_server": ("extended_key_usage", {PROXIES}),
}


@pytest.mark.parametrize("name", PROFILE)
def test_chain_that_a_component_refuses(name):
    code, components = PROFILE[name]
    chain, anchors = (read(f"profile/{name}.{part}.pem") for part in ("chain", "anchors"))
    verdict = verdicts.ours(chain, anchors, AT)
    assert {reason.code for reason in verdict.reasons} == {code}
    assert set(verdict.refused_by) == components
    assert verdicts.Controller.of(chain, anchors, AT).controller is (GO not in components)


def workload_below(name: str) -> tuple[bytes, bytes, datetime]:
    """Return the whole chain of a workload, the anchors, and a time at which they are valid."""
    chain, anchors, workload = (read(f"profile/{name}.{part}.pem") for part in ("chain", "anchors", "workload"))
    when = x509.load_pem_x509_certificate(workload).not_valid_before_utc + timedelta(hours=1)
    return workload if workload.count(b"BEGIN") > 1 else workload + chain, anchors, when


@pytest.mark.parametrize("name", ["A_root_pathlen0_issuer_same_cn", "C_name_constraint_without_san"])
def test_go_refuses_workload_below(name):
    assert oracles.ask_controller(*workload_below(name))["Verify"]


@pytest.mark.rust
@pytest.mark.parametrize("name", [name for name in PROFILE if (FOLDER / f"profile/{name}.workload.pem").exists()])
def test_workload_that_the_proxies_refuse(name):
    """They accept A_root_pathlen0_issuer_same_cn: a limit of the path length in an anchor does not concern them."""
    chain, anchors, when = workload_below(name)
    answer = oracles.ask_proxies(der_of(chain), anchors, when)
    assert not answer["anchors"]
    assert bool(answer["server"] or answer["client"]) is (PROXIES in PROFILE[name][1]), answer


def test_key_with_explicit_parameters_is_unparseable():
    verdict = verdicts.ours(read("profile/explicit_ec_issuer.pem"), read("profile/explicit_ec_root.pem"), AT)
    assert {GO, CHECK} <= set(verdict.refused_by)
    assert "unparseable" in {reason.code for reason in verdict.reasons}


def test_error_of_invalid_name_constraint_names_the_block():
    with pytest.raises(AnsibleFilterError, match=r"PEM block 1 \(line 1, offset 0\)"):
        x509_certificates(read("name_constraint_invalid_ipv4.pem").decode())


def test_root_signed_with_sha1_is_self_signed_and_weak():
    text = read("sha1_self_signed_root.pem")
    facts = x509_certificates(text.decode())[0]
    assert (facts["self_signed"], facts["signature_algorithm"]) == (True, "sha1WithRSAEncryption")
    root = certs.parse_bundle(text)[0]
    issuer = make("issuer", own_key=corpus.key("p256", 1)).certificate
    assert not certs.is_signed_by(issuer, root)
    reasons = verdicts.ours(text, text, root.not_valid_before_utc + DAY).reasons
    assert ("signature_algorithm", (CHECK,)) in {(reason.code, reason.refused_by) for reason in reasons}


def test_joined_blocks_are_separated():
    """Two lookups of files that are joined by ~ have this form."""
    one, two, three = (make(name, own_key=corpus.key("p256", 300 + number)).pem for number, name in enumerate("abc"))
    text = x509_pem([one.rstrip() + two, f"# third\n{three}\n\n"])
    assert text == one + two + three
    assert len(strict_pem.read_as_go(text.encode()).certificates) == 3
    assert verdicts.Controller.of(VALID[0], text.encode(), AT).answer.count("'Anchors': 3")


def test_block_of_another_type_is_unusual():
    """The controller and the proxies find the anchor. The controller does not read what follows the other type."""
    case = corpus.two_tiers("")
    crl = forge.pem(b"\x30\x00", "X509 CERTIFICATE")
    text = case.texts[1] + crl
    with pytest.raises(AnsibleFilterError):
        x509_chain(case.texts[0].decode(), text.decode(), at=NOW.isoformat())
    verdict = verdict_of(case.texts[0], text, case)
    assert verdict.verified
    assert {reason.code for reason in verdict.unusual} == {"ignored_text"}
    assert verdicts.Controller.of(case.texts[0], text).controller


def verdict_of(chain: bytes, anchors: bytes, case: corpus.Case):
    """Return the verdict on a case with texts that the lenient reader refuses."""
    required = verdicts.chains.requirements(NOW, "linkerd")
    certificates = [[made.certificate for made in some] for some in (case.chain, case.anchors)]
    return verdicts.chains.verify(*certificates, required, ([chain], [anchors]))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("issuer: authority identifier of another key", "aki_mismatch"),
        ("root forged: version 1", "not_a_ca"),
        ("6 tiers", None),
        ("root: no key usage", None),
        ("an anchor of another curve beside", "key_type"),
        ("an expired anchor beside", "expired"),
    ],
)
def test_unusual_chain_that_all_accept_is_verified(name, code):
    verdict = verdicts.ours(*corpus.cases()[name]().texts)
    assert verdict.verified
    assert {reason.code for reason in verdict.unusual} == ({code} if code else set())


def test_name_constraints_apply_to_name_of_workload():
    root = make("root", **oddities.limits([x509.DNSName("mesh.example")]))
    issuer = make("identity", root, own_key=corpus.key("p256", 1))
    options = {"at": NOW.isoformat(), "profile": "linkerd"}
    assert x509_chain(issuer.pem, root.pem, **options)["refused_by"] == [PROXIES]
    assert x509_chain(issuer.pem, root.pem, trust_domain="mesh.example", **options)["verified"]
    with pytest.raises(AnsibleFilterError, match="unexpected keyword argument"):
        x509_chain(issuer.pem, root.pem, pod="web", **options)


def worst() -> dict[str, corpus.Case]:
    many = [x509.DNSName(f"a{number}.cluster.local") for number in range(1000)]
    trees = [x509.DNSName(f"d{number}.example") for number in range(1999)]
    kinds = {
        "DNS": ([*trees, x509.DNSName("cluster.local")], many),
        "directories": (
            [oddities.directory(f"x{one}") for one in range(2000)],
            [oddities.directory(f"y{one}") for one in range(1000)],
        ),
        "mails": (
            [oddities.mail(f"x@d{one}.example") for one in range(2000)],
            [oddities.mail(f"a@b{one}.example") for one in range(1000)],
        ),
        "URIs": (
            [oddities.uri(f"d{one}.example") for one in range(2000)],
            [oddities.uri(f"a://b{one}.example") for one in range(1000)],
        ),
    }
    limited = {
        f"1000 names under 2000 {kind}": corpus.limited_issuer(oddities.limits(trees), *names)
        for kind, (trees, names) in kinds.items()
    }
    ways = {
        "500 ways, 3000 names under 100 constraints": corpus.many_ways(500, 3000, 100),
        "40 ways, 4000 names under 1000 constraints": corpus.many_ways(40, 4000, 1000),
        "100 limited ways, 3000 names": corpus.many_ways(100, 3000, 1, **oddities.limits([oddities.dns("example")])),
    }
    anchors = {f"1001 anchors, {with_}": corpus.same_names(1001, with_) for with_ in (True, False)}
    return {**limited, **ways, **anchors}


CALLS = 5_000_000  # The worst input needs 3.2 million.


@pytest.mark.parametrize("profile", [None, "linkerd"])
def test_worst_inputs_have_a_limit(profile):
    """`make bench` measures the time of some of them. Calls of functions do not depend on the load of the machine."""
    for name, case in worst().items():
        chain, anchors = (text.decode() for text in case.texts)
        calls = cProfile.Profile(builtins=False)
        found = calls.runcall(x509_chain, chain, anchors, at=NOW.isoformat(), profile=profile)
        assert sum(one.callcount for one in calls.getstats()) < CALLS, name
        if profile:
            assert "too_complex" in {reason["code"] for reason in found["reasons"]}, name


@pytest.mark.parametrize(("count", "names", "code"), [(20, 1000, "too_complex"), (18, 1000, "name_constraint")])
def test_comparisons_of_names_have_a_limit(count, names, code):
    """Each pair of a CA and a certificate counts once, here those of the root, or of one intermediate, and the issuer.

    The controller has the limit too, the proxies have a lower one.
    """
    case = corpus.many_ways(count, names, 1, **oddities.limits([oddities.dns("cluster.local")]))
    assert {reason.code for reason in verdict_on(case.chain, case.anchors).reasons} == {code}
    verdict = verdict_on(case.chain, case.anchors, profile="linkerd")
    assert {reason.code for reason in verdict.reasons if GO in reason.refused_by} == {code}


def test_verdict_of_cryptography_is_compared():
    root = make("root", own_key=corpus.key("rsa1024"))
    leaf = make("leaf", root, own_key=corpus.key("p256", 2), ca=False, key_cert_sign=False)
    valid = make("leaf", make("root"), own_key=corpus.key("p256", 2), ca=False, key_cert_sign=False)
    options = {"at": NOW.isoformat()}
    found = x509_chain(valid.pem, make("root").pem, **options)["cryptography"]
    if not hasattr(verification.PolicyBuilder, "extension_policies"):  # before cryptography 45
        assert found is None
        return
    assert found == {"verified": True, "message": "", "agrees": True}
    swapped = make("leaf", make("root"), own_key=corpus.key("p256", 2), aki=b"x" * 20)
    assert x509_chain(swapped.pem, make("root").pem, **options)["cryptography"]["agrees"] is False
    weak = x509_chain(leaf.pem, root.pem, **options)["cryptography"]
    assert (weak["verified"], weak["agrees"]) == (False, True) and weak["message"]
    assert x509_chain(valid.pem, make("root").pem, leaf_min_days=90, **options)["cryptography"]["agrees"]
    assert x509_chain(valid.pem, make("root").pem, profile="linkerd", **options)["cryptography"] is None


@pytest.mark.parametrize("name", [name for name in sorted(corpus.cases()) if "anchors of one name" not in name])
def test_problem_of_each_certificate_matches_go(name):
    case = corpus.cases()[name]()
    for made in (*case.chain, *case.anchors):
        try:
            node = paths.Node(made.certificate)
        except (ValueError, TypeError):
            continue  # cryptography parses extensions on first access
        problem = go_parse.problem(made.certificate, node.raw)
        answer = oracles.ask_controller(made.pem.encode(), made.pem.encode(), NOW)
        assert bool(answer["ReadChain"]) is bool(problem), (problem, answer["ReadChain"])


def test_controller_sends_der_of_chain():
    case = corpus.tiers(4)
    answer = oracles.ask_controller(*case.texts, NOW)
    assert [base64.b64decode(one) for one in answer["Intermediates"]] == [forge.der(made) for made in case.chain]
    assert verdict_on(case.chain, case.anchors, profile="linkerd").verified


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()], ids=lambda one: one.name)
@pytest.mark.parametrize("kind", ["p224", "p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096", "ed25519"])
def test_algorithms_of_a_trust_anchor_that_linkerd_check_refuses(kind, digest):
    root = make("root", own_key=corpus.key(kind, 60), algorithm=digest)
    facts = certs.certificate_facts(root.certificate)
    problem = anchor_algorithm_problem(f"{facts['key_type']}:{facts['key_bits']}", facts["signature_algorithm"])
    text = root.pem.encode()
    assert bool(problem) == bool(oracles.ask_controller(text, text, NOW)["AnchorAlgs"]), problem
