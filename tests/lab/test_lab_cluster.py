# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself, on a cluster of its own beside the demo's. Needs `python -m lab up`."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

NAME, NETWORK, VAULT = "lab-self-test", "lab-self-test-net", "lab-self-test-vault"
SERVER = f"k3d-{NAME}-server-0"
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """A cluster and a Vault, and programs run against them."""

    def __init__(self, folder: Path):
        root = os.environ.get("SERVICEMESH_PKI_CACHE") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "servicemesh-pki"
        )
        env_file = Path(root) / "lab" / "env.json"
        assert env_file.exists(), "the lab is not up; run `python -m lab up` first"
        self.told = json.loads(env_file.read_text())
        self.folder, self.http, self.vault = folder, free_port(), free_port()
        self.env = {**os.environ, **self.told["environment"], "KUBECONFIG": str(folder / "kubeconfig")}
        self.env["PATH"] = f"{self.told['path_prefix']}:{os.environ['PATH']}"

    def run(self, *command: str, given: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            command, env=self.env, input=given, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + ("" if check else done.stderr)

    def kubectl(self, *words: str, given: str | None = None) -> str:
        return self.run("kubectl", *words, given=given)

    def create(self) -> None:
        self.run("docker", "network", "create", NETWORK)
        self.run(
            "docker", "run", "--detach", "--name", VAULT, "--network", NETWORK, "--publish", f"{self.vault}:8200",
            "--cap-add", "IPC_LOCK", "--env", f"VAULT_DEV_ROOT_TOKEN_ID={TOKEN}",
            self.told["vault_image"], "server", "-dev",
        )  # fmt: skip
        self.run(
            "k3d", "cluster", "create", NAME, "--image", self.told["node_image"], "--network", NETWORK,
            "--port", f"{self.http}:80@loadbalancer", "--timeout", "60s",
            "--k3s-arg", "--disable=local-storage,traefik,metrics-server@server:*",
        )  # fmt: skip
        self.until(lambda: self.kubectl("get", "serviceaccount", "default"))
        self.kubectl("apply", "--filename=-", given=json.dumps(self.pod("web")))
        self.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")

    def remove(self) -> None:
        for command in (
            ["k3d", "cluster", "delete", NAME],
            ["docker", "rm", "--force", "--volumes", VAULT],
            ["docker", "network", "rm", NETWORK],
        ):
            self.run(*command, check=False)

    def pod(self, name: str) -> dict:
        pod = json.loads(json.dumps(POD))
        pod["metadata"]["name"] = name
        pod["spec"]["containers"][0]["image"] = self.told["test_app_image"]
        if name != "web":
            del pod["spec"]["containers"][0]["ports"]
        return pod

    def app(self, *words: str) -> str:
        return self.kubectl("exec", "web", "--", "/app", *words)

    def get(self, port: int, path: str = "/", **headers: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()

    @staticmethod
    def until(try_it, seconds: float = 30):
        end = time.monotonic() + seconds
        while True:
            try:
                return try_it()
            except (AssertionError, OSError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.remove()
    try:
        lab.create()
        yield lab
    finally:
        lab.remove()


def test_what_runs_has_the_versions_that_were_asked_for(lab):
    versions = lab.told["versions"]
    node = json.loads(lab.kubectl("get", "node", SERVER, "--output=json"))["status"]["nodeInfo"]
    assert node["kubeletVersion"] == versions["kubernetes"]
    assert node["containerRuntimeVersion"] == f"containerd://{versions['containerd'].removeprefix('v')}"
    assert json.loads(lab.kubectl("get", "--raw=/version"))["gitVersion"] == versions["kubernetes"]
    assert f"k3d version {versions['k3d']}\n" in lab.run("k3d", "version")
    assert lab.run("helm", "version", "--template={{.Version}}") == versions["helm"]
    assert lab.run("linkerd", "version", "--client", "--short").strip() == lab.told["linkerd_version"]
    assert json.loads(lab.get(lab.vault, "/v1/sys/health"))["version"] == versions["openbao"]


def test_node_has_every_image_that_the_charts_name(lab):
    wanted = set()
    for chart, values in {
        "cert_manager": {},
        "trust_manager": lab.told["trust_manager_values"],
        "linkerd_control_plane": lab.told["linkerd_values"]
        | {"identity": {"externalCA": True, "issuer": {"scheme": "kubernetes.io/tls"}}},
    }.items():
        text = lab.run("helm", "template", "x", lab.told["charts"][chart], "--values=-", given=json.dumps(values))
        wanted |= set(re.findall(r"^\s*(?:- )?image: \"?([^\"\s]+)\"?$", text, re.M))
    assert len(wanted) >= 8
    assert wanted <= set(lab.run("docker", "exec", SERVER, "ctr", "-n", "k8s.io", "images", "ls", "-q").split())


def test_charts_have_the_versions_that_upstream_publishes(lab):
    for name in ("cert-manager", "trust-manager"):
        chart = yaml.safe_load(lab.run("helm", "show", "chart", lab.told["charts"][name.replace("-", "_")]))
        assert chart["version"] == chart["appVersion"] == lab.told["versions"][name]


def test_port_of_the_machine_leads_through_the_balancer_to_a_pod(lab):
    assert lab.until(lambda: lab.get(lab.http)).startswith("web answers ")
    assert "start worker processes" in lab.run("docker", "logs", f"k3d-{NAME}-serverlb", check=False)


def test_pods_find_services_and_reach_vault(lab):
    assert "10.43.0.1" in lab.app("lookup", "kubernetes.default.svc.cluster.local")
    network = json.loads(lab.run("docker", "inspect", VAULT))[0]["NetworkSettings"]["Networks"][NETWORK]
    assert '"sealed":false' in lab.app("get", f"http://{network['IPAddress']}:8200/v1/sys/health")


def test_vault_has_the_token_from_the_environment_alone(lab):
    assert TOKEN in lab.get(lab.vault, "/v1/auth/token/lookup-self", **{"X-Vault-Token": TOKEN})
    assert TOKEN not in lab.run("docker", "top", VAULT, "-o", "pid,args")


def test_a_component_that_dies_comes_back(lab):
    before = lab.run("docker", "exec", SERVER, "pgrep", "--full", "^kube-scheduler")
    lab.run("docker", "exec", SERVER, "kill", "-9", before.strip())
    lab.until(lambda: lab.run("docker", "exec", SERVER, "pgrep", "--full", "^kube-scheduler") != before)
    lab.kubectl("apply", "--filename=-", given=json.dumps(lab.pod("later")))
    lab.kubectl("wait", "--for=condition=Ready", "pod/later", "--timeout=60s")


def test_every_component_has_its_log(lab):
    logs = lab.run("docker", "exec", SERVER, "ls", "/var/log/lab").split()
    assert {name.removesuffix(".log") for name in logs} == COMPONENTS


def test_cluster_survives_stop_and_start(lab):
    authority = lab.run("docker", "exec", SERVER, "cat", "/var/lib/rancher/k3s/server/tls/ca.crt")
    lab.kubectl("create", "configmap", "keep", "--from-literal=a=b")
    lab.run("k3d", "cluster", "stop", NAME)
    assert re.search("lab-node .* stopped\n", lab.run("docker", "logs", "--tail=20", SERVER, check=False))
    lab.run("k3d", "cluster", "start", NAME, "--timeout", "60s")
    assert lab.run("docker", "exec", SERVER, "cat", "/var/lib/rancher/k3s/server/tls/ca.crt") == authority
    assert (
        lab.kubectl("get", "configmap", "keep", "--output=jsonpath={.data.a}") == "b"
    )  # with the kubeconfig of before
    lab.kubectl("apply", "--filename=-", given=json.dumps(lab.pod("web")))
    lab.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    assert lab.until(lambda: lab.get(lab.http)).startswith("web answers ")


def test_containers_of_the_network_are_found_by_name_after_a_start(lab):
    def vault_by_name():
        assert '"sealed":false' in lab.app("get", f"http://{VAULT}:8200/v1/sys/health")

    lab.until(vault_by_name)


@pytest.mark.parametrize("words", [["agent"], ["server", "--server", "https://other:6443"]])
def test_node_says_what_it_cannot_do(lab, words):
    told = lab.run("docker", "run", "--rm", "--network=none", lab.told["node_image"], *words, check=False)
    assert "the lab's node image runs" in told
    assert "create the cluster with `" in told
