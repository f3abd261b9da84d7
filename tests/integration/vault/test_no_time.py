# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations that are no time, and names that are no name: refused before anything is made in a real Vault."""

from __future__ import annotations

import pytest

NO_TIME = ["0", 0, "0s", "500ms", "0.5s", "", "-1h", "x", "9" * 5000]
ROOT = dict(issuer_name="r", common_name="r.test")


def refused(run, name: str, code: str, **arguments) -> str:
    for check in (True, False):
        result = run(name, check=check, **arguments)
        assert result.get("failed"), result
        assert result["code"] == code, result["msg"]
    return result["msg"]


@pytest.mark.parametrize("module", ["vault_pki_root", "vault_pki_intermediate"])
@pytest.mark.parametrize("ttl", NO_TIME)
def test_a_ca_without_a_life(run, server, mount, module, ttl):
    parent = {"parent_mount": "pki-of-nobody"} if module == "vault_pki_intermediate" else {}
    refused(run, module, "invalid_duration", mount=mount, **ROOT, **parent, ttl=ttl)
    assert server.client.list(f"{mount}/issuers") is None


@pytest.mark.parametrize("module", ["vault_pki_root", "vault_pki_intermediate"])
@pytest.mark.parametrize("name", ["", " ", "\t\r\n"])
def test_a_ca_without_a_name(run, server, mount, module, name):
    parent = {"parent_mount": "pki-of-nobody"} if module == "vault_pki_intermediate" else {}
    message = refused(run, module, "invalid_name", mount=mount, **{**ROOT, "common_name": name}, **parent, ttl="1h")
    assert "common_name" in message
    assert server.client.list(f"{mount}/issuers") is None


@pytest.mark.parametrize("end", ["", "x", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_an_end_that_is_no_time(run, server, mount, end):
    result = run("vault_pki_root", mount=mount, **ROOT, not_after=end)
    assert result["failed"] and "not_after" in result["msg"]
    assert server.client.list(f"{mount}/issuers") is None


@pytest.mark.parametrize("option", ["ttl", "period"])
@pytest.mark.parametrize("life", ["0", "500ms", "", "x"])
def test_a_token_without_a_life(run, kube, option, life):
    arguments = dict(kubernetes={"host": kube.url, "api_key": "x"}, secret_namespace="cert-manager", secret_name="t")
    refused(run, "vault_token_secret", "invalid_duration", **arguments, policies=["p"], **{option: life})
    assert kube.secrets == {}


@pytest.mark.parametrize("option", ["max_lease_ttl", "default_lease_ttl"])
def test_a_part_of_a_second_is_not_the_default_of_the_server(run, server, path, option):
    message = refused(run, "vault_engine", "invalid_duration", path=path, type="kv", **{option: "500ms"})
    assert option in message
    assert f"{path}/" not in server.client.sys.list_mounted_secrets_engines()["data"]
    run.four_ways("vault_engine", path=path, type="kv", **{option: "0"})


def test_a_start_that_is_not_dated_back(run, server, mount):
    done = run.four_ways("vault_pki_root", mount=mount, **ROOT, ttl="1h", not_before_duration="0")
    assert not done["differences"]
