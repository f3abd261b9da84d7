# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the pods of a workload are not ready, by their status, events and controllers. Private to this collection.

Reasons are those of the kubelet (kubernetes: pkg/kubelet/images/types.go, kuberuntime/kuberuntime_container.go), the
scheduler and the controllers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import event_time, one_line

Object = dict[str, Any]

WORKLOADS = {
    "apps/v1": ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"),
    "batch/v1": ("Job",),
    "v1": ("Pod",),
}
# The kinds whose controllers report only by events why they create no pod.
WITHOUT_REPLICA_FAILURE = ("DaemonSet", "Job", "StatefulSet")
NORMAL_WAITING = (None, "ContainerCreating", "PodInitializing")  # reasons of a container that is starting
REVISION = "deployment.kubernetes.io/revision"
NO_LOG = "unable to retrieve container logs for"  # the kubelet's answer, with status 200, for a removed container
MAX_CAUSES = 3  # in a message
BACK_OFF = 'Back-off pulling image "[^"]*"'  # the whole message up to Kubernetes 1.30, which leaves out the error

# A reason, a part of its message in any case, and the seconds after which waiting longer does not help. The first match
# counts. A cause without a match can pass: a node is added, a registry is reachable again, a dependency of a program
# starts.
GRACE_PERIODS = (
    ("InvalidImageName", "", 0),
    # The image does not match the security context of the pod.
    ("CreateContainerConfigError", "non-root|runAsNonRoot|runAsUser", 0),
    # Another controller may create the missing ConfigMap or Secret shortly afterwards.
    ("CreateContainerConfigError", "", 60),
    # The answer of a registry. A registry that does not answer may be reachable later.
    ("ErrImagePull|ImagePullBackOff", "not found|manifest unknown|no match for platform", 60),
    ("ErrImagePull|ImagePullBackOff", "denied|unauthorized|forbidden|no basic auth credentials", 60),
    # Terminating pods count against a quota until they are gone.
    ("FailedCreate", "exceeded quota|violates PodSecurity|must specify|(maximum|minimum) .* usage", 30),
    ("FailedCreate", "unable to validate against any security context constraint", 30),  # of OpenShift
)


@dataclass(frozen=True)
class Cause:
    """A reason why a workload is not ready, of a pod, of a container, or of the controller that creates pods."""

    where: str
    reason: str
    message: str = ""
    pod: str = ""
    container: str = ""
    crashed: bool = field(default=False, compare=False)

    @property
    def grace_period(self) -> float | None:
        """Seconds after which waiting longer does not help; None if the cause can pass at any time."""
        return next(
            (
                seconds
                for reason, part, seconds in GRACE_PERIODS
                if re.fullmatch(reason, self.reason) and re.search(part, self.message, re.IGNORECASE)
            ),
            None,
        )

    @property
    def lacks_error(self) -> bool:
        """Whether only an event, or an earlier status of the pod, has the error of this cause."""
        return self.reason == "ImagePullBackOff" and bool(re.fullmatch(BACK_OFF, self.message))

    @property
    def kind(self) -> tuple[str, str]:
        """Identifies a cause across pods and across retries of the kubelet."""
        return self.container, "Image" if "Image" in self.reason else self.reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f", {self.message}" if self.message else "")

    def facts(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("pod", "container", "reason", "message")}


