# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The code and the named objects of each failure.

Vault is real wherever a test can bring a real one into the situation. Tests with a stand-in have it in their names.
"""

from __future__ import annotations

import contextlib
import socket
from types import SimpleNamespace

import pytest
import server as vault_server
from server import expect_error, run_module
from vault_standin import VaultStandIn

RESOURCE = "vault_resource"


@pytest.fixture(scope="module")
def mounts(server, tmp_path_factory):
    """The values of {url}, {mount}, {kv} and {kv2} in the cases."""
    server.client.sys.enable_secrets_engine("pki", "errors-pki", config={"max_lease_ttl": "100h"})
    server.client.sys.enable_secrets_engine("kv", "errors-kv", options={"version": "1"})
    for path in ("errors-kv2", "errors-infra/kv2"):
        server.client.sys.enable_secrets_engine("kv", path, options={"version": "2"})
    yield SimpleNamespace(url=server.url, mount="errors-pki", kv="errors-kv", kv2="errors-kv2")
    for mount in ("errors-pki", "errors-kv", "errors-kv2", "errors-infra/kv2"):
        server.client.sys.disable_secrets_engine(mount)


ROOT = dict(issuer_name="r", common_name="r.test", ttl="10h", mount="{mount}")

# module, options, code, objects that the message names
REFUSED = {
    "path without an engine": (
        RESOURCE,
        dict(path="nosuch/config/urls", data={"a": 1}),
        "mount_not_found",
        ["nosuch/config/urls", "{url}"],
    ),
    "path without an auth method": (
        RESOURCE,
        dict(path="auth/nosuch/role/x", data={"a": 1}),
        "mount_not_found",
        ["auth/nosuch/role/x", "{url}"],
    ),
    "kv mount for a root": ("vault_pki_root", {**ROOT, "mount": "{kv}"}, "engine_type_mismatch", ["{kv}", "pki"]),
    "kv version 2 mount for a root": (
        "vault_pki_root",
        {**ROOT, "mount": "{kv2}"},
        "unsupported_path",
        ["{kv2}/issuers", "kv version 2"],
    ),
    "missing mount for a root": ("vault_pki_root", {**ROOT, "mount": "nosuch"}, "mount_not_found", ["nosuch/issuers"]),
    "missing mount beside another mount": (
        "vault_pki_root",
        {**ROOT, "mount": "errors-infra/pki"},
        "mount_not_found",
        ["errors-infra/pki/issuers"],
    ),
    "kv version 2 in a nested mount": (
        RESOURCE,
        dict(path="errors-infra/kv2/role", data={"a": 1}),
        "unsupported_path",
        ["errors-infra/kv2/role", "kv version 2"],
    ),
    "engine of another type": (
        "vault_engine",
        dict(path="{mount}", type="kv"),
        "engine_type_mismatch",
        ["{mount}", "pki", "kv"],
    ),
    "unknown engine type": (
        "vault_engine",
        dict(path="errors-new", type="nosuch"),
        "unknown_engine_type",
        ["nosuch", "{url}"],
    ),
    "default TTL over the maximum": (
        "vault_engine",
        dict(path="{mount}", type="pki", default_lease_ttl="200h"),
        "invalid_option",
        ["{mount}", "default_lease_ttl 200h", "max_lease_ttl 100h"],
    ),
    "path inside another engine": (
        "vault_engine",
        dict(path="{mount}/below", type="kv"),
        "path_in_use",
        ["sys/mounts/{mount}/below", "at {mount}/."],
    ),
    "invalid duration": (
        "vault_engine",
        dict(path="{mount}", type="pki", max_lease_ttl="long"),
        "invalid_duration",
        ["'long'"],
    ),
    "path that the engine does not have": (
        RESOURCE,
        dict(path="{mount}/foo/bar", data={"a": 1}),
        "unsupported_path",
        ["{mount}/foo/bar", "read"],
    ),
    "value that Vault refuses": (
        RESOURCE,
        dict(path="{mount}/config/urls", data={"ocsp_servers": "gar bage"}),
        "request_refused",
        ["update {mount}/config/urls", "ocsp_servers", "gar bage"],
    ),
    "TTL over the limit of the mount": (
        "vault_pki_root",
        {**ROOT, "ttl": "101h"},
        "validity_too_long",
        ["{mount}", "100h", "101h", "max_lease_ttl"],
    ),
    "issuer name default": ("vault_pki_root", {**ROOT, "issuer_name": "default"}, "invalid_name", ["issuer_name"]),
    "issuer name with a slash": ("vault_pki_root", {**ROOT, "issuer_name": "a/b"}, "invalid_name", ["'a/b'"]),
    "key bits of another key type": ("vault_pki_root", {**ROOT, "key_bits": 2048}, "invalid_option", ["2048", "ec"]),
    "negative path length": ("vault_pki_root", {**ROOT, "max_path_length": -2}, "invalid_option", ["max_path_length"]),
    "TTL not longer than minimum_remaining": (
        "vault_pki_root",
        {**ROOT, "minimum_remaining": "10h"},
        "validity_too_short",
        ["ttl 10h", "minimum_remaining 10h"],
    ),
    "missing issuer": (
        "vault_pki_issuer",
        dict(mount="{mount}", issuer_name="nosuch"),
        "issuer_not_found",
        ["nosuch", "{mount}", "none"],
    ),
    "wrong token": ("vault_engine", dict(path="x", type="pki", token="s.0123456789"), "invalid_token", ["{url}"]),
    "no login": ("vault_engine", dict(path="x", type="pki", auth_method="none"), "login_required", ["auth_method"]),
    "no token": ("vault_engine", dict(path="x", type="pki", auth_method="token"), "invalid_login", ["with token"]),
    "auth method that is not enabled": (
        "vault_engine",
        dict(path="x", type="pki", auth_method="approle", role_id="0123-4567", secret_id="89ab"),
        "login_refused",
        ["with approle", "mount_point"],
    ),
    "login without its options": (
        "vault_engine",
        dict(path="x", type="pki", auth_method="userpass", username="u"),
        "invalid_login",
        ["with userpass", "['password']"],
    ),
}

NOT_PREDICTED = {"value that Vault refuses"}  # by check mode


def fill(value, mounts):
    return value.format(**vars(mounts)) if isinstance(value, str) else value


@pytest.mark.parametrize("case", REFUSED)
def test_refused_request_has_code_and_names(run, mounts, case):
    module, options, code, names = REFUSED[case]
    options = {name: fill(value, mounts) for name, value in options.items()}
    names = [fill(name, mounts) for name in names]
    run.error(module, code=code, names=names, predicted=case not in NOT_PREDICTED, **options)


def test_unknown_choice_of_an_option_is_reported_by_ansible(run, mounts):
    result = run("vault_pki_root", **{**ROOT, "mount": mounts.mount, "key_type": "dsa"})
    assert result["failed"] and "key_type" in result["msg"]


def test_unknown_namespace_is_reported(run, server):
    """HashiCorp Vault's community edition ignores the header and would use the root namespace."""
    code = "namespace_not_found" if server.product == "OpenBao" else "namespaces_not_supported"
    names = [server.url, "VAULT_NAMESPACE"]
    run.error("vault_engine", code=code, names=names, path="x", type="pki", namespace="nosuch")


