# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts fire for real causes in the mesh, and recover. Needs Prometheus, so `nox -s prometheus` runs this file.

Prometheus reads cert-manager and the identity controller through the API server, and report.prom of verify.yml.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support import alert_rules, prometheus_server
from support.lab import until
from support.mesh import Mesh

POLICY = "sys/policies/acl/linkerd-identity-issuer-{}"
SOURCE = ("configmap", "linkerd-trust-anchors", "-n", "linkerd-trust")
# The root of the lab is valid for 90 days, and the first alert begins two days earlier.
ALWAYS = ("MeshTrustAnchorExpires", "info")
SAMPLES = {"cert-manager": ("cert-manager", 9402), "linkerd": ("linkerd-identity", 9990)}


class Watched:
    """The mesh, its report, and the Prometheus that reads both."""

    def __init__(self, mesh: Mesh, report: prometheus_server.Report, prometheus: prometheus_server.Prometheus) -> None:
        self.mesh, self.report, self.prometheus = mesh, report, prometheus

    def verify(self) -> None:
        """Disagreements are expected, so the exit status is not checked."""
        folder = self.mesh.home / "report"
        self.mesh.play("playbooks/verify.yml", variables={"pki_report_dir": str(folder)})
        self.report.text = (folder / "report.prom").read_text()

    def fire(self, *alerts: tuple[str, str]) -> dict[tuple[str, str], str]:
        """Verify, and wait until exactly these alerts fire. Return their summaries."""
        self.verify()
        self.prometheus.wait(lambda: set(self.prometheus.firing()) == {ALWAYS, *alerts})
        return self.prometheus.firing()


@contextmanager
def api_server(mesh: Mesh) -> Iterator[str]:
    """Address of a `kubectl proxy`."""
    with subprocess.Popen(["kubectl", "proxy", "--port=0"], env=mesh.env, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout
        try:
            yield proxy.stdout.readline().rsplit(maxsplit=1)[-1]
        finally:
            proxy.terminate()


def pod_job(mesh: Mesh, address: str, namespace: str, name: str, port: int) -> dict:
    pods = mesh.get("pods", "-n", namespace)["items"]
    pod = next(one["metadata"]["name"] for one in pods if one["metadata"]["name"].startswith(f"{name}-"))
    return {
        "job_name": name,
        "metrics_path": f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics",
        "static_configs": [{"targets": [address], "labels": {"cluster": mesh.cluster}}],
    }


@pytest.fixture(scope="module")
def watched(expendable_mesh, tmp_path_factory) -> Iterator[Watched]:
    mesh = expendable_mesh
    mesh.ensure()
    report = prometheus_server.Report()
    with api_server(mesh) as address:
        jobs = [pod_job(mesh, address, namespace, *pod) for namespace, pod in SAMPLES.items()]
        folder, rules = tmp_path_factory.mktemp("prometheus"), alert_rules.rules()
        with prometheus_server.running(folder, rules, prometheus_server.report_job(report), *jobs) as prometheus:
            yield Watched(mesh, report, prometheus)
    report.server.shutdown()


@pytest.fixture(autouse=True)
def quiet(watched) -> None:
    """Nothing is wrong before each test, so what fires has its cause in the test."""
    watched.fire()


def test_an_edited_bundle(watched):
    mesh = watched.mesh
    bundle = "bundle.trust.cert-manager.io/linkerd-identity-trust-roots"
    before = json.dumps({"spec": {"sources": mesh.get(bundle)["spec"]["sources"]}})
    broken = json.dumps({"spec": {"sources": [{"configMap": {"name": "missing", "key": "ca-bundle.crt"}}]}})
    mesh.kubectl("patch", bundle, "--type=merge", f"--patch={broken}")
    until(lambda: mesh.get(bundle)["status"]["conditions"][0]["status"] == "False")
    found = watched.fire(("MeshBundleNotSynced", "warning"))
    assert mesh.cluster in found["MeshBundleNotSynced", "warning"]
    mesh.kubectl("patch", bundle, "--type=merge", f"--patch={before}")
    until(lambda: mesh.get(bundle)["status"]["conditions"][0]["status"] == "True")
    watched.fire()


def test_an_anchor_with_a_short_life(watched):
    mesh = watched.mesh
    short = mesh.home / "short.pem"
    mesh.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3",
        "-keyout", str(mesh.home / "short.key"), "-out", str(short), "-subj", "/CN=short",
    )  # fmt: skip
    before = mesh.get(*SOURCE)["data"]["ca-bundle.crt"]
    distribute(mesh, before + short.read_text())
    found = watched.fire(("MeshTrustAnchorExpires", "critical"), ("MeshVerificationFailed", "warning"))
    assert "CN=short" in found["MeshTrustAnchorExpires", "critical"]
    distribute(mesh, before)
    mesh.kubectl(
        "rollout", "restart", "deployment", "-n", "linkerd"
    )  # the report cannot see what the old pods have read
    mesh.kubectl("rollout", "status", "deployment", "-n", "linkerd", "--timeout=300s")
    watched.fire()


def distribute(mesh: Mesh, pem: str) -> None:
    mesh.kubectl("patch", *SOURCE, "--type=merge", f"--patch={json.dumps({'data': {'ca-bundle.crt': pem}})}")
    count = pem.count("BEGIN")
    until(lambda: mesh.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt").count("BEGIN") == count)


def test_a_vault_that_refuses_to_sign(watched):
    mesh = watched.mesh
    path, token = POLICY.format(mesh.cluster), mesh.root_token()
    policy = mesh.vault("GET", path, token=token)[1]["data"]["policy"]
    mesh.vault("PUT", path, {"policy": ""}, token=token)
    renewed = mesh.play("playbooks/renew_issuer.yml", variables={"linkerd_timeout": 20})
    assert renewed.rc != 0, renewed.output[-2000:]
    found = watched.fire(("MeshCertificateRequestRefused", "warning"))
    assert mesh.cluster in found["MeshCertificateRequestRefused", "warning"]
    mesh.vault("PUT", path, {"policy": policy}, token=token)
    renewed = mesh.play("playbooks/renew_issuer.yml")
    assert renewed.rc == 0, renewed.output[-2000:]
    watched.fire()


def test_a_vault_that_refuses_the_login(watched):
    mesh = watched.mesh
    path, token = f"auth/jwt-{mesh.cluster}/role/linkerd-identity-issuer-{mesh.cluster}", mesh.root_token()
    role = mesh.vault("GET", path, token=token)[1]["data"]
    mesh.vault("DELETE", path, token=token)
    read_again(mesh)
    found = watched.fire(("MeshCertManagerIssuerNotReady", "warning"))
    assert "vault" in found["MeshCertManagerIssuerNotReady", "warning"]
    mesh.vault("POST", path, {key: value for key, value in role.items() if value is not None}, token=token)
    read_again(mesh)
    watched.fire()


def read_again(mesh: Mesh) -> None:
    """cert-manager logs in when the issuer changes."""
    issuer = mesh.get("issuer.cert-manager.io", "vault", "-n", "linkerd")
    change = json.dumps({"spec": {"vault": {"server": issuer["spec"]["vault"]["server"].rstrip("/") + "/"}}})
    if issuer["spec"]["vault"]["server"].endswith("/"):
        change = json.dumps({"spec": {"vault": {"server": issuer["spec"]["vault"]["server"].rstrip("/")}}})
    mesh.kubectl("patch", "issuer.cert-manager.io", "vault", "-n", "linkerd", "--type=merge", f"--patch={change}")
