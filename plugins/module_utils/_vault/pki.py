# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Issuers and keys of a PKI mount: list, find, read, delete. Private to this collection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.api import retry_with_delays_and_condition

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import UNEXPECTED
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs

NAME = re.compile(r"\w(?:[\w.-]*\w)?", re.ASCII)  # GenericNameRegex in sdk/framework/path.go of Vault
# Vault's error, with status 500, for an issuer or key that was deleted while it built the response: fetchIssuerById,
# fetchKeyById and resolveIssuerReference in builtin/logical/pki/storage.go.
DELETED = re.compile(r"pki (issuer|key) id \S+ does not exist|unable to find PKI issuer")
PAUSES = [0.02] * 9  # seconds between two attempts to read a list


@dataclass(frozen=True)
class Issuer:
    mount: str
    issuer_id: str
    issuer_name: str
    key_id: str
    is_default: bool
    pem: str = ""
    chain: tuple[str, ...] = ()  # PEM, as Vault returns it: the issuer's own certificate first

    @property
    def title(self) -> str:
        return f"{self.issuer_name or self.issuer_id} in mount {self.mount}"

    @property
    def problem(self) -> str:
        """Why its certificate cannot be parsed. Vault imports certificates that Python's cryptography rejects."""
        try:
            certs.certificate_facts(certs.parse_bundle(self.pem)[0])
        except UNEXPECTED as exc:
            return str(exc) or type(exc).__name__
        return ""

    @property
    def certificate(self) -> Any:
        """The parsed certificate. Raises VaultError."""
        if self.problem:
            raise VaultError(
                f"The certificate of issuer {self.title} cannot be read: {self.problem}. Use another issuer.",
                code="unreadable_certificate",
                issuer_id=self.issuer_id,
            )
        return certs.parse_bundle(self.pem)[0]

    def vault_facts(self) -> dict[str, Any]:
        """What Vault returns about it."""
        return {
            "mount": self.mount,
            "issuer_id": self.issuer_id,
            "issuer_name": self.issuer_name,
            "key_id": self.key_id,
            "is_default": self.is_default,
            "certificate": self.pem,
        }

    def facts(self) -> dict[str, Any]:
        """What Vault returns about it, and the facts of its certificate. Raises VaultError."""
        return {**certs.certificate_facts(self.certificate), **self.vault_facts()}


def check_name(option: str, name: str) -> None:
    if name == "default":
        message = f"{option} cannot be 'default', which is Vault's reference to the default issuer. Use another name."
        raise VaultError(message, code="invalid_name")
    if not NAME.fullmatch(name):
        message = f"{option} {name!r} is not valid. Use letters and digits, with _, - or . between them."
        raise VaultError(message, code="invalid_name")


def list_issuers(vault: Vault, mount: str) -> list[Issuer]:
    """All issuers of a mount, without their certificates. One unauthenticated request."""
    info = list_entries(vault, f"{mount}/issuers")
    default = None
    if info and not all("is_default" in entry for entry in info.values()):  # an older version of Vault
        default = (vault.read(f"{mount}/config/issuers") or {}).get("default")
    return [
        Issuer(
            mount,
            issuer_id,
            entry.get("issuer_name") or "",
            entry.get("key_id") or "",
            entry.get("is_default", issuer_id == default),
        )
        for issuer_id, entry in info.items()
    ]


def is_deleted(error: Exception) -> bool:
    return isinstance(error, VaultError) and bool(DELETED.search(error.reason))


def list_entries(vault: Vault, path: str) -> dict[str, dict[str, Any]]:
    """The entries of a list by identifier.

    Vault reads them one by one and fails when one is deleted meanwhile, for example by another run that rolls back.
    Then the list is read again.
    """
    read = retry_with_delays_and_condition(PAUSES, should_retry_error=is_deleted)(vault.list)
    info: dict[str, dict[str, Any]] = read(path).get("key_info") or {}
    return info


