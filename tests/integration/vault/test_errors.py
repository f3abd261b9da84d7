# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user reads when something is wrong: the exact sentence, for each bad situation.

The Vault is real wherever a Vault can be brought into the situation. A server that answers what Vault answers there is
a stand-in, and its tests say so.
"""

from __future__ import annotations

import contextlib
import socket
from types import SimpleNamespace

import pytest
import server as vault_server
from server import run_module
from vault_standin import VaultStandIn

URLS = "vault_resource"


@pytest.fixture(scope="module")
def places(server, tmp_path_factory):
    """What the sentences name: {url}, {mount}, {kv}, tokens with few rights."""
    server.client.sys.enable_secrets_engine("pki", "errors-pki", config={"max_lease_ttl": "100h"})
    server.client.sys.enable_secrets_engine("kv", "errors-kv", options={"version": "1"})
    for path in ("errors-kv2", "errors-infra/kv2"):
        server.client.sys.enable_secrets_engine("kv", path, options={"version": "2"})
    yield SimpleNamespace(url=server.url, mount="errors-pki", kv="errors-kv", kv2="errors-kv2")
    for mount in ("errors-pki", "errors-kv", "errors-kv2", "errors-infra/kv2"):
        server.client.sys.disable_secrets_engine(mount)


ROOT = dict(issuer_name="r", common_name="r.test", ttl="10h", mount="{mount}")
RIGHT = 'The token may not {0} {1}. A policy for it needs: path "{1}" {{{{ capabilities = ["{0}"] }}}}'

# module, options, sentence
REFUSED = {
    "nothing mounted": (
        URLS,
        dict(path="nosuch/config/urls", data={"a": 1}),
        "Nothing is mounted at nosuch/config/urls or above it in Vault at {url}. "
        "Enable the engine first, or correct the path.",
    ),
    "no login method mounted": (
        URLS,
        dict(path="auth/nosuch/role/x", data={"a": 1}),
        "Nothing is mounted at auth/nosuch/role/x or above it in Vault at {url}. "
        "Enable the engine first, or correct the path.",
    ),
    "kv where pki should be": (
        "vault_pki_root",
        {**ROOT, "mount": "{kv}"},
        "At {kv} is an engine of type kv, wanted is pki. Correct the option mount.",
    ),
    "kv version 2 where pki should be": (
        "vault_pki_root",
        {**ROOT, "mount": "{kv2}"},
        "{kv2}/issuers is in an engine of type kv (version 2), which has no such path. Correct the path or the mount.",
    ),
    "no mount for the root": (
        "vault_pki_root",
        {**ROOT, "mount": "nosuch"},
        "Nothing is mounted at nosuch/issuers or above it in Vault at {url}. "
        "Enable the engine first, or correct the path.",
    ),
    "no mount for the root, beside another mount": (
        "vault_pki_root",
        {**ROOT, "mount": "errors-infra/pki"},
        "Nothing is mounted at errors-infra/pki/issuers or above it in Vault at {url}. "
        "Enable the engine first, or correct the path.",
    ),
    "kv version 2 further down": (
        URLS,
        dict(path="errors-infra/kv2/role", data={"a": 1}),
        "errors-infra/kv2/role is in an engine of type kv (version 2), which has no such path. "
        "Correct the path or the mount.",
    ),
    "engine of another type": (
        "vault_engine",
        dict(path="{mount}", type="kv"),
        "At {mount} is an engine of type pki, wanted is kv. "
        "Choose another path, or disable that engine first, which loses all that is in it.",
    ),
    "no such type": (
        "vault_engine",
        dict(path="errors-new", type="nosuch"),
        "Vault at {url} has no engine of type nosuch. Correct the type, or register its plugin.",
    ),
    "default ttl beyond the maximum": (
        "vault_engine",
        dict(path="{mount}", type="pki", default_lease_ttl="200h"),
        "The engine at {mount} cannot have a default_lease_ttl of 200h with a max_lease_ttl of 100h: "
        "the default is the longer one. Correct one of them.",
    ),
    "path of another engine": (
        "vault_engine",
        dict(path="{mount}/below", type="kv"),
        "sys/mounts/{mount}/below is not free in Vault at {url}: there is an engine at {mount}/. Choose another path.",
    ),
    "no duration": (
        "vault_engine",
        dict(path="{mount}", type="pki", max_lease_ttl="long"),
        "'long' is not a duration: write it like 48h, 90d, 1h30m, or as seconds.",
    ),
    "a path that the engine does not know": (
        URLS,
        dict(path="{mount}/foo/bar", data={"a": 1}),
        "The engine that {mount}/foo/bar is in cannot read it. Correct the path, or the engine's type.",
    ),
    "a value that Vault refuses": (
        URLS,
        dict(path="{mount}/config/urls", data={"ocsp_servers": "gar bage"}),
        "Vault refused to update {mount}/config/urls: "
        "invalid URL found in Authority Information Access (AIA) parameter ocsp_servers: gar bage.",
    ),
    "ttl beyond the mount": (
        "vault_pki_root",
        {**ROOT, "ttl": "101h"},
        "The mount {mount} issues for 100h at most, wanted is 101h. "
        "Raise its max_lease_ttl first (vault_engine), or ask for less.",
    ),
    "the name default": (
        "vault_pki_root",
        {**ROOT, "issuer_name": "default"},
        "issuer_name cannot be 'default': Vault keeps that word for whichever is the default. Choose another.",
    ),
    "a name that cannot be": (
        "vault_pki_root",
        {**ROOT, "issuer_name": "a/b"},
        "issuer_name 'a/b' is not possible: Vault takes letters, digits, and _ - . between them.",
    ),
    "unknown key type": (
        "vault_pki_root",
        {**ROOT, "key_type": "dsa"},
        "value of key_type must be one of: ec, rsa, ed25519, got: dsa",
    ),
    "bits of another type": (
        "vault_pki_root",
        {**ROOT, "key_bits": 2048},
        "key_bits 2048 is not for key_type ec: it takes 224 or 256 or 384 or 521.",
    ),
    "path length below none": (
        "vault_pki_root",
        {**ROOT, "max_path_length": -2},
        "max_path_length has to be -1 for no limit, or 0 and more.",
    ),
    "too little life from the start": (
        "vault_pki_root",
        {**ROOT, "minimum_remaining": "10h"},
        "ttl 10h is not longer than minimum_remaining 10h, so the certificate would be too old from the start. "
        "Ask for a lower minimum_remaining.",
    ),
    "no such issuer": (
        "vault_pki_issuer",
        dict(mount="{mount}", issuer_name="nosuch"),
        "There is no issuer nosuch in {mount}, only: none. Make it first (vault_pki_root).",
    ),
    "wrong token": (
        "vault_engine",
        dict(path="x", type="pki", token="s.0123456789"),
        "Vault at {url} does not accept the token: it is wrong, expired or revoked. Log in again.",
    ),
    "no login where one is needed": (
        "vault_engine",
        dict(path="x", type="pki", auth_method="none"),
        "Vault at {url} wants a login for this, and auth_method is none: set another.",
    ),
    "no token anywhere": (
        "vault_engine",
        dict(path="x", type="pki", auth_method="token"),
        "Login to Vault at {url} with token is not possible: No Vault Token specified or discovered.",
    ),
    "login method not enabled": (
        "vault_engine",
        dict(path="x", type="pki", auth_method="approle", role_id="0123-4567", secret_id="89ab"),
        "Vault at {url} refused the login with approle: permission denied. "
        "Is this method enabled at the path (mount_point), and are the credentials right?",
    ),
    "login without its options": (
        "vault_engine",
        dict(path="x", type="pki", auth_method="userpass", username="u"),
        "Login to Vault at {url} with userpass is not possible: Authentication method userpass requires options "
        "('username', 'password') to be set, but these are missing: ['password'].",
    ),
}

KNOWN_TO_VAULT_ALONE = {"a value that Vault refuses"}  # what check mode cannot foretell


def test_unknown_namespace(run, server):
    """HashiCorp Vault without an Enterprise licence ignores the header, and would do it all in the root namespace."""
    sentence = f"Vault at {server.url} has no such namespace. Look at the option namespace and at VAULT_NAMESPACE."
    if server.product != "OpenBao":
        sentence = (
            f"Vault at {server.url} has no namespaces, because it is HashiCorp's community edition. "
            "Leave out the option namespace, and VAULT_NAMESPACE."
        )
    assert run.error("vault_engine", path="x", type="pki", namespace="nosuch") == sentence


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_vault_or_before(run, places, case):
    module, options, sentence = REFUSED[case]
    filled = {
        name: value.format(**vars(places)) if isinstance(value, str) else value for name, value in options.items()
    }
    foreseen = case not in KNOWN_TO_VAULT_ALONE
    assert run.error(module, foreseen=foreseen, **filled) == sentence.format(**vars(places))


def rule(capabilities: str, *paths: str) -> list[str]:
    return [f'path "{path}" {{ capabilities = [{capabilities}] }}' for path in paths]


READ, UPDATE = '"read"', '"update"'
MAKE = ("denied-child/issuers/generate/intermediate/internal", "denied-child/issuers/import/cert")
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

# module, options, what the token may do, the right it lacks. {id} and {key} are those of the issuer `standing`.
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
    "intermediate generate": ("vault_pki_intermediate", CHILD, [], ("update", MAKE[0])),
    "intermediate sign": ("vault_pki_intermediate", CHILD, rule(UPDATE, *MAKE, "denied-child/key/*"), ("update", SIGN)),
}


@pytest.fixture
def standing(server):
    """Two issuers, a mount for an intermediate and a role, and the identifiers of the first issuer."""
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
def test_a_right_is_missing(run, standing, server, case, default_policy):
    """With the default policy a login may ask what it may do, so that check mode and a root's first step know it."""
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
    foreseen = default_policy or capability in ("read", "list")
    message = run.error(module, foreseen=foreseen, token=token, **options)
    needed = f"The token may not {capability} {path}. A policy for it needs: {rule(capabilities, path)[0]}"
    assert message.startswith(needed)
    if message != needed:  # what was begun could not be taken back either, and is named
        (left,) = server.client.list("denied-child/keys")["data"]["keys"]
        assert (case, foreseen) == ("intermediate sign", False) and f"key {left} of denied-child" in message


