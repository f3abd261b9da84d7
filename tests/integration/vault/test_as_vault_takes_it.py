# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real Vault makes of a wish is known before it is asked, so that a second run has nothing to do."""

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


def test_values_with_a_comma_and_given_twice(run, mount):
    done = run.four_ways(
        "vault_pki_root", mount=mount, **ROOT, ttl="100h", organization=["Acme, Inc."], ou=["a", "a"],
        street_address=["1 Main St, Suite 5"], alt_names=["a.test", "b.test"], uri_sans=["spiffe://a/b,c"],
    )  # fmt: skip
    show = ["openssl", "x509", "-noout", "-subject", "-nameopt", "sep_multiline,utf8", "-ext", "subjectAltName"]
    told = subprocess.run(show, input=done["issuer"]["certificate"], capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in told.splitlines()]
    assert {"O=Acme, Inc.", "street=1 Main St, Suite 5"} <= set(lines)
    assert lines.count("OU=a") == 1
    for name in ("DNS:a.test", "DNS:b.test", "URI:spiffe://a/b,c"):
        assert name in lines[-1]


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y%m%dT%H%M%SZ", "%Y-%m-%dT%H:%M:%S+00:00"])
def test_a_time_as_iso_8601_writes_it(run, mount, written):
    end = (datetime.now(UTC) + timedelta(days=20)).strftime(written)
    run.four_ways("vault_pki_root", mount=mount, **ROOT, not_after=end)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"minimum_remaining": "30d"}, "is not longer than minimum_remaining 30d"),
        ({"permitted_ip_ranges": ["10.1.2.3/8"]}, "'10.1.2.3/8' is no network. Write it as 10.0.0.0/8."),
        ({"excluded_ip_ranges": ["10.1.2.3"]}, "'10.1.2.3' is no network. Write it as 10.1.2.3/32."),
        ({"permitted_ip_ranges": ["ten"]}, "'ten' is no network."),
    ],
)
def test_what_cannot_be_is_refused_before_a_root_is_made(run, mount, server, change, sentence):
    end = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert sentence in run.error("vault_pki_root", mount=mount, **ROOT, not_after=end, **change)
    assert issuers(server, mount) == []


def test_a_path_length_of_0_is_foretold(run, mount):
    done = run.four_ways("vault_pki_root", mount=mount, **ROOT, ttl="100h", max_path_length=0)
    assert (done["foretold"]["issuer"]["path_length"], done["issuer"]["path_length"]) == (0, 0)


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ({"policies": [" Signer"]}, ["default", "signer"]),
        ({"policies": ["default", "signer"], "no_default_policy": True}, ["signer"]),
        ({"policies": ["root"]}, ["root"]),
    ],
)
def test_policies_of_a_token(run, cluster, server, wish, found):
    done = run.four_ways("vault_token_secret", **cluster, ttl="100h", **wish)
    assert done["facts"]["policies"] == found


def test_no_policy_at_all_would_be_every_policy_of_the_login(run, cluster, kube):
    message = run.error("vault_token_secret", **cluster, policies=[], ttl="100h")
    assert message == "policies is empty, so Vault would give all those of the login. Name at least one."
    assert kube.secrets == {}


def test_a_login_without_the_policy_default_cannot_give_it(run, cluster, server):
    rules = ['path "auth/token/*" { capabilities = ["create", "update"] }']
    login = server.token_for(*rules, no_default_policy=True)
    policy = server.client.auth.token.lookup(login)["data"]["policies"]
    arguments = {**cluster, "policies": policy, "ttl": "100h", "token": login}
    assert run("vault_token_secret", **arguments)["facts"]["policies"] == policy
    assert run("vault_token_secret", **arguments)["action"] == "none"
    by_root = run("vault_token_secret", check=True, **{**arguments, "token": server.token})
    assert by_root["reasons"] == {"policies": {"wanted": sorted(["default", *policy]), "found": policy}}


@pytest.mark.parametrize("wish", [{"period": "9000h"}, {}])
def test_a_token_that_vault_cuts_below_the_least_life_is_not_kept(run, cluster, kube, server, wish):
    before = server.client.list("auth/token/accessors")["data"]["keys"]
    message = run.error(
        "vault_token_secret", foreseen=False, **cluster, policies=["signer"], minimum_ttl="1000h", **wish
    )
    assert "only, less than minimum_ttl 1000h, so every run would replace it" in message
    assert kube.secrets == {}
    assert sorted(server.client.list("auth/token/accessors")["data"]["keys"]) == sorted(before)


def test_a_secret_id_that_vault_cuts_below_the_least_life_is_not_kept(run, cluster, kube, server, path):
    server.client.sys.enable_auth_method("approle", path=path)
    server.client.auth.approle.create_or_update_approle("r", mount_point=path, secret_id_ttl="90d")
    message = run.error("vault_approle_secret", foreseen=False, **cluster, mount=path, role="r", minimum_ttl="40d")
    assert "less than minimum_ttl 40d" in message
    assert kube.secrets == {}
    assert not server.client.list(f"auth/{path}/role/r/secret-id")
    server.client.sys.disable_auth_method(path)


def test_a_right_that_is_missing_for_the_half_is_told_before_any_of_it(run, roots, server):
    rules = (f'path "{roots}/issuer/*" {{ capabilities = ["read", "patch"] }}',
             f'path "{roots}/issuers" {{ capabilities = ["list"] }}')  # fmt: skip
    arguments = dict(mount=roots, rename_from="two", issuer_name="renamed", usage=["crl-signing"], default=True)
    message = run.error("vault_pki_issuer", token=server.token_for(*rules), **arguments)
    assert f"may not update {roots}/config/issuers" in message
    assert server.client.read(f"{roots}/issuer/two")["data"]["issuer_name"] == "two"


@pytest.mark.parametrize(
    "setting", [{"enable_aia_url_templating": False}, {"revocation_signature_algorithm": "ecdsawithsha384"}]
)
def test_a_setting_of_an_issuer_settles(run, roots, setting):
    run("vault_pki_issuer", mount=roots, issuer_name="one", **setting)
    assert not run.ok("vault_pki_issuer", mount=roots, issuer_name="one", **setting)["changed"]


def test_with_state_revoked_nothing_else_is_asked_for(run, roots, server):
    arguments = dict(mount=roots, issuer_name="two", state="revoked")
    message = run.error("vault_pki_issuer", **arguments, usage=["crl-signing"], default=True)
    assert message == "With state revoked nothing else is changed. Nothing was revoked. Leave out usage, default."
    run.four_ways("vault_pki_issuer", **arguments)
    message = run.error("vault_pki_issuer", mount=roots, issuer_name="two", default=True)
    assert message == f"Issuer two of {roots} is revoked, so it cannot be the default one. Name another."
    assert server.client.read(f"{roots}/issuer/default")["data"]["issuer_name"] == "one"