def read_certificate(vault: Vault, issuer: Issuer) -> Issuer | None:
    """The issuer with its certificate and chain, None when it was deleted after it was listed."""
    try:
        data = vault.read(f"{issuer.mount}/issuer/{issuer.issuer_id}/json") or {}
    except VaultError as exc:
        if is_deleted(exc):
            return None
        raise
    chain = tuple(pem.strip() for pem in data.get("ca_chain") or [])
    return replace(issuer, pem=data["certificate"].strip() + "\n", chain=chain)


def read_certificates(vault: Vault, issuers: Iterable[Issuer]) -> Iterator[Issuer]:
    """The issuers that still exist, with their certificates."""
    return filter(None, (read_certificate(vault, issuer) for issuer in issuers))


def find_issuer(issuers: list[Issuer], reference: str) -> Issuer | None:
    """The issuer with this name or identifier. `default` is the default issuer."""
    for issuer in issuers:
        if reference in (issuer.issuer_name, issuer.issuer_id) or (reference == "default" and issuer.is_default):
            return issuer
    return None


def read_issuer(vault: Vault, mount: str, reference: str) -> tuple[Issuer | None, list[Issuer]]:
    """An issuer with its certificate, and all issuers of its mount without. Two requests."""
    issuers = list_issuers(vault, mount)
    return with_certificate(vault, find_issuer(issuers, reference), issuers)


def with_certificate(vault: Vault, found: Issuer | None, issuers: list[Issuer]) -> tuple[Issuer | None, list[Issuer]]:
    """One of the issuers with its certificate, and all of them. If it was deleted meanwhile, it is in neither."""
    complete = read_certificate(vault, found) if found else None
    return complete, [issuer for issuer in issuers if complete or issuer is not found]


def read_new_issuer(vault: Vault, mount: str, name: str) -> Issuer:
    """An issuer that this run or a concurrent one has just created. Raises VaultError when it is gone again."""
    found, dummy = read_issuer(vault, mount, name)
    if found is None:
        raise VaultError(
            f"Issuer {name} in mount {mount} was deleted while this run created it. Run again when no other run "
            "changes the mount.",
            code="concurrent_change",
        )
    return found


def format_names(issuers: Iterable[Issuer]) -> str:
    """The names of issuers for a message."""
    return ", ".join(sorted(issuer.issuer_name or issuer.issuer_id for issuer in issuers)) or "none"


def check_mount(vault: Vault, mount: str) -> int:
    """The seconds that certificates of a PKI mount may be valid, 0 when the token is not permitted to read it.

    Raises VaultError when the mount does not exist or has an engine of another type.
    """
    try:
        info = vault.read(f"sys/internal/ui/mounts/{mount}") or {}  # for each token with any capability in the mount
    except VaultError as exc:
        if exc.status != 403 or "preflight" not in exc.reason:
            raise
        info = {}
    if info and info["type"] != "pki":
        raise VaultError(
            f"The engine at {mount} is of type {info['type']}, expected pki. Correct the option mount.",
            code="engine_type_mismatch",
        )
    max_ttl = (info.get("config") or {}).get("max_lease_ttl") or 0
    if max_ttl:
        return max_ttl
    try:
        return (vault.read(f"sys/mounts/{mount}/tune") or {}).get("max_lease_ttl") or 0
    except VaultError as exc:
        if exc.status in (400, 404) and not info:
            message = f"No PKI engine is mounted at {mount} in Vault at {vault.url}. Enable it first (vault_engine)."
            raise VaultError(message, 404, code="mount_not_found") from exc
        if exc.status == 403:
            return 0
        raise


def list_keys(vault: Vault, mount: str) -> dict[str, str]:
    """The names of the keys of a mount by identifier, empty when the token is not permitted to list them."""
    try:
        info = list_entries(vault, f"{mount}/keys")
    except VaultError as exc:
        if exc.status == 403:
            return {}
        raise
    return {key_id: entry.get("key_name") or "" for key_id, entry in info.items()}


