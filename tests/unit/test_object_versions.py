# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions by which end-to-end tests see that a run has changed nothing of others."""

from __future__ import annotations

import pytest
from support.lab import version_of

META = {"uid": "1", "generation": 1, "resourceVersion": "1", "labels": {"team": "x"}}
ROLLOUT = {"deployment.kubernetes.io/revision": "1"}


@pytest.mark.parametrize("kind", ["Deployment", "Pod", "ReplicaSet", "ConfigMap"])
@pytest.mark.parametrize(
    ("change", "of_workload"),
    [
        ({}, False),
        ({"annotations": ROLLOUT}, False),
        ({"annotations": {"servicemesh.pki/release": "installed"}}, True),
        ({"annotations": {**ROLLOUT, "servicemesh.pki/release": "installed"}}, True),
        ({"labels": {"team": "y"}}, True),
        ({"generation": 2}, True),
        ({"uid": "2"}, True),
    ],
)
def test_version_differs_if_anybody_changes_more_than_the_status(kind, change, of_workload):
    before = {"kind": kind, "metadata": META, "status": {"replicas": 1}}
    after = {"kind": kind, "metadata": {**META, **change, "resourceVersion": "2"}, "status": {"replicas": 2}}
    assert (version_of(before) != version_of(after)) is (of_workload or kind == "ConfigMap")
