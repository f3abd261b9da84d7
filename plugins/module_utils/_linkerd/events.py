# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of Linkerd's identity controller about its issuer. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# linkerd2: pkg/identity/service.go
UPDATED, SKIPPED = "IssuerUpdated", "IssuerUpdateSkipped"


@dataclass(frozen=True)
class IssuerUpdate:
    """Whether all pods of the controller use a new issuer, or the messages with which they rejected one."""

    is_updated: bool
    rejection: str


def resource_versions(events: Iterable[dict[str, Any]]) -> set[str]:
    """The versions of events, which identify new and repeated events without comparing clocks."""
    return {event["metadata"]["resourceVersion"] for event in events}


def update_since(events: Iterable[dict[str, Any]], known: set[str], pods: int) -> IssuerUpdate:
    """What events report that are not in `known`. Updates of all pods count even if a rejection preceded one of them.

    An event does not name the pod that reports it. Each pod creates its own events, and increases the count of one
    that it repeats, so the number of events with this reason is the number of pods.
    """
    new = [event for event in events if event["metadata"]["resourceVersion"] not in known]
    is_updated = sum(event.get("reason") == UPDATED for event in new) >= max(1, pods)
    rejections = [" ".join((event.get("message") or "").split()) for event in new if event.get("reason") == SKIPPED]
    return IssuerUpdate(is_updated, "" if is_updated else "; ".join(dict.fromkeys(rejections)).rstrip("."))
