# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubernetes.core: the connection options of a cluster, and the client."""

from __future__ import annotations

from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import (
    K8SClient,
    _create_auth_spec,
    _create_configuration,
    create_api_client,
    get_api_client,
)
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException

# For a connection in an option of its own, where the module is not the one of kubernetes.core.
create_auth_spec, create_configuration = _create_auth_spec, _create_configuration

__all__ = [
    "AUTH_ARG_SPEC",
    "AnsibleK8SModule",
    "CoreException",
    "K8SClient",
    "create_api_client",
    "create_auth_spec",
    "create_configuration",
    "get_api_client",
]
