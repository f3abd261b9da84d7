# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts fire for real causes in the mesh, and recover. Needs Prometheus, so `nox -s prometheus` runs this file.

Prometheus has the rules and the scrape jobs that monitoring.yml creates, and report.prom of verify.yml. It reads the
pods through the API server. MeshIdentityIssuerNotLoaded and MeshIdentityControllerUnwatched are tested with promtool
only, because the lab's Linkerd is older than their metric issuer_cert_ttl_seconds, and nothing else exports it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from support import prometheus_server
from support.lab import until
from support.mesh import Mesh
from support.ports import free_port

from lab.prometheus import ADDRESS, created_by_role, kubectl_proxy, through
from lab.sandbox import ROOT

BUNDLE = "bundle.trust.cert-manager.io/linkerd-identity-trust-roots"
ISSUER = ("clusterissuer.cert-manager.io", "vault")
# The root of the lab is valid for 90 days, and the first alert begins two days earlier.
ALWAYS = ("MeshTrustAnchorExpires", "info")
CERTIFICATE = ("certificate.cert-manager.io", "linkerd-identity-issuer")
# The rules, with fewer seconds after which a renewal is overdue.
OVERDUE, SOON = re.compile(r"(renewal:timestamp_seconds (?:>|<=)) 600"), r"\1 5"
HOUR = 3600
# `python -m lab monitor` with a cluster, inventory, address and folder that are not those of `make demo`.
MONITOR = """
import signal, sys
from pathlib import Path
from lab import __main__, commands, prometheus

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a program in the background may ignore
commands.DEMO_CLUSTER, prometheus.INVENTORY, prometheus.ADDRESS, folder = sys.argv[1:]
prometheus.cache = lambda: Path(folder)
sys.argv[1:] = ["monitor"]
sys.exit(__main__.main())
"""


class Alerting(Mesh):
    """A mesh whose root permits an intermediate CA. A test adds a second cluster below the same Vault."""

    name = "alerts"

    def extra_variables(self) -> dict:
        return {"vault_pki_root_max_path_length": 2}

    @property
    def second(self) -> str:
        return f"{self.cluster}-2"

    def both(self) -> tuple[str, str]:
        """Options of a run that add the second cluster to the inventory."""
        path = self.home / "second.json"
        path.write_text(json.dumps({"all": {"children": {"clusters": {"hosts": {self.second: {}}}}}}))
        return ("-i", str(path))

    def remove(self) -> None:
        self.execute("k3d", "cluster", "delete", self.second)
        super().remove()


class Watched:
    """The mesh, its report, and the Prometheus that reads both."""

    def __init__(
        self, mesh: Alerting, report: prometheus_server.Report, prometheus: prometheus_server.Prometheus
    ) -> None:
        self.mesh, self.report, self.prometheus = mesh, report, prometheus

    def change_rules(self, **variables: float) -> None:
        """Run monitoring.yml with these variables, and let Prometheus read the rules."""
        rules, dummy = monitored(self.mesh, **variables)
        self.prometheus.load(rules)

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


def monitored(mesh: Mesh, **variables: float) -> tuple[dict, list[dict]]:
    """The rules and scrape jobs that monitoring.yml creates."""
    created = mesh.play("playbooks/monitoring.yml", variables=variables)
    assert created.rc == 0, created.output[-2000:]
    rules, jobs = created_by_role(mesh.env)
    assert len(OVERDUE.findall(rules)) == 2
    return yaml.safe_load(OVERDUE.sub(SOON, rules)), jobs


@pytest.fixture(scope="module")
def watched(unchanged_machine, tmp_path_factory) -> Iterator[Watched]:
    report, folder = prometheus_server.Report(), tmp_path_factory.mktemp("prometheus")
    with Alerting.sandbox() as mesh:
        created = mesh.play("playbooks/site.yml")
        assert created.rc == 0, created.output[-4000:]
        rules, pods = monitored(mesh)
        with kubectl_proxy(mesh.env) as address:
            jobs = [prometheus_server.report_job(report), *(job | through(address, job) for job in pods)]
            with prometheus_server.running(folder, rules, *jobs) as prometheus:
                yield Watched(mesh, report, prometheus)
    report.server.shutdown()


