# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to the API server of one cluster, and the errors that they raise. Private to this collection."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import run as run_module
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access, conditions, kubeconfig
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import pods as kubernetes_pods
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Expectation, ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import BusyError, ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    REQUEST_TIMEOUT,
    AnsibleK8SModule,
    CoreException,
    K8SClient,
    get_api_client,
)

try:
    from kubernetes import watch
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException
    from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
    from urllib3.exceptions import HTTPError
except ImportError:
    pass  # AnsibleK8SModule reports it before any of these is used

WATCH_GRACE = 5  # seconds from the requested end of a watch until the client closes it
RETRY_INTERVAL = 1  # seconds
PAGE_SIZE = 500  # objects in one answer
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=1,application/json"
LOG_LINES, LOG_BYTES = 20, 65536  # limits for the log of a crashed container
CERT_MANAGER_GROUP = "cert-manager.io"

T = TypeVar("T")


class Cluster:
    """The API server of one cluster."""

    def __init__(self, client: K8SClient) -> None:
        self.client = client
        self.has_answered = False

    def request(self, call: Callable[..., Any], **arguments: Any) -> Any:
        """Send one request. A rejection counts as an answer, too."""
        try:
            answer = call(**arguments, _request_timeout=REQUEST_TIMEOUT)
        except DynamicApiError:
            self.has_answered = True
            raise
        self.has_answered = True
        return answer

    def retry_until(self, read: Callable[[], T], deadline: float) -> T:
        """The result of `read`, repeated until a monotonic time while the API server is busy or does not respond.

        An API server that has never responded is an error at once.
        """
        while True:
            try:
                return read()
            except BusyError:
                if time.monotonic() >= deadline:
                    raise
            except HTTPError as exc:
                if not self.has_answered or time.monotonic() >= deadline:
                    raise unreachable(exc) from exc
            time.sleep(RETRY_INTERVAL)

    def api_resource(self, reference: ObjectReference) -> Any:
        """The API resource of an object's kind. Raises ClusterError if the namespace is missing."""
        resource = self.client.resource(reference.kind, reference.api_version)
        if resource.namespaced and not reference.namespace:  # the client would request a path that does not exist
            raise ClusterError(
                f"{reference} needs a namespace, because {reference.kind} is a namespaced kind. Set namespace.",
                code="missing_namespace",
            )
        return resource

    def get(self, reference: ObjectReference) -> dict[str, Any] | None:
        """The object; None if it, its kind or its namespace does not exist."""
        try:
            found = self.request(self.api_resource(reference).get, name=reference.name, namespace=reference.namespace)
        except ResourceNotFoundError:
            return None
        except DynamicApiError as exc:
            if exc.status == 404:
                return None
            raise read_error(str(reference), exc) from exc
        return dict(found.to_dict())

    def list_objects(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        *,
        metadata: bool = False,
        limit: int = 0,
        **selection: str,
    ) -> list[dict[str, Any]]:
        """All objects of a kind, read in pages, or the first `limit` ones; an empty list if the kind does not exist.

        With `metadata` the API server leaves out specifications, data and status.
        """
        found: list[dict[str, Any]] = []
        request: dict[str, Any] = {"namespace": namespace, "limit": limit or PAGE_SIZE, **selection}
        try:
            resource = self.client.resource(kind, api_version)
            while True:
                if metadata:
                    request["header_params"] = {"Accept": METADATA}  # the client adds to it
                page = self.request(resource.get, **request).to_dict()
                found += page["items"]
                request["_continue"] = (page.get("metadata") or {}).get("continue")
                if limit or not request["_continue"]:
                    return found
        except ResourceNotFoundError:
            return []
        except DynamicApiError as exc:
            if exc.status == 404:
                return []
            raise read_error(f"{kind}s of {namespace or 'the cluster'}", exc) from exc

    def list_or_empty(
        self, api_version: str, kind: str, namespace: str | None, **selection: Any
    ) -> list[dict[str, Any]]:
        """For explanations: an empty list if the objects cannot be read."""
        try:
            return self.list_objects(api_version, kind, namespace, **selection)
        except (ClusterError, HTTPError):
            return []

    def rejection(self, manifest: dict[str, Any]) -> tuple[str | None, bool]:
        """Why the API server and its admission webhooks reject an object, by a dry run, and whether that is permanent.

        The reason is None if they accept it. It is permanent if the object is not valid, or its kind does not exist.
        """
        reference = ObjectReference.from_manifest(manifest)
        try:
            create = self.api_resource(reference).create
            self.request(create, body=manifest, namespace=reference.namespace, dry_run="All")
        except ResourceNotFoundError:
            return "is of a kind that the cluster does not have. Install its CustomResourceDefinition", True
        except DynamicApiError as exc:
            if exc.status != 409:  # an object of that name exists, which is detected after admission
                return f"is rejected: {exc.status} {exc.reason}. {api_message(exc)}", exc.status in (404, 422)
        return None, False

    def wait_for_change(self, reference: ObjectReference, found: dict[str, Any] | None, seconds: float) -> None:
        """Return at the first change of the object, or shortly after the given time."""
        version = found["metadata"]["resourceVersion"] if found else None
        limit = max(1, math.ceil(min(seconds, 30)))
        try:
            # resource.watch() has no timeout for a server that stops responding.
            for event in watch.Watch().stream(  # type: ignore[no-untyped-call]
                self.api_resource(reference).get,
                namespace=reference.namespace,
                field_selector=f"metadata.name={reference.name}",
                serialize=False,
                timeout_seconds=limit,
                _request_timeout=(REQUEST_TIMEOUT, limit + WATCH_GRACE),
            ):
                if event["raw_object"]["metadata"]["resourceVersion"] != version:
                    return
        except (ResourceNotFoundError, ApiException, DynamicApiError, HTTPError):
            time.sleep(min(1, seconds))  # it cannot be watched now

    def missing_prerequisite(self, reference: ObjectReference) -> ClusterError | None:
        """The error about the kind or the namespace without which the object cannot exist."""
        try:
            self.client.resource(reference.kind, reference.api_version)
        except ResourceNotFoundError:
            return ClusterError(
                f"The cluster does not have the kind {reference.kind} of {reference.api_version}. "
                "Install its CustomResourceDefinition.",
                code="kind_not_found",
            )
        if not reference.namespace:
            return None
        namespace = self.get(ObjectReference("v1", "Namespace", reference.namespace))
        if namespace is None:
            return ClusterError(
                f"{reference} cannot exist: there is no namespace {reference.namespace}. Create it first.",
                code="namespace_not_found",
            )
        if namespace["metadata"].get("deletionTimestamp"):
            return ClusterError(
                f"{reference} cannot exist: namespace {reference.namespace} is terminating. Wait until it is deleted.",
                code="namespace_terminating",
            )
        return None

    def explain(self, expected: Expectation, reason: str, found: dict[str, Any] | None) -> str:
        """The message about an object that does not have the expected state, with what related objects report."""
        details: list[tuple[str, list[str]]] = []
        if found and expected.api_version.startswith("cert-manager.io/") and expected.kind == "Certificate":
            details += self.certificate_details(expected, found)
        events = self.list_or_empty(
            "v1",
            "Event",
            expected.namespace or "default",
            field_selector=f"involvedObject.kind={expected.kind},involvedObject.name={expected.name}",
        )
        causes = self.causes(expected, found)
        lines = kubernetes_pods.summary(self.with_last_log_line(cause, expected) for cause in causes)
        details += [(conditions.PODS, lines), ("Last events", conditions.event_lines(events))]
        command = kubernetes_pods.command(causes, expected.namespace)
        return conditions.explain(expected, reason, found, details, command)

    def causes(
        self, reference: ObjectReference, found: dict[str, Any] | None, with_events: bool = True
    ) -> list[kubernetes_pods.Cause]:
        """Why the pods of a workload are not ready; empty for other objects, and where it cannot be read.

        Without events of pods, of which a namespace can have thousands, only the status of pods is used.
        """
        if not found or not kubernetes_pods.is_workload(reference.api_version, reference.kind):
            return []
        causes: list[kubernetes_pods.Cause] = []
        pods = [found]
        if reference.kind != "Pod":
            selection = {"label_selector": kubernetes_pods.selector(found)}
            owner: dict[str, Any] | None = found
            if reference.kind == "Deployment":
                replica_sets = self.list_or_empty("apps/v1", "ReplicaSet", reference.namespace, **selection)
                owner = kubernetes_pods.newest(kubernetes_pods.owned(replica_sets, found))
            if owner is None:
                return []
            pods = kubernetes_pods.owned(self.list_or_empty("v1", "Pod", reference.namespace, **selection), owner)
            failures: list[dict[str, Any]] = []
            if reference.kind in kubernetes_pods.WITHOUT_REPLICA_FAILURE:
                selector = kubernetes_pods.creation_failures(owner)
                failures = self.list_or_empty("v1", "Event", reference.namespace, field_selector=selector)
            causes += kubernetes_pods.controller_causes(owner, pods, failures)
        kind = {"field_selector": "involvedObject.kind=Pod"}
        events = self.list_or_empty("v1", "Event", reference.namespace, **kind) if pods and with_events else []
        return causes + [cause for pod in pods for cause in kubernetes_pods.pod_causes(pod, events)]

    def with_last_log_line(self, cause: kubernetes_pods.Cause, reference: ObjectReference) -> kubernetes_pods.Cause:
        """The cause, with the last line of the log if its container crashed and the log can be read."""
        line = self.last_log_line(cause, reference.namespace or "") if cause.crashed else ""
        return replace(cause, message=f"{cause.message}, last log line: {line}") if line else cause

    def last_log_line(self, cause: kubernetes_pods.Cause, namespace: str) -> str:
        from kubernetes.client import CoreV1Api  # here, because it loads hundreds of models, for a second

        read = CoreV1Api(self.client.client.client).read_namespaced_pod_log
        options: dict[str, Any] = {"container": cause.container, "tail_lines": LOG_LINES, "limit_bytes": LOG_BYTES}
        for previous in (False, True):  # previous=False is the crashed run until the next one starts
            try:
                log = str(read(cause.pod, namespace, previous=previous, **options, _request_timeout=REQUEST_TIMEOUT))
            except (ApiException, HTTPError):
                continue
            if line := kubernetes_pods.last_line(log):
                return line
        return ""

    def certificate_details(self, reference: ObjectReference, found: dict[str, Any]) -> list[tuple[str, list[str]]]:
        """What the newest CertificateRequest and the issuer of a Certificate report."""
        requests = self.list_or_empty(reference.api_version, "CertificateRequest", reference.namespace)
        request = conditions.newest_request(requests, reference.name) or {}
        title = f"Newest CertificateRequest {request['metadata']['name']}" if request else ""
        details = [(title, [conditions.describe_condition(item) for item in conditions.get_conditions(request)])]
        issuer_ref = found["spec"].get("issuerRef") or {}
        if issuer_ref.get("group", CERT_MANAGER_GROUP) != CERT_MANAGER_GROUP:  # its conditions are those of another API
            return details
        kind = issuer_ref.get("kind") or "Issuer"
        namespace = reference.namespace if kind == "Issuer" else None
        issuer = Expectation(reference.api_version, kind, issuer_ref.get("name") or "", namespace, "Ready")
        if kind in ("Issuer", "ClusterIssuer"):
            try:
                reason = conditions.unmet_reason(self.get(issuer), issuer)
            except (ClusterError, HTTPError):
                reason = "cannot be read"
            details.append(("Its issuer", [f"{issuer} {reason}"] if reason else []))
        return details


