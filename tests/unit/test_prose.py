# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences of sources are extracted on the lines that they have in the source."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import prose


def numbered(found: dict[int, str]) -> dict[int, str]:
    return {line + 1: text for line, text in sorted(found.items())}


def test_documentation_of_a_module():
    source = '''from __future__ import annotations

DOCUMENTATION = r"""
module: example
short_description: Do something
description:
  - The first sentence with O(state=present),
    on two lines.
  - "It's C(quoted)."
options:
  name:
    description: Name of it.
    type: str
"""
NAME = "description"
'''
    found = prose.extract("plugins/modules/example.py", source)
    assert numbered(found[".md"]) == {
        5: "Do something",
        7: "The first sentence with `x`,",
        8: "on two lines.",
        9: "It's `x`.",
        12: "Name of it.",
    }
    assert found[".tasks.md"] == {}


def test_argument_spec_with_an_anchor():
    source = """---
argument_specs:
  main:
    short_description: Do something
    options: &options
      example_name:
        description: >-
          Name of example_thing,
          with {{ 'Jinja' }}.
  other:
    options: *options
"""
    found = prose.extract("roles/example/meta/argument_specs.yml", source)
    assert numbered(found[".md"]) == {4: "Do something", 8: "Name of `x`,", 9: "with `x`."}


def test_names_and_messages_of_tasks():
    source = """---
- name: Prepare
  hosts: all
  tasks:
    - name: Create the object {{ name }}
      kubernetes.core.k8s: {name: example, kind: Secret}

    - block:
        - name: Fail if it is missing
          ansible.builtin.assert:
            that: true
            fail_msg: >-
              It is {{ [1,
              2] }} missing.
              Create it.
"""
    found = prose.extract("playbooks/example.yml", source)
    assert numbered(found[".tasks.md"]) == {2: "Prepare", 5: "Create the object `x`", 9: "Fail if it is missing"}
    assert numbered(found[".md"]) == {13: "It is `x`", 14: "missing.", 15: "Create it."}


def test_entries_of_a_fragment():
    source = "---\nbugfixes:\n  - module - accept ``a``.\nminor_changes:\n  - Add `b`,\n    and c.\n"
    found = prose.extract("changelogs/fragments/example.yml", source)
    assert numbered(found[".md"]) == {3: "module - accept `a`.", 5: "Add `b`,", 6: "and c."}


@pytest.mark.parametrize("part", sorted(prose.PARTS))
def test_every_part_has_sentences(part, tmp_path):
    prose.main(tmp_path, [part])
    pages = [path for path in tmp_path.rglob("*.md") if path.read_text().strip()]
    assert len(pages) >= 5
    for page in pages:
        source = prose.ROOT / str(page.relative_to(tmp_path)).removesuffix(".md").removesuffix(".tasks")
        assert page.read_text().count("\n") == source.read_text().count("\n") + 1
