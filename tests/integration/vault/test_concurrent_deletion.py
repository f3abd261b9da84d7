# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Issuers, keys and certificates of a real Vault that another client deletes between two requests of a module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from server import expect_error

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import connection

DELETED = (
    "pki issuer id 6d0a1f8e-0000-0000-0000-000000000000 does not exist",
    "unable to find PKI issuer for reference: 6d0a1f8e-0000-0000-0000-000000000000",
)


@pytest.fixture
def meanwhile(monkeypatch) -> Callable:
    """Calls a function once, after the response to a request and before the module reads it."""

    def arrange(method: str, path: str, call: Callable[[], object]) -> None:
        real, pending = connection.Vault.exchange, [call]

        def exchange(vault, *request):
            response = real(vault, *request)
            if request[:2] == (method, path) and pending:
                return pending.pop()() or response
            return response

        monkeypatch.setattr(connection.Vault, "exchange", exchange)

    return arrange


@dataclass
class Root:
    """A root that the test creates without a module."""

    client: Any
    mount: str
    name: str

    def __post_init__(self) -> None:
        data = {"issuer_name": self.name, "common_name": f"{self.name}.test", "ttl": "9h"}
        root = self.client.write_data(f"{self.mount}/issuers/generate/root/internal", data=data)["data"]
        self.issuer_id, self.serial_number = root["issuer_id"], root["serial_number"]

    def delete(self) -> None:
        self.client.delete(f"{self.mount}/issuer/{self.issuer_id}")


@pytest.fixture
def root(server, mount) -> Callable[[str], Root]:
    return functools.partial(Root, server.client, mount)


@pytest.mark.parametrize("reason", DELETED)
def test_list_is_read_again_after_a_deletion(run, mount, root, meanwhile, reason):
    """Vault returned this error in real races. Here a stand-in does, because a race depends on chance."""
    root("stays")
    meanwhile("LIST", f"{mount}/issuers", lambda: (500, {"errors": [reason]}))
    result = run("vault_pki_issuer_info", mount=mount)
    assert [issuer["issuer_name"] for issuer in result["issuers"]] == ["stays"]


def test_list_that_fails_for_another_reason_is_an_error(run, mount, root, meanwhile):
    root("stays")
    meanwhile("LIST", f"{mount}/issuers", lambda: (500, {"errors": ["storage is broken"]}))
    result = run("vault_pki_issuer_info", mount=mount)
    expect_error(result, "vault_failed", f"list {mount}/issuers", "storage is broken")


def test_deleted_issuer_is_not_listed(run, mount, root, meanwhile):
    root("stays")
    meanwhile("LIST", f"{mount}/issuers", root("goes").delete)
    result = run("vault_pki_issuer_info", mount=mount)
    assert [issuer["issuer_name"] for issuer in result["issuers"]] == ["stays"]


def test_deleted_root_is_created(run, mount, root, meanwhile, server):
    meanwhile("LIST", f"{mount}/issuers", root("root-1").delete)
    result = run("vault_pki_root", mount=mount, issuer_name="root-1", common_name="new.test", ttl="8h")
    assert result["changed"]
    assert server.client.read(f"{mount}/issuer/root-1")["data"]["issuer_id"] == result["issuer"]["issuer_id"]


def test_deleted_issuer_cannot_be_changed(run, mount, root, meanwhile):
    root("stays")
    meanwhile("LIST", f"{mount}/issuers", root("goes").delete)
    result = run("vault_pki_issuer", mount=mount, issuer_name="goes", usage=["read-only"])
    expect_error(result, "issuer_not_found", "goes", mount, "stays")


def test_other_issuer_is_deleted_meanwhile(run, mount, root, meanwhile, server):
    root("stays")
    root("removed")
    meanwhile("LIST", f"{mount}/issuers", root("goes").delete)
    assert run("vault_pki_issuer", mount=mount, issuer_name="removed", state="absent")["changed"]
    left = server.client.list(f"{mount}/issuers")["data"]["key_info"].values()
    assert [issuer["issuer_name"] for issuer in left] == ["stays"]


def test_certificate_is_tidied_while_all_are_read(run, mount, root, meanwhile, server):
    """Vault cannot delete a single certificate, so a stand-in returns the response."""
    root("stays")
    removed = root("removed")
    meanwhile("GET", f"{mount}/cert/{removed.serial_number}", lambda: (404, {"errors": []}))
    assert run("vault_pki_issuer", mount=mount, issuer_name="removed", state="absent")["changed"]