def rule(capabilities: str, *paths: str) -> list[str]:
    return [f'path "{path}" {{ capabilities = [{capabilities}] }}' for path in paths]


READ, UPDATE = '"read"', '"update"'
CREATE_CHILD = ("denied-child/issuers/generate/intermediate/internal", "denied-child/issuers/import/cert")
SIGN = "denied/issuer/standing/sign-intermediate"
ROOT_OPTIONS = dict(mount="denied", issuer_name="r", common_name="r", ttl="10h")
STANDING = dict(mount="denied", issuer_name="standing")
CHILD = dict(
    mount="denied-child",
    parent_mount="denied",
    parent_issuer="standing",
    issuer_name="c",
    common_name="c",
    ttl="10h",
    max_path_length=0,
)

# module, options, rules of the token's policy, missing capability. {id} and {key} are those of the issuer `standing`.
DENIED = {
    "engine read": ("vault_engine", dict(path="denied", type="pki"), [], ("read", "sys/mounts/denied")),
    "engine enable": (
        "vault_engine",
        dict(path="denied-new", type="pki"),
        rule(READ, "sys/mounts/denied-new"),
        ("update", "sys/mounts/denied-new"),
    ),
    "engine tune": (
        "vault_engine",
        dict(path="denied", type="pki", description="new"),
        rule(READ, "sys/mounts/denied"),
        ("update", "sys/mounts/denied/tune"),
    ),
    "engine delete": (
        "vault_engine",
        dict(path="denied", state="absent"),
        rule(READ, "sys/mounts/denied"),
        ("delete", "sys/mounts/denied"),
    ),
    "resource read": ("vault_resource", dict(path="denied/config/urls"), [], ("read", "denied/config/urls")),
    "resource create": (
        "vault_resource",
        dict(path="auth/denied-role/role/new", data={"token_ttl": "1h"}),
        rule(READ, "auth/denied-role/role/new"),
        ("create", "auth/denied-role/role/new"),
    ),
    "resource write": (
        "vault_resource",
        dict(path="denied/config/urls", data={"ocsp_servers": "http://a.test"}),
        rule(READ, "denied/config/urls"),
        ("update", "denied/config/urls"),
    ),
    "resource delete": (
        "vault_resource",
        dict(path="auth/denied-role/role/old", state="absent"),
        rule(READ, "auth/denied-role/role/old"),
        ("delete", "auth/denied-role/role/old"),
    ),
    "root generate": ("vault_pki_root", ROOT_OPTIONS, [], ("update", "denied/issuers/generate/root/internal")),
    "root default": (
        "vault_pki_root",
        {**ROOT_OPTIONS, "issuer_name": "standing-2", "common_name": "s.test", "ttl": "90h", "default": True},
        [],
        ("update", "denied/config/issuers"),
    ),
    "new root default": (
        "vault_pki_root",
        {**ROOT_OPTIONS, "default": True},
        rule(UPDATE, "denied/issuers/generate/root/internal"),
        ("update", "denied/config/issuers"),
    ),
    "root delete: certificates": (
        "vault_pki_root",
        {**STANDING, "issuer_name": "standing-2", "state": "absent"},
        [],
        ("list", "denied/certs"),
    ),
    "root delete": (
        "vault_pki_root",
        {**STANDING, "state": "absent", "force": True},
        [],
        ("delete", "denied/issuer/{id}"),
    ),
    "root delete: key": (
        "vault_pki_root",
        {**STANDING, "state": "absent", "force": True},
        rule('"delete"', "denied/issuer/{id}"),
        ("delete", "denied/key/{key}"),
    ),
    "issuer read": ("vault_pki_issuer", {**STANDING, "usage": ["crl-signing"]}, [], ("read", "denied/issuer/{id}")),
    "issuer change": (
        "vault_pki_issuer",
        {**STANDING, "usage": ["crl-signing"]},
        rule(READ, "denied/issuer/{id}"),
        ("patch", "denied/issuer/{id}"),
    ),
    "issuer revoke": (
        "vault_pki_issuer",
        {**STANDING, "state": "revoked", "force": True},
        rule(READ, "denied/issuer/{id}"),
        ("update", "denied/issuer/{id}/revoke"),
    ),
    "intermediate generate": ("vault_pki_intermediate", CHILD, [], ("update", CREATE_CHILD[0])),
    "intermediate sign": (
        "vault_pki_intermediate",
        CHILD,
        rule(UPDATE, *CREATE_CHILD, "denied-child/key/*"),
        ("update", SIGN),
    ),
}


