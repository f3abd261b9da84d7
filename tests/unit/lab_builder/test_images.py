# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The format of layers and image archives that the lab writes without an engine."""

from __future__ import annotations

import hashlib
import json
import tarfile

import pytest

from lab.images import LABEL, Image, Link, write_archive, write_layer


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_text("#!")
    path.chmod(0o755)
    return path


def read(archive, name):
    with tarfile.open(archive) as tar:
        return tar.extractfile(name).read()


def test_layer_contains_files_links_and_each_parent_once(tmp_path, program):
    layer = write_layer(
        tmp_path / "layer", {"usr/bin/a": program, "usr/bin/b": Link("a"), "usr/lib/c": program, "tmp": None}
    )
    with tarfile.open(layer) as tar:
        found = {entry.name: entry for entry in tar}
        assert sorted(entry.name for entry in tar) == [
            "tmp",
            "usr",
            "usr/bin",
            "usr/bin/a",
            "usr/bin/b",
            "usr/lib",
            "usr/lib/c",
        ]
    assert found["usr/bin/a"].mode == 0o755
    assert (found["usr/bin/b"].issym(), found["usr/bin/b"].linkname) == (True, "a")
    assert (found["tmp"].isdir(), found["tmp"].mode) == (True, 0o1777)
    assert {(entry.uid, entry.gid, entry.mtime, entry.uname) for entry in found.values()} == {(0, 0, 0, "")}


def test_layer_is_reproducible(tmp_path, program):
    first = write_layer(tmp_path / "1", {"a": program}).read_bytes()
    program.touch()
    assert write_layer(tmp_path / "2", {"a": program}).read_bytes() == first


def test_archive_is_consistent_and_contains_shared_layer_once(tmp_path, program):
    shared = write_layer(tmp_path / "shared", {"a": program})
    own = write_layer(tmp_path / "own", {"b": program})
    images = [
        Image(("x/one:1",), (shared,), {"Entrypoint": ["/a"]}),
        Image(("x/two:1",), (shared, own), {"User": "1000"}),
    ]
    write_archive(tmp_path / "archive", images)
    with tarfile.open(tmp_path / "archive") as tar:
        names = tar.getnames()
    assert len(names) == len(set(names)) == 2 + 2 + 1
    manifest = json.loads(read(tmp_path / "archive", "manifest.json"))
    assert [entry["RepoTags"] for entry in manifest] == [["x/one:1"], ["x/two:1"]]
    for entry in manifest:
        text = read(tmp_path / "archive", entry["Config"])
        assert entry["Config"] == hashlib.sha256(text).hexdigest() + ".json"
        config = json.loads(text)
        digests = [hashlib.sha256(read(tmp_path / "archive", layer)).hexdigest() for layer in entry["Layers"]]
        assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}" for digest in digests]
        assert config["config"]["Labels"] == {LABEL: "1"}
    assert config["config"]["User"] == "1000"
