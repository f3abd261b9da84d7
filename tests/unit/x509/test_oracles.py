# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profile linkerd beside what it judges for: Go, as the identity controller and the CLI use it, and rustls-webpki,
as the proxies use it, on the cases of corpus.py. The answers of the second are recorded, so that these tests need
no Rust.

No answer may differ. Where cryptography parses a certificate less leniently than Linkerd the filter ends with an error
that names the block; those cases are in UNREAD.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import corpus
import judges
import pytest
from judges import CHECK, CONTROLLER, PROXIES

CASES = corpus.cases()
RECORDED = Path(__file__).parent / "webpki.json"
VERSION = "rustls-webpki 0.103.14 with aws-lc-rs 1.18.0, as linkerd2-proxy v2.366.0"
ANSWERS = json.loads(RECORDED.read_text())["answers"] if RECORDED.exists() else {}
# cryptography refuses these, which Go reads: an empty list of usages, a minimum in name constraints, Latin-1 in a name.
UNREAD = {
    *(
        f"{level}: {odd}"
        for level in ("root", "middle", "issuer", "root of two")
        for odd in ("usages empty", "limits with a minimum")
    ),
    *(f"{level} forged: name in Latin" for level in ("root", "issuer")),
}


@pytest.mark.parametrize("name", sorted(set(CASES) - UNREAD))
def test_the_controller_and_the_cli_answer_the_same(name):
    case = CASES[name]()
    verdict, go = judges.ours(*case.texts), judges.Controller.of(*case.texts)
    assert verdict is not None
    signs = judges.signs_workloads(case)  # the controller starts with an RSA issuer, and then fails to sign
    assert (CONTROLLER not in verdict.refused_by) is (go.controller and signs), (go.answer, verdict.reasons)
    assert (CHECK not in verdict.refused_by) is go.check, (go.answer, verdict.reasons)


@pytest.mark.parametrize("name", sorted(UNREAD))
def test_what_only_cryptography_refuses_is_an_error(name):
    """An older one parses some of them; then the verdict is Go's."""
    case = CASES[name]()
    verdict, go = judges.ours(*case.texts), judges.Controller.of(*case.texts)
    assert go.reads
    assert verdict is None or (CONTROLLER not in verdict.refused_by) is go.controller, (go.answer, verdict.reasons)


@pytest.mark.parametrize("name", sorted(set(ANSWERS) - UNREAD))
def test_the_proxies_answer_the_same(name):
    case = CASES[name]()
    verdict, recorded = judges.ours(*case.texts), ANSWERS[name]
    assert (PROXIES not in verdict.refused_by) is (not any(recorded.values())), (recorded, verdict.reasons)


def test_every_case_with_a_workload_is_recorded():
    """No case is left out because nobody recorded it."""
    missing = [
        name
        for name in set(CASES) - set(ANSWERS)
        if judges.signs_workloads(case := CASES[name]()) and judges.Controller.of(*case.texts).reads
    ]
    assert set(missing) <= UNREAD


@pytest.mark.rust
def test_the_recorded_answers_are_those_of_webpki():
    """SERVICEMESH_PKI_RECORD=1 records them."""
    found = {name: judges.ask_proxies(make()) for name, make in CASES.items()}
    answers = {name: answer for name, answer in sorted(found.items()) if answer is not None}
    if os.environ.get("SERVICEMESH_PKI_RECORD"):
        today = datetime.now(UTC).date().isoformat()
        record = {"crates": VERSION, "date": today, "answers": answers}
        RECORDED.write_text(json.dumps(record, indent=1) + "\n")
    assert json.loads(RECORDED.read_text())["answers"] == answers
