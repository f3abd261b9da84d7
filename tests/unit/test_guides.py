# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command blocks of README and guides run where their comments state, and YAML examples use existing variables."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from guides import PAGES, ROOT, TARGETS, Block, blocks, commands

COLLECTION = "servicemesh.pki."


def test_command_blocks_have_a_place():
    without = [str(block) for block in blocks() if block.is_command and block.target not in TARGETS]
    assert without == [], "put <!-- run: anywhere|vault|lab|test, FILE|not, REASON --> before them"


def test_blocks_that_do_not_run_have_a_reason():
    assert [str(block) for block in blocks() if block.target == "not" and not block.reason] == []


def requested_texts(path: Path) -> set[str]:
    """The texts with which a test selects commands of guides."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {
        argument.value
        for call in calls
        if getattr(call.func, "id", "") in ("playbook_arguments", "rotate_as_in_guide")
        for argument in call.args[1:]
        if isinstance(argument, ast.Constant)
    }


def test_commands_of_guides_are_run_by_the_test_that_they_name():
    found = commands("test")
    assert found
    assert [str(one) for one in found if not any(text in one.text for text in requested_texts(ROOT / one.reason))] == []


def test_block_without_place_is_found(tmp_path, monkeypatch):
    import guides

    (tmp_path / "page.md").write_text("Text\n\n```sh\nls\n```\n\n<!-- run: lab -->\n```\nls -l\n```\n")
    monkeypatch.setattr(guides, "PAGES", [tmp_path / "page.md"])
    monkeypatch.setattr(guides, "ROOT", tmp_path)
    assert [(block.line, block.target) for block in guides.blocks()] == [(3, None), (8, "lab")]


@pytest.mark.parametrize("block", commands("anywhere"), ids=str)
def test_command_block_succeeds_anywhere(block):
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if ROOT.parts[-3:-1] == ("ansible_collections", "servicemesh"):
        env["ANSIBLE_COLLECTIONS_PATH"] = str(
            ROOT.parents[2]
        )  # there, ansible-doc does not follow the link to the roles
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def nodes(value: Any) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from nodes(inner)


def role_options() -> dict[str, set[str]]:
    found = {}
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        points = yaml.safe_load(path.read_text())["argument_specs"].values()
        found[path.parts[-3]] = {option for point in points for option in point.get("options", {})}
    return found


YAML_BLOCKS = [block for block in blocks() if block.language in ("yaml", "yml")]


@pytest.mark.parametrize("block", YAML_BLOCKS, ids=str)
def test_examples_use_existing_variables(block: Block):
    roles = role_options()
    known = set().union(*roles.values())
    content = yaml.safe_load(block.text)
    for node in nodes(content):
        call = node.get("ansible.builtin.include_role") or node.get("ansible.builtin.import_role")
        if call:
            role = call["name"].removeprefix(COLLECTION)
            assert set(node.get("vars", {})) <= roles[role], role
        for key, value in node.items():
            if key.startswith(COLLECTION):
                module = key.removeprefix(COLLECTION)
                assert (ROOT / "plugins/modules" / f"{module}.py").exists(), key
                assert isinstance(value, dict), key
    if isinstance(content, dict):  # variables for group_vars
        prefixes = tuple(f"{role}_" for role in roles)
        assert {key for key in content if key.startswith(prefixes)} <= known


def test_examples_of_linkerd_pass_the_trust_anchors():
    """Each of these entry points checks the whole role, and without trust anchors it refuses an existing mesh."""
    without = []
    for block in YAML_BLOCKS:
        for node in nodes(yaml.safe_load(block.text)):
            call = node.get("ansible.builtin.include_role") or node.get("ansible.builtin.import_role") or {}
            is_checked = call.get("tasks_from", "main") in ("main", "namespace", "definitions", "mesh")
            if call.get("name") == f"{COLLECTION}linkerd" and is_checked:
                without += [] if "linkerd_trust_anchors" in node["vars"] else [str(block)]
    assert without == []


def test_example_plays_pass_a_syntax_check(tmp_path):
    texts = [block.text for block in YAML_BLOCKS if block.text.startswith("- hosts:")]
    assert len(texts) >= 9
    (tmp_path / "plays.yml").write_text("".join(texts))
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["ansible-playbook", "--syntax-check", str(tmp_path / "plays.yml")],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_entry_points_in_the_pages_of_roles_exist():
    missing = []
    for page in ROOT.glob("roles/*/README.md"):
        table = page.read_text().partition("## Entry points")[2].partition("## ")[0]
        points = re.findall(r"^\| `(\w+)` \|", table, re.M)
        assert "main" in points, page
        missing += [f"{page.parent.name}: {one}" for one in points if not (page.parent / f"tasks/{one}.yml").exists()]
    assert missing == []


def test_paths_in_the_pages_exist():
    named = r"`((?:bench|changelogs|docs|inventories|lab|meta|molecule|playbooks|plugins|roles|tests)/[\w./-]+)`"
    missing = []
    for page in PAGES:
        for path in re.findall(named, page.read_text()):
            if not (ROOT / path).exists():
                missing.append(f"{page.relative_to(ROOT)}: {path}")
    assert missing == []


# Messages of other programs in the guide to troubleshooting.
OTHERS = """Kubernetes cluster unreachable; permission denied;
another operation (install/upgrade/rollback) is in progress;
connection refused; no such host; i/o timeout; SourceNotFound; ErrImagePull; ImagePullBackOff; InvalidImageName;
CrashLoopBackOff; CreateContainerConfigError; Unschedulable; exceeded quota; violates PodSecurity"""


def test_messages_in_the_guide_to_troubleshooting_exist():
    files = [path for part in ("plugins", "roles", "playbooks") for path in (ROOT / part).rglob("*.*")]
    sources = "\n".join(path.read_text() for path in files if path.suffix in (".py", ".yml", ".j2"))
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)  # text in several parts
    sources = re.sub(r"\{\{.*?\}\}|\{[^{}\n]*\}", "...", sources, flags=re.DOTALL)
    sources = re.sub(r"\s+", " ", sources + OTHERS)
    missing = []
    for line in (ROOT / "docs/guides/troubleshooting.md").read_text().splitlines():
        for message in re.findall("`([^`]+)`", line.split(" | ")[0] if line.startswith("| `") else ""):
            parts = [part.strip() for part in message.split("...")]
            missing += [message for part in parts if part not in sources]
    assert missing == [], "correct the guide: no message contains these any more"
