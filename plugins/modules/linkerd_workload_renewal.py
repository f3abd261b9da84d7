#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_workload_renewal
short_description: Wait until all workloads of a Linkerd mesh have certificates below a root
version_added: 0.3.0
description:
  - Waits until every running meshed pod presents a certificate that chains to a root in Vault. Proxies renew their
    certificates automatically, by default within 24 hours.
  - Reads the certificates at regular intervals. Prints the number of renewed pods, and the pods whose certificates
    expire last, whenever this changes.
  - Fails if the first reading fails. After that, it continues to wait if the cluster temporarily cannot be read.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
attributes:
  check_mode:
    details:
      - In check mode, the module reads the certificates once and does not wait.
options:
  issuers:
    description: The issuers in Vault, as RV(servicemesh.pki.vault_pki_issuer_info#module:issuers) lists them.
    type: list
    elements: dict
    required: true
  issuer_name:
    description: Name of the root in Vault.
    type: str
    required: true
  linkerd_namespace:
    description: Namespace of Linkerd's control plane.
    type: str
    default: linkerd
  pods:
    description:
      - Patterns of the pods to wait for, such as V(linkerd/linkerd-identity-*).
      - Each pattern must match a pod, so the module also waits until such a pod exists.
    type: list
    elements: str
    default: ["*"]
  ignored_pods:
    description: Patterns of pods that are left out, such as V(batch/nightly-*).
    type: list
    elements: str
    default: []
  leaves_timeout:
    description: Seconds for reading the certificates of all pods once.
    type: int
    default: 60
  interval:
    description: Seconds between two readings.
    type: int
    default: 60
  timeout:
    description: Seconds after which the task fails. The default is 25 hours.
    type: int
    default: 90000
requirements:
  - kubernetes >= 24.2.0
  - cryptography >= 42.0.0
notes:
  - Requires the permissions of M(servicemesh.pki.linkerd_certificates_info) with its option C(leaves).
  - Ansible's controller also requires the Python library cryptography.
seealso:
  - module: servicemesh.pki.linkerd_certificates_info
  - module: servicemesh.pki.linkerd_issuer_renewal
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Read the issuers of Vault
  servicemesh.pki.vault_pki_issuer_info:
    url: https://vault.example.com:8200
  register: vault

- name: Wait until all workloads have certificates below the new root
  servicemesh.pki.linkerd_workload_renewal:
    kubeconfig: ~/.kube/config
    context: production
    issuers: "{{ vault.issuers }}"
    issuer_name: linkerd-root-2
"""

RETURN = r"""
pods:
  description: Number of running meshed pods that match O(pods), without the ignored ones.
  returned: when the certificates could be read
  type: int
  sample: 40
waiting:
  description:
    - The pods whose certificates do not chain to the root, in descending order of expiry, and the patterns in O(pods)
      that match no pod.
  returned: when the certificates could be read
  type: list
  elements: str
  sample: [emojivoto/web-5f86686c4d-2xkwv]
message:
  description: The progress in one sentence, with the pods that renew last.
  returned: when the certificates could be read
  type: str
code:
  description:
    - V(pods_not_renewed) when pods still have other certificates after O(timeout).
    - The code of M(servicemesh.pki.linkerd_certificates_info) when the first reading fails.
  returned: failure
  type: str
"""
