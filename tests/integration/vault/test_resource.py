# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_resource against a real Vault."""

from __future__ import annotations

import pytest

POLICY = 'path "pki/root/sign-intermediate" {\n  capabilities = ["update"]\n}\n'


def test_a_policy_four_ways_and_gone_again(run, path, server):
    where = f"sys/policies/acl/{path}"
    done = run.four_ways("vault_resource", path=where, data={"policy": POLICY})
    assert server.client.read(where)["data"]["policy"] == POLICY
    assert done["diff"]["before"] == {}
    assert done["diff"]["after"] == done["foretold"]["diff"]["after"] == {"policy": POLICY}
    run.four_ways("vault_resource", path=where, data={"policy": POLICY.replace("update", "read")})
    run.four_ways("vault_resource", path=where, state="absent")


def test_urls_as_text_or_list_in_any_order(run, mount):
    where = f"{mount}/config/urls"
    run.four_ways("vault_resource", path=where, data={"issuing_certificates": ["http://b.test/ca", "http://a.test/ca"]})
    for same in ("http://a.test/ca,http://b.test/ca", ["http://a.test/ca", "http://b.test/ca"]):
        assert not run.ok("vault_resource", path=where, data={"issuing_certificates": same})["changed"]
    done = run.four_ways("vault_resource", path=where, data={"issuing_certificates": []})
    assert done["data"]["issuing_certificates"] == []


def test_a_role_with_durations(run, mount):
    where, data = f"{mount}/roles/mesh", {"max_ttl": "48h", "allow_any_name": True, "key_type": "ec", "key_bits": 256}
    done = run.four_ways("vault_resource", path=where, data=data)
    assert done["data"]["max_ttl"] == 172800
    assert not run.ok("vault_resource", path=where, data={"max_ttl": "2d", "key_bits": "256"})["changed"]
    done = run.four_ways("vault_resource", path=where, data={**data, "max_ttl": "49h"})
    assert done["differences"] == {"max_ttl": {"wanted": "49h", "found": 172800}}


def test_what_vault_does_not_take_is_a_warning(run, mount):
    done = run.ok("vault_resource", path=f"{mount}/config/urls", data={"issuing_certificate": "http://a.test/ca"})
    assert done["changed"]
    assert "issuing_certificate: wanted http://a.test/ca, found none" in str(done["warnings"])
    assert f"does not know issuing_certificate at {mount}/config/urls." in str(done["foretold"]["warnings"])
    assert done["foretold"]["data"] == done["data"]


def test_a_path_that_takes_any_name(run, server, path):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    done = run.four_ways("vault_resource", path=f"{path}/a", data={"what": "ever"})
    assert "warnings" not in done["foretold"]


def test_secret_data_is_written_and_never_shown(run, server, path):
    server.client.sys.enable_auth_method("userpass", path=path)
    arguments = dict(path=f"auth/{path}/users/u", data={"token_ttl": "1h"}, secret_data={"password": "tr0ub4dor-3"})
    assert "tr0ub4dor-3" not in str(run.four_ways("vault_resource", **arguments))
    server.client.auth.userpass.login("u", "tr0ub4dor-3", mount_point=path)
    server.client.sys.disable_auth_method(path)


@pytest.fixture
def stored(server, path):
    """A secret of kv version 2, in which is more than a task gives."""
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "2"})
    where = f"{path}/data/a"
    server.client.write_data(where, data={"data": {"password": "tr0ub4dor-3", "user": "x", "none": ""}})
    return where


def test_a_deletion_shows_which_names_are_lost_and_not_their_values(run, server, stored):
    done = run.four_ways("vault_resource", path=stored, state="absent")
    assert "tr0ub4dor-3" not in str(done)
    assert done["diff"]["before"]["data"] == {"password": "(not shown)", "user": "(not shown)", "none": ""}


def test_a_deletion_in_kv_version_1_shows_no_values_either(run, server, path):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    server.client.write_data(f"{path}/a", data={"password": "tr0ub4dor-3"})
    done = run.four_ways("vault_resource", path=f"{path}/a", state="absent")
    assert "tr0ub4dor-3" not in str(done)
    assert done["diff"]["before"] == {"password": "(not shown)"}


@pytest.mark.parametrize("data", [{"user": "y"}, {}, {"user": "y", "password": None}])
def test_a_write_shows_no_values_of_names_that_were_not_given(run, stored, data):
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
def test_a_dictionary_inside_of_data_is_compared_as_a_whole_as_vault_replaces_it(run, server, role, claims):
    where, data = role
    done = run.four_ways("vault_resource", path=where, data={**data, "bound_claims": claims, "token_ttl": "20m"})
    assert set(done["differences"]) == {"bound_claims", "token_ttl"}
    assert (server.client.read(where)["data"]["bound_claims"] or {}) == claims


