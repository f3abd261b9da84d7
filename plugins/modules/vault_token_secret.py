#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_token_secret
short_description: Manage a Vault token in a Kubernetes Secret
version_added: 0.1.0
description:
  - Creates a token and stores it in a Secret, for a client that does not log in and does not renew its token, such as
    cert-manager with C(tokenSecretRef).
  - The token is passed from Vault to Kubernetes inside this module. No result, diff, log, file or process list contains
    it.
  - The module looks up the token of the Secret in Vault. It replaces a token that is not valid, has other policies or
    expires too early, and revokes the replaced one. A periodic token that only expires too early is renewed.
  - Vault revokes the child tokens of a revoked token, too.
  - Every token that this module creates is stored or revoked, even when responses of Vault or Kubernetes are lost. If
    neither is possible, the failure names the token by its accessor (RV(accessor), RV(left_behind)). If the module is
    killed between both requests, the token remains valid until it expires.
  - The display name of a new token ends with a random mark. With it, the module finds and revokes a token when the
    response that contains it is lost, if the login is permitted to list and look up accessors.
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
      - Until the remaining TTL of the token is less than O(minimum_ttl).
options:
  key:
    description: Key of the Secret that contains the token.
    type: str
    default: token
  policies:
    description:
      - Policies of the token. Required for O(state=present).
      - Vault adds V(default), except to a root token and if the login itself does not have V(default).
    type: list
    elements: str
  no_default_policy:
    description: Whether to omit the policy V(default). Then the token cannot renew or look up itself.
    type: bool
    default: false
  no_parent:
    description: Whether the token remains valid when the token of the login expires. The login needs C(sudo) for it.
    type: bool
    default: false
  renewable:
    description: Whether the token can be renewed.
    type: bool
    default: true
  ttl:
    description: TTL of the token, a duration. The module fails if it exceeds Vault's limit, by default 768h.
    type: str
  period:
    description:
      - TTL of a periodic token after each renewal, a duration. The number of renewals is not limited.
      - The login needs C(sudo) for it.
    type: str
  minimum_ttl:
    description: Minimum remaining TTL, a duration. A token below it is renewed if it has a O(period), else replaced.
    type: str
    default: "0"
seealso:
  - module: servicemesh.pki.vault_resource
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Create a token for cert-manager, and renew it in its last ten days
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
  description: What the module did, in check mode what it would do.
  returned: success
  type: str
  choices: ["none", created, replaced, renewed, removed]
  sample: replaced
code:
  description:
    - Kind of the failure. It does not change when the text of the message does. The notes describe the codes of the
      connection.
    - "Of the request: V(invalid_option), V(invalid_duration), V(validity_too_short), V(validity_too_long)."
    - "Of the credential: V(unknown_credential), V(credential_unmanaged)."
    - "Of the cluster: V(ambiguous_cluster), V(no_login), V(no_host), V(invalid_kubeconfig), V(kubernetes_refused),
      V(kubernetes_namespace_not_found), V(outcome_unknown), V(missing_library). V(unreachable) and V(answer_lost) can
      be about the cluster, too; the message names the server."
  returned: failure
  type: str
  sample: kubernetes_refused
reasons:
  description: Why the token was replaced or renewed, by name, each with C(expected) and C(found).
  returned: success
  type: dict
  sample: {"minimum_ttl": {"expected": "10d", "found": "9d"}}
left_behind:
  description:
    - Accessor of a token that the module could not revoke, or the mark of one that it could not search for.
    - The message contains it, too.
  returned: failure, when a token may remain
  type: str
accessor:
  description: Accessor of a new token, with C(outcome_unknown).
  returned: failure
  type: str
facts:
  description:
    - Public facts of the token, C(policies), C(renewable), C(orphan), C(period) in seconds and C(expire_time).
    - Empty when it is removed. In check mode, C(expire_time) of a new token is none.
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
