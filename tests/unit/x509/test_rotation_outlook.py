# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan shows about the phases that are left. test_rotation_model.py counts the restarts of whole rotations."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.authority import NOW
from support.readings import ISSUER, NEXT, ROOT
from test_rotation_plan import AFTER, BEFORE, BOTH, NEXT_ISSUER, OLD_NAME, STALE, planned, reading
from test_rotation_refusals import EXPIRED


@pytest.mark.parametrize(
    ("world", "names", "again", "once"),
    [
        (BEFORE, (OLD_NAME,), {"restart": 2, "renew": 2, "done": 2}, {"restart": 2, "done": 2}),
        # The pod of the control plane started after the ConfigMap was written, so it carries what it contains.
        ((BOTH, ISSUER, ROOT.pem, ISSUER), None, {"restart": 1, "renew": 2, "done": 2}, {"restart": 1, "done": 2}),
        ((BOTH, NEXT_ISSUER, BOTH, ISSUER), None, {"renew": 2, "done": 2}, {"done": 2}),
        ((BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER), None, {"done": 2}, {"done": 2}),
        (STALE, None, {"done": 1}, {"done": 1}),
        (AFTER, None, {}, {}),
        # After its second restart, the pod carries what the ConfigMap contains until phase 6.
        ((BOTH, NEXT_ISSUER, NEXT.pem, ISSUER), None, {"renew": 2, "done": 2}, {"done": 1}),
        # The new root signs before pods restart, so they need no second restart.
        ((BOTH, EXPIRED, ROOT.pem, EXPIRED), None, {"restart": 1, "renew": 1, "done": 2}, {"restart": 1, "done": 2}),
    ],
)
def test_restarts_that_are_left(world, names, again, once):
    more = {"names": names} if names else {}
    for wait, expected in ((False, again), (True, once)):
        found = planned(reading(*world), wait=wait, **more)
        assert found["restarts"] == expected
        assert all(
            any(f"{number} in the phase {name}" in line for line in found["table"]) for name, number in expected.items()
        )
    without = {name: number for name, number in again.items() if name != "done"}
    assert planned(reading(*world), wait=False, final_restart=False, **more)["restarts"] == without


# The certificates of the pods are valid for 23.5 hours from half an hour before NOW, 2026-11-24T12:00:00Z.
RENEWED, RESTARTED = "2026-11-25T03:57:00Z", "2026-11-25T04:48:00Z"  # 0.7 * 23.5 hours, and 0.7 * 24 hours from NOW


@pytest.mark.parametrize(
    ("world", "wait", "end"),
    [
        (BEFORE, True, RESTARTED),
        ((BOTH, ISSUER, ROOT.pem, ISSUER), True, RESTARTED),
        ((BOTH, ISSUER, BOTH, ISSUER), True, RENEWED),
        ((BOTH, NEXT_ISSUER, BOTH, ISSUER), True, RENEWED),
        ((BOTH, NEXT_ISSUER, BOTH, ISSUER), False, None),
        ((BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER), True, None),
        (AFTER, True, None),
    ],
)
def test_earliest_end(world, wait, end):
    found = planned(reading(*world), wait=wait)
    assert found["earliest_end"] == end
    assert any(str(end) in line for line in found["table"]) is bool(end)


def test_proxies_renew_after_a_day_at_the_latest():
    """So phase 5 takes a day at most, whatever identity.issuer.issuanceLifetime is."""
    given = reading(BOTH, NEXT_ISSUER, BOTH, ISSUER)
    [group] = given["leaves"]
    group["leaves"] = [{**one, "not_after": "2026-12-01T11:30:00Z"} for one in group["leaves"]]
    assert planned(given)["earliest_end"] == "2026-11-25T11:30:00Z"
    late = planned(given, at=NOW + timedelta(days=2))
    assert late["earliest_end"] == "2026-11-26T12:00:00Z"  # it is due already