@pytest.fixture(autouse=True)
def quiet(watched) -> None:
    """Nothing is wrong before each test, so what fires has its cause in the test."""
    watched.fire()


def query(watched: Watched, expression: str) -> list[dict]:
    """The samples of an instant query, each with its labels and its value."""
    return watched.prometheus.get("query", query=expression)["result"]


def test_prometheus_reads_what_the_role_scrapes(watched):
    jobs = [f"servicemesh-pki-{name}" for name in ("cert-manager", "trust-manager", "linkerd-identity")]
    expected = dict.fromkeys([*jobs, "report"], "1")
    watched.prometheus.wait(lambda: {one["metric"]["job"]: one["value"][1] for one in query(watched, "up")} == expected)
    cluster = watched.mesh.cluster
    assert {one["metric"]["cluster"] for one in query(watched, 'up{job!="report"}')} == {cluster}
    for metric in (
        'controller_runtime_reconcile_errors_total{controller="bundles"}',
        "servicemesh_pki:identity_issuer_not_after:timestamp_seconds",
        "servicemesh_pki:identity_issuer_renewal:timestamp_seconds",
        'certmanager_clusterissuer_ready_status{name="vault", condition="True"}',
    ):
        assert [one["metric"]["cluster"] for one in query(watched, metric)] == [cluster], metric


def change(mesh: Mesh, sources: list[dict], synced: str, *cluster: str) -> None:
    """Change the sources of the Bundle, and wait until trust-manager has seen that."""
    mesh.kubectl("patch", BUNDLE, "--type=merge", f"--patch={json.dumps({'spec': {'sources': sources}})}", *cluster)
    until(lambda: mesh.get(BUNDLE, *cluster)["status"]["conditions"][0]["status"] == synced)


def test_an_edited_bundle(watched):
    mesh = watched.mesh
    before = mesh.get(BUNDLE)["spec"]["sources"]
    change(mesh, [{"configMap": {"name": "missing", "key": "ca-bundle.crt"}}], "False")
    found = watched.fire(("MeshBundleNotSynced", "warning"))
    assert mesh.cluster in found["MeshBundleNotSynced", "warning"]
    change(mesh, before, "True")
    watched.fire()


def root_ca(mesh: Mesh, name: str, days: int) -> str:
    """The certificate of a new root CA."""
    return mesh.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", str(days), "-subj", f"/CN={name}", "-keyout", "/dev/null",
    )  # fmt: skip


def test_an_anchor_that_expires_soon(watched):
    mesh = watched.mesh
    before = mesh.get(BUNDLE)["spec"]["sources"]
    change(mesh, [*before, {"inLine": root_ca(mesh, "short", 3)}], "True")
    until(lambda: anchors(mesh) == 2)
    found = watched.fire(("MeshTrustAnchorExpires", "critical"), ("MeshVerificationFailed", "warning"))
    assert "CN=short" in found["MeshTrustAnchorExpires", "critical"]
    change(mesh, before, "True")
    until(lambda: anchors(mesh) == 1)
    # What the old pods of the control plane have read, the report cannot see.
    mesh.kubectl("rollout", "restart", "deployment", "-n", "linkerd")
    for name in ("linkerd-identity", "linkerd-destination", "linkerd-proxy-injector"):
        mesh.kubectl("rollout", "status", "deployment", name, "-n", "linkerd", "--timeout=300s")
    watched.fire()


def anchors(mesh: Mesh, *cluster: str) -> int:
    found = mesh.get("configmap", "linkerd-identity-trust-roots", "-n", "linkerd", *cluster)
    return found["data"]["ca-bundle.crt"].count("BEGIN CERTIFICATE")


def token_of_cert_manager(mesh: Mesh) -> str:
    return base64.b64decode(mesh.data("secret", "vault-token", "token", "cert-manager")).decode()


def revoke(mesh: Mesh) -> None:
    token = token_of_cert_manager(mesh)
    assert mesh.vault("POST", "auth/token/revoke", {"token": token}, token=mesh.root_token())[0] == 204


