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
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
WORDS = yaml.safe_load((ROOT / "docs/.vale/servicemesh/Words.yml").read_text())["swap"]
TERMS = re.compile("|".join(rf"\b(?:{one})\b" for one in WORDS), re.IGNORECASE)


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
    """The terms to replace, as in the pages."""
    tree = ast.parse(source)
    defined = [name.replace("_", " ") for name in names(tree)]
    found = [name for name in defined if "begun" in name.lower().split()]  # right in a sentence, as in "has begun"
    read = (" ".join(text.split()) for text in (*defined, *texts(source, tree)))
    return found + [one[0] for text in read for one in TERMS.finditer(text)]


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
