# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vault tokens that another client uses. Private to this collection."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.credential import (
    Credential,
    NewCredential,
    is_forbidden,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

FACTS = ("policies", "renewable", "orphan", "period", "expire_time")


class Token(Credential):
    kind = "token"

    def check_options(self) -> None:
        """Fail for a TTL that Vault would shorten without an error, if the login can read the limit."""
        if not self.params["policies"]:
            raise VaultError(
                "policies is empty, so the token would get all policies of the login. Set at least one policy.",
                code="invalid_option",
            )
        ttl = durations.seconds(self.params["period"] or self.params["ttl"] or 0)
        if ttl and ttl <= self.minimum:
            raise VaultError(
                f"A TTL of {durations.to_text(ttl)} is not more than minimum_ttl, so every run would replace the "
                "token. Raise ttl or period, or lower minimum_ttl.",
                code="validity_too_short",
            )
        if self.params["period"]:
            return
        status, body = self.vault.exchange("GET", "sys/auth/token/tune")
        max_ttl = body.get("max_lease_ttl") or 0 if status == 200 and isinstance(body, dict) else 0
        if max_ttl and ttl > max_ttl:
            raise too_long(ttl, max_ttl)

    def look_up(self, value: str) -> dict[str, Any]:
        try:
            return dict(self.vault.request("POST", "auth/token/lookup", {"token": value})["data"])
        except VaultError as exc:
            if "bad token" in exc.reason or "invalid token" in exc.reason:
                return {}
            raise

    def expected_facts(self) -> dict[str, Any]:
        return {
            "policies": sorted(self.policies()),
            "renewable": self.params["renewable"],
            "orphan": self.params["no_parent"],
            "period": durations.seconds(self.params["period"] or 0),
        }

    def policies(self) -> set[str]:
        """The policies as Vault stores them: in lower case, with `default` unless it is excluded.

        A root token has no other policy.
        """
        named = {name.strip().lower() for name in self.params["policies"]}
        if named == {"root"}:
            return named
        return named - {"default"} if self.params["no_default_policy"] else named | {"default"}

    def can_grant_default(self) -> bool:
        """Whether the login can grant the policy `default`: without sudo, it grants only policies that it has."""
        status, body = self.vault.exchange("GET", "auth/token/lookup-self")
        return status == 200 and bool({"root", "default"} & set(body["data"]["policies"]))

    def facts(self, found: dict[str, Any]) -> dict[str, Any]:
        return {**drift.select(found, FACTS), "period": found.get("period") or 0} if found else {}

    def differences(self, found: dict[str, Any]) -> drift.Differences:
        differing = drift.differences(self.expected_facts(), self.facts(found))
        missing = self.policies() - set(found.get("policies") or [])
        if "policies" in differing and missing == {"default"} and not self.can_grant_default():
            del differing["policies"]
        if found.get("expire_time"):
            differing |= self.compare_remaining(found.get("ttl") or 0)
        requested, created = durations.seconds(self.params["ttl"] or 0), found.get("creation_ttl") or 0
        if requested and not self.params["period"] and abs(created - requested) > 1:
            found_ttl = durations.to_text(created) if created else "unlimited"
            differing["ttl"] = {"expected": durations.to_text(requested), "found": found_ttl}
        return differing

    def capabilities(self, operation: str) -> list[tuple[str, str]]:
        sudo = operation == "create" and (self.params["period"] or self.params["no_parent"])
        return [(capability, f"auth/token/{operation}") for capability in ("update", *(["sudo"] if sudo else []))]

    def create(self, mark: str) -> NewCredential:
        params = self.params
        data = {name: params[name] for name in ("policies", "renewable", "no_parent", "no_default_policy")}
        data |= {name: f"{durations.seconds(params[name])}s" for name in ("ttl", "period") if params[name]}
        data["display_name"] = f"{params['secret_name']}-{mark}"
        auth = self.vault.create_once("auth/token/create", data)["auth"]
        return NewCredential(str(auth["client_token"]), str(auth["accessor"]))

    def check_created(self, found: dict[str, Any]) -> None:
        requested, created = durations.seconds(self.params["ttl"] or 0), found.get("creation_ttl") or 0
        if not self.params["period"] and 0 < created < requested:
            raise too_long(requested, created)

    def revoke(self, value: str) -> None:
        self.vault.request("POST", "auth/token/revoke", {"token": value})

    def revoke_by_mark(self, mark: str) -> None:
        """Vault cannot search by display name, so the login must be able to list and look up all accessors."""
        path, forbidden = "auth/token/lookup-accessor", False
        for accessor in self.vault.list("auth/token/accessors").get("keys") or []:
            status, body = self.vault.exchange("POST", path, {"accessor": accessor})
            forbidden = forbidden or is_forbidden(status, body)
            if status == 200 and str(body["data"].get("display_name")).endswith(f"-{mark}"):
                self.vault.request("POST", "auth/token/revoke-accessor", {"accessor": accessor})
                return
        if forbidden:
            raise self.vault.permission_error("update", path)

    def is_ours(self, found: dict[str, Any]) -> bool:
        """Its display name is that of create(), as Vault stores it. Earlier versions of this collection set no mark."""
        return found.get("display_name") == self.display_name or self.has_mark(found)

    def has_mark(self, found: dict[str, Any]) -> bool:
        return bool(re.fullmatch(f"{self.display_name}-[0-9a-f]{{16}}", found.get("display_name") or ""))

    @property
    def display_name(self) -> str:
        """The display name without the mark, as Vault stores it."""
        return "token-" + re.sub("[^a-zA-Z0-9-]", "-", self.params["secret_name"])

    def accessor(self, found: dict[str, Any]) -> str:
        return str(found.get("accessor"))

    def can_renew(self, found: dict[str, Any]) -> bool:
        return bool(found.get("period") and found.get("renewable"))

    def renew(self, value: str) -> None:
        self.vault.request("POST", "auth/token/renew", {"token": value})


def too_long(requested: int, limit: int) -> VaultError:
    return VaultError(
        f"Vault issues tokens for at most {durations.to_text(limit)}, requested is ttl {durations.to_text(requested)}. "
        "Lower ttl, or set period and renew the token.",
        code="validity_too_long",
    )
