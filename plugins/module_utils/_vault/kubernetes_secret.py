# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One value in a Secret of Kubernetes, never shown. Private to this collection."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access, kubeconfig
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream import kubernetes_core as core
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

try:
    import kubernetes.client
    from kubernetes.dynamic.exceptions import DynamicApiError
    from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
except ImportError:
    kubernetes = None  # type: ignore[assignment]

PAUSES = (0.5, 1, 2, 4, 8)  # seconds before a change whose answer was lost is sent again
GATEWAY = (502, 504)  # answers of a proxy in front of the API server, which may have handed the request on

# kubernetes.core's names; what is not given comes from its K8S_AUTH_* variables or the default kubeconfig.
CLUSTER_OPTIONS = dict(
    kubeconfig=dict(type="path"),
    context=dict(type="str"),
    host=dict(type="str"),
    api_key=dict(type="str", no_log=True),
    username=dict(type="str"),
    password=dict(type="str", no_log=True),
    ca_cert=dict(type="path", aliases=["ssl_ca_cert"]),
    client_cert=dict(type="path", aliases=["cert_file"]),
    client_key=dict(type="path", no_log=False, aliases=["key_file"]),
    validate_certs=dict(type="bool", aliases=["verify_ssl"]),
    proxy=dict(type="str"),
    no_proxy=dict(type="str"),
)
SECRET_OPTIONS = dict(
    kubernetes=dict(type="dict", options=CLUSTER_OPTIONS),
    secret_name=dict(type="str", required=True, no_log=False),
    secret_namespace=dict(type="str", required=True, no_log=False),
    state=dict(type="str", choices=["present", "absent"], default="present"),
)


class SecretError(VaultError):
    """A request to Kubernetes that failed. `busy` is whether the same request may succeed a moment later."""

    def __init__(self, sentence: str, status: int = 0, *, busy: bool = False, **facts: Any) -> None:
        super().__init__(sentence, status, **facts)
        self.busy = busy


class OutcomeUnknownError(VaultError):
    """No answer says whether the Secret was changed."""


class SecretValue:
    """The value under a key of a Secret. Other keys are left as they are."""

    def __init__(self, cluster: dict[str, Any] | None, namespace: str, name: str, key: str) -> None:
        if kubernetes is None:
            raise VaultError(
                "The Python library kubernetes is missing on the host that runs the module: `pip install kubernetes`."
            )
        access.check(cluster or {})
        self.namespace, self.name, self.key = namespace, name, key
        self.where = f"Secret {namespace}/{name}"
        try:
            self.configuration = core.create_configuration(core.create_auth_spec(**(cluster or {})))
        except Exception as exc:  # whatever the client meets in a kubeconfig
            given = cluster or {}
            sentence = kubeconfig.problem(exc, given.get("kubeconfig"), given.get("context"))
            raise VaultError(sentence, code="invalid_kubeconfig") from exc
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
            sentence = f"Kubernetes refused to {doing} {self.where}: {message(exc)}."
            busy = exc.status == 429 or exc.status >= 500
            raise SecretError(
                sentence, exc.status, busy=busy, lost=exc.status in GATEWAY, code="kubernetes_refused"
            ) from exc
        except (HTTPError, OSError) as exc:
            sent = not isinstance(exc, NewConnectionError | ConnectTimeoutError | ConnectionRefusedError)
            sentence = f"Kubernetes at {self.configuration.host} cannot be reached: {type(exc).__name__}."
            code = "answer_lost" if sent else "unreachable"
            raise SecretError(
                f"{sentence} Check that the cluster runs, and its address.", busy=True, lost=sent, code=code
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
        """Fails when the Secret has changed since it was read.

        After any error but an OutcomeUnknownError the value is not stored.
        """
        if dry_run:
            self.put(value, dry_run=True)
        else:
            self.settle(lambda: self.put(value), lambda: self.read() == value)

    def remove(self, *, dry_run: bool = False) -> None:
        """Takes the value away, and the Secret when nothing else is in it."""
        if dry_run:
            self.take_out(dry_run=True)
        else:
            self.settle(self.take_out, lambda: self.read() is None)

    def settle(self, change: Callable[[], None], done: Callable[[], bool]) -> None:
        """Sends a change until an answer says what became of it.

        Each attempt names the version that was read, so only one of them can succeed, and one that is refused after an
        answer was lost has perhaps met the effect of the one before: `done` reads the Secret for that.
        """
        lost = False
        for pause in (*PAUSES, None):
            try:
                return change()
            except SecretError as exc:
                lost |= exc.lost
                if not (exc.busy and (lost or exc.status)):
                    if lost and self.sees(done):
                        return None
                    raise
                if pause is None:
                    if self.sees(done):
                        return None
                    if lost:
                        raise OutcomeUnknownError(str(exc), code="outcome_unknown") from exc
                    raise
                time.sleep(pause)
        return None

    def sees(self, done: Callable[[], bool]) -> bool:
        """Whether the Secret is seen as the change makes it. One that cannot be read is not."""
        try:
            return done()
        except SecretError as exc:
            raise OutcomeUnknownError(str(exc), code="outcome_unknown") from exc

    def put(self, value: str, *, dry_run: bool = False) -> None:
        data = {self.key: base64.b64encode(value.encode()).decode()}
        if self.object is None:
            head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name}, "type": "Opaque"}
            done = self.on_secret("create", "create", body={**head, "data": data}, dry_run=dry_run)
        else:
            body = {**self.object, "data": {**(self.object.get("data") or {}), **data}}
            done = self.on_secret("change", "replace", body=body, dry_run=dry_run)
        if done is None:
            raise SecretError(
                f"{self.where} cannot be written: it or its namespace was removed a moment ago. Run again.",
                404,
                code="kubernetes_refused",
            )

    def take_out(self, *, dry_run: bool = False) -> None:
        head = self.object["metadata"]
        rest = {key: value for key, value in self.object["data"].items() if key != self.key}
        if rest:
            self.on_secret("change", "replace", body={**self.object, "data": rest}, dry_run=dry_run)
            return
        options = {"apiVersion": "v1", "kind": "DeleteOptions"}
        fits = {"preconditions": {"resourceVersion": head["resourceVersion"]}}
        # The API server reads the options of a deletion from the body, and then ignores those in the query.
        dry = {"dryRun": ["All"]} if dry_run else {}
        self.on_secret("delete", "delete", name=self.name, body={**options, **fits, **dry}, dry_run=dry_run)


def message(exc: Any) -> str:
    try:
        return str(json.loads(exc.body)["message"]).rstrip(".")
    except (ValueError, KeyError, TypeError):
        return f"{exc.status} {exc.reason}"