def api_message(exc: Any) -> str:
    """The message of the Status object in an error answer."""
    try:
        return str(exc.summary())
    except (ValueError, AttributeError, TypeError):
        return ""


def read_error(subject: str, exc: Any) -> ClusterError:
    sentence = f"{subject} cannot be read: {exc.status} {exc.reason}. {api_message(exc)}"
    if exc.status == 429 or exc.status >= 500:
        return BusyError(sentence, code="server_busy")
    return ClusterError(sentence, code="refused")


def unreachable(exc: Any) -> ClusterError:
    cause = getattr(exc, "reason", None) or exc
    return ClusterError(
        f"The cluster's API server does not respond: {cause}. Check that it is running, and that the kubeconfig is "
        "that of this cluster.",
        code="unreachable",
    )


def connect(module: AnsibleK8SModule) -> Cluster:
    """The cluster that the module's options describe. Raises PkiError if they cannot be used."""
    access.check(module.params)
    try:
        return Cluster(get_api_client(module))
    except Exception as exc:
        if isinstance(exc, HTTPError) or not kubeconfig.is_cause(exc):
            raise
        message = kubeconfig.problem(exc, module.params.get("kubeconfig"), module.params.get("context"))
        raise ClusterError(message, code="invalid_kubeconfig") from exc


def run(module: AnsibleK8SModule, work: Callable[[Cluster], dict[str, Any]]) -> None:
    """The body of a module that reads or changes a cluster: connect, and exit with the result of `work`."""

    def work_with_pki_errors() -> dict[str, Any]:
        try:
            return work(connect(module))
        except (CoreException, ConfigException) as exc:
            raise ClusterError(f"{exc}. Check kubeconfig and context.", code="invalid_kubeconfig") from exc
        except HTTPError as exc:
            raise unreachable(exc) from exc
        except (ApiException, DynamicApiError) as exc:
            sentence = f"The cluster's API server rejected a request: {exc.status} {exc.reason}. {api_message(exc)}"
            raise ClusterError(sentence, code="refused") from exc

    run_module(module, work_with_pki_errors, unexpected_answer)


def unexpected_answer(exc: Exception) -> ClusterError:
    return ClusterError(
        f"The cluster's API server returned a response that this module does not expect ({type(exc).__name__}). "
        "Check that the kubeconfig is that of a Kubernetes cluster.",
        code="unexpected_answer",
    )
