# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates that proxies present, as verify.yml reports them, compared with `linkerd identity` and openssl.

The proxies are the stand-ins of the lab. The identity controller, the API server and the kubelet are real.
"""

from __future__ import annotations

import base64
import json
import re

import pytest

APP = "leaves-test"


@pytest.fixture(scope="module")
def workload(mesh):
    """Two meshed pods."""
    annotations = {"linkerd.io/inject": "enabled"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": APP, "annotations": annotations}}
    container = {"name": "app", "image": mesh.parts["test_app_image"], "imagePullPolicy": "IfNotPresent"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": APP}}
    items = [namespace, {**deployment, "spec": spec}]
    mesh.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    mesh.kubectl("rollout", "status", "deployment", "web", "-n", APP, "--timeout=300s")
    yield
    mesh.kubectl("delete", "namespace", APP)


@pytest.fixture
def verify(mesh, tmp_path):
    def run(**variables) -> dict:
        done = mesh.play("playbooks/verify.yml", variables={"pki_report_dir": str(tmp_path), **variables})
        assert done.rc == 0, done.output[-3000:]
        return json.loads((tmp_path / "report.json").read_text())["clusters"][0]

    return run


def meshed_pods(mesh) -> set[str]:
    found = mesh.get("pods", "-A", "-l", "linkerd.io/control-plane-ns")["items"]
    return {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in found}


def fingerprint(mesh, pem: str) -> str:
    shown = mesh.run("openssl", "x509", "-noout", "-fingerprint", "-sha256", given=pem)
    return shown.split("=")[1].strip().replace(":", "").lower()


def test_report_groups_meshed_pods_by_issuer_and_root(mesh, workload, verify):
    cluster = verify()
    [group] = cluster["certified"]["groups"]
    issuer = base64.b64decode(mesh.data("secret", "linkerd-identity-issuer", "tls.crt")).decode()
    anchor = mesh.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt")
    assert group["issuer"]["fingerprint_sha256"] == fingerprint(mesh, issuer)
    assert group["root"]["fingerprint_sha256"] == fingerprint(mesh, anchor)
    assert set(group["pods"]) == meshed_pods(mesh)
    assert len([pod for pod in group["pods"] if pod.startswith("linkerd/")]) == 3
    assert group["trusted"] and cluster["leaves_missing"] == []


def test_certificates_match_linkerd_identity(mesh, workload, verify):
    """The output of this version of the CLI ends with the signature of the certificate."""
    leaves = [leaf for group in verify()["leaves"] for leaf in group["leaves"]]
    assert leaves
    for leaf in leaves:
        namespace, name = leaf["pod"].split("/")
        shown = mesh.run("linkerd", "identity", "-n", namespace, name)
        signature = re.sub(r"[^0-9a-f]", "", shown.rpartition("SHA256")[2])
        body = "".join(leaf["certificate"].splitlines()[1:-1])
        assert len(signature) > 100 and base64.b64decode(body).hex().endswith(signature), shown[:3000]
        assert f"DNS:{leaf['identity']}" in shown


def test_starting_and_terminating_pods_are_not_reported(mesh, workload, verify):
    mesh.kubectl("rollout", "restart", "deployment", "web", "-n", APP)
    cluster = verify()
    assert cluster["certified"]["without"] == cluster["certified"]["unreadable"] == []
    mesh.kubectl("rollout", "status", "deployment", "web", "-n", APP, "--timeout=300s")


def test_pki_verify_leaves_false_reads_no_certificates(verify, workload):
    assert verify(pki_verify_leaves=False)["certified"] is None
