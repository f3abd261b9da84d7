#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_prerequisites_info
short_description: Read the installed components that a mesh depends on
version_added: 0.3.0
description:
  - Reads from one cluster the components that a mesh depends on - Helm releases, controllers, custom resource
    definitions, namespaces, trust anchors and the identity issuer. Helm, the C(linkerd) CLI or plain manifests may have
    installed them.
  - Changes nothing. Sends about twenty requests, and reads only the newest revision of a release.
  - The values of a release are returned without passwords, tokens and private keys.
  - P(servicemesh.pki.preflight#filter) compares the result with what a run would do.
extends_documentation_fragment:
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
  - kubernetes.core.k8s_auth_options
options:
  linkerd_namespace:
    description: Namespace of Linkerd's control plane.
    type: str
    default: linkerd
  namespaces:
    description: Additional namespaces to read, and to search for the controllers of cert-manager and trust-manager.
    type: list
    elements: str
    default: []
  releases:
    description:
      - Helm releases to read, in addition to those that own an object that was found.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the release.
        type: str
        required: true
      namespace:
        description: Namespace of the release.
        type: str
        required: true
  objects:
    description: Definitions of objects to compare with the cluster. RV(objects) has the result, without their data.
    type: list
    elements: dict
    default: []
  count_objects:
    description: Whether to check for each of RV(definitions) if objects of its kind exist, and to list RV(uses).
    type: bool
    default: false
  gateway_api:
    description: Whether to look for the admission policy of the Gateway API.
    type: bool
    default: true
  helm_path:
    description: Name or path of the Helm CLI, whose version is read. If it is empty, the CLI is not run.
    type: str
    default: helm
  linkerd_path:
    description: Name or path of the linkerd CLI, whose version is read. If it is empty, the CLI is not run.
    type: str
    default: linkerd
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
notes:
  - Requires C(list) on CustomResourceDefinitions, ValidatingWebhookConfigurations, Bundles, and on ConfigMaps and pods
    of all namespaces; C(get) and C(list) on Secrets and C(list) on Deployments in the namespaces of the components;
    C(get) on these namespaces, on the ConfigMap C(linkerd-config), on every object in O(objects), and on the
    ValidatingAdmissionPolicy C(safe-upgrades.gateway.networking.k8s.io). O(count_objects) requires C(list) on the kinds
    of all RV(definitions). What is not permitted is listed in RV(unreadable).
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Read what the cluster has
  servicemesh.pki.mesh_prerequisites_info:
    kubeconfig: ~/.kube/config
    context: production
  register: found

- name: Show the versions that run
  ansible.builtin.debug:
    msg: "{{ item.component }} {{ item.version }} in namespace {{ item.namespace }}"
  loop: "{{ found.deployments }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
releases:
  description: Helm releases, each in its newest revision.
  returned: success
  type: list
  elements: dict
  contains:
    name: &name
      description: Name.
      type: str
      returned: always
    namespace: &namespace
      description: Namespace.
      type: str
      returned: always
    chart:
      description: Name of the chart.
      type: str
      returned: always
    chart_version:
      description: Version of the chart.
      type: str
      returned: always
    app_version:
      description: Version of the application.
      type: str
      returned: always
    status:
      description: Status, as Helm names it.
      type: str
      returned: always
      sample: deployed
    revision:
      description: Number of the revision.
      type: int
      returned: always
    managed:
      description:
        - V(installed) when this collection installed the release, V(taken-over) when it manages a release that others
          installed, empty when others manage it.
      type: str
      returned: always
    is_earlier:
      description: Whether a version of this collection before 0.3.0 installed the release.
      type: bool
      returned: always
    user_values:
      description: The values that the release was given, without secrets.
      type: dict
      returned: always
    hidden_values:
      description: Paths of the values that are not returned.
      type: list
      elements: str
      returned: always
    definitions:
      description: CustomResourceDefinitions in the manifest of the chart C(linkerd-crds). Empty for other charts.
      type: list
      elements: str
      returned: always
deployments:
  description: The controllers of cert-manager, trust-manager and Linkerd.
  returned: success
  type: list
  elements: dict
  contains:
    component:
      description: V(cert-manager), V(trust-manager) or V(linkerd).
      type: str
      returned: always
    name: *name
    namespace: *namespace
    version:
      description: Version that runs.
      type: str
      returned: always
    service_account:
      description: Service account of the controller.
      type: str
      returned: always
    release: &release
      description: The Helm release that it belongs to. None if it belongs to none.
      type: dict
      returned: always
    created_by:
      description: Program that created it, as Linkerd's annotation names it.
      type: str
      returned: always
    trust_namespace:
      description: Namespace that trust-manager reads sources from.
      type: str
      returned: when the component is trust-manager
    target_namespaces:
      description: The only namespaces that trust-manager writes to. Empty for all namespaces.
      type: list
      elements: str
      returned: when the component is trust-manager
    filters:
      description:
        - Certificates that trust-manager leaves out of Bundles - V(expired) for those that have expired, V(non_ca) for
          those that are no CA.
      type: list
      elements: str
      returned: when the component is trust-manager
definitions:
  description: CustomResourceDefinitions of the components and of the Gateway API.
  returned: success
  type: list
  elements: dict
  contains:
    name: *name
    component:
      description: V(cert-manager), V(trust-manager), V(linkerd), V(linkerd-multicluster) or V(gateway-api).
      type: str
      returned: always
    release: *release
    kept:
      description: Whether it has the annotation with which Helm never deletes it (C(helm.sh/resource-policy=keep)).
      type: bool
      returned: always
    bundle_version:
      description: Version of the Gateway API. Empty for others.
      type: str
      returned: always
    channel:
      description: Channel of the Gateway API. Empty for others.
      type: str
      returned: always
    created_by:
      description: Program that created it, as Linkerd's annotation names it.
      type: str
      returned: always
    in_use:
      description: Whether objects of the kind exist.
      type: bool
      returned: with O(count_objects)
admission_policies:
  description: Admission policies that limit changes of the Gateway API.
  returned: success
  type: list
  elements: str
namespaces:
  description: The namespaces by name.
  returned: success
  type: dict
objects:
  description: For each definition in O(objects), whether it exists in the cluster, and what manages it there.
  returned: success
  type: list
  elements: dict
  contains:
    api_version:
      description: API version.
      type: str
      returned: always
    kind:
      description: Kind.
      type: str
      returned: always
    name: *name
    namespace: *namespace
    exists:
      description: Whether it exists.
      type: bool
      returned: always
    managed:
      description: Whether this collection manages it.
      type: bool
      returned: always
    matches:
      description: Whether it matches the definition.
      type: bool
      returned: always
    owner:
      description: What manages it, if known.
      type: str
      returned: always
    gitops:
      description: The Argo CD application or the object of Flux that applies it from a Git repository, or empty.
      type: str
      returned: always
bundles:
  description: Bundles of trust-manager, with whether this collection manages them.
  returned: success
  type: list
  elements: dict
uses:
  description:
    - Objects that need cert-manager or trust-manager and that this collection does not manage, up to 50 of each kind.
    - Empty without O(count_objects).
  returned: success
  type: list
  elements: dict
  contains:
    component:
      description: V(cert-manager) or V(trust-manager).
      type: str
      returned: always
    kind:
      description: Kind.
      type: str
      returned: always
    name:
      description: Name. Empty if the objects of the kind cannot be read.
      type: str
      returned: always
    namespace: *namespace
    release: *release
anchor_sources:
  description: ConfigMaps C(linkerd-trust-anchors) of all namespaces, with the same keys as C(objects).
  returned: success
  type: list
  elements: dict
mesh:
  description:
    - Trust anchors, identity issuer and pods, as M(servicemesh.pki.linkerd_certificates_info) returns them, with the
      owners of the ConfigMap and the Secret, and the issuer that signed the certificate in the Secret.
  returned: success
  type: dict
programs:
  description: Version of C(helm) and C(linkerd). None for a program that is missing, empty for one that was not run.
  returned: success
  type: dict
  sample: {"helm": "3.22.0", "linkerd": "edge-26.6.3"}
unreadable:
  description:
    - What could not be read. C(kind), C(namespace) and C(name) identify it. Without C(name), objects of this kind could
      not be listed, in C(namespace) or in the cluster. C(what) is their text for messages, C(problem) the reason.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: Deployment
      name: ""
      namespace: linkerd
      problem: "the API server answered 403."
      what: Deployments of linkerd
code:
  description:
    - V(missing_library) when C(cryptography) cannot be imported.
    - V(ambiguous_cluster), V(no_login) or V(no_host) when the options and the environment do not name one cluster.
    - V(invalid_kubeconfig), V(unreachable), V(refused), V(server_busy) or V(unexpected_answer) when the API server
      cannot be used.
  returned: failure
  type: str
"""

import re
from typing import Any

from ansible.module_utils.common.process import get_bin_path

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, run
from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites.read import Reader
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AUTH_ARG_SPEC,
    ModuleWithPrograms,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography

COMMANDS = {"helm": ["version", "--short"], "linkerd": ["version", "--client", "--short"]}


def version(module: ModuleWithPrograms, program: str, name: str) -> str | None:
    """The version that a program prints; None when there is no such program."""
    if not program:
        return ""
    try:
        path = get_bin_path(program)
    except ValueError:
        return None
    dummy, output, dummy = module.run_command([path, *COMMANDS[name]])
    lines = output.strip().splitlines()
    return re.sub(r"^v|\+.*$", "", lines[-1].strip()) if lines else ""


def collect(module: ModuleWithPrograms, cluster: Cluster) -> dict[str, Any]:
    programs = {name: version(module, module.params[f"{name}_path"], name) for name in COMMANDS}
    return {"changed": False, "programs": programs, **Reader(cluster, module.params).all()}


def main() -> None:
    release = dict(name=dict(type="str", required=True), namespace=dict(type="str", required=True))
    module = ModuleWithPrograms(
        argument_spec={
            **AUTH_ARG_SPEC,
            "linkerd_namespace": dict(type="str", default="linkerd"),
            "namespaces": dict(type="list", elements="str", default=[]),
            "releases": dict(type="list", elements="dict", default=[], options=release),
            "objects": dict(type="list", elements="dict", default=[]),
            "count_objects": dict(type="bool", default=False),
            "gateway_api": dict(type="bool", default=True),
            "helm_path": dict(type="str", default="helm"),
            "linkerd_path": dict(type="str", default="linkerd"),
        },
        supports_check_mode=True,
    )
    cryptography.require(module)
    run(module, lambda cluster: collect(module, cluster))


if __name__ == "__main__":
    main()
