# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential of Vault that is stored in a Kubernetes Secret and shown in no output. Private to this collection.

Every credential that a run creates is either stored or revoked, also when responses are lost. Where neither is
possible, the error names the credential by its accessor or mark.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ansible.module_utils.api import retry_with_delays_and_condition

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.secret import OutcomeUnknownError, SecretValue
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, mask_secret
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

T = TypeVar("T")
PAUSES = (0.5, 1, 2)  # seconds between attempts to look up or revoke a credential
INVALID = {"expected": "valid", "found": "expired, revoked or unknown to this Vault"}


@dataclass(frozen=True)
class NewCredential:
    """A credential that Vault has just issued. The accessor identifies it and cannot be used instead."""

    value: str
    accessor: str


class Credential(ABC):
    """One kind of credential. `found` is what Vault returns about one, empty when it is not valid."""

    kind: str

    def __init__(self, vault: Vault, params: dict[str, Any]) -> None:
        self.vault, self.params = vault, params
        self.minimum = durations.seconds(params["minimum_ttl"])

    @abstractmethod
    def check_options(self) -> None:
        """Raise VaultError for a request that Vault cannot fulfil, before anything is created."""

    @abstractmethod
    def look_up(self, value: str) -> dict[str, Any]: ...

    @abstractmethod
    def expected_facts(self) -> dict[str, Any]:
        """The facts of a new credential before it exists."""

    @abstractmethod
    def facts(self, found: dict[str, Any]) -> dict[str, Any]:
        """What is public about a credential."""

    @abstractmethod
    def differences(self, found: dict[str, Any]) -> drift.Differences:
        """Why a valid credential must be replaced. A remaining TTL that is too short is `minimum_ttl`."""

    @abstractmethod
    def capabilities(self, operation: str) -> list[tuple[str, str]]:
        """The capabilities and paths that the login needs to create, revoke or renew a credential."""

    @abstractmethod
    def create(self, mark: str) -> NewCredential:
        """Create one. Vault stores the mark with it, so that it can be found when the response is lost."""

    @abstractmethod
    def revoke(self, value: str) -> None:
        """Revoke one. Vault returns no error for one that is already revoked."""

    @abstractmethod
    def revoke_by_mark(self, mark: str) -> None:
        """Find the credential with the mark, if there is one, and revoke it."""

    @abstractmethod
    def accessor(self, found: dict[str, Any]) -> str:
        """The accessor of a credential that was looked up."""

    @abstractmethod
    def is_ours(self, found: dict[str, Any]) -> bool:
        """Whether this collection may have created a credential that was looked up."""

    @abstractmethod
    def has_mark(self, found: dict[str, Any]) -> bool:
        """Whether it has a mark of create(), which earlier versions of this collection did not set."""

    @abstractmethod
    def check_created(self, found: dict[str, Any]) -> None:
        """Raise VaultError for a new credential that does not match the request."""

    @property
    def title(self) -> str:
        return self.kind.replace("_", " ")

    def can_renew(self, found: dict[str, Any]) -> bool:
        return False

    def renew(self, value: str) -> None:
        raise NotImplementedError

    def compare_remaining(self, remaining: int) -> drift.Differences:
        if remaining >= self.minimum:
            return {}
        return {
            "minimum_ttl": {
                "expected": durations.to_text(self.minimum),
                "found": durations.to_text(remaining),
            }
        }


def manage(module: Any, credential: Credential, key: str) -> dict[str, Any]:
    """The body of a module that manages a credential in a Secret."""
    params = module.params
    secret = SecretValue(params["kubernetes"], params["secret_namespace"], params["secret_name"], key)
    value = secret.read()
    if value:
        mask_secret(module, value)
    ensure = present if params["state"] == "present" else absent
    return ensure(module, credential, secret, value)


