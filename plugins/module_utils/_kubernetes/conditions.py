# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a Kubernetes object has the expected state, and messages that explain why not. Private to this collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# The default for these is to wait for their existence, or for their data keys.
WITHOUT_CONDITIONS = ("ConfigMap", "Namespace", "Secret", "ServiceAccount")
# The kinds with a rollout, and the fields of their counts: desired pods ("" for spec.replicas), pods of the current
# template, all pods, available pods (Kubernetes API: DaemonSetStatus, DeploymentStatus, StatefulSetStatus).
ROLLOUT_COUNTS = {
    "DaemonSet": ("desiredNumberScheduled", "updatedNumberScheduled", "currentNumberScheduled", "numberAvailable"),
    "Deployment": ("", "updatedReplicas", "replicas", "availableReplicas"),
    "StatefulSet": ("", "updatedReplicas", "replicas", "availableReplicas"),
}

# Part of a message -> advice.
ADVICE = (
    (
        "permission denied",
        "The credential is not permitted to sign with this path: compare the Vault policy with the issuer's path.",
    ),
    ("connection refused", "Nothing listens on the address that the pods use: use Vault's in-network address."),
    ("no such host", "The pods cannot resolve that name: use an address that the cluster's DNS knows."),
    ("i/o timeout", "The pods have no route to that address: check networks and network policies."),
    ("context deadline exceeded", "The pods have no route to that address: check networks and network policies."),
    ("certificate signed by unknown authority", "The server's CA is not trusted: give the issuer its CA bundle."),
    ("malformed or broken", "The certificates from the CA form no single chain: check the issuer's chain."),
    ("a max path length of zero", "The signing CA cannot sign another CA: its path length must be 1 or more."),
    (
        "SourceNotFound",
        "A source of the bundle is missing in the trust namespace: create it, with the key that the message names.",
    ),
    ("failed calling webhook", "The webhook does not respond: check its pod."),
)
# The same for the pods of a workload, whose messages name hosts and addresses of other programs.
PODS = "Its pods"
ADVICE_FOR_PODS = (
    ("InvalidImageName", "Correct the name of the image."),
    ("ErrImage", "Check that the image exists, and that the nodes reach its registry and can log in to it."),
    ("ImagePullBackOff", "Check that the image exists, and that the nodes reach its registry and can log in to it."),
    ("CreateContainerConfigError", "Create what the container refers to, or correct its specification."),
    ("Unschedulable", "Add nodes, or correct what the pods request: resources, node selector, affinity, tolerations."),
    ("exceeded quota", "Raise the quota of the namespace, or lower what the pods request."),
)


@dataclass(frozen=True)
class ObjectReference:
    """Kind, name and namespace of an object. The namespace is None for cluster-scoped objects."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    @classmethod
    def from_manifest(cls, manifest: dict[str, Any]) -> ObjectReference:
        metadata = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace"))

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Expectation(ObjectReference):
    """An object and the state that it should have."""

    condition: str | None = None
    status: str = "True"
    keys: tuple[str, ...] = ()
    rollout: bool = False

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> Expectation:
        condition = options.get("condition")
        needs_none = options.get("keys") or options.get("rollout") or options["kind"] in WITHOUT_CONDITIONS
        if condition is None and not needs_none:
            condition = "Ready"
        return cls(
            api_version=options["api_version"],
            kind=options["kind"],
            name=options["name"],
            namespace=options.get("namespace") or None,
            condition=condition,
            status=options.get("status") or "True",
            keys=tuple(options.get("keys") or ()),
            rollout=bool(options.get("rollout")),
        )


def missing_fields(manifest: dict[str, Any]) -> list[str]:
    """The fields that a manifest lacks to identify an object."""
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    required = {"apiVersion": manifest.get("apiVersion"), "kind": manifest.get("kind"), "metadata.name": name}
    return [field for field, value in required.items() if not (isinstance(value, str) and value)]


def unmet_reason(found: dict[str, Any] | None, expected: Expectation) -> str | None:
    """Why an object does not have the expected state, as a predicate ("is being deleted"); None when it has."""
    if found is None:
        return "does not exist"
    if found["metadata"].get("deletionTimestamp"):
        return "is being deleted"
    missing = [key for key in expected.keys if key not in data_keys(found)]
    if missing:
        return f"has no data for {', '.join(missing)}"
    if expected.rollout and (reason := rollout_reason(found, expected.kind)):
        return reason
    if expected.condition is None:
        return None
    state = expected.condition if expected.status == "True" else f"{expected.condition}={expected.status}"
    condition = next((item for item in get_conditions(found) if item.get("type") == expected.condition), None)
    if condition is None:
        return f"has no condition {expected.condition}"
    if condition.get("status") != expected.status:
        return f"is not {state}: {describe_condition(condition)}"
    generation = found["metadata"].get("generation")
    observed = condition.get("observedGeneration") or get_status(found).get("observedGeneration")
    if isinstance(generation, int) and isinstance(observed, int) and 0 < observed < generation:
        return f"is {state} for generation {observed} only, expected generation {generation}"
    return None


def rollout_reason(found: dict[str, Any], kind: str) -> str | None:
    """Why the rollout of a workload is not complete, as a predicate; None when it is."""
    status, spec = found.get("status") or {}, found.get("spec") or {}
    if (status.get("observedGeneration") or 0) < (found["metadata"].get("generation") or 0):
        return "has a specification that its controller has not observed"
    desired_field, *count_fields = ROLLOUT_COUNTS[kind]
    updated, total, available = (status.get(name) or 0 for name in count_fields)
    if desired_field:
        desired = status.get(desired_field) or 0
    else:
        desired = 1 if spec.get("replicas") is None else spec["replicas"]
    if updated < desired:
        return f"has {updated} of {desired} pods with its current template"
    if total > updated:
        return f"has {total - updated} pod(s) of an earlier template left"
    if available < desired:
        return f"has {available} of {desired} pods available"
    return None


def get_conditions(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The conditions in the status. The status of a custom resource is whatever its controller writes."""
    conditions = get_status(found).get("conditions")
    return [item for item in conditions if isinstance(item, dict)] if isinstance(conditions, list) else []


