# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The code and the named objects of each request that Vault refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

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


@pytest.fixture
def quota(server, path):
    """A limit of one request per hour for a kv engine and for an auth method of the same name."""
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    server.client.sys.enable_auth_method("userpass", path=path)
    for name, limited in (("engine", f"{path}/"), ("method", f"auth/{path}/")):
        data = {"path": limited, "rate": 1, "interval": "1h"}
        server.client.write_data(f"sys/quotas/rate-limit/{path}-{name}", data=data)
    yield path
    for name in ("engine", "method"):
        server.client.delete(f"sys/quotas/rate-limit/{path}-{name}")
    server.client.sys.disable_auth_method(path)


def test_limited_rate_of_requests_is_reported(run, server, quota):
    """Vault returns status 429 for it, as a standby node does for its health."""
    run(RESOURCE, path=f"{quota}/x")
    names = [server.url, "--forks"]
    run.error(RESOURCE, code="rate_limited", names=names, path=f"{quota}/x")
    login = dict(auth_method="userpass", mount_point=quota, username="u", password="pa55w0rd-1")
    run(RESOURCE, path=f"{quota}/x", **login)
    run.error(RESOURCE, code="rate_limited", names=names, path=f"{quota}/x", **login)
