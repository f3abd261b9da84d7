# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Issuers of a PKI mount: found by name, read, described. Private to this collection."""

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

NAME = re.compile(r"\w(?:[\w.-]*\w)?", re.ASCII)  # Vault's own rule
# What it says, with status 500, of an issuer or a key that was deleted while it answered: fetchIssuerById, fetchKeyById
# and resolveIssuerReference in builtin/logical/pki/storage.go.
GONE = re.compile(r"pki (issuer|key) id \S+ does not exist|unable to find PKI issuer")
PAUSES = [0.02] * 9  # seconds between two questions for a list
BITS = {"ec": (224, 256, 384, 521), "rsa": (2048, 3072, 4096, 8192), "ed25519": (0,)}
USUAL_BITS = {"ec": 256, "rsa": 2048, "ed25519": 0}


@dataclass(frozen=True)
class Issuer:
    mount: str
    issuer_id: str
    issuer_name: str
    key_id: str
    is_default: bool
    pem: str = ""
    chain: tuple[str, ...] = ()  # as Vault reports it, itself first

    @property
    def title(self) -> str:
        return f"{self.issuer_name or self.issuer_id} of {self.mount}"

    @property
    def problem(self) -> str:
        """Why its certificate cannot be read here. Vault imports certificates that Python refuses."""
        try:
            certs.certificate_facts(certs.parse_bundle(self.pem)[0])
        except UNEXPECTED as exc:
            return str(exc) or type(exc).__name__
        return ""

    @property
    def certificate(self) -> Any:
        """A VaultError that names the issuer when it cannot be read."""
        if self.problem:
            raise VaultError(
                f"The certificate of issuer {self.title} cannot be read: {self.problem}. Use another issuer.",
                code="unreadable_certificate",
                issuer_id=self.issuer_id,
            )
        return certs.parse_bundle(self.pem)[0]

    def own(self) -> dict[str, Any]:
        """What Vault itself reports of it."""
        return {
            "mount": self.mount,
            "issuer_id": self.issuer_id,
            "issuer_name": self.issuer_name,
            "key_id": self.key_id,
            "is_default": self.is_default,
            "certificate": self.pem,
        }

    def facts(self) -> dict[str, Any]:
        """What is public about it."""
        return {**certs.certificate_facts(self.certificate), **self.own()}


def check_name(what: str, name: str) -> None:
    if name == "default":
        raise VaultError(
            f"{what} cannot be 'default': Vault keeps that word for whichever is the default. Choose another."
        )
    if not NAME.fullmatch(name):
        raise VaultError(f"{what} {name!r} is not possible: Vault takes letters, digits, and _ - . between them.")


def check_key(key_type: str, key_bits: int | None) -> int:
    """The bits of a key of that type, the usual ones when none are given."""
    bits = USUAL_BITS[key_type] if key_bits is None else key_bits
    if bits not in BITS[key_type]:
        choices = " or ".join(map(str, BITS[key_type]))
        raise VaultError(f"key_bits {bits} is not for key_type {key_type}: it takes {choices}.")
    return bits


def issuers(vault: Vault, mount: str) -> list[Issuer]:
    """All issuers of a mount, without their certificates. Public, one request."""
    info = listed(vault, f"{mount}/issuers")
    default = None
    if info and not all("is_default" in entry for entry in info.values()):  # an older Vault
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


def gone(error: Exception) -> bool:
    return isinstance(error, VaultError) and bool(GONE.search(error.reason))


def listed(vault: Vault, path: str) -> dict[str, dict[str, Any]]:
    """The entries of a list, and what Vault tells of each. It reads them one by one, and fails when one is deleted
    meanwhile, as by another run that takes back what it began; so it is asked again."""
    ask = retry_with_delays_and_condition(PAUSES, should_retry_error=gone)(vault.list)
    info: dict[str, dict[str, Any]] = ask(path).get("key_info") or {}
    return info


def with_certificate(vault: Vault, issuer: Issuer) -> Issuer | None:
    """None when it was deleted since it was listed."""
    try:
        data = vault.read(f"{issuer.mount}/issuer/{issuer.issuer_id}/json") or {}
    except VaultError as exc:
        if gone(exc):
            return None
        raise
    chain = tuple(pem.strip() for pem in data.get("ca_chain") or [])
    return replace(issuer, pem=data["certificate"].strip() + "\n", chain=chain)


def with_certificates(vault: Vault, some: Iterable[Issuer]) -> Iterator[Issuer]:
    """Those that are still there."""
    return filter(None, (with_certificate(vault, issuer) for issuer in some))


def find(everything: list[Issuer], ref: str) -> Issuer | None:
    """By name or by id; `default` is the default."""
    for issuer in everything:
        if ref in (issuer.issuer_name, issuer.issuer_id) or (ref == "default" and issuer.is_default):
            return issuer
    return None


def locate(vault: Vault, mount: str, ref: str) -> tuple[Issuer | None, list[Issuer]]:
    """An issuer with its certificate, and all of its mount without. Two requests."""
    everything = issuers(vault, mount)
    return complete(vault, find(everything, ref), everything)


def complete(vault: Vault, found: Issuer | None, everything: list[Issuer]) -> tuple[Issuer | None, list[Issuer]]:
    """One of all with its certificate; it is missing from both when it was deleted since they were listed."""
    whole = with_certificate(vault, found) if found else None
    return whole, [issuer for issuer in everything if whole or issuer is not found]


