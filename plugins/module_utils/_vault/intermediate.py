# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that create an intermediate CA, and the recovery of an interrupted run. Private to this collection.

Vault generates the key, another mount signs the certificate, the certificate is imported, and the issuer gets its name.
Only the name makes it the requested intermediate, so until then a run can be rolled back or finished.
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
MARK = ".servicemesh-pki."  # in the name of a key, so that the next run finds what an interrupted run left behind
GRACE = 2  # seconds for the next request of a concurrent run


def signing_path(options: dict[str, Any], parent: Issuer) -> str:
    """The path with the parent's name as the task gives it, because policies contain that name."""
    return f"{parent.mount}/issuer/{options['parent_issuer']}/sign-intermediate"


def find_unfinished(
    vault: Vault, options: dict[str, Any], parent: Issuer, issuers: list[Issuer], now: datetime
) -> Issuer | None:
    """An issuer that an interrupted run imported and did not name: the parent signed it as the options describe it."""
    unnamed = (issuer for issuer in issuers if issuer.key_id and not issuer.issuer_name)
    for issuer in pki.read_certificates(vault, unnamed):
        is_child = not issuer.problem and pki.is_signed_by(parent, issuer.certificate)
        if is_child and not authority.find_drift(options, issuer.certificate, now):
            return issuer
    return None


def finish(vault: Vault, options: dict[str, Any], unfinished: Issuer) -> tuple[bool, Issuer]:
    """Name an unfinished issuer, unless a concurrent run does. Returns whether this run did, and the issuer."""
    mount, name = options["mount"], options["issuer_name"]
    time.sleep(GRACE)
    found, dummy = pki.read_issuer(vault, mount, name)
    is_ours = found is None and set_name(vault, mount, unfinished.issuer_id, name)
    if is_ours:
        delete_unused_keys(vault, mount, name)
    return is_ours, found or pki.read_new_issuer(vault, mount, name)


def create(vault: Vault, options: dict[str, Any], parent: Issuer) -> tuple[bool, Issuer]:
    """Create the intermediate, or roll back. Returns whether this run created it, and the issuer."""
    mount, name, data = options["mount"], options["issuer_name"], authority.request_data(options)
    key_name = options["key_name"] or f"{name}{MARK}{secrets.token_hex(4)}"
    key_request = {
        "common_name": data["common_name"],
        **{parameter: data[parameter] for parameter in KEY},
        "key_name": key_name,
    }
    generated: dict[str, Any] = {}
    try:
        generated = vault.create_once(f"{mount}/{GENERATE}", key_request)["data"]
        sign_request = {parameter: value for parameter, value in data.items() if parameter not in KEY}
        sign_request["csr"] = generated["csr"]
        signed = vault.request("POST", signing_path(options, parent), sign_request)["data"]
        bundle = [signed["certificate"], *read_chain(vault, parent)]
        issuer_id = import_chain(vault, mount, bundle, generated["key_id"])
        named = pki.find_issuer(pki.list_issuers(vault, mount), name)
        if named and named.issuer_id == issuer_id:  # a concurrent run finished this issuer
            return False, pki.read_new_issuer(vault, mount, name)
        is_ours = bool(issuer_id) and set_name(vault, mount, issuer_id, name)
    except VaultError as exc:
        if generated or exc.lost:
            roll_back(vault, mount, generated.get("key_id") or key_name, exc)
        raise
    if is_ours:
        delete_unused_keys(vault, mount, name)
    else:  # a concurrent run was faster
        roll_back(vault, mount, generated["key_id"])
    return is_ours, pki.read_new_issuer(vault, mount, name)


def roll_back(vault: Vault, mount: str, key: str, first: VaultError | None = None) -> None:
    """Delete a key, given by identifier or name, and its issuers. A failure is added to the first error."""
    try:
        for issuer in pki.list_issuers(vault, mount):
            if issuer.key_id == key:
                vault.delete(f"{mount}/issuer/{issuer.issuer_id}")
        vault.delete(f"{mount}/key/{key}")
    except VaultError as exc:
        if first is None:
            raise
        first.add(f"The unused key {key} may remain in mount {mount}. Delete it: {exc}", left_behind=key)


def delete_unused_keys(vault: Vault, mount: str, name: str) -> None:
    """Delete the keys that interrupted or slower runs generated for this intermediate."""
    used = {issuer.key_id for issuer in pki.list_issuers(vault, mount)}
    for key_id, key_name in pki.list_keys(vault, mount).items():
        if key_id not in used and re.fullmatch(rf"{re.escape(name + MARK)}[0-9a-f]{{8}}", key_name):
            try:
                vault.delete(f"{mount}/key/{key_id}")
            except VaultError as exc:
                vault.module.warn(f"The key {key_name} in mount {mount} remains from an interrupted run: {exc}")


def read_chain(vault: Vault, issuer: Issuer) -> list[str]:
    """The certificates from the issuer to the root as PEM."""
    data = vault.read(f"{issuer.mount}/issuer/{issuer.issuer_id}/json") or {}
    return [pem.strip() for pem in data.get("ca_chain") or [issuer.pem]]


def import_chain(vault: Vault, mount: str, bundle: list[str], key_id: str) -> str:
    """Import the certificates and return the identifier of the issuer that has the key.

    Empty when a concurrent run has finished and deleted the key. Then the imported intermediate is deleted again.
    """
    data = vault.request("POST", f"{mount}/{IMPORT}", {"pem_bundle": "\n".join(bundle)})["data"]
    for issuer_id, its_key in data["mapping"].items():
        if its_key == key_id:
            return str(issuer_id)
    for issuer in pki.list_issuers(vault, mount):
        if issuer.issuer_id in (data["imported_issuers"] or []):
            imported = pki.read_certificate(vault, issuer)
            if imported and imported.pem.strip() == bundle[0].strip():
                vault.delete(f"{mount}/issuer/{issuer.issuer_id}")
    return ""


def set_name(vault: Vault, mount: str, issuer_id: str, name: str) -> bool:
    """Name an issuer. Returns False when another issuer has the name."""
    try:
        vault.patch(f"{mount}/issuer/{issuer_id}", {"issuer_name": name})
    except VaultError as exc:
        if "already in use" in exc.reason:
            return False
        named = pki.find_issuer(pki.list_issuers(vault, mount), name) if exc.lost else None
        if named is None or named.issuer_id != issuer_id:
            raise
    return True


def needs_default(vault: Vault, mount: str, issuers: list[Issuer], is_ours: bool, existed: bool) -> bool:
    """Whether this run must set the default issuer of a mount that has none.

    The run that creates the first issuer sets it. If that run was not this one, it gets some time before this one does.
    """
    if any(issuer.is_default for issuer in issuers) or not (is_ours or existed):
        return False
    if existed:
        time.sleep(GRACE)
        return not any(issuer.is_default for issuer in pki.list_issuers(vault, mount))
    return True
