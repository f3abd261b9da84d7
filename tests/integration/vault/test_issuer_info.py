# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_pki_issuer_info against a real Vault."""

from __future__ import annotations

from server import expect_error, run_module


def test_issuers_are_listed_without_a_token_and_the_default_first(run, mount, server):
    for name in ("a-root", "b-root"):
        run.ok("vault_pki_root", mount=mount, issuer_name=name, common_name=f"{name}.test", ttl="100h")
    run.ok("vault_pki_root", mount=mount, issuer_name="b-root", common_name="b-root.test", ttl="100h", default=True)
    result = run_module("vault_pki_issuer_info", url=server.url, mount=mount)
    assert [issuer["issuer_name"] for issuer in result["issuers"]] == ["b-root", "a-root"]
    assert [issuer["is_default"] for issuer in result["issuers"]] == [True, False]
    first = result["issuers"][0]
    assert (first["common_name"], first["key_type"], first["self_signed"]) == ("b-root.test", "ec", True)
    assert first["certificate"] == server.client.read(f"{mount}/issuer/b-root")["data"]["certificate"].strip() + "\n"
    for reference in ("default", "b-root", first["issuer_id"]):
        assert run_module("vault_pki_issuer_info", url=server.url, mount=mount, issuer=reference)["issuers"] == [first]
    assert run_module("vault_pki_issuer_info", url=server.url, mount=mount, issuer="nobody")["issuers"] == []


def test_empty_mount_has_no_issuers(run, mount, server):
    assert run_module("vault_pki_issuer_info", url=server.url, mount=mount)["issuers"] == []


def test_missing_mount_and_mount_of_another_type(run, path, server):
    options = dict(mount=path, token=server.token, auth_method="token")
    run.error("vault_pki_issuer_info", code="mount_not_found", names=[f"{path}/issuers", server.url], **options)
    server.client.sys.enable_secrets_engine("kv", path, options={"version": "1"})
    run.error("vault_pki_issuer_info", code="engine_type_mismatch", names=[path, "kv", "pki"], **options)
    expect_error(run_module("vault_pki_issuer_info", url=server.url, mount=path), "login_required", f" at {path}:")


def test_engine_that_does_not_exist_is_named_without_a_token(server):
    """Vault itself only asks for a login."""
    found = run_module("vault_pki_issuer_info", url=server.url, mount="nosuch")
    expect_error(found, "login_required", " at nosuch:", "pki_vault_mount")
    assert "auth_method" not in found["msg"]