class PersistentCauses:
    """Detects causes that last longer than their grace period."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, ...], float] = {}

    def persist(self, workload: str, causes: Collection[Cause], now: float) -> bool:
        """Whether one of the current causes of a workload has lasted too long. `now` is a monotonic time."""
        present = {(workload, *cause.kind): cause.grace_period for cause in causes if cause.grace_period is not None}
        continued = {(workload, *cause.kind) for cause in causes if cause.lacks_error}
        for key in [key for key in self._since if key[0] == workload and key not in {*present, *continued}]:
            del self._since[key]
        return any(now - self._since.setdefault(key, now) >= seconds for key, seconds in present.items())


def is_workload(api_version: str, kind: str) -> bool:
    return kind in WORKLOADS.get(api_version, ())


def selector(workload: Object) -> str:
    """The selector of a workload in the syntax of the query parameter labelSelector."""
    found = (workload.get("spec") or {}).get("selector") or {}
    parts = [f"{key}={value}" for key, value in (found.get("matchLabels") or {}).items()]
    for item in found.get("matchExpressions") or []:
        key, values = item["key"], ",".join(item.get("values") or [])
        operators = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(operators.get(item["operator"], f"!{key}"))
    return ",".join(parts)


def owned(items: Iterable[Object], owner: Object) -> list[Object]:
    """The items that have `owner` among their owner references."""
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


def creation_failures(owner: Object) -> str:
    """The field selector of the events in which a controller reports that it cannot create a pod."""
    return f"involvedObject.uid={owner['metadata'].get('uid')},reason=FailedCreate"


def controller_causes(owner: Object, pods: list[Object], events: list[Object]) -> Iterator[Cause]:
    """Why a controller creates no pod: quota, admission, a missing service account.

    A ReplicaSet has a condition for it. For other kinds it is the last event, unless a pod was created afterwards.
    """
    where = f"{owner.get('kind') or 'ReplicaSet'} {_name(owner)}"
    for condition in (owner.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            yield Cause(where, condition.get("reason") or "FailedCreate", _flat(condition.get("message")))
    created = max((pod["metadata"].get("creationTimestamp") or "" for pod in pods), default="")
    for event in sorted(events, key=event_time)[-1:]:
        if event_time(event) > created:
            yield Cause(where, event["reason"], _flat(event.get("message")))


def pod_causes(pod: Object, events: list[Object]) -> list[Cause]:
    """Why a pod is not ready. Its events count only if its status has no reason."""
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
            reason = reason or last.get("reason") or "Error"
            yield _cause(pod, reason, _exit_message(container, last), name, crashed=True)
        elif reason not in NORMAL_WAITING:
            cause = _cause(pod, str(reason), waiting.get("message"), name)
            failed = [text for text in _event_messages(events, "Failed") if "pull image" in text]
            if cause.lacks_error and failed:
                cause = _cause(pod, str(reason), f"{cause.message}; {failed[-1]}", name)
            yield cause


def _exit_message(container: Object, last: Object) -> str:
    restarts = container.get("restartCount") or 0
    text = f"exit code {last.get('exitCode')}" + (f" ({last['reason']})" if last.get("reason") else "")
    text += f" after {restarts} restart{'' if restarts == 1 else 's'}"
    return text + (f": {_flat(last['message'])[-300:]}" if last.get("message") else "")


def _warnings(pod: Object, events: list[Object]) -> Iterator[Cause]:
    """The last warning about a pod, such as about a volume, the network or a probe."""
    warnings = sorted((event for event in events if event.get("type") == "Warning"), key=event_time)
    for event in warnings[-1:]:
        yield _cause(pod, event.get("reason") or "Warning", event.get("message"))


def summary(causes: Iterable[Cause]) -> list[str]:
    """One line for each cause. The same cause of several pods is one line."""
    by_kind: dict[tuple[str, str], list[Cause]] = {}
    for cause in causes:
        by_kind.setdefault(cause.kind, []).append(cause)
    lines = [f"{same[0]} (and {len(same) - 1} more)" if same[1:] else str(same[0]) for same in by_kind.values()]
    return lines[:MAX_CAUSES]


def command(causes: list[Cause], namespace: str | None) -> str | None:
    """The command that shows more about the first pod among the causes; None without a pod."""
    first = next((cause for cause in causes if cause.pod), None)
    if first is None:
        return None
    option = f" --namespace {namespace}" if namespace else ""
    if first.crashed:
        return f"kubectl logs {first.pod} --container {first.container} --previous{option}"
    return f"kubectl describe pod {first.pod}{option}"


def last_line(log: str) -> str:
    """The last line of a log that is not empty; the empty string if the kubelet answers that it has no log."""
    lines = [one_line(line) for line in log.splitlines() if line.strip()]
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


def _event_messages(events: list[Object], reason: str) -> list[str]:
    return [_flat(event.get("message")) for event in sorted(events, key=event_time) if event.get("reason") == reason]


def _flat(text: Any) -> str:
    return one_line(text).rstrip(".")