def test_a_token_that_was_revoked(watched):
    mesh = watched.mesh
    revoke(mesh)
    renewed = mesh.play("playbooks/renew_issuer.yml", variables={"linkerd_timeout": 20})
    assert renewed.rc != 0, renewed.output[-2000:]
    found = watched.fire(("MeshCertificateRequestRefused", "warning"))
    assert mesh.cluster in found["MeshCertificateRequestRefused", "warning"]
    for playbook, *arguments in (("site", "--tags", "vault_issuer"), ("renew_issuer",)):
        done = mesh.play(f"playbooks/{playbook}.yml", *arguments)
        assert done.rc == 0, done.output[-2000:]
    watched.fire()


def test_a_vault_that_is_sealed_at_renewal(watched):
    mesh = watched.mesh
    [key] = re.findall(r"Unseal Key: (\S+)", mesh.run("docker", "logs", mesh.names.vault))
    assert mesh.vault("PUT", "sys/seal", {}, token=mesh.root_token())[0] == 204
    renewed = mesh.play("playbooks/renew_issuer.yml", variables={"linkerd_timeout": 20})
    assert renewed.rc != 0, renewed.output[-2000:]
    watched.verify()  # fails, because it cannot read the sealed Vault
    expected = {ALWAYS, ("MeshCertificateRequestRefused", "warning"), ("MeshVerificationFailed", "warning")}
    watched.prometheus.wait(lambda: set(watched.prometheus.firing()) == expected)
    assert mesh.vault("PUT", "sys/unseal", {"key": key})[1]["sealed"] is False
    done = mesh.play("playbooks/renew_issuer.yml")
    assert done.rc == 0, done.output[-2000:]
    watched.fire()


def test_a_token_that_expires_soon(watched):
    """The run of a schedule replaces it before that, and nothing else."""
    mesh = watched.mesh
    scheduled = ("playbooks/site.yml", "--tags", "vault_issuer")
    revoke(mesh)
    short = mesh.play(*scheduled, variables={"vault_issuer_token_ttl": "200h", "vault_issuer_minimum_ttl": "100h"})
    assert short.rc == 0, short.output[-2000:]
    found = watched.fire(("MeshVaultCredentialExpires", "warning"))
    assert mesh.cluster in found["MeshVaultCredentialExpires", "warning"]
    before = token_of_cert_manager(mesh)
    run = mesh.play(*scheduled)
    assert run.rc == 0 and token_of_cert_manager(mesh) != before, run.output[-2000:]
    read = mesh.vault("POST", "auth/token/lookup", {"token": token_of_cert_manager(mesh)}, token=mesh.root_token())
    assert read[1]["data"]["ttl"] > 384 * 3600
    again = mesh.play(*scheduled)
    assert (again.rc, again.changed) == (0, 0), again.output[-2000:]
    watched.fire()


def test_an_issuer_that_does_not_reach_vault(watched):
    mesh = watched.mesh
    server = mesh.get(*ISSUER)["spec"]["vault"]["server"]
    move(mesh, "http://127.0.0.1:1", ready="False")
    found = watched.fire(("MeshCertManagerIssuerNotReady", "warning"))
    assert "ClusterIssuer vault" in found["MeshCertManagerIssuerNotReady", "warning"]
    move(mesh, server, ready="True")
    watched.fire()


def move(mesh: Mesh, server: str, ready: str) -> None:
    """Change the address of Vault, and wait until cert-manager has tried it."""
    mesh.kubectl("patch", *ISSUER, "--type=merge", f"--patch={json.dumps({'spec': {'vault': {'server': server}}})}")
    until(lambda: mesh.get(*ISSUER)["status"]["conditions"][0]["status"] == ready)


def remaining(mesh: Mesh, name: str = "notAfter") -> float:
    """Seconds until a time in the status of the Certificate."""
    time = mesh.get(*CERTIFICATE, "-n", "linkerd")["status"][name]
    return (datetime.fromisoformat(time) - datetime.now(UTC)).total_seconds()


