# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Linkerd's identity controller says of its issuer, in events. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# pkg/identity/service.go of linkerd2
UPDATED, SKIPPED = "IssuerUpdated", "IssuerUpdateSkipped"


@dataclass(frozen=True)
class Said:
    updated: bool
    skipped: str


def versions(events: Iterable[dict[str, Any]]) -> set[str]:
    """What tells an event that is new, or is said again, from those that are known. No clock is needed for it."""
    return {event["metadata"]["resourceVersion"] for event in events}


def since(events: Iterable[dict[str, Any]], known: set[str]) -> Said:
    """What was said beside the known ones. Kubernetes may show it a refused issuer first and a good one then."""
    new = [event for event in events if event["metadata"]["resourceVersion"] not in known]
    updated = any(event.get("reason") == UPDATED for event in new)
    refused = [" ".join((event.get("message") or "").split()) for event in new if event.get("reason") == SKIPPED]
    return Said(updated, "" if updated else "; ".join(refused).rstrip("."))
