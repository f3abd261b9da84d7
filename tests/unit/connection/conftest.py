# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that a test starts are measured as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest
from forkserver_client import Client


@pytest.fixture
def measured() -> dict[str, str]:
    """What a program's environment needs so that its coverage counts, too; nothing when none is measured."""
    active = coverage.Coverage.current()
    return {"COVERAGE_PROCESS_CONFIG": active.config.serialize()} if active else {}


@pytest.fixture
def client(tmp_path: Path, measured: dict[str, str]) -> Iterator[Client]:
    client = Client(tmp_path, {**os.environ, **measured})
    yield client
    client.end()
