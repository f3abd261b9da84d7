# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Linkerd's CLI, and a forwarder to the API server."""

from __future__ import annotations

from pathlib import Path

import pytest
from forwarder_standin import Forwarder
from kubernetes_server import built

from lab import contents


@pytest.fixture(scope="session")
def linkerd() -> Path:
    """Linkerd's CLI."""
    return built(contents.LINKERD_PROGRAMS, "linkerd")


@pytest.fixture
def forwarder(kubernetes, tmp_path):
    between = Forwarder(kubernetes.url, kubernetes.kubeconfig, tmp_path)
    yield between
    between.close()
