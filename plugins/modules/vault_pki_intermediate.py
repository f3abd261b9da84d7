#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_pki_intermediate
short_description: An intermediate CA in a mount of its own, signed by an issuer of another mount
version_added: 0.1.0
description:
  - Generates a key inside Vault, has it signed by an issuer of another mount of the same Vault, and imports the
    certificate with all that are above it. So what is issued comes with the whole chain, and cert-manager's C(ca.crt)
    is the root.
  - The issuer's name in the mount is what makes it the same intermediate. It is never made anew and never overwritten.
    Where it differs from the options, every difference is named, see O(on_drift).
  - The first issuer of a mount that has none becomes its default.
  - The key is always of Vault's type C(internal). A key that can be exported is not offered.
extends_documentation_fragment:
  - community.hashi_vault.connection
  - community.hashi_vault.auth
  - servicemesh.pki._attributes
  - servicemesh.pki._vault
  - servicemesh.pki._vault.authority
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  mount:
    description: Path of the PKI engine of the intermediate.
    type: str
    required: true
  issuer_name:
    description: Name of the issuer in the mount. Letters, digits, and C(_), C(-), C(.) between them; not V(default).
    type: str
    required: true
  key_name:
    description: Name of the key in the mount, for a new intermediate. Not compared.
    type: str
  parent_mount:
    description: Path of the PKI engine of the issuer that signs.
    type: str
    default: pki
  parent_issuer:
    description: Name or identifier of the issuer that signs. V(default) is the default issuer of O(parent_mount).
    type: str
    default: default
  default:
    description: V(true) makes it the mount's default issuer. Otherwise a default that exists is left alone.
    type: bool
    default: false
  state:
    description:
      - V(absent) deletes the issuer and its key, not the certificates above it. B(The key is lost for ever.)
      - It is refused while it is the mount's default, or has signed a certificate in this mount that is valid.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Whether O(state=absent) deletes one that is the default or has signed something valid.
    type: bool
    default: false
seealso:
  - module: servicemesh.pki.vault_pki_root
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: The root
  servicemesh.pki.vault_pki_root:
    issuer_name: linkerd-root-1
    common_name: root.linkerd.cluster.local
    ttl: 2160h
    max_path_length: 2

- name: A mount for one cluster
  servicemesh.pki.vault_engine:
    path: pki-cluster-1
    type: pki
    max_lease_ttl: 2160h

- name: Its intermediate, which can sign the issuers of that cluster
  servicemesh.pki.vault_pki_intermediate:
    mount: pki-cluster-1
    issuer_name: cluster-1
    parent_issuer: linkerd-root-1
    common_name: cluster-1.linkerd.cluster.local
    ttl: 1080h
    max_path_length: 1
"""

RETURN = r"""
issuer:
  description:
    - Public facts of the intermediate, in check mode of a new one what is known before. Empty when there is none.
    - The keys are those of M(servicemesh.pki.vault_pki_issuer_info).
  returned: success
  type: dict
chain:
  description: The certificates from the intermediate to the root as Vault gives them, as PEM.
  returned: success, when the intermediate exists
  type: list
  elements: str
differences:
  description: Where an existing intermediate differs from the options, by name, each with C(wanted) and C(found).
  returned: success, and failure because of them
  type: dict
"""

import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils import _cryptography, _vault_pki
from ansible_collections.servicemesh.pki.plugins.module_utils import _vault_authority as authority
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_connection import Vault, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_pki import Issuer

KEY = ("key_type", "key_bits")
GENERATE = "issuers/generate/intermediate/internal"
IMPORT = "issuers/import/cert"


def parent_of(vault: Vault, options: dict[str, Any]) -> Issuer:
    mount, ref = options["parent_mount"], options["parent_issuer"]
    found, everything = _vault_pki.locate(vault, mount, ref)
    if found is None:
        names = ", ".join(sorted(issuer.issuer_name or issuer.issuer_id for issuer in everything)) or "none"
        raise VaultError(
            f"There is no issuer {ref} in {mount} to sign with, only: {names}. Make it first (vault_pki_root)."
        )
    return found


def check_parent(options: dict[str, Any], parent: Issuer) -> None:
    """What the parent's own certificate forbids. Vault cuts or permits some of it without an error."""
    name, certificate = f"Issuer {parent.issuer_name} of {parent.mount}", parent.certificate
    limit = authority.basic(certificate)["max_path_length"]
    asked = options["max_path_length"]
    if limit == 0:
        raise VaultError(f"{name} has path length 0: it can sign no CA. Sign with another issuer.")
    if limit > 0 and asked is not None and not 0 <= asked < limit:
        raise VaultError(f"{name} has path length {limit}, so max_path_length must be 0 to {limit - 1}, not {asked}.")
    end = certificate.not_valid_after_utc
    if datetime.now(UTC) + timedelta(seconds=authority.lifetime(options)) > end:
        raise VaultError(f"{name} lives until {end.isoformat()}, and what it signs must not outlive it. Ask for less.")
    if not parent.key_id:
        raise VaultError(f"{name} has no key in this Vault, so it cannot sign. Sign with another issuer.")


def signs_at(options: dict[str, Any], parent: Issuer) -> str:
    """By the name that was given, because that is what a policy names."""
    return f"{parent.mount}/issuer/{options['parent_issuer']}/sign-intermediate"


