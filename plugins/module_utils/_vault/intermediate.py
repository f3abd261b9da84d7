# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that make an intermediate CA, and what a run left that ended between them. Private to this collection.

Vault makes the key, another mount signs, the certificate is imported, the issuer gets its name. Only the name makes it
the intermediate of that name, so until then everything can be taken back or finished.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import datetime
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import authority, pki
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.pki import Issuer

KEY = ("key_type", "key_bits")
GENERATE = "issuers/generate/intermediate/internal"
IMPORT = "issuers/import/cert"
MARK = ".servicemesh-pki."  # in the name of a key: by it the next run finds what is left of one that was interrupted
GRACE = 2  # seconds that another run may take for its next request


def signs_at(options: dict[str, Any], parent: Issuer) -> str:
    """By the name that was given, because that is what a policy names."""
    return f"{parent.mount}/issuer/{options['parent_issuer']}/sign-intermediate"


def unfinished(
    vault: Vault, options: dict[str, Any], parent: Issuer, everything: list[Issuer], now: datetime
) -> Issuer | None:
    """What a run left that ended between its import and the name: the parent signed it as it was requested."""
    nameless = (issuer for issuer in everything if issuer.key_id and not issuer.issuer_name)
    for issuer in pki.with_certificates(vault, nameless):
        ours = not issuer.problem and pki.signed_by(parent, issuer.certificate)
        if ours and not authority.drift(options, issuer.certificate, now):
            return issuer
    return None


def finish(vault: Vault, options: dict[str, Any], left: Issuer) -> tuple[bool, Issuer]:
    """Gives it the name. Another run may be about to, and has a moment for it."""
    mount, name = options["mount"], options["issuer_name"]
    time.sleep(GRACE)
    found, dummy = pki.locate(vault, mount, name)
    ours = found is None and give_name(vault, mount, left.issuer_id, name)
    if ours:
        sweep(vault, mount, name)
    return ours, found or found_again(vault, mount, name)


def make(vault: Vault, options: dict[str, Any], parent: Issuer) -> tuple[bool, Issuer]:
    """Returns whether it was us. What was begun and not finished is taken back."""
    mount, name, asked = options["mount"], options["issuer_name"], authority.request(options)
    key = options["key_name"] or f"{name}{MARK}{secrets.token_hex(4)}"
    wish = {"common_name": asked["common_name"], **{part: asked[part] for part in KEY}, "key_name": key}
    begun: dict[str, Any] = {}
    try:
        begun = vault.make(f"{mount}/{GENERATE}", wish)["data"]
        wish = {part: value for part, value in asked.items() if part not in KEY}
        signed = vault.request("POST", signs_at(options, parent), {**wish, "csr": begun["csr"]})["data"]
        issuer_id = bring_in(vault, mount, [signed["certificate"], *chain(vault, parent)], begun["key_id"])
        named = pki.find(pki.issuers(vault, mount), name)
        if named and named.issuer_id == issuer_id:  # another run took this one for unfinished
            return False, found_again(vault, mount, name)
        ours = bool(issuer_id) and give_name(vault, mount, issuer_id, name)
    except VaultError as exc:
        if begun or exc.lost:
            take_back(vault, mount, begun.get("key_id") or key, exc)
        raise
    if not ours:  # another run was faster
        take_back(vault, mount, begun["key_id"])
    else:
        sweep(vault, mount, name)
    return ours, found_again(vault, mount, name)


def found_again(vault: Vault, mount: str, name: str) -> Issuer:
    found, dummy = pki.locate(vault, mount, name)
    if found is None:
        raise VaultError(
            f"Issuer {name} of {mount} was there a moment ago and is gone. Run again, and one thing at a time."
        )
    return found


def take_back(vault: Vault, mount: str, key: str, first: VaultError | None = None) -> None:
    """Deletes a key, by its identifier or name, and the issuers that have it. Errors are added to the first one."""
    try:
        for issuer in pki.issuers(vault, mount):
            if issuer.key_id == key:
                vault.delete(f"{mount}/issuer/{issuer.issuer_id}")
        vault.delete(f"{mount}/key/{key}")
    except VaultError as exc:
        if first is None:
            raise
        first.add(f"The key {key} of {mount} may be left, and no issuer needs it: {exc}", left_behind=key)


def sweep(vault: Vault, mount: str, name: str) -> None:
    """Deletes the keys of this intermediate that runs left which ended after they had made one, or that lose to us."""
    used = {issuer.key_id for issuer in pki.issuers(vault, mount)}
    for key_id, key in pki.keys(vault, mount).items():
        if key_id not in used and re.fullmatch(rf"{re.escape(name + MARK)}[0-9a-f]{{8}}", key):
            try:
                vault.delete(f"{mount}/key/{key_id}")
            except VaultError as exc:
                vault.module.warn(f"The key {key} of {mount} is left of a run that was interrupted: {exc}")


def chain(vault: Vault, issuer: Issuer) -> list[str]:
    data = vault.read(f"{issuer.mount}/issuer/{issuer.issuer_id}/json") or {}
    return [pem.strip() for pem in data.get("ca_chain") or [issuer.pem]]


def bring_in(vault: Vault, mount: str, bundle: list[str], key_id: str) -> str:
    """Imports the chain and returns the identifier of the issuer that has the key.

    Empty when another run, which has finished, took the key away; then what was imported is removed again.
    """
    answer = vault.request("POST", f"{mount}/{IMPORT}", {"pem_bundle": "\n".join(bundle)})["data"]
    for issuer_id, its_key in answer["mapping"].items():
        if its_key == key_id:
            return str(issuer_id)
    for issuer in pki.issuers(vault, mount):
        if issuer.issuer_id in (answer["imported_issuers"] or []):
            whole = pki.with_certificate(vault, issuer)
            if whole and whole.pem.strip() == bundle[0].strip():
                vault.delete(f"{mount}/issuer/{issuer.issuer_id}")
    return ""


def give_name(vault: Vault, mount: str, issuer_id: str, name: str) -> bool:
    """Whether it is this issuer that has the name."""
    try:
        vault.patch(f"{mount}/issuer/{issuer_id}", {"issuer_name": name})
    except VaultError as exc:
        if "already in use" in exc.reason:
            return False
        named = pki.find(pki.issuers(vault, mount), name) if exc.lost else None
        if named is None or named.issuer_id != issuer_id:
            raise
    return True


def lacks_default(vault: Vault, mount: str, everything: list[Issuer], ours: bool, existed: bool) -> bool:
    """Whether the mount has no default issuer, and it is up to this run to see to it.

    The run that makes the first issuer does. It may have ended before, or is about to and has a moment for it.
    """
    if any(issuer.is_default for issuer in everything) or not (ours or existed):
        return False
    if existed:
        time.sleep(GRACE)
        return not any(issuer.is_default for issuer in pki.issuers(vault, mount))
    return True
