#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_pki_root
short_description: Manage a root CA in Vault
version_added: 0.1.0
description:
  - Generates the private key and the certificate of a root CA inside Vault. The key is of Vault's type C(internal), so
    it cannot be exported.
  - The name of the issuer identifies the root. An existing issuer with that name is never reissued or overwritten. The
    module reports every option that differs, see O(on_drift).
  - Concurrent runs create one issuer, because Vault refuses a name that is in use.
  - The module reads the new certificate and fails if it does not match the options.
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
    description:
      - Name of the issuer in the mount. Letters and digits, with C(_), C(-) or C(.) between them, not V(default).
    type: str
    required: true
  key_name:
    description: Name of the key of a new root. It is not compared.
    type: str
  default:
    description:
      - Whether to make it the default issuer of the mount. V(false) does not change the default.
      - If Vault makes every new issuer the default (C(default_follows_latest_issuer)), the module sets the previous
        default again at once.
    type: bool
    default: false
  state:
    description:
      - V(absent) deletes the issuer and B(permanently destroys its private key).
      - It fails if the root is the default issuer of the mount, or has signed a valid certificate in this mount.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Whether O(state=absent) deletes a root that is in use.
    type: bool
    default: false
seealso:
  - module: servicemesh.pki.vault_engine
  - module: servicemesh.pki.vault_pki_issuer_info
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Create the root CA of the mesh
  servicemesh.pki.vault_pki_root:
    mount: pki
    issuer_name: linkerd-root-1
    common_name: root.linkerd.cluster.local
    ttl: 2160h
    max_path_length: 1
    minimum_remaining: 30d
    default: true
  register: root

- name: Show its subject and expiry
  ansible.builtin.debug:
    msg: "{{ root.issuer.subject }} until {{ root.issuer.not_after }}"
"""

RETURN = r"""
issuer:
  description:
    - Public facts of the root, in check mode those that can be predicted. Empty when it is deleted.
    - In addition to the keys below, it has those of the filter P(servicemesh.pki.x509_certificates#filter).
  returned: success
  type: dict
  contains:
    mount:
      description: Path of the PKI engine.
      type: str
    issuer_id:
      description: Vault's identifier of the issuer.
      type: str
    issuer_name:
      description: Name of the issuer in the mount.
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
      description: SHA-256 fingerprint of the certificate.
      type: str
    not_after:
      description: Expiry of the certificate.
      type: str
code:
  description:
    - Kind of the failure. It does not change when the text of the message does. The notes describe the codes of the
      connection.
    - "Of the issuer: V(issuer_mismatch), V(issuer_in_use), V(key_name_taken), V(unreadable_certificate),
      V(concurrent_change)."
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
differences:
  description: Options that differ from an existing root, by name, each with C(expected) and C(found).
  returned: success, and failure with C(issuer_mismatch)
  type: dict
  sample: {"minimum_remaining": {"expected": "30d", "found": "29d"}}
"""

from dataclasses import replace
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
    sets_default = []
    if issuers and (options["default"] or pki.default_follows(vault, mount)):
        sets_default = [("update", f"{mount}/config/issuers")]
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


def restore_default(vault: Vault, found: Issuer, issuers: list[Issuer]) -> Issuer:
    """The new root, not as the default issuer. Vault makes it the default if default_follows_latest_issuer is set."""
    previous = next((issuer for issuer in issuers if issuer.is_default), None)
    if not found.is_default or previous is None:
        return found
    try:
        pki.make_default(vault, previous)
    except VaultError as exc:
        exc.add(
            f"The new root {found.title} is now the default issuer, because default_follows_latest_issuer is set in "
            f"{found.mount}/config/issuers. Set default to {previous.issuer_name or previous.issuer_id} there."
        )
        raise
    return replace(found, is_default=False)


def present(module: Any, vault: Vault) -> dict[str, Any]:
    options = authority.validate_options(module.params)
    found, issuers = pki.read_issuer(vault, options["mount"], options["issuer_name"])
    before, changed = found.facts() if found else {}, False
    if found is None:
        check_request(vault, options, issuers)
        if module.check_mode:
            return authority.result(True, before, authority.predict_issuer(options, issuers), {})
        changed, found = generate(vault, options)
        if changed and not options["default"]:
            found = restore_default(vault, found, issuers)
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
