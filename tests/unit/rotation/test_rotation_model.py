# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of a fleet and its rotations: what runs, operators, cert-manager, Kubernetes and proxies do, in any order.

Along every path, no pod meets a certificate that it does not trust, and every issuer can be used by its controller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import outlook, phases
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.phases import Cluster, Goal, Phase, Pod, Step

ROOTS = OLD, NEW, OTHER = ("old", "new", "other")
EXPIRED = "an identity issuer that has expired"
CONTROLLER = "app/0"  # the pod of the identity controller
MAX_STEPS = 100


@dataclass(frozen=True)
class Model:
    """A cluster, and what no reading shows."""

    cluster: Cluster
    loaded: str  # root of the issuer with which the identity controller signs

    def changed(self, **fields) -> Model:
        return replace(self, cluster=replace(self.cluster, **fields))

    def pod(self, name: str, **fields) -> Model:
        return self.changed(
            pods=tuple(replace(one, **fields) if one.name == name else one for one in self.cluster.pods)
        )

    def certified(self, name: str) -> Model:
        """The proxy of a pod requests a certificate."""
        return self.pod(name, root=self.loaded, starting=False)

    def restarted(self, name: str) -> Model:
        """A restarted pod reads the ConfigMap, and the identity controller also the Secret."""
        found = self.pod(name, anchors=self.cluster.anchors)
        if name == CONTROLLER:
            found = replace(found, loaded=self.cluster.signer).changed(issuer_in_use=True)
        return found.certified(name)

    def issued(self) -> Model:
        """cert-manager writes an issuer into the Secret."""
        return self.changed(signer=self.cluster.next_signer, issuer_in_use=False, issuer_path=frozenset())

    def noticed(self) -> Model:
        """The running controller loads the issuer in the Secret, if it trusts it."""
        (controller,) = [one for one in self.cluster.pods if one.name == CONTROLLER]
        return replace(self, loaded=self.cluster.signer) if self.cluster.signer in controller.anchors else self


@st.composite
def fleets(draw) -> list[Model]:
    """Meshes in which all pods trust all certificates, however they came to be so."""
    signers = draw(st.lists(st.sampled_from(ROOTS), min_size=1, max_size=3))
    in_use = frozenset(signers) | frozenset(draw(st.lists(st.sampled_from(ROOTS), max_size=2)))
    found = []
    for number, signer in enumerate(signers):
        pods = []
        for index in range(draw(st.integers(1, 3))):
            carried = in_use | frozenset(draw(st.sets(st.sampled_from(ROOTS))))
            pods.append(Pod(f"app/{index}", carried, draw(st.sampled_from(sorted(in_use)))))
        loaded = draw(st.sampled_from(sorted(in_use)))
        drawn = Cluster(
            f"cluster-{number}",
            in_use | frozenset(draw(st.sets(st.sampled_from(ROOTS)))),
            signer,
            tuple(pods),
            next_signer=draw(st.sampled_from([None, *sorted(in_use)])),
            issuer_in_use=loaded == signer and draw(st.booleans()),
            obsolete_issuer=draw(st.booleans()),
            anchors_from_bundle=draw(st.booleans()),
            issuer_from_secret=draw(st.booleans()),
        )
        found.append(Model(drawn, loaded))
    return found


def advanced(model: Model, step: Step, target: str, waits: bool, is_killed: bool, draw) -> Model:
    """The cluster after the action of its step. A run that is killed does only a part of it."""
    names = step.restart
    if is_killed:
        names = names[: draw(st.integers(0, len(names)))]
    if step.phase == Phase.DISTRIBUTE:
        return model.changed(anchors=step.anchors, anchors_from_bundle=True)
    if step.phase == Phase.SWITCH:
        return switched(model, target, draw(st.integers(1, 3)) if is_killed else 4)
    if step.phase == Phase.REMOVE:
        return model.changed(next_signer=target, anchors=step.anchors, obsolete_issuer=False)
    if step.restart_controller:
        model = model.restarted(CONTROLLER)
    if step.phase == Phase.RENEW and waits:
        for pod in model.cluster.pods:
            model = model if pod.starting else model.certified(pod.name)
        return model
    for name in names:
        model = model.restarted(name)
    return model


def switched(model: Model, target: str, tasks: int) -> Model:
    """The cluster after the first tasks of a switch, which a run checks one after the other."""
    if tasks >= 1:
        model = model.changed(next_signer=target)
    if tasks >= 2:
        model = model.issued()
    if tasks >= 3:
        model = model.changed(issuer_from_secret=True)
    if tasks >= 4:
        model = model.noticed()
        model = model.changed(issuer_in_use=True) if model.loaded == target else model.restarted(CONTROLLER)
    return model


def disturbed(model: Model, draw) -> Model:
    """Something that may happen at any time."""
    cluster = model.cluster
    pod = draw(st.sampled_from(cluster.pods))
    event = draw(st.sampled_from(("renewal", "restart", "certificate", "evidence", "noticed", "new pod")))
    if event == "renewal" and cluster.next_signer:
        return model.issued()
    if event == "restart":
        return model.restarted(pod.name)
    if event == "certificate":
        return model.certified(pod.name)
    if event == "evidence" and model.loaded == cluster.signer:
        return model.certified(pod.name).changed(issuer_in_use=True)
    if event == "noticed":
        return model.noticed()
    if event == "new pod" and len(cluster.pods) < 4:
        return model.changed(
            pods=(*cluster.pods, Pod(f"app/{len(cluster.pods)}", cluster.anchors, None, starting=True))
        )
    return model