def fails(url: str, **options: object) -> str:
    options = {"token": "a-token", "path": "x", "type": "pki", **options}
    result = run_module("vault_engine", url=url, **options)
    assert result["failed"], result
    return result["msg"]


def test_sealed():
    own = vault_server.start()
    try:
        own.client.sys.seal()
        sentence = f"Vault at {own.url} is sealed. Unseal it, then run this again."
        assert fails(own.url) == sentence
        assert fails(own.url, auth_method="userpass", username="u", password="pa55w0rd") == sentence
        assert run_module("vault_pki_issuer_info", url=own.url)["msg"] == sentence
    finally:
        own.stop()


def test_nobody_listens():
    port = vault_server.free_port()
    assert fails(f"http://127.0.0.1:{port}") == (
        f"Vault at http://127.0.0.1:{port} refuses the connection. Is it running, and is the port right?"
    )


def test_a_name_that_does_not_resolve():
    url = "http://vault.invalid:8200"
    assert fails(url) == f"Vault at {url} cannot be found: its name does not resolve."


@pytest.mark.parametrize("url", ["vault.example.com", "ftp://vault.example.com", "http://"])
def test_no_address(url):
    assert fails(url) == f"{url!r} is no address of Vault: write it like https://vault.example.com:8200."


def test_no_address_at_all():
    assert fails(None) == "The connection to Vault is not described: Required option url was not set."


