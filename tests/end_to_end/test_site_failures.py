# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of site.yml and verify.yml: the message names the cause and what to do, and nothing is changed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import contextmanager

import pytest
from support.lab import until

CHECK = "servicemesh.pki.k8s_condition"


def assert_failed(run, *parts: str) -> None:
    assert run.rc != 0, run.output[-2000:]
    assert run.changed == 0, run.output[-2000:]
    for part in parts:
        assert part in run.flat, f"{part!r} is not in: {run.flat[-3000:]}"


@pytest.fixture
def environment_without_tools(mesh):
    return {**mesh.parts["environment"], "PATH": os.environ["PATH"]}


# With this kubeconfig the cluster counts as one that the run creates, so the preflight checks leave it out.
NO_CLUSTER = {"pki_kubernetes": {"kubeconfig": "/nonexistent"}}


@pytest.mark.parametrize(
    ("tag", "named", "variables"), [("k3d_cluster", "k3d_path", NO_CLUSTER), ("cert_manager", "[helm_missing]", {})]
)
def test_missing_program(mesh, environment_without_tools, tag, named, variables):
    variables = {**variables, "pki_environment": environment_without_tools}
    run = mesh.play("playbooks/site.yml", "--tags", tag, variables=variables)
    assert_failed(run, named, "PATH")


def test_missing_linkerd_cli(mesh):
    run = mesh.play("playbooks/site.yml", "--tags", "linkerd", variables={"linkerd_cli": "no-such-linkerd"})
    assert_failed(run, "[linkerd_cli_missing]", "no-such-linkerd")


@pytest.mark.parametrize("tag", ["k3d_cluster", "vault_dev"])
def test_docker_does_not_respond(mesh, environment_without_tools, tag):
    environment_without_tools["DOCKER_HOST"] = "unix:///nonexistent.sock"
    run = mesh.play("playbooks/site.yml", "--tags", tag, variables={"pki_environment": environment_without_tools})
    assert_failed(run, "Docker", "DOCKER_HOST", "docker info")


def test_port_used_by_process(mesh):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        variables = {**NO_CLUSTER, "vault_dev_name": "another", "vault_dev_port": port}
        run = mesh.play("playbooks/site.yml", "--tags", "vault_dev", variables=variables)
    assert_failed(run, f"Port {port}", f"pid {os.getpid()}", "vault_dev_port")


def test_ports_used_by_container(mesh):
    variables = {"k3d_cluster_name": "another", "k3d_cluster_kubeconfig": "/nonexistent"}
    run = mesh.play("playbooks/site.yml", "--tags", "k3d_cluster", variables=variables)
    ports = [f"Port {port}" for port in (mesh.names.http_port, mesh.names.https_port)]
    assert_failed(run, *ports, f"container k3d-{mesh.cluster}-serverlb")


def test_network_with_other_driver(mesh):
    run = mesh.play("playbooks/site.yml", "--tags", "k3d_cluster", variables={"k3d_cluster_network": "host"})
    assert_failed(run, "network host", "driver host", "bridge")


def test_cluster_with_other_ports(mesh):
    ports = [{"port": "8081:80", "nodeFilters": ["loadbalancer"]}]
    run = mesh.play("playbooks/site.yml", "--tags", "k3d_cluster", variables={"k3d_cluster_ports": ports})
    assert_failed(run, f"Cluster {mesh.cluster}", "['8081:80/tcp']", "recreate")


@pytest.mark.parametrize(
    ("url", "reason"), [("http://127.0.0.1:1", ""), ("", "token")], ids=["unreachable", "wrong token"]
)
def test_unusable_vault_connection(mesh, url, reason):
    address = url or mesh.vault_url
    connection = {"url": address, "token": "wrong"}
    run = mesh.play("playbooks/site.yml", "--tags", "vault_pki", variables={"pki_vault": connection})
    assert_failed(run, address, reason)


def test_mount_of_other_type(mesh):
    run = mesh.play("playbooks/site.yml", "--tags", "vault_pki", variables={"pki_vault_mount": "cubbyhole"})
    assert_failed(run, "cubbyhole", "pki")


