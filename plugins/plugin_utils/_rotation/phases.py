# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a rotation, derived from what Vault and the clusters show. Pure. Private to this collection.

Nothing about a rotation is stored, so a run that was killed, or another person's run, continues from where the world
is. The order of the phases keeps one invariant: no pod ever meets a certificate that it does not trust. Proxies and the
identity controller read the trust anchors only when they start (linkerd2: controller/cmd/identity/main.go,
pkg/inject/inject.go), so an anchor must be in every pod before its root signs anything, and the old one may leave only
when nothing that it signed is in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

Anchors = frozenset[str]  # SHA-256 fingerprints of trust anchors


class Phase(IntEnum):
    """What is left to do first. Each is left only when all clusters pass its gate."""

    CREATE = 1  # the target root does not exist in Vault
    DISTRIBUTE = 2  # a ConfigMap lacks the target or an anchor that is in use, or trust-manager does not write it
    RESTART = 3  # a running pod does not carry the target
    SWITCH = 4  # the identity issuer is not signed by the target, or Linkerd's chart was given it or the anchors
    RENEW = 5  # a workload's certificate is not below the target
    REMOVE = 6  # a ConfigMap holds other anchors than the target
    DONE = 7


@dataclass(frozen=True)
class Pod:
    """A running meshed pod. What cannot be read from outside is None."""

    name: str  # namespace/name
    anchors: Anchors | None  # that its proxy carries
    root: str | None  # that the certificate which it presents chains to


@dataclass(frozen=True)
class Cluster:
    """One cluster of the mesh."""

    name: str
    anchors: Anchors  # in the ConfigMap that Linkerd reads
    signer: str | None  # root of the identity issuer
    pods: tuple[Pod, ...] = ()
    anchors_from_bundle: bool = True  # else Linkerd's chart or CLI wrote the ConfigMap
    anchors_in_values: bool = False  # an upgrade of Linkerd's chart or CLI would write the ConfigMap
    issuer_from_secret: bool = True  # that cert-manager writes; else Linkerd's chart or CLI was given the issuer

    @property
    def roots_in_use(self) -> Anchors:
        """Roots that something in the cluster chains to."""
        return frozenset(filter(None, [self.signer, *(pod.root for pod in self.pods)]))

    @property
    def chart_has_identity(self) -> bool:
        """Whether Linkerd's chart or CLI was given the trust anchors or the issuer."""
        return self.anchors_in_values or not self.issuer_from_secret


@dataclass(frozen=True)
class Goal:
    """The target root, anchors that stay beside it, such as those of linked clusters, and roots that have expired."""

    target: str | None  # None as long as Vault does not have it
    extra: Anchors = frozenset()
    expired: Anchors = frozenset()


@dataclass(frozen=True)
class Step:
    """What one cluster needs to leave its phase."""

    phase: Phase
    anchors: Anchors = frozenset()  # to be in the ConfigMap
    restart: tuple[str, ...] = ()  # pods to be restarted
    stale: tuple[str, ...] = ()  # pods that still carry anchors which left the ConfigMap


def roots_in_use(fleet: Sequence[Cluster]) -> Anchors:
    """Roots that something in any of the clusters chains to."""
    return frozenset[str]().union(*(one.roots_in_use for one in fleet))


def lacking(pods: Iterable[Pod], target: str) -> tuple[str, ...]:
    """Pods that do not carry the target, or of which that is not known."""
    return tuple(pod.name for pod in pods if pod.anchors is None or target not in pod.anchors)


def not_below(pods: Iterable[Pod], target: str) -> tuple[str, ...]:
    """Pods whose certificate does not chain to the target, or of which that is not known."""
    return tuple(pod.name for pod in pods if pod.root != target)


def step(cluster: Cluster, fleet: Sequence[Cluster], goal: Goal) -> Step:
    """The first thing that one cluster needs.

    `fleet` are all clusters. Clusters can be linked, so a pod must trust what any of them has in use.
    """
    target = goal.target
    if target is None:
        return Step(Phase.CREATE)
    needed = roots_in_use(fleet) | {target} | goal.extra
    if not needed <= cluster.anchors or not cluster.anchors_from_bundle:
        return Step(Phase.DISTRIBUTE, anchors=cluster.anchors | needed)
    # Below an expired root a restarted pod gets no certificate, and no connection is left that could be lost.
    is_broken = cluster.signer in goal.expired
    if not is_broken and (restart := lacking(cluster.pods, target)):
        return Step(Phase.RESTART, anchors=cluster.anchors, restart=restart)
    if cluster.signer != target or cluster.chart_has_identity:
        return Step(Phase.SWITCH, anchors=cluster.anchors)
    if restart := not_below(cluster.pods, target):
        return Step(Phase.RENEW, anchors=cluster.anchors, restart=restart)
    final = goal.extra | {target}
    stale = tuple(pod.name for pod in cluster.pods if pod.anchors is None or pod.anchors - final)
    if cluster.anchors != final:
        return Step(Phase.REMOVE, anchors=final, stale=stale)
    return Step(Phase.DONE, anchors=final, stale=stale)


def steps(fleet: Sequence[Cluster], goal: Goal) -> dict[str, Step]:
    """The step of each cluster by name."""
    return {cluster.name: step(cluster, fleet, goal) for cluster in fleet}


def phase(found: dict[str, Step]) -> Phase:
    """The phase of the fleet: that of the cluster which is furthest behind."""
    return min((one.phase for one in found.values()), default=Phase.DONE)


def distrusted(fleet: Sequence[Cluster]) -> list[tuple[str, str, Anchors]]:
    """Cluster and name of each pod that does not trust a certificate in use, and the roots that it lacks."""
    in_use = roots_in_use(fleet)
    return [
        (cluster.name, pod.name, missing)
        for cluster in fleet
        for pod in cluster.pods
        if pod.anchors is not None and (missing := in_use - pod.anchors)
    ]