def test_nothing_comes_back():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert fails(url, timeout=1) == (
            f"Vault at {url} took the request and did not answer in time. "
            "Raise the option timeout, or look at Vault's log."
        )


def test_https_where_http_is_spoken(server):
    url = server.url.replace("http:", "https:")
    assert fails(url) == (
        f"Vault at {url} speaks no TLS. Write the address with http:// in front, or look for a proxy."
    )


def test_a_proxy_that_is_not_there():
    port = vault_server.free_port()
    message = fails("http://vault.example.com:8200", proxies={"http": f"http://127.0.0.1:{port}"})
    assert message.startswith("Vault at http://vault.example.com:8200 cannot be reached through the proxy (")
    assert message.endswith("Look at the option proxies and at HTTPS_PROXY.")


def test_tls_of_an_unknown_ca(tls):
    assert fails(tls.url) == (
        f"Vault at {tls.url} has a certificate from a CA that is not trusted here. "
        "Give the CA's file as ca_cert (VAULT_CACERT)."
    )


def test_tls_as_it_should_be(tls, monkeypatch):
    arguments = dict(url=tls.url, token=tls.token, path="sys/policies/acl/default")
    assert run_module("vault_resource", ca_cert=tls.ca, **arguments)["data"]["name"] == "default"
    assert run_module("vault_resource", validate_certs=False, **arguments)["data"]["name"] == "default"
    monkeypatch.setenv("VAULT_CACERT", tls.ca)
    assert run_module("vault_resource", **arguments)["data"]["name"] == "default"


def test_tls_for_another_name(tls):
    url = tls.url.replace("127.0.0.1", "127.1")  # the same address by another name
    assert fails(url, ca_cert=tls.ca) == f"Vault at {url} has a certificate for another name. Use a name that is in it."


def test_http_where_tls_is_spoken(tls):
    url = tls.url.replace("https", "http")
    assert fails(url) == f"The server at {url} speaks TLS. Write the address with https:// in front."


