# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of rotate_trust_anchor.yml or site.yml that SIGKILL ends anywhere is completed by the next one.

Each rotation is killed three times at tasks that a seed selects. SERVICEMESH_PKI_TEST_ROTATIONS sets the number of
rotations, which `make chaos` raises. The oracles are the requests of the prober, Vault's list of issuers, and
verify.yml.
"""

from __future__ import annotations

import os
import random

import pytest

ROTATIONS = int(os.environ.get("SERVICEMESH_PKI_TEST_ROTATIONS", "1"))
KILLS = 3  # in each rotation
TASKS = 60  # of a rotation, at least
FAST = {"rotation_restart_again": True}


@pytest.fixture(scope="module")
def mesh(expendable_mesh, prober):
    return expendable_mesh


def roots(mesh) -> list[str]:
    found = mesh.vault("GET", "pki/issuers?list=true", token=mesh.root_token())[1]["data"]
    return sorted(one["issuer_name"] for one in found["key_info"].values())


@pytest.mark.parametrize("seed", range(ROTATIONS))
def test_a_rotation_is_completed_after_every_kill(mesh, prober, seed):
    before = roots(mesh)
    name = f"linkerd-root-{seed + 2}"
    variables = {"pki_root_issuer_name": name, **FAST}
    chosen = random.Random(seed)  # noqa: S311 - no secret
    for dummy in range(KILLS):
        number = chosen.randint(1, TASKS)
        print(f"kill at task {number}: {mesh.kill('playbooks/rotate_trust_anchor.yml', number, variables)}")
    done = mesh.play("playbooks/rotate_trust_anchor.yml", variables=variables)
    assert done.rc == 0, done.output[-4000:]
    assert roots(mesh) == sorted([*before, name])
    verified = mesh.play("playbooks/verify.yml", variables=variables)
    assert verified.rc == 0, verified.output[-3000:]
    again = mesh.play("playbooks/rotate_trust_anchor.yml", variables=variables)
    assert (again.rc, again.changed) == (0, 0), again.output[-3000:]
    prober.good()


def test_site_is_completed_after_every_kill(mesh, prober):
    """The mesh is as the last rotation left it."""
    variables = {"pki_root_issuer_name": f"linkerd-root-{ROTATIONS + 1}"}
    before, chosen = roots(mesh), random.Random(ROTATIONS)  # noqa: S311 - no secret
    for dummy in range(KILLS):
        number = chosen.randint(1, TASKS)
        print(f"kill at task {number}: {mesh.kill('playbooks/site.yml', number, variables)}")
    done = mesh.play("playbooks/site.yml", variables=variables)
    assert done.rc == 0, done.output[-4000:]
    again = mesh.play("playbooks/site.yml", variables=variables)
    assert (again.rc, again.changed) == (0, 0), again.output[-3000:]
    assert roots(mesh) == before
    prober.good()
