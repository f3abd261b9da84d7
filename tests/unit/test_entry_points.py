# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every task file that is called with `tasks_from` is an entry point: it has an argument spec and is in the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "servicemesh.pki."
CALLERS = ("playbooks/**/*.yml", "roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "molecule/**/*.yml")
ACTIONS = ("ansible.builtin.import_role", "ansible.builtin.include_role")
# Ansible evaluates every option of a spec when the entry point starts. The values of these exist only later.
NOT_VALIDATED = {("vault_pki", "preflight"): {"vault_pki_connection"}}
# Calls the role preflight, if it has not run, with the variables of the whole role.
PREFLIGHT = "decide"


def load(role: str, path: str) -> Any:
    file = ROOT / "roles" / role / path
    return (yaml.safe_load(file.read_text()) if file.exists() else None) or {}


ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
SPECS = {role: load(role, "meta/argument_specs.yml")["argument_specs"] for role in ROLES}
ENTRY_POINTS = [(role, name) for role, spec in SPECS.items() for name in spec]


def nodes(value: Any) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from nodes(inner)


def calls() -> Iterator[tuple[Path, str, str]]:
    """The file, the role and the entry point of each call with `tasks_from`."""
    for path in sorted({path for pattern in CALLERS for path in ROOT.glob(pattern)}):
        for node in nodes(yaml.safe_load(path.read_text())):
            for call in [node[action] for action in ACTIONS if action in node]:
                if "tasks_from" in call:
                    yield path.relative_to(ROOT), call["name"].removeprefix(PREFIX), call["tasks_from"]


def test_every_called_task_file_has_argument_spec():
    found = list(calls())
    assert len(found) > 30
    assert [f"{path}: {role} {entry}" for path, role, entry in found if entry not in SPECS[role]] == []


@pytest.mark.parametrize(("role", "entry"), ENTRY_POINTS)
def test_entry_point_has_tasks_and_documentation(role, entry):
    assert (ROOT / "roles" / role / "tasks" / f"{entry}.yml").is_file()
    spec = SPECS[role][entry]
    assert [key for key in ("short_description", "description", "author", "version_added") if not spec.get(key)] == []
    different = {name for name, option in spec["options"].items() if option != SPECS[role]["main"]["options"].get(name)}
    assert different == set(), "the option differs from the one of main"


@pytest.mark.parametrize(("role", "entry"), ENTRY_POINTS)
def test_entry_point_documents_variables_that_it_reads(role, entry):
    missing = variables_read(role, entry) - set(SPECS[role][entry]["options"])
    assert missing == NOT_VALIDATED.get((role, entry), set())


@pytest.mark.parametrize("role", ROLES)
def test_readme_lists_entry_points(role):
    readme = (ROOT / "roles" / role / "README.md").read_text()
    section = readme.partition("\n## Entry points\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(SPECS[role])


def variables_read(role: str, entry: str) -> set[str]:
    """The public variables in the task files of an entry point, also through internal variables and templates."""
    internal = load(role, "vars/main.yml")
    templates = {path.name: path.read_text() for path in (ROOT / "roles" / role / "templates").glob("*")}
    text = task_files(role, entry)
    text += "".join(content for name, content in templates.items() if name in text)
    seen: set[str] = set()
    todo = set(re.findall(r"\w+", text))
    while todo:
        name = todo.pop()
        seen.add(name)
        todo |= set(re.findall(r"\w+", str(internal.get(name, "")))) - seen
    return seen & set(SPECS[role]["main"]["options"])


def task_files(role: str, entry: str) -> str:
    """The text of a task file and of those that it imports or includes, without comments and names of plugins."""
    texts: dict[str, str] = {}
    todo = [entry]
    while todo:
        name = todo.pop()
        path = ROOT / "roles" / role / "tasks" / f"{name}.yml"
        if name in texts or name == PREFLIGHT or not path.exists():
            continue
        texts[name] = re.sub(r"^\s*#.*$|\bservicemesh\.pki\.\w+", "", path.read_text(), flags=re.MULTILINE)
        for target in re.findall(r"(?:import|include)_tasks:(?:\s+file:)?(.*)", texts[name]):
            todo += re.findall(r"(\w+)\.yml", target) + re.findall(r"'(\w+)'", target)
            todo += ["present", "absent"] if f"{role}_state" in target else []
    return "".join(texts.values())
