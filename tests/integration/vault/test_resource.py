# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_resource against a real Vault."""

from __future__ import annotations

import pytest

POLICY = 'path "pki/root/sign-intermediate" {\n  capabilities = ["update"]\n}\n'


def test_policy_is_created_changed_and_removed(run, path, server):
    where = f"sys/policies/acl/{path}"
    done = run.four_ways("vault_resource", path=where, data={"policy": POLICY})
    assert server.client.read(where)["data"]["policy"] == POLICY
    assert done["diff"]["before"] == {}
    assert done["diff"]["after"] == done["predicted"]["diff"]["after"] == {"policy": POLICY}
    run.four_ways("vault_resource", path=where, data={"policy": POLICY.replace("update", "read")})
    run.four_ways("vault_resource", path=where, state="absent")


def test_urls_as_string_or_list_in_any_order(run, mount):
    where = f"{mount}/config/urls"
    run.four_ways("vault_resource", path=where, data={"issuing_certificates": ["http://b.test/ca", "http://a.test/ca"]})
    for same in ("http://a.test/ca,http://b.test/ca", ["http://a.test/ca", "http://b.test/ca"]):
        assert not run.ok("vault_resource", path=where, data={"issuing_certificates": same})["changed"]
    done = run.four_ways("vault_resource", path=where, data={"issuing_certificates": []})
    assert done["data"]["issuing_certificates"] == []


def test_role_with_durations(run, mount):
    where, data = f"{mount}/roles/mesh", {"max_ttl": "48h", "allow_any_name": True, "key_type": "ec", "key_bits": 256}
    done = run.four_ways("vault_resource", path=where, data=data)
    assert done["data"]["max_ttl"] == 172800
    assert not run.ok("vault_resource", path=where, data={"max_ttl": "2d", "key_bits": "256"})["changed"]
    done = run.four_ways("vault_resource", path=where, data={**data, "max_ttl": "49h"})
    assert done["differences"] == {"max_ttl": {"expected": "49h", "found": 172800}}


def test_ignored_name_is_a_warning(run, mount):
    done = run.ok("vault_resource", path=f"{mount}/config/urls", data={"issuing_certificate": "http://a.test/ca"})
    assert done["changed"]
    assert "issuing_certificate is none, expected http://a.test/ca" in str(done["warnings"])
    assert f"issuing_certificate at {mount}/config/urls" in str(done["predicted"]["warnings"])
    assert done["predicted"]["data"] == done["data"]


def test_path_that_stores_any_name(run, server, path):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    done = run.four_ways("vault_resource", path=f"{path}/a", data={"what": "ever"})
    assert "warnings" not in done["predicted"]


def test_secret_data_is_written_and_not_shown(run, server, path):
    server.client.sys.enable_auth_method("userpass", path=path)
    arguments = dict(path=f"auth/{path}/users/u", data={"token_ttl": "1h"}, secret_data={"password": "tr0ub4dor-3"})
    assert "tr0ub4dor-3" not in str(run.four_ways("vault_resource", **arguments))
    server.client.auth.userpass.login("u", "tr0ub4dor-3", mount_point=path)
    server.client.sys.disable_auth_method(path)


@pytest.fixture
def stored(server, path):
    """A secret of kv version 2 with more names than the tasks give."""
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "2"})
    where = f"{path}/data/a"
    server.client.write_data(where, data={"data": {"password": "tr0ub4dor-3", "user": "x", "none": ""}})
    return where


def test_deletion_shows_names_and_no_values(run, server, stored):
    done = run.four_ways("vault_resource", path=stored, state="absent")
    assert "tr0ub4dor-3" not in str(done)
    assert done["diff"]["before"]["data"] == {"password": "(not shown)", "user": "(not shown)", "none": ""}


def test_deletion_in_kv_version_1_shows_no_values(run, server, path):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    server.client.write_data(f"{path}/a", data={"password": "tr0ub4dor-3"})
    done = run.four_ways("vault_resource", path=f"{path}/a", state="absent")
    assert "tr0ub4dor-3" not in str(done)
    assert done["diff"]["before"] == {"password": "(not shown)"}


@pytest.mark.parametrize("data", [{"user": "y"}, {}, {"user": "y", "password": None}])
def test_write_shows_no_values_of_other_names(run, stored, data):
    for check in (True, False):
        done = run("vault_resource", path=stored, data={"data": data}, check=check)
        assert "tr0ub4dor-3" not in str((done["diff"], done["differences"], done.get("warnings")))
        assert done["diff"]["before"]["data"]["password"] == "(not shown)"
        assert done["diff"]["before"]["data"]["user"] == ("x" if data else "(not shown)")


@pytest.fixture
def role(server, path):
    """A role of jwt with two claims."""
    server.client.sys.enable_auth_method("jwt", path=path)
    where = f"auth/{path}/role/r"
    data = dict(role_type="jwt", user_claim="sub", bound_audiences=["a"], bound_claims={"team": "mesh", "env": "prod"})
    server.client.write_data(where, data=data)
    yield where, data
    server.client.sys.disable_auth_method(path)


