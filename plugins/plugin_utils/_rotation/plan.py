# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a rotation: its phase, the steps of each cluster, and problems. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report.table import sentence
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import outlook, phases, problems
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.observed import ObservedState
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.phases import Cluster, Goal, Phase, Step
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.problems import FORCED, Options

Facts = dict[str, Any]
NEXT = {
    Phase.CREATE: "create the root {target} in Vault",
    Phase.DISTRIBUTE: "let trust-manager write the trust anchor of {target} into the ConfigMap of each cluster",
    Phase.RESTART: "restart {pods} pod(s) that do not carry the trust anchor of {target}",
    Phase.SWITCH: "sign the identity issuers with {target}",
    Phase.RENEW: "wait until {pods} workload(s) have a certificate below {target}",
    Phase.REMOVE: "remove the other trust anchors and the keys of earlier issuers, and restart the workloads",
    Phase.DONE: "nothing",
}
SLOWEST = 3  # pods that the wait for certificates names
SHOWN = 5  # pods that the table names for each cluster
# Codes of vault_pki_issuer_info for a mount that does not exist. Without a token, Vault requires a login instead.
WITHOUT_ENGINE = ("mount_not_found", "login_required")


@dataclass(frozen=True)
class Position:
    """Where the clusters stand on the way to a root."""

    observed: ObservedState
    goal: Goal
    steps: dict[str, Step]  # of each cluster by name

    @classmethod
    def derive(cls, readings: dict[str, Facts], vault: Facts, options: Options, at: datetime) -> Position:
        observed = ObservedState(readings, vault["issuers"], options.ignored_pods)
        goal = Goal(observed.issuers.get(options.target), frozenset(options.extra_anchors), observed.expired(at))
        return cls(observed, goal, phases.steps(observed.clusters, goal))

    @property
    def phase(self) -> Phase:
        return phases.phase(self.steps)

    def as_facts(self, options: Options) -> Facts:
        """The phase, and what comes next, such as `restart 3 pod(s) that ...`."""
        pods = sum(len(one.restart) for one in self.steps.values())
        following = NEXT[self.phase].format(target=options.target, pods=pods)
        if self.phase == Phase.DONE:
            following = ", then ".join(self._last_steps(options)) or following
        return {"phase": int(self.phase), "phase_name": self.phase.name.lower(), "next": following}

    def _last_steps(self, options: Options) -> Iterator[str]:
        """What a run still does when the rotation is finished."""
        stale = sum(len(one.stale) for one in self.steps.values())
        if stale and options.final_restart:
            yield f"restart {stale} pod(s) that still carry other trust anchors"
        if options.retired_roots:
            yield f"remove the permission to sign from {', '.join(options.retired_roots)}, if it still exists"


def plan(clusters: dict[str, Facts], vault: Facts, options: Options, at: datetime) -> Facts:
    """The plan as facts: `phase`, `clusters`, `problems`, `table`.

    `clusters` are what was read from each cluster: `certificates`, `check`, `components`, and `switched`, whether this
    run has switched Linkerd to the current issuer.
    """
    readings = {name: certificates_of(found) for name, found in clusters.items()}
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
    position = Position.derive(readings, vault, options, at)
    observed, now = position.observed, position.phase
    if now != Phase.DONE:
        obstacles = list(problems.refusals(observed, clusters, options))
        obstacles += problems.linked(observed, clusters, position.goal, options)
        obstacles += problems.unusable_target(observed, clusters, position.goal, now, options, at)
    links = list(problems.distrusting_links(observed, clusters, position.goal, options))
    if now == Phase.SWITCH:
        obstacles += links
    if now <= Phase.RENEW:
        obstacles += problems.expired_issuers(observed, position.goal)
        obstacles += problems.expiries(observed, position.goal, now, options, at)
    if now == Phase.DONE:
        obstacles += problems.retirement(observed, options)
        if options.final_restart and any(one.stale for one in position.steps.values()):
            for name, found in clusters.items():
                obstacles += problems.failed_check(name, found.get("check") or {}, observed)
    if options.force:
        obstacles = [one for one in obstacles if one["code"] not in FORCED]
    summary = position.as_facts(options)
    left = outlook.restarts(observed.clusters, position.steps, position.goal, options.wait, options.final_restart)
    end = outlook.earliest_end(observed.clusters, position.steps, position.goal, readings, at) if options.wait else None
    known = options.extra_anchors | {one: found["certificate"] for one, found in observed.facts.items()}
    return {
        **summary,
        "finished": now == Phase.DONE,
        "clusters": {one.name: facts(known, one, position) for one in observed.clusters},
        "restarts": left,
        "earliest_end": certs.iso(end) if end else None,
        "problems": obstacles,
        "failures": [sentence(one) for one in obstacles],
        "table": [
            *table(position),
            *existing_key(position, options),
            *(f"Phase 4 will fail. {sentence(one)}" for one in links if now < Phase.SWITCH),
            *prospects(left, end),
            f"Phase {now} of {Phase.DONE}, {summary['phase_name']}: {summary['next']}.",
        ],
    }


