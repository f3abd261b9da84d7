# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_engine against a real Vault."""

from __future__ import annotations

import pytest


def test_a_new_engine_four_ways(run, path, server):
    done = run.four_ways("vault_engine", path=path, type="pki", max_lease_ttl="90d", description="Root of the mesh")
    assert done["engine"]["config"]["max_lease_ttl"] == 90 * 86400
    assert done["foretold"]["engine"]["config"]["max_lease_ttl"] == 90 * 86400
    found = server.client.sys.list_mounted_secrets_engines()["data"][f"{path}/"]
    assert (found["type"], found["description"], found["config"]["max_lease_ttl"]) == (
        "pki",
        "Root of the mesh",
        7776000,
    )


def test_settings_change_and_only_what_is_given(run, path):
    run.ok("vault_engine", path=path, type="pki", max_lease_ttl="90d", description="old")
    done = run.four_ways("vault_engine", path=path, type="pki", max_lease_ttl="2400h")
    assert done["differences"] == {"max_lease_ttl": {"wanted": 8640000, "found": 7776000}}
    assert done["engine"]["description"] == "old"
    assert done["foretold"]["engine"] == done["engine"]


def test_the_same_duration_written_otherwise_is_no_change(run, path):
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


def test_an_empty_description_is_taken_away(run, path):
    run.ok("vault_engine", path=path, type="pki", description="old")
    assert run.four_ways("vault_engine", path=path, type="pki", description="")["engine"]["description"] == ""


def test_a_login_method(run, path):
    done = run.four_ways("vault_engine", path=path, kind="auth", type="approle", max_lease_ttl="2h")
    assert done["engine"]["type"] == "approle"
    run.four_ways("vault_engine", path=path, kind="auth", type="approle", state="absent")


def test_absent_four_ways(run, mount, server):
    run.four_ways("vault_engine", path=mount, state="absent")
    assert f"{mount}/" not in server.client.sys.list_mounted_secrets_engines()["data"]


def test_another_type_is_an_error_that_names_both(run, mount, server):
    for state in ("present", "absent"):
        message = run.error("vault_engine", path=mount, type="kv", state=state)
        assert message.startswith(f"At {mount} is an engine of type pki, wanted is kv.")
    assert server.client.sys.list_mounted_secrets_engines()["data"][f"{mount}/"]["type"] == "pki"


def test_what_cannot_be_changed_later_says_so(run, mount):
    message = run.error("vault_engine", path=mount, type="pki", local=True)
    assert message == f"The engine at {mount} cannot be changed so: local: wanted True, found False. Disable it first."


def test_bad_values(run, path):
    message = run.error("vault_engine", path=path, type="pki", max_lease_ttl="soon")
    assert message == "'soon' is not a duration: write it like 48h, 90d, 1h30m, or as seconds."
    message = run.error("vault_engine", path=path, type="nosuch")
    assert message.startswith(f"Vault at {run.server.url} has no engine of type nosuch.")
    message = run.error("vault_engine", path=path, type="pki", max_lease_ttl="1h", default_lease_ttl="2h")
    assert message.startswith(f"The engine at {path} cannot have a default_lease_ttl of 2h with a max_lease_ttl of 1h")


def test_a_path_that_is_not_free(run, mount):
    message = run.error("vault_engine", path=f"{mount}/below", type="kv")
    assert message == (
        f"sys/mounts/{mount}/below is not free in Vault at {run.server.url}: there is an engine at {mount}/. "
        "Choose another path."
    )


def test_inside_another_engine_is_nothing_to_remove(run, mount, server):
    assert not run.ok("vault_engine", path=f"{mount}/below", state="absent")["changed"]
    server.client.sys.enable_secrets_engine("kv", f"{mount}-a/b")
    assert run.error("vault_engine", path=f"{mount}-a", type="kv").startswith(
        f"sys/mounts/{mount}-a is not free in Vault"
    )
    run.four_ways("vault_engine", path=f"{mount}-a/b", state="absent")


def test_the_short_form_of_kv_version_2(run, path):
    done = run.four_ways("vault_engine", path=path, type="kv-v2")
    assert (done["engine"]["type"], done["engine"]["options"]) == ("kv", {"version": "2"})


def test_options_that_are_not_given_are_kept(run, path, server):
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1", "a": "1"})
    assert not run.ok("vault_engine", path=path, type="kv", options={"version": 1})["changed"]
    done = run.four_ways("vault_engine", path=path, type="kv", options={"b": "2"})
    assert done["engine"]["options"] == {"version": "1", "a": "1", "b": "2"}