@pytest.mark.parametrize("claims", [{"team": "mesh"}, {}])
def test_dictionary_in_data_is_compared_as_a_whole(run, server, role, claims):
    where, data = role
    done = run.four_ways("vault_resource", path=where, data={**data, "bound_claims": claims, "token_ttl": "20m"})
    assert set(done["differences"]) == {"bound_claims", "token_ttl"}
    assert (server.client.read(where)["data"]["bound_claims"] or {}) == claims


@pytest.fixture
def ssh(server, path):
    """An SSH role that grants two permissions by keys without a value."""
    server.client.sys.enable_secrets_engine("ssh", path)
    data = dict(key_type="ca", allow_user_certificates=True)
    server.client.write_data(f"{path}/roles/r", data={**data, "default_extensions": GRANTED})
    return f"{path}/roles/r", data


GRANTED = {"permit-pty": "", "permit-port-forwarding": ""}


@pytest.mark.parametrize("remaining", [{"permit-pty": ""}, {}])
def test_removed_key_of_a_dictionary_is_removed_in_vault(run, server, ssh, remaining):
    where, data = ssh
    done = run.four_ways("vault_resource", path=where, data={**data, "default_extensions": remaining})
    assert set(done["differences"]) == {"default_extensions"}
    assert set(done["differences"]["default_extensions"]["found"]) == set(GRANTED)
    assert server.client.read(where)["data"]["default_extensions"] == remaining


def test_dictionary_that_is_not_given_does_not_change(run, server, ssh):
    where, data = ssh
    assert not run.ok("vault_resource", path=where, data=data)["changed"]
    assert server.client.read(where)["data"]["default_extensions"] == GRANTED


def test_empty_value_is_stored_in_kv(run, server, path):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    server.client.write_data(f"{path}/a", data={"user": "x"})
    done = run.four_ways("vault_resource", path=f"{path}/a", data={"user": "x", "note": ""})
    assert set(done["differences"]) == {"note"}
    assert server.client.read(f"{path}/a")["data"] == {"user": "x", "note": ""}


@pytest.mark.parametrize("secret", [{"user": "x"}, {"user": "x", "none": ["a", ""]}])
def test_kv_version_2_secret_has_exactly_the_given_keys(run, server, path, secret):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "2"})
    server.client.write_data(f"{path}/data/a", data={"data": {"user": "x", "none": ""}})
    run.four_ways("vault_resource", path=f"{path}/data/a", data={"data": secret})
    assert server.client.read(f"{path}/data/a")["data"]["data"] == secret


def test_string_claim_differs_from_a_list_claim(run, server, role):
    """Vault compares the claim of a token with the whole string."""
    where, data = role
    run.four_ways("vault_resource", path=where, data={**data, "bound_claims": {"team": ["a", "b"]}})
    done = run.four_ways("vault_resource", path=where, data={**data, "bound_claims": {"team": "a,b"}})
    assert set(done["differences"]) == {"bound_claims"}
    assert server.client.read(where)["data"]["bound_claims"] == {"team": "a,b"}


def test_kv_version_2_secret_is_compared_as_a_whole(run, server, stored):
    done = run.four_ways("vault_resource", path=stored, data={"data": {"user": "x"}})
    assert done["differences"]["data"]["found"] == {"user": "x", "password": "(not shown)", "none": ""}
    assert server.client.read(stored)["data"]["data"] == {"user": "x"}


SPECIAL = ("C# devs", "a?b", "a?list=true", "50%", "a%2fb", "ü", "a+b", "a&b=c;d")


@pytest.mark.parametrize("name", SPECIAL)
def test_path_with_special_characters(run, server, path, name):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    for other in ("C", "a", "a/b"):
        server.client.write_data(f"{path}/{other}", data={"other": other})
    run.four_ways("vault_resource", path=f"{path}/{name}", data={"v": name})
    assert server.client.list(path)["data"]["keys"] == sorted(["C", "a", "a/", name])
    run.four_ways("vault_resource", path=f"{path}/{name}", state="absent")
    assert server.client.list(path)["data"]["keys"] == ["C", "a", "a/"]


def test_description_is_read_for_the_exact_path(run, mount):
    done = run("vault_resource", path=f"{mount}/config/urls", data={"nosuch": "x"}, check=True)
    assert f"nosuch at {mount}/config/urls" in str(done["warnings"])
    done = run("vault_resource", path=f"{mount}/config/urls?a=b", data={"nosuch": "x"}, check=True)
    assert done["failed"], "the engine does not have this path"


def test_refused_value_and_path_without_engine(run, mount):
    options = dict(path=f"{mount}/config/urls", data={"issuing_certificates": "gar bage"})
    names = [f"update {mount}/config/urls", "gar bage"]
    run.error("vault_resource", code="request_refused", names=names, predicted=False, **options)
    run.error("vault_resource", code="mount_not_found", names=["nosuch/config"], path="nosuch/config", data={"a": 1})