def test_an_identity_issuer_that_is_valid_for_a_few_hours(watched):
    """It is no alert until it is due, and cert-manager does not reach Vault."""
    mesh = watched.mesh
    server = mesh.get(*ISSUER)["spec"]["vault"]["server"]
    mesh_roles = ("playbooks/site.yml", "--tags", "vault_issuer,linkerd")
    short = {"linkerd_identity_duration": "6h", "linkerd_identity_renew_before": "1h"}
    done = mesh.play(*mesh_roles, variables=short)
    assert done.rc == 0, done.output[-2000:]
    until(lambda: remaining(mesh) < 7 * HOUR)
    watched.fire()
    move(mesh, "http://127.0.0.1:1", ready="False")
    renew_before(mesh, f"{int(remaining(mesh)) + 1}s")
    expires = ("MeshIdentityIssuerExpires", "critical")
    overdue = (("MeshIdentityIssuerNotRenewed", "warning"), ("MeshCertManagerIssuerNotReady", "warning"))
    assert mesh.cluster in watched.fire(expires, *overdue)[expires]
    move(mesh, server, ready="True")
    done = mesh.play(*mesh_roles)
    assert done.rc == 0, done.output[-2000:]
    until(lambda: remaining(mesh) > 24 * HOUR)
    watched.fire()


def create_intermediate(mesh: Mesh, folder: Path, name: str, ttl: str) -> str:
    """Create an intermediate CA below the root, and return the path at which it signs."""
    login = {"url": mesh.vault_url, "auth_method": "token", "token": mesh.root_token()}
    engine = {"path": "pki-int", "type": "pki", "max_lease_ttl": "2160h"}
    issuer = {
        "mount": engine["path"], "issuer_name": name, "common_name": name, "ttl": ttl, "max_path_length": 1,
        "parent_issuer": "linkerd-root-1",
    }  # fmt: skip
    tasks = [{"servicemesh.pki.vault_engine": {**login, **engine}},
             {"servicemesh.pki.vault_pki_intermediate": {**login, **issuer}}]  # fmt: skip
    created = mesh.task(folder, "\n".join(f"- {json.dumps(task)}" for task in tasks))
    assert created.rc == 0, created.output[-2000:]
    return f"{engine['path']}/issuer/{name}/sign-intermediate"


def test_an_intermediate_ca_that_expires_soon(watched, tmp_path):
    """It signs the identity issuer until the root does that again."""
    mesh = watched.mesh
    path = create_intermediate(mesh, tmp_path, "short-intermediate", "120h")
    for variables, alerts in (({"vault_issuer_path": path}, [("MeshIntermediateExpires", "critical")]), ({}, [])):
        for playbook, *arguments in (("site", "--tags", "vault_issuer"), ("renew_issuer",)):
            done = mesh.play(f"playbooks/{playbook}.yml", *arguments, variables=variables)
            assert done.rc == 0, done.output[-2000:]
        found = watched.fire(*alerts)
        assert all("CN=short-intermediate" in found[alert] for alert in alerts)


def renew_before(mesh: Mesh, duration: str) -> None:
    patch = json.dumps({"spec": {"renewBefore": duration}})
    mesh.kubectl("patch", *CERTIFICATE, "-n", "linkerd", "--type=merge", f"--patch={patch}")


def test_an_identity_issuer_that_is_not_renewed_when_due(watched):
    """It is due from now on, and cert-manager does not reach Vault."""
    mesh = watched.mesh
    server = mesh.get(*ISSUER)["spec"]["vault"]["server"]
    before = mesh.get(*CERTIFICATE, "-n", "linkerd")["spec"]["renewBefore"]
    move(mesh, "http://127.0.0.1:1", ready="False")
    renew_before(mesh, f"{int(remaining(mesh)) + 1}s")
    found = watched.fire(("MeshIdentityIssuerNotRenewed", "warning"), ("MeshCertManagerIssuerNotReady", "warning"))
    assert mesh.cluster in found["MeshIdentityIssuerNotRenewed", "warning"]
    renew_before(mesh, before)
    move(mesh, server, ready="True")
    until(lambda: remaining(mesh, "renewalTime") > 0)
    watched.fire()


def scale_cert_manager(mesh: Mesh, replicas: int) -> None:
    mesh.kubectl("scale", "deployment", "cert-manager", "-n", "cert-manager", f"--replicas={replicas}")


