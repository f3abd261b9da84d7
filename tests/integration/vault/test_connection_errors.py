# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that cannot be reached, is not ready, or is not Vault.

Vault is real wherever a test can bring a real one into the situation. Tests with a stand-in have it in their names.
"""

from __future__ import annotations

import contextlib
import socket

import pytest
import server as vault_server
from server import expect_error, run_module
from vault_standin import VaultStandIn


def engine_error(url: str | None, code: str, *names: str, **options: object) -> dict:
    """The result of vault_engine against a server that does not answer as Vault should."""
    options = {"token": "a-token", "path": "x", "type": "pki", **options}
    return expect_error(run_module("vault_engine", url=url, **options), code, *names)


def test_sealed_vault():
    own = vault_server.start()
    try:
        own.client.sys.seal()
        engine_error(own.url, "vault_sealed", own.url)
        engine_error(own.url, "vault_sealed", own.url, auth_method="userpass", username="u", password="pa55w0rd")
        expect_error(run_module("vault_pki_issuer_info", url=own.url), "vault_sealed", own.url)
    finally:
        own.stop()


def test_refused_connection():
    url = f"http://127.0.0.1:{vault_server.free_port()}"
    engine_error(url, "unreachable", url)


def test_name_that_does_not_resolve():
    engine_error("http://vault.invalid:8200", "unreachable", "http://vault.invalid:8200", "DNS")


@pytest.mark.parametrize("url", ["vault.example.com", "ftp://vault.example.com", "http://"])
def test_invalid_address(url):
    engine_error(url, "invalid_address", repr(url))


def test_missing_address():
    engine_error(None, "invalid_connection", "url")


def test_no_response():
    with socket.create_server(("127.0.0.1", 0)) as unresponsive:
        url = f"http://127.0.0.1:{unresponsive.getsockname()[1]}"
        engine_error(url, "answer_lost", url, "timeout", timeout=1)


def test_https_address_of_a_server_without_tls(server):
    url = server.url.replace("http:", "https:")
    engine_error(url, "unreachable", url, "http://")


def test_missing_proxy():
    proxy = f"http://127.0.0.1:{vault_server.free_port()}"
    url = "http://vault.example.com:8200"
    engine_error(url, "unreachable", url, "proxy", "HTTPS_PROXY", proxies={"http": proxy})


def test_tls_with_an_unknown_ca(tls):
    engine_error(tls.url, "unreachable", tls.url, "ca_cert", "VAULT_CACERT")


def test_tls_with_a_known_ca(tls, monkeypatch):
    arguments = dict(url=tls.url, token=tls.token, path="sys/policies/acl/default")
    assert run_module("vault_resource", ca_cert=tls.ca, **arguments)["data"]["name"] == "default"
    assert run_module("vault_resource", validate_certs=False, **arguments)["data"]["name"] == "default"
    monkeypatch.setenv("VAULT_CACERT", tls.ca)
    assert run_module("vault_resource", **arguments)["data"]["name"] == "default"


def test_tls_certificate_for_another_name(tls):
    url = tls.url.replace("127.0.0.1", "127.1")  # the same address written differently
    engine_error(url, "unreachable", url, "another name", ca_cert=tls.ca)


def test_http_address_of_a_server_with_tls(tls):
    url = tls.url.replace("https", "http")
    engine_error(url, "not_vault", url, "https://")


def test_missing_ca_file(tls):
    engine_error(tls.url, "ca_file_not_found", "/nosuch/ca.pem", "VAULT_CACERT", ca_cert="/nosuch/ca.pem")


JSON, HTML = "application/json", "text/html"


@pytest.mark.parametrize(
    ("response", "code", "names"),
    [
        (
            (502, HTML, "<html><head><title>Bad Gateway</title></head></html>"),
            "not_vault",
            ["HTML page (Bad Gateway)", "502"],
        ),
        (
            (403, HTML, "<html><head><title>Forbidden</title></head></html>"),
            "not_vault",
            ["HTML page (Forbidden)", "403"],
        ),
        ((200, HTML, "<html>Welcome</html>"), "not_vault", ["HTML page", "200"]),
        ((200, JSON, '{"data": {'), "not_vault", ["not JSON", "200"]),
        ((200, JSON, "[1, 2]"), "not_vault", ["not JSON", "200"]),
        ((400, "text/plain", "Client sent an HTTP request to an HTTPS server."), "not_vault", ["https://"]),
        (
            (500, JSON, '{"errors": ["local node not active but active cluster node not found"]}'),
            "vault_standby",
            ["active node"],
        ),
        ((429, JSON, '{"errors": []}'), "vault_standby", ["active node"]),
        ((473, JSON, '{"errors": []}'), "vault_standby", ["active node"]),
        ((501, JSON, '{"errors": []}'), "vault_not_initialized", ["Initialize"]),
        (
            (500, JSON, '{"errors": ["1 error occurred:\\n\\t* storage is full\\n\\n"]}'),
            "vault_failed",
            ["read sys/mounts/x: storage is full."],
        ),
        ((412, JSON, '{"errors": []}'), "request_refused", ["read sys/mounts/x", "412"]),
    ],
)
def test_error_responses_of_a_stand_in(response, code, names):
    with VaultStandIn(lambda *_request: response) as standin:
        engine_error(standin.url, code, *names)


@pytest.mark.parametrize(
    ("failures", "retries", "requests"), [(2, 2, 3), (2, {"total": 3, "status_forcelist": [503]}, 3)]
)
def test_option_retries_against_a_stand_in(failures, retries, requests):
    seen = []

    def respond(*request: object) -> tuple[int, str, str]:
        seen.append(request)
        if len(seen) <= failures:
            return 503, JSON, '{"errors": ["Vault is sealed"]}'
        return 200, JSON, '{"data": {"a": 1}}'

    with VaultStandIn(respond) as standin:
        result = run_module(
            "vault_resource", url=standin.url, token="a-token", path="x/y", data={"a": 1}, retries=retries
        )
        assert not result.get("failed"), result["msg"]
        assert len(seen) == requests
        for number in (1, 0):
            seen.clear()
            engine_error(standin.url, "vault_sealed", standin.url, retries=number)
            assert len(seen) == number + 1


@pytest.mark.parametrize("retries", ["often", -1])
def test_invalid_option_retries(retries):
    engine_error("http://127.0.0.1:1", "invalid_connection", "retries", str(retries), retries=retries)


def test_connection_timeout():
    """A port with a full queue drops connections, as a firewall does."""
    with socket.socket() as busy, contextlib.ExitStack() as waiting:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        for _place in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(busy.getsockname())
        url = f"http://127.0.0.1:{busy.getsockname()[1]}"
        engine_error(url, "unreachable", url, "firewall", timeout=1)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_token_with_a_line_end_is_not_shown(run, server, end):
    result = run("vault_pki_issuer_info", auth_method="token", token=f"{server.token}{end}")
    expect_error(result, "invalid_header")
    assert server.token not in str(result)
