# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_token_secret against a real Vault. Kubernetes is a stand-in here."""

from __future__ import annotations

import base64
import time

import pytest

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


def alive(server, token: str) -> bool:
    try:
        server.client.auth.token.lookup(token)
    except Exception:
        return False
    return True


def test_a_token_four_ways(run, kube, arguments, server):
    done = run.four_ways("vault_token_secret", **arguments)
    token = token_in(kube)
    found = server.client.auth.token.lookup(token)["data"]
    assert done["action"] == done["foretold"]["action"] == "created"
    assert (found["policies"], found["creation_ttl"], found["renewable"]) == (["default", "signer"], 360000, True)
    assert done["facts"]["policies"] == ["default", "signer"]
    assert token not in str(done)
    assert found["accessor"] not in str(done)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"policies": ["other"]}, {"policies": {"wanted": ["default", "other"], "found": ["default", "signer"]}}),
        ({"no_default_policy": True}, {"policies": {"wanted": ["signer"], "found": ["default", "signer"]}}),
        ({"ttl": "200h"}, {"ttl": {"wanted": "200h", "found": "100h"}}),
        ({"ttl": None, "period": "24h"}, {"period": {"wanted": 86400, "found": 0}}),
        ({"renewable": False}, {"renewable": {"wanted": False, "found": True}}),
        ({"no_parent": True}, {"orphan": {"wanted": True, "found": False}}),
        ({"ttl": "150h", "minimum_ttl": "120h"}, {"ttl", "minimum_ttl"}),
    ],
)
def test_another_wish_replaces_it_and_the_old_one_dies(run, kube, arguments, server, change, reason):
    run.ok("vault_token_secret", **arguments)
    old = token_in(kube)
    kube.secrets[PLACE]["data"]["other"] = "eA=="
    done = run.four_ways("vault_token_secret", **{**arguments, **change})
    assert done["action"] == done["foretold"]["action"] == "replaced"
    assert done["reasons"] == reason or set(done["reasons"]) == reason
    assert not alive(server, old)
    assert alive(server, token_in(kube))
    assert kube.secrets[PLACE]["data"]["other"] == "eA=="
    assert old not in str(done)


def test_a_dead_token_is_replaced(run, kube, arguments, server):
    run.ok("vault_token_secret", **arguments)
    server.client.auth.token.revoke(token_in(kube))
    done = run.four_ways("vault_token_secret", **arguments)
    assert done["reasons"] == {"token": {"wanted": "alive", "found": "expired, revoked or unknown to this Vault"}}


def test_a_periodic_token_is_renewed(run, kube, arguments, server):
    periodic = {**arguments, "ttl": None, "period": "100h"}
    run.ok("vault_token_secret", **periodic)
    token = token_in(kube)
    before = server.client.auth.token.lookup(token)["data"]["expire_time"]
    # Nobody waits 90 hours here, so the least life is all but the whole.
    while server.client.auth.token.lookup(token)["data"]["ttl"] >= 359999:
        time.sleep(0.1)
    done = run("vault_token_secret", **periodic, minimum_ttl="359999s")
    assert done["action"] == "renewed", done
    assert token_in(kube) == token
    assert server.client.auth.token.lookup(token)["data"]["expire_time"] > before
    assert run("vault_token_secret", check=True, **periodic, minimum_ttl="90h")["action"] == "none"


def test_absent_four_ways(run, kube, arguments, server):
    run.ok("vault_token_secret", **arguments)
    token = token_in(kube)
    run.four_ways("vault_token_secret", **arguments, state="absent")
    assert not alive(server, token)
    assert PLACE not in kube.secrets
    assert run.ok("vault_token_secret", **{**arguments, "secret_namespace": "gone"}, state="absent")["action"] == "none"


def test_nothing_stays_behind_when_kubernetes_refuses(run, kube, arguments, server):
    def accessors() -> int:
        return len(server.client.list("auth/token/accessors")["data"]["keys"])

    before = accessors()
    kube.refuse = "POST"
    message = run.error("vault_token_secret", **arguments)
    assert message == "Kubernetes refused to create Secret cert-manager/vault-token: secrets is forbidden."
    assert accessors() == before


def test_bad_luck_before_anything_changed(run, kube, arguments, server):
    message = run.error("vault_token_secret", foreseen=False, **{**arguments, "secret_namespace": "gone"})
    assert message == "Namespace gone does not exist in the cluster. Make it first."
    message = run.error("vault_token_secret", **{**arguments, "ttl": "9000h"})
    assert message == (
        "Vault lets a token live 32d at most, wanted is ttl 375d. Ask for less, or give a period and have it renewed."
    )
    message = run.error("vault_token_secret", **arguments, minimum_ttl="100h")
    assert message == "A token that lives 100h always has less left than minimum_ttl. Ask for a longer ttl."
    limited = server.token_for('path "auth/token/create" { capabilities = ["update"] }')
    kube.secrets[PLACE] = {"metadata": {"resourceVersion": "1"}, "data": {"token": "ZGVhZA=="}}
    message = run.error("vault_token_secret", **arguments, token=limited)
    assert message.startswith("The token may not update auth/token/lookup. A policy for it needs: path")
    kube.stop()
    message = run.error("vault_token_secret", **arguments)
    assert message == (
        f"Kubernetes at {kube.url} cannot be reached: NewConnectionError. Check that the cluster runs, and its address."
    )


@pytest.mark.parametrize(
    ("rights", "change", "missing"),
    [
        ((), {}, ("update", "auth/token/create")),
        (("create",), {"ttl": None, "period": "24h"}, ("sudo", "auth/token/create")),
        (("create",), {"no_parent": True}, ("sudo", "auth/token/create")),
        (("create",), {"ttl": "200h"}, ("update", "auth/token/revoke")),
        ((), {"state": "absent"}, ("update", "auth/token/revoke")),
    ],
)
def test_a_right_is_missing_before_anything_is_done(run, kube, arguments, server, rights, change, missing):
    if "sudo" not in missing:
        run.ok("vault_token_secret", **arguments)
        arguments["policies"] = ["default"] if missing[1].endswith("create") else arguments["policies"]
    before = dict(kube.secrets)
    allowed = [f'path "auth/token/{name}" {{ capabilities = ["update"] }}' for name in ("lookup", *rights)]
    message = run.error("vault_token_secret", **{**arguments, **change}, token=server.token_for(*allowed))
    assert message.startswith(f"The token may not {missing[0]} {missing[1]}. A policy for it needs: path")
    assert kube.secrets == before


@pytest.mark.parametrize(("method", "doing"), [("PUT", "change"), ("DELETE", "delete")])
def test_kubernetes_refuses_in_check_mode_too(run, kube, arguments, server, method, doing):
    run.ok("vault_token_secret", **arguments)
    kube.refuse = method
    change = {"ttl": "200h"} if method == "PUT" else {"state": "absent"}
    result = run("vault_token_secret", check=True, **{**arguments, **change})
    assert result["msg"] == f"Kubernetes refused to {doing} Secret cert-manager/vault-token: secrets is forbidden."
