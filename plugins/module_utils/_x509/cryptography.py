# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the Python library cryptography that this collection uses. Private to this collection.

Without the library the names have no use, but plugins can be loaded and report what is missing. Modules call require()
and filters call require_cryptography() of plugin_utils/_verify/filter_input.py before they use any of them.
"""

from __future__ import annotations

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
    from cryptography.x509 import verification
    from cryptography.x509.oid import ExtensionOID, NameOID
    from cryptography.x509.verification import VerificationError

    MISSING = None
except ImportError:
    MISSING = traceback.format_exc()

    class Missing:
        def __getattr__(self, name: str) -> None:
            return None

    class NeverRaised(Exception):  # noqa: N818
        """Stands for the exceptions of cryptography, which nothing raises without it."""

    x509 = hashes = dsa = ec = ed448 = ed25519 = padding = rsa = verification = Missing()  # type: ignore[assignment]
    Encoding = NoEncryption = PrivateFormat = PublicFormat = Missing()  # type: ignore[assignment, misc]
    ExtensionOID = NameOID = Missing()  # type: ignore[assignment, misc]
    InvalidSignature = UnsupportedAlgorithm = VerificationError = NeverRaised  # type: ignore[assignment, misc]

__all__ = [
    "Encoding",
    "ExtensionOID",
    "InvalidSignature",
    "NameOID",
    "NoEncryption",
    "PrivateFormat",
    "PublicFormat",
    "UnsupportedAlgorithm",
    "VerificationError",
    "dsa",
    "ec",
    "ed448",
    "ed25519",
    "hashes",
    "missing",
    "padding",
    "require",
    "rsa",
    "verification",
    "x509",
]


def missing() -> str:
    """Return the message that names the missing library, or an empty text if it is installed."""
    return missing_required_lib("cryptography") if MISSING else ""


def require(module: AnsibleModule | Any) -> None:
    """Fail a module that needs cryptography if it is not installed."""
    if MISSING:
        module.fail_json(msg=missing(), code="missing_library", exception=MISSING)
