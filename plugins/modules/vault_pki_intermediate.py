#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_pki_intermediate
short_description: Manage an intermediate CA in Vault
version_added: 0.1.0
description:
  - Generates the private key inside Vault, requests a certificate from an issuer in another mount of the same Vault,
    and imports it with the certificates above it. Certificates of the intermediate therefore come with the complete
    chain, and C(ca.crt) of cert-manager is the root.
  - The key is of Vault's type C(internal), so it cannot be exported.
  - The name of the issuer identifies the intermediate. An existing issuer with that name is never reissued or
    overwritten. The module reports every option that differs, see O(on_drift).
  - The next run completes an interrupted one. If an issuer without a name has a key in the mount and matches the
    options, the module names it. It deletes keys without an issuer whose names begin with O(issuer_name) and
    C(.servicemesh-pki.).
  - An existing intermediate does not need its parent. If the parent was deleted, the module warns.
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
    description:
      - Name of the issuer in the mount. Letters and digits, with C(_), C(-) or C(.) between them, not V(default).
    type: str
    required: true
  key_name:
    description:
      - Name of the key of a new intermediate. It is not compared.
      - The default is O(issuer_name), C(.servicemesh-pki.) and random characters. If you set it, the module fails when
        an interrupted run has left a key with that name.
    type: str
  parent_mount:
    description: Path of the PKI engine of the parent issuer.
    type: str
    default: pki
  parent_issuer:
    description: Name or identifier of the parent issuer. V(default) is the default issuer of O(parent_mount).
    type: str
    default: default
  default:
    description:
      - Whether to make it the default issuer of the mount. V(false) does not change an existing default.
      - In a mount without a default issuer, it always becomes the default.
    type: bool
    default: false
  state:
    description:
      - V(absent) deletes the issuer and B(permanently destroys its private key). The certificates above it remain.
      - It fails if the intermediate is the default issuer of the mount, or has signed a valid certificate in this
        mount.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Whether O(state=absent) deletes an intermediate that is in use.
    type: bool
    default: false
seealso:
  - module: servicemesh.pki.vault_pki_root
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Create the root CA
  servicemesh.pki.vault_pki_root:
    issuer_name: linkerd-root-1
    common_name: root.linkerd.cluster.local
    ttl: 2160h
    max_path_length: 2

- name: Enable a PKI engine for one cluster
  servicemesh.pki.vault_engine:
    path: pki-cluster-1
    type: pki
    max_lease_ttl: 2160h

- name: Create the intermediate CA that signs the issuers of that cluster
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
    - Public facts of the intermediate, in check mode those that can be predicted. Empty when it is deleted.
    - It has the keys of M(servicemesh.pki.vault_pki_issuer_info).
  returned: success
  type: dict
chain:
  description: The certificates from the intermediate to the root as PEM.
  returned: success, when the intermediate exists
  type: list
  elements: str
code:
  description:
    - Kind of the failure. It does not change when the text of the message does. The notes describe the codes of the
      connection.
    - "Of the issuer: V(issuer_mismatch), V(issuer_in_use), V(key_name_taken), V(unreadable_certificate),
      V(concurrent_change)."
    - "Of the parent: V(issuer_not_found), V(parent_cannot_sign)."
    - "Of the request: V(invalid_option), V(invalid_name), V(invalid_duration), V(unsupported_option),
      V(validity_too_short), V(validity_too_long), V(engine_type_mismatch)."
    - V(missing_library), when C(cryptography) cannot be imported.
  returned: failure
  type: str
  sample: issuer_mismatch
issuer_id:
  description: Identifier of the issuer, with C(issuer_in_use) and C(unreadable_certificate).
  returned: failure
  type: str
key_id:
  description: Identifier of the key that has the name, with C(key_name_taken).
  returned: failure
  type: str
left_behind:
  description: Identifier or name of a key that the module could not delete after a failure.
  returned: failure, when a key may remain
  type: str
differences:
  description: Options that differ from an existing intermediate, by name, each with C(expected) and C(found).
  returned: success, and failure with C(issuer_mismatch)
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
        raise VaultError(
            f"{name} expires at {end.isoformat()}, and the intermediate must not outlive it. Lower ttl, or set an "
            "earlier not_after.",
            code="validity_too_long",
        )
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
