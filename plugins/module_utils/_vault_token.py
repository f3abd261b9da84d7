# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of Vault that somebody else uses. Private to this collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils import _diff, _duration
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_connection import Vault
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_errors import VaultError

FACTS = ("policies", "renewable", "orphan", "period", "expire_time")


def look_up(vault: Vault, token: str | None) -> dict[str, Any]:
    """What Vault knows of a token, empty when it is not alive."""
    if not token:
        return {}
    try:
        return vault.request("POST", "auth/token/lookup", {"token": token})["data"]
    except VaultError as exc:
        if "bad token" in exc.said or "invalid token" in exc.said:
            return {}
        raise


def wanted(params: dict[str, Any]) -> dict[str, Any]:
    policies = set(params["policies"]) | (set() if params["no_default_policy"] else {"default"})
    return {
        "policies": sorted(policies),
        "renewable": params["renewable"],
        "orphan": params["no_parent"],
        "period": _duration.seconds(params["period"] or 0),
    }


def facts(found: dict[str, Any]) -> dict[str, Any]:
    """What may be told of a token."""
    return {**_diff.view(found, FACTS), "period": found.get("period") or 0} if found else {}


def differences(params: dict[str, Any], found: dict[str, Any]) -> _diff.Differences:
    """Why a living token must be replaced; too little life left is `minimum_ttl`."""
    differing = _diff.differences(wanted(params), facts(found))
    expires, left = found.get("expire_time"), found.get("ttl") or 0
    minimum = _duration.seconds(params["minimum_ttl"])
    if expires and left < minimum:
        differing["minimum_ttl"] = {"wanted": _duration.text(minimum), "found": _duration.text(left)}
    life, asked = found.get("creation_ttl") or 0, _duration.seconds(params["ttl"] or 0)
    if asked and not params["period"] and abs(life - asked) > 1:
        differing["ttl"] = {"wanted": _duration.text(asked), "found": _duration.text(life) if life else "for ever"}
    return differing


def check_life(vault: Vault, params: dict[str, Any]) -> None:
    """Vault cuts the life of a token without an error, so it is refused before, where the login may know the limit."""
    asked = _duration.seconds(params["period"] or params["ttl"] or 0)
    minimum = _duration.seconds(params["minimum_ttl"])
    if asked and asked <= minimum:
        raise VaultError(f"A token that lives {_duration.text(asked)} always has less left than minimum_ttl.")
    if params["period"]:
        return
    status, body = vault.exchange("GET", "sys/auth/token/tune")
    longest = body.get("max_lease_ttl") or 0 if status == 200 and isinstance(body, dict) else 0
    if longest and asked > longest:
        raise VaultError(too_long(asked, longest))


def too_long(asked: int, given: int) -> str:
    return (
        f"Vault lets a token live {_duration.text(given)} at most, wanted is ttl {_duration.text(asked)}. "
        "Ask for less, or give a period and have it renewed."
    )


def create(vault: Vault, params: dict[str, Any]) -> dict[str, Any]:
    data = {name: params[name] for name in ("policies", "renewable", "no_parent", "no_default_policy")}
    data |= {name: f"{_duration.seconds(params[name])}s" for name in ("ttl", "period") if params[name]}
    made = vault.request("POST", "auth/token/create", {**data, "display_name": params["secret_name"]})["auth"]
    asked = _duration.seconds(params["ttl"] or 0)
    if not params["period"] and made["lease_duration"] < asked:
        revoke(vault, made["client_token"])
        raise VaultError(too_long(asked, made["lease_duration"]))
    return made


def revoke(vault: Vault, token: str) -> None:
    vault.request("POST", "auth/token/revoke", {"token": token})


def renew(vault: Vault, token: str) -> None:
    vault.request("POST", "auth/token/renew", {"token": token})
