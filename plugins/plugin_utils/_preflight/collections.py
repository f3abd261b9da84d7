# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The installed collections that the modules of this collection are built on. Private to this collection.

ansible-galaxy compares versions only when it installs this collection, so not for a clone or an older collection that
comes first in collections_path.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import yaml

from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts, numbers

OWN = "servicemesh.pki"
USED = ("community.hashi_vault", "kubernetes.core")  # community.docker is used on this machine only


def folder(name: str) -> Path:
    return Path(next(iter(importlib.import_module(f"ansible_collections.{name}").__path__)))


def metadata(name: str) -> Facts:
    """Version and dependencies of an installed collection, or of a clone. Empty if it contains neither file."""
    try:
        manifest, source = (folder(name) / file for file in ("MANIFEST.json", "galaxy.yml"))
        if manifest.exists():
            return dict(json.loads(manifest.read_text())["collection_info"])
        return dict(yaml.safe_load(source.read_text()))
    except (ImportError, OSError):
        return {}


def outdated() -> list[Facts]:
    """The collections that are older than the dependencies of this collection permit."""
    ranges = metadata(OWN).get("dependencies") or {}
    found = [
        {"name": name, "version": str(metadata(name).get("version") or ""), "required": str(ranges[name])}
        for name in USED
        if name in ranges
    ]
    return [one for one in found if one["version"] and numbers(one["version"]) < numbers(one["required"].lstrip(">="))]
