# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role variables of an inventory take effect, because no playbook passes another value.

The classes of Ansible load the playbooks and resolve the variables.
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
# Roles that other roles call once for each release or list of objects.
HELPERS = ("helm_release", "kubernetes_objects", "preflight")
# Playbooks set only the state: whether a role creates or removes.
SET_BY_PLAYBOOKS = "_state"
WITHOUT_ROLES = ("adopt.yml", "rotate_trust_anchor.yml", "teardown.yml", "verify.yml")  # they include them


def variables(role: str) -> set[str]:
    spec = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())
    return {name for entry in spec["argument_specs"].values() for name in entry["options"]}


VARIABLES = {role.name: variables(role.name) for role in (ROOT / "roles").iterdir() if role.name not in HELPERS}


def inventory(folder: Path) -> Path:
    """An inventory that sets every role variable to a value that contains its name."""
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
def test_role_variables_of_inventory_take_effect(manager, playbook):
    loader, resolver, found = manager
    wrong, seen = [], set()
    for play in Playbook.load(str(ROOT / "playbooks" / playbook), variable_manager=resolver, loader=loader).get_plays():
        host = found.get_hosts(play.hosts if isinstance(play.hosts, str) else ":".join(play.hosts))[0]
        for block in play.compile():
            for task in tasks(block):
                role = task._role.get_name().rpartition(".")[2] if task._role else ""
                given = {
                    name: value
                    for name, value in (task.get_vars() or {}).items()
                    if not name.endswith(SET_BY_PLAYBOOKS)
                }
                if role in VARIABLES:
                    seen.add(role)
                    resolved = resolver.get_vars(play=play, host=host, task=task)
                    wrong += [f"{task}: {name}" for name in VARIABLES[role] if resolved[name] != f"inventory: {name}"]
                # Ansible resolves an include only when it runs, but the variables that it passes are known.
                wrong += [f"{task}: {name}" for names in VARIABLES.values() for name in names & set(given)]
    assert wrong == []
    assert seen or playbook in WITHOUT_ROLES, "the playbook has no role"


def test_manifests_of_a_cluster_are_in_one_folder():
    """Also if its name in Vault or in the metrics is another one."""
    folders = []
    for role in ("linkerd", "vault_issuer", "monitoring"):
        defaults = yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text())
        folders.append(defaults[f"{role}_render_dir"])
    assert set(folders) == {folders[0]} and "inventory_hostname" in folders[0]
