# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Kubernetes object says of itself, judged and put into sentences. Private to this collection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Their existence is all there is to wait for, or their data keys.
WITHOUT_CONDITIONS = ("ConfigMap", "Namespace", "Secret", "ServiceAccount")
# The kinds that roll a template out, with the names of their counts: wanted, of the current template, all, available.
ROLLED_OUT = {
    "DaemonSet": ("desiredNumberScheduled", "updatedNumberScheduled", "currentNumberScheduled", "numberAvailable"),
    "Deployment": ("", "updatedReplicas", "replicas", "availableReplicas"),
    "StatefulSet": ("", "updatedReplicas", "replicas", "availableReplicas"),
}

# A part of a message, and what its reader should do.
ADVICE = (
    ("permission denied", "The credential may not sign here: compare the Vault policy with the issuer's path."),
    ("connection refused", "Nothing listens at the address as the pods see it: use Vault's in-network address."),
    ("no such host", "The pods cannot resolve that name: use an address that the cluster's DNS knows."),
    ("i/o timeout", "The pods have no route to that address: look at networks and network policies."),
    ("context deadline exceeded", "The pods have no route to that address: look at networks and network policies."),
    ("certificate signed by unknown authority", "The server's CA is not known: give the issuer its CA bundle."),
    ("malformed or broken", "The CA answers with certificates that form no single chain: look at the issuer's chain."),
    ("a max path length of zero", "The signing CA may not sign another CA: its path length has to be 1 or more."),
    ("SourceNotFound", "A source of the bundle is missing in the trust namespace: make it, with the key named there."),
    ("failed calling webhook", "The webhook does not answer yet: look at its pod."),
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
class Wanted:
    """One object and what is waited for."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None
    condition: str | None = None
    status: str = "True"
    keys: tuple[str, ...] = field(default=())
    rollout: bool = False

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> Wanted:
        condition = options.get("condition")
        proved = options.get("keys") or options.get("rollout") or options["kind"] in WITHOUT_CONDITIONS
        if condition is None and not proved:
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

    @classmethod
    def named(cls, definition: dict[str, Any]) -> Wanted:
        """What a manifest describes, with nothing to wait for."""
        head = definition["metadata"]
        return cls(definition["apiVersion"], definition["kind"], head["name"], head.get("namespace"))

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def lacking(definition: dict[str, Any]) -> list[str]:
    """What a manifest needs to be a named object and has not."""
    head = definition.get("metadata")
    name = head.get("name") if isinstance(head, dict) else None
    needed = {"apiVersion": definition.get("apiVersion"), "kind": definition.get("kind"), "metadata.name": name}
    return [key for key, value in needed.items() if not (isinstance(value, str) and value)]


def unmet(found: dict[str, Any] | None, wanted: Wanted) -> str | None:
    """Why an object is not yet what is wanted, as the rest of a sentence; None when it is."""
    if found is None:
        return "does not exist"
    if found["metadata"].get("deletionTimestamp"):
        return "is being deleted"
    missing = [key for key in wanted.keys if key not in data_keys(found)]
    if missing:
        return f"has no data for {', '.join(missing)}"
    if wanted.rollout and (unfinished := rollout(found, wanted.kind)):
        return unfinished
    if wanted.condition is None:
        return None
    condition = next((item for item in conditions(found) if item.get("type") == wanted.condition), None)
    if condition is None:
        return f"has no condition {wanted.condition}"
    if condition.get("status") != wanted.status:
        return f"is not {wanted.condition}={wanted.status}: {sentence(condition)}"
    generation = found["metadata"].get("generation")
    seen = condition.get("observedGeneration") or status(found).get("observedGeneration")
    if isinstance(generation, int) and isinstance(seen, int) and 0 < seen < generation:
        return f"is {wanted.condition}={wanted.status} for generation {seen} only, wanted generation {generation}"
    return None


def rollout(found: dict[str, Any], kind: str) -> str | None:
    """Why a workload does not run its current template alone, as the rest of a sentence; None when it does."""
    status, spec = found.get("status") or {}, found.get("spec") or {}
    if (status.get("observedGeneration") or 0) < (found["metadata"].get("generation") or 0):
        return "has a specification that its controller has not observed"
    named, *others = ROLLED_OUT[kind]
    updated, total, available = (status.get(name) or 0 for name in others)
    wanted = (status.get(named) or 0) if named else 1 if spec.get("replicas") is None else spec["replicas"]
    if updated < wanted:
        return f"has {updated} of {wanted} pods with its current template"
    if total > updated:
        return f"has {total - updated} pod(s) of an earlier template left"
    if available < wanted:
        return f"has {available} of {wanted} pods available"
    return None


def conditions(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of its status, which for a custom resource is whatever its controller writes."""
    listed = status(found).get("conditions")
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def status(found: dict[str, Any]) -> dict[str, Any]:
    written = found.get("status")
    return written if isinstance(written, dict) else {}


def data_keys(found: dict[str, Any]) -> set[str]:
    """Keys of a ConfigMap or Secret that hold something. The values stay where they are."""
    return {key for part in ("data", "binaryData") for key, value in (found.get(part) or {}).items() if value}


def sentence(condition: dict[str, Any]) -> str:
    reason, message = condition.get("reason"), " ".join(str(condition.get("message") or "").split())
    text = f"{condition.get('type')}={condition.get('status')}"
    return text + (f" ({reason})" if reason else "") + (f" {message}" if message else "")


def newest_request(requests: list[dict[str, Any]], certificate: str) -> dict[str, Any] | None:
    """The CertificateRequest that cert-manager made last for a Certificate."""
    own = [
        item
        for item in requests
        if (item["metadata"].get("annotations") or {}).get("cert-manager.io/certificate-name") == certificate
    ]
    return max(own, key=lambda item: item["metadata"].get("creationTimestamp") or "", default=None)


def event_lines(events: list[dict[str, Any]], last: int = 3) -> list[str]:
    """The last events, oldest first."""

    def moment(event: dict[str, Any]) -> str:
        series = event.get("series") or {}
        return (
            series.get("lastObservedTime")
            or event.get("lastTimestamp")
            or event.get("eventTime")
            or event["metadata"].get("creationTimestamp")
            or ""
        )

    newest = sorted(events, key=moment)[-last:]
    return [f"{event.get('reason')}: {' '.join((event.get('message') or '').split())}" for event in newest]


def explain(
    wanted: Wanted,
    why: str,
    found: dict[str, Any] | None,
    details: list[tuple[str, list[str]]],
    command: str | None = None,
) -> str:
    """Everything about one object: what is unmet, what other objects report about it, what to do.

    The command shows more than the message; by default it describes the object.
    """
    parts = [f"{wanted} {why}."]
    others = [sentence(item) for item in conditions(found or {}) if item.get("type") != wanted.condition]
    for title, lines in [("Other conditions", others), *details]:
        if lines:
            parts.append(f"{title}: {'; '.join(dict.fromkeys(lines))}.")
    known = advice(
        " ".join(parts), ADVICE_FOR_PODS if any(title == PODS and lines for title, lines in details) else ADVICE
    )
    parts += [known] if known else []
    if command or not known:
        parts.append(f"See: {command or describe_command(wanted)}")
    return " ".join(part.replace("..", ".") for part in parts)


def explain_refusal(wanted: Wanted, why: str) -> str:
    """The same for a definition that the API server does not take."""
    sentence = f"{wanted} {why.rstrip('.')}."
    return f"{sentence} {advice(sentence)}".rstrip()


def advice(text: str, known: tuple[tuple[str, str], ...] = ADVICE) -> str:
    """What to do, where a part of the text has the cause."""
    return " ".join(dict.fromkeys(what for part, what in known if part.lower() in text.lower()))


def describe_command(wanted: Wanted) -> str:
    group = wanted.api_version.partition("/")[0] if "/" in wanted.api_version else ""
    resource = f"{wanted.kind.lower()}.{group}" if group else wanted.kind.lower()
    place = f" --namespace {wanted.namespace}" if wanted.namespace else ""
    return f"kubectl describe {resource} {wanted.name}{place}"
