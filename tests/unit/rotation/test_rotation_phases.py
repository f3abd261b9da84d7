# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phases of a rotation over drawn worlds: along every path, no pod meets a certificate that it does not trust."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import phases
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.phases import Cluster, Goal, Phase, Pod

OLD, NEW, OTHER = "old", "new", "other"
OLD_ONLY, BOTH, NEW_ONLY = frozenset({OLD}), frozenset({OLD, NEW}), frozenset({NEW})


def cluster(anchors=OLD_ONLY, signer=OLD, *pods: tuple) -> Cluster:
    """A cluster of pods given as (anchors, root)."""
    return Cluster("one", anchors, signer, tuple(Pod(f"app/{number}", *pod) for number, pod in enumerate(pods)))


@pytest.mark.parametrize(
    ("world", "goal", "expected"),
    [
        (cluster(), Goal(None), Phase.CREATE),
        (cluster(), Goal(NEW), Phase.DISTRIBUTE),
        (cluster(BOTH, OLD, (OLD_ONLY, OLD)), Goal(NEW), Phase.RESTART),
        (cluster(BOTH, OLD, (None, OLD)), Goal(NEW), Phase.RESTART),
        (cluster(BOTH, OLD, (BOTH, OLD)), Goal(NEW), Phase.SWITCH),
        (cluster(BOTH, NEW, (BOTH, OLD)), Goal(NEW), Phase.RENEW),
        (cluster(BOTH, NEW, (BOTH, None)), Goal(NEW), Phase.RENEW),
        (cluster(BOTH, NEW, (BOTH, NEW)), Goal(NEW), Phase.REMOVE),
        (cluster(NEW_ONLY, NEW, (BOTH, NEW)), Goal(NEW), Phase.DONE),
        (cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), Goal(NEW), Phase.DONE),
        (cluster(NEW_ONLY, NEW, (BOTH, OLD)), Goal(NEW), Phase.DISTRIBUTE),
        (cluster(NEW_ONLY | {OTHER}, NEW, (NEW_ONLY, NEW)), Goal(NEW), Phase.REMOVE),
        (cluster(NEW_ONLY | {OTHER}, NEW, (NEW_ONLY, NEW)), Goal(NEW, frozenset({OTHER})), Phase.DONE),
        # trust anchors and issuer that Linkerd's chart or CLI was given
        (replace(cluster(BOTH, OLD, (BOTH, OLD)), anchors_from_bundle=False), Goal(NEW), Phase.DISTRIBUTE),
        (replace(cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), issuer_from_secret=False), Goal(NEW), Phase.SWITCH),
        # a run stopped after it had set the path in Vault
        (replace(cluster(BOTH, OLD, (BOTH, OLD)), next_signer=NEW), Goal(NEW), Phase.SWITCH),
        (replace(cluster(BOTH, OLD, (BOTH, OLD)), next_signer=NEW), Goal(OLD), Phase.SWITCH),
        (replace(cluster(BOTH, OLD, (BOTH, OLD)), next_signer=OLD), Goal(OLD), Phase.REMOVE),
        (replace(cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), next_signer=NEW), Goal(NEW), Phase.DONE),
        # a pod without a certificate holds up nothing if its proxy has not started
        (cluster(BOTH, NEW, (BOTH, NEW), (BOTH, None, True)), Goal(NEW), Phase.REMOVE),
        (cluster(BOTH, NEW, (BOTH, OLD, True)), Goal(NEW), Phase.RENEW),
        (cluster(BOTH, OLD, (OLD_ONLY, None, True)), Goal(NEW), Phase.RESTART),
        # back to the old root, from each phase
        (cluster(BOTH, OLD, (OLD_ONLY, OLD)), Goal(OLD), Phase.REMOVE),
        (cluster(BOTH, NEW, (BOTH, OLD)), Goal(OLD), Phase.SWITCH),
        (cluster(BOTH, OLD, (BOTH, NEW)), Goal(OLD), Phase.RENEW),
        (cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), Goal(OLD), Phase.DISTRIBUTE),
    ],
)
def test_phase_of_a_cluster(world, goal, expected):
    assert phases.step(world, [world], goal).phase == expected


def test_a_linked_cluster_that_signs_with_another_root_is_trusted_first():
    one, two = cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), replace(cluster(OLD_ONLY, OLD, (OLD_ONLY, OLD)), name="two")
    found = phases.steps([one, two], Goal(NEW))
    assert {name: step.phase for name, step in found.items()} == {"one": Phase.DISTRIBUTE, "two": Phase.DISTRIBUTE}
    assert found["one"].anchors == found["two"].anchors == BOTH
    assert phases.distrusted([one, two]) == [("one", "app/0", OLD_ONLY), ("two", "app/0", NEW_ONLY)]


