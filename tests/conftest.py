# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable as ansible_collections.servicemesh.pki in every test."""

from __future__ import annotations

import sys
from pathlib import Path

import ansible_collections  # the dependencies, from the ansible wheel
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = [str(ROOT / ".collections"), str(Path(ansible_collections.__path__[0]).parent)]

for name in [name for name in sys.modules if name.split(".")[0] == "ansible_collections"]:
    del sys.modules[name]
_AnsibleCollectionFinder(paths=COLLECTIONS)._install()
