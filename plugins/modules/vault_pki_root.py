#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_pki_root
short_description: A root CA whose key is born in Vault and never leaves it
version_added: 0.1.0
description:
  - Generates a root inside Vault, once. Vault itself makes another issuer each time it is asked.
  - The issuer's name in the mount is what makes it the same root. An issuer of that name is never made anew and never
    overwritten. Where it differs from the options, every difference is named, see O(on_drift).
  - Two runs at the same moment end with one issuer, because Vault refuses a name that is taken.
  - The new certificate is read back. Anything that Vault made otherwise than asked is an error.
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
    description: Path of the PKI engine.
    type: str
    default: pki
  issuer_name:
    description: Name of the issuer in the mount. Letters, digits, and C(_), C(-), C(.) between them; not V(default).
    type: str
    required: true
  key_name:
    description: Name of the key in the mount, for a new root. Not compared.
    type: str
  default:
    description: V(true) makes it the mount's default issuer. Otherwise the default is left alone.
    type: bool
    default: false
  state:
    description:
      - V(absent) deletes the issuer and its key. B(The key is lost for ever).
      - It is refused while the root is the mount's default, or has signed a certificate in this mount that is valid.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Whether O(state=absent) deletes a root that is the default or has signed something valid.
    type: bool
    default: false
seealso:
  - module: servicemesh.pki.vault_engine
  - module: servicemesh.pki.vault_pki_issuer_info
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: The trust anchor of the mesh
  servicemesh.pki.vault_pki_root:
    mount: pki
    issuer_name: linkerd-root-1
    common_name: root.linkerd.cluster.local
    ttl: 2160h
    max_path_length: 1
    minimum_remaining: 30d
    default: true
  register: root

- name: Show who it is
  ansible.builtin.debug:
    msg: "{{ root.issuer.subject }} until {{ root.issuer.not_after }}"
"""

RETURN = r"""
issuer:
  description:
    - Public facts of the root, in check mode of a new one what is known before. Empty when there is none.
    - Beside the keys below those of the filter P(servicemesh.pki.x509_certificates#filter).
  returned: success
  type: dict
  contains:
    mount:
      description: Path of the PKI engine.
      type: str
    issuer_id:
      description: Vault's own identifier, which no renaming changes.
      type: str
    issuer_name:
      description: Its name in the mount.
      type: str
    key_id:
      description: Vault's identifier of the key.
      type: str
    is_default:
      description: Whether it is the default issuer of the mount.
      type: bool
    certificate:
      description: The certificate as PEM.
      type: str
    fingerprint_sha256:
      description: SHA-256 of the certificate.
      type: str
    not_after:
      description: End of its life.
      type: str
differences:
  description: Where an existing root differs from the options, by name, each with C(wanted) and C(found).
  returned: success, and failure because of them
  type: dict
  sample: {"minimum_remaining": {"wanted": "30d", "found": "29d"}}
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import authority, pki
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.pki import Issuer
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography

GENERATE = "issuers/generate/root/internal"


def check_request(vault: Vault, options: dict[str, Any], issuers: list[Issuer]) -> None:
    """Fail for everything that can be known before Vault generates the root."""
    mount = options["mount"]
    authority.check_lifetime(options, mount, pki.check_mount(vault, mount))
    pki.check_key_name(vault, mount, options["key_name"], issuers)
    authority.check_supported(vault, f"{mount}/{GENERATE}", options)
    sets_default = [("update", f"{mount}/config/issuers")] if options["default"] and issuers else []
    vault.check_capabilities(("update", f"{mount}/{GENERATE}"), *sets_default)


def generate(vault: Vault, options: dict[str, Any]) -> tuple[bool, Issuer]:
    """Generate the root. Returns whether this run did, and the issuer: a concurrent run may have been faster."""
    mount, name = options["mount"], options["issuer_name"]
    data = {**authority.request_data(options), "issuer_name": name}
    if options["key_name"]:
        data["key_name"] = options["key_name"]
    is_ours = True
    try:
        vault.create_once(f"{mount}/{GENERATE}", data)
    except VaultError as exc:
        if "issuer name already in use" not in exc.reason:
            raise
        is_ours = False
    return is_ours, pki.read_new_issuer(vault, mount, name)


def present(module: Any, vault: Vault) -> dict[str, Any]:
    options = authority.validate_options(module.params)
    found, issuers = pki.read_issuer(vault, options["mount"], options["issuer_name"])
    before, changed = found.facts() if found else {}, False
    if found is None:
        check_request(vault, options, issuers)
        if module.check_mode:
            return authority.result(True, before, authority.predict_issuer(options, issuers), {})
        changed, found = generate(vault, options)
    differing = authority.evaluate_drift(module, options, found, changed)
    after = found.facts()
    if options["default"] and not found.is_default:
        changed = True
        after["is_default"] = True
        pki.make_default(vault, found)
    return authority.result(changed, before, after, differing)


def absent(module: Any, vault: Vault) -> dict[str, Any]:
    found, issuers = pki.read_issuer(vault, module.params["mount"], module.params["issuer_name"])
    if found is None:
        return authority.result(False, {}, {}, {})
    pki.delete_issuer(vault, found, issuers, force=module.params["force"])
    return authority.result(True, found.facts(), {}, {})


def work(module: Any, vault: Vault) -> dict[str, Any]:
    cryptography.require(module)
    params = module.params
    params["mount"] = params["mount"].strip("/")
    pki.check_name("issuer_name", params["issuer_name"])
    return present(module, vault) if params["state"] == "present" else absent(module, vault)


def main() -> None:
    run(
        work,
        dict(
            mount=dict(type="str", default="pki"),
            issuer_name=dict(type="str", required=True),
            key_name=dict(type="str", no_log=False),
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
