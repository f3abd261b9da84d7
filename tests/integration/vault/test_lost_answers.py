# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials when responses of a real Vault or of a real API server are lost.

Each credential that Vault issued is in the Secret and valid, or revoked; otherwise the error names it.
"""

from __future__ import annotations

import base64
import itertools
import urllib.error
from dataclasses import dataclass

import pytest
from breaking_proxy import LOSE_ANSWER, LOSE_REQUEST, BreakingProxy
from kubernetes_server import TOKEN
from server import expect_error

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import secret
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import credential

NUMBERS = itertools.count(1)
CREATE, REVOKE = "auth/token/create", "auth/token/revoke"
CREATE_ID, DESTROY_ID = "role/r/secret-id", "secret-id/destroy"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(credential, "PAUSES", (0.05, 0.05))
    monkeypatch.setattr(secret, "PAUSES", (0.05, 0.05))


@pytest.fixture
def api(kubernetes):
    proxy = BreakingProxy(kubernetes.url)
    yield proxy
    proxy.close()


@dataclass
class Holder:
    """A module that manages a credential, and the state of that credential in Vault and in Kubernetes."""

    run: object
    server: object
    kubernetes: object
    module: str
    options: dict
    key: str
    role: str = ""

    def __call__(self, **more) -> dict:
        return self.run(self.module, **{**self.options, **more})

    @property
    def secret(self) -> str:
        return f"/api/v1/namespaces/default/secrets/{self.options['secret_name']}"

    def stored(self) -> str | None:
        try:
            data = self.kubernetes.call("GET", self.secret).get("data") or {}
        except urllib.error.HTTPError as exc:
            assert exc.code == 404
            return None
        return base64.b64decode(data[self.key]).decode() if self.key in data else None

    def accessors(self) -> set[str]:
        path = f"{self.role}/secret-id" if self.role else "auth/token/accessors"
        return set((self.server.client.list(path) or {"data": {"keys": []}})["data"]["keys"])

    def accessor_of(self, value: str | None) -> str:
        """Empty for a credential that is not valid."""
        if value is None:
            return ""
        name = "secret_id" if self.role else "token"
        path = f"{self.role}/secret-id/lookup" if self.role else "auth/token/lookup"
        answer = self.server.client.adapter.request("post", f"/v1/{path}", json={name: value}, raise_exception=False)
        data = answer["data"] if isinstance(answer, dict) else {}
        return data.get("secret_id_accessor" if self.role else "accessor", "")


@pytest.fixture(params=["vault_token_secret", "vault_approle_secret"])
def holder(request, run, server, kubernetes, vault, api, path):
    options = dict(
        url=vault.url,
        kubernetes={"host": api.url, "api_key": TOKEN},
        secret_namespace="default",
        secret_name=f"credential-{next(NUMBERS)}",
    )
    if request.param == "vault_token_secret":
        yield Holder(run, server, kubernetes, request.param, {**options, "policies": ["signer"], "ttl": "90h"}, "token")
        return
    server.client.sys.enable_auth_method("approle", path=path)
    server.client.auth.approle.create_or_update_approle("r", mount_point=path, secret_id_ttl="90h")
    role = f"auth/{path}/role/r"
    yield Holder(run, server, kubernetes, request.param, {**options, "mount": path, "role": "r"}, "secretId", role)
    server.client.sys.disable_auth_method(path)


def creates(holder: Holder) -> str:
    return CREATE_ID if holder.role else CREATE


def revokes(holder: Holder) -> str:
    return DESTROY_ID if holder.role else REVOKE


def replacing_options(holder: Holder) -> dict:
    """Options that require another credential than the stored one."""
    if not holder.role:
        return {"ttl": "80h"}
    holder.server.client.auth.approle.create_or_update_approle(
        "r", mount_point=holder.options["mount"], secret_id_ttl="190h"
    )
    return {"minimum_ttl": "100h"}


def is_clean(holder: Holder, before: set[str]) -> bool:
    """Whether the credential in the Secret is valid, and the only new one in Vault."""
    now = holder.accessor_of(holder.stored())
    return holder.accessors() - before == ({now} if now else set()) and (not holder.stored() or bool(now))


FAULTS = [LOSE_ANSWER, LOSE_REQUEST, 500, 504]  # 500: the API server, if etcd changes its leader after the change


@pytest.mark.parametrize("fault", FAULTS)
def test_lost_response_to_a_write_is_resolved(holder, api, fault):
    before = holder.accessors()
    api.breaks("POST", "/secrets", fault)
    result = holder()
    assert result.get("action") == "created", result
    assert holder.stored()
    assert is_clean(holder, before)
    assert holder().get("action") == "none"


@pytest.mark.parametrize("fault", FAULTS)
def test_lost_response_to_a_replacement_is_resolved_and_the_old_one_revoked(holder, api, fault):
    before = holder.accessors()
    holder()
    old = holder.stored()
    api.breaks("PUT", "/secrets/", fault)
    result = holder(**replacing_options(holder))
    assert result.get("action") == "replaced", result
    assert holder.stored() != old
    assert not holder.accessor_of(old)
    assert is_clean(holder, before)


def test_persistent_server_error_after_a_change_is_resolved(holder, api):
    before = holder.accessors()
    api.breaks("POST", "/secrets", 500, times=9)
    assert holder().get("action") == "created"
    assert holder.stored()
    assert is_clean(holder, before)


def test_new_credential_is_revoked_after_a_persistent_server_error_without_a_change(holder, api):
    """Such as that of an admission webhook that does not respond."""
    before = holder.accessors()
    holder.options["secret_name"] = "Not_A_Name"  # the real API server rejects it
    api.breaks("POST", "/secrets", 500, times=9)
    expect_error(holder(), "kubernetes_refused", "Not_A_Name")
    assert holder.accessors() == before


def test_new_credential_is_revoked_when_another_client_changes_the_secret(holder, api, kubernetes):
    before = holder.accessors()
    holder()
    old = holder.stored()

    def other() -> None:
        kubernetes.call("PATCH", holder.secret, {"metadata": {"labels": {"by": "another"}}}, MERGE)

    api.breaks("PUT", "/secrets/", LOSE_REQUEST, before=other)
    expect_error(holder(**replacing_options(holder)), "kubernetes_refused", holder.options["secret_name"])
    assert holder.stored() == old
    assert is_clean(holder, before)


MERGE = "application/merge-patch+json"


@pytest.mark.parametrize("fault", [LOSE_ANSWER, LOSE_REQUEST, 500])
def test_unknown_outcome_revokes_nothing_and_names_the_credential(holder, api, fault):
    before = holder.accessors()
    holder()
    old = holder.stored()
    api.breaks("PUT", "/secrets/", fault, after=api.goes_down, before=api.goes_down if fault == LOSE_REQUEST else None)
    result = holder(**replacing_options(holder))
    expect_error(result, "outcome_unknown", holder.options["secret_name"])
    new = holder.accessors() - before - {holder.accessor_of(old)}
    assert {result["accessor"]} == new, "the error names the credential that may be stored"
    assert result["accessor"] in result["msg"]
    assert holder.accessor_of(old), "a client may still use the old one"
    assert holder.accessor_of(holder.stored())


@pytest.mark.parametrize("fault", FAULTS)
def test_lost_response_to_a_creation_leaves_no_credential(holder, vault, fault):
    before = holder.accessors()
    vault.breaks("POST", creates(holder), fault)
    result = holder()
    assert result["failed"]
    assert holder.stored() is None
    assert holder.accessors() == before
    assert holder().get("action") == "created"


@pytest.mark.parametrize("fault", FAULTS)
def test_option_retries_does_not_create_a_second_credential(holder, vault, fault):
    before = holder.accessors()
    vault.breaks("POST", creates(holder), fault)
    result = holder(retries=2)
    assert result["failed"], result
    assert holder.accessors() == before
    assert holder(retries=2).get("action") == "created"
    assert is_clean(holder, before)


def test_created_credential_that_cannot_be_searched_is_named(holder, vault, server):
    create = f"{holder.role}/secret-id" if holder.role else CREATE
    rules = [f'path "{create}" {{ capabilities = ["update"] }}']
    rules += [f'path "{holder.role}" {{ capabilities = ["read"] }}'] if holder.role else []
    server.client.sys.create_or_update_policy("signer", "\n".join(rules))
    token = server.client.auth.token.create(policies=["signer"], ttl="1h")["auth"]["client_token"]
    before = holder.accessors()
    vault.breaks("POST", create, LOSE_ANSWER)
    result = holder(token=token)
    expect_error(result, "answer_lost")
    left = holder.accessors() - before
    assert len(left) == 1
    assert result["left_behind"] in str(described(holder, left.pop()))
    assert result["left_behind"] in result["msg"]


def test_created_credential_that_can_be_listed_but_not_looked_up_is_named(holder, vault, server):
    """The search must not end as if Vault had no such credential."""
    create = f"{holder.role}/secret-id" if holder.role else CREATE
    listed = create if holder.role else "auth/token/accessors"
    rules = [f'path "{create}" {{ capabilities = ["update", "list"] }}']
    rules += [f'path "{listed}" {{ capabilities = ["list", "sudo"] }}'] if not holder.role else []
    rules += [f'path "{holder.role}" {{ capabilities = ["read"] }}'] if holder.role else []
    server.client.sys.create_or_update_policy("signer", "\n".join(rules))
    token = server.client.auth.token.create(policies=["signer"], ttl="1h")["auth"]["client_token"]
    before = holder.accessors()
    vault.breaks("POST", create, LOSE_ANSWER)
    result = holder(token=token)
    lookup = f"{holder.role}/secret-id-accessor/lookup" if holder.role else "auth/token/lookup-accessor"
    expect_error(result, "answer_lost", f"update {lookup}")
    left = holder.accessors() - before
    assert len(left) == 1
    assert result["left_behind"] in str(described(holder, left.pop()))


def described(holder: Holder, accessor: str) -> dict:
    where, name = ("auth/token/lookup-accessor", "accessor")
    if holder.role:
        where, name = (f"{holder.role}/secret-id-accessor/lookup", "secret_id_accessor")
    return holder.server.client.adapter.request("post", f"/v1/{where}", json={name: accessor})


@pytest.mark.parametrize("fault", FAULTS)
def test_lost_response_to_a_revocation_is_retried(holder, api, vault, kubernetes, fault):
    before = holder.accessors()
    vault.breaks("POST", revokes(holder), fault)
    holder()
    result = holder(**replacing_options(holder))
    assert result.get("action") == "replaced", result
    assert is_clean(holder, before)
    vault.breaks("POST", revokes(holder), fault)
    assert holder(state="absent").get("action") == "removed"
    assert holder.stored() is None
    assert holder.accessors() == before


def test_failed_revocation_does_not_hide_the_first_error(holder, api, vault, server):
    before = holder.accessors()
    api.breaks("POST", "/secrets", None, before=lambda: vault.breaks("POST", revokes(holder), LOSE_REQUEST, times=9))
    holder.options["secret_name"] = "Not_A_Name"
    result = holder()
    expect_error(result, "kubernetes_refused", "Not_A_Name")
    left = holder.accessors() - before
    assert {result["left_behind"]} == left
    assert result["left_behind"] in result["msg"]


def test_previous_credential_that_cannot_be_revoked_is_named(holder, vault):
    before = holder.accessors()
    holder()
    old = holder.accessor_of(holder.stored())
    vault.breaks("POST", revokes(holder), LOSE_REQUEST, times=9)
    result = holder(**replacing_options(holder))
    assert result["failed"] and result["left_behind"] == old
    assert old in result["msg"]
    new = holder.accessor_of(holder.stored())
    assert holder.accessors() - before == {old, new}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("others", [{}, {"other": "eA=="}])
def test_lost_response_to_a_removal_is_resolved(holder, api, kubernetes, fault, others):
    before = holder.accessors()
    holder()
    kubernetes.call("PATCH", holder.secret, {"data": others}, MERGE)
    api.breaks("PUT" if others else "DELETE", "/secrets/", fault)
    assert holder(state="absent").get("action") == "removed"
    assert holder.stored() is None
    assert holder.accessors() == before


def test_secret_with_another_new_key_is_not_deleted(holder, api, kubernetes):
    holder()

    def other() -> None:
        kubernetes.call("PATCH", holder.secret, {"data": {"other": "eA=="}}, MERGE)

    api.breaks("DELETE", "/secrets/", None, before=other)
    result = holder(state="absent")
    expect_error(result, "kubernetes_refused")
    assert kubernetes.call("GET", holder.secret)["data"]["other"] == "eA=="
    assert holder(state="absent").get("action") == "removed"
    assert kubernetes.call("GET", holder.secret)["data"] == {"other": "eA=="}


def test_lost_response_to_a_lookup_is_retried(holder, vault):
    before = holder.accessors()
    vault.breaks("POST", "secret-id/lookup" if holder.role else "auth/token/lookup", LOSE_ANSWER)
    assert holder().get("action") == "created"
    assert is_clean(holder, before)
