# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every test of the package `lab` uses its own cache folder."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """The folder of the lab in a cache of the test."""
    monkeypatch.setenv("SERVICEMESH_PKI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lab"