def choose_action(credential: Credential, value: str | None, found: dict[str, Any]) -> tuple[str, drift.Differences]:
    """What to do with the credential in the Secret (the return value `action`), and why."""
    if not value:
        return "created", {}
    if not found:
        return "replaced", {credential.kind: INVALID}
    reasons = credential.differences(found)
    if set(reasons) == {"minimum_ttl"} and credential.can_renew(found):
        return "renewed", reasons
    return ("replaced" if reasons else "none"), reasons


def retry(call: Callable[[], T]) -> T:
    """The result of a request that may be repeated, because a second one does no harm."""
    attempt = retry_with_delays_and_condition(PAUSES, lambda exc: isinstance(exc, VaultError) and is_unanswered(exc))
    result: T = attempt(call)()
    return result


def is_forbidden(status: int, body: Any) -> bool:
    """Whether a policy forbids the request. Vault also returns 403 for an accessor that has expired."""
    return status == 403 and "permission denied" in str(body)


def is_unanswered(exc: VaultError) -> bool:
    return exc.lost or exc.code == "unreachable"


def create(credential: Credential) -> NewCredential:
    """Create a credential. If the response is lost, find the one that Vault may have created, and revoke it."""
    mark = secrets.token_hex(8)
    try:
        return credential.create(mark)
    except VaultError as exc:
        if exc.lost:
            try:
                retry(lambda: credential.revoke_by_mark(mark))
            except VaultError as second:
                exc.add(
                    f"Vault may have created a {credential.title} that is in no Secret. It has the mark {mark} and "
                    f"could not be searched for: {second} Revoke it, or wait until it expires.",
                    left_behind=mark,
                )
        raise


def issue(module: Any, credential: Credential, secret: SecretValue) -> dict[str, Any]:
    """Create a credential, store it, and return what Vault knows about it.

    After a failure it is revoked, unless the Secret may contain it.
    """
    new = create(credential)
    mask_secret(module, new.value)
    try:
        found = retry(lambda: credential.look_up(new.value))
        if not found:
            message = f"Vault does not know the {credential.title} that it has just created. Run again."
            raise VaultError(message, code="unknown_credential")
        check_validity(credential, found)
        secret.write(new.value)
    except OutcomeUnknownError as exc:
        exc.add(
            f"It is not known whether {secret.title} contains the new {credential.title} (accessor {new.accessor}), so "
            "neither that one nor the previous one was revoked. Run again when the cluster responds.",
            accessor=new.accessor,
        )
        raise
    except BaseException as exc:  # an interrupt, too
        if isinstance(exc, PkiError) or not may_be_stored(secret, new.value):
            revoke_new(credential, new, exc)
        raise
    return found


def may_be_stored(secret: SecretValue, value: str) -> bool:
    try:
        return secret.read() == value
    except PkiError:
        return True


def revoke_new(credential: Credential, new: NewCredential, first: BaseException) -> None:
    """Revoke a credential after an error. A failure is added to that error."""
    try:
        retry(lambda: credential.revoke(new.value))
    except VaultError as second:
        if isinstance(first, PkiError):
            first.add(
                f"The new {credential.title} is in no Secret and could not be revoked: {second} Revoke it by its "
                f"accessor {new.accessor}.",
                left_behind=new.accessor,
            )


def revoke_previous(credential: Credential, secret: SecretValue, value: str, found: dict[str, Any]) -> None:
    """Revoke the credential that was replaced."""
    try:
        retry(lambda: credential.revoke(value))
    except VaultError as exc:
        accessor = credential.accessor(found)
        exc.add(
            f"{secret.title} contains the new {credential.title}, and the previous one is still valid. Revoke it by "
            f"its accessor {accessor}.",
            left_behind=accessor,
        )
        raise


def check_validity(credential: Credential, found: dict[str, Any]) -> None:
    """Fail if the new credential expires too early: Vault shortens a TTL to max_lease_ttl without an error."""
    credential.check_created(found)
    short = credential.differences(found).get("minimum_ttl")
    if short:
        raise VaultError(
            f"Vault issues a {credential.title} for {short['found']} only, less than minimum_ttl {short['expected']}, "
            "so every run would replace it. The Secret was not changed. Lower minimum_ttl, or raise the requested "
            "validity or max_lease_ttl of the auth method (vault_engine).",
            code="validity_too_short",
        )


