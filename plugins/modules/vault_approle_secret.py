#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


from __future__ import annotations

DOCUMENTATION = r"""
module: vault_approle_secret
short_description: A Secret of Kubernetes that holds a living secret id of an AppRole
version_added: 0.2.0
description:
  - Keeps a secret id in a Secret, for a client that logs in to Vault by AppRole, such as cert-manager's C(appRole).
  - The secret id goes from Vault to Kubernetes inside this module. It is in no result, diff, log, file or process list.
  - The secret id in the Secret is looked up in Vault. One that is dead or has too little life left is replaced, and the
    replaced one is destroyed.
  - Every secret id that this module makes is stored or revoked, also when answers of Vault or of Kubernetes are lost.
    Where neither can be reached, the error names the secret id by its accessor (C(accessor), C(left_behind)). When the
    module is killed between both, the secret id is valid until it expires.
  - A new secret id carries the metadata C(servicemesh_pki_request), a random mark. By it the module finds and destroys
    one whose answer was lost, if the login may list and look up the accessors of the role.
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
      - Until the secret id has less life left than O(minimum_ttl).
options:
  mount:
    description: Path of the AppRole login method, without C(auth/).
    type: str
    default: approle
  role:
    description:
      - Name of the role. How long its secret ids live is a setting of the role, C(secret_id_ttl).
      - Vault cuts that to C(max_lease_ttl) of the login method, which is 32 days when nobody set it.
    type: str
    required: true
  key:
    description: Key in the Secret.
    type: str
    default: secretId
  minimum_ttl:
    description: A secret id with less life left than this, a duration, is replaced.
    type: str
    default: "0"
seealso:
  - module: servicemesh.pki.vault_resource
  - module: servicemesh.pki.vault_token_secret
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: A secret id for cert-manager, replaced by this task when it runs within the last ten days
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
  description: What was done, in check mode what would be.
  returned: success
  type: str
  choices: ["none", created, replaced, removed]
  sample: replaced
reasons:
  description: Why the secret id was replaced, by name, each with C(wanted) and C(found).
  returned: success
  type: dict
  sample: {"minimum_ttl": {"wanted": "10d", "found": "9d"}}
left_behind:
  description:
    - Accessor of a secret id that the module could not revoke, or the mark of one that it could not look for.
    - The message has it, too.
  returned: failure because of it
  type: str
accessor:
  description: Accessor of the new secret id, where it is not known whether the Secret has it.
  returned: failure because of it
  type: str
facts:
  description:
    - What may be told of the secret id. C(expire_time), none when it lives for ever.
    - In check mode the expiry of a new one is not known. Empty when there is none.
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
