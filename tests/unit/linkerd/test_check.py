# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import check_output as output

SHORT = {
    "description": "issuer cert is valid for at least 60 days",
    "hint": "https://linkerd.io/2/checks/#l5d-identity-issuer-cert-not-expiring-soon",
    "error": "issuer certificate will expire on\n 2026-11-26T00:00:00Z",
    "result": "warning",
}
GOOD = {"description": "can query the Kubernetes API", "result": "success"}
BAD = {"description": "no unschedulable pods", "error": "linkerd-identity: 1 pod pending", "result": "error"}


def document(*checks, category="linkerd-identity", **more):
    success = all(check["result"] != "error" for check in checks)
    return json.dumps({"success": success, "categories": [{"categoryName": category, "checks": list(checks)}], **more})


def test_documents_of_extensions_follow_the_first():
    checks = output.parse(document(GOOD, SHORT) + "\n" + document(BAD, category="linkerd-viz") + "\n").checks
    assert [(check.category, check.result) for check in checks] == [
        ("linkerd-identity", "success"),
        ("linkerd-identity", "warning"),
        ("linkerd-viz", "error"),
    ]
    assert output.count(checks)["linkerd-identity"] == {"success": 1, "warning": 1, "error": 0}


def test_a_failed_document_without_a_failed_check_is_an_error():
    checks = output.parse(document(GOOD, success=False)).checks
    assert checks[-1].result == "error"


def test_an_empty_category_is_skipped():
    text = json.dumps({"success": True, "categories": [{"categoryName": "a", "checks": None}]})
    assert len(output.parse(text + document(GOOD)).checks) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no checks"),
        ("cannot connect", "no checks"),
        ('{"success": true, "categories": null}', "no checks"),
        (document(GOOD)[:-5], "not JSON at offset 0"),
        ('{"success": true}', "document 1 is not in the form"),
        (document({"description": "x", "result": "maybe"}), "not in the form"),
        (document({"description": 7, "result": "success"}), "not in the form"),
        (document({**GOOD, "hint": ["x"]}), "not in the form"),
        (document(GOOD, success="false"), "not in the form"),
        ('{"a":' * 100000, "not JSON at offset 0"),
    ],
)
def test_what_cannot_be_read_is_no_success(text, why):
    with pytest.raises(output.LinkerdCheckError, match=why):
        output.parse(text)


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (["l5d-identity-issuer-cert-not-expiring-soon"], True),
        (["#l5d-identity-issuer-cert-not-expiring-soon"], True),
        (["Issuer cert is valid for at least 60 days"], True),
        (["issuer cert"], False),
        ([""], False),
        ([], False),
    ],
)
def test_warnings_are_allowed_by_their_whole_name(allowed, expected):
    check = output.parse(document(SHORT)).checks[0]
    assert output.is_allowed(check, allowed) is expected


def test_the_message_names_check_cause_and_page():
    bad, warning = output.parse(document(BAD) + document(SHORT)).checks
    message = output.failure([bad], [warning])
    assert "failed: linkerd-identity: no unschedulable pods: linkerd-identity: 1 pod pending" in message
    assert "will expire on 2026-11-26T00:00:00Z (see https://linkerd.io/2/checks/#l5d-identity" in message
    assert output.failure([], []) == ""


TABLE = """
linkerd-viz
-----------
√ linkerd-viz Namespace exists
‼ tap API server cert is valid for at least 60 days
    certificate will expire on 2026-12-01
    see https://linkerd.io/2/checks/#l5d-tap-cert-not-expiring-soon for hints

Status check results are √
"""
TAP = ("linkerd-viz", "tap API server cert is valid for at least 60 days", "warning")


@pytest.mark.parametrize("colour", [lambda text: text, lambda text: text.replace("‼", "\x1b[33m‼\x1b[0m")])
def test_a_table_of_an_extension_is_read(colour):
    found = output.parse(document(GOOD) + "\n" + colour(TABLE))
    assert found.rest == []
    dummy, namespace, tap = found.checks
    assert namespace.result == "success"
    assert (tap.category, tap.description, tap.result) == TAP
    assert (tap.error, tap.anchor) == ("certificate will expire on 2026-12-01", "l5d-tap-cert-not-expiring-soon")
    assert output.is_allowed(tap, ["l5d-tap-cert-not-expiring-soon"])


def test_a_table_before_between_and_without_documents():
    found = output.parse(TABLE + document(GOOD) + "\r\n" + TABLE.replace("\n", "\r\n") + document(BAD))
    table = ["success", "warning"]
    assert [check.result for check in found.checks] == [*table, "success", *table, "error"]
    assert [check.result for check in output.parse(TABLE).checks] == ["success", "warning"]


def test_a_table_that_failed_without_a_failed_check_is_an_error():
    found = output.parse(document(GOOD) + TABLE.replace("are √", "are \u00d7"))
    assert found.checks[-1].result == "error"