def test_metrics_that_vanish(watched):
    """cert-manager does not run, and the report is empty."""
    mesh = watched.mesh
    scale_cert_manager(mesh, 0)
    watched.report.text = "# EOF\n"
    expected = {("MeshIdentityIssuerUnwatched", "warning"), ("MeshTrustAnchorsUnwatched", "warning")}
    watched.prometheus.wait(lambda: set(watched.prometheus.firing()) == expected)
    assert mesh.cluster in watched.prometheus.firing()["MeshIdentityIssuerUnwatched", "warning"]
    scale_cert_manager(mesh, 1)
    # A new pod waits for the lease of the old one before it has metrics of Certificates.
    until(lambda: query(watched, "servicemesh_pki:identity_issuer_not_after:timestamp_seconds"))
    watched.fire()


def test_make_demo_with_monitoring(watched, tmp_path):
    """It shows what the guide does. The cause is that of the guide. A unit test reads the commands before this one."""
    mesh, address = watched.mesh, f"127.0.0.1:{free_port()}"
    guide = (ROOT / "docs/guides/monitoring.md").read_text()
    [first, pending] = re.findall(r"^lab: Prometheus listens .*|^  pending info .*", guide, re.M)
    command = [sys.executable, "-c", MONITOR, mesh.cluster, str(mesh.inventory), address, str(tmp_path)]
    output = tmp_path / "output"
    with output.open("w") as file:
        demo = subprocess.Popen(
            command, cwd=ROOT, env=mesh.playbook_env, stdout=file, stderr=file, start_new_session=True
        )
    try:
        until(lambda: first.replace(ADDRESS, address) in output.read_text())
        mesh.kubectl("delete", "secret", "-n", "cert-manager", "vault-token")
        until(lambda: "pending warning  MeshCertManagerIssuerNotReady: ClusterIssuer vault" in output.read_text())
        os.killpg(demo.pid, signal.SIGINT)  # as Ctrl-C
        assert demo.wait(timeout=60) == 0
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
        print(output.read_text())
    assert pending.replace("pki-cluster", mesh.cluster) in output.read_text()
    assert output.read_text().endswith("lab: Prometheus stopped. The mesh is still up.\n")
    restored = mesh.play("playbooks/site.yml", "--tags", "vault_issuer")
    assert restored.rc == 0, restored.output[-2000:]
    watched.fire()


def test_a_verification_that_does_not_run_any_more(watched):
    watched.change_rules(monitoring_verification_hours=0.01)  # 36 seconds
    watched.prometheus.wait(lambda: set(watched.prometheus.firing()) == {ALWAYS, ("MeshVerificationStale", "warning")})
    labels = [one["labels"] for one in watched.prometheus.get("alerts")["alerts"]]
    stale = [one for one in labels if one["alertname"] == "MeshVerificationStale"]
    assert {one.get("cluster") or one["vault"] for one in stale} == {watched.mesh.cluster, watched.mesh.vault_url}
    watched.fire()
    watched.change_rules()


def test_clusters_that_trust_different_anchors(watched, monkeypatch):
    """The Bundle of the second cluster has one more. The last test, because no later report would have the cluster."""
    mesh = watched.mesh
    monkeypatch.setattr(mesh, "options", mesh.both())
    created = mesh.play("playbooks/site.yml", "--limit", f"{mesh.names.vault},{mesh.second}")
    assert created.rc == 0, created.output[-4000:]
    watched.fire()
    second = f"--kubeconfig={mesh.kubeconfig_of(mesh.second)}"
    before = mesh.get(BUNDLE, second)["spec"]["sources"]
    change(mesh, [*before, {"inLine": root_ca(mesh, "another", 365)}], "True", second)
    until(lambda: anchors(mesh, second) == 2)
    # The verification also finds that the anchor is not in Vault, and that the pods started before it changed.
    failed = ("MeshVerificationFailed", "warning")
    found = watched.fire(("MeshTrustAnchorsDiffer", "critical"), failed)
    assert mesh.vault_url in found["MeshTrustAnchorsDiffer", "critical"]
    change(mesh, before, "True", second)
    until(lambda: anchors(mesh, second) == 1)
    watched.fire(failed)  # the pods were not restarted
