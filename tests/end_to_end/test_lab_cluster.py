# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs and images of the lab, in a cluster that k3d creates without the collection."""

from __future__ import annotations

import copy
import json
import re

import pytest
import yaml
from support.lab import CREATION_TIMEOUT, Lab, http, until

AUTHORITY = "/var/lib/rancher/k3s/server/tls/ca.crt"
TOKEN = "a-token-only-for-this-test"
COMPONENTS = {
    "containerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "app", "ports": [{"containerPort": 8080, "hostPort": 80}]}]},
}


class SelfTest(Lab):
    """A cluster and a Vault that k3d and docker create."""

    name = "lab"

    def create(self) -> None:
        network = self.names.network
        self.run("docker", "network", "create", network)
        self.run(
            "docker", "run", "--detach", "--name", self.names.vault, "--network", network, "--cap-add", "IPC_LOCK",
            "--publish", f"{self.names.vault_port}:8200", "--env", f"VAULT_DEV_ROOT_TOKEN_ID={TOKEN}",
            self.parts["vault_image"], "server", "-dev",
        )  # fmt: skip
        self.kubeconfig.parent.mkdir(parents=True)
        self.run(
            "k3d", "cluster", "create", self.cluster, "--image", self.parts["node_image"], "--network", network,
            "--port", f"{self.names.http_port}:80@loadbalancer", CREATION_TIMEOUT,
            "--k3s-arg", "--disable=local-storage,traefik,metrics-server@server:*",
        )  # fmt: skip
        until(lambda: self.get("serviceaccount", "default"))
        self.start_pod("web")

    def start_pod(self, name: str) -> None:
        pod = copy.deepcopy(POD)
        pod["metadata"]["name"] = name
        pod["spec"]["containers"][0]["image"] = self.parts["test_app_image"]
        if name != "web":
            del pod["spec"]["containers"][0]["ports"]
        self.kubectl("apply", "--filename=-", given=json.dumps(pod))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", CREATION_TIMEOUT)

    def app(self, *arguments: str) -> str:
        return self.kubectl("exec", "web", "--", "/app", *arguments)

    def node(self, *command: str) -> str:
        return self.run("docker", "exec", self.server, *command)

    def response(self) -> str:
        """The response of the pod through the published port."""
        status, body = http(f"http://127.0.0.1:{self.names.http_port}/")
        assert status == 200, body
        return body

    def vault(self, path: str, token: str = "") -> str:
        return http(f"http://127.0.0.1:{self.names.vault_port}/v1/{path}", token=token)[1]

    def logs(self, container: str, *options: str) -> str:
        done = self.execute("docker", "logs", *options, container)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def lab():
    with SelfTest.sandbox() as lab:
        lab.create()
        yield lab


def test_programs_have_pinned_versions(lab):
    versions = lab.parts["versions"]
    node = lab.get("node", lab.server)["status"]["nodeInfo"]
    assert node["kubeletVersion"] == versions["kubernetes"]
    assert node["containerRuntimeVersion"] == f"containerd://{versions['containerd'].removeprefix('v')}"
    assert json.loads(lab.kubectl("get", "--raw=/version"))["gitVersion"] == versions["kubernetes"]
    assert f"k3d version {versions['k3d']}\n" in lab.run("k3d", "version")
    assert lab.run("helm", "version", "--template={{.Version}}") == versions["helm"]
    assert lab.run("linkerd", "version", "--client", "--short").strip() == lab.parts["linkerd_version"]
    assert json.loads(lab.vault("sys/health"))["version"] == versions["openbao"]


def test_node_has_every_image_of_charts(lab):
    required = set()
    for chart, values in {
        "cert_manager": {},
        "trust_manager": lab.parts["trust_manager_values"],
        "linkerd_control_plane": lab.parts["linkerd_values"]
        | {"identity": {"externalCA": True, "issuer": {"scheme": "kubernetes.io/tls"}}},
    }.items():
        text = lab.run("helm", "template", "x", lab.parts["charts"][chart], "--values=-", given=json.dumps(values))
        required |= set(re.findall(r"^\s*(?:- )?image: \"?([^\"\s]+)\"?$", text, re.M))
    assert len(required) >= 8
    assert required <= set(lab.node("ctr", "-n", "k8s.io", "images", "ls", "-q").split())


def test_charts_have_versions_of_upstream(lab):
    for name in ("cert-manager", "trust-manager"):
        chart = yaml.safe_load(lab.run("helm", "show", "chart", lab.parts["charts"][name.replace("-", "_")]))
        assert chart["version"] == chart["appVersion"] == lab.parts["versions"][name]


def test_published_port_leads_through_load_balancer_to_pod(lab):
    assert until(lab.response).startswith("web answers ")
    assert "start worker processes" in lab.logs(f"k3d-{lab.cluster}-serverlb")


def test_pods_resolve_services_and_reach_vault(lab):
    # An error contains the address of the DNS server, which begins with 10.43.0.1.
    assert "[10.43.0.1]" in lab.app("lookup", "kubernetes.default.svc.cluster.local")
    network = lab.container()["NetworkSettings"]["Networks"][lab.names.network]
    assert '"sealed":false' in lab.app("get", f"http://{network['IPAddress']}:8200/v1/sys/health")


def test_vault_reads_token_from_environment_only(lab):
    assert TOKEN in lab.vault("auth/token/lookup-self", TOKEN)
    assert TOKEN not in lab.run("docker", "top", lab.names.vault, "-o", "pid,args")


def test_killed_component_is_restarted(lab):
    before = lab.node("pgrep", "--full", "^kube-scheduler")
    lab.node("kill", "-9", before.strip())
    until(lambda: lab.node("pgrep", "--full", "^kube-scheduler") != before)
    lab.start_pod("later")


def test_every_component_has_a_log_file(lab):
    logs = lab.node("ls", "/var/log/lab").split()
    assert {name.removesuffix(".log") for name in logs} == COMPONENTS


@pytest.fixture(scope="module")
def restarted(lab):
    """The lab after its cluster was stopped and started, with the previous CA and the log of the stop."""
    lab.authority = lab.node("cat", AUTHORITY)
    lab.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    lab.run("k3d", "cluster", "stop", lab.cluster)
    lab.stop_log = lab.logs(lab.server, "--tail=20")
    lab.run("k3d", "cluster", "start", lab.cluster, CREATION_TIMEOUT)
    lab.start_pod("web")
    return lab


def test_cluster_state_survives_stop_and_start(restarted):
    assert re.search("lab-node .* stopped\n", restarted.stop_log)
    assert restarted.node("cat", AUTHORITY) == restarted.authority
    assert restarted.data("configmap", "kept", "a", "default") == "b"  # the kubeconfig is still valid
    assert until(restarted.response).startswith("web answers ")


def test_containers_of_network_resolve_by_name_after_start(restarted):
    address = f"http://{restarted.names.vault}:8200/v1/sys/health"
    assert until(lambda: '"sealed":false' in restarted.app("get", address))


def test_node_logs_ignored_arguments(lab):
    logs = lab.execute("docker", "logs", lab.server)
    for part in ("local-storage", "traefik", "metrics-server"):
        assert f"--disable={part}" in logs.stdout + logs.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["agent"], "agents: 0"),
        (["server", "--server", "https://other:6443"], "servers: 1"),
        (["server", "--flannel-backend=none"], "--tls-san"),
    ],
)
def test_node_rejects_unsupported_arguments(lab, arguments, expected):
    failed = lab.execute("docker", "run", "--rm", "--network=none", lab.parts["node_image"], *arguments)
    assert failed.returncode != 0
    assert expected in failed.stdout + failed.stderr
