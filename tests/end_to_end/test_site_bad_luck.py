# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input and bad luck: one sentence that names the cause and what to do, and nothing changed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import contextmanager

import pytest
from support.lab import until

CHECK = "servicemesh.pki.k8s_condition"


def refuse(run, *parts: str) -> None:
    assert run.rc != 0, run.output[-2000:]
    assert run.changed == 0, run.output[-2000:]
    for part in parts:
        assert part in run.flat, f"{part!r} is not in: {run.flat[-3000:]}"


@pytest.fixture
def environment(mesh):
    return {**mesh.parts["environment"], "PATH": os.environ["PATH"]}


@pytest.mark.parametrize(
    ("tag", "program"), [("k3d_cluster", "k3d is not installed"), ("cert_manager", "Helm is not installed")]
)
def test_a_missing_program(mesh, environment, tag, program):
    run = mesh.play("playbooks/site.yml", "--tags", tag, variables={"pki_environment": environment})
    refuse(run, program, "in PATH. Install it")


def test_a_missing_linkerd(mesh):
    run = mesh.play("playbooks/site.yml", "--tags", "linkerd", variables={"linkerd_cli": "no-such-linkerd"})
    refuse(run, "no-such-linkerd")


@pytest.mark.parametrize("tag", ["k3d_cluster", "vault_dev"])
def test_docker_that_does_not_answer(mesh, environment, tag):
    environment["DOCKER_HOST"] = "unix:///nonexistent.sock"
    run = mesh.play("playbooks/site.yml", "--tags", tag, variables={"pki_environment": environment})
    refuse(run, "Docker does not answer", "Is Docker running, may this user use it")


def test_a_port_taken_by_a_process(mesh):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = mesh.play(
            "playbooks/site.yml", "--tags", "vault_dev", variables={"vault_dev_name": "another", "vault_dev_port": port}
        )
    refuse(run, f"Port {port} is taken by process", f"(pid {os.getpid()})", "set vault_dev_port")


def test_ports_taken_by_a_container(mesh):
    variables = {"k3d_cluster_name": "another", "k3d_cluster_kubeconfig": "/nonexistent"}
    run = mesh.play("playbooks/site.yml", "--tags", "k3d_cluster", variables=variables)
    balancer = f"is taken by container k3d-{mesh.cluster}-serverlb"
    refuse(run, f"Port {mesh.names.http_port} {balancer}", f"Port {mesh.names.https_port} {balancer}")


def test_a_network_with_another_driver(mesh):
    run = mesh.play("playbooks/site.yml", "--tags", "k3d_cluster", variables={"k3d_cluster_network": "host"})
    refuse(run, "The Docker network host exists with the driver host; a bridge is needed.")


def test_a_cluster_that_differs(mesh):
    ports = [{"port": "8081:80", "nodeFilters": ["loadbalancer"]}]
    run = mesh.play("playbooks/site.yml", "--tags", "k3d_cluster", variables={"k3d_cluster_ports": ports})
    refuse(run, f"Cluster {mesh.cluster} exists and differs: ports: wanted ['8081:80/tcp']", "recreate")


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://127.0.0.1:1", ""), ("", "does not accept the token")],
    ids=["unreachable", "wrong token"],
)
def test_a_vault_that_does_not_let_us_in(mesh, url, reason):
    address = url or mesh.vault_url
    connection = {"url": address, "token": "wrong"}
    run = mesh.play("playbooks/site.yml", "--tags", "vault_pki", variables={"pki_vault": connection})
    refuse(run, f"{address} {reason}".strip())


def test_a_mount_of_another_type(mesh):
    run = mesh.play("playbooks/site.yml", "--tags", "vault_pki", variables={"pki_vault_mount": "cubbyhole"})
    refuse(run, "cubbyhole", "pki")


def test_a_root_that_would_outlive_the_mount(mesh):
    variables = {"pki_root_issuer_name": "another", "vault_pki_root_ttl": "9000h"}
    run = mesh.play("playbooks/site.yml", "--tags", "vault_pki", variables=variables)
    refuse(run, "The mount pki issues for 90d at most, wanted is 375d.", "max_lease_ttl")


def test_a_root_that_differs(mesh):
    run = mesh.play(
        "playbooks/site.yml", "--tags", "vault_pki", variables={"vault_pki_root_common_name": "another.name"}
    )
    refuse(run, "another.name", "root.linkerd.cluster.local")


def test_a_cluster_that_cannot_be_reached(mesh, tmp_path):
    config = json.loads(mesh.kubectl("config", "view", "--raw", "-o", "json"))
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    run = mesh.play(
        "playbooks/site.yml",
        "--tags",
        "cert_manager",
        variables={"pki_kubernetes": {"kubeconfig": str(tmp_path / "kubeconfig")}},
    )
    refuse(run, "127.0.0.1:1", "Is the cluster running, and is this its kubeconfig?")


