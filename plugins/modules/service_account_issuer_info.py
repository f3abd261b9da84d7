#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_account_issuer_info
short_description: Read how a cluster signs the tokens of its service accounts
version_added: 0.2.0
description:
  - Returns what a server outside the cluster, such as Vault, needs to verify a token of a service account.
  - That is the issuer, its public keys and the address of its key set, and the CA of the API server's certificate.
  - All of it is public. Reading it requires only the ClusterRole C(system:service-account-issuer-discovery), and
    C(get) on the ConfigMap C(kube-root-ca.crt) in the namespace C(kube-system).
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
seealso:
  - module: servicemesh.pki.vault_jwt_config
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Read how the cluster signs tokens
  servicemesh.pki.service_account_issuer_info:
    kubeconfig: ~/.kube/config
    context: production
  register: tokens

- name: Configure Vault to verify them
  servicemesh.pki.vault_jwt_config:
    path: jwt-production
    issuer: "{{ tokens.issuer }}"
    jwks_urls: "{{ tokens.jwks_urls }}"
    ca_certificate: "{{ tokens.ca_certificate }}"
    public_keys: "{{ tokens.public_keys }}"
"""

RETURN = r"""
issuer:
  description: The C(iss) of the tokens (RFC 7519, section 4.1.1).
  returned: success
  type: str
  sample: https://kubernetes.default.svc.cluster.local
jwks_urls:
  description: Address of the key set, as the cluster publishes it. It may be reachable inside the cluster only.
  returned: success
  type: list
  elements: str
  sample: [https://10.0.0.10:6443/openid/v1/jwks]
public_keys:
  description:
    - Keys that verify the tokens, in PEM (C(PUBLIC KEY)), in the order of the cluster's key set (RFC 7517).
    - A cluster changes them from time to time.
  returned: success
  type: list
  elements: str
key_ids:
  description: The IDs of these keys (C(kid)). A key without an ID has its position in the key set instead.
  returned: success
  type: list
  elements: str
ignored_keys:
  description:
    - Other keys of the key set, with the reason. RFC 7517, section 5, requires that unknown key types are ignored.
  returned: success
  type: list
  elements: str
ca_certificate:
  description: The CA of the API server's own certificate, in PEM.
  returned: success
  type: str
code:
  description:
    - V(no_keys) when no key of the key set can be used, V(ca_not_found) when the ConfigMap C(kube-root-ca.crt) does not
      exist.
    - V(missing_library) when C(cryptography) cannot be imported.
    - V(ambiguous_cluster), V(no_login) or V(no_host) when the options and the environment do not name one cluster.
    - V(invalid_kubeconfig), V(unreachable), V(refused), V(server_busy) or V(unexpected_answer)
      when the API server cannot be used.
  returned: failure
  type: str
"""

import json
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import jwk
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, run
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    REQUEST_TIMEOUT,
    AnsibleK8SModule,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography

try:
    from kubernetes import client
except ImportError:  # AnsibleK8SModule reports it
    client = None

CA_CONFIG_MAP = ObjectReference("v1", "ConfigMap", "kube-root-ca.crt", "kube-system")


def get_document(api: Any, call: str) -> dict[str, Any]:
    """The JSON document that an API returns. The client would convert it to a string that is not JSON."""
    raw = getattr(api, f"{call}_without_preload_content", None)
    request = {"_request_timeout": REQUEST_TIMEOUT}
    answer = raw(**request) if raw else getattr(api, call)(_preload_content=False, **request)
    return json.loads(answer.data if answer.data is not None else answer.read())


def read_issuer(cluster: Cluster) -> dict[str, Any]:
    found = cluster.get(CA_CONFIG_MAP)
    if found is None:
        raise ClusterError(
            f"{CA_CONFIG_MAP} does not exist, so the CA of the API server is unknown. Wait until the cluster runs.",
            code="ca_not_found",
        )
    api_client = cluster.client.client.client
    key_set = get_document(client.OpenidApi(api_client), "get_service_account_issuer_open_id_keyset")
    settings = get_document(client.WellKnownApi(api_client), "get_service_account_issuer_open_id_configuration")
    keys, ignored = jwk.usable_keys(key_set)
    if not keys:
        reasons = "; ".join(ignored) or "it is empty"
        raise ClusterError(
            f"The cluster's key set (/openid/v1/jwks) has no key that Vault can verify with: {reasons}. Sign the "
            "tokens with an RSA or EC key (--service-account-signing-key-file of kube-apiserver).",
            code="no_keys",
        )
    return dict(
        changed=False,
        issuer=settings["issuer"],
        jwks_urls=[settings["jwks_uri"]] if settings.get("jwks_uri") else [],
        public_keys=list(keys.values()),
        key_ids=list(keys),
        ignored_keys=ignored,
        ca_certificate=found["data"]["ca.crt"],
    )


def main() -> None:
    module = AnsibleK8SModule(argument_spec=dict(AUTH_ARG_SPEC), supports_check_mode=True)
    cryptography.require(module)
    run(module, read_issuer)


if __name__ == "__main__":
    main()