def test_root_ttl_longer_than_max_lease_ttl(mesh):
    variables = {
        "pki_root_issuer_name": "another", "vault_pki_root_ttl": "9000h", "vault_pki_previous_root": "linkerd-root-1",
        "vault_issuer_path": "pki/issuer/linkerd-root-1/sign-intermediate",
    }  # fmt: skip
    run = mesh.play("playbooks/site.yml", "--tags", "vault_pki", variables=variables)
    assert_failed(run, "mount pki", "90d", "375d", "max_lease_ttl")


def test_root_with_other_common_name(mesh):
    run = mesh.play(
        "playbooks/site.yml", "--tags", "vault_pki", variables={"vault_pki_root_common_name": "another.name"}
    )
    assert_failed(run, "another.name", "root.linkerd.cluster.local")


def test_unreachable_cluster(mesh, tmp_path):
    config = json.loads(mesh.kubectl("config", "view", "--raw", "-o", "json"))
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    run = mesh.play(
        "playbooks/site.yml",
        "--tags",
        "cert_manager",
        variables={"pki_kubernetes": {"kubeconfig": str(tmp_path / "kubeconfig")}},
    )
    assert_failed(run, "[cluster_unreachable]", mesh.cluster, "kubeconfig")


@pytest.mark.parametrize(
    ("role", "variable"),
    [
        ("cert_manager", "cert_manager_chart"),
        ("trust_manager", "trust_manager_chart"),
        ("linkerd", "linkerd_crds_chart"),
    ],
)
def test_chart_not_found(mesh, role, variable):
    run = mesh.play("playbooks/site.yml", "--tags", role, variables={variable: "/nonexistent/chart.tgz"})
    assert_failed(run, "Check", variable, "/nonexistent/chart.tgz")


def test_terminating_namespace(mesh, tmp_path):
    held = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "finalizers": ["servicemesh.pki/held"]},
    }
    mesh.kubectl("create", "namespace", "ends")
    mesh.kubectl("apply", "-n", "ends", "-f", "-", given=json.dumps(held))
    mesh.kubectl("delete", "namespace", "ends", "--wait=false")
    try:
        until(lambda: "servicemesh.pki/held" in str(mesh.get("namespace", "ends")["status"].get("conditions")))
        role = "- ansible.builtin.include_role: {name: servicemesh.pki.linkerd, tasks_from: namespace}\n"
        variables = "  vars: {linkerd_namespace: ends, linkerd_kubernetes: '{{ pki_kubernetes }}'}"
        run = mesh.task(tmp_path, role + variables)
        assert run.rc != 0
        assert "namespace ends" in run.flat
        assert "servicemesh.pki/held" in run.flat
    finally:  # without the finalizer, the namespace is removed
        mesh.kubectl(
            "patch", "configmap", "held", "-n", "ends", "--type=merge", "-p", '{"metadata": {"finalizers": null}}'
        )


def test_certificate_that_vault_does_not_sign(mesh, tmp_path):
    issuer = json.loads(mesh.kubectl("get", "clusterissuer", "vault", "-o", "json"))
    spec = {"vault": {**issuer["spec"]["vault"], "path": "pki/no-such-path/sign"}}
    head = {"apiVersion": "cert-manager.io/v1"}
    meta = {"name": "not-issued", "namespace": "default"}
    spec_of_certificate = {
        "secretName": "not-issued",
        "commonName": "a",
        "issuerRef": {"kind": "ClusterIssuer", "name": "not-issued"},
    }
    items = [
        {**head, "kind": "ClusterIssuer", "metadata": {"name": "not-issued"}, "spec": spec},
        {**head, "kind": "Certificate", "metadata": meta, "spec": spec_of_certificate},
    ]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    mesh.kubectl("apply", "-f", "-", given=given)
    try:
        until(lambda: "permission denied" in str(mesh.get("certificaterequests", "-n", "default")))
        task = (
            f"- {CHECK}:\n    kubeconfig: '{{{{ pki_kubernetes.kubeconfig }}}}'\n    api_version: cert-manager.io/v1\n"
        )
        task += "    kind: Certificate\n    name: not-issued\n    namespace: default\n    timeout: 5\n"
        assert_failed(mesh.task(tmp_path, task), "CertificateRequest", "permission denied")
    finally:
        mesh.kubectl("delete", "-f", "-", given=given)