def certificates_of(found: Facts) -> Facts:
    """The certificates of a cluster. After a switch they are as after a restart: the controller uses the issuer."""
    reading: Facts = found["certificates"]
    if not found.get("switched") or "issuer" not in reading:
        return reading
    return {**reading, "issuer": {**reading["issuer"], "evidence": "started_after"}}


def progress(readings: dict[str, Facts], vault: Facts, options: Options, at: datetime) -> Facts | None:
    """The state of a rotation, for the report. None before any cluster trusts its root, or if a part is unknown."""
    if any(problems.unreadable(readings, vault)) or any(one.get("leaves") is None for one in readings.values()):
        return None
    position = Position.derive(readings, vault, options, at)
    if not any(position.goal.target in cluster.anchors for cluster in position.observed.clusters):
        return None
    return {
        **position.as_facts(options),
        "target": options.target,
        "phases": int(Phase.DONE),
        "clusters": [
            {"name": name, "phase_name": step.phase.name.lower(), "pods": [*step.restart, *step.stale]}
            for name, step in position.steps.items()
        ],
    }


def renewal(
    reading: Facts,
    issuers: list[Facts],
    target: str,
    patterns: Sequence[str] = ("*",),
    ignored_pods: Sequence[str] = (),
) -> Facts:
    """How many pods of a cluster have certificates below a root: `pods`, `waiting`, `message`.

    `patterns` are those of the pods that count. `waiting` starts with the pods that renew last, which are those whose
    certificates expire last, and ends with the patterns that match no pod. Only `message` if the certificates could
    not be read.
    """
    obstacles = list(problems.unreadable({"The cluster": reading}, {"issuers": issuers}))
    if obstacles:
        return {"message": " ".join(one["message"] for one in obstacles)}
    (cluster,) = ObservedState({"": reading}, issuers, ignored_pods).clusters
    root = next((one["fingerprint_sha256"] for one in issuers if one["issuer_name"] == target), "")
    expiry = {leaf["pod"]: leaf["not_after"] for group in reading["leaves"] or [] for leaf in group["leaves"]}
    pods = [pod for pod in cluster.pods if pod.will_renew and any(fnmatchcase(pod.name, one) for one in patterns)]
    waiting = sorted(phases.not_below(pods, root), key=lambda pod: expiry.get(pod, ""), reverse=True)
    message = f"{len(pods) - len(waiting)} of {len(pods)} pods have certificates below {target}."
    if waiting:
        slowest = [f"{pod} ({expiry.get(pod, 'unreadable')})" for pod in waiting[:SLOWEST]]
        message += f" The last ones to renew, with the expiry of their certificates: {', '.join(slowest)}."
    missing = [one for one in patterns if one != "*" and not any(fnmatchcase(pod.name, one) for pod in pods)]
    if missing:
        message += f" No pod that matches {', '.join(missing)} has a certificate."
    return {"pods": len(pods), "waiting": [*waiting, *missing], "message": message}


