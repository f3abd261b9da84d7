# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that playbooks read themselves are in the tables of the guides, with the defaults that the code has.

Roles document their variables in an argument spec, which other tests check. A playbook has no such place.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
NAME = r"(?:pki|rotation)_[a-z0-9_]+"
LITERAL = r"""-?[\d.]+|true|false|\[\]|\{\}|'[^'{]*'|"[^"{]*\""""
READ = re.compile(rf"(?<!servicemesh\.pki\.)\b({NAME})\b(?: \| default\(({LITERAL})(?:, true)?\))?")
# Words at the start of the last column of a table, where the code has no default, or one that is not a literal.
WITHOUT_DEFAULT = re.compile(r"required|not set|see there|from |that of ")
EMPTY = {"none": ([],), "empty": ("", None)}


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from nodes(inner)


def literal(text: str) -> Any:
    return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))


def files() -> list[Path]:
    parts = ("playbooks", "roles", "inventories")
    return [path for part in parts for path in sorted((ROOT / part).glob("**/*.yml")) if path.parent.name != "meta"]


def reads() -> dict[str, set[tuple[str, str]]]:
    """Where each variable is read, and with which literal as its default."""
    found = defaultdict(set)
    for path in files():
        text = re.sub(r"(^|\s)#.*$", "", path.read_text(), flags=re.MULTILINE)
        for name, default in READ.findall(text):
            found[name].add((str(path.relative_to(ROOT)), default))
    return found


def set_by_playbooks() -> set[str]:
    """Results, facts and variables that are not for users."""
    found = set()
    for path in (ROOT / "playbooks").glob("**/*.yml"):
        for node in nodes(yaml.safe_load(path.read_text())):
            loop = node.get("loop_control") or {}
            facts = node.get("ansible.builtin.set_fact") or {}
            found |= {node.get("register"), *facts, *(node.get("vars") or {})}
            found |= {loop.get("loop_var"), loop.get("index_var")}
    return {name for name in found if name}


def rows() -> Iterator[tuple[str, str, str]]:
    """The guide, the name and the default of each variable in a table. One table has values instead of defaults."""
    for page in sorted((ROOT / "docs/guides").glob("*.md")):
        header: list[str] = []
        for line in page.read_text().splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            if not line.startswith("|"):
                header = []
                continue
            header = header or cells
            names = re.findall(rf"`({NAME})(?:: \w+)?`", cells[0]) if header[0] == "Variable" else []
            last = cells[-1] if header[-1] == "Default" else ""
            single = re.findall(r"`([^`]*)`", last)
            for number, name in enumerate(names):
                yield page.name, name, single[number] if len(single) == len(names) > 1 else last


READS, ROWS = reads(), list(rows())
EXISTING = yaml.safe_load((ROOT / "inventories/existing/group_vars/all.yml").read_text())


def defaults(name: str) -> set[str]:
    """The defaults of a variable in the code, or what the inventory for existing clusters sets."""
    found = {repr(literal(default)) for dummy, default in READS[name] if default}
    return found or ({repr(EXISTING[name])} if name in EXISTING else set())


def test_tables_and_reads_are_found():
    assert {page for page, dummy, dummy2 in ROWS} == {"real-clusters.md", "report.md", "rotation.md"}
    assert ("rotation.md", "rotation_poll_seconds", "60") in ROWS
    assert ("playbooks/verify.yml", "true") in READS["pki_verify_fail"]
    assert ("playbooks/tasks/rotate/workloads.yml", "4") in READS["rotation_parallel"]


def test_every_documented_variable_is_read():
    assert {name for dummy, name, dummy2 in ROWS} - set(READS) == set()


def test_every_variable_that_users_set_is_documented():
    """One guide has all variables of the collection."""
    users = set(READS) - set_by_playbooks()
    assert {name for page, name, dummy in ROWS if page == "real-clusters.md"} == {
        name for name in users if name.startswith("pki_")
    }
    assert users == {name for dummy, name, dummy2 in ROWS}


def test_a_variable_has_one_default():
    """In `render.yml`, which requires it, and in roles that can run alone."""
    several = {name: defaults(name) for name in READS if len(defaults(name)) > 1}
    assert several == {"pki_render_dir": {"''", "'manifests'"}}


def test_documented_defaults_are_those_of_the_code():
    wrong = []
    for page, name, text in ROWS:
        if text and not WITHOUT_DEFAULT.match(text):
            expected = {repr(one) for one in documented_values(text)}
            if not (defaults(name) and defaults(name) <= expected):
                wrong.append(f"{page}: {name} is {text}, but the code has {sorted(defaults(name))}")
    assert wrong == []


def documented_values(text: str) -> tuple[Any, ...]:
    given = text.strip("`")
    return EMPTY.get(re.split(r"[:\s]", text)[0]) or (literal(given) if re.fullmatch(LITERAL, given) else given,)


def role_defaults() -> dict[str, str]:
    """The default of each role variable, as an expression."""
    found = {}
    for path in (ROOT / "roles").glob("*/defaults/main.yml"):
        for name, value in (yaml.safe_load(path.read_text()) or {}).items():
            template = re.fullmatch(r"\{\{ (.*) \}\}", value) if isinstance(value, str) else None
            found[name] = template[1] if template else json.dumps(value)
    return found


def given_defaults(text: str) -> Iterator[tuple[str, str]]:
    """Each name with the argument of the filter `default` that follows it."""
    for match in re.finditer(r"\b(\w+) \| default\(", text):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        yield match[1], text[match.end() : end - 1].replace("'", '"')


def test_playbooks_read_variables_of_roles_with_the_defaults_of_the_roles():
    roles, seen, wrong = role_defaults(), set(), []
    for path in sorted((ROOT / "playbooks").glob("**/*.yml")):
        for name, default in given_defaults(path.read_text()):
            if name in roles:
                seen.add(name)
                expected = roles[name].replace("'", '"')
                wrong += [f"{path.name}: {name} | default({default}), not {expected}"] if default != expected else []
    assert {"linkerd_namespace", "linkerd_check", "vault_pki_root_key_bits"} <= seen
    assert wrong == []
