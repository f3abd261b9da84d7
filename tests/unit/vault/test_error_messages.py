# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the connection to Vault that no server can cause in a test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from requests import exceptions

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import errors

URL = "https://vault.test:8200"


@pytest.mark.parametrize(
    ("exc", "code", "name"),
    [
        (exceptions.TooManyRedirects("30"), "answer_lost", "active node"),
        (exceptions.SSLError("certificate has expired"), "unreachable", "expired"),
        (exceptions.SSLError("[SSL: UNSUPPORTED] no protocols (x)"), "unreachable", "no protocols."),
        (exceptions.SSLError("what"), "unreachable", "handshake"),
        (OSError("CERTIFICATE_VERIFY_FAILED: Hostname mismatch"), "answer_lost", "another name"),
        (exceptions.ConnectionError(OSError("Network is unreachable")), "answer_lost", "Network is unreachable."),
        (exceptions.ConnectionError(), "answer_lost", "ConnectionError."),
    ],
)
def test_transport_errors(exc, code, name):
    error = errors.from_transport(URL, exc)
    assert error.code == code
    assert URL in str(error) and name in str(error)


def test_login_response_without_json():
    response = SimpleNamespace(json=None, text="<html><title>Sign in</title></html>", errors=None)
    error = errors.from_login(URL, "ldap", response)
    assert error.code == "not_vault"
    assert URL in str(error) and "(Sign in)" in str(error)


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (400, "unsupported operation", "unsupported_path"),
        (405, "", "unsupported_path"),
        (500, "", "vault_failed"),
        (400, "", "request_refused"),
    ],
)
def test_error_responses_name_capability_and_path(status, reason, code):
    body = {"errors": [reason] if reason else []}
    error = errors.from_response(URL, "patch", "auth/x/y", status, body)
    assert (error.code, error.status, error.reason) == (code, status, reason)
    assert "patch" in str(error) and "auth/x/y" in str(error)
    assert reason or code == "unsupported_path" or f"status {status}" in str(error)


@pytest.mark.parametrize(
    ("sudo", "namespace", "capabilities", "names_namespace"),
    [
        (False, "", '["read"]', False),
        (True, "", '["read", "sudo"]', False),
        (False, "team", '["read"]', True),
    ],
)
def test_missing_capability_names_the_policy_rule(sudo, namespace, capabilities, names_namespace):
    message = errors.explain_missing_capability("read", "x/y", sudo=sudo, namespace=namespace)
    assert f'path "x/y" {{ capabilities = {capabilities} }}' in message
    assert ("team/x/y" in message) == names_namespace


def test_title_of_an_html_page_is_stripped():
    assert "(Sign in)" in errors.explain_unknown_server(URL, 200, "<html><title>\n  Sign in </title>")
