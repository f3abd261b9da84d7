# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New events of the identity controller. Their reasons are those in Linkerd's source."""

from __future__ import annotations

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import events


def event(version: str, reason: str, message: str = "") -> dict:
    return {"metadata": {"name": f"e-{version}", "resourceVersion": version}, "reason": reason, "message": message}


UPDATES = [event("1", "IssuerUpdated"), event("2", "IssuerUpdated"), event("3", "IssuerUpdated")]
REJECTED = event("4", "IssuerUpdateSkipped", "failed to verify")


def test_known_events_are_ignored():
    old = [event("1", "IssuerUpdated"), event("2", "IssuerUpdateSkipped", "refused")]
    assert events.update_since(old, events.resource_versions(old), 1) == events.IssuerUpdate(False, "")


def test_repeated_event_counts():
    """Kubernetes increases the count of a repeated event, which changes the version of the same object."""
    old = [event("1", "IssuerUpdated")]
    assert events.update_since([event("7", "IssuerUpdated")], events.resource_versions(old), 1).is_updated


def test_rejection_has_message_of_linkerd():
    update = events.update_since(
        [event("3", "IssuerUpdateSkipped", "Skipping issuer\n update as certs could not be read.")], set(), 1
    )
    assert update == events.IssuerUpdate(False, "Skipping issuer update as certs could not be read")


def test_update_after_rejection_counts():
    update = events.update_since([event("3", "IssuerUpdateSkipped", "no"), event("4", "IssuerUpdated")], set(), 1)
    assert update == events.IssuerUpdate(True, "")


def test_other_events_are_ignored():
    assert events.update_since([event("3", "ScalingReplicaSet")], set(), 1) == events.IssuerUpdate(False, "")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (UPDATES[:1], (False, "")),
        (UPDATES[:2], (False, "")),
        (UPDATES, (True, "")),
        ([*UPDATES, REJECTED], (True, "")),
        ([*UPDATES[:2], REJECTED], (False, "failed to verify")),
        ([UPDATES[0], REJECTED, {**REJECTED, "metadata": {"resourceVersion": "5"}}], (False, "failed to verify")),
    ],
)
def test_each_pod_of_the_controller_reports_for_itself(found, expected):
    """Each creates its own Event object, because client-go only combines the events of one process."""
    assert events.update_since(found, set(), 3) == events.IssuerUpdate(*expected)


def test_controller_without_listed_pods_needs_one_event():
    assert events.update_since([], set(), 0) == events.IssuerUpdate(False, "")
    assert events.update_since(UPDATES[:1], set(), 0) == events.IssuerUpdate(True, "")
