# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections of Ansible that are older than galaxy.yml permits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from worlds import codes, empty, requested

from ansible_collections.servicemesh.pki.plugins.filter.preflight import preflight
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight import collections

ROOT = Path(__file__).resolve().parents[3]
RANGES = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
NEW = {"community.hashi_vault": "7.1.0", "kubernetes.core": "6.2.0"}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs these versions, and this collection from an artifact or as a clone."""
    monkeypatch.setattr(collections, "folder", lambda name: tmp_path / name)

    def write(name: str, file: str, **content: object) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(
            json.dumps({"collection_info": content} if file == "MANIFEST.json" else content)
        )

    def run(versions: dict[str, str], own: str, other: str = "MANIFEST.json") -> None:
        write("servicemesh.pki", own, version="0.3.0", dependencies=RANGES)
        for name, version in versions.items():
            write(name, other, version=version)

    return run


@pytest.mark.parametrize("own", ["MANIFEST.json", "galaxy.yml"])
@pytest.mark.parametrize(("name", "version"), [
    ("kubernetes.core", "6.1.0"), ("kubernetes.core", "5.10.2"), ("community.hashi_vault", "7.0.9"),
])  # fmt: skip
def test_a_collection_that_is_too_old_is_refused_by_name(install, own, name, version):
    install({**NEW, name: version}, own)
    result = preflight(empty(), requested(), "berlin")
    assert codes(result) == ["collection_unsupported"]
    [problem] = result["problems"]
    assert problem["object"] == name
    assert all(text in problem["message"] for text in (f"{name} {version}", RANGES[name], f"'{name}:{RANGES[name]}'"))


@pytest.mark.parametrize("other", ["MANIFEST.json", "galaxy.yml"])
def test_newer_versions_are_accepted(install, other):
    install({"community.hashi_vault": "7.1.0", "kubernetes.core": "10.0.0-beta.1"}, "galaxy.yml", other)
    assert codes(preflight(empty(), requested(), "berlin")) == []


def test_a_collection_without_a_version_is_not_refused(install):
    """Such as one that is installed from its repository without galaxy.yml."""
    install({}, "galaxy.yml")
    assert collections.outdated() == []


def test_the_collections_of_the_tests_are_found():
    assert collections.metadata("servicemesh.pki")["dependencies"] == RANGES
    assert all(collections.metadata(name)["version"] for name in collections.USED)
    assert collections.outdated() == []
