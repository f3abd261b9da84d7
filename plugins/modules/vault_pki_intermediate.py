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


def read_parent(vault: Vault, options: dict[str, Any], child: Issuer | None) -> Issuer | None:
    """The issuer that signs. An existing intermediate does not need it: then it, or its mount, may be deleted."""
    mount, reference = options["parent_mount"], options["parent_issuer"]
    try:
        found, issuers = pki.read_issuer(vault, mount, reference)
    except VaultError as exc:
        if child is None or exc.status != 404:
            raise
        found, issuers = None, []
    if found is None and child:
        vault.module.warn(
            f"The parent issuer {reference} does not exist in mount {mount}, so it was not compared with the signer of "
            f"issuer {child.title}. Correct parent_issuer."
        )
    elif found is None:
        raise VaultError(
            f"The parent issuer {reference} does not exist in mount {mount}, which has: {pki.format_names(issuers)}. "
            "Create it first (vault_pki_root).",
            code="issuer_not_found",
        )
    return found


def check_parent(options: dict[str, Any], parent: Issuer) -> None:
    """Fail for what the parent's certificate forbids. Vault shortens or permits some of it without an error."""
    name, certificate = f"Issuer {parent.title}", parent.certificate
    limit = authority.basic_constraints(certificate)["max_path_length"]
    requested = options["max_path_length"]
    if limit == 0:
        message = f"{name} has path length 0, so it cannot sign a CA. Set parent_issuer to another issuer."
        raise VaultError(message, code="parent_cannot_sign")
    if limit > 0 and requested is not None and not 0 <= requested < limit:
        message = f"{name} has path length {limit}. Set max_path_length to 0 to {limit - 1}, not {requested}."
        raise VaultError(message, code="invalid_option")
    end = certificate.not_valid_after_utc
    if datetime.now(UTC) + timedelta(seconds=authority.requested_lifetime(options)) > end:
        message = f"{name} expires at {end.isoformat()}, and the intermediate must not outlive it. Request less."
        raise VaultError(message, code="validity_too_long")
    if not parent.key_id:
        message = f"{name} has no key in this Vault, so it cannot sign. Set parent_issuer to another issuer."
        raise VaultError(message, code="parent_cannot_sign")


def check_request(vault: Vault, options: dict[str, Any], parent: Issuer, issuers: list[Issuer]) -> None:
    """Fail for everything that can be known before Vault generates the key."""
    mount = options["mount"]
    pki.check_mount(vault, mount)
    authority.check_lifetime(options, parent.mount, pki.check_mount(vault, parent.mount))
    check_parent(options, parent)
    pki.check_key_name(vault, mount, options["key_name"], issuers)
    authority.check_supported(vault, steps.signing_path(options, parent), options)
    sets_default = [("update", f"{mount}/config/issuers")] if options["default"] or not issuers else []
    vault.check_capabilities(
        ("update", f"{mount}/{steps.GENERATE}"),
        ("update", steps.signing_path(options, parent)),
        ("update", f"{mount}/{steps.IMPORT}"),
        ("patch", f"{mount}/issuer/{uuid.UUID(int=0)}"),  # Vault chooses the identifier later
        *sets_default,
    )


def present(module: Any, vault: Vault) -> dict[str, Any]:
    options = authority.validate_options(module.params)
    name = options["issuer_name"]
    found, issuers = pki.read_issuer(vault, options["mount"], name)
    parent = read_parent(vault, options, found)
    before, is_ours = found.facts() if found else {}, False
    if found is None and parent:
        unfinished = steps.find_unfinished(vault, options, parent, issuers, datetime.now(UTC))
        if unfinished:
            vault.check_capabilities(("patch", f"{unfinished.mount}/issuer/{unfinished.issuer_id}"))
            predicted = {**unfinished.facts(), "issuer_name": name}
        else:
            check_request(vault, options, parent, issuers)
            predicted = authority.predict_issuer(options, issuers)
        if module.check_mode:
            return authority.result(True, before, predicted, {})
        if unfinished:
            is_ours, found = steps.finish(vault, options, unfinished)
        else:
            is_ours, found = steps.create(vault, options, parent)
    differing = authority.evaluate_drift(module, options, found, is_ours, parent)
    default = options["default"] or steps.needs_default(vault, options["mount"], issuers, is_ours, bool(before))
    after, sets_default = found.facts(), default and not found.is_default
    if sets_default:
        after["is_default"] = True
        pki.make_default(vault, found)
    changed = is_ours or sets_default
    return {**authority.result(changed, before, after, differing), "chain": steps.read_chain(vault, found)}


def absent(module: Any, vault: Vault) -> dict[str, Any]:
    found, issuers = pki.read_issuer(vault, module.params["mount"], module.params["issuer_name"])
    if found is None:
        return authority.result(False, {}, {}, {})
    pki.delete_issuer(vault, found, issuers, force=module.params["force"])
    return authority.result(True, found.facts(), {}, {})


def work(module: Any, vault: Vault) -> dict[str, Any]:
    cryptography.require(module)
    params = module.params
    params.update(mount=params["mount"].strip("/"), parent_mount=params["parent_mount"].strip("/"))
    if params["mount"] == params["parent_mount"]:
        message = f"mount and parent_mount are both {params['mount']}. Use another mount for the intermediate."
        raise VaultError(message, code="invalid_option")
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
