# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One value in a Kubernetes Secret, which no output shows. Private to this collection."""

from __future__ import annotations

import base64
import copy
import json
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common.labels import MANAGED_BY, OWN_LABEL, OWN_NAME
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access, kubeconfig
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream import kubernetes_core as core

try:
    import kubernetes.client
    from kubernetes.dynamic.exceptions import DynamicApiError
    from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
except ImportError:
    kubernetes = None  # type: ignore[assignment]

PAUSES = (0.5, 1, 2, 4, 8)  # seconds before a change is sent again whose response was lost
GATEWAY_STATUS = (502, 504)  # of a proxy before the API server, which may have forwarded the request
REQUEST_TIMEOUT = 30  # seconds

# What kubernetes.core passes to its client without a module. Environment variables and the default kubeconfig are the
# fallback. kubernetes.core masks the path of the kubeconfig, which messages need.
CONNECTION = ("context", "host", "api_key", "username", "password", "proxy", "no_proxy")
CONNECTION_FILES = ("validate_certs", "ca_cert", "client_cert", "client_key")
CONNECTION_OPTIONS = {
    "kubeconfig": dict(type="path"),
    **{name: copy.deepcopy(core.AUTH_ARG_SPEC[name]) for name in (*CONNECTION, *CONNECTION_FILES)},
}
SECRET_OPTIONS = dict(
    kubernetes=dict(type="dict", options=CONNECTION_OPTIONS),
    secret_name=dict(type="str", required=True, no_log=False),
    secret_namespace=dict(type="str", required=True, no_log=False),
    state=dict(type="str", choices=["present", "absent"], default="present"),
    take_over=dict(type="bool", default=False),
)


class SecretError(ClusterError):
    """A failed request for a Secret.

    `status` is the HTTP status, 0 without a response. `busy` is true when the same request may succeed later. `lost` is
    true when the API server may have acted although no conclusive response arrived.
    """

    def __init__(
        self, message: str, status: int = 0, *, code: str, busy: bool = False, lost: bool = False, **details: Any
    ) -> None:
        super().__init__(message, code=code, **details)
        self.status, self.busy, self.lost = status, busy, lost


class OutcomeUnknownError(ClusterError):
    """No response shows whether the Secret was changed."""

    code = "outcome_unknown"


