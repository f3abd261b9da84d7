# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secret ids of AppRole that somebody else uses. Private to this collection."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.credential import Credential, Made
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

MARK = "servicemesh_pki_request"  # in the metadata of a secret id


class SecretId(Credential):
    kind = "secret_id"

    @property
    def role(self) -> str:
        return f"auth/{self.params['mount'].strip('/')}/role/{self.params['role']}"

    def check(self) -> None:
        role = self.vault.read(self.role)
        if role is None:
            raise VaultError(f"There is no role {self.params['role']} in {self.params['mount']}. Make it first.")
        life = durations.seconds(role.get("secret_id_ttl") or 0)
        if life and life <= self.minimum:
            raise VaultError(
                f"A secret id of {self.params['role']} lives {durations.text(life)} (secret_id_ttl), so it always has "
                "less left than minimum_ttl. Ask for a lower minimum_ttl, or give the role a longer secret_id_ttl."
            )

    def look_up(self, value: str) -> dict[str, Any]:
        try:
            return self.vault.request("POST", f"{self.role}/secret-id/lookup", {"secret_id": value}).get("data") or {}
        except VaultError as exc:
            if exc.status == 404 or "does not exist" in exc.reason:  # the role, and with it all its secret ids
                return {}
            raise

    def wanted(self) -> dict[str, Any]:
        return {}

    def facts(self, found: dict[str, Any]) -> dict[str, Any]:
        if not found:
            return {}
        expires = self.expires(found)
        return {"expire_time": expires.isoformat().replace("+00:00", "Z") if expires else None}

    def expires(self, found: dict[str, Any]) -> datetime | None:
        moment = datetime.fromisoformat(found["expiration_time"])
        return moment.astimezone(UTC).replace(microsecond=0) if moment.year > 1 else None

    def differences(self, found: dict[str, Any]) -> drift.Differences:
        expires = self.expires(found)
        return self.short_of_life(int((expires - datetime.now(UTC)).total_seconds())) if expires else {}

    def rights(self, act: str) -> list[tuple[str, str]]:
        return [("update", f"{self.role}/secret-id{'/destroy' if act == 'revoke' else ''}")]

    def create(self, mark: str) -> Made:
        data = {"metadata": json.dumps({MARK: mark})}
        made = self.vault.make(f"{self.role}/secret-id", data)["data"]
        return Made(str(made["secret_id"]), str(made["secret_id_accessor"]))

    def check_new(self, found: dict[str, Any]) -> None:
        """Nothing is requested that Vault could cut."""

    def revoke(self, value: str) -> None:
        self.vault.request("POST", f"{self.role}/secret-id/destroy", {"secret_id": value})

    def discard(self, mark: str) -> None:
        for accessor in self.vault.list(f"{self.role}/secret-id").get("keys") or []:
            by_accessor, which = f"{self.role}/secret-id-accessor", {"secret_id_accessor": accessor}
            status, body = self.vault.exchange("POST", f"{by_accessor}/lookup", which)
            if status == 200 and (body["data"].get("metadata") or {}).get(MARK) == mark:
                self.vault.request("POST", f"{by_accessor}/destroy", which)
                return

    def accessor(self, found: dict[str, Any]) -> str:
        return str(found.get("secret_id_accessor"))
