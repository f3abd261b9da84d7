# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a key set to PEM. The oracle is openssl, which made the keys."""

from __future__ import annotations

import base64
import re
import subprocess

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import jwk


def openssl(*arguments: str, given: str | None = None) -> str:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, text=True, check=True).stdout


def encoded(hexadecimal: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(hexadecimal)).decode().rstrip("=")


def test_rsa_key():
    private = openssl("genrsa", "2048")
    public = openssl("pkey", "-pubout", given=private)
    modulus = openssl("rsa", "-pubin", "-noout", "-modulus", given=public).strip().partition("=")[2]
    assert jwk.public_key_pem({"kty": "RSA", "n": encoded(modulus), "e": "AQAB", "use": "sig"}) == public


@pytest.mark.parametrize(
    ("curve", "name", "size"), [("prime256v1", "P-256", 32), ("secp384r1", "P-384", 48), ("secp521r1", "P-521", 66)]
)
def test_ec_key(curve, name, size):
    private = openssl("ecparam", "-name", curve, "-genkey", "-noout")
    public = openssl("pkey", "-pubout", given=private)
    # RFC 5480: the key ends with the point, 04 and both coordinates.
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.encode(), capture_output=True,
                         check=True).stdout  # fmt: skip
    point = der[-2 * size :]
    assert der[-2 * size - 1] == 4
    key = {"kty": "EC", "crv": name, "x": encoded(point[:size].hex()), "y": encoded(point[size:].hex())}
    assert jwk.public_key_pem(key) == public


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ({"kty": "oct", "k": "c2VjcmV0"}, "oct"),
        ({"kty": "RSA", "e": "AQAB"}, "'n'"),
        ({"kty": "EC", "crv": "P-192", "x": "AQ", "y": "AQ"}, "'P-192'"),
        ({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}, "valid EC key"),
        ({}, "None"),
    ],
)
def test_unusable_key(key, part):
    with pytest.raises(jwk.JwkError, match=re.escape(part)) as error:
        jwk.public_key_pem(key)
    assert error.value.code == "unusable_key"


def ec_key(**more) -> dict:
    private = openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout")
    der = subprocess.run(["openssl", "pkey", "-pubout", "-outform", "DER"], input=private.encode(), capture_output=True,
                         check=True).stdout  # fmt: skip
    return {"kty": "EC", "crv": "P-256", "x": encoded(der[-64:-32].hex()), "y": encoded(der[-32:].hex()), **more}


def test_unusable_keys_are_ignored():
    """RFC 7517 section 5: a kind that is not known, a member that is missing, a value out of range."""
    good, second = ec_key(kid="one"), ec_key()
    others = [
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "two"},
        {"kty": "RSA", "e": "AQAB", "kid": "three"},
        {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ", "kid": "four"},
        ec_key(kid="five", use="enc"),
        "text",
    ]
    keys, ignored = jwk.usable_keys({"keys": [*others, good, second]})
    assert keys == {"one": jwk.public_key_pem(good), "6": jwk.public_key_pem(second)}
    assert [one.partition(":")[0] for one in ignored] == ["two", "three", "four", "five", "4"]


def test_key_set_without_usable_keys():
    assert jwk.usable_keys({"keys": []}) == ({}, [])
    assert jwk.usable_keys({"keys": [{"kty": "oct"}]})[0] == {}
