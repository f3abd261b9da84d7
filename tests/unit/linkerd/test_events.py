# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is new among the events of the identity controller, whose reasons are those of Linkerd's source."""

from __future__ import annotations

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import events


def event(version: str, reason: str, message: str = "") -> dict:
    return {"metadata": {"name": "e", "resourceVersion": version}, "reason": reason, "message": message}


def test_what_was_said_before_does_not_count():
    old = [event("1", "IssuerUpdated"), event("2", "IssuerUpdateSkipped", "refused")]
    assert events.since(old, events.versions(old)) == events.Said(False, "")


def test_an_event_that_is_said_again_counts():
    """Kubernetes counts up a repeated event, which gives it a new version under its old name."""
    old = [event("1", "IssuerUpdated")]
    assert events.since([event("7", "IssuerUpdated")], events.versions(old)).updated


def test_a_refusal_is_told_in_linkerds_words():
    said = events.since(
        [event("3", "IssuerUpdateSkipped", "Skipping issuer\n update as certs could not be read.")], set()
    )
    assert said == events.Said(False, "Skipping issuer update as certs could not be read")


def test_a_good_issuer_after_a_refused_one_is_in_use():
    said = events.since([event("3", "IssuerUpdateSkipped", "no"), event("4", "IssuerUpdated")], set())
    assert said == events.Said(True, "")


def test_other_events_say_nothing():
    assert events.since([event("3", "ScalingReplicaSet")], set()) == events.Said(False, "")