@pytest.mark.parametrize(
    ("role", "variable"),
    [
        ("cert_manager", "cert_manager_chart"),
        ("trust_manager", "trust_manager_chart"),
        ("linkerd", "linkerd_crds_chart"),
    ],
)
def test_a_chart_that_is_not_found(mesh, role, variable):
    run = mesh.play("playbooks/site.yml", "--tags", role, variables={variable: "/nonexistent/chart.tgz"})
    refuse(run, "Check", variable, "/nonexistent/chart.tgz")


def test_a_namespace_that_is_terminating(mesh, tmp_path):
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
        assert "The namespace ends is terminating" in run.flat
        assert "servicemesh.pki/held" in run.flat
    finally:  # the namespace goes with it
        mesh.kubectl(
            "patch", "configmap", "held", "-n", "ends", "--type=merge", "-p", '{"metadata": {"finalizers": null}}'
        )


def test_a_certificate_that_is_not_issued(mesh, tmp_path):
    issuer = json.loads(mesh.kubectl("get", "clusterissuer", "vault", "-o", "json"))
    spec = {"vault": {**issuer["spec"]["vault"], "path": "pki/no-such-path/sign"}}
    head = {"apiVersion": "cert-manager.io/v1"}
    meta = {"name": "not-issued", "namespace": "default"}
    wanted = {
        "secretName": "not-issued",
        "commonName": "a",
        "issuerRef": {"kind": "ClusterIssuer", "name": "not-issued"},
    }
    items = [
        {**head, "kind": "ClusterIssuer", "metadata": {"name": "not-issued"}, "spec": spec},
        {**head, "kind": "Certificate", "metadata": meta, "spec": wanted},
    ]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    mesh.kubectl("apply", "-f", "-", given=given)
    try:
        until(lambda: "permission denied" in str(mesh.get("certificaterequests", "-n", "default")))
        task = (
            f"- {CHECK}:\n    kubeconfig: '{{{{ pki_kubernetes.kubeconfig }}}}'\n    api_version: cert-manager.io/v1\n"
        )
        task += "    kind: Certificate\n    name: not-issued\n    namespace: default\n    timeout: 5\n"
        refuse(mesh.task(tmp_path, task), "CertificateRequest", "permission denied")
    finally:
        mesh.kubectl("delete", "-f", "-", given=given)


PROBE = """
- {check}:
    kubeconfig: '{{{{ pki_kubernetes.kubeconfig }}}}'
    timeout: {seconds}
    accepts:
      - {{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {{name: probe, namespace: default}}, spec: {spec}}}
"""


def test_what_a_webhook_accepts_is_not_stored(mesh, tmp_path):
    run = mesh.task(tmp_path, PROBE.format(check=CHECK, seconds=60, spec="{selfSigned: {}}"))
    assert (run.rc, run.changed) == (0, 0), run.output[-2000:]
    assert "probe" not in mesh.kubectl("get", "issuers", "-n", "default")


def test_what_a_webhook_refuses_is_told(mesh, tmp_path):
    run = mesh.task(tmp_path, PROBE.format(check=CHECK, seconds=5, spec="{}"))
    refuse(run, "Issuer default/probe is refused: 4", "at least one issuer must be configured")


def test_a_check_of_linkerd_that_fails(mesh):
    run = mesh.play("playbooks/verify.yml", variables={"linkerd_check_expected_version": "edge-99.1.1"})
    refuse(run, "the latest edge version is 99.1.1", "https://linkerd.io")


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: stuck\nversion: 1.0.0\n",
    "templates/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: stuck}\n"
    "spec: {containers: [{name: a, image: 'no.such.image.invalid/a:1'}]}\n",
}


@contextmanager
def killed(process):
    """A process that ends with the block, whatever happens in it."""
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_release_that_a_killed_helm_left_is_cleared(mesh, tmp_path):
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
    task = "- servicemesh.pki.helm_unfinished:\n    kubeconfig: '{{ pki_kubernetes.kubeconfig }}'\n"
    task += "    releases: [stuck]\n    namespace: default"
    assert mesh.task(tmp_path, task, "--check").changed == 1
    assert "stuck" in mesh.run("helm", "list", "-n", "default", "--all")
    assert mesh.task(tmp_path, task).changed == 1
    assert "stuck" not in mesh.run("helm", "list", "-n", "default", "--all")
    again = mesh.task(tmp_path, task)
    assert (again.rc, again.changed) == (0, 0)


def test_a_run_after_a_killed_upgrade_completes_it(mesh):
    """Helm refuses to touch such a release; the role clears it and tries again."""
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
