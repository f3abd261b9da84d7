# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_engine against a real Vault."""

from __future__ import annotations

import re

import pytest


def test_new_engine(run, path, server):
    done = run.four_ways("vault_engine", path=path, type="pki", max_lease_ttl="90d", description="Root of the mesh")
    assert done["engine"]["config"]["max_lease_ttl"] == 90 * 86400
    assert done["predicted"]["engine"]["config"]["max_lease_ttl"] == 90 * 86400
    found = server.client.sys.list_mounted_secrets_engines()["data"][f"{path}/"]
    assert (found["type"], found["description"], found["config"]["max_lease_ttl"]) == (
        "pki",
        "Root of the mesh",
        7776000,
    )


def test_only_given_settings_change(run, path):
    run.ok("vault_engine", path=path, type="pki", max_lease_ttl="90d", description="old")
    done = run.four_ways("vault_engine", path=path, type="pki", max_lease_ttl="2400h")
    assert done["differences"] == {"max_lease_ttl": {"expected": 8640000, "found": 7776000}}
    assert done["engine"]["description"] == "old"
    assert done["predicted"]["engine"] == done["engine"]


def test_equal_duration_in_another_unit_is_no_change(run, path):
    run.ok("vault_engine", path=path, type="pki", max_lease_ttl="90d")
    for same in ("2160h", "7776000", "2159h60m"):
        assert not run.ok("vault_engine", path=path, type="pki", max_lease_ttl=same)["changed"]


def test_default_ttl_config_and_options(run, path):
    done = run.four_ways(
        "vault_engine",
        path=path,
        type="kv",
        default_lease_ttl="1h",
        options={"version": 2},
        config={"listing_visibility": "unauth", "audit_non_hmac_request_keys": ["b", "a"]},
    )
    assert done["engine"]["options"] == {"version": "2"}
    assert done["engine"]["config"]["listing_visibility"] == "unauth"


def test_empty_description_removes_the_description(run, path):
    run.ok("vault_engine", path=path, type="pki", description="old")
    assert run.four_ways("vault_engine", path=path, type="pki", description="")["engine"]["description"] == ""


def test_auth_method(run, path):
    done = run.four_ways("vault_engine", path=path, kind="auth", type="approle", max_lease_ttl="2h")
    assert done["engine"]["type"] == "approle"
    run.four_ways("vault_engine", path=path, kind="auth", type="approle", state="absent")


def test_roles_of_an_auth_method(run, path, server):
    options = dict(path=path, kind="auth", type="approle")
    new = run.ok("vault_engine", **options)
    assert new["roles"] == [] and run.ok("vault_engine", **options)["roles"] == []
    for name in ("b", "a"):
        server.client.auth.approle.create_or_update_approle(name, mount_point=path)
    assert run.ok("vault_engine", **options)["roles"] == ["a", "b"]
    token = server.token_for(f'path "sys/auth/{path}" {{ capabilities = ["read", "sudo"] }}')
    assert run.ok("vault_engine", **options, token=token)["roles"] is None
    assert run.ok("vault_engine", **options, state="absent")["roles"] == ["a", "b"]


def test_auth_method_that_has_no_roles(run, path, server):
    server.client.sys.enable_auth_method("userpass", path=path)
    options = dict(path=path, kind="auth", type="userpass")
    assert run.ok("vault_engine", **options)["roles"] == []
    run.ok("vault_engine", **options, state="absent")


def test_absent(run, mount, server):
    run.four_ways("vault_engine", path=mount, state="absent")
    assert f"{mount}/" not in server.client.sys.list_mounted_secrets_engines()["data"]


def expect_other_type(run, path: str, found: str, expected: str, **options) -> None:
    run.error("vault_engine", code="engine_type_mismatch", names=[path, found, expected], path=path, **options)


def test_engine_of_another_type_is_refused(run, mount, server):
    for state in ("present", "absent"):
        expect_other_type(run, mount, "pki", "kv", type="kv", state=state)
    assert server.client.sys.list_mounted_secrets_engines()["data"][f"{mount}/"]["type"] == "pki"


def test_immutable_setting_is_refused(run, mount):
    result = run.error("vault_engine", code="immutable_setting", names=[mount], path=mount, type="pki", local=True)
    assert result["differences"] == {"local": {"expected": True, "found": False}}


def test_invalid_values(run, path):
    run.error("vault_engine", code="invalid_duration", names=["'soon'"], path=path, type="pki", max_lease_ttl="soon")
    run.error("vault_engine", code="unknown_engine_type", names=["nosuch"], path=path, type="nosuch")
    durations = dict(max_lease_ttl="1h", default_lease_ttl="2h")
    run.error("vault_engine", code="invalid_option", names=[path, "2h", "1h"], path=path, type="pki", **durations)


def test_path_inside_another_engine(run, mount):
    names = [f"sys/mounts/{mount}/below", f"at {mount}/."]
    run.error("vault_engine", code="path_in_use", names=names, path=f"{mount}/below", type="kv")


def test_absent_ignores_a_path_inside_another_engine(run, mount, server):
    assert not run.ok("vault_engine", path=f"{mount}/below", state="absent")["changed"]
    server.client.sys.enable_secrets_engine("kv", f"{mount}-a/b")
    run.error("vault_engine", code="path_in_use", names=[f"sys/mounts/{mount}-a"], path=f"{mount}-a", type="kv")
    run.four_ways("vault_engine", path=f"{mount}-a/b", state="absent")


