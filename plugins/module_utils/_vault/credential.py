# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential of Vault that lives in a Secret of Kubernetes and is seen by nobody. Private to this collection."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ansible.module_utils.api import retry_with_delays_and_condition

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, hide
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.kubernetes_secret import (
    OutcomeUnknownError,
    SecretValue,
)

T = TypeVar("T")
PAUSES = (0.5, 1, 2)  # seconds before Vault is asked again to take a credential back
DEAD = {"wanted": "alive", "found": "expired, revoked or unknown to this Vault"}


@dataclass(frozen=True)
class Made:
    """A new credential. The accessor names it and cannot be used instead of it."""

    value: str
    accessor: str


class Credential(ABC):
    """One kind of credential. What Vault tells of one is `found`, empty when it is not alive."""

    kind: str

    def __init__(self, vault: Vault, params: dict[str, Any]) -> None:
        self.vault, self.params = vault, params
        self.minimum = durations.seconds(params["minimum_ttl"])

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
    def differences(self, found: dict[str, Any]) -> drift.Differences:
        """Why a living one must be replaced; too little life left is `minimum_ttl`."""

    @abstractmethod
    def rights(self, act: str) -> list[tuple[str, str]]:
        """The capabilities and paths that the login needs to create, revoke or renew."""

    @abstractmethod
    def create(self, mark: str) -> Made:
        """Creates one. Vault returns the mark with it, so that it can be found when the answer is lost."""

    @abstractmethod
    def revoke(self, value: str) -> None:
        """Revokes one. Vault reports no error for one that is revoked already."""

    @abstractmethod
    def discard(self, mark: str) -> None:
        """Finds the one with the mark and revokes it. There may be none."""

    @abstractmethod
    def accessor(self, found: dict[str, Any]) -> str:
        """The accessor of one that was looked up."""

    @abstractmethod
    def check_new(self, found: dict[str, Any]) -> None:
        """A VaultError for a new one that is less than what was requested."""

    @property
    def title(self) -> str:
        return self.kind.replace("_", " ")

    def can_renew(self, found: dict[str, Any]) -> bool:
        return False

    def renew(self, value: str) -> None:
        raise NotImplementedError

    def short_of_life(self, left: int) -> drift.Differences:
        if left >= self.minimum:
            return {}
        return {"minimum_ttl": {"wanted": durations.text(self.minimum), "found": durations.text(left)}}


def keep(module: Any, credential: Credential, key: str) -> dict[str, Any]:
    """The body of a module that keeps a credential in a Secret."""
    params = module.params
    secret = SecretValue(params["kubernetes"], params["secret_namespace"], params["secret_name"], key)
    value = secret.read()
    if value:
        hide(module, value)
    do = present if params["state"] == "present" else absent
    return do(module, credential, secret, value)


def decide(credential: Credential, value: str | None, found: dict[str, Any]) -> tuple[str, drift.Differences]:
    if not value:
        return "created", {}
    if not found:
        return "replaced", {credential.kind: DEAD}
    reasons = credential.differences(found)
    if set(reasons) == {"minimum_ttl"} and credential.can_renew(found):
        return "renewed", reasons
    return ("replaced" if reasons else "none"), reasons


def again(call: Callable[[], T]) -> T:
    """What Vault answers, where asking twice does no harm."""
    retry = retry_with_delays_and_condition(PAUSES, lambda exc: isinstance(exc, VaultError) and not_answered(exc))
    answer: T = retry(call)()
    return answer


def not_answered(exc: VaultError) -> bool:
    return exc.lost or exc.code == "unreachable"


def create(credential: Credential) -> Made:
    """A new one. When the answer is lost, Vault may have one that nobody has: it is looked for and revoked."""
    mark = secrets.token_hex(8)
    try:
        return credential.create(mark)
    except VaultError as exc:
        if exc.lost:
            try:
                again(lambda: credential.discard(mark))
            except VaultError as second:
                exc.add(
                    f"Vault may have made a {credential.title} that is in no Secret. It has the mark {mark}, and could "
                    f"not be looked for: {second} Look for it, or wait until it expires.",
                    left_behind=mark,
                )
        raise


def put(module: Any, credential: Credential, secret: SecretValue) -> dict[str, Any]:
    """Create one, store it, and return its public facts. Whatever fails, it is revoked unless it may be stored."""
    made = create(credential)
    hide(module, made.value)
    try:
        found = again(lambda: credential.look_up(made.value))
        if not found:
            raise VaultError(f"Vault does not know the {credential.title} that it made a moment ago. Run again.")
        check_life(credential, found)
        secret.write(made.value)
    except OutcomeUnknownError as exc:
        exc.add(
            f"It is not known whether {secret.where} has the new {credential.title} (accessor {made.accessor}), so it "
            "was not revoked, and neither was the one before. Run again when the cluster answers.",
            accessor=made.accessor,
        )
        raise
    except BaseException as exc:  # an interrupt, too
        if isinstance(exc, VaultError) or not may_hold(secret, made.value):
            withdraw(credential, made, exc)
        raise
    return found


def may_hold(secret: SecretValue, value: str) -> bool:
    try:
        return secret.read() == value
    except VaultError:
        return True


def withdraw(credential: Credential, made: Made, first: BaseException) -> None:
    """Revokes one after an error, which stays the error that is reported."""
    try:
        again(lambda: credential.revoke(made.value))
    except VaultError as second:
        if isinstance(first, VaultError):
            first.add(
                f"The new {credential.title} is in no Secret and could not be revoked: {second} Revoke it by its "
                f"accessor {made.accessor}.",
                left_behind=made.accessor,
            )


def retire(credential: Credential, secret: SecretValue, value: str, found: dict[str, Any]) -> None:
    """Revokes the one that was replaced."""
    try:
        again(lambda: credential.revoke(value))
    except VaultError as exc:
        accessor = credential.accessor(found)
        exc.add(
            f"{secret.where} has the new {credential.title}, and the one before is still valid. Revoke it by its "
            f"accessor {accessor}.",
            left_behind=accessor,
        )
        raise


def check_life(credential: Credential, found: dict[str, Any]) -> None:
    """Vault cuts without a word what is asked for to the max_lease_ttl of the login method or of the server."""
    credential.check_new(found)
    short = credential.differences(found).get("minimum_ttl")
    if short:
        raise VaultError(
            f"Vault gives a {credential.title} a life of {short['found']} only, less than minimum_ttl "
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
        again(lambda: credential.renew(value))
        return credential.look_up(value)
    now = put(module, credential, secret)
    if replaces:
        retire(credential, secret, value, found)
    return now


def absent(module: Any, credential: Credential, secret: SecretValue, value: str | None) -> dict[str, Any]:
    if not value:
        return result("none", {}, {}, {})
    found = credential.look_up(value)
    if retired(credential, value, found):
        credential.vault.foresee(*credential.rights("revoke"))
        if not module.check_mode:
            again(lambda: credential.revoke(value))
    secret.remove(dry_run=module.check_mode)
    return result("removed", {}, {"in_secret": True, **credential.facts(found)}, {})


def retired(credential: Credential, value: str, found: dict[str, Any]) -> bool:
    """Whether what was replaced is to be revoked: never the login of this very run."""
    return bool(found) and value != credential.vault.client.token


def result(action: str, reasons: drift.Differences, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    diff = {"before": before, "after": after}
    return dict(changed=action != "none", action=action, reasons=reasons, facts=after, diff=diff)
