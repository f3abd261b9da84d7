# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils import _linkerd_check as output

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
    checks = output.parse(document(GOOD, SHORT) + "\n" + document(BAD, category="linkerd-viz") + "\n")
    assert [(check.category, check.result) for check in checks] == [
        ("linkerd-identity", "success"),
        ("linkerd-identity", "warning"),
        ("linkerd-viz", "error"),
    ]
    assert output.count(checks)["linkerd-identity"] == {"success": 1, "warning": 1, "error": 0}


def test_a_failed_document_without_a_failed_check_is_an_error():
    checks = output.parse(document(GOOD, success=False))
    assert checks[-1].result == "error"


def test_an_empty_category_is_skipped():
    text = json.dumps({"success": True, "categories": [{"categoryName": "a", "checks": None}]})
    assert len(output.parse(text + document(GOOD))) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no checks"),
        ("cannot connect", "no checks"),
        ('{"success": true, "categories": null}', "no checks"),
        (document(GOOD)[:-5], "not JSON at offset 0"),
        ('{"success": true}', "document 1 is not in the form"),
        (document({"description": "x", "result": "maybe"}), "not in the form"),
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
    check = output.parse(document(SHORT))[0]
    assert output.is_allowed(check, allowed) is expected


def test_the_message_names_check_cause_and_page():
    bad, warning = output.parse(document(BAD) + document(SHORT))
    message = output.failure([bad], [warning])
    assert "failed: linkerd-identity: no unschedulable pods: linkerd-identity: 1 pod pending" in message
    assert "will expire on 2026-11-26T00:00:00Z (see https://linkerd.io/2/checks/#l5d-identity" in message
    assert output.failure([], []) == ""
