# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts of rotate_trust_anchor.yml with a real API server. The tests act as the controllers of Kubernetes."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.plays import THIS_HOST
from support.readings import NEXT as OTHER
from support.readings import ROOT as TRUST_ANCHOR

ROOT = Path(__file__).resolve().parents[3]
RESTARTED = "kubectl.kubernetes.io/restartedAt"
POD = {"containers": [{"name": "app", "image": "none"}]}


class Batches:
    """A namespace with StatefulSets, whose rollouts are complete as soon as they begin."""

    def __init__(self, kubernetes: Any, folder: Path, namespace: str) -> None:
        self.api, self.folder, self.namespace = kubernetes, folder, namespace
        kubernetes.namespace(namespace)
        self.apps = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
        self.budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"

    def workload(self, name: str, pod_revision: str, generation: int = 99) -> None:
        """A StatefulSet whose current revision is 2, with one pod."""
        template = {"metadata": {"labels": {"app": name}}, "spec": POD}
        selector = {"matchLabels": {"app": name}}
        spec = {"replicas": 1, "serviceName": name, "selector": selector, "template": template}
        owner = self.api.call("POST", self.apps, {"metadata": {"name": name}, "spec": spec})
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
        self.api.status(f"{self.apps}/{name}", {**counts, "updateRevision": "2", "observedGeneration": generation})
        reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "controller": True}
        metadata = {
            "name": f"{name}-0",
            "labels": {"app": name, "controller-revision-hash": pod_revision},
            "ownerReferences": [{**reference, "uid": owner["metadata"]["uid"]}],
        }
        self.api.call("POST", f"/api/v1/namespaces/{self.namespace}/pods", {"metadata": metadata, "spec": POD})

    def budget(self, name: str) -> str:
        spec = {"selector": {"matchLabels": {"app": name}}, "minAvailable": 1}
        self.api.call("POST", self.budgets, {"metadata": {"name": name}, "spec": spec})
        return f"{self.budgets}/{name}"

    def run(self, tasks: str, *names: str, **variables: Any) -> tuple[bool, str]:
        """Run tasks of the rotation for the pods of workloads. Returns whether they succeeded, and the output."""
        return self.run_in_clusters(tasks, {"one": names}, **variables)

    def run_in_clusters(self, tasks: str, clusters: dict[str, tuple[str, ...]], **variables: Any) -> tuple[bool, str]:
        """Run tasks on several hosts, each of which has its own workloads on the same API server."""
        common = {
            **THIS_HOST,
            "pki_kubernetes": {"kubeconfig": str(self.api.kubeconfig)},
            "rotation": {"phase": 3, "phase_name": "restart"},
            "rotation_namespace": "linkerd",
            "rotation_step": {"anchors": [TRUST_ANCHOR.pem], "namespaces": ["linkerd", self.namespace]},
        }
        pods = {host: [f"{self.namespace}/{name}-0" for name in names] for host, names in clusters.items()}
        hosts = {host: {"rotation_pods": names} for host, names in pods.items()}
        (self.folder / "hosts.json").write_text(json.dumps({"clusters": {"vars": common, "hosts": hosts}}))
        task = {"ansible.builtin.import_tasks": str(ROOT / f"playbooks/tasks/rotate/{tasks}.yml")}
        (self.folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        command = ["ansible-playbook", "-i", str(self.folder / "hosts.json"), str(self.folder / "play.yml")]
        command += ["-e", json.dumps(variables)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode == 0, " ".join(done.stdout.split())

    def batch(self, *names: str) -> list[dict]:
        head = {"api_version": "apps/v1", "kind": "StatefulSet", "namespace": self.namespace, "rollout": True}
        return [{**head, "name": name} for name in names]

    def restarted(self) -> set[str]:
        items = self.api.call("GET", self.apps)["items"]
        annotations = {one["metadata"]["name"]: one["spec"]["template"]["metadata"].get("annotations") for one in items}
        return {name for name, found in annotations.items() if RESTARTED in (found or {})}


@pytest.fixture
def batches(kubernetes, tmp_path, request):
    return Batches(kubernetes, tmp_path, request.node.name.replace("_", "-")[:60].strip("-"))


@pytest.fixture
def control_plane(kubernetes, batches):
    return Batches(kubernetes, batches.folder, f"{batches.namespace[:50]}-linkerd")


@contextlib.contextmanager
def injector(batches: Batches, anchor: str, is_ready: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """A webhook that adds a proxy with a trust anchor to new pods of the namespace, as Linkerd's injector does."""
    environment = [{"name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "value": anchor}]
    proxy = {"name": "linkerd-proxy", "image": "none", "env": environment}
    patch = json.dumps([{"op": "add", "path": "/spec/containers/-", "value": proxy}]).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch"}
            review["response"] = {**answer, "patch": base64.b64encode(patch).decode()}
            self.send_response(200 if is_ready() else 503)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(review).encode())

        def log_message(self, *arguments: Any) -> None:
            """Print nothing."""

    key, certificate = batches.folder / "key.pem", batches.folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    names = ["-subj", "/CN=injector", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url, authority = f"https://127.0.0.1:{server.server_port}", base64.b64encode(certificate.read_bytes()).decode()
    webhook = {
        "name": "injector.test.example",
        "clientConfig": {"url": url, "caBundle": authority},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": batches.namespace}},
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    batches.api.call("POST", path, {"metadata": {"name": batches.namespace}, "webhooks": [webhook]})
    try:
        yield
    finally:
        batches.api.call("DELETE", f"{path}/{batches.namespace}")
        server.shutdown()
        server.server_close()


def test_restart_continues_where_it_timed_out(batches):
    batches.workload("half", "1")
    batches.workload("new", "2")
    with injector(batches, TRUST_ANCHOR.pem):
        succeeded, output = batches.run("workloads", "half", "new")
    assert succeeded, output
    assert batches.restarted() == {"new"}


def test_only_selected_pods_restart(batches):
    batches.workload("api", "2")
    batches.workload("web", "2")
    batches.budget("api")  # permits no disruption, and is of no importance for the pods that are selected
    with injector(batches, TRUST_ANCHOR.pem):
        succeeded, output = batches.run("workloads", "api", "web", rotation_label_selectors=["app in (web)"])
    assert succeeded, output
    assert batches.restarted() == {"web"}
    with injector(batches, TRUST_ANCHOR.pem):
        succeeded, output = batches.run("workloads", "api", "web", rotation_namespaces=["other"])
    assert succeeded, output
    assert batches.restarted() == {"web"}


def test_a_run_that_leaves_pods_out_ends_after_its_restarts(batches):
    batches.workload("web", "2")
    rotation = {"phase": 3, "phase_name": "restart", "finished": False}
    step = {"anchors": [TRUST_ANCHOR.pem], "namespaces": [batches.namespace], "restart": [f"{batches.namespace}/web-0"]}
    variables = {"rotation": rotation, "rotation_step": step, "rotation_is_due": True, "rotation_namespaces": ["other"]}
    with injector(batches, TRUST_ANCHOR.pem):
        succeeded, output = batches.run("phase", **variables)
    assert succeeded, output
    assert f"They are in {batches.namespace}." in output and "TASK [Read Vault" not in output
    assert batches.restarted() == set()


def test_different_batches_of_clusters_restart_at_the_same_time(batches):
    """The first rollouts are complete only when both clusters have begun theirs."""
    for name in ("web", "api"):
        batches.workload(name, "2", generation=1)
    batches.workload("db", "2")

    def complete_together() -> None:
        end = time.monotonic() + 60
        while not {"web", "api"} <= batches.restarted() and time.monotonic() < end:
            time.sleep(0.2)
        before_the_second_batch.append(batches.restarted())
        for name in ("web", "api"):
            batches.api.status(f"{batches.apps}/{name}", {"observedGeneration": 99})

    before_the_second_batch: list[set[str]] = []
    controller = threading.Thread(target=complete_together)
    controller.start()
    variables = {"rotation_parallel": 1, "rotation_rollout_timeout": 30}
    with injector(batches, TRUST_ANCHOR.pem):
        succeeded, output = batches.run_in_clusters("workloads", {"one": ("web",), "two": ("api", "db")}, **variables)
    controller.join()
    assert succeeded, output
    assert before_the_second_batch == [{"web", "api"}]
    assert batches.restarted() == {"web", "api", "db"}


def test_restart_that_times_out_names_its_timeout(batches):
    batches.workload("slow", "1", generation=0)
    variables = {"rotation_batch": batches.batch("slow"), "rotation_rollout_timeout": 1}
    succeeded, output = batches.run("batch", "slow", **variables)
    assert not succeeded and "rotation_rollout_timeout" in output and f"StatefulSet {batches.namespace}/slow" in output


def test_budget_stops_a_restart_at_the_start(batches):
    batches.workload("web", "2")
    batches.budget("web")
    succeeded, output = batches.run("workloads", "web")
    assert not succeeded and "PodDisruptionBudget web" in output and batches.restarted() == set()


def test_budget_is_read_before_each_batch(batches):
    batches.workload("web", "2")
    path = batches.budget("web")
    variables = {"rotation_batch": batches.batch("web")}
    succeeded, output = batches.run("batch", "web", **variables, rotation_rollout_timeout=1)
    assert not succeeded and "PodDisruptionBudget web" in output and batches.restarted() == set()
    permitted = {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}
    later = threading.Timer(4, batches.api.status, (path, permitted))
    later.start()
    succeeded, output = batches.run("batch", "web", **variables, rotation_rollout_timeout=60)
    later.join()
    assert succeeded, output
    assert batches.restarted() == {"web"}


def restart_injector_first(batches: Batches, control_plane: Batches, recovers: bool) -> tuple[bool, str]:
    """Restart an injector and a workload. The injector does not respond before its own restart."""
    batches.workload("web", "2")
    control_plane.workload("linkerd-proxy-injector", "2")
    pods = [f"{batches.namespace}/web-0", f"{control_plane.namespace}/linkerd-proxy-injector-0"]
    step = {"anchors": [TRUST_ANCHOR.pem], "namespaces": [control_plane.namespace, batches.namespace]}
    variables = {"rotation_pods": pods, "rotation_namespace": control_plane.namespace, "rotation_step": step}
    with injector(batches, TRUST_ANCHOR.pem, lambda: recovers and bool(control_plane.restarted())):
        return batches.run("workloads", **variables, rotation_injection_attempts=1)


def test_injector_whose_certificate_has_expired(batches, control_plane):
    """Below an expired root, a pod of the injector that starts never becomes ready."""
    succeeded, output = restart_injector_first(batches, control_plane, recovers=True)
    assert succeeded, output
    assert (control_plane.restarted(), batches.restarted()) == ({"linkerd-proxy-injector"}, {"web"})
    assert "Batch 2 of 2" in output and "1 of 2 pods have restarted" in output


def test_injector_that_does_not_recover(batches, control_plane):
    succeeded, output = restart_injector_first(batches, control_plane, recovers=False)
    assert not succeeded and "rotation_probe_namespace" in output, output
    assert (control_plane.restarted(), batches.restarted()) == ({"linkerd-proxy-injector"}, set())


def test_injector_that_serves_other_anchors_stops_a_restart(batches):
    batches.workload("web", "2")
    with injector(batches, OTHER.pem):
        succeeded, output = batches.run("workloads", "web", rotation_injection_attempts=1)
    assert not succeeded and "rotation_probe_namespace" in output and batches.restarted() == set()


def test_namespace_without_injector_stops_a_restart(batches):
    batches.workload("web", "2")
    succeeded, output = batches.run("workloads", "web", rotation_injection_attempts=1)
    assert not succeeded and "rotation_probe_namespace" in output and batches.restarted() == set()
    # The pod of the dry run is in the namespace of a workload to restart.
    assert f"Pod {batches.namespace}/linkerd-injection-dry-run" in output


def test_rejected_dry_run_stops_a_restart_at_once(batches):
    batches.workload("web", "2")
    succeeded, output = batches.run("workloads", "web", rotation_probe_namespace="missing")
    assert not succeeded and "rotation_probe_namespace" in output and "RETRYING" not in output
    assert '"missing" not found' in output.replace("\\", "") and batches.restarted() == set()
