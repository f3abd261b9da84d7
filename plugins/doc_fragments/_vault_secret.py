# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules share that keep a credential of Vault in a Secret of Kubernetes."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - kubernetes >= 24.2.0 (Python library) on the host that runs the module
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
        description: File with its key.
        type: path
        aliases: [key_file]
      validate_certs:
        description: Whether the API server's certificate is verified.
        type: bool
        aliases: [verify_ssl]
      proxy:
        description: URL of an HTTP proxy for the connection.
        type: str
      no_proxy:
        description: Hosts that are not reached through the proxy, with commas.
        type: str
  secret_name:
    description: Name of the Secret. Made when it does not exist, with its other keys left alone when it does.
    type: str
    required: true
  secret_namespace:
    description: Namespace of the Secret in Kubernetes. It must exist. (O(namespace) is Vault's.)
    type: str
    required: true
  state:
    description:
      - V(absent) revokes the credential and takes it out of the Secret, which goes too when nothing else is in it.
    type: str
    choices: [present, absent]
    default: present
"""
