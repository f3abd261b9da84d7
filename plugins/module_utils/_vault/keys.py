# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types and sizes of the keys that Vault creates. Sends no requests. Private to this collection."""

from __future__ import annotations

from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

KEY_BITS = {"ec": (224, 256, 384, 521), "rsa": (2048, 3072, 4096, 8192), "ed25519": (0,)}
DEFAULT_BITS = {"ec": 256, "rsa": 2048, "ed25519": 0}


def check_key(key_type: str, key_bits: int | None) -> int:
    """The size of a key, Vault's default when none is given. Raises VaultError for a size of another type."""
    bits = DEFAULT_BITS[key_type] if key_bits is None else key_bits
    if bits not in KEY_BITS[key_type]:
        choices = " or ".join(map(str, KEY_BITS[key_type]))
        raise VaultError(f"key_bits {bits} is not valid for key_type {key_type}. Use {choices}.", code="invalid_option")
    return bits
