# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the validity of an identity issuer with the limits of cert-manager and with its trust anchor. Private."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import durations
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import x509

# Minimum of spec.duration and spec.renewBefore in cert-manager's API, in seconds.
MIN_DURATION, MIN_RENEW_BEFORE = 3600, 300


def lifetime(anchors: Sequence[x509.Certificate], duration: str, renew_before: str, now: datetime) -> dict[str, Any]:
    """Return `problems` as sentences, and `last_issue`, the last time at which an issuer expires before its anchor.

    The first anchor is the one that signs. `ttl` is the duration as cert-manager sends it to Vault: as Go writes it.
    `renew_before_seconds` is how long an issuer is still valid when it is renewed.
    """
    seconds, seconds_before = durations.seconds(duration), durations.seconds(renew_before)
    problems = [
        f"cert-manager cannot read the duration {value}. Write it in h, m and s, for example 48h."
        for value in (duration, renew_before)
        if not durations.is_go_duration(value)
    ]
    if seconds < MIN_DURATION:
        problems.append(f"The duration {duration} of the identity issuer must be at least 1h for cert-manager.")
    if seconds_before < MIN_RENEW_BEFORE:
        problems.append(f"The renewal {renew_before} before expiry must be at least 5m for cert-manager.")
    if seconds_before >= seconds:
        problems.append(f"The renewal {renew_before} before expiry must be less than the duration {duration}.")
    last = None
    if anchors:
        last = anchors[0].not_valid_after_utc - timedelta(seconds=seconds)
        if now > last:
            problems.append(_outlives(anchors[0], duration, now))
    ttl = f"{seconds // 3600}h{seconds % 3600 // 60}m{seconds % 60}s"
    return {
        "problems": problems,
        "last_issue": certs.iso(last) if last else None,
        "ttl": ttl,
        "renew_before_seconds": seconds_before,
    }


def _outlives(signer: x509.Certificate, duration: str, now: datetime) -> str:
    """Return the problem. OpenBao signs such an issuer as requested; HashiCorp Vault shortens it at each renewal."""
    role, new = ("trust anchor", "root") if certs.is_self_signed(signer) else ("intermediate CA", "intermediate CA")
    name, end = signer.subject.rfc4514_string(), certs.iso(signer.not_valid_after_utc)
    left = int((signer.not_valid_after_utc - now).total_seconds())
    if left <= 0:
        return f"The {role} {name} expired at {end}. Create a new {new} first."
    return (
        f"An identity issuer that is valid for {duration} would outlive its {role} {name}, which expires at {end}, in "
        f"{durations.to_text(left)}. Create a new {new}, or shorten the duration."
    )
