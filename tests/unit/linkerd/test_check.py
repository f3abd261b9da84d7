# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parser of the output of linkerd check, and the module with a stand-in for the CLI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import check_output

EXPIRING = {
    "description": "issuer cert is valid for at least 60 days",
    "hint": "https://linkerd.io/2/checks/#l5d-identity-issuer-cert-not-expiring-soon",
    "error": "issuer certificate will expire on\n 2026-11-26T00:00:00Z",
    "result": "warning",
}
PASSED = {"description": "can query the Kubernetes API", "result": "success"}
FAILED = {"description": "no unschedulable pods", "error": "linkerd-identity: 1 pod pending", "result": "error"}


def document(*checks, category="linkerd-identity", **more):
    success = all(check["result"] != "error" for check in checks)
    return json.dumps({"success": success, "categories": [{"categoryName": category, "checks": list(checks)}], **more})


def test_documents_of_extensions_are_read():
    checks = check_output.parse(
        document(PASSED, EXPIRING) + "\n" + document(FAILED, category="linkerd-viz") + "\n"
    ).checks
    assert [(check.category, check.result) for check in checks] == [
        ("linkerd-identity", "success"),
        ("linkerd-identity", "warning"),
        ("linkerd-viz", "error"),
    ]
    assert check_output.count(checks)["linkerd-identity"] == {"success": 1, "warning": 1, "error": 0}


def test_failed_document_without_failed_check_is_error():
    checks = check_output.parse(document(PASSED, success=False)).checks
    assert checks[-1].result == "error"


def test_empty_category_is_skipped():
    text = json.dumps({"success": True, "categories": [{"categoryName": "a", "checks": None}]})
    assert len(check_output.parse(text + document(PASSED)).checks) == 1


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "checks"),
        ("cannot connect", "checks"),
        ('{"success": true, "categories": null}', "checks"),
        (document(PASSED)[:-5], "offset 0"),
        ('{"success": true}', "document 1"),
        (document({"description": "x", "result": "maybe"}), "document 1"),
        (document({"description": 7, "result": "success"}), "document 1"),
        (document({**PASSED, "hint": ["x"]}), "document 1"),
        (document(PASSED, success="false"), "document 1"),
        ('{"a":' * 100000, "offset 0"),
    ],
)
def test_unreadable_output_is_an_error(text, part):
    with pytest.raises(check_output.LinkerdCheckError, match=part) as error:
        check_output.parse(text)
    assert error.value.code == "unreadable_output"


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
def test_warning_is_allowed_by_whole_description_or_anchor(allowed, expected):
    check = check_output.parse(document(EXPIRING)).checks[0]
    assert check_output.is_allowed(check, allowed) is expected


def test_failure_message_names_check_error_and_hint():
    failed, warning = check_output.parse(document(FAILED) + document(EXPIRING)).checks
    message = check_output.failure_message([failed], [warning])
    assert str(failed) in message and str(warning) in message
    assert "2026-11-26T00:00:00Z" in message and warning.hint in message
    assert check_output.failure_message([], []) == ""


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
def test_table_of_extension_is_read(colour):
    found = check_output.parse(document(PASSED) + "\n" + colour(TABLE))
    assert found.other_lines == []
    dummy, namespace, tap = found.checks
    assert namespace.result == "success"
    assert (tap.category, tap.description, tap.result) == TAP
    assert (tap.error, tap.anchor) == ("certificate will expire on 2026-12-01", "l5d-tap-cert-not-expiring-soon")
    assert check_output.is_allowed(tap, ["l5d-tap-cert-not-expiring-soon"])


def test_tables_before_between_and_without_documents():
    found = check_output.parse(TABLE + document(PASSED) + "\r\n" + TABLE.replace("\n", "\r\n") + document(FAILED))
    table = ["success", "warning"]
    assert [check.result for check in found.checks] == [*table, "success", *table, "error"]
    assert [check.result for check in check_output.parse(TABLE).checks] == ["success", "warning"]


def test_failed_table_without_failed_check_is_error():
    found = check_output.parse(document(PASSED) + TABLE.replace("are √", "are \u00d7"))
    assert found.checks[-1].result == "error"


def test_lines_outside_of_checks_are_returned():
    found = check_output.parse("A new version is out\n" + document(PASSED) + TABLE + "Goodbye {x}\n")
    assert found.other_lines == ["A new version is out", "Goodbye {x}"]


LINES = st.one_of(
    st.sampled_from(
        ["√ a", "‼ b", "\u00d7 c", "    found", "----", "Status check results are \u00d7", "", "{", '{"a": 1}']
    ),
    st.text(max_size=12),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(check_output.RESULTS)),
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
def test_any_text_is_parsed_or_an_error(text):
    try:
        found = check_output.parse(text)
    except check_output.LinkerdCheckError:
        return
    assert found.checks
    for check in found.checks:
        assert check.result in check_output.RESULTS
        assert isinstance(check_output.is_allowed(check, ["x"]), bool)
    assert check_output.count(found.checks)


