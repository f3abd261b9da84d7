# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_token_secret against a real Vault. Kubernetes is a stand-in here."""

from __future__ import annotations

import base64
import copy
import time

import pytest
from server import expect_error

PLACE = ("cert-manager", "vault-token")


@pytest.fixture
def arguments(kube):
    return dict(
        kubernetes={"host": kube.url, "api_key": "stand-in"},
        secret_namespace=PLACE[0],
        secret_name=PLACE[1],
        policies=["signer"],
        ttl="100h",
    )


def token_in(kube) -> str:
    return base64.b64decode(kube.secrets[PLACE]["data"]["token"]).decode()


def put(kube, token: str, **metadata) -> None:
    """A Secret that was not created by the module."""
    metadata = {"name": PLACE[1], "resourceVersion": "1", **metadata}
    kube.secrets[PLACE] = {"metadata": metadata, "data": {"token": base64.b64encode(token.encode()).decode()}}


def is_valid(server, token: str) -> bool:
    try:
        server.client.auth.token.lookup(token)
    except Exception:
        return False
    return True


def test_new_token(run, kube, arguments, server):
    done = run.four_ways("vault_token_secret", **arguments)
    token = token_in(kube)
    found = server.client.auth.token.lookup(token)["data"]
    assert done["action"] == done["predicted"]["action"] == "created"
    assert (found["policies"], found["creation_ttl"], found["renewable"]) == (["default", "signer"], 360000, True)
    assert done["facts"]["policies"] == ["default", "signer"]
    assert token not in str(done)
    assert found["accessor"] not in str(done)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"policies": ["other"]}, {"policies": {"expected": ["default", "other"], "found": ["default", "signer"]}}),
        ({"no_default_policy": True}, {"policies": {"expected": ["signer"], "found": ["default", "signer"]}}),
        ({"ttl": "200h"}, {"ttl": {"expected": "200h", "found": "100h"}}),
        ({"ttl": None, "period": "24h"}, {"period": {"expected": 86400, "found": 0}}),
        ({"renewable": False}, {"renewable": {"expected": False, "found": True}}),
        ({"no_parent": True}, {"orphan": {"expected": True, "found": False}}),
        ({"ttl": "150h", "minimum_ttl": "120h"}, {"ttl", "minimum_ttl"}),
    ],
)
def test_other_options_replace_and_revoke_the_token(run, kube, arguments, server, change, reason):
    run.ok("vault_token_secret", **arguments)
    old = token_in(kube)
    kube.secrets[PLACE]["data"]["other"] = "eA=="
    done = run.four_ways("vault_token_secret", **{**arguments, **change})
    assert done["action"] == done["predicted"]["action"] == "replaced"
    assert done["reasons"] == reason or set(done["reasons"]) == reason
    assert not is_valid(server, old)
    assert is_valid(server, token_in(kube))
    assert kube.secrets[PLACE]["data"]["other"] == "eA=="
    assert old not in str(done)


def test_revoked_token_is_replaced(run, kube, arguments, server):
    run.ok("vault_token_secret", **arguments)
    server.client.auth.token.revoke(token_in(kube))
    done = run.four_ways("vault_token_secret", **arguments)
    assert set(done["reasons"]) == {"token"}


def test_periodic_token_is_renewed(run, kube, arguments, server):
    periodic = {**arguments, "ttl": None, "period": "100h"}
    run.ok("vault_token_secret", **periodic)
    token = token_in(kube)
    before = server.client.auth.token.lookup(token)["data"]["expire_time"]
    # minimum_ttl is nearly the whole period, so that the test does not wait for 90 hours.
    while server.client.auth.token.lookup(token)["data"]["ttl"] >= 359999:
        time.sleep(0.1)
    done = run("vault_token_secret", **periodic, minimum_ttl="359999s")
    assert done["action"] == "renewed", done
    assert token_in(kube) == token
    assert server.client.auth.token.lookup(token)["data"]["expire_time"] > before
    assert run("vault_token_secret", check=True, **periodic, minimum_ttl="90h")["action"] == "none"