def prepare(vault: Vault, options: dict[str, Any], parent: Issuer, everything: list[Issuer]) -> None:
    """All that can be known to be in the way, before anything is made."""
    mount = options["mount"]
    _vault_pki.check_mount(vault, mount)
    authority.check_lifetime(options, parent.mount, _vault_pki.check_mount(vault, parent.mount))
    check_parent(options, parent)
    _vault_pki.check_key_name(vault, mount, options["key_name"])
    authority.check_known(vault, signs_at(options, parent), options)
    makes_default = [("update", f"{mount}/config/issuers")] if options["default"] or not everything else []
    vault.foresee(
        ("update", f"{mount}/{GENERATE}"),
        ("update", signs_at(options, parent)),
        ("update", f"{mount}/{IMPORT}"),
        ("patch", f"{mount}/issuer/{uuid.UUID(int=0)}"),  # Vault has yet to choose its identifier
        *makes_default,
    )


def make(vault: Vault, options: dict[str, Any], parent: Issuer) -> tuple[bool, Issuer]:
    """Returns whether it was us. What was begun and not finished is taken back."""
    mount, asked = options["mount"], authority.request(options)
    named = {"key_name": options["key_name"]} if options["key_name"] else {}
    wish = {"common_name": asked["common_name"], **{name: asked[name] for name in KEY}, **named}
    begun = vault.request("POST", f"{mount}/{GENERATE}", wish)["data"]
    made = [f"key/{begun['key_id']}"]
    try:
        wish = {name: value for name, value in asked.items() if name not in KEY}
        signed = vault.request("POST", signs_at(options, parent), {**wish, "csr": begun["csr"]})["data"]
        issuer_id = bring_in(vault, mount, [signed["certificate"], *chain(vault, parent)], begun["key_id"])
        made.insert(0, f"issuer/{issuer_id}")
        ours = give_name(vault, mount, issuer_id, options["issuer_name"])
    except VaultError:
        with suppress(VaultError):
            take_back(vault, mount, made)
        raise
    if not ours:  # another run was faster
        take_back(vault, mount, made)
    found, dummy = _vault_pki.locate(vault, mount, options["issuer_name"])
    if found is None:
        raise VaultError(
            f"Issuer {options['issuer_name']} of {mount} was there a moment ago and is gone. "
            "Run again, and one thing at a time."
        )
    return ours, found


def take_back(vault: Vault, mount: str, made: list[str]) -> None:
    for place in made:
        vault.delete(f"{mount}/{place}")


def chain(vault: Vault, issuer: Issuer) -> list[str]:
    data = vault.read(f"{issuer.mount}/issuer/{issuer.issuer_id}/json") or {}
    return [pem.strip() for pem in data.get("ca_chain") or [issuer.pem]]


def bring_in(vault: Vault, mount: str, bundle: list[str], key_id: str) -> str:
    """Imports the chain and returns the identifier of the issuer that has the key."""
    answer = vault.request("POST", f"{mount}/{IMPORT}", {"pem_bundle": "\n".join(bundle)})["data"]
    return next(issuer_id for issuer_id, its_key in answer["mapping"].items() if its_key == key_id)


def give_name(vault: Vault, mount: str, issuer_id: str, name: str) -> bool:
    try:
        vault.patch(f"{mount}/issuer/{issuer_id}", {"issuer_name": name})
    except VaultError as exc:
        if "already in use" in exc.said:
            return False
        raise
    return True


def present(module: Any, vault: Vault) -> dict[str, Any]:
    options = authority.checked(module.params)
    mount = options["mount"]
    found, everything = _vault_pki.locate(vault, mount, options["issuer_name"])
    parent = parent_of(vault, options)
    before, ours = found.facts() if found else {}, False
    if found is None:
        prepare(vault, options, parent, everything)
        if module.check_mode:
            return authority.result(True, before, authority.predicted(options, everything), {})
        ours, found = make(vault, options, parent)
    differing = authority.judge(module, options, found, ours, parent)
    default = options["default"] or (ours and not everything)  # the first one, which whoever makes it sees to
    after, moved = found.facts(), default and not found.is_default
    if moved:
        after["is_default"] = True
        _vault_pki.make_default(vault, found)
    return {**authority.result(ours or moved, before, after, differing), "chain": chain(vault, found)}


def absent(module: Any, vault: Vault) -> dict[str, Any]:
    found, everything = _vault_pki.locate(vault, module.params["mount"], module.params["issuer_name"])
    if found is None:
        return authority.result(False, {}, {}, {})
    _vault_pki.remove(vault, found, everything, force=module.params["force"])
    return authority.result(True, found.facts(), {}, {})


def work(module: Any, vault: Vault) -> dict[str, Any]:
    _cryptography.require(module)
    params = module.params
    params.update(mount=params["mount"].strip("/"), parent_mount=params["parent_mount"].strip("/"))
    if params["mount"] == params["parent_mount"]:
        raise VaultError("mount and parent_mount are the same: an intermediate needs a mount of its own.")
    _vault_pki.check_name("issuer_name", params["issuer_name"])
    return present(module, vault) if params["state"] == "present" else absent(module, vault)


def main() -> None:
    run(
        work,
        dict(
            mount=dict(type="str", required=True),
            issuer_name=dict(type="str", required=True),
            key_name=dict(type="str", no_log=False),
            parent_mount=dict(type="str", default="pki"),
            parent_issuer=dict(type="str", default="default"),
            default=dict(type="bool", default=False),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            force=dict(type="bool", default=False),
            **authority.AUTHORITY_OPTIONS,
        ),
        required_if=[("state", "present", ["common_name"]), ("state", "present", ["ttl", "not_after"], True)],
        mutually_exclusive=[("ttl", "not_after")],
    )


if __name__ == "__main__":
    main()