def test_a_path_is_taken_to_the_letter(run, mount, server):
    run.four_ways("vault_engine", path=f"{mount}#x", type="kv")
    assert f"{mount}#x/" in server.client.sys.list_mounted_secrets_engines()["data"]
    run.four_ways("vault_engine", path=f"{mount}#x", type="kv", state="absent")
    found = server.client.sys.list_mounted_secrets_engines()["data"]
    assert (f"{mount}/" in found, f"{mount}#x/" in found) == (True, False)


def test_a_duration_among_the_other_settings(run, path, server):
    for value in ("90d", "2400h", 8640000):
        run.ok("vault_engine", path=path, type="pki", config={"max_lease_ttl": value})
    found = server.client.sys.list_mounted_secrets_engines()["data"][f"{path}/"]
    assert found["config"]["max_lease_ttl"] == 8640000
    message = run.error("vault_engine", path=path, type="pki", config={"default_lease_ttl": "101d"})
    assert message.startswith(f"The engine at {path} cannot have a default_lease_ttl of 101d")
    message = run.error("vault_engine", path=path, type="pki", config={"max_lease_ttl": "soon"})
    assert message.startswith("'soon' is not a duration")


@pytest.mark.parametrize(
    ("config", "new"),
    [
        ({"listing_visiblity": "unauth"}, True),
        ({"listing_visiblity": "unauth"}, False),
        ({"force_no_cache": True}, False),
    ],
)
def test_a_setting_that_vault_does_not_take_is_a_warning(run, path, server, config, new):
    if not new:
        server.client.sys.enable_secrets_engine("pki", path)
    (name,) = config
    done = run.ok("vault_engine", path=path, type="pki", config=config, description="d")
    assert f"{name}: wanted {config[name]}, found " in str(done["warnings"])
    assert f"does not know {name} at sys/mounts/{path}/tune." in str(done["foretold"]["warnings"])
    assert done["foretold"]["engine"]["config"].get(name) == done["engine"]["config"].get(name)


def test_a_setting_for_a_new_engine_alone(run, path):
    done = run.four_ways("vault_engine", path=path, type="pki", config={"force_no_cache": True})
    assert not done.get("warnings")
    assert not done["foretold"].get("warnings")


def test_versions_of_kv(run, path, server):
    done = run.four_ways("vault_engine", path=path, type="kv-v1")
    assert done["engine"]["options"] == {"version": "1"}
    server.client.write_data(f"{path}/a", data={"b": "c"})  # as only version 1 takes it
    for options in (dict(type="kv"), dict(type="kv", options={"version": 1})):
        assert not run.ok("vault_engine", path=path, **options)["changed"]
    message = run.error("vault_engine", path=path, type="kv-v2", state="absent")
    assert message.startswith(f"At {path} is an engine of type kv-v1, wanted is kv-v2.")
    run.four_ways("vault_engine", path=path, type="kv-v2")
    for options in (dict(type="kv-v1"), dict(type="kv-v1", state="absent"), dict(type="kv", options={"version": "1"})):
        message = run.error("vault_engine", path=path, **options)
        assert message.startswith(f"At {path} is an engine of type kv-v2, wanted is kv-v1.")
    run.four_ways("vault_engine", path=path, type="kv-v2", state="absent")


def test_an_engine_of_kv_that_tells_no_version_is_version_1(run, path, server):
    server.client.sys.enable_secrets_engine("kv", path)
    assert server.client.sys.list_mounted_secrets_engines()["data"][f"{path}/"]["options"] in (None, {})
    assert not run.ok("vault_engine", path=path, type="kv-v1")["changed"]
    assert run.error("vault_engine", path=path, type="kv-v2", state="absent").startswith(f"At {path} is an engine of")
    run.four_ways("vault_engine", path=path, type="kv-v1", state="absent")


@pytest.mark.parametrize(
    ("kind", "path"), [("secret", "sys"), ("secret", "identity"), ("secret", "cubbyhole"), ("auth", "token")]
)
def test_what_vault_never_disables(run, kind, path):
    message = run.error("vault_engine", kind=kind, path=path, state="absent")
    assert message == f"Vault needs the engine at {path} itself and never disables it. Correct the path."


def test_a_longer_maximum_stays_where_it_must_not_be_shortened(run, server, path):
    options = dict(path=path, type="pki", shorten_max_lease_ttl=False)
    assert run.ok("vault_engine", **options, max_lease_ttl="90d")["changed"]
    assert run.ok("vault_engine", **options, max_lease_ttl="3650d")["changed"]
    for shorter in ("90d", "3650d", "0"):
        assert not run.ok("vault_engine", **options, max_lease_ttl=shorter)["changed"]
    engine = server.client.sys.list_mounted_secrets_engines()["data"][f"{path}/"]
    assert engine["config"]["max_lease_ttl"] == 3650 * 86400
    assert run.ok("vault_engine", path=path, type="pki", max_lease_ttl="90d")["changed"]
