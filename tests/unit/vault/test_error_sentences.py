# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences for what goes wrong on the way to Vault and cannot be had from a server in a test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from requests import exceptions

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import errors

URL = "https://vault.test:8200"


@pytest.mark.parametrize(
    ("exc", "sentence"),
    [
        (exceptions.TooManyRedirects("30"), "redirects in a circle. Give the address of the active node."),
        (exceptions.SSLError("certificate has expired"), "has an expired certificate."),
        (exceptions.SSLError("[SSL: UNSUPPORTED] no protocols (x)"), "cannot be reached over TLS: no protocols."),
        (exceptions.SSLError("what"), "cannot be reached over TLS: the handshake failed."),
        (
            OSError("CERTIFICATE_VERIFY_FAILED: Hostname mismatch"),
            "has a certificate for another name. Use a name that is in it.",
        ),
        (exceptions.ConnectionError(OSError("Network is unreachable")), "cannot be reached: Network is unreachable."),
        (exceptions.ConnectionError(), "cannot be reached: ConnectionError."),
    ],
)
def test_nothing_came_back(exc, sentence):
    assert str(errors.from_transport(URL, exc)) == f"Vault at {URL} {sentence}"


def test_a_login_that_got_no_json():
    answer = SimpleNamespace(json=None, text="<html><title>Sign in</title></html>", errors=None)
    assert str(errors.from_login(URL, "ldap", answer)) == (
        f"The server at {URL} answered with an HTML page (Sign in). "
        "Check the address: this is not Vault, or a proxy is in between."
    )


@pytest.mark.parametrize(
    ("status", "said", "sentence"),
    [
        (
            400,
            "unsupported operation",
            "The engine that auth/x/y is in cannot patch it. Correct the path, or the engine's type.",
        ),
        (405, "", "The engine that auth/x/y is in cannot patch it. Correct the path, or the engine's type."),
        (500, "", f"Vault at {URL} failed to patch auth/x/y: status 500."),
        (400, "", "Vault refused to patch auth/x/y: status 400."),
    ],
)
def test_an_answer_that_says_little(status, said, sentence):
    body = {"errors": [said] if said else []}
    assert str(errors.from_answer(URL, "patch", "auth/x/y", status, body)) == sentence


@pytest.mark.parametrize(
    ("sudo", "namespace", "capabilities", "more"),
    [
        (False, "", '["read"]', False),
        (True, "", '["read", "sudo"]', False),
        (False, "team", '["read"]', True),
    ],
)
def test_the_rule_that_a_policy_needs(sudo, namespace, capabilities, more):
    sentence = errors.missing_right("read", "x/y", sudo=sudo, namespace=namespace)
    rule = f'A policy for it needs: path "x/y" {{ capabilities = {capabilities} }}'
    assert (rule in sentence, sentence.endswith("team/x/y."), "namespace" in sentence) == (True, more, more)


def test_a_title_of_a_page_is_shown_without_its_blanks():
    assert "(Sign in)" in errors.not_vault(URL, 200, "<html><title>\n  Sign in </title>")