@given(st.lists(LINES.filter(lambda line: "{" not in line and "\x1b" not in line), max_size=8))
def test_all_text_of_table_is_returned(lines):
    text = "\n".join(lines)
    found = check_output.parse(document(PASSED) + "\n" + text)
    returned = " ".join([*(str(check) for check in found.checks), *found.other_lines])
    for line in text.splitlines():
        content = line.strip().removeprefix("√ ").removeprefix("‼ ").removeprefix("\u00d7 ").strip()
        assert (
            " ".join(content.split()) in " ".join(returned.split())
            or not content.strip("-")
            or "Status check" in content
        )


@pytest.fixture
def standin(make_standin):
    return make_standin("linkerd", Path(__file__).parent / "standin_linkerd.py")


@pytest.fixture
def run(standin, result_of):
    """Run linkerd_check with a stand-in that prints the given output."""

    def call(stdout: str, code: int = 0, stderr: str = "", versions: str = "", **options) -> dict:
        standin.write("versions", versions)
        standin.write("stdout", stdout)
        standin.write("stderr", stderr)
        standin.write("code", str(code))
        return result_of("linkerd_check", **options)

    return call


@pytest.mark.parametrize(
    ("versions", "options", "expected"),
    [
        ("edge-26.8.3\nedge-26.6.3\n", {}, "edge-26.6.3"),
        ("edge-26.8.3\nunavailable\n", {}, "edge-26.8.3"),
        ("edge-26.8.3\nedge-26.6.3\n", {"expected_version": "edge-26.7.1"}, "edge-26.7.1"),
        ("", {}, None),
    ],
)
def test_expected_version_is_that_of_the_control_plane(run, standin, versions, options, expected):
    assert run(document(PASSED), versions=versions, **options)["passed"]
    found = [argument for argument in standin.calls()[-1] if argument.startswith("--expected-version=")]
    assert found == ([f"--expected-version={expected}"] if expected else [])


def test_warning_of_extension_with_exit_code_0_is_failure(run):
    result = run(document(PASSED, EXPIRING) + "\n" + TABLE)
    assert result["failed"] and result["code"] == "checks_failed"
    assert [tuple(one[name] for name in ("category", "description", "result")) for one in result["warnings_found"]] == [
        TAP
    ]
    assert [one["category"] for one in result["warnings_allowed"]] == ["linkerd-identity"]
    assert TAP[1] in result["msg"]


def test_failure_without_check_is_failure(run):
    result = run(json.dumps({"success": False, "categories": None}), 1)
    assert result["failed"] and result["code"] == "checks_failed" and len(result["errors"]) == 1
    assert result["errors"][0]["description"] in result["msg"]


@pytest.mark.parametrize(("code", "stderr"), [(3, ""), (3, "dial tcp: refused\n")])
def test_exit_code_without_failed_check_is_failure(run, code, stderr):
    result = run(document(PASSED), code, stderr)
    assert result["failed"] and str(code) in result["msg"] and result["exit_code"] == code
    assert stderr.strip() in result["msg"] and result["stderr"] == stderr


def test_other_output_of_success_is_warning(run):
    result = run("Hello\n" + document(PASSED), 0, "client-go: deprecated\n")
    assert not result.get("failed") and result["passed"]
    assert result["other_output"] == ["Hello"] and result["stderr"] == "client-go: deprecated\n"
    assert "client-go: deprecated" in str(result["warnings"]) and "Hello" in str(result["warnings"])


def test_unreadable_output_is_returned(run):
    result = run("{broken", 0, "reason\n")
    assert result["failed"] and result["code"] == "unreadable_output"
    assert (result["stdout"], result["stderr"]) == ("{broken", "reason\n")


def test_facts_and_text_of_check():
    passed, expiring = check_output.parse(document(PASSED, EXPIRING)).checks
    assert expiring.facts() == {"category": "linkerd-identity", **EXPIRING}
    assert (passed.facts()["error"], passed.facts()["hint"], passed.anchor) == ("", "", "")
    assert str(passed) == "linkerd-identity: can query the Kubernetes API"
    assert check_output.is_allowed(expiring, ["l5d-identity-issuer-cert-not-expiring-soon"])
    assert not check_output.is_allowed(passed, [""])
    plain = check_output.parse(document({**EXPIRING, "hint": "https://linkerd.io/checks"})).checks[0]
    assert plain.anchor == ""


def test_failed_document_with_failed_check_has_no_other_error():
    assert [check.result for check in check_output.parse(document(PASSED, FAILED)).checks] == ["success", "error"]
