# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that the lab builds are those that its README lists, and stand-ins are called so."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from lab import contents
from lab.parts import Workshop
from lab.places import SOURCES

CERT_MANAGER = "quay.io/jetstack/cert-manager-"


@pytest.fixture
def built(monkeypatch, tmp_path):
    """The names of all images, without their tags, from the recipes themselves; nothing is written."""
    images = []
    monkeypatch.setattr(contents, "write_layer", lambda layer, content: layer)
    monkeypatch.setattr(contents, "write_archive", lambda archive, found: images.extend(found))
    monkeypatch.setattr(contents, "iptables", lambda shop, root: {})
    shop = Workshop(tmp_path, defaultdict(lambda: tmp_path), tmp_path / "log")
    contents.pod_images(shop)
    contents.engine_images(shop)
    return {name.rpartition(":")[0] for image in images for name in image.names}


@pytest.fixture
def listed():
    """README's table: image -> what it stands in for, "" for nothing."""
    section = (SOURCES / "README.md").read_text().split("### Images", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line]
    return {name: row[2] for row in rows for name in re.findall("`([^`]+)`", row[0])}


def test_readme_lists_the_images_that_are_built(built, listed):
    assert len(built) >= 16
    assert set(listed) == built


def test_stand_ins_are_called_so_except_those_of_cert_manager(listed):
    named = {image for image in listed if "standin" in image}
    assert named == {image for image, instead in listed.items() if instead and not image.startswith(CERT_MANAGER)}
    assert all(instead for image, instead in listed.items() if image.startswith(CERT_MANAGER))


def test_what_is_not_built_from_upstream_is_a_stand_in(listed):
    """The programs of lab/go/stack/cmd that replace somebody's image, apart from the tests' application."""
    for part in ("proxy", "policy_controller"):
        assert listed[contents.LINKERD_IMAGES[part][0]]
    for name in contents.ENGINE_IMAGE_NAMES.values():
        assert listed[f"servicemesh-pki-lab/{name}"]