@pytest.fixture
def standing(server):
    """Two issuers, a mount for an intermediate and a role. Returns the identifiers of the first issuer and its key."""
    client = server.client
    for mount in ("denied", "denied-child"):
        client.sys.enable_secrets_engine("pki", mount, config={"max_lease_ttl": "100h"})
    client.sys.enable_auth_method("approle", path="denied-role")
    client.auth.approle.create_or_update_approle("old", mount_point="denied-role")
    first, dummy = (
        client.write_data(
            "denied/issuers/generate/root/internal",
            data={"issuer_name": name, "common_name": "s.test", "key_type": "ec", "ttl": "90h"},
        )["data"]
        for name in ("standing", "standing-2")
    )
    yield {"id": first["issuer_id"], "key": first["key_id"]}
    client.sys.disable_auth_method("denied-role")
    for mount in ("denied", "denied-child"):
        client.sys.disable_secrets_engine(mount)


@pytest.mark.parametrize("default_policy", [True, False])
@pytest.mark.parametrize("case", DENIED)
def test_missing_capability_is_reported_with_the_rule_that_grants_it(run, standing, server, case, default_policy):
    """With the default policy a token can read its capabilities, so that check mode predicts the failure."""
    module, options, rules, (capability, path) = DENIED[case]
    rules = [line.replace("{id}", standing["id"]).replace("{key}", standing["key"]) for line in rules]
    path = path.format(**standing)
    given = "denied" if options.get("mount") else "unused"
    token = server.token_for(
        *(rules or rule(READ, f"{given}/unused")),
        *rule(READ, "denied-child/unused"),
        no_default_policy=not default_policy,
    )
    capabilities = '"create", "update"' if capability == "create" else f'"{capability}"'
    predicted = default_policy or capability in ("read", "list")
    names = [f"{capability} {path}", rule(capabilities, path)[0]]
    result = run.error(module, code="permission_denied", names=names, predicted=predicted, token=token, **options)
    assert ("left_behind" in result) == (case == "intermediate sign" and not predicted)
    if "left_behind" in result:  # the token may not roll back either
        (key_id,) = server.client.list("denied-child/keys")["data"]["keys"]
        assert result["left_behind"] == key_id and key_id in result["msg"]


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
    engine_error(url, "unreachable", url, "refuses the connection")


def test_name_that_does_not_resolve():
    engine_error("http://vault.invalid:8200", "unreachable", "http://vault.invalid:8200", "does not resolve")


@pytest.mark.parametrize("url", ["vault.example.com", "ftp://vault.example.com", "http://"])
def test_invalid_address(url):
    engine_error(url, "invalid_address", repr(url))


def test_missing_address():
    engine_error(None, "invalid_connection", "url")


def test_no_response():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        engine_error(url, "answer_lost", url, "option timeout", timeout=1)


def test_https_address_of_a_server_without_tls(server):
    url = server.url.replace("http:", "https:")
    engine_error(url, "unreachable", url, "http://")


def test_missing_proxy():
    proxy = f"http://127.0.0.1:{vault_server.free_port()}"
    url = "http://vault.example.com:8200"
    engine_error(url, "unreachable", url, "proxy", "HTTPS_PROXY", proxies={"http": proxy})


def test_tls_with_an_unknown_ca(tls):
    engine_error(tls.url, "unreachable", tls.url, "unknown CA", "ca_cert", "VAULT_CACERT")


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
