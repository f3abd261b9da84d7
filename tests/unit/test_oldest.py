# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oldest supported versions are those of tests/oldest.toml wherever they are named."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
OLDEST = tomllib.loads((ROOT / "tests/oldest.toml").read_text())
PACKAGES = {"ansible-core": OLDEST["ansible-core"], **OLDEST["wheel"], **OLDEST["libraries"]}


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_galaxy_requires_the_oldest_collections():
    expected = {name: f">={version}" for name, version in OLDEST["collections"].items()}
    assert yaml.safe_load(read("galaxy.yml"))["dependencies"] == expected


def test_collection_requires_the_oldest_ansible_core():
    assert yaml.safe_load(read("meta/runtime.yml"))["requires_ansible"] == f">={OLDEST['ansible-core']}"


def test_execution_environment_requires_the_oldest_libraries():
    found = dict(re.findall(r"^([a-z]\w*)>=(\S+)$", read("meta/ee-requirements.txt"), re.M))
    assert found == OLDEST["libraries"]


def test_code_is_checked_for_the_oldest_python():
    settings = tomllib.loads(read("pyproject.toml"))["tool"]
    assert settings["ruff"]["target-version"] == f"py{OLDEST['python'].replace('.', '')}"
    assert settings["mypy"]["python_version"] == OLDEST["python"]
    assert f"--python-version {OLDEST['python']} " in read("Makefile")


def test_module_documentation_names_the_oldest_libraries():
    texts = [
        path.read_text() for kind in ("modules", "doc_fragments") for path in (ROOT / "plugins" / kind).glob("*.py")
    ]
    lists = [found for text in texts for found in re.findall(r"^ *requirements:\n((?: +- .*\n)+)", text, re.M)]
    libraries = "|".join(OLDEST["libraries"])
    named = re.findall(rf"^ +- ({libraries})\b(?: >= ([\d.]+))?", "".join(lists), re.M)
    assert {name for name, dummy in named} >= {"cryptography", "hvac", "kubernetes"}
    assert [pair for pair in named if OLDEST["libraries"][pair[0]] != pair[1]] == []


def test_readme_names_the_oldest_versions():
    table = read("README.md").split("## Supported versions")[1].split("\n## ")[0]
    named = dict(reversed(re.findall(r"`?([a-z][\w.-]+)`? (\d+(?:\.\d+)+)", table)))  # the first version of each name
    expected = {**OLDEST["collections"], **OLDEST["libraries"], "ansible-core": OLDEST["ansible-core"]}
    assert {name: named.get(name) for name in expected} == expected
    assert f"Python {OLDEST['python']} or newer" in table


def installed(name: str) -> str:
    if name in OLDEST["collections"]:
        folder = importlib.import_module(f"ansible_collections.{name}").__path__[0]
        return json.loads(Path(folder, "MANIFEST.json").read_text())["collection_info"]["version"]
    return importlib.metadata.version(name)


@pytest.mark.parametrize(("name", "version"), {**PACKAGES, **OLDEST["collections"]}.items())
def test_installed_version_is_supported(name, version):
    if os.environ.get("SERVICEMESH_PKI_TEST_OLDEST"):
        assert installed(name) == version
        assert f"{sys.version_info.major}.{sys.version_info.minor}" == OLDEST["python"]
    assert Version(installed(name)) >= Version(version)