def get_status(found: dict[str, Any]) -> dict[str, Any]:
    status = found.get("status")
    return status if isinstance(status, dict) else {}


def data_keys(found: dict[str, Any]) -> set[str]:
    """Keys of a ConfigMap or Secret that have a value."""
    return {key for part in ("data", "binaryData") for key, value in (found.get(part) or {}).items() if value}


def one_line(text: Any) -> str:
    return " ".join(str(text or "").split())


def describe_condition(condition: dict[str, Any]) -> str:
    """`Ready=False (Reason) message`."""
    reason, message = condition.get("reason"), one_line(condition.get("message"))
    text = f"{condition.get('type')}={condition.get('status')}"
    return text + (f" ({reason})" if reason else "") + (f" {message}" if message else "")


def newest_request(requests: list[dict[str, Any]], certificate: str) -> dict[str, Any] | None:
    """The newest CertificateRequest that cert-manager created for a Certificate."""
    own = [
        item
        for item in requests
        if (item["metadata"].get("annotations") or {}).get("cert-manager.io/certificate-name") == certificate
    ]
    return max(own, key=lambda item: item["metadata"].get("creationTimestamp") or "", default=None)


def event_time(event: dict[str, Any]) -> str:
    """When an event occurred last, in whichever of its fields its reporter wrote that."""
    series = event.get("series") or {}
    found = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(found or event["metadata"].get("creationTimestamp") or "")


def event_lines(events: list[dict[str, Any]], last: int = 3) -> list[str]:
    """The last events, oldest first."""
    newest = sorted(events, key=event_time)[-last:]
    return [f"{event.get('reason')}: {one_line(event.get('message'))}" for event in newest]


def explain(
    expected: Expectation,
    reason: str,
    found: dict[str, Any] | None,
    details: list[tuple[str, list[str]]],
    command: str | None = None,
) -> str:
    """The message about one object: what is unmet, what related objects report, and what to do.

    `command` shows more than the message. Its default is `kubectl describe` of the object.
    """
    parts = [f"{expected} {reason}."]
    items = get_conditions(found or {})
    others = [describe_condition(item) for item in items if item.get("type") != expected.condition]
    for title, lines in [("Other conditions", others), *details]:
        if lines:
            parts.append(f"{title}: {'; '.join(dict.fromkeys(lines))}.")
    has_pods = any(title == PODS and lines for title, lines in details)
    known = advice(" ".join(parts), ADVICE_FOR_PODS if has_pods else ADVICE)
    parts += [known] if known else []
    if command or not known:
        parts.append(f"See: {command or describe_command(expected)}")
    return " ".join(part.replace("..", ".") for part in parts)


def explain_rejection(reference: ObjectReference, reason: str) -> str:
    """The message about a manifest that the API server rejects."""
    sentence = f"{reference} {reason.rstrip('.')}."
    return f"{sentence} {advice(sentence)}".rstrip()


def advice(message: str, table: tuple[tuple[str, str], ...] = ADVICE) -> str:
    """What to do about the causes that a message names."""
    return " ".join(dict.fromkeys(text for part, text in table if part.lower() in message.lower()))


def describe_command(reference: ObjectReference) -> str:
    """The `kubectl describe` command for an object."""
    group = reference.api_version.partition("/")[0] if "/" in reference.api_version else ""
    resource = f"{reference.kind.lower()}.{group}" if group else reference.kind.lower()
    namespace = f" --namespace {reference.namespace}" if reference.namespace else ""
    return f"kubectl describe {resource} {reference.name}{namespace}"
