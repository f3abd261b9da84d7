# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each package of module_utils and plugin_utils imports only the packages that its docstring lists.

Filters and tests import no client of a server.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PACKAGES = {path.parent.name: path.parent for path in PLUGINS.glob("*_utils/_*/__init__.py")}
FILTERS = [*PLUGINS.glob("filter/*.py"), *PLUGINS.glob("test/*.py")]
IMPORT = re.compile(r"ansible_collections\.servicemesh\.pki\.plugins\.(\w+)(?:\.(\w+))?")


def listed(package: Path) -> set[str]:
    """The packages that the docstring of a package lists after "May import:"."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    found = re.search(r"^May import: ([\w, ]+)\.$", text, re.M)
    assert found, f"{package.name}/__init__.py has no line 'May import: ...'"
    return set(found[1].split(", ")) - {"nothing"}


def imported(source: str) -> set[str]:
    """The parts of this collection's plugins that a file imports: a package, or the folder of a single file."""
    modules = [node.module or "" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return {
        found[2] if found[2] and found[2].startswith("_") else found[1]
        for module in modules
        if (found := IMPORT.match(module))
    }


def test_packages_are_found():
    assert {"_common", "_kubernetes", "_vault", "_x509", "_verify"} <= set(PACKAGES)


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_package_imports_only_listed_packages(name):
    allowed = listed(PACKAGES[name]) | {name}
    found = {
        path.name: extra for path in PACKAGES[name].glob("*.py") if (extra := imported(path.read_text()) - allowed)
    }
    assert found == {}


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_package_imports_all_listed_packages(name):
    found = set().union(*(imported(path.read_text()) for path in PACKAGES[name].glob("*.py")))
    assert listed(PACKAGES[name]) <= found


def test_filters_and_tests_import_no_client_of_vault_or_kubernetes():
    """They need cryptography only, so a controller without the libraries of the modules can use them."""
    names = [f"ansible_collections.servicemesh.pki.plugins.{path.parent.name}.{path.stem}" for path in FILTERS]
    program = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"
    command = [sys.executable, "-c", program, *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PLUGINS.parent / ".collections", check=True)
    assert set(done.stdout.split()).isdisjoint({"hvac", "kubernetes", "requests"})


def test_every_shared_file_is_in_a_package():
    assert [path.name for path in PLUGINS.glob("*_utils/*.py")] == []


def test_unlisted_import_would_be_found():
    line = "from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError"
    assert imported(line) == {"_vault"}
    assert imported("from ansible_collections.servicemesh.pki.plugins.filter.x509 import pem_bundle") == {"filter"}
