# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a rotation: its phase, the steps of each cluster, and problems. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import phases, problems
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.observed import ObservedState
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.phases import Cluster, Goal, Phase, Step
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.problems import FORCED, Options, sentence

Facts = dict[str, Any]
NEXT = {
    Phase.CREATE: "create the root {target} in Vault",
    Phase.DISTRIBUTE: "let trust-manager write the trust anchor of {target} into the ConfigMap of each cluster",
    Phase.RESTART: "restart {pods} pod(s) that do not carry the trust anchor of {target}",
    Phase.SWITCH: "sign the identity issuers with {target}",
    Phase.RENEW: "wait until {pods} workload(s) have a certificate below {target}",
    Phase.REMOVE: "remove the other trust anchors, and restart the workloads",
    Phase.DONE: "nothing",
}
# Codes of vault_pki_issuer_info for a mount that does not exist. Without a token, Vault requires a login instead.
WITHOUT_ENGINE = ("mount_not_found", "login_required")


def plan(
    readings: dict[str, Facts],
    vault: Facts,
    checks: dict[str, Facts],
    components: dict[str, Facts],
    options: Options,
    at: datetime,
) -> Facts:
    """The plan as facts: `phase`, `clusters`, `problems`, `table`."""
    if options.adopt and vault.get("code") in WITHOUT_ENGINE:
        vault = {"issuers": []}
    obstacles = list(problems.unreadable(readings, vault))
    if obstacles:  # the phase cannot be derived if a part is unknown
        return {
            "phase": None,
            "phase_name": "unknown",
            "finished": False,
            "clusters": {},
            "problems": obstacles,
            "failures": [sentence(one) for one in obstacles],
            "table": [],
        }
    observed = ObservedState(readings, vault["issuers"], options.ignored_pods)
    goal = Goal(observed.issuers.get(options.target), options.extra, observed.expired(at))
    steps = phases.steps(observed.clusters, goal)
    now = phases.phase(steps)
    if now != Phase.DONE:
        obstacles = list(problems.refusals(observed, readings, checks, components, options))
    if now <= Phase.RENEW:
        obstacles += problems.expiries(observed, goal, options, at)
    if now == Phase.DONE:
        obstacles += problems.retirement(observed, options)
    if options.force:
        obstacles = [one for one in obstacles if one["code"] not in FORCED]
    following = upcoming(now, steps, options.target)
    return {
        "phase": int(now),
        "phase_name": now.name.lower(),
        "finished": now == Phase.DONE,
        "next": following,
        "clusters": {cluster.name: facts(observed, cluster, steps[cluster.name]) for cluster in observed.clusters},
        "problems": obstacles,
        "failures": [sentence(one) for one in obstacles],
        "table": [
            *table(observed, steps, goal),
            f"Phase {int(now)} of {int(Phase.DONE)}, {now.name.lower()}: {following}.",
        ],
    }


def upcoming(now: Phase, steps: dict[str, Step], target: str) -> str:
    """What comes next, such as `restart 3 pod(s) that ...`."""
    return NEXT[now].format(target=target, pods=sum(len(step.restart) for step in steps.values()))


def progress(readings: dict[str, Facts], vault: Facts, options: Options, at: datetime) -> Facts | None:
    """The state of a rotation, for the report. None before any cluster trusts its root, or if a part is unknown."""
    if any(problems.unreadable(readings, vault)) or any(one.get("leaves") is None for one in readings.values()):
        return None
    observed = ObservedState(readings, vault["issuers"], options.ignored_pods)
    target = observed.issuers.get(options.target)
    if not any(target in cluster.anchors for cluster in observed.clusters):
        return None
    steps = phases.steps(observed.clusters, Goal(target, options.extra, observed.expired(at)))
    now = phases.phase(steps)
    return {
        "target": options.target,
        "phase": int(now),
        "phase_name": now.name.lower(),
        "phases": int(Phase.DONE),
        "next": upcoming(now, steps, options.target),
        "clusters": [
            {"name": name, "phase_name": step.phase.name.lower(), "pods": [*step.restart, *step.stale]}
            for name, step in steps.items()
        ],
    }


def facts(observed: ObservedState, cluster: Cluster, step: Step) -> Facts:
    """The step of a cluster, for the playbook."""
    return {
        "phase": int(step.phase),
        "phase_name": step.phase.name.lower(),
        "chart_has_identity": cluster.chart_has_identity,
        "issuer_from_secret": cluster.issuer_from_secret,
        "anchors": [observed.facts[one]["certificate"] for one in sorted(step.anchors) if one in observed.facts],
        "restart": list(step.restart),
        "stale": list(step.stale),
    }


def table(observed: ObservedState, steps: dict[str, Step], goal: Goal) -> Iterator[str]:
    """One line for each cluster."""
    for cluster in observed.clusters:
        carrying = len(cluster.pods) - len(phases.lacking(cluster.pods, goal.target or ""))
        below = len(cluster.pods) - len(phases.not_below(cluster.pods, goal.target or ""))
        signer = observed.facts.get(cluster.signer or "", {}).get("subject", "unknown")
        yield (
            f"{cluster.name}: {steps[cluster.name].phase.name.lower()}. {len(cluster.anchors)} trust anchor(s), "
            f"identity issuer signed by {signer}. {carrying} of {len(cluster.pods)} pods carry the new anchor, "
            f"{below} have a certificate below it."
        )


def durations(history: Sequence[Facts], at: datetime) -> list[str]:
    """One line for each phase of this run, and one for all of them.

    `history` lists the phases in order, each with `phase_name` and `at`, the time when it began.
    """
    begins = [datetime.fromisoformat(one["at"]) for one in history]
    lines = [
        f"{one['phase_name']}: {minutes(end - begin)}"
        for one, begin, end in zip(history, begins, [*begins[1:], at], strict=False)
        if one["phase_name"] != "done"
    ]
    return [*lines, f"total: {minutes(at - begins[0])}"] if lines else []


def minutes(length: timedelta) -> str:
    """A duration such as `3 min 05 s`."""
    whole = round(length.total_seconds())
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"
