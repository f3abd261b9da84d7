# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server with cert-manager's kinds, and a forwarder to it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from forwarder_standin import Forwarder
from kubernetes_server import built

from lab import contents

KINDS = {"Certificate": "certificates", "CertificateRequest": "certificaterequests", "Issuer": "issuers"}


@pytest.fixture(scope="session")
def linkerd() -> Path:
    """Linkerd's CLI."""
    return built(contents.LINKERD_PROGRAMS, "linkerd")


@pytest.fixture(scope="session")
def kinds(kubernetes):
    """The API server with cert-manager's kinds, without their validation."""
    for kind, plural in KINDS.items():
        kubernetes.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd(kind, plural))
    deadline = time.monotonic() + 300
    for plural in KINDS.values():
        while True:
            try:
                kubernetes.call("GET", f"/apis/cert-manager.io/v1/namespaces/default/{plural}")
                break
            except OSError:
                assert time.monotonic() < deadline, f"the API server does not serve {plural}"
                time.sleep(0.1)
    return kubernetes


def crd(kind: str, plural: str) -> dict:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cert-manager.io"},
        "spec": {
            "group": "cert-manager.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}
                    },
                }
            ],
        },
    }


@pytest.fixture
def forwarder(kubernetes, tmp_path):
    between = Forwarder(kubernetes.url, kubernetes.kubeconfig, tmp_path)
    yield between
    between.close()
