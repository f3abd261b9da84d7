# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""README.md of the lab lists all images, and the names of stand-ins contain `standin`."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from lab import contents
from lab.parts import Workshop
from lab.places import SOURCES

CERT_MANAGER = "quay.io/jetstack/cert-manager-"


@pytest.fixture
def image_names(monkeypatch, tmp_path):
    """The names of all images without tags, from the recipes. No image is written."""
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
    """The table in README.md: image -> what it stands in for, or an empty string."""
    section = (SOURCES / "README.md").read_text().split("### Images", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line]
    return {name: row[2] for row in rows for name in re.findall("`([^`]+)`", row[0])}


def test_readme_lists_all_images(image_names, listed):
    assert len(image_names) >= 16
    assert set(listed) == image_names


def test_names_of_stand_ins_contain_standin_except_cert_manager(listed):
    named = {image for image in listed if "standin" in image}
    assert named == {image for image, replaced in listed.items() if replaced and not image.startswith(CERT_MANAGER)}
    assert all(replaced for image, replaced in listed.items() if image.startswith(CERT_MANAGER))


def test_images_of_own_programs_are_listed_as_stand_ins(listed):
    """Programs of lab/go/stack/cmd that replace an image of upstream."""
    for part in ("proxy", "policy_controller"):
        assert listed[contents.LINKERD_IMAGES[part][0]]
    for name in contents.ENGINE_IMAGE_NAMES.values():
        assert listed[f"servicemesh-pki-lab/{name}"]
