# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubernetes.core: the connection options of a cluster, and the client, whose requests have a timeout."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

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

REQUEST_TIMEOUT = 15  # seconds


def with_timeout(call_api: Callable[..., Any]) -> Callable[..., Any]:
    """ApiClient.call_api with a timeout also for requests of the library itself, which discover the API.

    Without one, they would wait permanently for a server that accepts the connection and does not answer.
    """

    @functools.wraps(call_api)
    def call(*arguments: Any, **options: Any) -> Any:
        if options.get("_request_timeout") is None:
            options["_request_timeout"] = REQUEST_TIMEOUT
        return call_api(*arguments, **options)

    return call


try:
    from kubernetes.client import ApiClient
except ImportError:
    pass  # AnsibleK8SModule reports it
else:  # for all clients, because a client sends its first requests when kubernetes.core creates it
    ApiClient.call_api = with_timeout(ApiClient.call_api)  # type: ignore[method-assign]


class ModuleWithPrograms(AnsibleK8SModule):  # type: ignore[misc]
    """A module for a cluster that also starts programs."""

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        """Start a program and return its exit status, its output and its errors, as AnsibleModule does."""
        done: tuple[int, str, str] = self._module.run_command(command)
        return done


# For a connection in a separate option, where the module is not the one of kubernetes.core.
create_auth_spec, create_configuration = _create_auth_spec, _create_configuration

__all__ = [
    "AUTH_ARG_SPEC",
    "REQUEST_TIMEOUT",
    "AnsibleK8SModule",
    "CoreException",
    "K8SClient",
    "ModuleWithPrograms",
    "create_api_client",
    "create_auth_spec",
    "create_configuration",
    "get_api_client",
]
