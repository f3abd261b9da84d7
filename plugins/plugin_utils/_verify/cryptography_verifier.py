# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cryptography's own verifier as second judge of a generic verdict. Private to this collection.

It is made for leaves of the Web PKI. With extension policies that permit every extension it also judges a leaf that is
a CA or has no subject alternative name. It gives one reason at most, and names no certificate: explanations are ours.
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


def judge(chain: list[x509.Certificate], anchors: list[x509.Certificate], at: datetime) -> dict[str, Any] | None:
    """Whether it verifies the first certificate, and its message; None where this cryptography has no such verifier.

    Extension policies are in cryptography 45 and later.
    """
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
    except Exception as exc:  # an encoding that only its verifier refuses
        return {"verified": False, "message": f"{type(exc).__name__}: {exc}"[:300]}
    return {"verified": True, "message": ""}
