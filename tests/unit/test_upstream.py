# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only the package _upstream imports from other collections, and the installed versions have what it imports.

The test runs with the pinned collections, with the oldest supported ones (`nox -s oldest`) and on Debian 13.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UPSTREAM = ROOT / "plugins/module_utils/_upstream"
OWN = "ansible_collections.servicemesh.pki."


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """The module and name of each import from another collection, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        else:
            continue
        yield from ((module, name) for module, name in found if is_other_collection(module))


def is_other_collection(module: str) -> bool:
    return module.startswith("ansible_collections.") and not f"{module}.".startswith(OWN)


NAMES = sorted({pair for path in UPSTREAM.glob("*.py") for pair in imported(path)})


def test_only_one_package_imports_from_other_collections():
    plugins = [path for path in (ROOT / "plugins").rglob("*.py") if path.parent != UPSTREAM]
    assert len(plugins) > 40
    assert {path.name: pairs for path in plugins if (pairs := list(imported(path)))} == {}


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for dummy, name in NAMES])
def test_installed_collection_has_the_name(module, name):
    assert hasattr(importlib.import_module(module), name)


def test_both_collections_are_checked():
    """Of the third dependency, community.docker, only modules are used, by their public names."""
    assert {".".join(module.split(".")[1:3]) for module, dummy in NAMES} == {"community.hashi_vault", "kubernetes.core"}


@pytest.mark.parametrize(
    "line",
    [
        "from ansible_collections.community.docker.plugins.module_utils.common_api import AnsibleDockerClient",
        "def later():\n    import ansible_collections.community.docker.plugins.module_utils.copy",
    ],
)
def test_import_elsewhere_would_be_found(line, tmp_path):
    (tmp_path / "plugin.py").write_text(line)
    assert list(imported(tmp_path / "plugin.py"))
