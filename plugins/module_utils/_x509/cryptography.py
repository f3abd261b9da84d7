# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this collection uses of cryptography, and one sentence where it is not installed. Private to this collection."""

from __future__ import annotations

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import verification
    from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

    VerificationError = verification.VerificationError
    MISSING = None
except ImportError:
    MISSING = traceback.format_exc()

    class Anything:
        """Lets the tables of this collection be made without cryptography; require() ends before one is used."""

        def __getattr__(self, name: str) -> Anything:
            return self

    dsa = ec = ed448 = ed25519 = hashes = padding = rsa = verification = x509 = Anything()  # type: ignore[assignment]
    Encoding = ExtendedKeyUsageOID = ExtensionOID = NameOID = PublicFormat = Anything()  # type: ignore[assignment, misc]

    class InvalidSignature(Exception):  # type: ignore[no-redef]  # noqa: N818 - its name there
        """Never raised."""

    class VerificationError(Exception):  # type: ignore[no-redef]
        """Never raised."""

    class UnsupportedAlgorithm(Exception):  # type: ignore[no-redef]  # noqa: N818
        """Never raised."""


__all__ = [
    "Encoding",
    "ExtendedKeyUsageOID",
    "ExtensionOID",
    "InvalidSignature",
    "NameOID",
    "PublicFormat",
    "UnsupportedAlgorithm",
    "VerificationError",
    "dsa",
    "ec",
    "ed448",
    "ed25519",
    "hashes",
    "padding",
    "require",
    "rsa",
    "verification",
    "x509",
]


def require(module: AnsibleModule | Any) -> None:
    """Ends a module that needs cryptography where it is not installed."""
    if MISSING:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=MISSING)
