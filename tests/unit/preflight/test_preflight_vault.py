# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of Vault, from what the role vault_pki publishes."""

from __future__ import annotations

import pytest
from worlds import codes, issuers

from ansible_collections.servicemesh.pki.plugins.filter.preflight import preflight_vault

ROOT = "linkerd-root-1"
GOOD = {
    "issuers": issuers(ROOT), "root": ROOT, "previous": "", "mount": "pki", "problem": "", "others": [], "count": 1,
    "take_over": [],
}  # fmt: skip


def problems(**changes):
    return preflight_vault({**GOOD, **changes}, "v")


def test_vault_that_is_unreadable_or_has_lost_the_previous_root():
    assert problems() == []
    assert codes({"problems": problems(problem="sealed")}) == ["vault_unreadable"]
    assert codes({"problems": problems(previous="x")}) == ["vault_previous_root_missing"]
    assert preflight_vault({"issuers": []}, "v") == []  # Vault does not run yet


def test_engine_of_others_is_a_problem():
    [problem] = problems(issuers=issuers("corp", ""), others=["corp", ""], count=2)
    assert (problem["code"], problem["object"]) == ("vault_mount_in_use", "Vault engine pki")
    assert "(corp, one without a name)" in problem["message"] and "'Vault engine pki'" in problem["message"]


@pytest.mark.parametrize("changes", [
    {"issuers": issuers(), "count": 0},  # a new engine, or none
    {"issuers": issuers("corp", ROOT), "others": ["corp"], "count": 2},  # the root exists
    {"issuers": issuers("corp", "linkerd-root-2"), "others": ["corp"], "count": 2},  # a second root of this collection
    {"issuers": issuers("corp"), "others": ["corp"], "count": 1, "take_over": ["Vault engine pki"]},
])  # fmt: skip
def test_engine_that_the_run_may_configure(changes):
    assert problems(**changes) == []
