#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


from __future__ import annotations

DOCUMENTATION = r"""
module: vault_approle_secret
short_description: Manage an AppRole secret ID in a Kubernetes Secret
version_added: 0.2.0
description:
  - Creates a secret ID and stores it in a Secret, for a client that logs in to Vault with AppRole, such as cert-manager
    with C(appRole).
  - The secret ID is passed from Vault to Kubernetes inside this module. No result, diff, log, file or process list
    contains it.
  - The module looks up the secret ID of the Secret in Vault. It replaces one that is not valid or expires too early,
    and destroys the replaced one.
  - Every secret ID that this module creates is stored or destroyed, even when responses of Vault or Kubernetes are
    lost. If neither is possible, the failure names it by its accessor (RV(accessor), RV(left_behind)). If the module is
    killed between both requests, the secret ID remains valid until it expires.
  - The metadata C(servicemesh_pki_request) of a new secret ID is a random mark. With it, the module finds and destroys
    a secret ID when the response that contains it is lost, if the login is permitted to list and look up
    the accessors of the role.
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
      - Until the remaining TTL of the secret ID is less than O(minimum_ttl).
options:
  mount:
    description: Path of the AppRole auth method, without C(auth/).
    type: str
    default: approle
  role:
    description:
      - Name of the role. Its setting C(secret_id_ttl) is the TTL of the secret ID.
      - Vault shortens it to C(max_lease_ttl) of the auth method, by default 32 days.
    type: str
    required: true
  key:
    description: Key of the Secret that contains the secret ID.
    type: str
    default: secretId
  minimum_ttl:
    description: Minimum remaining TTL, a duration. A secret ID below it is replaced.
    type: str
    default: "0"
seealso:
  - module: servicemesh.pki.vault_resource
  - module: servicemesh.pki.vault_token_secret
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Create a secret ID for cert-manager, and replace it in its last ten days
  servicemesh.pki.vault_approle_secret:
    kubernetes:
      kubeconfig: ~/.kube/config
      context: k3d-pki-cluster
    role: cert-manager
    secret_namespace: linkerd
    secret_name: vault-secret-id
    minimum_ttl: 10d
"""

RETURN = r"""
action:
  description: What the module did, in check mode what it would do.
  returned: success
  type: str
  choices: ["none", created, replaced, removed]
  sample: replaced
code:
  description:
    - Kind of the failure. It does not change when the text of the message does. The notes describe the codes of the
      connection.
    - "Of the request: V(role_not_found), V(invalid_duration), V(validity_too_short)."
    - "Of the credential: V(unknown_credential), V(credential_unmanaged)."
    - "Of the cluster: V(ambiguous_cluster), V(no_login), V(no_host), V(invalid_kubeconfig), V(kubernetes_refused),
      V(kubernetes_namespace_not_found), V(outcome_unknown), V(missing_library). V(unreachable) and V(answer_lost) can
      be about the cluster, too; the message names the server."
  returned: failure
  type: str
  sample: kubernetes_refused
reasons:
  description: Why the secret ID was replaced, by name, each with C(expected) and C(found).
  returned: success
  type: dict
  sample: {"minimum_ttl": {"expected": "10d", "found": "9d"}}
left_behind:
  description:
    - Accessor of a secret ID that the module could not destroy, or the mark of one that it could not search for.
    - The message contains it, too.
  returned: failure, when a secret ID may remain
  type: str
accessor:
  description: Accessor of a new secret ID, with C(outcome_unknown).
  returned: failure
  type: str
facts:
  description:
    - Public facts of the secret ID. C(expire_time) is none when it does not expire.
    - Empty when it is removed. In check mode, C(expire_time) of a new secret ID is none.
  returned: success
  type: dict
  sample: {"expire_time": "2026-12-24T12:00:00Z"}
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.secret import SECRET_OPTIONS
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import credential
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.secret_id import SecretId


def work(module: Any, vault: Vault) -> dict[str, Any]:
    return credential.manage(module, SecretId(vault, module.params), module.params["key"])


def main() -> None:
    run(
        work,
        dict(
            **SECRET_OPTIONS,
            mount=dict(type="str", default="approle"),
            role=dict(type="str", required=True),
            key=dict(type="str", default="secretId", no_log=False),
            minimum_ttl=dict(type="str", default="0"),
        ),
    )


if __name__ == "__main__":
    main()
