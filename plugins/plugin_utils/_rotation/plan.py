# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a rotation: phase, what each cluster needs, and what forbids to start. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import phases, problems
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.phases import Cluster, Goal, Phase, Step
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.problems import FORCED, Options, sentence
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.world import World

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
# Codes of vault_pki_issuer_info when the mount does not exist. Without a token, Vault asks for a login then.
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
    if obstacles:  # nothing can be concluded from a part of the world
        return {
            "phase": None,
            "phase_name": "unknown",
            "finished": False,
            "clusters": {},
            "problems": obstacles,
            "failures": [sentence(one) for one in obstacles],
            "table": [],
        }
    world = World(readings, vault["issuers"], options.ignored_pods)
    goal = Goal(world.issuers.get(options.target), options.extra, world.expired(at))
    steps = phases.steps(world.clusters, goal)
    now = phases.phase(steps)
    if now != Phase.DONE:
        obstacles = list(problems.refusals(world, readings, checks, components, options))
    if now <= Phase.RENEW:
        obstacles += problems.expiries(world, goal, options, at)
    if now == Phase.DONE:
        obstacles += problems.retirement(world, options)
    if options.force:
        obstacles = [one for one in obstacles if one["code"] not in FORCED]
    following = upcoming(now, steps, options.target)
    return {
        "phase": int(now),
        "phase_name": now.name.lower(),
        "finished": now == Phase.DONE,
        "next": following,
        "clusters": {cluster.name: facts(world, cluster, steps[cluster.name]) for cluster in world.clusters},
        "problems": obstacles,
        "failures": [sentence(one) for one in obstacles],
        "table": [
            *table(world, steps, goal),
            f"Phase {int(now)} of {int(Phase.DONE)}, {now.name.lower()}: {following}.",
        ],
    }


def upcoming(now: Phase, steps: dict[str, Step], target: str) -> str:
    """What comes next, such as `restart 3 pod(s) that ...`."""
    return NEXT[now].format(target=target, pods=sum(len(step.restart) for step in steps.values()))


def progress(readings: dict[str, Facts], vault: Facts, options: Options, at: datetime) -> Facts | None:
    """How far a rotation is, for the report. None before a cluster trusts its root, and if not everything was read."""
    if any(problems.unreadable(readings, vault)) or any(one.get("leaves") is None for one in readings.values()):
        return None
    world = World(readings, vault["issuers"], options.ignored_pods)
    target = world.issuers.get(options.target)
    if not any(target in cluster.anchors for cluster in world.clusters):
        return None
    steps = phases.steps(world.clusters, Goal(target, options.extra, world.expired(at)))
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


def facts(world: World, cluster: Cluster, step: Step) -> Facts:
    """What a playbook needs of a cluster's step."""
    return {
        "phase": int(step.phase),
        "phase_name": step.phase.name.lower(),
        "chart_has_identity": cluster.chart_has_identity,
        "issuer_from_secret": cluster.issuer_from_secret,
        "anchors": [world.facts[one]["certificate"] for one in sorted(step.anchors) if one in world.facts],
        "restart": list(step.restart),
        "stale": list(step.stale),
    }


def table(world: World, steps: dict[str, Step], goal: Goal) -> Iterator[str]:
    """One line for each cluster."""
    for cluster in world.clusters:
        carrying = len(cluster.pods) - len(phases.lacking(cluster.pods, goal.target or ""))
        below = len(cluster.pods) - len(phases.not_below(cluster.pods, goal.target or ""))
        signer = world.facts.get(cluster.signer or "", {}).get("subject", "unknown")
        yield (
            f"{cluster.name}: {steps[cluster.name].phase.name.lower()}. {len(cluster.anchors)} trust anchor(s), "
            f"identity issuer signed by {signer}. {carrying} of {len(cluster.pods)} pods carry the new anchor, "
            f"{below} have a certificate below it."
        )


def durations(history: Sequence[Facts], at: datetime) -> list[str]:
    """One line for each phase of a run that began before, and one for the whole run.

    `history` are the phases in the order of the run: `phase_name` and `at`, the time when it began.
    """
    begins = [datetime.fromisoformat(one["at"]) for one in history]
    lines = [
        f"{one['phase_name']}: {minutes(end - begin)}"
        for one, begin, end in zip(history, begins, [*begins[1:], at], strict=False)
        if one["phase_name"] != "done"
    ]
    return [*lines, f"total: {minutes(at - begins[0])}"] if lines else []


def minutes(length: timedelta) -> str:
    """A length such as `3 min 05 s`."""
    whole = round(length.total_seconds())
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"