def check_key_name(vault: Vault, mount: str, name: str | None, issuers: list[Issuer]) -> None:
    """Fail if a key has the name. Vault itself fails only after the first step of an intermediate."""
    if not name:
        return
    check_name("key_name", name)
    key_id = next((key_id for key_id, key_name in list_keys(vault, mount).items() if key_name == name), None)
    if key_id is None:
        return
    message = f"A key with the name {name} already exists in mount {mount}. Use another key_name."
    if not any(issuer.key_id == key_id for issuer in issuers):
        message += f" No issuer uses it. If an interrupted run left it behind, delete {mount}/key/{key_id}."
    raise VaultError(message, code="key_name_taken", key_id=key_id)


def make_default(vault: Vault, issuer: Issuer) -> None:
    vault.write(f"{issuer.mount}/config/issuers", {"default": issuer.issuer_id})


def default_follows(vault: Vault, mount: str) -> bool:
    """Whether Vault makes each new issuer of the mount the default. False if the token cannot read the setting."""
    status, body = vault.exchange("GET", f"{mount}/config/issuers")
    return status == 200 and isinstance(body, dict) and bool(body["data"].get("default_follows_latest_issuer"))


def is_signed_by(issuer: Issuer, certificate: Any) -> bool:
    """Whether the issuer signed a certificate other than its own."""
    return certificate != issuer.certificate and certs.is_signed_by(certificate, issuer.certificate)


def has_signed(issuer: Issuer, other: Issuer) -> bool:
    """Whether the issuer signed another one. If that one cannot be parsed, Vault's chain decides."""
    if other.problem:
        return issuer.pem.strip() in other.chain[1:]
    return is_signed_by(issuer, other.certificate)


def reasons_from_certificates(vault: Vault, issuer: Issuer) -> Iterator[str]:
    """One reason for all valid certificates of the mount that the issuer signed, and one for each that is unreadable.

    Expired and revoked certificates do not count.
    """
    example, count, now = "", 0, datetime.now(UTC)
    for serial in vault.list(f"{issuer.mount}/certs").get("keys") or []:
        data = vault.read(f"{issuer.mount}/cert/{serial}")
        if data is None or data.get("revocation_time"):  # None when it was tidied after it was listed
            continue
        try:
            certificate = certs.parse_bundle(data["certificate"])[0]
        except UNEXPECTED as exc:
            yield f"certificate {serial} cannot be read, so its signer is not known ({exc})"
            continue
        if certificate.not_valid_after_utc >= now and is_signed_by(issuer, certificate):
            example, count = example or certificate.subject.rfc4514_string(), count + 1
    if count:
        yield f"it signed {count} valid certificate{'s' if count > 1 else ''}, such as {example}"


def reasons_in_use(vault: Vault, issuer: Issuer, issuers: list[Issuer]) -> Iterator[str]:
    """Why the issuer is still needed, as far as its mount shows."""
    if issuer.is_default:
        yield "it is the default issuer of the mount"
    if issuer.problem:
        yield f"its certificate cannot be read, so what it signed is not known ({issuer.problem})"
        return
    for other in read_certificates(vault, (other for other in issuers if other.issuer_id != issuer.issuer_id)):
        if has_signed(issuer, other):
            yield f"it signed the issuer {other.issuer_name or other.issuer_id}"
    yield from reasons_from_certificates(vault, issuer)


def delete_issuer(vault: Vault, issuer: Issuer, issuers: list[Issuer], *, force: bool) -> None:
    """Delete an issuer, and its key unless another issuer uses it. Raises VaultError when it is in use."""
    reasons = [] if force else list(reasons_in_use(vault, issuer, issuers))
    if reasons:
        raise VaultError(
            f"Issuer {issuer.title} is in use: {'; '.join(reasons)}. Nothing was deleted. "
            "Replace it first, or set force, which permanently destroys its key.",
            code="issuer_in_use",
            issuer_id=issuer.issuer_id,
        )
    shared = any(other.key_id == issuer.key_id for other in issuers if other.issuer_id != issuer.issuer_id)
    paths = [f"{issuer.mount}/issuer/{issuer.issuer_id}"]
    if issuer.key_id and not shared:
        paths.append(f"{issuer.mount}/key/{issuer.key_id}")
    vault.check_capabilities(*(("delete", path) for path in paths))  # before the first one is deleted
    if not vault.module.check_mode:
        for path in paths:
            vault.delete(path)
