#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_upgrade_manifest
short_description: Render the manifests of a Linkerd that its CLI installed
version_added: 0.3.0
description:
  - Runs C(linkerd upgrade), which prints the manifests of the control plane with the values that are stored in the
    cluster, and changes nothing.
  - The manifests contain the private keys of Linkerd's webhooks, so set C(no_log) for the task.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
requirements:
  - cryptography >= 42.0.0
options:
  linkerd_path:
    description:
      - Name or path of the linkerd CLI. Its version must be that of the control plane, otherwise the manifests contain
        an upgrade.
    type: str
    default: linkerd
  linkerd_namespace:
    description: Namespace of Linkerd's control plane.
    type: str
    default: linkerd
  values:
    description:
      - Values of the chart to change, each by its path, such as V(identity.externalCA).
      - If V(identity.externalCA) becomes V(true) and V(identity.issuer.scheme) becomes V(kubernetes.io/tls), the trust
        anchors, the issuer and its key that the CLI was given are removed from the values, because every later
        C(linkerd upgrade) would fail with them. This also works if they have expired.
    type: dict
    default: {}
notes:
  - When O(host) and O(api_key) are set, the CLI reads a kubeconfig that exists in memory only, so no credential is on a
    disk or in the arguments of a process. This requires Linux.
seealso:
  - module: servicemesh.pki.linkerd_check
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Render Linkerd with an identity issuer of cert-manager
  servicemesh.pki.linkerd_upgrade_manifest:
    kubeconfig: ~/.kube/config
    context: production
    values:
      identity.externalCA: "true"
      identity.issuer.scheme: kubernetes.io/tls
  register: linkerd
  no_log: true

- name: Apply the manifests
  kubernetes.core.k8s:
    kubeconfig: ~/.kube/config
    context: production
    apply: true
    definition: "{{ linkerd.manifest }}"
  no_log: true
"""

RETURN = r"""
manifest:
  description: The manifests as YAML documents.
  returned: success
  type: str
code:
  description:
    - V(upgrade_refused) when C(linkerd upgrade) fails, for example because its CLI did not install the control plane.
    - V(missing_library) when C(cryptography) cannot be imported.
    - V(linkerd_missing) when the CLI is not installed.
    - V(ambiguous_cluster), V(no_login), V(no_host), V(invalid_kubeconfig) or V(unsupported_platform) when the options
      and the environment do not name one cluster.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.servicemesh.pki.plugins.module_utils._common import errors
from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import upgrade
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography


def work(module: AnsibleModule) -> dict:
    rc, out, err = upgrade.render(module)
    if rc != 0:
        raise PkiError(
            f"linkerd upgrade fails with exit code {rc}: {' '.join(err.split()) or 'no error output'}. Check that the "
            f"CLI installed the control plane in the namespace {module.params['linkerd_namespace']}.",
            code="upgrade_refused",
        )
    return dict(changed=False, manifest=out)


def unexpected_failure(exc: Exception) -> PkiError:
    return PkiError(
        f"linkerd upgrade cannot be run ({type(exc).__name__}). Run it in a terminal to see why.",
        code="upgrade_refused",
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            linkerd_path=dict(type="str", default="linkerd"),
            **access.AUTH_ARG_SPEC,
            linkerd_namespace=dict(type="str", default="linkerd"),
            values=dict(type="dict", default={}),
        ),
        supports_check_mode=True,
    )
    cryptography.require(module)
    errors.run(module, lambda: work(module), unexpected_failure)


if __name__ == "__main__":
    main()
