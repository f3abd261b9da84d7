# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the pods of a workload are not ready, from what the API server has about them. Private to this collection.

Reasons are those of the kubelet (kubernetes: pkg/kubelet/images/types.go, kuberuntime/kuberuntime_container.go), the
scheduler and the controllers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

WORKLOADS = {
    "apps/v1": ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"),
    "batch/v1": ("Job",),
    "v1": ("Pod",),
}
ORDINARY = (None, "ContainerCreating", "PodInitializing")  # a container waits, and nothing is wrong with it yet
REVISION = "deployment.kubernetes.io/revision"
NO_LOG = "unable to retrieve container logs for"  # with status 200, for a container that was removed meanwhile
SHOWN = 3  # causes that a message names

# A reason, a part of its message, and the seconds after which waiting longer does not help. The first match counts; a
# cause without one may pass: a node is added, a registry is reached again, a program finds what it crashed without.
PATIENCE = (
    ("InvalidImageName", "", 0),
    # The image or the specification itself breaks a rule of the specification.
    ("CreateContainerConfigError", "non-root|runAsNonRoot|runAsUser", 0),
    # A ConfigMap or Secret that is missing is often created a moment later, by another controller.
    ("CreateContainerConfigError", "", 60),
    # What a registry answered, after some attempts of the kubelet. Without an answer it may be reached later.
    ("ErrImagePull|ImagePullBackOff", "not found|manifest unknown|denied|unauthorized|no match for platform", 60),
    # Old pods that are terminating count against a quota.
    ("FailedCreate", "exceeded quota|violates PodSecurity|must specify|(maximum|minimum) .* usage", 30),
)


@dataclass(frozen=True)
class Cause:
    """Something that keeps a workload from being ready."""

    where: str
    reason: str
    message: str = ""
    pod: str = ""
    container: str = ""
    crashed: bool = field(default=False, compare=False)  # the log of the container's previous run may have more

    @property
    def patience(self) -> float | None:
        """Seconds after which waiting longer does not help; None where it may pass at any time."""
        return next(
            (
                seconds
                for reason, part, seconds in PATIENCE
                if re.fullmatch(reason, self.reason) and re.search(part, self.message)
            ),
            None,
        )

    @property
    def kind(self) -> tuple[str, str]:
        """What stays the same while pods come and go, and while the kubelet tries again."""
        return self.container, "Image" if "Image" in self.reason else self.reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f", {self.message}" if self.message else "")

    def facts(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("pod", "container", "reason", "message")}


class Patience:
    """Notices causes that stay although a workload was waited for long enough."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, ...], float] = {}

    def worn_out(self, workload: str, causes: Iterable[Cause], now: float) -> bool:
        """Whether one of the causes of a workload has been there for too long. Now is any clock that only moves on."""
        present = {(workload, *cause.kind): cause.patience for cause in causes if cause.patience is not None}
        for key in [key for key in self._since if key[0] == workload and key not in present]:
            del self._since[key]
        return any(now - self._since.setdefault(key, now) >= seconds for key, seconds in present.items())


def is_workload(api_version: str, kind: str) -> bool:
    return kind in WORKLOADS.get(api_version, ())


def selector(workload: Object) -> str:
    """The selector of a workload as the API server takes it in a query."""
    found = (workload.get("spec") or {}).get("selector") or {}
    parts = [f"{key}={value}" for key, value in (found.get("matchLabels") or {}).items()]
    for item in found.get("matchExpressions") or []:
        key, values = item["key"], ",".join(item.get("values") or [])
        operators = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(operators.get(item["operator"], f"!{key}"))
    return ",".join(parts)


def owned(items: Iterable[Object], owner: Object) -> list[Object]:
    uid = owner["metadata"].get("uid")
    return [
        item
        for item in items
        if any(reference.get("uid") == uid for reference in item["metadata"].get("ownerReferences") or [])
    ]


def newest(replica_sets: list[Object]) -> Object | None:
    """The ReplicaSet of the Deployment's current template."""

    def revision(item: Object) -> int:
        text = (item["metadata"].get("annotations") or {}).get(REVISION, "")
        return int(text) if text.isdigit() else 0

    return max(replica_sets, key=revision, default=None)


