# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One real Vault for all tests: an OpenBao process of the tests, or the Vault that the environment names."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from breaking_proxy import BreakingProxy

sys.path.insert(0, str(Path(__file__).parent))
import server as vault_server
from secrets_standin import SecretsStandIn

NUMBERS = itertools.count(1)
VARIABLES = ("VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_CACERT", "VAULT_SKIP_VERIFY")


@pytest.fixture(scope="session")
def server() -> Iterator[vault_server.Server]:
    address = os.environ.get("SERVICEMESH_PKI_TEST_VAULT_ADDR")
    if address:
        yield vault_server.Server(address, os.environ["SERVICEMESH_PKI_TEST_VAULT_TOKEN"])
        return
    own = vault_server.start()
    yield own
    own.stop()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vault_server.Server]:
    """A real Vault with TLS and its own CA for 127.0.0.1 and localhost."""
    folder = tmp_path_factory.mktemp("tls")
    own = vault_server.start("-dev-tls", f"-dev-tls-cert-dir={folder}", scheme="https")
    own.ca = str(min(folder.glob("*ca*.pem")))
    yield own
    own.stop()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.vault-token


@pytest.fixture
def vault(server: vault_server.Server) -> Iterator[BreakingProxy]:
    """The Vault of all tests behind a proxy that can lose requests and responses."""
    proxy = BreakingProxy(server.url)
    yield proxy
    proxy.close()


@pytest.fixture
def run(server: vault_server.Server) -> vault_server.Runner:
    return vault_server.Runner(server)


@pytest.fixture
def path(server: vault_server.Server) -> Iterator[str]:
    """A path that no other test uses. Its engine is disabled afterwards."""
    name = f"test-{os.getpid()}-{next(NUMBERS)}"
    yield name
    server.client.sys.disable_secrets_engine(name)


@pytest.fixture
def mount(server: vault_server.Server, path: str) -> str:
    """A PKI engine with a maximum TTL of 90 days."""
    server.client.sys.enable_secrets_engine("pki", path, config={"max_lease_ttl": "2160h"})
    return path


@pytest.fixture
def roots(run: vault_server.Runner, mount: str) -> str:
    """A mount with two roots. The first one is the default issuer."""
    for name in ("one", "two"):
        run.ok("vault_pki_root", mount=mount, issuer_name=name, common_name=f"{name}.test", ttl="100h")
    return mount


@pytest.fixture
def kube() -> Iterator[SecretsStandIn]:
    """A stand-in for Kubernetes, with the namespace of cert-manager."""
    standin = SecretsStandIn("cert-manager")
    yield standin
    standin.stop()