def test_lines_that_are_no_check_are_kept():
    found = output.parse("A new version is out\n" + document(GOOD) + TABLE + "Goodbye {x}\n")
    assert found.rest == ["A new version is out", "Goodbye {x}"]


LINES = st.one_of(
    st.sampled_from(
        ["√ a", "‼ b", "\u00d7 c", "    found", "----", "Status check results are \u00d7", "", "{", '{"a": 1}']
    ),
    st.text(max_size=12),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(output.RESULTS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["success", "categories", "categoryName", "checks", "description", "result", "error", "hint"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@given(st.one_of(st.lists(LINES, max_size=8).map("\n".join), JSON.map(json.dumps), st.text()))
@example("{" * 5)
def test_any_text_is_checks_or_one_error(text):
    try:
        found = output.parse(text)
    except output.LinkerdCheckError:
        return
    assert found.checks
    for check in found.checks:
        assert check.result in output.RESULTS
        assert isinstance(output.is_allowed(check, ["x"]), bool)
    assert output.count(found.checks)


@given(st.lists(LINES.filter(lambda line: "{" not in line and "\x1b" not in line), max_size=8))
def test_no_word_of_a_table_is_lost(lines):
    text = "\n".join(lines)
    found = output.parse(document(GOOD) + "\n" + text)
    kept = " ".join([*(str(check) for check in found.checks), *found.rest])
    for line in text.splitlines():
        words = line.strip().removeprefix("√ ").removeprefix("‼ ").removeprefix("\u00d7 ").strip()
        assert " ".join(words.split()) in " ".join(kept.split()) or not words.strip("-") or "Status check" in words


@pytest.fixture
def run(make_standin, result_of):
    """linkerd_check with a program that prints what a test says."""
    standin = make_standin("linkerd", Path(__file__).parent / "standin_linkerd.py")

    def call(stdout: str, code: int = 0, stderr: str = "", **options) -> dict:
        standin.write("stdout", stdout)
        standin.write("stderr", stderr)
        standin.write("code", str(code))
        return result_of("linkerd_check", **options)

    return call


def test_a_warning_of_an_extension_with_exit_code_0_is_a_failure(run):
    result = run(document(GOOD, SHORT) + "\n" + TABLE)
    assert result["failed"] and result["code"] == "checks_failed"
    assert [tuple(one[name] for name in ("category", "description", "result")) for one in result["warnings_found"]] == [
        TAP
    ]
    assert [one["category"] for one in result["warnings_allowed"]] == ["linkerd-identity"]
    assert TAP[1] in result["msg"]


def test_a_failure_that_names_no_check_is_named(run):
    result = run(json.dumps({"success": False, "categories": None}), 1)
    assert result["failed"] and result["code"] == "checks_failed" and len(result["errors"]) == 1
    assert result["errors"][0]["description"] in result["msg"]


@pytest.mark.parametrize(("code", "stderr"), [(3, ""), (3, "dial tcp: refused\n")])
def test_an_exit_code_without_a_failed_check_is_a_failure(run, code, stderr):
    result = run(document(GOOD), code, stderr)
    assert result["failed"] and str(code) in result["msg"]
    assert stderr.strip() in result["msg"] and result["stderr"] == stderr


def test_error_output_and_other_lines_of_a_success_are_warnings(run):
    result = run("Hello\n" + document(GOOD), 0, "client-go: deprecated\n")
    assert not result.get("failed") and result["passed"]
    assert result["other_output"] == ["Hello"] and result["stderr"] == "client-go: deprecated\n"
    assert "client-go: deprecated" in str(result["warnings"]) and "Hello" in str(result["warnings"])


def test_output_that_cannot_be_used_is_returned(run):
    result = run("{broken", 0, "why\n")
    assert result["failed"] and result["code"] == "unreadable_output"
    assert (result["stdout"], result["stderr"]) == ("{broken", "why\n")


def test_what_a_check_is_in_results_and_in_a_sentence():
    good, short = output.parse(document(GOOD, SHORT)).checks
    assert short.facts() == {"category": "linkerd-identity", **SHORT}
    assert (good.facts()["error"], good.facts()["hint"], good.anchor) == ("", "", "")
    assert str(good) == "linkerd-identity: can query the Kubernetes API"
    assert output.is_allowed(short, ["l5d-identity-issuer-cert-not-expiring-soon"])
    assert not output.is_allowed(good, [""])
    plain = output.parse(document({**SHORT, "hint": "https://linkerd.io/checks"})).checks[0]
    assert plain.anchor == ""


def test_one_failed_check_among_good_ones_is_the_failure_of_its_document():
    assert [check.result for check in output.parse(document(GOOD, BAD)).checks] == ["success", "error"]
