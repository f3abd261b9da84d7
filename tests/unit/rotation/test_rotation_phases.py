# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which phase of a rotation a cluster is in. test_rotation_model.py follows rotations from phase to phase."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import phases
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.phases import Cluster, Goal, Phase, Pod

OLD, NEW, OTHER = "old", "new", "other"
OLD_ONLY, BOTH, NEW_ONLY = frozenset({OLD}), frozenset({OLD, NEW}), frozenset({NEW})
ENDED = frozenset({"expired"})


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
        # the key of the issuer before an adoption is still in the Secret
        (replace(cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), obsolete_issuer=True), Goal(NEW), Phase.REMOVE),
        # a run stopped after it had set the path in Vault
        (replace(cluster(BOTH, OLD, (BOTH, OLD)), next_signer=NEW), Goal(NEW), Phase.SWITCH),
        (replace(cluster(BOTH, OLD, (BOTH, OLD)), next_signer=NEW), Goal(OLD), Phase.SWITCH),
        (replace(cluster(BOTH, OLD, (BOTH, OLD)), next_signer=OLD), Goal(OLD), Phase.REMOVE),
        (replace(cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), next_signer=NEW), Goal(NEW), Phase.DONE),
        # the identity issuer, its root, or a certificate between them has expired
        (replace(cluster(BOTH, OLD, (OLD_ONLY, OLD)), issuer_path=ENDED), Goal(NEW, expired=ENDED), Phase.SWITCH),
        (replace(cluster(BOTH, OLD, (OLD_ONLY, OLD)), issuer_path=ENDED), Goal(NEW), Phase.RESTART),
        (replace(cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), issuer_path=ENDED), Goal(NEW, expired=ENDED), Phase.SWITCH),
        (cluster(NEW_ONLY, OLD, (OLD_ONLY, OLD)), Goal(NEW, expired=OLD_ONLY), Phase.SWITCH),
        (cluster(OLD_ONLY, OLD, (OLD_ONLY, OLD)), Goal(NEW, expired=OLD_ONLY), Phase.DISTRIBUTE),
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


@pytest.mark.parametrize(
    ("world", "phase", "restart"),
    [
        (cluster(BOTH, NEW, (BOTH, OLD)), Phase.RENEW, ("app/0",)),
        # It signed no certificate, so nothing shows that it does not sign with another root.
        (cluster(BOTH, NEW, (BOTH, NEW)), Phase.RENEW, ()),
        (replace(cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), obsolete_issuer=True), Phase.RENEW, ()),
        (cluster(NEW_ONLY, NEW, (NEW_ONLY, NEW)), Phase.DONE, ()),
    ],
)
def test_a_controller_that_may_not_use_the_issuer_is_restarted(world, phase, restart):
    unknown = replace(world, issuer_in_use=False)
    step = phases.step(unknown, [unknown], Goal(NEW))
    assert (step.phase, step.restart, step.restart_controller) == (phase, restart, phase == Phase.RENEW)
    assert not phases.step(world, [world], Goal(NEW)).restart_controller


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
