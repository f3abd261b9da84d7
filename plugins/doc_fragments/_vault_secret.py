# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that store a credential of Vault in a Kubernetes Secret."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - kubernetes >= 24.2.0 (Python library) on the host that runs the module
options:
  kubernetes:
    description:
      - Connection to the cluster, with the option names of the collection kubernetes.core. Its C(K8S_AUTH_*) variables
        and the default kubeconfig are the fallback.
    type: dict
    suboptions:
      kubeconfig:
        description: Path of a kubeconfig file.
        type: path
      context:
        description: Context of the kubeconfig.
        type: str
      host:
        description: URL of the API server, instead of a kubeconfig.
        type: str
      api_key:
        description: Bearer token for the API server.
        type: str
      username:
        description: User name for the API server.
        type: str
      password:
        description: Password of that user.
        type: str
      ca_cert:
        description: File with the CA of the API server.
        type: path
        aliases: [ssl_ca_cert]
      client_cert:
        description: File with a client certificate.
        type: path
        aliases: [cert_file]
      client_key:
        description: File with the key of the client certificate.
        type: path
        aliases: [key_file]
      validate_certs:
        description: Whether to verify the certificate of the API server.
        type: bool
        aliases: [verify_ssl]
      proxy:
        description: URL of an HTTP proxy for the connection.
        type: str
      no_proxy:
        description: Comma-separated hosts that are reached without the proxy.
        type: str
  secret_name:
    description:
      - Name of the Secret. It is created if it does not exist. Its other keys are not changed.
      - Without other keys or an owner it gets the label C(app.kubernetes.io/managed-by) with the value
        C(servicemesh.pki).
    type: str
    required: true
  secret_namespace:
    description: Namespace of the Secret, which must exist. (O(namespace) is the namespace in Vault.)
    type: str
    required: true
  state:
    description:
      - V(absent) revokes the credential and removes it from the Secret. A Secret without other keys is deleted.
    type: str
    choices: [present, absent]
    default: present
  take_over:
    description:
      - Whether to replace, renew or remove a credential that this collection did not create. With V(false), the module
        fails with the code V(credential_unmanaged) and changes nothing.
      - The collection recognizes a credential by what Vault stores with it. A credential that Vault does not know any
        more is replaced, unless the Secret has an owner, or a label C(app.kubernetes.io/managed-by) that names another
        tool.
    type: bool
    default: false
    version_added: 0.3.0
"""