def test_the_fleet_is_in_the_phase_of_its_last_cluster():
    one = replace(cluster(BOTH, NEW, (BOTH, NEW)), name="one")
    two = replace(cluster(BOTH, OLD, (BOTH, OLD)), name="two")
    assert phases.phase(phases.steps([one, two], Goal(NEW))) == Phase.SWITCH
    assert phases.phase({}) == Phase.DONE


# A model of a fleet: what operators, Kubernetes and proxies do meanwhile, in any order.

ROOTS = (OLD, NEW, OTHER)


@st.composite
def fleets(draw) -> list[Cluster]:
    """Meshes in which all pods trust all certificates, however they came to be so."""
    signers = draw(st.lists(st.sampled_from(ROOTS), min_size=1, max_size=3))
    in_use = frozenset(signers) | frozenset(draw(st.lists(st.sampled_from(ROOTS), max_size=2)))
    found = []
    for number, signer in enumerate(signers):
        anchors = in_use | frozenset(draw(st.sets(st.sampled_from(ROOTS))))
        pods = []
        for index in range(draw(st.integers(1, 3))):
            carried = in_use | frozenset(draw(st.sets(st.sampled_from(ROOTS))))
            root = draw(st.sampled_from(sorted(in_use)))
            pods.append(Pod(f"app/{index}", carried, root))
        adopted = {"anchors_from_bundle": draw(st.booleans()), "issuer_from_secret": draw(st.booleans())}
        found.append(Cluster(f"cluster-{number}", anchors, signer, tuple(pods), **adopted))
    return found


def started(world: Cluster, pod: Pod) -> Pod:
    """The pod after a restart: it reads the ConfigMap and is certified by the current issuer."""
    return replace(pod, anchors=world.anchors, root=world.signer)


def restarted(world: Cluster, names: tuple[str, ...]) -> Cluster:
    return replace(world, pods=tuple(started(world, pod) if pod.name in names else pod for pod in world.pods))


def advanced(world: Cluster, step: phases.Step, target: str) -> Cluster:
    """The cluster after the action of its step."""
    if step.phase in (Phase.DISTRIBUTE, Phase.REMOVE):
        return replace(world, anchors=step.anchors, anchors_from_bundle=True)
    if step.phase in (Phase.RESTART, Phase.RENEW):
        return restarted(world, step.restart)
    if step.phase == Phase.SWITCH:
        return replace(world, signer=target, issuer_from_secret=True)
    return world


def disturbed(world: Cluster, draw) -> Cluster:
    """Something that may happen at any time: a pod is rescheduled, a proxy renews its certificate, a pod is added."""
    pod = draw(st.sampled_from(world.pods))
    event = draw(st.sampled_from(("nothing", "restart", "renewal", "new pod")))
    if event == "restart":
        return restarted(world, (pod.name,))
    if event == "renewal":
        renewed = replace(pod, root=world.signer)
        return replace(world, pods=tuple(renewed if one == pod else one for one in world.pods))
    if event == "new pod" and len(world.pods) < 4:
        return replace(world, pods=(*world.pods, started(world, Pod(f"app/{len(world.pods)}", None, None))))
    return world


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(fleet=fleets(), data=st.data())
def test_no_pod_ever_meets_a_certificate_that_it_does_not_trust(fleet, data):
    """The target may change on the way, which is how a rotation is undone. Clusters act in any order."""
    target = data.draw(st.sampled_from(ROOTS))
    changes = data.draw(st.integers(0, 2))
    assert not phases.distrusted(fleet)
    for dummy in range(60):
        found = phases.steps(fleet, Goal(target))
        now = phases.phase(found)
        if now == Phase.DONE:
            if not changes:
                break
            target, changes = data.draw(st.sampled_from(ROOTS)), changes - 1
            continue
        if changes and data.draw(st.integers(0, 9)) == 0:
            target, changes = data.draw(st.sampled_from(ROOTS)), changes - 1
            continue
        behind = [number for number, one in enumerate(fleet) if found[one.name].phase == now]
        number = data.draw(st.sampled_from(behind))  # a run may be killed after any of them
        fleet[number] = advanced(fleet[number], found[fleet[number].name], target)
        assert not phases.distrusted(fleet), f"after {now.name} of cluster {number}"
        other = data.draw(st.integers(0, len(fleet) - 1))
        fleet[other] = disturbed(fleet[other], data.draw)
        assert not phases.distrusted(fleet), "after an event"
    assert phases.phase(phases.steps(fleet, Goal(target))) == Phase.DONE
    assert all(one.anchors == {target} and one.signer == target for one in fleet)
    assert all(one.anchors_from_bundle and one.issuer_from_secret for one in fleet)


def test_a_switch_before_the_restarts_would_be_noticed():
    """The invariant can fail: signing with the new root while a pod carries only the old one."""
    wrong = cluster(BOTH, OLD, (OLD_ONLY, OLD), (BOTH, OLD))
    switched = restarted(replace(wrong, signer=NEW), ("app/1",))
    assert phases.distrusted([switched]) == [("one", "app/0", NEW_ONLY)]
