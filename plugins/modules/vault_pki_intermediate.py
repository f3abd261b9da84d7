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
  - The key is always of Vault's type C(internal). A key that can be exported is not offered.
  - A run that was interrupted is finished by the next one. An issuer without a name that has a key of the mount, and
    that the parent signed as the options describe it, gets the name. A key without an issuer is deleted when its name
    begins with O(issuer_name) and C(.servicemesh-pki.).
  - An intermediate that exists does not need its parent. When that was deleted, this is a warning.
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
    description:
      - Name of the key in the mount, for a new intermediate. Not compared.
      - By default it is O(issuer_name), C(.servicemesh-pki.) and some letters. With a name of your own, a key that an
        interrupted run left is an error that names it.
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
    description:
      - V(true) makes it the mount's default issuer. Otherwise a default that exists is left alone.
      - In a mount without a default issuer it becomes the default.
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
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import authority, pki
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import intermediate as steps
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.pki import Issuer
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography


def parent_of(vault: Vault, options: dict[str, Any], child: Issuer | None) -> Issuer | None:
    """An intermediate that exists needs its parent no more, so the parent, or its mount, may be deleted."""
    mount, ref = options["parent_mount"], options["parent_issuer"]
    try:
        found, everything = pki.locate(vault, mount, ref)
    except VaultError as exc:
        if child is None or exc.status != 404:
            raise
        found, everything = None, []
    if found is None and child:
        vault.module.warn(
            f"There is no issuer {ref} in {mount}, so it was not compared with the signer of issuer {child.title}."
        )
    elif found is None:
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


def prepare(vault: Vault, options: dict[str, Any], parent: Issuer, everything: list[Issuer]) -> None:
    """All that can be known to be in the way, before anything is made."""
    mount = options["mount"]
    pki.check_mount(vault, mount)
    authority.check_lifetime(options, parent.mount, pki.check_mount(vault, parent.mount))
    check_parent(options, parent)
    pki.check_key_name(vault, mount, options["key_name"], everything)
    authority.check_known(vault, steps.signs_at(options, parent), options)
    makes_default = [("update", f"{mount}/config/issuers")] if options["default"] or not everything else []
    vault.foresee(
        ("update", f"{mount}/{steps.GENERATE}"),
        ("update", steps.signs_at(options, parent)),
        ("update", f"{mount}/{steps.IMPORT}"),
        ("patch", f"{mount}/issuer/{uuid.UUID(int=0)}"),  # Vault has yet to choose its identifier
        *makes_default,
    )


def present(module: Any, vault: Vault) -> dict[str, Any]:
    options = authority.checked(module.params)
    found, everything = pki.locate(vault, options["mount"], options["issuer_name"])
    parent = parent_of(vault, options, found)
    before, ours = found.facts() if found else {}, False
    if found is None and parent:
        left = steps.unfinished(vault, options, parent, everything, datetime.now(UTC))
        if left:
            vault.foresee(("patch", f"{left.mount}/issuer/{left.issuer_id}"))
        else:
            prepare(vault, options, parent, everything)
        if module.check_mode:
            foretold = {**left.facts(), "issuer_name": options["issuer_name"]} if left else {}
            return authority.result(True, before, foretold or authority.predicted(options, everything), {})
        ours, found = steps.finish(vault, options, left) if left else steps.make(vault, options, parent)
    differing = authority.judge(module, options, found, ours, parent)
    default = options["default"] or steps.lacks_default(vault, options["mount"], everything, ours, bool(before))
    after, moved = found.facts(), default and not found.is_default
    if moved:
        after["is_default"] = True
        pki.make_default(vault, found)
    return {**authority.result(ours or moved, before, after, differing), "chain": steps.chain(vault, found)}


def absent(module: Any, vault: Vault) -> dict[str, Any]:
    found, everything = pki.locate(vault, module.params["mount"], module.params["issuer_name"])
    if found is None:
        return authority.result(False, {}, {}, {})
    pki.remove(vault, found, everything, force=module.params["force"])
    return authority.result(True, found.facts(), {}, {})


def work(module: Any, vault: Vault) -> dict[str, Any]:
    cryptography.require(module)
    params = module.params
    params.update(mount=params["mount"].strip("/"), parent_mount=params["parent_mount"].strip("/"))
    if params["mount"] == params["parent_mount"]:
        raise VaultError("mount and parent_mount are the same: an intermediate needs a mount of its own.")
    pki.check_name("issuer_name", params["issuer_name"])
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