class SecretValue:
    """The value of one key of a Secret. Other keys are not changed."""

    def __init__(self, connection: dict[str, Any] | None, namespace: str, name: str, key: str) -> None:
        if kubernetes is None:
            raise ClusterError(
                "The Python library kubernetes is missing on the host that runs the module: `pip install kubernetes`.",
                code="missing_library",
            )
        self.namespace, self.name, self.key = namespace, name, key
        self.title = f"Secret {namespace}/{name}"
        options = connection or {}
        access.check(options)
        try:
            self.configuration = core.create_configuration(core.create_auth_spec(**options))
        except Exception as exc:  # the client raises many kinds for an invalid kubeconfig, see kubeconfig.py
            message = kubeconfig.problem(exc, options.get("kubeconfig"), options.get("context"))
            raise ClusterError(message, code="invalid_kubeconfig") from exc
        self.configuration.retries = False
        self.object: Any = None

    def call(self, action: str, method: str, kind: str, /, **arguments: Any) -> dict[str, Any] | None:
        """The object, or None for status 404. Raises SecretError.

        The dynamic client is used because the typed one takes a second to load.
        """
        try:
            resource = core.create_api_client(self.configuration).resources.get(api_version="v1", kind=kind)
            return dict(getattr(resource, method)(_request_timeout=REQUEST_TIMEOUT, **arguments).to_dict())
        except DynamicApiError as exc:
            if exc.status == 404:
                return None
            raise SecretError(
                f"Kubernetes refused to {action} {self.title}: {format_refusal(exc)}.",
                exc.status,
                code="kubernetes_refused",
                busy=exc.status == 429 or exc.status >= 500,
                lost=exc.status in GATEWAY_STATUS,
            ) from exc
        except (HTTPError, OSError) as exc:
            sent = not isinstance(exc, NewConnectionError | ConnectTimeoutError | ConnectionRefusedError)
            raise SecretError(
                f"Kubernetes at {self.configuration.host} cannot be reached: {type(exc).__name__}. "
                "Check its address, and that the cluster is running.",
                code="answer_lost" if sent else "unreachable",
                busy=True,
                lost=sent,
            ) from exc

    def call_secret(
        self, action: str, method: str, *, dry_run: bool = False, **arguments: Any
    ) -> dict[str, Any] | None:
        """The API server validates a dry run like a real request, and changes nothing."""
        options = {"dry_run": "All"} if dry_run else {}
        return self.call(action, method, "Secret", namespace=self.namespace, **arguments, **options)

    def read(self) -> str | None:
        """The value, None when the Secret or the key does not exist."""
        self.object = self.call_secret("read", "get", name=self.name)
        value = ((self.object or {}).get("data") or {}).get(self.key)
        return base64.b64decode(value).decode(errors="replace").strip() if value else None

    @property
    def owner(self) -> str:
        """Who manages the Secret according to its metadata, empty for a Secret without such metadata."""
        metadata = (self.object or {}).get("metadata") or {}
        owners = [f"{one.get('kind')} {one.get('name')}" for one in metadata.get("ownerReferences") or []]
        managers = [(metadata.get("labels") or {}).get(MANAGED_BY) or ""]
        return ", ".join(owners) or "".join(one for one in managers if one != OWN_NAME)

    def has_namespace(self) -> bool:
        return self.object is not None or self.call("read", "get", "Namespace", name=self.namespace) is not None

    def write(self, value: str, *, dry_run: bool = False) -> None:
        """Store the value. Fails when the Secret has changed since it was read.

        After any error but an OutcomeUnknownError the value is not stored.
        """
        if dry_run:
            self.put(value, dry_run=True)
        else:
            self.change_reliably(lambda: self.put(value), lambda: self.read() == value)

    def remove(self, *, dry_run: bool = False) -> None:
        """Remove the value, and the Secret when it has no other key."""
        if dry_run:
            self.take_out(dry_run=True)
        else:
            self.change_reliably(self.take_out, lambda: self.read() is None)

    def change_reliably(self, change: Callable[[], None], is_done: Callable[[], bool]) -> None:
        """Send a change until a response shows whether it succeeded.

        Each attempt contains the resource version that was read, so only one of them can succeed. One that is refused
        after a lost response may have been refused because the lost one succeeded: `is_done` reads the Secret again.
        The same applies after status 500, which the API server also returns if etcd does not confirm a change in time.
        """
        lost = unclear = False
        for pause in (*PAUSES, None):
            try:
                return change()
            except SecretError as exc:
                lost |= exc.lost
                unclear |= exc.lost or exc.status >= 500
                if not (exc.busy and (unclear or exc.status)):
                    if unclear and self.read_outcome(is_done):
                        return None
                    raise
                if pause is None:
                    if self.read_outcome(is_done):
                        return None
                    if lost:
                        raise OutcomeUnknownError(str(exc)) from exc
                    raise
                time.sleep(pause)
        return None

    def read_outcome(self, is_done: Callable[[], bool]) -> bool:
        """Whether the Secret shows the change. Raises OutcomeUnknownError when it cannot be read."""
        try:
            return is_done()
        except SecretError as exc:
            raise OutcomeUnknownError(str(exc)) from exc

    def put(self, value: str, *, dry_run: bool = False) -> None:
        """A Secret without other keys or owners gets the label of this collection."""
        data = {self.key: base64.b64encode(value.encode()).decode()}
        if self.object is None:
            metadata = {"name": self.name, "labels": OWN_LABEL}
            head = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}
            written = self.call_secret("create", "create", body={**head, "data": data}, dry_run=dry_run)
        else:
            body = {**self.object, "data": {**(self.object.get("data") or {}), **data}}
            if not self.owner and set(body["data"]) == {self.key}:
                labels = {**(self.object["metadata"].get("labels") or {}), **OWN_LABEL}
                body["metadata"] = {**self.object["metadata"], "labels": labels}
            written = self.call_secret("change", "replace", body=body, dry_run=dry_run)
        if written is None:
            raise SecretError(
                f"{self.title} cannot be written, because it or its namespace has just been deleted. Run again.",
                404,
                code="kubernetes_refused",
            )

    def take_out(self, *, dry_run: bool = False) -> None:
        rest = {key: value for key, value in self.object["data"].items() if key != self.key}
        if rest:
            self.call_secret("change", "replace", body={**self.object, "data": rest}, dry_run=dry_run)
            return
        version = self.object["metadata"]["resourceVersion"]
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"resourceVersion": version},
        }
        if dry_run:  # with a body, the API server ignores the query
            body["dryRun"] = ["All"]
        self.call_secret("delete", "delete", name=self.name, body=body, dry_run=dry_run)


def format_refusal(exc: Any) -> str:
    """The API server's message, or the status of another server's response."""
    try:
        return str(json.loads(exc.body)["message"]).rstrip(".")
    except (ValueError, KeyError, TypeError):
        return f"{exc.status} {exc.reason}"
