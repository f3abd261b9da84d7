# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of Vault that somebody else uses. Private to this collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.credential import Credential, Made
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

FACTS = ("policies", "renewable", "orphan", "period", "expire_time")


class Token(Credential):
    kind = "token"

    def check(self) -> None:
        """Vault cuts the life of a token without an error, so it is refused before, where the login may know."""
        if not self.params["policies"]:
            raise VaultError("policies is empty, so Vault would give all those of the login. Name at least one.")
        asked = durations.seconds(self.params["period"] or self.params["ttl"] or 0)
        if asked and asked <= self.minimum:
            raise VaultError(
                f"A token that lives {durations.text(asked)} always has less left than minimum_ttl. "
                "Ask for a longer ttl."
            )
        if self.params["period"]:
            return
        status, body = self.vault.exchange("GET", "sys/auth/token/tune")
        longest = body.get("max_lease_ttl") or 0 if status == 200 and isinstance(body, dict) else 0
        if longest and asked > longest:
            raise VaultError(too_long(asked, longest))

    def look_up(self, value: str) -> dict[str, Any]:
        try:
            return dict(self.vault.request("POST", "auth/token/lookup", {"token": value})["data"])
        except VaultError as exc:
            if "bad token" in exc.reason or "invalid token" in exc.reason:
                return {}
            raise

    def wanted(self) -> dict[str, Any]:
        return {
            "policies": sorted(self.policies()),
            "renewable": self.params["renewable"],
            "orphan": self.params["no_parent"],
            "period": durations.seconds(self.params["period"] or 0),
        }

    def policies(self) -> set[str]:
        """Vault's names of them. A root token has no other, and only no_default_policy keeps default out."""
        named = {name.strip().lower() for name in self.params["policies"]}
        if named == {"root"}:
            return named
        return named - {"default"} if self.params["no_default_policy"] else named | {"default"}

    def gives_default(self) -> bool:
        """Whether this login can pass on the policy default: without sudo, Vault adds only what it has itself."""
        status, body = self.vault.exchange("GET", "auth/token/lookup-self")
        return status == 200 and bool({"root", "default"} & set(body["data"]["policies"]))

    def facts(self, found: dict[str, Any]) -> dict[str, Any]:
        return {**drift.view(found, FACTS), "period": found.get("period") or 0} if found else {}

    def differences(self, found: dict[str, Any]) -> drift.Differences:
        differing = drift.differences(self.wanted(), self.facts(found))
        lacking = self.policies() - set(found.get("policies") or [])
        if "policies" in differing and lacking == {"default"} and not self.gives_default():
            del differing["policies"]
        if found.get("expire_time"):
            differing |= self.short_of_life(found.get("ttl") or 0)
        life, asked = found.get("creation_ttl") or 0, durations.seconds(self.params["ttl"] or 0)
        if asked and not self.params["period"] and abs(life - asked) > 1:
            differing["ttl"] = {"wanted": durations.text(asked), "found": durations.text(life) if life else "for ever"}
        return differing

    def rights(self, act: str) -> list[tuple[str, str]]:
        strong = act == "create" and (self.params["period"] or self.params["no_parent"])
        return [(right, f"auth/token/{act}") for right in ("update", *(["sudo"] if strong else []))]

    def create(self, mark: str) -> Made:
        params = self.params
        data = {name: params[name] for name in ("policies", "renewable", "no_parent", "no_default_policy")}
        data |= {name: f"{durations.seconds(params[name])}s" for name in ("ttl", "period") if params[name]}
        data["display_name"] = f"{params['secret_name']}-{mark}"
        made = self.vault.make("auth/token/create", data)["auth"]
        return Made(str(made["client_token"]), str(made["accessor"]))

    def check_new(self, found: dict[str, Any]) -> None:
        asked, life = durations.seconds(self.params["ttl"] or 0), found.get("creation_ttl") or 0
        if not self.params["period"] and 0 < life < asked:
            raise VaultError(too_long(asked, life))

    def revoke(self, value: str) -> None:
        self.vault.request("POST", "auth/token/revoke", {"token": value})

    def discard(self, mark: str) -> None:
        """Vault finds no token by its name, so all are looked at, which takes a login that may list accessors."""
        for accessor in self.vault.list("auth/token/accessors").get("keys") or []:
            status, body = self.vault.exchange("POST", "auth/token/lookup-accessor", {"accessor": accessor})
            if status == 200 and str(body["data"].get("display_name")).endswith(f"-{mark}"):
                self.vault.request("POST", "auth/token/revoke-accessor", {"accessor": accessor})
                return

    def accessor(self, found: dict[str, Any]) -> str:
        return str(found.get("accessor"))

    def can_renew(self, found: dict[str, Any]) -> bool:
        return bool(found.get("period") and found.get("renewable"))

    def renew(self, value: str) -> None:
        self.vault.request("POST", "auth/token/renew", {"token": value})


def too_long(asked: int, given: int) -> str:
    return (
        f"Vault lets a token live {durations.text(given)} at most, wanted is ttl {durations.text(asked)}. "
        "Ask for less, or give a period and have it renewed."
    )
