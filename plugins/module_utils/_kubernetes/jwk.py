# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys from JSON Web Keys (RFC 7517, RFC 7518 section 6) to PEM. Private to this collection."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import Encoding, PublicFormat, ec, rsa

CURVES = {"P-256": "SECP256R1", "P-384": "SECP384R1", "P-521": "SECP521R1"}  # names of classes in cryptography


class JwkError(PkiError, ValueError):
    """Not a public key that Vault can verify signatures with. The message is the reason."""

    code = "unusable_key"


def decode_number(key: dict[str, Any], name: str) -> int:
    """A Base64urlUInt (RFC 7518, section 2)."""
    text = key[name]
    if not isinstance(text, str):
        raise ValueError(f"{name} must be a string, but is of type {type(text).__name__}")
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def usable_keys(key_set: Any) -> tuple[dict[str, str], list[str]]:
    """The signing keys of a key set as PEM by their ID, and why others are ignored (RFC 7517, section 5)."""
    keys: dict[str, str] = {}
    ignored: list[str] = []
    for position, key in enumerate(key_set["keys"]):
        name = str(key.get("kid") or position) if isinstance(key, dict) else str(position)
        try:
            if not isinstance(key, dict):
                raise JwkError(f"it is a {type(key).__name__}, but must be an object", code="unusable_key")
            if key.get("use", "sig") != "sig":
                raise JwkError(f"its use is {key['use']}, but must be sig", code="unusable_key")
            keys[name] = public_key_pem(key)
        except JwkError as exc:
            ignored.append(f"{name}: {exc}")
    return keys, ignored


def public_key_pem(key: dict[str, Any]) -> str:
    """The key as PEM (PUBLIC KEY). Raises JwkError for an unknown type and for an invalid key."""
    kind = key.get("kty")
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    try:
        if kind == "RSA":
            public = rsa.RSAPublicNumbers(decode_number(key, "e"), decode_number(key, "n")).public_key()
        elif kind == "EC":
            public = ec.EllipticCurvePublicNumbers(
                decode_number(key, "x"), decode_number(key, "y"), getattr(ec, CURVES[key["crv"]])()
            ).public_key()
        else:
            raise JwkError(f"its type is {kind}, but must be RSA or EC", code="unusable_key")
    except (KeyError, binascii.Error) as exc:
        raise JwkError(f"it must be a complete {kind} key: {exc}", code="unusable_key") from exc
    except JwkError:
        raise
    except (TypeError, ValueError) as exc:
        raise JwkError(f"it must be a valid {kind} key: {exc}", code="unusable_key") from exc
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
