# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Issuers, keys and certificates that somebody else deletes between two requests of ours, in a real Vault."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import connection

GONE = ("pki issuer id 6d0a1f8e-0000-0000-0000-000000000000 does not exist",
        "unable to find PKI issuer for reference: 6d0a1f8e-0000-0000-0000-000000000000")  # fmt: skip


@pytest.fixture
def meanwhile(monkeypatch) -> Callable:
    """Lets something happen once, when an answer to a certain request has come and nobody has read it."""

    def arrange(method: str, path: str, happens: Callable[[], object]) -> None:
        real, waiting = connection.Vault.exchange, [happens]

        def exchange(vault, asked, at, *arguments):
            answer = real(vault, asked, at, *arguments)
            if (asked, at) == (method, path) and waiting:
                return waiting.pop()() or answer
            return answer

        monkeypatch.setattr(connection.Vault, "exchange", exchange)

    return arrange


@dataclass
class Root:
    """One that was made by hand."""

    client: Any
    mount: str
    name: str

    def __post_init__(self) -> None:
        data = {"issuer_name": self.name, "common_name": f"{self.name}.test", "ttl": "9h"}
        made = self.client.write_data(f"{self.mount}/issuers/generate/root/internal", data=data)["data"]
        self.issuer_id, self.serial_number = made["issuer_id"], made["serial_number"]

    def delete(self) -> None:
        self.client.delete(f"{self.mount}/issuer/{self.issuer_id}")


@pytest.fixture
def root(server, mount) -> Callable[[str], Root]:
    return functools.partial(Root, server.client, mount)


@pytest.mark.parametrize("said", GONE)
def test_a_list_that_fails_for_it_is_asked_for_again(run, mount, root, meanwhile, said):
    """How Vault answers then was seen in real races; here its answer is a stand-in, for chance would decide."""
    root("stays")
    meanwhile("LIST", f"{mount}/issuers", lambda: (500, {"errors": [said]}))
    answer = run("vault_pki_issuer_info", mount=mount)
    assert [issuer["issuer_name"] for issuer in answer["issuers"]] == ["stays"]


def test_a_list_that_fails_for_another_reason_is_not(run, mount, root, meanwhile):
    root("stays")
    meanwhile("LIST", f"{mount}/issuers", lambda: (500, {"errors": ["storage is broken"]}))
    message = run("vault_pki_issuer_info", mount=mount)["msg"]
    assert message.endswith(f"failed to list {mount}/issuers: storage is broken.")


def test_one_of_all_issuers(run, mount, root, meanwhile):
    root("stays")
    meanwhile("LIST", f"{mount}/issuers", root("goes").delete)
    answer = run("vault_pki_issuer_info", mount=mount)
    assert [issuer["issuer_name"] for issuer in answer["issuers"]] == ["stays"]


def test_the_root_that_was_looked_for_is_made_as_if_there_had_been_none(run, mount, root, meanwhile, server):
    meanwhile("LIST", f"{mount}/issuers", root("root-1").delete)
    answer = run("vault_pki_root", mount=mount, issuer_name="root-1", common_name="new.test", ttl="8h")
    assert answer["changed"]
    assert server.client.read(f"{mount}/issuer/root-1")["data"]["issuer_id"] == answer["issuer"]["issuer_id"]


def test_the_issuer_that_settings_are_for(run, mount, root, meanwhile):
    root("stays")
    meanwhile("LIST", f"{mount}/issuers", root("goes").delete)
    message = run("vault_pki_issuer", mount=mount, issuer_name="goes", usage=["read-only"])["msg"]
    assert message == f"There is no issuer goes in {mount}, only: stays. Make it first (vault_pki_root)."


def test_an_issuer_beside_the_one_to_delete(run, mount, root, meanwhile, server):
    root("stays")
    root("removed")
    meanwhile("LIST", f"{mount}/issuers", root("goes").delete)
    assert run("vault_pki_issuer", mount=mount, issuer_name="removed", state="absent")["changed"]
    left = server.client.list(f"{mount}/issuers")["data"]["key_info"].values()
    assert [issuer["issuer_name"] for issuer in left] == ["stays"]


def test_a_certificate_that_is_tidied_up_while_all_are_looked_at(run, mount, root, meanwhile, server):
    """Vault has no way to delete one, so its answer to the question for it is a stand-in."""
    root("stays")
    removed = root("removed")
    meanwhile("GET", f"{mount}/cert/{removed.serial_number}", lambda: (404, {"errors": []}))
    assert run("vault_pki_issuer", mount=mount, issuer_name="removed", state="absent")["changed"]
