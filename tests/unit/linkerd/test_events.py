# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New events of the identity controller. Their reasons are those in Linkerd's source."""

from __future__ import annotations

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import events


def event(version: str, reason: str, message: str = "") -> dict:
    return {"metadata": {"name": "e", "resourceVersion": version}, "reason": reason, "message": message}


def test_known_events_are_ignored():
    old = [event("1", "IssuerUpdated"), event("2", "IssuerUpdateSkipped", "refused")]
    assert events.update_since(old, events.resource_versions(old)) == events.IssuerUpdate(False, "")


def test_repeated_event_counts():
    """Kubernetes increases the count of a repeated event, which changes the version of the same object."""
    old = [event("1", "IssuerUpdated")]
    assert events.update_since([event("7", "IssuerUpdated")], events.resource_versions(old)).is_updated


def test_rejection_has_message_of_linkerd():
    update = events.update_since(
        [event("3", "IssuerUpdateSkipped", "Skipping issuer\n update as certs could not be read.")], set()
    )
    assert update == events.IssuerUpdate(False, "Skipping issuer update as certs could not be read")


def test_update_after_rejection_counts():
    update = events.update_since([event("3", "IssuerUpdateSkipped", "no"), event("4", "IssuerUpdated")], set())
    assert update == events.IssuerUpdate(True, "")


def test_other_events_are_ignored():
    assert events.update_since([event("3", "ScalingReplicaSet")], set()) == events.IssuerUpdate(False, "")
