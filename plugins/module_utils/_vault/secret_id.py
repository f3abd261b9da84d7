# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secret IDs of AppRole that another client uses. Private to this collection."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.credential import (
    Credential,
    NewCredential,
    is_forbidden,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

MARK = "servicemesh_pki_request"  # in the metadata of a secret ID


class SecretId(Credential):
    kind = "secret_id"
    requested = 0  # seconds, the secret_id_ttl of the role

    @property
    def role(self) -> str:
        return f"auth/{self.params['mount'].strip('/')}/role/{self.params['role']}"

    def check_options(self) -> None:
        name, mount = self.params["role"], self.params["mount"]
        role = self.vault.read(self.role)
        if role is None:
            message = f"The role {name} does not exist in the auth method {mount}. Create it first (vault_resource)."
            raise VaultError(message, code="role_not_found")
        ttl = self.requested = durations.seconds(role.get("secret_id_ttl") or 0)
        if ttl and ttl <= self.minimum:
            raise VaultError(
                f"The role {name} issues secret IDs for {durations.to_text(ttl)} (secret_id_ttl), not more than "
                "minimum_ttl, so every run would replace it. Lower minimum_ttl, or raise secret_id_ttl of the role.",
                code="validity_too_short",
            )

    def look_up(self, value: str) -> dict[str, Any]:
        try:
            return self.vault.request("POST", f"{self.role}/secret-id/lookup", {"secret_id": value}).get("data") or {}
        except VaultError as exc:
            if exc.status == 404 or "does not exist" in exc.reason:  # the role, and with it all its secret IDs
                return {}
            raise

    def expected_facts(self) -> dict[str, Any]:
        return {}

    def facts(self, found: dict[str, Any]) -> dict[str, Any]:
        if not found:
            return {}
        expiry = self.expiry(found)
        return {"expire_time": expiry.isoformat().replace("+00:00", "Z") if expiry else None}

    def expiry(self, found: dict[str, Any]) -> datetime | None:
        """None for a secret ID that does not expire, for which Vault returns Go's zero time."""
        time = datetime.fromisoformat(found["expiration_time"])
        return time.astimezone(UTC).replace(microsecond=0) if time.year > 1 else None

    def differences(self, found: dict[str, Any]) -> drift.Differences:
        expiry = self.expiry(found)
        return self.compare_remaining(int((expiry - datetime.now(UTC)).total_seconds())) if expiry else {}

    def capabilities(self, operation: str) -> list[tuple[str, str]]:
        return [("update", f"{self.role}/secret-id{'/destroy' if operation == 'revoke' else ''}")]

    def create(self, mark: str) -> NewCredential:
        request = {"metadata": json.dumps({MARK: mark})}
        data = self.vault.create_once(f"{self.role}/secret-id", request)["data"]
        return NewCredential(str(data["secret_id"]), str(data["secret_id_accessor"]))

    def check_created(self, found: dict[str, Any]) -> None:
        """Warn if Vault shortened it to the maximum of the auth method, which it does without an error."""
        start, end = (datetime.fromisoformat(found[name]) for name in ("creation_time", "expiration_time"))
        created = round((end - start).total_seconds())
        if 0 < created < self.requested:
            self.vault.module.warn(
                f"Vault issued the secret ID for {durations.to_text(created)}, not {durations.to_text(self.requested)} "
                f"(secret_id_ttl of the role {self.params['role']}), because of the max_lease_ttl of the auth method "
                f"{self.params['mount']}. Lower secret_id_ttl, or raise max_lease_ttl (vault_engine)."
            )

    def revoke(self, value: str) -> None:
        self.vault.request("POST", f"{self.role}/secret-id/destroy", {"secret_id": value})

    def revoke_by_mark(self, mark: str) -> None:
        path, forbidden = f"{self.role}/secret-id-accessor", False
        for accessor in self.vault.list(f"{self.role}/secret-id").get("keys") or []:
            data = {"secret_id_accessor": accessor}
            status, body = self.vault.exchange("POST", f"{path}/lookup", data)
            forbidden = forbidden or is_forbidden(status, body)
            if status == 200 and (body["data"].get("metadata") or {}).get(MARK) == mark:
                self.vault.request("POST", f"{path}/destroy", data)
                return
        if forbidden:
            raise self.vault.permission_error("update", f"{path}/lookup")

    def is_ours(self, found: dict[str, Any]) -> bool:
        """Its metadata contains a mark. Earlier versions of this collection set no metadata."""
        return not found.get("metadata") or self.has_mark(found)

    def has_mark(self, found: dict[str, Any]) -> bool:
        return MARK in (found.get("metadata") or {})

    def accessor(self, found: dict[str, Any]) -> str:
        return str(found.get("secret_id_accessor"))
