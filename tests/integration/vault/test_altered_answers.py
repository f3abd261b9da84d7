# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vault modules against altered responses of a real Vault: they exit with a result and without a traceback."""

from __future__ import annotations

import copy

import pytest
from altered_answers import ALTERATIONS
from breaking_proxy import BreakingProxy
from hypothesis import given, settings

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import credential, intermediate, pki

PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
"""
ROLE = dict(key_type="ec", allow_any_name=True, max_ttl="48h")
CA = dict(issuer_name="one", common_name="one.test", ttl="100h")
CLUSTER = dict(issuer="https://127.0.0.1:1", jwks_urls=["https://127.0.0.1:1/keys"], public_keys=[PUBLIC_KEY])
CASES = {
    "existing root": ("vault_pki_root", CA),
    "new root": ("vault_pki_root", {**CA, "issuer_name": "new"}),
    "deleted root": ("vault_pki_root", {**CA, "issuer_name": "two", "state": "absent"}),
    "all issuers": ("vault_pki_issuer_info", {}),
    "settings of an issuer": ("vault_pki_issuer", dict(issuer_name="two", usage=["read-only"], manual_chain=["two"])),
    "deleted issuer": ("vault_pki_issuer", dict(issuer_name="two", state="absent")),
    "intermediate": (
        "vault_pki_intermediate",
        {**CA, "issuer_name": "i", "parent_mount": "{mount}", "mount": "{child}", "ttl": "9h"},
    ),
    "role": ("vault_resource", dict(path="{mount}/roles/r", data=ROLE)),
    "deleted role": ("vault_resource", dict(path="{mount}/roles/r", state="absent")),
    "engine": ("vault_engine", dict(path="{mount}", type="pki", max_lease_ttl="2160h", description="x")),
    "token": ("vault_token_secret", dict(policies=["p"], ttl="9h")),
    "keys of a cluster": ("vault_jwt_config", dict(path="{jwt}", role="r", **CLUSTER)),
    "secret ID": ("vault_approle_secret", dict(mount="{approle}", role="r")),
}


@pytest.fixture
def prepared(server, roots, kube):
    child, approle, jwt = f"{roots}-child", f"{roots}-approle", f"{roots}-jwt"
    server.client.sys.enable_auth_method("jwt", path=jwt)
    server.client.sys.enable_secrets_engine("pki", child, config={"max_lease_ttl": "2160h"})
    server.client.sys.enable_auth_method("approle", path=approle)
    server.client.auth.approle.create_or_update_approle("r", mount_point=approle)
    server.client.write_data(f"{roots}/roles/r", data={**ROLE, "max_ttl": "24h"})
    proxy = BreakingProxy(server.url)
    yield proxy, dict(mount=roots, child=child, approle=approle, jwt=jwt)
    proxy.close()
    server.client.sys.disable_secrets_engine(child)
    server.client.sys.disable_auth_method(approle)
    server.client.sys.disable_auth_method(jwt)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_module_exits_with_a_result_after_any_response(run, kube, prepared, monkeypatch, case, check):
    proxy, names = prepared
    module, options = CASES[case]
    options = {name: value.format(**names) if isinstance(value, str) else value for name, value in options.items()}
    if module.startswith("vault_pki"):
        options = {"mount": names["mount"], **options}
    if module.endswith("_secret"):
        options |= dict(kubernetes={"host": kube.url, "api_key": "x"}, secret_namespace="cert-manager", secret_name="s")
    for where in (credential, pki):
        monkeypatch.setattr(where, "PAUSES", ())
    monkeypatch.setattr(intermediate, "GRACE", 0)

    @settings(max_examples=settings().max_examples // 20)
    @given(ALTERATIONS)
    def attempt(alteration):
        proxy.alter = copy.deepcopy(alteration)
        result = run(module, check=check, url=proxy.url, **options)
        if result.get("failed"):
            assert result["msg"].strip() and result["code"]
            assert "Traceback" not in result["msg"]
        else:
            assert isinstance(result["changed"], bool)

    attempt()
