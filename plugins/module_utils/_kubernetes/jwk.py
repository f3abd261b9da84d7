# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys from JSON Web Keys (RFC 7517, RFC 7518 section 6) to PEM. Private to this collection."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import Encoding, PublicFormat, ec, rsa

CURVES = {"P-256": "SECP256R1", "P-384": "SECP384R1", "P-521": "SECP521R1"}  # names of classes in cryptography


class JwkError(ValueError):
    """Not a public key that Vault could verify with."""


def number(key: dict[str, Any], name: str) -> int:
    text = key[name]
    if not isinstance(text, str):
        raise ValueError(f"{name} is of type {type(text).__name__}, wanted text")
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def usable(key_set: Any) -> tuple[dict[str, str], list[str]]:
    """The signing keys of a key set as PEM by their ID, and why others are ignored, as RFC 7517 section 5 wants."""
    keys: dict[str, str] = {}
    ignored: list[str] = []
    for position, key in enumerate(key_set["keys"]):
        name = str(key.get("kid") or position) if isinstance(key, dict) else str(position)
        try:
            if not isinstance(key, dict):
                raise JwkError(f"a {type(key).__name__}, wanted an object")
            if key.get("use", "sig") != "sig":
                raise JwkError(f"a key for {key['use']}, wanted sig")
            keys[name] = public_key_pem(key)
        except JwkError as exc:
            ignored.append(f"{name}: {exc}")
    return keys, ignored


def public_key_pem(key: dict[str, Any]) -> str:
    """The key as PEM (PUBLIC KEY); a JwkError for another kind and for a broken one."""
    kind = key.get("kty")
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    try:
        if kind == "RSA":
            public = rsa.RSAPublicNumbers(number(key, "e"), number(key, "n")).public_key()
        elif kind == "EC":
            public = ec.EllipticCurvePublicNumbers(
                number(key, "x"), number(key, "y"), getattr(ec, CURVES[key["crv"]])()
            ).public_key()
        else:
            raise JwkError(f"a key of type {kind}, wanted RSA or EC")
    except (KeyError, binascii.Error) as exc:
        raise JwkError(f"a {kind} key lacks {exc}") from exc
    except JwkError:
        raise
    except (TypeError, ValueError) as exc:
        raise JwkError(f"a {kind} key is broken: {exc}") from exc
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
