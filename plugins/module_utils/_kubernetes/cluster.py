# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of one cluster, and one sentence for what goes wrong with it. Private to this collection."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import run as run_module
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access, conditions, kubeconfig
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import pods as kubernetes_pods
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Wanted
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core import (
    AnsibleK8SModule,
    CoreException,
    K8SClient,
    get_api_client,
)

try:
    from kubernetes import watch
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException
    from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
    from urllib3.exceptions import HTTPError
except ImportError:
    pass  # AnsibleK8SModule says so, before any of these is needed

ANSWER = 15  # seconds that the API server may take to answer
LOG_LINES, LOG_BYTES = 20, 65536  # of a container that crashed
SILENCE = 5  # seconds after its end that a watch may still be silent
GROUP = "cert-manager.io"
PAUSE = 1  # seconds before an API server that could not answer is asked again

T = TypeVar("T")


class ClusterError(PkiError):
    """A failed request to a cluster, or an object that is not in the required state."""

    code = "kubernetes_error"


class BusyError(ClusterError):
    """The same request may succeed later: the API server is busy, is starting, or has lost its etcd."""


class Cluster:
    """The objects of one cluster."""

    def __init__(self, client: K8SClient) -> None:
        self.client = client
        self.answered = False

    def ask(self, call: Callable[..., Any], **request: Any) -> Any:
        """One request. A refusal is an answer, too."""
        try:
            answer = call(**request, _request_timeout=ANSWER)
        except DynamicApiError:
            self.answered = True
            raise
        self.answered = True
        return answer

    def patiently(self, read: Callable[[], T], until: float) -> T:
        """What is read, as soon as it can be. Until that time (monotonic) what may pass is no error; nor is an API
        server that does not answer any more, but one that never did."""
        while True:
            try:
                return read()
            except BusyError:
                if time.monotonic() >= until:
                    raise
            except HTTPError as exc:
                if not self.answered or time.monotonic() >= until:
                    raise ClusterError(no_answer(exc)) from exc
            time.sleep(PAUSE)

    def resource(self, wanted: Wanted) -> Any:
        """Where the API server has objects of the kind; a ClusterError when it would not find this one there."""
        resource = self.client.resource(wanted.kind, wanted.api_version)
        if resource.namespaced and not wanted.namespace:  # without one the client asks where none can be
            raise ClusterError(f"{wanted} lacks a namespace, and every {wanted.kind} is in one. Say which.")
        return resource

    def get(self, wanted: Wanted) -> dict[str, Any] | None:
        """The object; None when there is none, or its kind or namespace does not exist."""
        try:
            found = self.ask(self.resource(wanted).get, name=wanted.name, namespace=wanted.namespace)
        except ResourceNotFoundError:
            return None
        except DynamicApiError as exc:
            if exc.status == 404:
                return None
            raise unreadable(str(wanted), exc) from exc
        return dict(found.to_dict())

    def every(self, api_version: str, kind: str, namespace: str | None, **selection: str) -> list[dict[str, Any]]:
        """All objects of a kind; none when the kind does not exist."""
        try:
            resource = self.client.resource(kind, api_version)
            return list(self.ask(resource.get, namespace=namespace, **selection).to_dict()["items"])
        except ResourceNotFoundError:
            return []
        except DynamicApiError as exc:
            raise unreadable(f"{kind}s of {namespace or 'the cluster'}", exc) from exc

    def read_list(self, api_version: str, kind: str, namespace: str | None, **selection: str) -> list[dict[str, Any]]:
        """For explanations: nothing when it cannot be read."""
        try:
            return self.every(api_version, kind, namespace, **selection)
        except (ClusterError, HTTPError):
            return []

    def refusal(self, definition: dict[str, Any]) -> tuple[str | None, bool]:
        """Why the API server, with the webhooks that it asks, would not take an object now, and whether that is for
        good: it is no valid object. Stores nothing."""
        wanted = Wanted.named(definition)
        try:
            self.ask(self.resource(wanted).create, body=definition, namespace=wanted.namespace, dry_run="All")
        except ResourceNotFoundError:
            return "is of a kind that the cluster does not know. Install what brings its CustomResourceDefinition", True
        except DynamicApiError as exc:
            if exc.status != 409:  # one that exists was admitted before that was found out
                return f"is refused: {exc.status} {exc.reason}. {api_message(exc)}", exc.status in (404, 422)
        return None, False

    def wait_for_change(self, wanted: Wanted, found: dict[str, Any] | None, seconds: float) -> None:
        """Returns at the first change of the object, at the latest a moment after the given time."""
        before = found["metadata"]["resourceVersion"] if found else None
        limit = max(1, math.ceil(min(seconds, 30)))
        try:
            # resource.watch() would wait for ever where the other side falls silent
            for event in watch.Watch().stream(  # type: ignore[no-untyped-call]
                self.resource(wanted).get,
                namespace=wanted.namespace,
                field_selector=f"metadata.name={wanted.name}",
                serialize=False,
                timeout_seconds=limit,
                _request_timeout=(ANSWER, limit + SILENCE),
            ):
                if event["raw_object"]["metadata"]["resourceVersion"] != before:
                    return
        except (ResourceNotFoundError, ApiException, DynamicApiError, HTTPError):
            time.sleep(min(1, seconds))  # not watchable now: look again later

    def missing_ground(self, wanted: Wanted) -> str | None:
        """Whether the kind or the namespace is what is missing."""
        try:
            self.client.resource(wanted.kind, wanted.api_version)
        except ResourceNotFoundError:
            return (
                f"The cluster does not know the kind {wanted.kind} of {wanted.api_version}. "
                "Install what brings its CustomResourceDefinition."
            )
        namespace = self.get(Wanted("v1", "Namespace", wanted.namespace)) if wanted.namespace else {"metadata": {}}
        if namespace is None:
            return f"{wanted} cannot exist: there is no namespace {wanted.namespace}. Create it first."
        if namespace["metadata"].get("deletionTimestamp"):
            return f"{wanted} cannot exist: namespace {wanted.namespace} is terminating. Wait until it is gone."
        return None

    def explain(self, wanted: Wanted, why: str, found: dict[str, Any] | None) -> str:
        details: list[tuple[str, list[str]]] = []
        if found and wanted.api_version.startswith("cert-manager.io/") and wanted.kind == "Certificate":
            details += self.certificate_details(wanted, found)
        events = self.read_list(
            "v1",
            "Event",
            wanted.namespace or "default",
            field_selector=f"involvedObject.kind={wanted.kind},involvedObject.name={wanted.name}",
        )
        causes = self.causes(wanted, found)
        details.append((conditions.PODS, kubernetes_pods.summary(self.with_log(cause, wanted) for cause in causes)))
        details.append(("Last events", conditions.event_lines(events)))
        return conditions.explain(wanted, why, found, details, kubernetes_pods.command(causes, wanted.namespace))

    def causes(
        self, wanted: Wanted, found: dict[str, Any] | None, with_events: bool = True
    ) -> list[kubernetes_pods.Cause]:
        """Why the pods of a workload are not ready; nothing for other objects, and where it cannot be read.

        Without events, of which a namespace can have thousands, only what is in the status of pods.
        """
        if not found or not kubernetes_pods.is_workload(wanted.api_version, wanted.kind):
            return []
        causes: list[kubernetes_pods.Cause] = []
        pods = [found]
        if wanted.kind != "Pod":
            selection = {"label_selector": kubernetes_pods.selector(found)}
            owner: dict[str, Any] | None = found
            if wanted.kind == "Deployment":
                replica_sets = self.read_list("apps/v1", "ReplicaSet", wanted.namespace, **selection)
                owner = kubernetes_pods.newest(kubernetes_pods.owned(replica_sets, found))
            if owner is None:
                return []
            causes += kubernetes_pods.controller_causes(owner)
            pods = kubernetes_pods.owned(self.read_list("v1", "Pod", wanted.namespace, **selection), owner)
        kind = {"field_selector": "involvedObject.kind=Pod"}
        events = self.read_list("v1", "Event", wanted.namespace, **kind) if pods and with_events else []
        return causes + [cause for pod in pods for cause in kubernetes_pods.pod_causes(pod, events)]

    def with_log(self, cause: kubernetes_pods.Cause, wanted: Wanted) -> kubernetes_pods.Cause:
        """A crash with the last line that the container printed, where it can be read."""
        line = self.last_line(cause, wanted.namespace or "") if cause.crashed else ""
        return replace(cause, message=f"{cause.message}, last log line: {line}") if line else cause

    def last_line(self, cause: kubernetes_pods.Cause, namespace: str) -> str:
        read = CoreV1Api(self.client.client.client).read_namespaced_pod_log
        options: dict[str, Any] = {"container": cause.container, "tail_lines": LOG_LINES, "limit_bytes": LOG_BYTES}
        for previous in (False, True):  # without previous it is the run that ended last, unless another one has begun
            try:
                log = str(read(cause.pod, namespace, previous=previous, **options, _request_timeout=ANSWER))
            except (ApiException, HTTPError):
                continue
            if line := kubernetes_pods.last_line(log):
                return line
        return ""

    def certificate_details(self, wanted: Wanted, found: dict[str, Any]) -> list[tuple[str, list[str]]]:
        requests = self.read_list(wanted.api_version, "CertificateRequest", wanted.namespace)
        request = conditions.newest_request(requests, wanted.name)
        title = f"Newest CertificateRequest {request['metadata']['name']}" if request else ""
        details = [(title, [conditions.sentence(item) for item in conditions.conditions(request or {})])]
        reference = found["spec"].get("issuerRef") or {}
        if reference.get("group", GROUP) != GROUP:  # an issuer of another controller has its own conditions
            return details
        kind = reference.get("kind") or "Issuer"
        namespace = wanted.namespace if kind == "Issuer" else None
        issuer = Wanted(wanted.api_version, kind, reference.get("name") or "", namespace, "Ready")
        if kind in ("Issuer", "ClusterIssuer"):
            try:
                state = conditions.unmet(self.get(issuer), issuer)
            except (ClusterError, HTTPError):
                state = "cannot be read"
            details.append(("Its issuer", [f"{issuer} {state}"] if state else []))
        return details


