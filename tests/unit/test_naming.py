# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, comments and docstrings in Python use the terms of the documentation, which Vale checks elsewhere."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
PARTS = re.compile(
    r"(?:^|_)(?:tells?|told|says?|said|asked|moment|judge[sd]?|begun|born|died|foreign|silent|strangers?|whom)(?:_|$)"
)
TEXT = re.compile(
    r"\b(?:tells?|told|says?|said|born|anew|shall|whoever|foretells?|judg(?:es?|ed|ing)|foreign|strangers?|moment"
    r"|for ever|in its place|instead of which|(?:has|have|had|is|are) to be|of (?:its|their|your|our) own|who signs)\b",
    re.IGNORECASE,
)


def names(tree: ast.AST) -> Iterator[str]:
    """The names that a module defines. Those of libraries are not our choice."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def texts(source: str, tree: ast.AST) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            yield ast.get_docstring(node) or ""


def faults(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [name for name in names(tree) if PARTS.search(name.lower())]
    return found + [match for text in texts(source, tree) for match in TEXT.findall(" ".join(text.split()))]


def test_terms_of_sources():
    found = {name: faults((ROOT / name).read_text()) for name in FILES}
    assert {name: one for name, one in found.items() if one} == {}


@pytest.mark.parametrize(
    "source",
    [
        "def is_silent(): pass",
        "class Foreign: pass",
        "def f(asked): pass",
        "moment = 1",
        "x = 1  # of its own",
        "def f():\n    '''It has\n    to be.'''",
    ],
)
def test_other_word_is_found(source):
    assert len(faults(source)) == 1


def test_name_of_a_library_is_accepted():
    assert faults("server.serve_forever(silent=True)  # this begun rollout") == []