PROBE = """
- {check}:
    kubeconfig: '{{{{ pki_kubernetes.kubeconfig }}}}'
    timeout: {seconds}
    accepts:
      - {{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {{name: probe, namespace: default}}, spec: {spec}}}
"""


def test_object_accepted_by_webhook_is_not_stored(mesh, tmp_path):
    run = mesh.task(tmp_path, PROBE.format(check=CHECK, seconds=60, spec="{selfSigned: {}}"))
    assert (run.rc, run.changed) == (0, 0), run.output[-2000:]
    assert "probe" not in mesh.kubectl("get", "issuers", "-n", "default")


def test_object_rejected_by_webhook(mesh, tmp_path):
    run = mesh.task(tmp_path, PROBE.format(check=CHECK, seconds=5, spec="{}"))
    assert_failed(run, "Issuer default/probe", "at least one issuer must be configured")


def test_failing_linkerd_check(mesh):
    run = mesh.play("playbooks/verify.yml", variables={"linkerd_check_expected_version": "edge-99.1.1"})
    assert_failed(run, "the latest edge version is 99.1.1", "https://linkerd.io")  # by the CLI


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: stuck\nversion: 1.0.0\n",
    "templates/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: stuck}\n"
    "spec: {containers: [{name: a, image: 'no.such.image.invalid/a:1'}]}\n",
}


@contextmanager
def killed(process):
    """Kill the process at the end of the block, also after an exception."""
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_pending_installation_of_killed_helm_is_cleared(mesh, tmp_path):
    """The release is rolled back to its only revision, so that what it created stays, and Helm can upgrade it."""
    (tmp_path / "chart" / "templates").mkdir(parents=True)
    for name, content in CHART.items():
        (tmp_path / "chart" / name).write_text(content)
    helm = subprocess.Popen(
        ["helm", "install", "stuck", str(tmp_path / "chart"), "-n", "default", "--wait"],
        env=mesh.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with killed(helm):
        until(lambda: "pending-install" in mesh.run("helm", "list", "-n", "default", "--pending"))
    task = "- servicemesh.pki.helm_pending_release:\n    kubeconfig: '{{ pki_kubernetes.kubeconfig }}'\n"
    task += "    releases: [stuck]\n    namespace: default\n"
    young = mesh.task(tmp_path, task)
    assert_failed(young, "stuck", "pending-install")
    assert release(mesh) == ("1", "pending-install")
    task += "    grace: 0"
    assert mesh.task(tmp_path, task, "--check").changed == 1
    assert release(mesh) == ("1", "pending-install")
    assert mesh.task(tmp_path, task).changed == 1
    assert release(mesh) == ("2", "deployed")
    again = mesh.task(tmp_path, task)
    assert (again.rc, again.changed) == (0, 0)
    mesh.run("helm", "uninstall", "stuck", "-n", "default")


def release(mesh):
    """Revision and status of the only release in the namespace default, as Helm shows them."""
    [found] = json.loads(mesh.run("helm", "list", "-n", "default", "--all", "--output", "json"))
    return found["revision"], found["status"]


def test_run_after_killed_upgrade_completes_it(mesh):
    """Helm does not change a release in the state pending-upgrade. The role removes that state and tries again."""
    chart = mesh.parts["charts"]["trust_manager"]
    command = ["helm", "upgrade", "trust-manager", chart, "-n", "cert-manager", "--reuse-values", "--wait"]
    helm = subprocess.Popen(
        [*command, "--set-string", "image.tag=none"],
        env=mesh.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with killed(helm):
        until(lambda: "pending-upgrade" in mesh.run("helm", "list", "-n", "cert-manager", "--pending"))
    assert "trust-manager" in mesh.run("helm", "list", "-n", "cert-manager", "--pending")
    run = mesh.play("playbooks/site.yml", "--tags", "trust_manager")
    assert run.rc == 0, run.output[-3000:]
    assert "trust-manager" not in mesh.run("helm", "list", "-n", "cert-manager", "--pending")
    assert "none" not in mesh.run("helm", "get", "values", "trust-manager", "-n", "cert-manager")
    again = mesh.play("playbooks/site.yml", "--tags", "trust_manager")
    assert (again.rc, again.changed) == (0, 0), again.output[-3000:]
