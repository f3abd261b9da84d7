# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One value in a Secret of Kubernetes, never shown. Private to this collection."""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible_collections.kubernetes.core.plugins.module_utils.k8s import (  # type: ignore[import-untyped]
    client as core,
)

from ansible_collections.servicemesh.pki.plugins.module_utils._vault_errors import VaultError

try:
    import kubernetes.client
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError
except ImportError:
    kubernetes = None  # type: ignore[assignment]
    ApiException = HTTPError = OSError  # type: ignore[misc, assignment]

# kubernetes.core's names; what is not given comes from its K8S_AUTH_* variables or the default kubeconfig.
CLUSTER_OPTIONS = dict(
    kubeconfig=dict(type="path"),
    context=dict(type="str"),
    host=dict(type="str"),
    api_key=dict(type="str", no_log=True),
    ca_cert=dict(type="path"),
    client_cert=dict(type="path"),
    client_key=dict(type="path", no_log=False),
    validate_certs=dict(type="bool"),
)
SECRET_OPTIONS = dict(
    kubernetes=dict(type="dict", options=CLUSTER_OPTIONS),
    secret_name=dict(type="str", required=True, no_log=False),
    secret_namespace=dict(type="str", required=True, no_log=False),
    state=dict(type="str", choices=["present", "absent"], default="present"),
)


class SecretValue:
    """The value under a key of a Secret. Other keys are left as they are."""

    def __init__(self, cluster: dict[str, Any] | None, namespace: str, name: str, key: str) -> None:
        if kubernetes is None:
            raise VaultError(
                "The Python library kubernetes is missing on the host that runs the module: `pip install kubernetes`."
            )
        self.namespace, self.name, self.key = namespace, name, key
        self.where = f"Secret {namespace}/{name}"
        try:
            auth = core._create_auth_spec(**(cluster or {}))
            self.api = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(core._create_configuration(auth)))
        except (kubernetes.config.ConfigException, OSError, ValueError) as exc:
            raise VaultError(f"The connection to Kubernetes is not described: {exc}.") from exc
        self.api.api_client.configuration.retries = False
        self.object: Any = None

    def call(self, doing: str, method: Any, *arguments: Any, dry_run: bool = False) -> Any:
        """The answer, or None for 404. A dry run is judged by the API server like a real one, and changes nothing."""
        dry = {"dry_run": "All"} if dry_run else {}
        try:
            return method(*arguments, _request_timeout=30, **dry)
        except ApiException as exc:
            if exc.status == 404:
                return None
            raise VaultError(f"Kubernetes refused to {doing} {self.where}: {message(exc)}.") from exc
        except (HTTPError, OSError) as exc:
            host = self.api.api_client.configuration.host
            raise VaultError(
                f"Kubernetes at {host} cannot be reached: {type(exc).__name__}. Is the cluster up?"
            ) from exc

    def read(self) -> str | None:
        self.object = self.call("read", self.api.read_namespaced_secret, self.name, self.namespace)
        value = ((self.object and self.object.data) or {}).get(self.key)
        return base64.b64decode(value).decode(errors="replace").strip() if value else None

    def has_namespace(self) -> bool:
        return self.object is not None or self.call("read", self.api.read_namespace, self.namespace) is not None

    def write(self, value: str, *, dry_run: bool = False) -> None:
        """Fails when the Secret has changed since it was read."""
        data, api = {self.key: base64.b64encode(value.encode()).decode()}, self.api
        if self.object is None:
            body = {"metadata": {"name": self.name}, "type": "Opaque", "data": data}
            done = self.call("create", api.create_namespaced_secret, self.namespace, body, dry_run=dry_run)
        else:
            self.object.data = {**(self.object.data or {}), **data}
            done = self.replace(dry_run)
        if done is None:
            raise VaultError(
                f"{self.where} cannot be written: it or its namespace was removed a moment ago. Run again."
            )

    def replace(self, dry_run: bool) -> Any:
        replace = self.api.replace_namespaced_secret
        return self.call("change", replace, self.name, self.namespace, self.object, dry_run=dry_run)

    def remove(self, *, dry_run: bool = False) -> None:
        """Takes the value away, and the Secret when nothing else is in it."""
        self.object.data.pop(self.key, None)
        if self.object.data:
            self.replace(dry_run)
        else:
            self.call("delete", self.api.delete_namespaced_secret, self.name, self.namespace, dry_run=dry_run)


def message(exc: Any) -> str:
    try:
        return str(json.loads(exc.body)["message"]).rstrip(".")
    except (ValueError, KeyError, TypeError):
        return f"{exc.status} {exc.reason}"