def facts(known: dict[str, str], cluster: Cluster, position: Position) -> Facts:
    """The step of a cluster, for the playbook. `known` are the certificates in PEM by fingerprint."""
    step = position.steps[cluster.name]
    return {
        "phase": int(step.phase),
        "phase_name": step.phase.name.lower(),
        "chart_has_identity": cluster.chart_has_identity,
        "issuer_from_secret": cluster.issuer_from_secret,
        "signer_expired": position.goal.stops(cluster),
        "anchors": [known[one] for one in sorted(step.anchors)],
        "restart": list(step.restart),
        "stale": list(step.stale),
        "namespaces": sorted({pod.name.partition("/")[0] for pod in cluster.pods}),
        "restart_controller": step.restart_controller,
        "obsolete_issuer": cluster.obsolete_issuer,
    }


def pods_left(names: Sequence[str]) -> str:
    """The first pods that must still change, such as ` Pods left: app/web-1, app/web-2, and 40 more.`"""
    more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return f" Pods left: {', '.join([*names[:SHOWN], *more])}." if names else ""


def table(position: Position) -> Iterator[str]:
    """One line for each cluster."""
    observed, target = position.observed, position.goal.target or ""
    for cluster in observed.clusters:
        step = position.steps[cluster.name]
        carrying = len(cluster.pods) - len(phases.lacking(cluster.pods, target))
        below = sum(pod.root == target for pod in cluster.pods)
        signer = observed.facts.get(cluster.signer or "", {}).get("subject", "unknown")
        restart = " The identity controller restarts, because nothing shows that it uses the identity issuer."
        yield (
            f"{cluster.name}: {step.phase.name.lower()}. "
            f"{len(cluster.anchors)} trust anchor(s), identity issuer signed by {signer}. "
            f"{carrying} of {len(cluster.pods)} pods carry the new anchor, {below} have a certificate below it."
            f"{pods_left([*step.restart, *step.stale])}{restart if step.restart_controller else ''}"
        )


def existing_key(position: Position, options: Options) -> Iterator[str]:
    """A line if the new root exists with another key than the run would create. The options do not apply to it."""
    root = position.observed.facts.get(position.goal.target or "")
    if not root or position.phase > Phase.SWITCH:
        return
    key_type, bits, dummy = options.new_root
    found = (root["key_type"], root["key_bits"])
    expected = (key_type, bits or root["key_bits"])  # the option is 0 for ed25519
    if found != expected:
        yield (
            f"Vault has the root {options.target} already. Its key is {found[0]}:{found[1]}, not "
            f"{expected[0]}:{expected[1]} as in vault_pki_root_key_type and vault_pki_root_key_bits, which apply to a "
            "root that the run creates. To create one, set pki_root_issuer_name to a new name."
        )


def prospects(left: dict[str, int], end: datetime | None) -> Iterator[str]:
    """Lines about the phases that are left: how many pods restart, and the earliest end."""
    if left:
        by_phase = ", ".join(f"{number} in the phase {name}" for name, number in left.items())
        yield f"Pods to restart until the rotation is finished: {by_phase}."
    if end:
        yield f"The rotation cannot finish before {certs.iso(end)}, when the last proxy renews its certificate."


def durations(history: Sequence[Facts], at: datetime) -> list[str]:
    """One line for each phase of a run, and one for all of them.

    `history` lists the phases in order, each with `phase_name` and `at`, the time when it began. The last ends at `at`.
    """
    begins = [datetime.fromisoformat(one["at"]) for one in history]
    lines = [
        f"{one['phase_name']}: {minutes(end - begin)}"
        for one, begin, end in zip(history, begins, [*begins[1:], at], strict=False)
    ]
    return [*lines, f"total: {minutes(at - begins[0])}"] if lines else []


def minutes(length: timedelta) -> str:
    """A duration such as `3 min 05 s`."""
    whole = round(length.total_seconds())
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"
