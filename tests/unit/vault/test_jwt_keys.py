# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The message of vault_jwt_config when its options contain no source of keys."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import jwt_keys
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

OPTIONS = ("issuer", "jwks_urls", "public_keys")
# Each has a source of another kind, which the option keys excludes.
UNUSED = {"jwks_urls": ["http://10.0.0.1/jwks"], "public_keys": ["-----BEGIN PUBLIC KEY-----"]}


@pytest.mark.parametrize(
    ("keys", "given", "named"),
    [
        ("auto", {"jwks_urls": UNUSED["jwks_urls"]}, OPTIONS),
        ("discovery", UNUSED, ["issuer"]),
        ("jwks", UNUSED, ["jwks_urls"]),
        ("static", {"jwks_urls": ["https://10.0.0.1/jwks"]}, ["public_keys"]),
    ],
)
def test_message_names_the_options_that_keys_permits(keys, given, named):
    params = {"path": "jwt", "keys": keys, "issuer": "http://kubernetes", "ca_certificate": "", "jwks_urls": []}
    module = SimpleNamespace(params={**params, "public_keys": [], **given})
    with pytest.raises(VaultError) as error:
        jwt_keys.configure(module, None)
    assert error.value.code == "no_keys"
    assert [name for name in OPTIONS if f"{name} " in str(error.value)] == list(named)
