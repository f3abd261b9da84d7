# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential of Vault that lives in a Secret of Kubernetes and is seen by nobody. Private to this collection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils import _diff, _duration
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_connection import Vault, hide
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_secret import SecretValue

DEAD = {"wanted": "alive", "found": "expired, revoked or unknown to this Vault"}


class Credential(ABC):
    """One kind of credential. What Vault tells of one is `found`, empty when it is not alive."""

    kind: str

    def __init__(self, vault: Vault, params: dict[str, Any]) -> None:
        self.vault, self.params = vault, params
        self.minimum = _duration.seconds(params["minimum_ttl"])

    @abstractmethod
    def check(self) -> None:
        """A VaultError for a wish that cannot come true, before anything is made."""

    @abstractmethod
    def look_up(self, value: str) -> dict[str, Any]: ...

    @abstractmethod
    def wanted(self) -> dict[str, Any]:
        """What may be told of a new one before there is one."""

    @abstractmethod
    def facts(self, found: dict[str, Any]) -> dict[str, Any]:
        """What may be told of one."""

    @abstractmethod
    def differences(self, found: dict[str, Any]) -> _diff.Differences:
        """Why a living one must be replaced; too little life left is `minimum_ttl`."""

    @abstractmethod
    def rights(self, act: str) -> list[tuple[str, str]]:
        """The capabilities and paths that the login needs to create, revoke or renew."""

    @abstractmethod
    def create(self) -> str: ...

    @abstractmethod
    def revoke(self, value: str) -> None: ...

    def can_renew(self, found: dict[str, Any]) -> bool:
        return False

    def renew(self, value: str) -> None:
        raise NotImplementedError

    def short_of_life(self, left: int) -> _diff.Differences:
        if left >= self.minimum:
            return {}
        return {"minimum_ttl": {"wanted": _duration.text(self.minimum), "found": _duration.text(left)}}


def keep(module: Any, credential: Credential, key: str) -> dict[str, Any]:
    """The body of a module that keeps a credential in a Secret."""
    params = module.params
    secret = SecretValue(params["kubernetes"], params["secret_namespace"], params["secret_name"], key)
    value = secret.read()
    if value:
        hide(module, value)
    do = present if params["state"] == "present" else absent
    return do(module, credential, secret, value)


def decide(credential: Credential, value: str | None, found: dict[str, Any]) -> tuple[str, _diff.Differences]:
    if not value:
        return "created", {}
    if not found:
        return "replaced", {credential.kind: DEAD}
    reasons = credential.differences(found)
    if set(reasons) == {"minimum_ttl"} and credential.can_renew(found):
        return "renewed", reasons
    return ("replaced" if reasons else "none"), reasons


def put(module: Any, credential: Credential, secret: SecretValue) -> dict[str, Any]:
    """What Vault tells of the new one."""
    made = credential.create()
    hide(module, made)
    try:
        found = credential.look_up(made)
        check_life(credential, found)
        secret.write(made)
    except VaultError:
        credential.revoke(made)
        raise
    return found


def check_life(credential: Credential, found: dict[str, Any]) -> None:
    """Vault cuts without a word what is asked for to the max_lease_ttl of the login method or of the server."""
    short = credential.differences(found).get("minimum_ttl")
    if short:
        raise VaultError(
            f"Vault gives a {credential.kind.replace('_', ' ')} a life of {short['found']} only, less than minimum_ttl "
            f"{short['wanted']}, so every run would replace it. The Secret was left as it is. Ask for a lower "
            "minimum_ttl, or raise what limits it: the life asked for, or max_lease_ttl of the login (vault_engine)."
        )


def present(module: Any, credential: Credential, secret: SecretValue, value: str | None) -> dict[str, Any]:
    found = credential.look_up(value) if value else {}
    credential.check()
    check_namespace(module, secret)
    action, reasons = decide(credential, value, found)
    before = after = credential.facts(found)
    if action != "none":
        now = act(module, credential, secret, action, value or "", found)
        known = before if action == "renewed" else credential.wanted()
        foreseen = {**known, "expire_time": None}
        after = foreseen if module.check_mode else credential.facts(now)
    return result(action, reasons, before, after)


def check_namespace(module: Any, secret: SecretValue) -> None:
    """In a check of a fresh cluster it may be one that a real run makes before."""
    if secret.has_namespace():
        return
    missing = f"Namespace {secret.namespace} does not exist in the cluster."
    if not module.check_mode:
        raise VaultError(f"{missing} Make it first.")
    module.warn(f"{missing} A real run needs it.")


def act(
    module: Any, credential: Credential, secret: SecretValue, action: str, value: str, found: dict[str, Any]
) -> dict[str, Any]:
    """What Vault tells afterwards. Fails before anything is made when a right is missing. Check mode goes no further,
    and asks Kubernetes, too."""
    renews, replaces = action == "renewed", retired(credential, value, found)
    acts = ["renew"] if renews else ["create", *(["revoke"] if replaces else [])]
    credential.vault.foresee(*(right for one in acts for right in credential.rights(one)))
    if module.check_mode:
        if not renews and secret.has_namespace():
            secret.write("foreseen", dry_run=True)
        return {}
    if renews:
        credential.renew(value)
        return credential.look_up(value)
    now = put(module, credential, secret)
    if replaces:
        credential.revoke(value)
    return now


def absent(module: Any, credential: Credential, secret: SecretValue, value: str | None) -> dict[str, Any]:
    if not value:
        return result("none", {}, {}, {})
    found = credential.look_up(value)
    if retired(credential, value, found):
        credential.vault.foresee(*credential.rights("revoke"))
        if not module.check_mode:
            credential.revoke(value)
    secret.remove(dry_run=module.check_mode)
    return result("removed", {}, {"in_secret": True, **credential.facts(found)}, {})


def retired(credential: Credential, value: str, found: dict[str, Any]) -> bool:
    """Whether what was replaced is to be revoked: never the login of this very run."""
    return bool(found) and value != credential.vault.client.token


def result(action: str, reasons: _diff.Differences, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    diff = {"before": before, "after": after}
    return dict(changed=action != "none", action=action, reasons=reasons, facts=after, diff=diff)
