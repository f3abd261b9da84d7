#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_account_issuer_info
short_description: How a cluster signs the tokens of its service accounts
version_added: 0.2.0
description:
  - Tells what somebody outside the cluster, such as Vault, needs to verify a token of a service account.
  - That is the name of the issuer, its public keys, and for those who ask the API server, the CA of its certificate.
  - All of it is public. Reading it needs only the role C(system:service-account-issuer-discovery) and the ConfigMap
    C(kube-root-ca.crt) that Kubernetes puts into every namespace.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: How does the cluster sign
  servicemesh.pki.service_account_issuer_info:
    kubeconfig: ~/.kube/config
    context: production
  register: tokens

- name: Let Vault verify its tokens, without a way from Vault to the cluster
  servicemesh.pki.vault_resource:
    path: auth/jwt-production/config
    data:
      bound_issuer: "{{ tokens.issuer }}"
      jwt_validation_pubkeys: "{{ tokens.public_keys }}"
"""

RETURN = r"""
issuer:
  description: The C(iss) of the tokens (RFC 7519, section 4.1.1).
  returned: success
  type: str
  sample: https://kubernetes.default.svc.cluster.local
public_keys:
  description:
    - The keys that the tokens are signed with as PEM (C(PUBLIC KEY)), in the order of the cluster's key set (RFC 7517).
    - A cluster changes them now and then; then what was told of them has to be told anew.
  returned: success
  type: list
  elements: str
ca_certificate:
  description: The CA of the API server's own certificate as PEM.
  returned: success
  type: str
"""

import json
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import jwk
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import (
    ANSWER,
    Cluster,
    ClusterError,
    run,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Wanted
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography

try:
    from kubernetes import client
except ImportError:  # AnsibleK8SModule says so
    client = None

CA = Wanted("v1", "ConfigMap", "kube-root-ca.crt", "kube-system")


def document(api: Any, call: str) -> dict[str, Any]:
    """The answer as it is; the client would make a text of it that is no JSON. Newer ones have a name for that."""
    raw = getattr(api, f"{call}_without_preload_content", None)
    request = {"_request_timeout": ANSWER}
    answer = raw(**request) if raw else getattr(api, call)(_preload_content=False, **request)
    return json.loads(answer.data if answer.data is not None else answer.read())


def work(cluster: Cluster) -> dict[str, Any]:
    found = cluster.get(CA)
    if found is None:
        raise ClusterError(f"{CA} does not exist, so the API server's CA is not known. Wait until the cluster is up.")
    api_client = cluster.client.client.client
    key_set = document(client.OpenidApi(api_client), "get_service_account_issuer_open_id_keyset")
    settings = document(client.WellKnownApi(api_client), "get_service_account_issuer_open_id_configuration")
    try:
        keys = [jwk.public_key_pem(key) for key in key_set["keys"]]
    except jwk.JwkError as exc:
        raise ClusterError(f"The cluster's key set (/openid/v1/jwks) cannot be used: {exc}.") from exc
    return dict(changed=False, issuer=settings["issuer"], public_keys=keys, ca_certificate=found["data"]["ca.crt"])


def main() -> None:
    module = AnsibleK8SModule(argument_spec=dict(AUTH_ARG_SPEC), supports_check_mode=True)
    cryptography.require(module)
    run(module, work)


if __name__ == "__main__":
    main()
