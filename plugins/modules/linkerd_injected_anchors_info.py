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
  - Asks the API server what it would store for a new meshed pod (a dry run), and returns the trust anchors that
    Linkerd's proxy injector wrote into it.
  - The injector reads the ConfigMap C(linkerd-identity-trust-roots) through the kubelet, which refreshes it within
    about a minute. Pods that start before that get the old trust anchors.
extends_documentation_fragment:
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
  - kubernetes.core.k8s_auth_options
options:
  namespace:
    description: Namespace of the pod in the dry run. Admission policies there must permit pods with a proxy.
    type: str
    default: default
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
notes:
  - Needs C(create) on pods in that namespace. Nothing is stored.
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
    - The trust anchors that the injector wrote. Empty if RV(problem) is not.
    - Each has the keys of the filter P(servicemesh.pki.x509_certificates#filter), and C(certificate) as PEM.
  returned: success
  type: list
  elements: dict
problem:
  description: Why there are none, such as an injector that did not respond. Otherwise empty.
  returned: success
  type: str
code:
  description:
    - V(missing_library) when C(cryptography) cannot be imported.
    - V(ambiguous_cluster), V(no_login) or V(no_host) when the options and the environment do not name one cluster.
    - V(invalid_kubeconfig), V(unreachable), V(refused) or V(unexpected_answer) when the API server cannot be used.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, run
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    AnsibleK8SModule,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography

NAME = "linkerd-injection-dry-run"


def collect(cluster: Cluster, namespace: str) -> dict[str, Any]:
    resource = cluster.client.resource("Pod", "v1")
    pod = cluster.request(resource.create, body=definition(namespace), namespace=namespace, dry_run="All").to_dict()
    return {"changed": False, **sources.injected_source(pod)}


def definition(namespace: str) -> dict[str, Any]:
    """A pod that asks for a proxy. Its image is never pulled."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace, "annotations": {"linkerd.io/inject": "enabled"}},
        "spec": {"containers": [{"name": "dry-run", "image": "dry-run"}], "automountServiceAccountToken": True},
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
