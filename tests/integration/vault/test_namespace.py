# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules in a namespace of OpenBao. HashiCorp Vault has namespaces in its Enterprise edition only."""

from __future__ import annotations

import subprocess

import hvac
import pytest


@pytest.fixture
def inside(server, path):
    """A client of a new namespace."""
    if server.product != "OpenBao":
        pytest.skip("platform: HashiCorp Vault has namespaces in its Enterprise edition only")
    server.client.write_data(f"sys/namespaces/{path}", data={})
    yield hvac.Client(url=server.url, token=server.token, namespace=path)
    server.client.delete(f"sys/namespaces/{path}")


def test_new_engine_in_namespace(run, inside, server, path):
    run.four_ways("vault_engine", namespace=path, path="pki", type="pki", max_lease_ttl="90d")
    assert inside.sys.list_mounted_secrets_engines()["data"]["pki/"]["config"]["max_lease_ttl"] == 7776000
    assert "pki/" not in server.client.sys.list_mounted_secrets_engines()["data"]
    run.four_ways("vault_engine", namespace=path, path="pki", type="pki", state="absent")


def test_check_mode_does_not_predict_an_unknown_type(run, inside, server, path):
    """The plugin catalog cannot be read in a namespace."""
    options = dict(namespace=path, path="x", type="nosuch")
    run.error("vault_engine", code="unknown_engine_type", names=["nosuch"], predicted=False, **options)


def test_missing_capability_in_namespace(run, inside, server, path):
    """The message names the paths for a policy of the namespace and for one of the root namespace."""
    options = dict(namespace=path, path="sys/policies/acl/x")
    token = server.token_for(f'path "unused/{path}" {{ capabilities = ["read"] }}')
    names = ['path "sys/policies/acl/x" { capabilities = ["read"] }', f"namespace {path}", f"{path}/sys/policies/acl/x"]
    run.error("vault_resource", code="permission_denied", names=names, token=token, **options)
    of_the_root = server.token_for(f'path "{path}/sys/policies/acl/x" {{ capabilities = ["read"] }}')
    inside.sys.create_or_update_policy("p", 'path "sys/policies/acl/x" { capabilities = ["read"] }')
    of_the_namespace = inside.auth.token.create(policies=["p"])["auth"]["client_token"]
    for token in (of_the_root, of_the_namespace):
        assert run.ok("vault_resource", token=token, **options, state="absent")["changed"] is False


@pytest.mark.parametrize("kind", ["of the namespace", "wrong"])
def test_token_of_the_namespace_that_the_environment_names(run, inside, monkeypatch, path, kind):
    """HCP Vault asks its users to export VAULT_NAMESPACE, which an empty option overrides."""
    token = inside.auth.token.create(policies=["default"])["auth"]["client_token"] if kind != "wrong" else "wrong"
    options = dict(path="sys/policies/acl/x", token=token, namespace="")
    code = "invalid_token" if kind == "wrong" else "permission_denied"
    assert "VAULT_NAMESPACE" not in run.error("vault_resource", code=code, **options)["msg"]
    monkeypatch.setenv("VAULT_NAMESPACE", f"{path}/")
    run.error("vault_resource", code=code, names=[f"namespace {path},", "pki_vault_namespace"], **options)
    found = run.error("vault_pki_issuer_info", code="login_required", mount=path, namespace="", auth_method="none")
    assert "VAULT_NAMESPACE" in found["msg"]
    missing = dict(mount="nosuch", namespace=path, auth_method="none")
    run.error("vault_pki_issuer_info", code="login_required", names=[f" at nosuch in the namespace {path}:"], **missing)
    assert "VAULT_NAMESPACE" not in run("vault_resource", **{**options, "namespace": path})["msg"]


def test_what_the_roles_configure_is_in_the_namespace(run, inside, server, path, kubernetes):
    """A login with a real token of a cluster is then permitted to sign, in the namespace."""

    def ok(name: str, **options) -> dict:
        return run.ok(name, namespace=path, **options)

    ok("vault_engine", path="pki", type="pki", max_lease_ttl="90d")
    ok("vault_pki_root", mount="pki", issuer_name="root-1", common_name="root.test", ttl="80d")
    rule = 'path "pki/issuer/root-1/sign-intermediate" { capabilities = ["update"] }'
    ok("vault_resource", path="sys/policies/acl/namespace-signer", data={"policy": rule})
    ok("vault_engine", path="jwt-c", kind="auth", type="jwt")
    role = dict(role_type="jwt", user_claim="sub", bound_audiences=["vault"], token_policies=["namespace-signer"])
    ok("vault_resource", path="auth/jwt-c/role/r", data=role)
    keys = dict(path="jwt-c", issuer=kubernetes.issuer, public_keys=[kubernetes.token_key])
    ok("vault_jwt_config", keys="static", **keys)

    issuers = run.ok("vault_pki_issuer_info", namespace=path, mount="pki", auth_method="none")["issuers"]
    assert [one["issuer_name"] for one in issuers] == ["root-1"]
    outside = server.client
    assert "pki/" not in outside.sys.list_mounted_secrets_engines()["data"]
    assert "jwt-c/" not in outside.sys.list_auth_methods()["data"]
    assert "namespace-signer" not in outside.sys.list_policies()["data"]["policies"]

    token = kubernetes.token("issuer", "vault")
    client = hvac.Client(url=server.url, namespace=path)
    client.auth.jwt.jwt_login("r", token, path="jwt-c")
    request = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=i"]
    csr = subprocess.run(request, capture_output=True, text=True, check=True).stdout
    signed = client.write_data(
        "pki/issuer/root-1/sign-intermediate", data={"csr": csr, "common_name": "i", "ttl": "1h"}
    )
    assert "BEGIN CERTIFICATE" in signed["data"]["certificate"]
    with pytest.raises(hvac.exceptions.Forbidden):
        client.read("pki/config/urls")
