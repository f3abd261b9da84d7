# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for Kubernetes objects: until they are what they should be, the time is over, or waiting cannot help."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions, pods
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import Wanted

GRACE = 10  # seconds that a kind, its current schema or a namespace may take to appear
PAUSE = 0.2  # seconds between two requests where there is nothing to watch
POLL = 3  # seconds between two looks at the pods of workloads, which can fail without a change of the workload


class Waiting:
    """What all waits of a task have in common: its start, its limit, and the workloads that may be beyond help."""

    def __init__(self, cluster: Cluster, wanted: list[Wanted], timeout: float) -> None:
        self.cluster, self.started, self.timeout = cluster, time.monotonic(), timeout
        self.workloads = [one for one in wanted if pods.is_workload(one.api_version, one.kind)]
        self.stopped = False  # whether waiting for any of the objects is in vain
        self._patience = pods.Patience()

    @property
    def waited(self) -> float:
        return time.monotonic() - self.started

    @property
    def until(self) -> float:
        return self.started + self.timeout

    @property
    def is_over(self) -> bool:
        return self.stopped or self.waited >= self.timeout

    def look_at_workloads(self) -> None:
        """Stop when one of the workloads, also one that is waited for later, has a cause that does not pass."""
        for wanted in self.workloads:
            found = self.cluster.patiently(partial(self.cluster.get, wanted), self.until)
            causes = self.cluster.causes(wanted, found, with_events=False) if conditions.unmet(found, wanted) else []
            if self._patience.worn_out(str(wanted), causes, time.monotonic()):
                self.stopped = True


def wait(waiting: Waiting, wanted: Wanted, absent: bool) -> dict[str, Any]:
    """Waits for one object. One after the other is as good as all at once, for all have to be so."""
    cluster = waiting.cluster
    while True:
        found = cluster.patiently(lambda: cluster.get(wanted), waiting.until)
        reason = ("still exists" if found else None) if absent else conditions.unmet(found, wanted)
        if reason is None or waiting.is_over:
            return result(wanted, reason, waiting.waited, found)
        if found is None and waiting.waited >= GRACE:
            ground = cluster.patiently(lambda: cluster.missing_ground(wanted), waiting.until)
            if ground:
                raise ClusterError(ground)
        if not absent:
            waiting.look_at_workloads()
        if not waiting.stopped:
            longest = GRACE if found is None else waiting.timeout
            longest = POLL if waiting.workloads and not absent else longest
            cluster.wait_for_change(wanted, found, min(waiting.timeout - waiting.waited, longest))


def wait_accepted(waiting: Waiting, definition: dict[str, Any]) -> dict[str, Any]:
    """Asks until an object would be taken, or never will be."""
    wanted = Wanted.named(definition)
    while True:
        reason, for_good = waiting.cluster.patiently(lambda: waiting.cluster.refusal(definition), waiting.until)
        if reason is None or waiting.is_over or (for_good and waiting.waited >= GRACE):
            return result(wanted, reason, waiting.waited, None)
        time.sleep(PAUSE)


def result(wanted: Wanted, reason: str | None, seconds: float, found: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "kind": wanted.kind,
        "name": wanted.name,
        "namespace": wanted.namespace,
        "condition": wanted.condition,
        "fulfilled": reason is None,
        "reason": reason or "",
        "causes": [],
        "seconds": round(seconds, 1),
        "_found": found,
    }
