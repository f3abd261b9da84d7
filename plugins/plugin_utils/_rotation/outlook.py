# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many pods a rotation restarts until it is finished, and its earliest end. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import phases
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.phases import Cluster, Goal, Phase, Step

Facts = dict[str, Any]
# Proxies renew after 70 % of the validity of their certificate, and after 24 hours at the latest, however long it is
# valid (linkerd2-proxy: linkerd/proxy/identity-client/src/certify.rs, linkerd/app/src/env.rs).
RENEWED_AT, RENEWED_AFTER = 0.7, timedelta(hours=24)
LEAF_VALIDITY = timedelta(hours=24)  # identity.issuer.issuanceLifetime of Linkerd's chart, unless its values set it


def first_restarts(cluster: Cluster, step: Step, goal: Goal) -> set[str]:
    """Pods that restart in phase 3, to trust the new root."""
    return {*phases.lacking(cluster.pods, goal.target or "")} if is_ahead(Phase.RESTART, cluster, step, goal) else set()


def is_ahead(phase: Phase, cluster: Cluster, step: Step, goal: Goal) -> bool:
    """Whether a cluster has not finished a phase. If its issuer has expired, the restarts follow the switch."""
    return step.phase <= phase or (phase == Phase.RESTART and goal.stops(cluster))


def restarts(
    fleet: Sequence[Cluster], steps: dict[str, Step], goal: Goal, wait: bool, final_restart: bool
) -> dict[str, int]:
    """How many pods restart in each phase that is left, by the name of the phase. A pod can restart in several.

    With `wait`, proxies renew their certificates instead. `final_restart` restarts pods that carry removed anchors.
    """
    found = dict.fromkeys((Phase.RESTART, Phase.RENEW, Phase.DONE), 0)
    kept = goal.extra | ({goal.target} if goal.target else set())
    for cluster in fleet:
        step = steps[cluster.name]
        first = first_restarts(cluster, step, goal)
        second = (
            {*phases.not_below(cluster.pods, goal.target or "")} if step.phase <= Phase.RENEW and not wait else set()
        )
        if goal.stops(cluster):
            second -= first  # they restart when the new root signs already
        stale = {pod.name for pod in cluster.pods if pod.anchors is None or pod.anchors - kept}
        if (cluster.anchors | step.anchors) - kept:
            stale |= first | second  # the ConfigMap contains the old anchors until phase 6
        found[Phase.RESTART] += len(first)
        found[Phase.RENEW] += len(second)
        found[Phase.DONE] += len(stale) if final_restart else 0
    return {one.name.lower(): number for one, number in found.items() if number}


def earliest_end(
    fleet: Sequence[Cluster], steps: dict[str, Step], goal: Goal, readings: dict[str, Facts], at: datetime
) -> datetime | None:
    """When the last proxy has renewed its certificate, if the new root signs from now on. None if none must.

    Restarts and, before phase 4, the time until the new root signs are not included.
    """
    ends: list[datetime] = []
    for cluster in fleet:
        step = steps[cluster.name]
        if step.phase > Phase.RENEW:
            continue
        first = first_restarts(cluster, step, goal) if not goal.stops(cluster) else set()
        waiting = {*phases.not_below(cluster.pods, goal.target or "")}
        ends += [at + renewed_after(LEAF_VALIDITY) for name in first & waiting]
        ends += renewals(readings[cluster.name], waiting - first)
    return max(at, *ends) if ends else None


def renewals(reading: Facts, names: Iterable[str]) -> Iterator[datetime]:
    """When the proxies of pods renew the certificates that they have."""
    for leaf in (leaf for group in reading.get("leaves") or [] for leaf in group["leaves"]):
        if leaf["pod"] in names:
            start, end = (datetime.fromisoformat(leaf[one]) for one in ("not_before", "not_after"))
            yield start + renewed_after(end - start)


def renewed_after(validity: timedelta) -> timedelta:
    return min(validity * RENEWED_AT, RENEWED_AFTER)
