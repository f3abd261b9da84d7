# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""go.mod and requirements.txt pin all versions, and other files agree with them."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from lab import places
from lab.places import SOURCES, LabError, versions

GO = versions()["go"]
MODULES = [(folder, entry) for folder, entries in GO.items() for entry in entries.values()]
LINKERD = GO["linkerd"]["linkerd"]


@pytest.mark.parametrize("folder", sorted(GO))
def test_versions_match_go_mod_edit(folder):
    done = subprocess.run(["go", "mod", "edit", "-json"], cwd=SOURCES / "go" / folder, capture_output=True, check=True)
    required = {entry["Path"]: entry["Version"] for entry in json.loads(done.stdout)["Require"]}
    for entry in GO[folder].values():
        assert entry["version"] == required[entry["module"]]


@pytest.mark.parametrize(("folder", "entry"), MODULES, ids=[entry["module"] for dummy, entry in MODULES])
def test_every_module_has_checksums(folder, entry):
    sums = (SOURCES / "go" / folder / "go.sum").read_text()
    assert f"{entry['module']} {entry['version']} h1:" in sums


@pytest.mark.parametrize("entry", versions()["wheel"].values(), ids=lambda entry: entry["package"])
def test_wheels_are_pinned_with_checksums(entry):
    text = (SOURCES.parent / "requirements.txt").read_text()
    pinned = f"{entry['package']}=={entry['version']} \\\n    --hash=sha256:"
    assert text.startswith(pinned) or f"\n{pinned}" in text


def test_missing_pin_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "versions.toml").write_text('[go.stack]\nx = { module = "example.com/x" }\n')
    (tmp_path / "go" / "stack").mkdir(parents=True)
    (tmp_path / "go" / "stack" / "go.mod").write_text("module y\n\nrequire example.com/x/v2 v2.0.0\n")
    monkeypatch.setattr(places, "SOURCES", tmp_path)
    with pytest.raises(LabError, match=r"go\.mod.*example"):
        versions()


def test_linkerd_release_name_matches_pinned_commit():
    described, pinned = LINKERD["release"].rpartition("-g")[2], LINKERD["version"].rpartition("-")[2]
    assert len(described) >= 7 and pinned.startswith(described)


def test_readme_names_linkerd_commit():
    release, commits = re.fullmatch(r"(edge-[\d.]+)-(\d+)-g\w+", LINKERD["release"]).groups()
    for page in (SOURCES / "README.md", SOURCES.parent / "README.md"):
        assert f"{commits} commits after {release}" in page.read_text().replace("`", ""), page
    assert f"its proxy-init is {GO['stack']['proxy-init']['version'][1:]}" in (SOURCES / "README.md").read_text()


def test_staging_modules_have_version_of_kubernetes():
    minor = GO["stack"]["kubernetes"]["version"].removeprefix("v1.")
    text = (SOURCES / "go" / "stack" / "go.mod").read_text()
    replaced = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", text, re.M)
    assert len(replaced) > 20
    assert {(old == new, version) for old, new, version in replaced} == {(True, f"v0.{minor}")}
