# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The annotation of the issuer with the expiry of its credential. Alerts depend on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from support import templates

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import controllers

ROOT = Path(__file__).resolve().parents[3]

DATE = "2026-12-01T00:00:00Z"


def definition(**given: Any) -> dict[str, Any]:
    """The issuer as the role creates it, with its defaults."""
    values: dict[str, Any] = {"inventory_hostname": "berlin", "pki_vault_server": "https://vault.example.com"}
    for file in ("defaults/main.yml", "vars/main.yml"):
        values |= templates.trusted(yaml.safe_load((ROOT / "roles/vault_issuer" / file).read_text()))
    found = Templar(DataLoader(), {**values, **given}).template(trust_as_template("{{ __vault_issuer_definition }}"))
    return dict(found)


@pytest.mark.parametrize("auth", ["approle", "token"])
def test_credential_that_expires_has_its_date(auth):
    issuer = definition(vault_issuer_auth=auth, vault_issuer_expires=DATE)
    assert issuer["metadata"]["annotations"] == {controllers.EXPIRES: DATE}
    assert (controllers.credential(issuer) or {})["not_after"] == DATE


@pytest.mark.parametrize("auth", ["approle", "token"])
def test_credential_that_does_not_expire_replaces_the_date(auth):
    issuer = definition(vault_issuer_auth=auth, vault_issuer_expires=None)
    assert issuer["metadata"]["annotations"] == {controllers.EXPIRES: ""}
    assert controllers.credential(issuer) is None


@pytest.mark.parametrize("auth", ["jwt", "kubernetes"])
def test_issuer_without_credential_has_no_annotation(auth):
    assert "annotations" not in definition(vault_issuer_auth=auth, vault_issuer_expires=None)["metadata"]


@pytest.mark.parametrize("auth", ["approle", "token", "jwt"])
def test_rendered_issuer_has_no_annotation(auth):
    """Vault is not read then, so nothing is known about the credential."""
    assert "annotations" not in definition(vault_issuer_auth=auth)["metadata"]
