#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_injected_anchors_info
short_description: Read the trust anchors that Linkerd gives to new pods
version_added: 0.3.0
description:
  - Sends a new meshed pod to the API server as a dry run, and returns the trust anchors that Linkerd's proxy injector
    writes into it.
  - The injector reads the ConfigMap C(linkerd-identity-trust-roots) through the kubelet, which refreshes it within
    about a minute. Pods that start before that get the old trust anchors.
extends_documentation_fragment:
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
  - kubernetes.core.k8s_auth_options
options:
  namespace:
    description:
      - Namespace of the pod in the dry run. The proxy injector must serve it, and admission policies and quotas there
        must permit pods with a proxy.
      - The pod itself conforms to the level C(restricted) of the Pod Security Standards.
    type: str
    default: default
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
notes:
  - Requires C(create) on pods in O(namespace). Nothing is stored.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Wait until new pods trust two roots
  servicemesh.pki.linkerd_injected_anchors_info:
    context: production
  register: injected
  until: injected.certificates | length == 2
  retries: 30
  delay: 3
"""

RETURN = r"""
where:
  description: The pod of the dry run.
  returned: success
  type: str
certificates:
  description:
    - The trust anchors that the injector wrote. Empty if RV(problem) is set.
    - Each has the keys of the filter P(servicemesh.pki.x509_certificates#filter), and C(certificate), the PEM text.
  returned: success
  type: list
  elements: dict
problem:
  description: Why there are no trust anchors, such as an injector that did not respond. Otherwise empty.
  returned: success
  type: str
code:
  description:
    - V(missing_library) when C(cryptography) cannot be imported.
    - V(pod_rejected) when the API server or an admission policy rejects the pod. Another attempt does not change that.
    - V(ambiguous_cluster), V(no_login) or V(no_host) when the options and the environment do not name one cluster.
    - V(invalid_kubeconfig), V(unreachable), V(refused) or V(unexpected_answer) when the API server cannot be used.
  returned: failure
  type: str
"""

import contextlib
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, api_message, run
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography

with contextlib.suppress(ImportError):  # AnsibleK8SModule reports it before it is used
    from kubernetes.dynamic.exceptions import DynamicApiError

NAME = "linkerd-injection-dry-run"
PERMANENT = (400, 403, 404, 422)  # answers to a pod that admission rejects, and to one in a namespace without access


def collect(cluster: Cluster, namespace: str) -> dict[str, Any]:
    resource = cluster.client.resource("Pod", "v1")
    try:
        pod = cluster.request(resource.create, body=definition(namespace), namespace=namespace, dry_run="All").to_dict()
    except DynamicApiError as exc:
        if exc.status not in PERMANENT:
            raise
        sentence = f"The API server rejects a new pod in the namespace {namespace}: {exc.status} {exc.reason}."
        advice = "Set namespace to one in which pods with a proxy are permitted."
        raise ClusterError(f"{sentence} {api_message(exc)}. {advice}", code="pod_rejected") from exc
    return {"changed": False, **sources.injected_source(pod)}


def definition(namespace: str) -> dict[str, Any]:
    """A pod that asks for a proxy, at the level `restricted` of Pod Security. Its image is never pulled."""
    limits = {"cpu": "100m", "memory": "128Mi"}  # a quota can require them
    container = {
        "name": "dry-run",
        "image": "dry-run",
        "resources": {"requests": limits, "limits": limits},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace, "annotations": {"linkerd.io/inject": "enabled"}},
        "spec": {
            "containers": [container],
            "automountServiceAccountToken": True,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        },
    }


def main() -> None:
    module = AnsibleK8SModule(
        argument_spec={**AUTH_ARG_SPEC, "namespace": dict(type="str", default="default")},
        supports_check_mode=True,
    )
    cryptography.require(module)
    run(module, lambda cluster: collect(cluster, module.params["namespace"]))


if __name__ == "__main__":
    main()
