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
extends_documentation_fragment:
  - community.hashi_vault.connection
  - community.hashi_vault.auth
  - servicemesh.pki._attributes
  - servicemesh.pki._vault
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - Until the token has less life left than O(minimum_ttl).
requirements:
  - kubernetes (Python library) on the host that runs the module
options:
  kubernetes:
    description:
      - The cluster, with option names and C(K8S_AUTH_*) variables of the collection kubernetes.core.
    type: dict
    suboptions:
      kubeconfig:
        description: A kubeconfig file.
        type: path
      context:
        description: Context in the kubeconfig.
        type: str
      host:
        description: URL of the API server, instead of a kubeconfig.
        type: str
      api_key:
        description: Bearer token for the API server.
        type: str
      ca_cert:
        description: File with the CA of the API server.
        type: path
      client_cert:
        description: File with a client certificate.
        type: path
      client_key:
        description: File with its key.
        type: path
      validate_certs:
        description: Whether the API server's certificate is verified.
        type: bool
  secret_name:
    description: Name of the Secret. Made when it does not exist, with its other keys left alone when it does.
    type: str
    required: true
  secret_namespace:
    description: Namespace of the Secret in Kubernetes. It must exist. (O(namespace) is Vault's.)
    type: str
    required: true
  key:
    description: Key in the Secret.
    type: str
    default: token
  policies:
    description: Policies of the token. Required for O(state=present). V(default) comes on top.
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
  state:
    description: V(absent) revokes the token and takes it out of the Secret, which goes too when nothing else is in it.
    type: str
    choices: [present, absent]
    default: present
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

from ansible_collections.servicemesh.pki.plugins.module_utils import _diff, _duration
from ansible_collections.servicemesh.pki.plugins.module_utils import _vault_token as tokens
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_connection import Vault, hide, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_secret import CLUSTER_OPTIONS, SecretValue


def decide(params: dict[str, Any], token: str | None, found: dict[str, Any]) -> tuple[str, _diff.Differences]:
    if not token:
        return "created", {}
    if not found:
        return "replaced", {"token": {"wanted": "alive", "found": "expired, revoked or unknown to this Vault"}}
    reasons = tokens.differences(params, found)
    if set(reasons) == {"minimum_ttl"} and found.get("period") and found.get("renewable"):
        return "renewed", reasons
    return ("replaced" if reasons else "none"), reasons


def put(module: Any, vault: Vault, secret: SecretValue) -> None:
    made = tokens.create(vault, module.params)
    hide(module, made["client_token"])
    try:
        secret.write(made["client_token"])
    except VaultError:
        tokens.revoke(vault, made["client_token"])
        raise


def retire(vault: Vault, token: str | None, found: dict[str, Any]) -> None:
    """Revokes what was replaced, but never the login of this very run."""
    if token and found and token != vault.client.token:
        tokens.revoke(vault, token)


def present(module: Any, vault: Vault, secret: SecretValue, token: str | None, found: dict) -> dict[str, Any]:
    params = module.params
    tokens.check_life(vault, params)
    secret.check_namespace()
    action, reasons = decide(params, token, found)
    after = tokens.facts(found)
    if action in ("created", "replaced"):
        after = {**tokens.wanted(params), "expire_time": None}
    elif action == "renewed":
        after["expire_time"] = None
    if action != "none" and not module.check_mode:
        if action == "renewed":
            tokens.renew(vault, token)
        else:
            put(module, vault, secret)
            retire(vault, token, found)
        after = tokens.facts(tokens.look_up(vault, secret.read()))
    return result(action, reasons, tokens.facts(found), after)


def absent(module: Any, vault: Vault, secret: SecretValue, token: str | None, found: dict) -> dict[str, Any]:
    if not token:
        return result("none", {}, {}, {})
    if not module.check_mode:
        retire(vault, token, found)
        secret.remove()
    return result("removed", {}, {"in_secret": True, **tokens.facts(found)}, {})


def result(action: str, reasons: _diff.Differences, before: dict, after: dict) -> dict[str, Any]:
    diff = {"before": before, "after": after}
    return dict(changed=action != "none", action=action, reasons=reasons, facts=after, diff=diff)


def work(module: Any, vault: Vault) -> dict[str, Any]:
    params = module.params
    for name in ("ttl", "period", "minimum_ttl"):
        _duration.seconds(params[name] or 0)
    secret = SecretValue(params["kubernetes"], params["secret_namespace"], params["secret_name"], params["key"])
    token = secret.read()
    if token:
        hide(module, token)
    do = present if params["state"] == "present" else absent
    return do(module, vault, secret, token, tokens.look_up(vault, token))


def main() -> None:
    run(
        work,
        dict(
            kubernetes=dict(type="dict", options=CLUSTER_OPTIONS),
            secret_name=dict(type="str", required=True, no_log=False),
            secret_namespace=dict(type="str", required=True, no_log=False),
            key=dict(type="str", default="token", no_log=False),
            policies=dict(type="list", elements="str"),
            no_default_policy=dict(type="bool", default=False),
            no_parent=dict(type="bool", default=False),
            renewable=dict(type="bool", default=True),
            ttl=dict(type="str"),
            period=dict(type="str"),
            minimum_ttl=dict(type="str", default="0"),
            state=dict(type="str", choices=["present", "absent"], default="present"),
        ),
        required_if=[("state", "present", ["policies"])],
        mutually_exclusive=[("ttl", "period")],
    )


if __name__ == "__main__":
    main()