def api_message(exc: Any) -> str:
    try:
        return str(exc.summary())
    except (ValueError, AttributeError, TypeError):
        return ""


def unreadable(what: str, exc: Any) -> ClusterError:
    kind = BusyError if exc.status == 429 or exc.status >= 500 else ClusterError
    return kind(f"{what} cannot be read: {exc.status} {exc.reason}. {api_message(exc)}")


def no_answer(exc: Any) -> str:
    cause = getattr(exc, "reason", None) or exc
    return f"The cluster's API server does not answer: {cause}. Is it running, is the kubeconfig its own?"


def connect(module: AnsibleK8SModule) -> Cluster:
    """A ClusterError for a description of the cluster that the client cannot use."""
    access.check(module.params)
    try:
        return Cluster(get_api_client(module))
    except Exception as exc:
        if isinstance(exc, HTTPError) or not kubeconfig.is_cause(exc):
            raise
        sentence = kubeconfig.problem(exc, module.params.get("kubeconfig"), module.params.get("context"))
        raise ClusterError(sentence, code="invalid_kubeconfig") from exc


def run(module: AnsibleK8SModule, work: Callable[[Cluster], dict[str, Any]]) -> None:
    """The body of a module that reads or changes a cluster: connect, and exit with the result of `work`."""

    def translated() -> dict[str, Any]:
        try:
            return work(connect(module))
        except (CoreException, ConfigException) as exc:
            raise ClusterError(f"{exc}. Check kubeconfig and context.", code="invalid_kubeconfig") from exc
        except HTTPError as exc:
            raise ClusterError(no_answer(exc), code="unreachable") from exc
        except (ApiException, DynamicApiError) as exc:
            sentence = f"The cluster's API server refuses: {exc.status} {exc.reason}. {api_message(exc)}"
            raise ClusterError(sentence, code="refused") from exc

    run_module(module, translated, unexpected_answer)


def unexpected_answer(exc: Exception) -> ClusterError:
    return ClusterError(
        f"The cluster's API server returned an answer that this module does not expect ({type(exc).__name__}). "
        "Check that the kubeconfig is that of a Kubernetes cluster.",
        code="unexpected_answer",
    )
