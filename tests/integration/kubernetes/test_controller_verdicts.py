# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Linkerd's real identity controller, started with issuers and trust anchors that the profile linkerd verifies too.

The controller reads its trust anchors from a fixed path, so it runs in its own mount namespace. It needs an API
server for its own permission, and no cluster.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from kubernetes_server import Kubernetes, built
from support.issuer_cases import CASES, ODDITIES, ROOT, Credential, issuer_of, key, make, now
from support.ports import free_port

from ansible_collections.servicemesh.pki.plugins.filter.x509 import chain_verdict
from lab import contents

ANCHORS = Path(
    "/run/linkerd/identity/trust-roots/ca-bundle.crt"
)  # MountPathTrustRootsPEM of linkerd2: pkg/k8s/labels.go
TIMEOUT = 60  # seconds until the controller has started or failed
# Parts of log lines of the controller.
STARTED, FAILED = "starting gRPC server", ("level=fatal", "level=panic")
NAMESPACES = ["unshare", "--map-root-user", "--mount"]
START = f"mount -t tmpfs tmpfs /run && mkdir -p {ANCHORS.parent} && cp $0 {ANCHORS} && exec $@"


@contextmanager
def output_of(command: list[str | Path], log: Path) -> Iterator[Callable[[], str]]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield log.read_text
    finally:
        process.kill()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def controller() -> Path:
    """The program of the lab, which is the one in its image."""
    if subprocess.run([*NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/run"], check=False).returncode:
        pytest.skip("platform: the kernel does not permit mount namespaces")
    return built(contents.LINKERD_PROGRAMS, "controller")


@pytest.fixture
def starts(controller: Path, kubernetes: Kubernetes, tmp_path: Path) -> Callable[[Credential, str], bool]:
    """Return a function that starts the controller, and returns whether it serves."""

    def run(issuer: Credential, anchors: str) -> bool:
        from support.lab import until

        (tmp_path / "tls.crt").write_text(issuer.pem)
        (tmp_path / "tls.key").write_bytes(issuer.key_pem)
        (tmp_path / "anchors").write_text(anchors, "utf-8")
        options = {
            "addr": f"127.0.0.1:{free_port()}",
            "admin-addr": f"127.0.0.1:{free_port()}",
            "kubeconfig": kubernetes.kubeconfig,
            "controller-namespace": "linkerd",
            "identity-trust-domain": "cluster.local",
            "identity-scheme": "kubernetes.io/tls",
            "issuer": tmp_path,
        }
        arguments = [f"-{name}={value}" for name, value in options.items()]
        command = [*NAMESPACES, "sh", "-c", START, tmp_path / "anchors", controller, "identity", *arguments]
        with output_of(command, tmp_path / "log") as output:
            until(lambda: any(mark in output() for mark in (STARTED, *FAILED)), TIMEOUT)
            return STARTED in output()

    return run


@pytest.mark.parametrize("name", CASES)
def test_controller_starts_unless_profile_refuses(name, starts):
    issuer, anchors, refused_by = CASES[name]
    verdict = chain_verdict(issuer.pem, anchors, profile="linkerd")
    assert set(verdict.refused_by) == refused_by
    assert starts(issuer, anchors) is ("identity controller" not in refused_by)


def test_issuer_that_cryptography_cannot_parse_is_refused(starts):
    """It has an empty list of extended key usages. The controller starts with it, the profile refuses it."""
    issuer = issuer_of(ROOT, **ODDITIES["usages empty"])
    verdict = chain_verdict(issuer.pem, ROOT.pem, profile="linkerd")
    # cryptography 42 parses it.
    assert {reason.code for reason in verdict.reasons} in ({"unreadable"}, {"extended_key_usage"})
    assert starts(issuer, ROOT.pem)


def test_expired_issuer_is_refused(starts):
    issuer = make("identity", ROOT, own_key=key("p256", 1), start=now - timedelta(days=2), end=now - timedelta(days=1))
    verdict = chain_verdict(issuer.pem, ROOT.pem, profile="linkerd")
    assert {reason.code for reason in verdict.reasons} == {"expired"}
    assert not starts(issuer, ROOT.pem)
