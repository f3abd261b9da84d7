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
    """Whether the controller uses a new issuer, or the message with which it rejected one."""

    is_updated: bool
    rejection: str


def resource_versions(events: Iterable[dict[str, Any]]) -> set[str]:
    """The versions of events, which identify new and repeated events without comparing clocks."""
    return {event["metadata"]["resourceVersion"] for event in events}


def update_since(events: Iterable[dict[str, Any]], known: set[str]) -> IssuerUpdate:
    """What events report that are not in `known`. An update counts even if a rejection preceded it."""
    new = [event for event in events if event["metadata"]["resourceVersion"] not in known]
    is_updated = any(event.get("reason") == UPDATED for event in new)
    rejections = [" ".join((event.get("message") or "").split()) for event in new if event.get("reason") == SKIPPED]
    return IssuerUpdate(is_updated, "" if is_updated else "; ".join(rejections).rstrip("."))