def test_a_ca_file_that_is_not_there(tls):
    message = "The file of ca_cert (VAULT_CACERT) is missing: /nosuch/ca.pem. Correct the path."
    assert fails(tls.url, ca_cert="/nosuch/ca.pem") == message


JSON, HTML = "application/json", "text/html"
NOT_VAULT = "Check the address: this is not Vault, or a proxy is in between."
STANDBY = "Vault at {url} is a standby that serves no requests. Give the address of the active node."


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            (502, HTML, "<html><head><title>Bad Gateway</title></head></html>"),
            "The server at {url} answered with an HTML page (Bad Gateway), status 502. " + NOT_VAULT,
        ),
        (
            (403, HTML, "<html><head><title>Forbidden</title></head></html>"),
            "The server at {url} answered with an HTML page (Forbidden), status 403. " + NOT_VAULT,
        ),
        (
            (200, HTML, "<html>Welcome</html>"),
            "The server at {url} answered with an HTML page, status 200. " + NOT_VAULT,
        ),
        (
            (200, JSON, '{"data": {'),
            "The server at {url} answered with something that is no JSON, status 200. " + NOT_VAULT,
        ),
        (
            (200, JSON, "[1, 2]"),
            "The server at {url} answered with something that is no JSON, status 200. " + NOT_VAULT,
        ),
        (
            (400, "text/plain", "Client sent an HTTP request to an HTTPS server."),
            "The server at {url} speaks TLS. Write the address with https:// in front.",
        ),
        ((500, JSON, '{"errors": ["local node not active but active cluster node not found"]}'), STANDBY),
        ((429, JSON, '{"errors": []}'), STANDBY),
        ((473, JSON, '{"errors": []}'), STANDBY),
        (
            (501, JSON, '{"errors": []}'),
            "Vault at {url} is not initialized. Initialize and unseal it first.",
        ),
        (
            (500, JSON, '{"errors": ["1 error occurred:\\n\\t* storage is full\\n\\n"]}'),
            "Vault at {url} failed to read sys/mounts/x: storage is full.",
        ),
        ((412, JSON, '{"errors": []}'), "Vault refused to read sys/mounts/x: status 412."),
    ],
)
def test_answers_of_a_stand_in(answer, sentence):
    with VaultStandIn(lambda *_request: answer) as standin:
        assert fails(standin.url) == sentence.format(url=standin.url)


@pytest.mark.parametrize(("sick", "retries", "requests"), [(2, 2, 3), (2, {"total": 3, "status_forcelist": [503]}, 3)])
def test_retries(sick, retries, requests):
    """A Vault that is unwell for a moment: a stand-in, because none can be made to be so at will."""
    seen = []

    def answer(*request: object) -> tuple[int, str, str]:
        seen.append(request)
        return (
            (503, JSON, '{"errors": ["Vault is sealed"]}') if len(seen) <= sick else (200, JSON, '{"data": {"a": 1}}')
        )

    with VaultStandIn(answer) as standin:
        result = run_module(
            "vault_resource", url=standin.url, token="a-token", path="x/y", data={"a": 1}, retries=retries
        )
        assert not result.get("failed"), result["msg"]
        assert len(seen) == requests
        seen.clear()
        sentence = f"Vault at {standin.url} is sealed. Unseal it, then run this again."
        assert fails(standin.url, retries=1) == sentence
        assert len(seen) == 2
        seen.clear()
        assert fails(standin.url, retries=0) == sentence
        assert len(seen) == 1


def test_retries_that_are_none():
    assert fails("http://127.0.0.1:1", retries="often") == (
        "The connection to Vault is not described: retries option must be interpretable as int or dict. Got: 'often'."
    )
    assert fails("http://127.0.0.1:1", retries=-1) == (
        "The connection to Vault is not described: Number of retries must be >= 0 (got -1)."
    )


def test_no_connection_in_time():
    """A port whose queue is full drops who wants to connect, as a firewall does."""
    with socket.socket() as busy, contextlib.ExitStack() as waiting:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        for _place in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(busy.getsockname())
        url = f"http://127.0.0.1:{busy.getsockname()[1]}"
        assert fails(url, timeout=1) == (
            f"Vault at {url} did not answer in time when connecting. Is a firewall in between, or the address wrong?"
        )


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_a_token_with_a_line_end_is_not_shown(run, server, end):
    result = run("vault_pki_issuer_info", auth_method="token", token=f"{server.token}{end}")
    assert result["failed"] and result["code"] == "invalid_header"
    assert server.token not in str(result)
