# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One value in a Secret of Kubernetes, never shown. Private to this collection."""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._upstream import kubernetes_core as core
from ansible_collections.servicemesh.pki.plugins.module_utils._vault_errors import VaultError

try:
    import kubernetes.client
    from kubernetes.dynamic.exceptions import DynamicApiError
    from urllib3.exceptions import HTTPError
except ImportError:
    kubernetes = None  # type: ignore[assignment]

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
            self.configuration = core.create_configuration(core.create_auth_spec(**(cluster or {})))
        except (kubernetes.config.ConfigException, OSError, ValueError) as exc:
            raise VaultError(f"The connection to Kubernetes is not described: {exc}.") from exc
        self.configuration.retries = False
        self.object: Any = None

    def call(self, doing: str, act: str, kind: str, /, **arguments: Any) -> dict[str, Any] | None:
        """The object, or None for 404. The typed client would take a second to load."""
        try:
            resource = core.create_api_client(self.configuration).resources.get(api_version="v1", kind=kind)
            return dict(getattr(resource, act)(_request_timeout=30, **arguments).to_dict())
        except DynamicApiError as exc:
            if exc.status == 404:
                return None
            raise VaultError(f"Kubernetes refused to {doing} {self.where}: {message(exc)}.") from exc
        except (HTTPError, OSError) as exc:
            host = self.configuration.host
            raise VaultError(
                f"Kubernetes at {host} cannot be reached: {type(exc).__name__}. "
                "Check that the cluster runs, and its address."
            ) from exc

    def on_secret(self, doing: str, act: str, *, dry_run: bool = False, **arguments: Any) -> dict[str, Any] | None:
        """A dry run is judged by the API server like a real one, and changes nothing."""
        dry = {"dry_run": "All"} if dry_run else {}
        return self.call(doing, act, "Secret", namespace=self.namespace, **arguments, **dry)

    def read(self) -> str | None:
        self.object = self.on_secret("read", "get", name=self.name)
        value = ((self.object or {}).get("data") or {}).get(self.key)
        return base64.b64decode(value).decode(errors="replace").strip() if value else None

    def has_namespace(self) -> bool:
        return self.object is not None or self.call("read", "get", "Namespace", name=self.namespace) is not None

    def write(self, value: str, *, dry_run: bool = False) -> None:
        """Fails when the Secret has changed since it was read."""
        data = {self.key: base64.b64encode(value.encode()).decode()}
        if self.object is None:
            head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name}, "type": "Opaque"}
            done = self.on_secret("create", "create", body={**head, "data": data}, dry_run=dry_run)
        else:
            body = {**self.object, "data": {**(self.object.get("data") or {}), **data}}
            done = self.on_secret("change", "replace", body=body, dry_run=dry_run)
        if done is None:
            raise VaultError(
                f"{self.where} cannot be written: it or its namespace was removed a moment ago. Run again."
            )

    def remove(self, *, dry_run: bool = False) -> None:
        """Takes the value away, and the Secret when nothing else is in it."""
        rest = {key: value for key, value in self.object["data"].items() if key != self.key}
        if rest:
            self.on_secret("change", "replace", body={**self.object, "data": rest}, dry_run=dry_run)
        else:
            self.on_secret("delete", "delete", name=self.name, dry_run=dry_run)


def message(exc: Any) -> str:
    try:
        return str(json.loads(exc.body)["message"]).rstrip(".")
    except (ValueError, KeyError, TypeError):
        return f"{exc.status} {exc.reason}"