def test_short_form_of_kv_version_2(run, path):
    done = run.four_ways("vault_engine", path=path, type="kv-v2")
    assert (done["engine"]["type"], done["engine"]["options"]) == ("kv", {"version": "2"})


def test_options_that_are_not_given_do_not_change(run, path, server):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1", "a": "1"})
    assert not run.ok("vault_engine", path=path, type="kv", options={"version": 1})["changed"]
    done = run.four_ways("vault_engine", path=path, type="kv", options={"b": "2"})
    assert done["engine"]["options"] == {"version": "1", "a": "1", "b": "2"}


def test_path_with_special_characters(run, mount, server):
    run.four_ways("vault_engine", path=f"{mount}#x", type="kv")
    assert f"{mount}#x/" in server.client.sys.list_mounted_secrets_engines()["data"]
    run.four_ways("vault_engine", path=f"{mount}#x", type="kv", state="absent")
    found = server.client.sys.list_mounted_secrets_engines()["data"]
    assert (f"{mount}/" in found, f"{mount}#x/" in found) == (True, False)


def test_durations_in_config(run, path, server):
    for value in ("90d", "2400h", 8640000):
        run.ok("vault_engine", path=path, type="pki", config={"max_lease_ttl": value})
    found = server.client.sys.list_mounted_secrets_engines()["data"][f"{path}/"]
    assert found["config"]["max_lease_ttl"] == 8640000
    engine = dict(path=path, type="pki")
    run.error(
        "vault_engine", code="invalid_option", names=[path, "101d"], **engine, config={"default_lease_ttl": "101d"}
    )
    run.error("vault_engine", code="invalid_duration", names=["'soon'"], **engine, config={"max_lease_ttl": "soon"})


@pytest.mark.parametrize(
    ("config", "new"),
    [
        ({"listing_visiblity": "unauth"}, True),
        ({"listing_visiblity": "unauth"}, False),
        ({"force_no_cache": True}, False),
    ],
)
def test_ignored_setting_is_a_warning(run, path, server, config, new):
    if not new:
        server.client.sys.enable_secrets_engine("pki", path)
    (name,) = config
    done = run.ok("vault_engine", path=path, type="pki", config=config, description="d")
    assert re.search(rf"{name} is \w+, expected {config[name]}", str(done["warnings"]))
    assert f"{name} at sys/mounts/{path}/tune" in str(done["predicted"]["warnings"])
    assert done["predicted"]["engine"]["config"].get(name) == done["engine"]["config"].get(name)


def test_setting_of_a_new_engine(run, path):
    done = run.four_ways("vault_engine", path=path, type="pki", config={"force_no_cache": True})
    assert not done.get("warnings")
    assert not done["predicted"].get("warnings")


def test_kv_versions(run, path, server):
    done = run.four_ways("vault_engine", path=path, type="kv-v1")
    assert done["engine"]["options"] == {"version": "1"}
    server.client.write_data(f"{path}/a", data={"b": "c"})  # a path of version 1 only
    for options in (dict(type="kv"), dict(type="kv", options={"version": 1})):
        assert not run.ok("vault_engine", path=path, **options)["changed"]
    expect_other_type(run, path, "kv-v1", "kv-v2", type="kv-v2", state="absent")
    run.four_ways("vault_engine", path=path, type="kv-v2")
    for options in (dict(type="kv-v1"), dict(type="kv-v1", state="absent"), dict(type="kv", options={"version": "1"})):
        expect_other_type(run, path, "kv-v2", "kv-v1", **options)
    run.four_ways("vault_engine", path=path, type="kv-v2", state="absent")


def test_kv_engine_without_version_is_version_1(run, path, server):
    server.client.sys.enable_secrets_engine("kv", path)
    assert server.client.sys.list_mounted_secrets_engines()["data"][f"{path}/"]["options"] in (None, {})
    assert not run.ok("vault_engine", path=path, type="kv-v1")["changed"]
    expect_other_type(run, path, "kv-v1", "kv-v2", type="kv-v2", state="absent")
    run.four_ways("vault_engine", path=path, type="kv-v1", state="absent")


@pytest.mark.parametrize(
    ("kind", "path"), [("secret", "sys"), ("secret", "identity"), ("secret", "cubbyhole"), ("auth", "token")]
)
def test_built_in_engine_cannot_be_disabled(run, kind, path):
    run.error("vault_engine", code="built_in_engine", names=[path], kind=kind, path=path, state="absent")


def test_longer_max_lease_ttl_is_not_shortened(run, server, path):
    options = dict(path=path, type="pki", shorten_max_lease_ttl=False)
    assert run.ok("vault_engine", **options, max_lease_ttl="90d")["changed"]
    assert run.ok("vault_engine", **options, max_lease_ttl="3650d")["changed"]
    for shorter in ("90d", "3650d", "0"):
        assert not run.ok("vault_engine", **options, max_lease_ttl=shorter)["changed"]
    engine = server.client.sys.list_mounted_secrets_engines()["data"][f"{path}/"]
    assert engine["config"]["max_lease_ttl"] == 3650 * 86400
    assert run.ok("vault_engine", path=path, type="pki", max_lease_ttl="90d")["changed"]
