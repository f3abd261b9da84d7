# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Invalid durations and empty names are refused before a real Vault receives a request to create something."""

from __future__ import annotations

import pytest
from server import expect_error

INVALID = ["0", 0, "0s", "500ms", "0.5s", "", "-1h", "x", "9" * 5000]
ROOT = dict(issuer_name="r", common_name="r.test")


@pytest.mark.parametrize("module", ["vault_pki_root", "vault_pki_intermediate"])
@pytest.mark.parametrize("ttl", INVALID)
def test_invalid_ttl_of_a_ca(run, server, mount, module, ttl):
    parent = {"parent_mount": "no-mount"} if module == "vault_pki_intermediate" else {}
    run.error(module, code="invalid_duration", mount=mount, **ROOT, **parent, ttl=ttl)
    assert server.client.list(f"{mount}/issuers") is None


@pytest.mark.parametrize("module", ["vault_pki_root", "vault_pki_intermediate"])
@pytest.mark.parametrize("name", ["", " ", "\t\r\n"])
def test_empty_common_name_of_a_ca(run, server, mount, module, name):
    parent = {"parent_mount": "no-mount"} if module == "vault_pki_intermediate" else {}
    options = {**ROOT, **parent, "common_name": name, "ttl": "1h"}
    run.error(module, code="invalid_name", names=["common_name"], mount=mount, **options)
    assert server.client.list(f"{mount}/issuers") is None


@pytest.mark.parametrize("end", ["", "x", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_invalid_not_after(run, server, mount, end):
    result = run("vault_pki_root", mount=mount, **ROOT, not_after=end)
    expect_error(result, "invalid_option", "not_after")
    assert server.client.list(f"{mount}/issuers") is None


@pytest.mark.parametrize("option", ["ttl", "period"])
@pytest.mark.parametrize("value", ["0", "500ms", "", "x"])
def test_invalid_ttl_of_a_token(run, kube, option, value):
    arguments = dict(kubernetes={"host": kube.url, "api_key": "x"}, secret_namespace="cert-manager", secret_name="t")
    run.error("vault_token_secret", code="invalid_duration", **arguments, policies=["p"], **{option: value})
    assert kube.secrets == {}


@pytest.mark.parametrize("option", ["max_lease_ttl", "default_lease_ttl"])
def test_fraction_of_a_second_does_not_become_the_default(run, server, path, option):
    run.error("vault_engine", code="invalid_duration", names=[option], path=path, type="kv", **{option: "500ms"})
    assert f"{path}/" not in server.client.sys.list_mounted_secrets_engines()["data"]
    run.four_ways("vault_engine", path=path, type="kv", **{option: "0"})


def test_not_before_duration_of_0(run, server, mount):
    done = run.four_ways("vault_pki_root", mount=mount, **ROOT, ttl="1h", not_before_duration="0")
    assert not done["differences"]