def test_absent(run, kube, arguments, server):
    run.ok("vault_token_secret", **arguments)
    token = token_in(kube)
    run.four_ways("vault_token_secret", **arguments, state="absent")
    assert not is_valid(server, token)
    assert PLACE not in kube.secrets
    assert run.ok("vault_token_secret", **{**arguments, "secret_namespace": "gone"}, state="absent")["action"] == "none"


def test_token_is_revoked_when_kubernetes_refuses(run, kube, arguments, server):
    def accessors() -> int:
        return len(server.client.list("auth/token/accessors")["data"]["keys"])

    before = accessors()
    kube.refuse = "POST"
    names = ["create Secret cert-manager/vault-token", "forbidden"]
    run.error("vault_token_secret", code="kubernetes_refused", names=names, **arguments)
    assert accessors() == before


def test_failures_before_the_first_change(run, kube, arguments, server):
    gone = {**arguments, "secret_namespace": "gone"}
    run.error("vault_token_secret", code="kubernetes_namespace_not_found", names=["gone"], predicted=False, **gone)
    long = {**arguments, "ttl": "9000h"}
    run.error("vault_token_secret", code="validity_too_long", names=["32d", "ttl 375d"], **long)
    names = ["100h", "minimum_ttl"]
    run.error("vault_token_secret", code="validity_too_short", names=names, **arguments, minimum_ttl="100h")
    limited = server.token_for('path "auth/token/create" { capabilities = ["update"] }')
    kube.secrets[PLACE] = {"metadata": {"resourceVersion": "1"}, "data": {"token": "ZGVhZA=="}}
    names = ["update auth/token/lookup", "policy"]
    run.error("vault_token_secret", code="permission_denied", names=names, **arguments, token=limited)
    kube.stop()
    run.error("vault_token_secret", code="unreachable", names=[kube.url, "Kubernetes"], **arguments)


@pytest.mark.parametrize(
    ("operations", "change", "missing"),
    [
        ((), {}, ("update", "auth/token/create")),
        (("create",), {"ttl": None, "period": "24h"}, ("sudo", "auth/token/create")),
        (("create",), {"no_parent": True}, ("sudo", "auth/token/create")),
        (("create",), {"ttl": "200h"}, ("update", "auth/token/revoke")),
        ((), {"state": "absent"}, ("update", "auth/token/revoke")),
    ],
)
def test_missing_capability_prevents_the_first_change(run, kube, arguments, server, operations, change, missing):
    if "sudo" not in missing:
        run.ok("vault_token_secret", **arguments)
        arguments["policies"] = ["default"] if missing[1].endswith("create") else arguments["policies"]
    before = dict(kube.secrets)
    allowed = [f'path "auth/token/{name}" {{ capabilities = ["update"] }}' for name in ("lookup", *operations)]
    options = {**arguments, **change, "token": server.token_for(*allowed)}
    run.error("vault_token_secret", code="permission_denied", names=[" ".join(missing), "policy"], **options)
    assert kube.secrets == before


@pytest.mark.parametrize(("method", "action"), [("PUT", "change"), ("DELETE", "delete")])
def test_check_mode_predicts_a_refusal_of_kubernetes(run, kube, arguments, server, method, action):
    run.ok("vault_token_secret", **arguments)
    kube.refuse = method
    change = {"ttl": "200h"} if method == "PUT" else {"state": "absent"}
    result = run("vault_token_secret", check=True, **{**arguments, **change})
    expect_error(result, "kubernetes_refused", f"{action} Secret cert-manager/vault-token", "forbidden")