@pytest.fixture
def ssh(server, path):
    """An SSH role that grants a terminal and port forwarding, each by a key without a value."""
    server.client.sys.enable_secrets_engine("ssh", path)
    data = dict(key_type="ca", allow_user_certificates=True)
    server.client.write_data(f"{path}/roles/r", data={**data, "default_extensions": GRANTED})
    return f"{path}/roles/r", data


GRANTED = {"permit-pty": "", "permit-port-forwarding": ""}


@pytest.mark.parametrize("left", [{"permit-pty": ""}, {}])
def test_a_permission_that_leaves_the_description_leaves_vault(run, server, ssh, left):
    where, data = ssh
    done = run.four_ways("vault_resource", path=where, data={**data, "default_extensions": left})
    assert set(done["differences"]) == {"default_extensions"}
    assert set(done["differences"]["default_extensions"]["found"]) == set(GRANTED)
    assert server.client.read(where)["data"]["default_extensions"] == left


def test_a_mapping_that_the_description_does_not_have_is_left_alone(run, server, ssh):
    where, data = ssh
    assert not run.ok("vault_resource", path=where, data=data)["changed"]
    assert server.client.read(where)["data"]["default_extensions"] == GRANTED


def test_an_empty_value_is_stored_where_any_name_is(run, server, path):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    server.client.write_data(f"{path}/a", data={"user": "x"})
    done = run.four_ways("vault_resource", path=f"{path}/a", data={"user": "x", "note": ""})
    assert set(done["differences"]) == {"note"}
    assert server.client.read(f"{path}/a")["data"] == {"user": "x", "note": ""}


@pytest.mark.parametrize("secret", [{"user": "x"}, {"user": "x", "none": ["a", ""]}])
def test_keys_of_a_secret_of_kv_version_2_are_exact(run, server, path, secret):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "2"})
    server.client.write_data(f"{path}/data/a", data={"data": {"user": "x", "none": ""}})
    run.four_ways("vault_resource", path=f"{path}/data/a", data={"data": secret})
    assert server.client.read(f"{path}/data/a")["data"]["data"] == secret


def test_a_claim_that_is_text_is_not_the_list_of_its_parts(run, server, role):
    """Vault compares the claim of a token with the text as a whole."""
    where, data = role
    run.four_ways("vault_resource", path=where, data={**data, "bound_claims": {"team": ["a", "b"]}})
    done = run.four_ways("vault_resource", path=where, data={**data, "bound_claims": {"team": "a,b"}})
    assert set(done["differences"]) == {"bound_claims"}
    assert server.client.read(where)["data"]["bound_claims"] == {"team": "a,b"}


def test_a_secret_of_kv_version_2_is_compared_as_a_whole(run, server, stored):
    done = run.four_ways("vault_resource", path=stored, data={"data": {"user": "x"}})
    assert done["differences"]["data"]["found"] == {"user": "x", "password": "(not shown)", "none": ""}
    assert server.client.read(stored)["data"]["data"] == {"user": "x"}


ODD = ("C# devs", "a?b", "a?list=true", "50%", "a%2fb", "ü", "a+b", "a&b=c;d")


@pytest.mark.parametrize("name", ODD)
def test_a_path_is_taken_to_the_letter(run, server, path, name):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    for other in ("C", "a", "a/b"):
        server.client.write_data(f"{path}/{other}", data={"other": other})
    run.four_ways("vault_resource", path=f"{path}/{name}", data={"v": name})
    assert server.client.list(path)["data"]["keys"] == sorted(["C", "a", "a/", name])
    run.four_ways("vault_resource", path=f"{path}/{name}", state="absent")
    assert server.client.list(path)["data"]["keys"] == ["C", "a", "a/"]


def test_what_a_path_takes_is_asked_for_that_path(run, mount):
    done = run("vault_resource", path=f"{mount}/config/urls", data={"nosuch": "x"}, check=True)
    assert f"does not know nosuch at {mount}/config/urls." in str(done["warnings"])
    done = run("vault_resource", path=f"{mount}/config/urls?a=b", data={"nosuch": "x"}, check=True)
    assert done["failed"], "it is no path of this engine"


def test_refused_value_and_path_of_nothing(run, mount):
    refused = dict(path=f"{mount}/config/urls", data={"issuing_certificates": "gar bage"})
    message = run.error("vault_resource", foreseen=False, **refused)
    assert message.startswith(
        f"Vault refused to update {mount}/config/urls: invalid URL found in Authority Information"
    )
    message = run.error("vault_resource", path="nosuch/config", data={"a": 1})
    assert message.startswith("Nothing is mounted at nosuch/config or above it in Vault at http://127.0.0.1:")
