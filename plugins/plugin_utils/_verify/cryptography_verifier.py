# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify a chain with the verifier of the Python library cryptography, for comparison. Private to this collection.

It is made for the Web PKI. Extension policies that permit every extension let it verify a leaf that is a CA or has no
subject alternative name. It returns at most one reason, without the name of the certificate.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import (
    VerificationError,
    verification,
    x509,
)

MAX_DEPTH = 12  # as in paths.py


def verify(chain: list[x509.Certificate], anchors: list[x509.Certificate], at: datetime) -> dict[str, Any] | None:
    """Return `verified` and `message` for the first certificate, or None before cryptography 45."""
    builder = verification.PolicyBuilder()
    if not hasattr(builder, "extension_policies"):
        return None
    everything = verification.ExtensionPolicy.permit_all()
    authorities = everything.require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, None)
    builder = builder.extension_policies(ca_policy=authorities, ee_policy=everything)
    builder = builder.store(verification.Store(anchors)).max_chain_depth(MAX_DEPTH)
    builder = builder.time(at.astimezone(UTC).replace(tzinfo=None))
    try:
        builder.build_client_verifier().verify(chain[0], chain[1:])
    except VerificationError as exc:
        return {"verified": False, "message": " ".join(str(exc).split())[:300]}
    except Exception as exc:  # an encoding that only this verifier rejects
        return {"verified": False, "message": f"{type(exc).__name__}: {exc}"[:300]}
    return {"verified": True, "message": ""}
