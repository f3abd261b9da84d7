# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a rotation, derived from what Vault and the clusters show. Pure. Private to this collection.

No state of a rotation is stored, so any run continues in the phase in which an earlier one stopped. The order of the
phases ensures one invariant: no pod is ever presented a certificate that it does not trust. Proxies and the identity
controller read the trust anchors only when they start (linkerd2: controller/cmd/identity/main.go,
pkg/inject/inject.go). So every pod must carry an anchor before its root signs anything, and the old anchor can be
removed only when nothing that its root signed is in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

Anchors = frozenset[str]  # SHA-256 fingerprints of trust anchors


class Phase(IntEnum):
    """The first step that is not done. All clusters finish a phase before one of them starts the next."""

    CREATE = 1  # the target root does not exist in Vault
    DISTRIBUTE = 2  # a ConfigMap lacks the target or an anchor that is in use, or trust-manager does not write it
    RESTART = 3  # a running pod does not carry the target
    SWITCH = 4  # the target does not sign this issuer or the next, or Linkerd's chart or CLI provides it or the anchors
    RENEW = 5  # a workload's certificate is not below the target, or will not be
    REMOVE = 6  # a ConfigMap holds other anchors than the target, or the Secret an issuer that is not in use any more
    DONE = 7


@dataclass(frozen=True)
class Pod:
    """A running meshed pod. Values that cannot be read are None."""

    name: str  # namespace/name
    anchors: Anchors | None  # in its proxy
    root: str | None  # above the certificate that its proxy presents
    starting: bool = False  # its proxy has not started, so it has no certificate yet

    @property
    def will_renew(self) -> bool:
        """Whether it has a certificate. A proxy that starts requests its first one from the current issuer."""
        return self.root is not None or not self.starting


@dataclass(frozen=True)
class Cluster:
    """One cluster of the mesh."""

    name: str
    anchors: Anchors  # in the ConfigMap that Linkerd reads
    signer: str | None  # root of the identity issuer
    pods: tuple[Pod, ...] = ()
    next_signer: str | None = None  # root from which cert-manager requests the next one; None if it is unknown
    issuer_in_use: bool = True  # False if it is unknown whether the identity controller has loaded the issuer
    obsolete_issuer: bool = False  # the Secret also contains the key of an issuer that Linkerd does not read
    anchors_from_bundle: bool = True  # False if Linkerd's chart or CLI wrote the ConfigMap
    anchors_in_values: bool = False  # an upgrade of Linkerd's chart or CLI would write the ConfigMap
    issuer_from_secret: bool = True  # False if the issuer was passed to Linkerd's chart or CLI
    issuer_path: Anchors = frozenset()  # the identity issuer and the certificates above it

    @property
    def roots_in_use(self) -> Anchors:
        """Roots that something in the cluster chains to."""
        return frozenset(filter(None, [self.signer, *(pod.root for pod in self.pods)]))

    @property
    def chart_has_identity(self) -> bool:
        """Whether the trust anchors or the issuer come from Linkerd's chart or CLI."""
        return self.anchors_in_values or not self.issuer_from_secret


@dataclass(frozen=True)
class Goal:
    """What the mesh trusts after the rotation."""

    target: str | None  # the new root; None as long as Vault does not have it
    extra: Anchors = frozenset()  # trusted in addition, such as those of linked clusters
    expired: Anchors = frozenset()  # trust anchors, roots in use and certificates of issuer paths that have expired

    def stops(self, cluster: Cluster) -> bool:
        """Whether the identity issuer or a certificate above it has expired, so that no pod gets a certificate."""
        return not self.expired.isdisjoint({cluster.signer, *cluster.issuer_path})


@dataclass(frozen=True)
class Step:
    """What one cluster needs to finish its phase."""

    phase: Phase
    anchors: Anchors = frozenset()  # to distribute in the ConfigMap
    restart: tuple[str, ...] = ()  # pods to restart
    stale: tuple[str, ...] = ()  # pods that still carry anchors that the ConfigMap no longer contains
    restart_controller: bool = False  # so that it loads the issuer


def roots_in_use(fleet: Sequence[Cluster]) -> Anchors:
    """Roots that something in any of the clusters chains to."""
    return frozenset[str]().union(*(one.roots_in_use for one in fleet))


def lacking(pods: Iterable[Pod], target: str) -> tuple[str, ...]:
    """Pods that do not carry the target, or whose anchors are unknown."""
    return tuple(pod.name for pod in pods if pod.anchors is None or target not in pod.anchors)


def not_below(pods: Iterable[Pod], target: str) -> tuple[str, ...]:
    """Pods whose certificate does not chain to the target, or is unknown."""
    return tuple(pod.name for pod in pods if pod.will_renew and pod.root != target)


def step(cluster: Cluster, fleet: Sequence[Cluster], goal: Goal) -> Step:
    """The next step of one cluster.

    `fleet` are all clusters. Clusters can be linked, so a pod must trust the roots in use in any of them.
    """
    target = goal.target
    if target is None:
        return Step(Phase.CREATE)
    # An expired anchor is left out: trust-manager may filter it, and then the ConfigMap would never contain it.
    needed = (roots_in_use(fleet) - goal.expired) | {target} | goal.extra
    if not needed <= cluster.anchors or not cluster.anchors_from_bundle:
        return Step(Phase.DISTRIBUTE, anchors=(cluster.anchors - goal.expired) | needed)
    # Below an expired certificate, a restarted pod gets none, so the new root must sign before pods restart.
    is_broken = goal.stops(cluster)
    if not is_broken and (restart := lacking(cluster.pods, target)):
        return Step(Phase.RESTART, anchors=cluster.anchors, restart=restart)
    # A run that stopped in this phase may have changed only where cert-manager requests the next issuer.
    signers = {cluster.signer, cluster.next_signer or target}
    if is_broken or signers != {target} or cluster.chart_has_identity:
        return Step(Phase.SWITCH, anchors=cluster.anchors)
    final = goal.extra | {target}
    is_final = cluster.anchors == final and not cluster.obsolete_issuer
    restart = not_below(cluster.pods, target)
    # A controller that has not loaded the issuer still signs with the one before, and may do so below another root.
    if restart or not (is_final or cluster.issuer_in_use):
        restart_controller = not cluster.issuer_in_use
        return Step(Phase.RENEW, anchors=cluster.anchors, restart=restart, restart_controller=restart_controller)
    stale = tuple(pod.name for pod in cluster.pods if pod.anchors is None or pod.anchors - final)
    if not is_final:
        return Step(Phase.REMOVE, anchors=final, stale=stale)
    return Step(Phase.DONE, anchors=final, stale=stale)


def steps(fleet: Sequence[Cluster], goal: Goal) -> dict[str, Step]:
    """The step of each cluster by name."""
    return {cluster.name: step(cluster, fleet, goal) for cluster in fleet}


def phase(found: dict[str, Step]) -> Phase:
    """The phase of the cluster that is furthest behind."""
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