def assert_trust(fleet: list[Model], after: str) -> None:
    """Pods trust every certificate, also those that cert-manager and the controllers issue next."""
    clusters = [one.cluster for one in fleet]
    next_roots = {one.loaded for one in fleet} | {one.next_signer for one in clusters if one.next_signer}
    trusted = phases.roots_in_use(clusters) | next_roots
    for one in clusters:
        assert trusted <= one.anchors, f"a pod that starts does not trust a certificate, {after}"
        assert all(trusted <= pod.anchors for pod in one.pods), f"a pod does not trust a certificate, {after}"


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(fleet=fleets(), data=st.data())
def test_no_pod_ever_meets_a_certificate_that_it_does_not_trust(fleet, data):
    """The target may change on the way, which is how a rotation is undone. Clusters act in any order."""
    draw = data.draw
    target = draw(st.sampled_from(ROOTS))
    waits = draw(st.booleans())  # until proxies renew their certificates
    changes, kills, events = (draw(st.integers(0, number)) for number in (2, 3, 9))
    assert_trust(fleet, "at the start")
    for dummy in range(MAX_STEPS):
        found = phases.steps([one.cluster for one in fleet], Goal(target))
        now = phases.phase(found)
        if now == Phase.DONE and not changes:
            break
        if changes and (now == Phase.DONE or draw(st.integers(0, 9)) == 0):
            target, changes = draw(st.sampled_from(ROOTS)), changes - 1
            continue
        number = draw(st.sampled_from([at for at, one in enumerate(fleet) if found[one.cluster.name].phase == now]))
        is_killed = kills > 0 and draw(st.booleans())
        fleet[number] = advanced(fleet[number], found[fleet[number].cluster.name], target, waits, is_killed, draw)
        assert_trust(fleet, f"after {now.name} of cluster {number}")
        kills -= is_killed
        if events and draw(st.booleans()):
            other, events = draw(st.integers(0, len(fleet) - 1)), events - 1
            fleet[other] = disturbed(fleet[other], draw)
            assert_trust(fleet, "after an event")
    assert phases.phase(phases.steps([one.cluster for one in fleet], Goal(target))) == Phase.DONE
    for one in fleet:
        cluster = one.cluster
        assert cluster.anchors == {target} and {one.loaded, cluster.signer, cluster.next_signer or target} == {target}
        assert all(pod.root == target or pod.starting for pod in cluster.pods)
        assert cluster.anchors_from_bundle and cluster.issuer_from_secret and not cluster.obsolete_issuer


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(fleet=fleets(), data=st.data())
def test_nothing_restarts_below_an_expired_issuer(fleet, data):
    """The outage exists already. A restarted pod would get no certificate, and a restarted controller would exit."""
    draw = data.draw
    target, waits, kills = draw(st.sampled_from(ROOTS)), draw(st.booleans()), draw(st.integers(0, 3))
    number = draw(st.integers(0, len(fleet) - 1))
    fleet[number] = fleet[number].changed(issuer_path=frozenset({EXPIRED}))
    for dummy in range(MAX_STEPS):
        found = phases.steps([one.cluster for one in fleet], Goal(target, expired=frozenset({EXPIRED})))
        now = phases.phase(found)
        if now == Phase.DONE:
            break
        number = draw(st.sampled_from([at for at, one in enumerate(fleet) if found[one.cluster.name].phase == now]))
        step = found[fleet[number].cluster.name]
        if EXPIRED in fleet[number].cluster.issuer_path:
            assert step.phase in (Phase.DISTRIBUTE, Phase.SWITCH) and not (step.restart or step.restart_controller)
        is_killed = kills > 0 and draw(st.booleans())
        fleet[number] = advanced(fleet[number], step, target, waits, is_killed, draw)
        kills -= is_killed
    assert phases.phase(phases.steps([one.cluster for one in fleet], Goal(target))) == Phase.DONE
    assert not any(one.cluster.issuer_path for one in fleet)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(fleet=fleets(), target=st.sampled_from(ROOTS), waits=st.booleans())
def test_the_number_of_restarts_is_known_at_the_start(fleet, target, waits):
    """Without the controllers, which the model also restarts if they do not notice their issuer."""
    goal, counted, first = Goal(target), {"restart": 0, "renew": 0}, None
    for dummy in range(MAX_STEPS):
        clusters = [one.cluster for one in fleet]
        found = phases.steps(clusters, goal)
        others = [replace(one, pods=tuple(pod for pod in one.pods if pod.name != CONTROLLER)) for one in clusters]
        left = outlook.restarts(others, found, goal, waits, True)
        first = left if first is None else first
        now = phases.phase(found)
        if now == Phase.DONE:
            break
        number = next(at for at, one in enumerate(fleet) if found[one.cluster.name].phase == now)
        step = found[fleet[number].cluster.name]
        if now == Phase.RESTART or (now == Phase.RENEW and not waits):
            counted[now.name.lower()] += len({*step.restart} - {CONTROLLER})
        fleet[number] = advanced(fleet[number], step, target, waits, False, None)
    counted["done"] = sum(len({*one.stale} - {CONTROLLER}) for one in found.values())
    assert first == {name: number for name, number in counted.items() if number}


def test_a_switch_before_the_restarts_would_be_noticed():
    """The invariant can fail: signing with the new root while a pod carries only the old one."""
    both = frozenset({OLD, NEW})
    pods = (Pod(CONTROLLER, both, OLD), Pod("app/1", frozenset({OLD}), OLD))
    switch = switched(Model(Cluster("one", both, OLD, pods), OLD), NEW, 4).certified(CONTROLLER)
    assert phases.distrusted([switch.cluster]) == [("one", "app/1", frozenset({NEW}))]
