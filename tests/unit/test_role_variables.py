# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role variable that is set in an inventory takes effect: no playbook passes another value.

Ansible itself loads the playbooks and resolves the variables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml"))
# Roles that other roles call for one release or for some objects at a time.
HELPERS = ("helm_release", "kubernetes_objects", "preflight")
# What a playbook decides: whether a role creates or removes.
DECIDED = "_state"


def variables(role: str) -> set[str]:
    spec = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())
    return {name for entry in spec["argument_specs"].values() for name in entry["options"]}


VARIABLES = {role.name: variables(role.name) for role in (ROOT / "roles").iterdir() if role.name not in HELPERS}


def inventory(folder: Path) -> Path:
    """Every variable of every role, set to a value that names it."""
    values = {name: f"inventory: {name}" for names in VARIABLES.values() for name in names}
    hosts = {"vault": {"hosts": {"v": {}}}, "clusters": {"hosts": {"c": {}}}}
    (folder / "hosts.json").write_text(json.dumps({"all": {"children": hosts, "vars": values}}))
    return folder / "hosts.json"


def tasks(block: Block) -> Iterator:
    for item in [*block.block, *block.rescue, *block.always]:
        if isinstance(item, Block):
            yield from tasks(item)
        else:
            yield item


@pytest.fixture
def manager(tmp_path):
    loader = DataLoader()
    found = InventoryManager(loader=loader, sources=[str(inventory(tmp_path))])
    return loader, VariableManager(loader=loader, inventory=found), found


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_role_variable_of_the_inventory_takes_effect(manager, playbook):
    loader, resolver, found = manager
    wrong, seen = [], set()
    for play in Playbook.load(str(ROOT / "playbooks" / playbook), variable_manager=resolver, loader=loader).get_plays():
        host = found.get_hosts(play.hosts if isinstance(play.hosts, str) else ":".join(play.hosts))[0]
        for block in play.compile():
            for task in tasks(block):
                role = task._role.get_name().rpartition(".")[2] if task._role else ""
                given = {name: value for name, value in (task.get_vars() or {}).items() if not name.endswith(DECIDED)}
                if role in VARIABLES:
                    seen.add(role)
                    resolved = resolver.get_vars(play=play, host=host, task=task)
                    wrong += [f"{task}: {name}" for name in VARIABLES[role] if resolved[name] != f"inventory: {name}"]
                # An include is resolved only when it runs; what it would pass is in its own variables.
                wrong += [f"{task}: {name}" for names in VARIABLES.values() for name in names & set(given)]
    assert wrong == []
    assert seen or playbook in ("teardown.yml", "verify.yml"), "no role of the playbook was loaded"
