# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for Kubernetes objects until they have the expected state, time out, or cannot recover. Private to this
collection."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions, pods
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Expectation, ObjectReference

CREATION_GRACE = 10  # seconds for a kind, its current schema or a namespace to appear
RETRY_INTERVAL = 0.2  # seconds between two dry runs
POD_INTERVAL = 3  # seconds between two reads of pods, which can fail without a change of their workload


class Wait:
    """The start and the timeout of all waits of a task, and its workloads, one of which may be unable to recover."""

    def __init__(self, cluster: Cluster, expected: list[Expectation], timeout: float) -> None:
        self.cluster, self.started, self.timeout = cluster, time.monotonic(), timeout
        self.workloads = [one for one in expected if pods.is_workload(one.api_version, one.kind)]
        self.is_stopped = False  # a workload cannot recover
        self._causes = pods.PersistentCauses()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def deadline(self) -> float:
        return self.started + self.timeout

    @property
    def has_ended(self) -> bool:
        return self.is_stopped or self.elapsed >= self.timeout

    def check_workloads(self) -> None:
        """Stop if a workload, even one that is waited for later, has a cause that does not pass."""
        for expected in self.workloads:
            found = self.cluster.retry_until(partial(self.cluster.get, expected), self.deadline)
            is_ready = conditions.unmet_reason(found, expected) is None
            causes = [] if is_ready else self.cluster.causes(expected, found, with_events=False)
            if self._causes.persist(str(expected), causes, time.monotonic()):
                self.is_stopped = True


def wait_for_object(wait: Wait, expected: Expectation, absent: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The result for one object, and the object. Raises ClusterError if its kind or namespace does not appear.

    A task waits for its objects one after the other, since all of them must have the expected state.
    """
    cluster = wait.cluster
    while True:
        found = cluster.retry_until(lambda: cluster.get(expected), wait.deadline)
        reason = ("still exists" if found else None) if absent else conditions.unmet_reason(found, expected)
        if reason is None or wait.has_ended:
            return result(expected, reason, wait.elapsed, expected.condition), found
        if found is None and wait.elapsed >= CREATION_GRACE:
            missing = cluster.retry_until(lambda: cluster.missing_prerequisite(expected), wait.deadline)
            if missing:
                raise missing
        if not absent:
            wait.check_workloads()
        if not wait.is_stopped:
            longest = CREATION_GRACE if found is None else wait.timeout
            longest = POD_INTERVAL if wait.workloads and not absent else longest
            cluster.wait_for_change(expected, found, min(wait.timeout - wait.elapsed, longest))


def wait_for_admission(wait: Wait, manifest: dict[str, Any]) -> dict[str, Any]:
    """The result for a manifest, when the API server accepts it, rejects it permanently, or the wait times out."""
    while True:
        reason, is_permanent = wait.cluster.retry_until(lambda: wait.cluster.rejection(manifest), wait.deadline)
        if reason is None or wait.has_ended or (is_permanent and wait.elapsed >= CREATION_GRACE):
            return result(ObjectReference.from_manifest(manifest), reason, wait.elapsed)
        time.sleep(RETRY_INTERVAL)


def result(
    reference: ObjectReference, reason: str | None, seconds: float, condition: str | None = None
) -> dict[str, Any]:
    """The entry for one object in the return value of k8s_condition."""
    return {
        "kind": reference.kind,
        "name": reference.name,
        "namespace": reference.namespace,
        "condition": condition,
        "fulfilled": reason is None,
        "reason": reason or "",
        "causes": [],
        "seconds": round(seconds, 1),
    }
