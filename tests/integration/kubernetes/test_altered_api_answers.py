# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each Kubernetes module with answers of a real API server in which one part is replaced."""

from __future__ import annotations

import base64
import copy
import json
import urllib.error

import pytest
from altered_answers import ALTERATIONS
from ansible.module_utils.testing import patch_module_args
from breaking_proxy import BreakingProxy
from hypothesis import given, settings
from kubernetes_server import TOKEN

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import cluster
from ansible_collections.servicemesh.pki.plugins.modules import (
    k8s_condition,
    linkerd_certificates_info,
    linkerd_issuer_renewal,
    service_account_issuer_info,
)

NAMESPACE = "altered"
CERT_MANAGER = "/apis/cert-manager.io/v1/namespaces"
OBJECTS = [
    dict(kind="ConfigMap", name="kube-root-ca.crt", namespace="kube-system"),
    dict(kind="Certificate", api_version="cert-manager.io/v1", name="linkerd-identity-issuer", namespace=NAMESPACE),
]
MODULES = {
    "conditions": (k8s_condition, dict(objects=OBJECTS, timeout=0)),
    "admission": (
        k8s_condition,
        dict(
            accepts=[{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}}],
            timeout=0,
        ),
    ),
    "certificates": (linkerd_certificates_info, dict(linkerd_namespace=NAMESPACE)),
    "token issuer": (service_account_issuer_info, {}),
    "renewal": (linkerd_issuer_renewal, dict(linkerd_namespace=NAMESPACE, timeout=0, event_timeout=0)),
}


def put(api, path: str, body: dict) -> None:
    try:
        api.call("POST", path, body)
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 409


@pytest.fixture
def mesh(kinds):
    """The objects of a mesh in its namespace, with an invalid certificate."""
    kinds.namespace(NAMESPACE)
    core = f"/api/v1/namespaces/{NAMESPACE}"
    put(kinds, "/api/v1/namespaces/kube-system/configmaps", head("kube-root-ca.crt", data={"ca.crt": "x"}))
    put(kinds, f"{core}/configmaps", head("linkerd-identity-trust-roots", data={"ca-bundle.crt": "x"}))
    key = {"tls.crt": base64.b64encode(b"x").decode()}
    put(kinds, f"{core}/secrets", head("linkerd-identity-issuer", data=key))
    certificate = head("linkerd-identity-issuer", spec={"secretName": "linkerd-identity-issuer"})
    certificate |= {"apiVersion": "cert-manager.io/v1", "kind": "Certificate"}
    put(kinds, f"{CERT_MANAGER}/{NAMESPACE}/certificates", certificate)
    status = {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}], "revision": 1}
    kinds.status(f"{CERT_MANAGER}/{NAMESPACE}/certificates/linkerd-identity-issuer", status)
    return kinds


def head(name: str, **more) -> dict:
    return {"metadata": {"name": name}, **more}


@pytest.mark.parametrize("name", MODULES)
def test_module_returns_result_for_any_answer(mesh, capsys, monkeypatch, tmp_path, name):
    module, options = MODULES[name]
    proxy = BreakingProxy(mesh.url)
    monkeypatch.setattr(cluster, "RETRY_INTERVAL", 0)
    monkeypatch.setattr(cluster.Cluster, "wait_for_change", lambda *dummy: None)

    @settings(max_examples=settings().max_examples // 10)
    @given(ALTERATIONS)
    def attempt(alteration):
        for file in tmp_path.iterdir():
            if file.is_file():
                file.unlink()  # the API resources that kubernetes.core caches
        proxy.alter = copy.deepcopy(alteration)
        with patch_module_args({"host": proxy.url, "api_key": TOKEN, **options}), pytest.raises(SystemExit):
            module.main()
        result = json.loads(capsys.readouterr().out)
        if result.get("failed"):
            assert result["code"] and result["msg"].strip() and "Traceback" not in result["msg"]
        else:
            assert isinstance(result["changed"], bool)

    attempt()
    proxy.close()
