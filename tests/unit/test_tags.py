# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether mesh.yml creates Linkerd's namespace, depending on the tags of the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from support.alert_rules import trusted

PLAYBOOK = Path(__file__).resolve().parents[2] / "playbooks/mesh.yml"


@pytest.mark.parametrize(
    ("tags", "skipped", "created"),
    [
        (["all"], [], True),
        (["all"], ["vault_issuer"], True),
        (["all"], ["linkerd"], True),
        (["all"], ["linkerd", "vault_issuer"], False),
        (["vault_issuer"], [], True),
        (["linkerd", "cert_manager"], ["vault_issuer"], True),
        (["cert_manager"], [], False),
        (["vault_issuer"], ["vault_issuer"], False),
    ],
)
def test_namespace_is_created_for_the_roles_that_use_it(tags, skipped, created):
    [play] = [one for one in yaml.safe_load(PLAYBOOK.read_text()) if one.get("hosts") == "clusters"]
    variables = {**trusted(play["vars"]), "ansible_run_tags": tags, "ansible_skip_tags": skipped}
    assert Templar(DataLoader(), variables=variables).template(trusted("{{ needs_namespace }}")) is created
