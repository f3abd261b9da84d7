# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation that a user undoes, or that SIGKILL ends anywhere, is completed by the next run. So is site.yml.

Each rotation is killed three times at tasks that a seed selects. SERVICEMESH_PKI_TEST_ROTATIONS sets the number of
rotations, which `make chaos` raises so that runs are killed in every phase. The oracles are the requests of the
prober, Vault's list of issuers, and verify.yml.
"""

from __future__ import annotations

import os
import random

import pytest
from support.rotation import FAST, KILLS, NEW, OLD, PHASES, PLAYBOOK, assert_mesh_is_below, kill_rotations, rotate

ROTATIONS = int(os.environ.get("SERVICEMESH_PKI_TEST_ROTATIONS", "1"))
TASKS_OF_SITE = 60  # at least


def roots(mesh) -> list[str]:
    found = mesh.vault("GET", "pki/issuers?list=true", token=mesh.root_token())[1]["data"]
    return sorted(one["issuer_name"] for one in found["key_info"].values())


def signing_root(mesh) -> str:
    """The root that signs the next identity issuer, from the path of cert-manager's issuer."""
    (issuer,) = mesh.get("clusterissuers")["items"]
    return issuer["spec"]["vault"]["path"].split("/")[2]


@pytest.mark.parametrize("phase", [2, 3])
def test_a_rotation_that_is_undone_loses_no_request(expendable_mesh, prober, tmp_path, phase):
    """The rotation pauses when the trust anchors, or also the pods, have changed. Then the user returns."""
    paused = rotate(expendable_mesh, NEW, rotation_pause_after_phase=phase)
    assert paused.rc == 0 and f"Phase {phase + 1} of 7" in paused.flat, paused.output[-3000:]
    back = rotate(expendable_mesh, OLD)
    assert back.rc == 0, back.output[-3000:]
    assert_mesh_is_below(expendable_mesh, OLD, tmp_path)
    assert prober.good().over_held_connections > 0


def test_a_return_after_a_kill_in_phase_4_restores_what_signs(expendable_mesh, prober, tmp_path):
    """The issuer of cert-manager and the policy name the new root already, and the identity issuer is below the old."""
    paused = rotate(expendable_mesh, NEW, rotation_pause_after_phase=3)
    assert paused.rc == 0, paused.output[-3000:]
    variables = {"pki_root_issuer_name": NEW, **FAST}
    killed = expendable_mesh.kill(PLAYBOOK, "Renew the identity issuer", variables)
    assert killed
    assert signing_root(expendable_mesh) == NEW
    back = rotate(expendable_mesh, OLD)
    assert back.rc == 0, back.output[-3000:]
    assert signing_root(expendable_mesh) == OLD
    renewed = expendable_mesh.play("playbooks/renew_issuer.yml", variables={"pki_root_issuer_name": OLD})
    assert renewed.rc == 0, renewed.output[-3000:]
    assert_mesh_is_below(expendable_mesh, OLD, tmp_path)
    prober.good()


def test_a_rotation_to_another_engine_and_back_loses_no_request(expendable_mesh, prober, tmp_path):
    engine = {"type": "pki", "config": {"max_lease_ttl": "87600h"}}
    assert expendable_mesh.vault("POST", "sys/mounts/pki-two", engine, expendable_mesh.root_token())[0] == 204
    for mount in ("pki-two", "pki"):
        done = rotate(expendable_mesh, OLD, pki_vault_mount=mount)
        assert done.rc == 0, done.output[-4000:]
        assert_mesh_is_below(expendable_mesh, OLD, tmp_path, mount)
    prober.good()


@pytest.mark.parametrize("seed", range(ROTATIONS))
def test_a_rotation_is_completed_after_every_kill(expendable_mesh, prober, seed):
    before = roots(expendable_mesh)
    name = f"linkerd-root-{seed + 2}"
    variables = {"pki_root_issuer_name": name, **FAST}
    first = seed % len(PHASES)
    chosen = random.Random(seed).choices(range(first, len(PHASES)), k=KILLS - 1)  # noqa: S311 - no secret
    kill_rotations(expendable_mesh, [PHASES[number] for number in sorted([first, *chosen])], seed, variables)
    done = expendable_mesh.play(PLAYBOOK, variables=variables)
    assert done.rc == 0, done.output[-4000:]
    assert roots(expendable_mesh) == sorted({*before, name})  # the first may be there from a rotation that was undone
    verified = expendable_mesh.play("playbooks/verify.yml", variables=variables)
    assert verified.rc == 0, verified.output[-3000:]
    again = expendable_mesh.play(PLAYBOOK, variables=variables)
    assert (again.rc, again.changed) == (0, 0), again.output[-3000:]
    prober.good()


def test_site_is_completed_after_every_kill(expendable_mesh, prober):
    root = signing_root(expendable_mesh)  # of the last rotation
    variables = {"pki_root_issuer_name": root}
    before = roots(expendable_mesh)
    chosen = random.Random(ROTATIONS)  # noqa: S311 - no secret
    for number in (chosen.randint(1, TASKS_OF_SITE) for dummy in range(KILLS)):
        killed = expendable_mesh.kill("playbooks/site.yml", number, variables)
        assert killed, expendable_mesh.runs[-1].output[-3000:]
        print(f"killed at task {number}: {killed}")
    done = expendable_mesh.play("playbooks/site.yml", variables=variables)
    assert done.rc == 0, done.output[-4000:]
    again = expendable_mesh.play("playbooks/site.yml", variables=variables)
    assert (again.rc, again.changed) == (0, 0), again.output[-3000:]
    assert roots(expendable_mesh) == before
    prober.good()
