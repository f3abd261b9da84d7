# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profile linkerd compared with Go, as the identity controller and the CLI use it, and with rustls-webpki, as the
proxies use it, for the cases of corpus.py and for chains that hypothesis draws. The results of webpki for the cases are
recorded, so that these tests need no Rust.

No result may differ. What linkerd check refuses in an anchor that the path does not use is unusual, and not a reason:
it reads such an anchor only with an issuer of type linkerd.io/tls, and the mesh works with it. UNREAD has the cases
that Linkerd can parse, but cryptography cannot: they are refused with the code unreadable.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import corpus
import pytest
import verdicts
from hypothesis import event, given
from hypothesis import strategies as st
from support.authority import NOW, Credential, make
from support.oddities import ODDITIES
from verdicts import CHECK, CONTROLLER, PROXIES

from ansible_collections.servicemesh.pki.plugins.filter.x509 import x509_chain
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.rules import Verdict

CASES = corpus.cases()
RECORDED = Path(__file__).parent / "webpki.json"
VERSION = "rustls-webpki 0.103.14 with aws-lc-rs 1.18.0, as linkerd2-proxy v2.366.0"
ANSWERS = json.loads(RECORDED.read_text())["answers"] if RECORDED.exists() else {}
# Go reads these: an empty list of extended key usages, a minimum in name constraints, Latin-1 in a name.
UNREAD = {
    *(
        f"{level}: {odd}"
        for level in ("root", "middle", "issuer", "root of two")
        for odd in ("usages empty", "limits with a minimum")
    ),
    *(f"{level} forged: name in Latin" for level in ("root", "issuer")),
}


def assert_matches_controller_and_cli(case: corpus.Case, verdict: Verdict) -> None:
    go = verdicts.Controller.of(*case.texts)
    signs = verdicts.signs_workloads(case)  # the controller starts with an RSA issuer, but cannot sign with it
    assert (CONTROLLER not in verdict.refused_by) is (go.controller and signs), (go.answer, verdict.reasons)
    refuses = CHECK in verdict.refused_by or any(CHECK in one.refused_by for one in verdict.unusual)
    assert refuses is not go.check, (go.answer, verdict.reasons, verdict.unusual)


@pytest.mark.parametrize("name", sorted(set(CASES) - UNREAD))
def test_verdict_matches_controller_and_cli(name):
    case = CASES[name]()
    verdict = verdicts.ours(*case.texts)
    assert verdict is not None
    assert_matches_controller_and_cli(case, verdict)


@st.composite
def drawn_cases(draw) -> corpus.Case:
    """Draw roots and intermediates, which have one name each unless that is the oddity, and an issuer below them."""
    odd = st.sampled_from(sorted(ODDITIES))

    def one(name: str, number: int, issuer: Credential | None = None) -> Credential:
        return make(**{"name": name, "issuer": issuer, **corpus.keyed(number), **ODDITIES[draw(odd)]})

    roots = [one("root", 70) for dummy in range(draw(st.integers(1, 2)))]
    middles = [one("middle", 71, roots[0]) for dummy in range(draw(st.integers(1, 2)))]
    issuer = one("identity", 72, middles[0])
    return corpus.Case([issuer, *draw(st.permutations(middles))], draw(st.permutations(roots)))


@given(drawn_cases())
def test_drawn_verdict_matches_controller_and_cli(case):
    verdict = verdicts.ours(*case.texts)
    event("unreadable" if verdict is None else ", ".join(verdict.refused_by) or "verified")
    if verdict is not None:
        assert_matches_controller_and_cli(case, verdict)


@pytest.mark.rust
@given(drawn_cases())
def test_drawn_verdict_matches_proxies(case):
    verdict, answer = verdicts.ours(*case.texts), verdicts.ask_proxies(case)
    if verdict is not None and answer is not None:
        event("refused" if any(answer.values()) else "accepted")
        assert (PROXIES not in verdict.refused_by) is (not any(answer.values())), (answer, verdict.reasons)


@pytest.mark.parametrize("name", sorted(UNREAD))
def test_certificate_that_only_cryptography_cannot_parse(name):
    """Older versions parse some of them. Then the verdict must match Go."""
    case = CASES[name]()
    verdict, go = verdicts.ours(*case.texts), verdicts.Controller.of(*case.texts)
    assert go.reads
    if verdict is None:
        chain, anchors = (text.decode("utf-8", "surrogateescape") for text in case.texts)
        found = x509_chain(chain, anchors, at=NOW.isoformat(), profile="linkerd")
        assert {reason["code"] for reason in found["reasons"]} == {"unreadable"}
        return
    assert (CONTROLLER not in verdict.refused_by) is go.controller, (go.answer, verdict.reasons)


@pytest.mark.parametrize("name", sorted(set(ANSWERS) - UNREAD))
def test_verdict_matches_proxies(name):
    case = CASES[name]()
    verdict, recorded = verdicts.ours(*case.texts), ANSWERS[name]
    assert (PROXIES not in verdict.refused_by) is (not any(recorded.values())), (recorded, verdict.reasons)


def test_every_case_with_a_workload_is_recorded():
    missing = [
        name
        for name in set(CASES) - set(ANSWERS)
        if verdicts.signs_workloads(case := CASES[name]()) and verdicts.Controller.of(*case.texts).reads
    ]
    assert set(missing) <= UNREAD


@pytest.mark.rust
def test_recorded_results_are_current():
    """SERVICEMESH_PKI_RECORD=1 records them."""
    found = {name: verdicts.ask_proxies(make()) for name, make in CASES.items()}
    answers = {name: answer for name, answer in sorted(found.items()) if answer is not None}
    if os.environ.get("SERVICEMESH_PKI_RECORD"):
        today = datetime.now(UTC).date().isoformat()
        record = {"crates": VERSION, "date": today, "answers": answers}
        RECORDED.write_text(json.dumps(record, indent=1) + "\n")
    assert json.loads(RECORDED.read_text())["answers"] == answers