def check_mount(vault: Vault, mount: str) -> int:
    """The longest life in seconds that a PKI mount allows, 0 when the token may not know."""
    try:
        info = vault.read(f"sys/internal/ui/mounts/{mount}") or {}  # open to each token that may do anything in it
    except VaultError as exc:
        if exc.status != 403 or "preflight" not in exc.reason:
            raise
        info = {}
    if info and info["type"] != "pki":
        raise VaultError(f"At {mount} is an engine of type {info['type']}, wanted is pki. Correct the option mount.")
    longest = (info.get("config") or {}).get("max_lease_ttl") or 0
    if longest:
        return longest
    try:
        return (vault.read(f"sys/mounts/{mount}/tune") or {}).get("max_lease_ttl") or 0
    except VaultError as exc:
        if exc.status in (400, 404) and not info:
            raise VaultError(
                f"No PKI engine is mounted at {mount} in Vault at {vault.url}. Enable it first (vault_engine).", 404
            ) from exc
        if exc.status == 403:
            return 0
        raise


def keys(vault: Vault, mount: str) -> dict[str, str]:
    """Identifiers and names of the keys of a mount; none where the token may not list them."""
    try:
        info = listed(vault, f"{mount}/keys")
    except VaultError as exc:
        if exc.status == 403:
            return {}
        raise
    return {key_id: entry.get("key_name") or "" for key_id, entry in info.items()}


def check_key_name(vault: Vault, mount: str, name: str | None, everything: list[Issuer]) -> None:
    """Vault refuses a name that is taken, only after another step for an intermediate."""
    if not name:
        return
    check_name("key_name", name)
    taken = next((key_id for key_id, own in keys(vault, mount).items() if own == name), None)
    if taken is None:
        return
    unused = (
        ""
        if any(issuer.key_id == taken for issuer in everything)
        else (f" No issuer has it. If a run that was interrupted left it, delete {mount}/key/{taken}.")
    )
    raise VaultError(
        f"There is a key {name} in {mount} already. Choose another key_name.{unused}",
        code="key_name_taken",
        key_id=taken,
    )


def make_default(vault: Vault, issuer: Issuer) -> None:
    vault.write(f"{issuer.mount}/config/issuers", {"default": issuer.issuer_id})


def signed_by(issuer: Issuer, certificate: Any) -> bool:
    """Whether a certificate other than its own was signed by this issuer."""
    return certificate != issuer.certificate and certs.is_signed_by(certificate, issuer.certificate)


def signed(issuer: Issuer, other: Issuer) -> bool:
    """Whether it signed another issuer. Where that one cannot be read, Vault's chain of it says so."""
    if other.problem:
        return issuer.pem.strip() in other.chain[1:]
    return signed_by(issuer, other.certificate)


def valid_certificates(vault: Vault, issuer: Issuer) -> Iterator[str]:
    """One reason for all certificates of the mount that the issuer signed and that are neither expired nor revoked, and
    one for each that cannot be read."""
    example, count, now = "", 0, datetime.now(UTC)
    for serial in vault.list(f"{issuer.mount}/certs").get("keys") or []:
        data = vault.read(f"{issuer.mount}/cert/{serial}")
        if data is None or data.get("revocation_time"):  # None when it was tidied up since it was listed
            continue
        try:
            certificate = certs.parse_bundle(data["certificate"])[0]
        except UNEXPECTED as exc:
            yield f"certificate {serial} cannot be read, so its signer is not known ({exc})"
            continue
        if certificate.not_valid_after_utc >= now and signed_by(issuer, certificate):
            example, count = example or certificate.subject.rfc4514_string(), count + 1
    if count:
        yield f"it signed {count} valid certificate{'s' if count > 1 else ''}, such as {example}"


def in_use(vault: Vault, issuer: Issuer, everything: list[Issuer]) -> Iterator[str]:
    """Why it would be missed, as far as this mount shows."""
    if issuer.is_default:
        yield "it is the default issuer of the mount"
    if issuer.problem:
        yield f"its certificate cannot be read, so what it signed is not known ({issuer.problem})"
        return
    for other in with_certificates(vault, (other for other in everything if other.issuer_id != issuer.issuer_id)):
        if signed(issuer, other):
            yield f"it signed the issuer {other.issuer_name or other.issuer_id}"
    yield from valid_certificates(vault, issuer)


def remove(vault: Vault, issuer: Issuer, everything: list[Issuer], *, force: bool) -> None:
    """Deletes an issuer, and its key when no other issuer has the same."""
    reasons = [] if force else list(in_use(vault, issuer, everything))
    if reasons:
        raise VaultError(
            f"Issuer {issuer.title} is in use: {'; '.join(reasons)}. Nothing was removed. "
            "Replace it first, or set force, which permanently destroys its key.",
            code="issuer_in_use",
            issuer_id=issuer.issuer_id,
        )
    shared = any(other.key_id == issuer.key_id for other in everything if other.issuer_id != issuer.issuer_id)
    places = [f"{issuer.mount}/issuer/{issuer.issuer_id}"]
    if issuer.key_id and not shared:
        places.append(f"{issuer.mount}/key/{issuer.key_id}")
    vault.foresee(*(("delete", place) for place in places))  # all or nothing
    if not vault.module.check_mode:
        for place in places:
            vault.delete(place)
