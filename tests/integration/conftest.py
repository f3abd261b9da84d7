# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import kubernetes_server
from support.custom_resources import custom_resource

KINDS = ("Certificate", "CertificateRequest", "Issuer", "ClusterIssuer")


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kubernetes_server.Kubernetes]:
    yield from kubernetes_server.start(tmp_path_factory.mktemp("kubernetes"))


@pytest.fixture(scope="session")
def kinds(kubernetes: kubernetes_server.Kubernetes) -> kubernetes_server.Kubernetes:
    """The API server with cert-manager's kinds, without their validation. They stay, so each test deletes its objects.

    As in cert-manager, only a request to the subresource `status` can write the status.
    """
    for kind in KINDS:
        kubernetes.define(custom_resource(kind))
    return kubernetes


@pytest.fixture(autouse=True)
def own_discovery_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """kubernetes.core caches the API of a server in a file that is named after its address, and ports are reused."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
