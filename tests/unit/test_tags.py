# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What mesh.yml does in a cluster, depending on the tags of the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from support.templates import trusted

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"


@pytest.mark.parametrize(
    ("tags", "skipped", "roles", "creates_namespace"),
    [
        (["all"], [], ["cert_manager", "trust_manager", "vault_issuer", "linkerd"], True),
        (["all"], ["vault_issuer"], ["cert_manager", "trust_manager", "linkerd"], True),
        (["all"], ["linkerd", "vault_issuer"], ["cert_manager", "trust_manager"], False),
        (["tagged"], ["linkerd"], ["cert_manager", "trust_manager", "vault_issuer"], True),
        (["linkerd", "cert_manager"], ["vault_issuer"], ["cert_manager", "linkerd"], True),
        (["cert_manager"], [], ["cert_manager"], False),
        (["vault_dev"], [], [], False),
    ],
)
def test_selected_roles_and_the_namespace_that_they_need(tags, skipped, roles, creates_namespace):
    [play] = [one for one in yaml.safe_load((PLAYBOOKS / "mesh.yml").read_text()) if "strategy" in one]
    tasks = yaml.safe_load((PLAYBOOKS / "tasks/mesh/all.yml").read_text())
    [condition] = [one["when"] for one in tasks if one["name"] == "Create Linkerd's namespace"]
    variables = {**trusted(play["vars"]), "ansible_run_tags": tags, "ansible_skip_tags": skipped}
    templar = Templar(DataLoader(), variables=variables)
    assert set(templar.template(trusted("{{ selected_roles }}"))) == set(roles)
    assert templar.template(trusted("{{ " + condition + " }}")) is creates_namespace
