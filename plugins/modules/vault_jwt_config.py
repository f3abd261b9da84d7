#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_jwt_config
short_description: Configure the keys with which Vault verifies the tokens of a cluster
version_added: 0.3.0
description:
  - Writes the configuration of an auth method of type C(jwt) for the service account tokens of one Kubernetes cluster.
  - Clusters change the keys with which they sign tokens, and managed clusters can do so within days. Vault follows a
    change when it reads the keys from the cluster's OIDC discovery document or key set. With static keys, a change
    breaks every login until the new keys are written.
  - With O(keys=auto), the module tries the discovery document, the key set and static keys in this order, and uses the
    first that Vault accepts. Vault fetches an address before it accepts it, so a refusal usually means that Vault
    cannot reach the address.
  - If Vault accepts no source, or after another error, the module restores the earlier configuration, if there was one.
extends_documentation_fragment:
  - community.hashi_vault.connection
  - community.hashi_vault.auth
  - servicemesh.pki._attributes
  - servicemesh.pki._vault
attributes:
  check_mode:
    support: partial
    details:
      - Only a write shows whether Vault can reach an address. In check mode, an existing configuration that O(keys)
        permits is reported as unchanged. RV(source) is empty if several sources would be tried.
      - With O(role), the login that must fail is also sent in check mode if a discovery document is configured.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - An address that Vault has accepted is not written again. Static keys are replaced by an address as soon as Vault
        accepts one, with O(keys=auto).
options:
  path:
    description: Path of the auth method, without C(auth/).
    type: str
    required: true
  issuer:
    description: Issuer of the tokens, from RV(servicemesh.pki.service_account_issuer_info#module:issuer).
    type: str
    required: true
  keys:
    description:
      - Where Vault gets the keys from.
      - V(discovery) reads them from the OIDC discovery document at O(issuer), which must be an C(https) address.
      - V(jwks) reads them from the first of O(jwks_urls) that Vault accepts.
      - V(static) stores O(public_keys).
      - V(auto) uses the first of these that Vault accepts.
    type: str
    choices: [auto, discovery, jwks, static]
    default: auto
  jwks_urls:
    description: Addresses of the cluster's key set from the network of Vault. Only C(https) addresses are used.
    type: list
    elements: str
    default: []
  ca_certificate:
    description:
      - CA certificate of the cluster's API server in PEM. An address is tried with it and with the CAs that Vault's
        system trusts.
    type: str
    default: ""
  public_keys:
    description: The public keys in PEM, from RV(servicemesh.pki.service_account_issuer_info#module:public_keys).
    type: list
    elements: str
    default: []
  role:
    description:
      - Role of the auth method. With it, the module sends a login that must fail, and reads from the refusal whether
        Vault can fetch the keys that the discovery document names. This also applies to a document that is configured
        already. Without a role, only the document itself is tested.
    type: str
  take_over:
    description:
      - Whether to change an auth method that is configured for tokens of another issuer, and so of another cluster, or
        for tokens of any issuer.
      - With V(false), the module fails with the code V(auth_method_of_other_cluster) and changes nothing.
    type: bool
    default: false
seealso:
  - module: servicemesh.pki.service_account_issuer_info
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Read how the cluster signs tokens
  servicemesh.pki.service_account_issuer_info:
    context: production
  register: tokens

- name: Configure Vault to verify them
  servicemesh.pki.vault_jwt_config:
    path: jwt-production
    issuer: "{{ tokens.issuer }}"
    jwks_urls: "{{ tokens.jwks_urls }}"
    ca_certificate: "{{ tokens.ca_certificate }}"
    public_keys: "{{ tokens.public_keys }}"
    role: linkerd-identity-issuer-production
"""

RETURN = r"""
source:
  description: V(discovery), V(jwks) or V(static). Empty when check mode cannot predict it.
  returned: success
  type: str
url:
  description: Address that Vault reads the keys from. Empty for static keys.
  returned: success
  type: str
refusals:
  description: What Vault did not accept in this run, and its reason.
  returned: success
  type: list
  elements: dict
  sample:
    - source: jwks
      url: https://10.0.0.10:6443/openid/v1/jwks
      reason: error checking jwks URL
code:
  description:
    - Kind of the failure. It does not change when the text of the message does. The notes describe the codes of the
      connection.
    - V(no_keys), when there is no source of keys, or Vault accepts none.
    - V(auth_method_of_other_cluster), when the auth method is configured for tokens of another issuer, or
      for tokens of any issuer.
  returned: failure
  type: str
  sample: no_keys
differences:
  description: The settings that differed before, by name, each with C(expected) and C(found).
  returned: success
  type: dict
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import jwt_keys
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, run


def work(module: Any, vault: Vault) -> dict[str, Any]:
    return jwt_keys.configure(module, vault)


def main() -> None:
    run(
        work,
        dict(
            path=dict(type="str", required=True),
            issuer=dict(type="str", required=True),
            keys=dict(type="str", choices=["auto", "discovery", "jwks", "static"], default="auto", no_log=False),
            jwks_urls=dict(type="list", elements="str", default=[]),
            ca_certificate=dict(type="str", default=""),
            public_keys=dict(type="list", elements="str", default=[], no_log=False),
            role=dict(type="str"),
            take_over=dict(type="bool", default=False),
        ),
    )


if __name__ == "__main__":
    main()
