# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module for Kubernetes with a cluster by host, token and CA, as the automation platform gives it.

The default kubeconfig names another server, which counts who connects to it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import threading

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from kubernetes_server import TOKEN, built

from lab import contents

PACKAGE = "ansible_collections.servicemesh.pki.plugins.modules"
# For each module its own options, and what shows that it has read the right cluster.
MODULES = {
    "k8s_condition": (
        dict(kind="ConfigMap", name="of-this-cluster", namespace="default", timeout=0),
        lambda found: found["objects"][0]["fulfilled"],
    ),
    "service_account_issuer_info": ({}, lambda found: found["issuer"] == "https://test"),
    "linkerd_certificates_info": (
        dict(linkerd_namespace="default"),
        lambda found: found["anchors"]["problem"] == "does not exist",
    ),
    "linkerd_issuer_renewal": (dict(linkerd_namespace="default"), lambda found: "Certificate default/" in found["msg"]),
    "linkerd_check": (
        dict(linkerd_namespace="default", expected_version="edge-1.1.1", wait=1),
        lambda found: found["categories"]["kubernetes-api"] == {"success": 2, "warning": 0, "error": 0},
    ),
    "linkerd_upgrade_manifest": (
        dict(linkerd_namespace="default"),
        lambda found: found["code"] == "upgrade_refused" and "missing authorizationpolicies" in found["msg"],
    ),
    "helm_pending_release": (
        dict(releases=["stuck"], namespace="default"),
        lambda found: found["pending"][0]["age"] < 600,
    ),
}
WAYS = ("options", "variables", "options and variables", "without verification")


class OtherServer:
    """A port that accepts connections, counts them and never answers."""

    def __init__(self) -> None:
        self.connections = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.socket.accept()[0].close()
                self.connections += 1


@pytest.fixture
def other(tmp_path, monkeypatch):
    """The cluster of the default kubeconfig."""
    server = OtherServer()
    address = f"https://127.0.0.1:{server.socket.getsockname()[1]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "other",
        "clusters": [{"name": "c", "cluster": {"server": address, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"token": "of-the-other-cluster"}}],
        "contexts": [{"name": "other", "context": {"cluster": "c", "user": "u"}}],
    }
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(yaml.safe_dump(config))
    for name in [one for one in os.environ if one.startswith(("K8S_AUTH_", "KUBE", "HELM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HELM_KUBEAPISERVER", address)
    monkeypatch.setenv("HELM_KUBETOKEN", "of-the-other-cluster")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", f"{tmp_path}/.kube/config")
    yield server
    server.socket.close()


@pytest.fixture(scope="module")
def cluster(kinds):
    """The API server with what the modules look for."""
    for namespace, name, data in (
        ("default", "of-this-cluster", {}),
        ("kube-system", "kube-root-ca.crt", {"ca.crt": "the CA"}),
    ):
        path = f"/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager=test&force=true"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        kinds.call("PATCH", path, body, "application/apply-patch+yaml")
    with stuck_release(kinds):
        yield kinds
    for path in ("default/configmaps/of-this-cluster", "kube-system/configmaps/kube-root-ca.crt"):
        kinds.call("DELETE", f"/api/v1/namespaces/{path}")


@contextlib.contextmanager
def stuck_release(api):
    """A release that the real Helm began to install and could not finish, because it was killed."""
    helm = built(contents.HELM, "helm")
    folder = api.kubeconfig.parent / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: stuck\nversion: 1.0.0\n")
    pod = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stuck}\n"
    job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: wait, annotations: {helm.sh/hook: pre-install}}\n"
    spec = "spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: none}]}}}\n"
    (folder / "templates" / "all.yaml").write_text(f"{pod}---\n{job}{spec}")
    command = [helm, "install", "stuck", folder, "--kubeconfig", api.kubeconfig, "--namespace", "default"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    secret = "/api/v1/namespaces/default/secrets/sh.helm.release.v1.stuck.v1"
    try:
        for dummy in range(600):
            with contextlib.suppress(OSError):
                api.call("GET", secret)
                break
            assert process.poll() is None, process.stderr.read()
            threading.Event().wait(0.1)
        process.kill()
        yield
    finally:
        process.kill()
        process.wait()
        api.call("DELETE", secret)


@pytest.fixture
def run(capsys, monkeypatch, linkerd):
    monkeypatch.setenv("PATH", f"{built(contents.HELM, 'helm').parent}:{linkerd.parent}:{os.environ['PATH']}")

    def call(name: str, /, **options) -> dict:
        module = importlib.import_module(f"{PACKAGE}.{name}")
        with patch_module_args({"_ansible_check_mode": True, **options}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return call


def given(api, way: str, monkeypatch) -> dict:
    """The options for one way to give a cluster; the rest is in the environment."""
    variables = {"HOST": api.url, "API_KEY": TOKEN, "SSL_CA_CERT": str(api.ca_file), "VERIFY_SSL": "True"}
    options = {"host": api.url, "api_key": TOKEN, "ca_cert": str(api.ca_file)}
    if way == "options and variables":
        variables.pop("HOST")
        options = {"host": api.url}
    elif way == "without verification":
        variables = {"VERIFY_SSL": "false"}
        options.pop("ca_cert")
    if way != "options":
        for name, value in variables.items():
            monkeypatch.setenv(f"K8S_AUTH_{name}", value)
    return {} if way == "variables" else options


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODULES)
def test_a_module_reads_the_cluster_that_it_was_given(run, cluster, other, monkeypatch, name, way):
    options, is_right = MODULES[name]
    result = run(name, **options, **given(cluster, way, monkeypatch))
    assert is_right(result), result
    assert other.connections == 0


@pytest.mark.parametrize("name", MODULES)
def test_a_ca_of_another_cluster_is_refused(run, cluster, other, name, tmp_path):
    """So that the CA of the tests above counts."""
    ca = tmp_path / "ca.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null"]
    subprocess.run(["openssl", "req", "-x509", *key, "-out", ca, "-subj", "/CN=x"], check=True, capture_output=True)
    options, is_right = MODULES[name]
    result = run(name, **options, host=cluster.url, api_key=TOKEN, ca_cert=str(ca))
    assert "certificate" in json.dumps(result).lower()
    with pytest.raises((AssertionError, KeyError)):
        assert is_right(result)
    assert other.connections == 0


@pytest.mark.parametrize("name", MODULES)
def test_a_cluster_in_two_ways_is_an_error(run, cluster, other, monkeypatch, name):
    monkeypatch.setenv("K8S_AUTH_HOST", cluster.url)
    monkeypatch.setenv("K8S_AUTH_API_KEY", TOKEN)
    result = run(name, **MODULES[name][0], kubeconfig=str(cluster.kubeconfig))
    assert result["failed"] and result["code"] == "ambiguous_cluster"
    assert TOKEN not in json.dumps(result)


@pytest.mark.parametrize("name", MODULES)
def test_the_login_of_another_cluster_is_not_sent(run, cluster, other, name):
    result = run(name, **MODULES[name][0], host=cluster.url)
    assert result["failed"] and result["code"] == "no_login"
    assert other.connections == 0