@pytest.mark.parametrize("change", [{}, {"state": "absent"}])
def test_token_of_others_is_neither_replaced_nor_revoked(run, kube, arguments, server, change):
    """The name of their token begins with that of the Secret."""
    names = {"policies": ["theirs"], "display_name": "vault-token-of-team-x"}
    theirs = server.client.auth.token.create(**names)["auth"]["client_token"]
    put(kube, theirs)
    before = copy.deepcopy(kube.secrets)
    expected = dict(code="credential_unmanaged", names=["'Secret cert-manager/vault-token' to pki_take_over"])
    result = run.error("vault_token_secret", **expected, **arguments, **change)
    assert theirs not in str(result)
    assert kube.secrets == before and is_valid(server, theirs)
    run.four_ways("vault_token_secret", **arguments, **change, take_over=True)
    assert not is_valid(server, theirs)


def test_token_of_others_that_needs_no_change_is_used(run, kube, arguments, server):
    put(kube, server.client.auth.token.create(policies=["signer"], ttl="100h")["auth"]["client_token"])
    assert run.ok("vault_token_secret", **arguments)["action"] == "none"


def test_token_of_an_earlier_version_is_replaced(run, kube, arguments, server):
    """Up to 0.2.0 its display name had no mark."""
    names = {"policies": ["signer"], "display_name": PLACE[1], "ttl": "50h"}
    old = server.client.auth.token.create(**names)["auth"]["client_token"]
    put(kube, old)
    assert run.four_ways("vault_token_secret", **arguments)["action"] == "replaced"
    assert not is_valid(server, old)


@pytest.mark.parametrize("name", ["a.b-c", "vault-token"])
def test_own_token_is_recognized_by_the_name_that_vault_stores(run, kube, arguments, name):
    arguments["secret_name"] = name
    run.ok("vault_token_secret", **arguments)
    assert run.ok("vault_token_secret", **{**arguments, "ttl": "200h"})["action"] == "replaced"
    assert run.ok("vault_token_secret", **arguments, state="absent")["action"] == "removed"


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"ownerReferences": [{"kind": "ExternalSecret", "name": "login"}]}, "ExternalSecret login"),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
    ],
)
def test_unknown_token_in_a_secret_with_an_owner_is_not_replaced(run, kube, arguments, metadata, owner):
    """It may be a token of another Vault."""
    put(kube, "unknown", **metadata)
    before = copy.deepcopy(kube.secrets)
    run.error("vault_token_secret", code="credential_unmanaged", names=[owner], **arguments)
    assert kube.secrets == before
    assert run.four_ways("vault_token_secret", **arguments, take_over=True)["action"] == "replaced"


OWN = {"app.kubernetes.io/managed-by": "servicemesh.pki"}


def test_secret_with_no_other_content_gets_the_label_of_the_collection(run, kube, arguments):
    def labels(**metadata) -> dict:
        put(kube, "unknown", **metadata)
        run.ok("vault_token_secret", **arguments, take_over=True)
        return kube.secrets[PLACE]["metadata"].get("labels") or {}

    run.ok("vault_token_secret", **arguments)
    assert kube.secrets[PLACE]["metadata"]["labels"] == OWN
    assert labels(labels={"team": "a"}) == {"team": "a", **OWN}
    assert labels(ownerReferences=[{"kind": "ExternalSecret", "name": "login"}]) == {}
    assert labels(labels={"app.kubernetes.io/managed-by": "Helm"}) == {"app.kubernetes.io/managed-by": "Helm"}


def test_secret_with_another_key_gets_no_label(run, kube, arguments):
    put(kube, "unknown")
    kube.secrets[PLACE]["data"]["password"] = "ZGVhZA=="
    run.ok("vault_token_secret", **arguments)
    assert "labels" not in kube.secrets[PLACE]["metadata"]


def test_unknown_token_without_an_owner_is_replaced(run, kube, arguments):
    put(kube, "expired", labels=OWN)
    assert run.four_ways("vault_token_secret", **arguments)["action"] == "replaced"