def check_owner(module: Any, credential: Credential, secret: SecretValue, found: dict[str, Any]) -> None:
    """Fail if others created the credential, because a change would take it from the clients that use it.

    The owner of the Secret decides about a credential without a mark: an expired one, which Vault does not know any
    more, or one that earlier versions of this collection or others created.
    """
    owner = "" if found and credential.has_mark(found) else secret.owner
    if module.params["take_over"] or not (owner or (found and not credential.is_ours(found))):
        return
    raise VaultError(
        f"{secret.title} contains a {credential.title} that this collection did not create"
        f"{f' (managed by {owner})' if owner else ''}. It was not changed or revoked. Use another Secret "
        "(vault_issuer_secret_name of the role vault_issuer), or permit the change: set take_over, or add "
        f"'{secret.title}' to pki_take_over.",
        code="credential_unmanaged",
    )


def present(module: Any, credential: Credential, secret: SecretValue, value: str | None) -> dict[str, Any]:
    found = credential.look_up(value) if value else {}
    action, reasons = choose_action(credential, value, found)
    if action not in ("none", "created"):
        check_owner(module, credential, secret, found)
    credential.check_options()
    check_namespace(module, secret)
    before = after = credential.facts(found)
    if action != "none":
        now = apply(module, credential, secret, action, value or "", found)
        known = before if action == "renewed" else credential.expected_facts()
        after = {**known, "expire_time": None} if module.check_mode else credential.facts(now)
    return result(action, reasons, before, after)


def check_namespace(module: Any, secret: SecretValue) -> None:
    """Fail if the namespace does not exist. In check mode of a new cluster, a real run may create it before."""
    if secret.has_namespace():
        return
    message = f"Namespace {secret.namespace} does not exist in the cluster. Create it first."
    if not module.check_mode:
        raise ClusterError(message, code="kubernetes_namespace_not_found", namespace=secret.namespace)
    module.warn(message)


def apply(
    module: Any, credential: Credential, secret: SecretValue, action: str, value: str, found: dict[str, Any]
) -> dict[str, Any]:
    """Create, replace or renew the credential, and return what Vault knows about it.

    Fails before the first change when a capability is missing. Check mode goes no further, and asks Kubernetes for a
    dry run.
    """
    renews, replaces = action == "renewed", must_revoke(credential, value, found)
    operations = ["renew"] if renews else ["create", *(["revoke"] if replaces else [])]
    credential.vault.check_capabilities(
        *(needed for operation in operations for needed in credential.capabilities(operation))
    )
    if module.check_mode:
        if not renews and secret.has_namespace():
            secret.write("only for the dry run", dry_run=True)
        return {}
    if renews:
        retry(lambda: credential.renew(value))
        return credential.look_up(value)
    now = issue(module, credential, secret)
    if replaces:
        revoke_previous(credential, secret, value, found)
    return now


def absent(module: Any, credential: Credential, secret: SecretValue, value: str | None) -> dict[str, Any]:
    if not value:
        return result("none", {}, {}, {})
    found = credential.look_up(value)
    check_owner(module, credential, secret, found)
    if must_revoke(credential, value, found):
        credential.vault.check_capabilities(*credential.capabilities("revoke"))
        if not module.check_mode:
            retry(lambda: credential.revoke(value))
    secret.remove(dry_run=module.check_mode)
    return result("removed", {}, {"in_secret": True, **credential.facts(found)}, {})


def must_revoke(credential: Credential, value: str, found: dict[str, Any]) -> bool:
    """Whether to revoke a credential that was replaced or removed: not the token that this run uses itself."""
    return bool(found) and value != credential.vault.client.token


def result(action: str, reasons: drift.Differences, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The return values of the module."""
    diff = {"before": before, "after": after}
    return dict(changed=action != "none", action=action, reasons=reasons, facts=after, diff=diff)
