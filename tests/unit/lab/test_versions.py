# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""versions.toml is the one place; what Go and pip really use has to agree with it."""

from __future__ import annotations

import re

import pytest

from lab.places import SOURCES, versions

GO = [(folder, entry) for folder, entries in versions()["go"].items() for entry in entries.values()]


@pytest.mark.parametrize(("folder", "entry"), GO, ids=[entry["module"] for dummy, entry in GO])
def test_go_mod_agrees(folder, entry):
    text = (SOURCES / "go" / folder / "go.mod").read_text()
    found = re.findall(rf"^(?:require)?\s+{re.escape(entry['module'])} (v\S+)", text, re.M)
    assert found == [entry["version"]]


@pytest.mark.parametrize("folder", sorted(versions()["go"]))
def test_every_module_has_checksums(folder):
    sums = (SOURCES / "go" / folder / "go.sum").read_text()
    for entry in versions()["go"][folder].values():
        assert f"{entry['module']} {entry['version']} h1:" in sums


@pytest.mark.parametrize("entry", versions()["wheel"].values(), ids=lambda entry: entry["package"])
def test_requirements_agree(entry):
    text = (SOURCES.parent / "requirements.txt").read_text()
    assert re.search(
        rf"^{re.escape(entry['package'])}=={re.escape(entry['version'])} \\\n    --hash=sha256:", text, re.M
    )


def test_staging_modules_are_those_of_kubernetes():
    minor = versions()["go"]["stack"]["kubernetes"]["version"].removeprefix("v1.")
    text = (SOURCES / "go" / "stack" / "go.mod").read_text()
    replaced = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", text, re.M)
    assert len(replaced) > 20
    assert {(old == new, version) for old, new, version in replaced} == {(True, f"v0.{minor}")}