def controller_causes(workload: Object) -> Iterator[Cause]:
    """Why the controller of a ReplicaSet creates no pod: quota, admission, a missing service account."""
    where = f"{workload.get('kind') or 'ReplicaSet'} {_name(workload)}"
    for condition in (workload.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            yield Cause(where, condition.get("reason") or "FailedCreate", _flat(condition.get("message")))


def pod_causes(pod: Object, events: list[Object]) -> list[Cause]:
    """Why a pod is not ready. Its events are asked only where its status does not have the reason."""
    status, meta = pod.get("status") or {}, pod["metadata"]
    if meta.get("deletionTimestamp") or status.get("phase") == "Succeeded" or _is_ready(status):
        return []
    own = [event for event in events if (event.get("involvedObject") or {}).get("uid") == meta.get("uid")]
    causes = [*_scheduling(pod), *_containers(pod, own)]
    if not causes and status.get("phase") == "Failed":
        causes = [_cause(pod, status.get("reason") or "Failed", status.get("message"))]
    return causes or list(_warnings(pod, own))


def _scheduling(pod: Object) -> Iterator[Cause]:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield _cause(pod, condition.get("reason") or "Unschedulable", condition.get("message"))


def _containers(pod: Object, events: list[Object]) -> Iterator[Cause]:
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        name, state = container["name"], container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        reason = waiting.get("reason")
        if reason == "CrashLoopBackOff" or ended.get("exitCode"):
            last = ended or (container.get("lastState") or {}).get("terminated") or {}
            yield _cause(pod, reason or last.get("reason") or "Error", _ended(container, last), name, crashed=True)
        elif reason not in ORDINARY:
            message = _flat(waiting.get("message"))
            failed = [text for text in _texts(events, "Failed") if "pull image" in text]
            # Up to Kubernetes 1.30 the status has no more than "Back-off pulling image".
            extra = f"; {failed[-1]}" if reason == "ImagePullBackOff" and failed and "rror" not in message else ""
            yield _cause(pod, str(reason), message + extra, name)


def _ended(container: Object, last: Object) -> str:
    restarts = container.get("restartCount") or 0
    text = f"exit code {last.get('exitCode')}" + (f" ({last['reason']})" if last.get("reason") else "")
    text += f" after {restarts} restart{'' if restarts == 1 else 's'}"
    return text + (f": {_flat(last['message'])[-300:]}" if last.get("message") else "")


def _warnings(pod: Object, events: list[Object]) -> Iterator[Cause]:
    """The last warning about a pod: a volume, a network, a probe."""
    warnings = sorted((event for event in events if event.get("type") == "Warning"), key=_time)
    for event in warnings[-1:]:
        yield _cause(pod, event.get("reason") or "Warning", event.get("message"))


def summary(causes: Iterable[Cause]) -> list[str]:
    """One line for each cause, the same cause of several pods once."""
    alike: dict[tuple[str, str], list[Cause]] = {}
    for cause in causes:
        alike.setdefault(cause.kind, []).append(cause)
    lines = []
    for same in alike.values():
        more = f" (and {len(same) - 1} more alike)" if same[1:] else ""
        lines.append(f"{same[0]}{more}")
    return lines[:SHOWN]


def command(causes: list[Cause], namespace: str | None) -> str | None:
    """Where to read more about the first pod among the causes."""
    first = next((cause for cause in causes if cause.pod), None)
    if first is None:
        return None
    place = f" --namespace {namespace}" if namespace else ""
    if first.crashed:
        return f"kubectl logs {first.pod} --container {first.container} --previous{place}"
    return f"kubectl describe pod {first.pod}{place}"


def last_line(log: str) -> str:
    """The last line of a log that is not empty; nothing where a kubelet answers with its own excuse."""
    lines = [" ".join(line.split()) for line in log.splitlines() if line.strip()]
    return "" if not lines or lines[-1].startswith(NO_LOG) else lines[-1][:300]


def _cause(pod: Object, reason: str, message: Any = "", container: str = "", crashed: bool = False) -> Cause:
    where = f"Pod {_name(pod)}" + (f", container {container}" if container else "")
    return Cause(where, reason, _flat(message)[:600], pod["metadata"]["name"], container, crashed)


def _is_ready(status: Object) -> bool:
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in status.get("conditions") or []
    )


def _name(found: Object) -> str:
    meta = found["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def _texts(events: list[Object], reason: str) -> list[str]:
    return [_flat(event.get("message")) for event in sorted(events, key=_time) if event.get("reason") == reason]


def _time(event: Object) -> str:
    series = event.get("series") or {}
    found = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(found or event["metadata"].get("creationTimestamp") or "")


def _flat(text: Any) -> str:
    return " ".join(str(text or "").split()).rstrip(".")
