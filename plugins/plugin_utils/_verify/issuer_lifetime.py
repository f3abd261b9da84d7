# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the life of an identity issuer fits to cert-manager and to its trust anchor. Private to this collection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import durations
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import x509

# What cert-manager's API demands of a Certificate: spec.duration and spec.renewBefore in its reference.
SHORTEST, SHORTEST_RENEWAL = 3600, 300


def lifetime(anchors: Sequence[x509.Certificate], duration: str, renew_before: str, now: datetime) -> dict[str, Any]:
    """`problems` as sentences, and `last_issue`: from then on the anchor ends before an issuer made anew would."""
    life, before = durations.seconds(duration), durations.seconds(renew_before)
    problems = [
        f"cert-manager cannot read the duration {given}: write it in h, m and s, such as 48h."
        for given in (duration, renew_before)
        if not durations.is_go(given)
    ]
    if life < SHORTEST:
        problems.append(f"An identity issuer for {duration} is shorter than the 1h that cert-manager issues at least.")
    if before < SHORTEST_RENEWAL:
        problems.append(f"Renewal {renew_before} before the end is less than the 5m that cert-manager needs at least.")
    if before >= life:
        problems.append(f"Renewal {renew_before} before the end has to be less than the duration {duration}.")
    last = None
    if anchors:
        last = anchors[0].not_valid_after_utc - timedelta(seconds=life)
        if now > last:
            problems.append(outlives(anchors[0], duration, now))
    return {"problems": problems, "last_issue": certs.iso(last) if last else None}


def outlives(anchor: x509.Certificate, duration: str, now: datetime) -> str:
    """OpenBao would sign it all the same; HashiCorp Vault would cut it, shorter each time."""
    name, end = anchor.subject.rfc4514_string(), certs.iso(anchor.not_valid_after_utc)
    left = int((anchor.not_valid_after_utc - now).total_seconds())
    if left <= 0:
        return f"The trust anchor {name} has ended at {end}. Make a new root before anything else."
    return (
        f"An identity issuer for {duration} would outlive its trust anchor {name}, which ends at {end}, "
        f"in {durations.text(left)}. Make a new root, or shorten the duration."
    )
