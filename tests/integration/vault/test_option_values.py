# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that Vault changes or rejects: the module knows it before the request, so a second run changes nothing."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest

SECRET = {"secret_namespace": "cert-manager", "secret_name": "credential"}
ROOT = dict(issuer_name="root-1", common_name="root.test")


@pytest.fixture
def cluster(kube):
    return {"kubernetes": {"host": kube.url, "api_key": "stand-in"}, **SECRET}


def issuers(server, mount: str) -> list[str]:
    return (server.client.list(f"{mount}/issuers") or {"data": {"keys": []}})["data"]["keys"]


def test_values_with_a_comma_and_duplicates(run, mount):
    done = run.four_ways(
        "vault_pki_root", mount=mount, **ROOT, ttl="100h", organization=["Acme, Inc."], ou=["a", "a"],
        street_address=["1 Main St, Suite 5"], alt_names=["a.test", "b.test"], uri_sans=["spiffe://a/b,c"],
    )  # fmt: skip
    show = ["openssl", "x509", "-noout", "-subject", "-nameopt", "sep_multiline,utf8", "-ext", "subjectAltName"]
    text = subprocess.run(show, input=done["issuer"]["certificate"], capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in text.splitlines()]
    assert {"O=Acme, Inc.", "street=1 Main St, Suite 5"} <= set(lines)
    assert lines.count("OU=a") == 1
    for name in ("DNS:a.test", "DNS:b.test", "URI:spiffe://a/b,c"):
        assert name in lines[-1]


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y%m%dT%H%M%SZ", "%Y-%m-%dT%H:%M:%S+00:00"])
def test_iso_8601_formats(run, mount, written):
    end = (datetime.now(UTC) + timedelta(days=20)).strftime(written)
    run.four_ways("vault_pki_root", mount=mount, **ROOT, not_after=end)


@pytest.mark.parametrize(
    ("change", "code", "names"),
    [
        ({"minimum_remaining": "30d"}, "validity_too_short", ["minimum_remaining 30d"]),
        (
            {"permitted_ip_ranges": ["10.1.2.3/8"]},
            "invalid_option",
            ["permitted_ip_ranges", "'10.1.2.3/8'", "10.0.0.0/8."],
        ),
        ({"excluded_ip_ranges": ["10.1.2.3"]}, "invalid_option", ["excluded_ip_ranges", "'10.1.2.3'", "10.1.2.3/32."]),
        ({"permitted_ip_ranges": ["ten"]}, "invalid_option", ["permitted_ip_ranges", "'ten'"]),
    ],
)
def test_invalid_request_is_refused_before_a_root_is_created(run, mount, server, change, code, names):
    end = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    run.error("vault_pki_root", code=code, names=names, mount=mount, **ROOT, not_after=end, **change)
    assert issuers(server, mount) == []


def test_check_mode_predicts_a_path_length_of_0(run, mount):
    done = run.four_ways("vault_pki_root", mount=mount, **ROOT, ttl="100h", max_path_length=0)
    assert (done["predicted"]["issuer"]["path_length"], done["issuer"]["path_length"]) == (0, 0)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"policies": [" Signer"]}, ["default", "signer"]),
        ({"policies": ["default", "signer"], "no_default_policy": True}, ["signer"]),
        ({"policies": ["root"]}, ["root"]),
    ],
)
def test_policies_of_a_token(run, cluster, server, options, found):
    done = run.four_ways("vault_token_secret", **cluster, ttl="100h", **options)
    assert done["facts"]["policies"] == found


def test_empty_policies_are_refused(run, cluster, kube):
    """Vault would grant all policies of the login."""
    options = dict(policies=[], ttl="100h")
    run.error("vault_token_secret", code="invalid_option", names=["policies"], **cluster, **options)
    assert kube.secrets == {}


def test_login_without_the_policy_default_cannot_grant_it(run, cluster, server):
    rules = ['path "auth/token/*" { capabilities = ["create", "update"] }']
    login = server.token_for(*rules, no_default_policy=True)
    policy = server.client.auth.token.lookup(login)["data"]["policies"]
    arguments = {**cluster, "policies": policy, "ttl": "100h", "token": login}
    assert run("vault_token_secret", **arguments)["facts"]["policies"] == policy
    assert run("vault_token_secret", **arguments)["action"] == "none"
    by_root = run("vault_token_secret", check=True, **{**arguments, "token": server.token})
    assert by_root["reasons"] == {"policies": {"expected": sorted(["default", *policy]), "found": policy}}


@pytest.mark.parametrize("options", [{"period": "9000h"}, {}])
def test_token_that_vault_shortens_below_minimum_ttl_is_revoked(run, cluster, kube, server, options):
    before = server.client.list("auth/token/accessors")["data"]["keys"]
    expected = dict(code="validity_too_short", names=["minimum_ttl 1000h"], predicted=False)
    run.error("vault_token_secret", **expected, **cluster, policies=["signer"], minimum_ttl="1000h", **options)
    assert kube.secrets == {}
    assert sorted(server.client.list("auth/token/accessors")["data"]["keys"]) == sorted(before)


def test_secret_id_that_vault_shortens_below_minimum_ttl_is_revoked(run, cluster, kube, server, path):
    server.client.sys.enable_auth_method("approle", path=path)
    server.client.auth.approle.create_or_update_approle("r", mount_point=path, secret_id_ttl="90d")
    expected = dict(code="validity_too_short", names=["minimum_ttl 40d"], predicted=False)
    run.error("vault_approle_secret", **expected, **cluster, mount=path, role="r", minimum_ttl="40d")
    assert kube.secrets == {}
    assert not server.client.list(f"auth/{path}/role/r/secret-id")
    server.client.sys.disable_auth_method(path)


def test_missing_capability_for_the_second_change_prevents_the_first(run, roots, server):
    rules = (f'path "{roots}/issuer/*" {{ capabilities = ["read", "patch"] }}',
             f'path "{roots}/issuers" {{ capabilities = ["list"] }}')  # fmt: skip
    arguments = dict(mount=roots, rename_from="two", issuer_name="renamed", usage=["crl-signing"], default=True)
    expected = dict(code="permission_denied", names=[f"update {roots}/config/issuers"])
    run.error("vault_pki_issuer", **expected, token=server.token_for(*rules), **arguments)
    assert server.client.read(f"{roots}/issuer/two")["data"]["issuer_name"] == "two"


@pytest.mark.parametrize(
    "setting", [{"enable_aia_url_templating": False}, {"revocation_signature_algorithm": "ecdsawithsha384"}]
)
def test_setting_of_an_issuer_is_idempotent(run, roots, setting):
    run("vault_pki_issuer", mount=roots, issuer_name="one", **setting)
    assert not run.ok("vault_pki_issuer", mount=roots, issuer_name="one", **setting)["changed"]


def test_state_revoked_refuses_other_settings(run, roots, server):
    arguments = dict(mount=roots, issuer_name="two", state="revoked")
    others = dict(usage=["crl-signing"], default=True)
    run.error("vault_pki_issuer", code="invalid_option", names=["usage, default"], **arguments, **others)
    run.four_ways("vault_pki_issuer", **arguments)
    default = dict(mount=roots, issuer_name="two", default=True)
    run.error("vault_pki_issuer", code="issuer_revoked", names=[f"two in mount {roots}"], **default)
    assert server.client.read(f"{roots}/issuer/default")["data"]["issuer_name"] == "one"
