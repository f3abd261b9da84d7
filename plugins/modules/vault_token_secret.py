#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_token_secret
short_description: A Secret of Kubernetes that holds a living token of Vault
version_added: 0.1.0
description:
  - Keeps a token in a Secret, for a client that can only use a token it is given, such as cert-manager's
    C(tokenSecretRef), which never renews it.
  - The token goes from Vault to Kubernetes inside this module. It is in no result, diff, log, file or process list.
  - The token in the Secret is looked up in Vault. One that is dead, has other policies or too little life left is
    replaced, and the replaced one is revoked. A token with a period is renewed while only its life is short.
  - Revoking a token revokes the tokens that it made, too.
  - Every token that this module makes is stored or revoked, also when answers of Vault or of Kubernetes are lost.
    Where neither can be reached, the error names the token by its accessor (C(accessor), C(left_behind)). When the
    module is killed between both, the token is valid until it expires.
  - The display name of a new token ends in a random mark. By it the module finds and revokes one whose answer was lost,
    if the login may list and look up accessors.
extends_documentation_fragment:
  - community.hashi_vault.connection
  - community.hashi_vault.auth
  - servicemesh.pki._attributes
  - servicemesh.pki._vault
  - servicemesh.pki._vault_secret
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - Until the token has less life left than O(minimum_ttl).
options:
  key:
    description: Key in the Secret.
    type: str
    default: token
  policies:
    description:
      - Policies of the token, in any case of letters. Required for O(state=present).
      - V(default) comes on top, unless it is a root token or the login has no V(default) to give.
    type: list
    elements: str
  no_default_policy:
    description: Whether the token goes without the policy V(default). Then it cannot renew or look up itself.
    type: bool
    default: false
  no_parent:
    description: Whether the token outlives the login that made it. The login needs the sudo right for that.
    type: bool
    default: false
  renewable:
    description: Whether the token may be renewed.
    type: bool
    default: true
  ttl:
    description: Life of the token, a duration. More than Vault gives, 768h by default, is an error.
    type: str
  period:
    description:
      - Life of the token from each renewal on, a duration, without an end as long as it is renewed.
      - The login needs the sudo right for that.
    type: str
  minimum_ttl:
    description: A token with less life left than this, a duration, is renewed if it has a O(period), else replaced.
    type: str
    default: "0"
seealso:
  - module: servicemesh.pki.vault_resource
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: A token for cert-manager, renewed by this task when it runs within the last ten days
  servicemesh.pki.vault_token_secret:
    kubernetes:
      kubeconfig: ~/.kube/config
      context: k3d-pki-cluster
    secret_namespace: cert-manager
    secret_name: vault-token
    policies: [cert-manager]
    period: 30d
    minimum_ttl: 10d
    no_parent: true
"""

RETURN = r"""
action:
  description: What was done, in check mode what would be.
  returned: success
  type: str
  choices: ["none", created, replaced, renewed, removed]
  sample: replaced
reasons:
  description: Why the token was replaced or renewed, by name, each with C(wanted) and C(found).
  returned: success
  type: dict
  sample: {"minimum_ttl": {"wanted": "10d", "found": "9d"}}
left_behind:
  description:
    - Accessor of a token that the module could not revoke, or the mark of one that it could not look for.
    - The message has it, too.
  returned: failure because of it
  type: str
accessor:
  description: Accessor of the new token, where it is not known whether the Secret has it.
  returned: failure because of it
  type: str
facts:
  description:
    - What may be told of the token. C(policies), C(renewable), C(orphan), C(period) in seconds, C(expire_time).
    - In check mode the expiry of a new one is not known. Empty when there is none.
  returned: success
  type: dict
  sample: {"policies": ["cert-manager", "default"], "renewable": true, "orphan": true, "period": 2592000,
           "expire_time": "2026-12-24T12:00:00Z"}
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import durations
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.secret import SECRET_OPTIONS
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import credential
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.token import Token


def work(module: Any, vault: Vault) -> dict[str, Any]:
    for name in ("ttl", "period"):
        if module.params[name] is not None:
            durations.positive(name, module.params[name])
    return credential.manage(module, Token(vault, module.params), module.params["key"])


def main() -> None:
    run(
        work,
        dict(
            **SECRET_OPTIONS,
            key=dict(type="str", default="token", no_log=False),
            policies=dict(type="list", elements="str"),
            no_default_policy=dict(type="bool", default=False),
            no_parent=dict(type="bool", default=False),
            renewable=dict(type="bool", default=True),
            ttl=dict(type="str"),
            period=dict(type="str"),
            minimum_ttl=dict(type="str", default="0"),
        ),
        required_if=[("state", "present", ["policies"])],
        mutually_exclusive=[("ttl", "period")],
    )


if __name__ == "__main__":
    main()
