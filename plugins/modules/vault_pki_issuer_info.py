#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_pki_issuer_info
short_description: Read the issuers of a PKI mount in Vault
version_added: 0.1.0
description:
  - Lists the issuers of a mount and reads their certificates. Both are public in Vault, so no login is needed.
  - Sends one request for the list and one for each issuer.
extends_documentation_fragment:
  - community.hashi_vault.connection
  - community.hashi_vault.auth
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
  - servicemesh.pki._vault
options:
  auth_method:
    description: Auth method. The default is V(none), unlike in other modules, because no login is needed.
    type: str
    choices: [token, userpass, ldap, approle, aws_iam, azure, jwt, cert, gcp, none]
    default: none
  mount:
    description: Path of the PKI engine.
    type: str
    default: pki
  issuer:
    description: Name or identifier of the only issuer to read. V(default) is the default issuer of the mount.
    type: str
seealso:
  - module: servicemesh.pki.vault_pki_root
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Read all issuers without a token
  servicemesh.pki.vault_pki_issuer_info:
    mount: pki
  register: pki

- name: Show their subjects and expiry
  ansible.builtin.debug:
    msg: "{{ item.issuer_name }}: {{ item.subject }} until {{ item.not_after }}"
  loop: "{{ pki.issuers }}"
  loop_control:
    label: "{{ item.issuer_id }}"
"""

RETURN = r"""
issuers:
  description:
    - The issuers, the default one first, then by name. Empty when there is none, or none with the given name.
    - In addition to the keys below, they have those of the filter P(servicemesh.pki.x509_certificates#filter).
  returned: success
  type: list
  elements: dict
  contains:
    mount:
      description: Path of the PKI engine.
      type: str
    issuer_id:
      description: Vault's identifier of the issuer.
      type: str
    issuer_name:
      description: Name of the issuer in the mount, empty when it has none.
      type: str
    key_id:
      description: Vault's identifier of the key, empty when the key is not in this mount.
      type: str
    is_default:
      description: Whether it is the default issuer of the mount.
      type: bool
    certificate:
      description: The certificate as PEM.
      type: str
code:
  description:
    - Kind of the failure. It does not change when the text of the message does. The notes describe the codes of the
      connection.
    - V(engine_type_mismatch), when the engine of the mount is not of type C(pki).
    - V(login_required), when the mount or the namespace does not exist, or the engine is not of type C(pki), and the
      module has no token.
    - V(missing_library), when C(cryptography) cannot be imported.
  returned: failure
  type: str
  sample: engine_type_mismatch
unreadable:
  description:
    - Issuers whose certificates cannot be parsed, although Vault imported them. They are not in RV(issuers), and the
      module warns of each one.
    - In addition to the keys below, they have the keys that are listed for RV(issuers).
  returned: success
  type: list
  elements: dict
  contains:
    problem:
      description: Why the certificate cannot be parsed.
      type: str
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import pki
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import AUTH_METHODS, Vault, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography


def work(module: Any, vault: Vault) -> dict[str, Any]:
    cryptography.require(module)
    mount, reference = module.params["mount"].strip("/"), module.params["issuer"]
    try:
        listed = pki.list_issuers(vault, mount)
    except VaultError as exc:
        if exc.code != "login_required":
            raise
        raise VaultError(explain_missing_engine(vault, mount), 403, code=exc.code) from exc
    if not listed and vault.client.token:
        pki.check_mount(vault, mount)  # the list of an engine of another type may be empty, too
    if reference:
        found = pki.find_issuer(listed, reference)
        listed = [found] if found else []
    listed.sort(key=lambda issuer: (not issuer.is_default, issuer.issuer_name, issuer.issuer_id))
    issuers = list(pki.read_certificates(vault, listed))
    unreadable = [{**issuer.vault_facts(), "problem": issuer.problem} for issuer in issuers if issuer.problem]
    for issuer in (issuer for issuer in issuers if issuer.problem):
        module.warn(f"The certificate of issuer {issuer.title} cannot be read: {issuer.problem}. See `unreadable`.")
    readable = [issuer.facts() for issuer in issuers if not issuer.problem]
    return dict(changed=False, issuers=readable, unreadable=unreadable)


def explain_missing_engine(vault: Vault, mount: str) -> str:
    """Without a token, Vault refuses every path that is not public. The issuers of a PKI engine are."""
    where = f" in the namespace {vault.namespace}" if vault.namespace else ""
    return (
        f"Vault at {vault.url} has no PKI engine at {mount}{where}: it requires a login to list the issuers there, and "
        "those of a PKI engine are public. Check the mount and the namespace (pki_vault_mount and pki_vault_namespace "
        f"in the inventory).{vault.namespace_hint}"
    )


def main() -> None:
    run(
        work,
        dict(
            auth_method=dict(type="str", choices=AUTH_METHODS, default="none"),
            mount=dict(type="str", default="pki"),
            issuer=dict(type="str"),
        ),
    )


if __name__ == "__main__":
    main()
