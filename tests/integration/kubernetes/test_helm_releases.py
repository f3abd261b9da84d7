# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role helm_release with the real Helm and a real API server, after runs that failed or were killed."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import subprocess
import threading
from pathlib import Path

import pytest
from kubernetes_server import built

from lab import contents

ROOT = Path(__file__).resolve().parents[3]
NAME = "thing"
MAP = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: {{ .Values.%s | default .Release.Namespace }}}\n"
)
JOB = (
    "apiVersion: batch/v1\nkind: Job\nmetadata: {name: wait, annotations: {helm.sh/hook: pre-install}}\n"
    "spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: none}]}}}\n"
)


class Release:
    def __init__(self, api, folder: Path, namespace: str) -> None:
        self.api, self.folder, self.namespace = api, folder, namespace
        self.helm = built(contents.HELM, "helm")
        self.environment = {**os.environ, "PATH": f"{self.helm.parent}:{os.environ['PATH']}"}
        self.values = {"servicemesh.pki/release": "installed"}
        self.more: dict = {}  # variables
        (folder / "chart/templates").mkdir(parents=True)
        (folder / "chart/Chart.yaml").write_text(f"apiVersion: v2\nname: {NAME}\nversion: 1.0.0\nappVersion: 1.0.0\n")
        self.write(MAP % ("first", "first"), MAP % ("second", "second"))

    def write(self, *templates: str) -> None:
        (self.folder / "chart/templates/all.yaml").write_text("---\n".join(templates))

    def command(self, *arguments: str) -> list[str]:
        values = self.folder / "values.json"
        values.write_text(json.dumps(self.values))
        given = ["--values", str(values)] if arguments[0] == "install" else []
        return [
            str(self.helm), "--kubeconfig", str(self.api.kubeconfig), "--namespace", self.namespace, *arguments, *given,
        ]  # fmt: skip

    def run(self, *arguments: str) -> str:
        return subprocess.run(self.command(*arguments), check=True, capture_output=True, text=True).stdout

    def kill(self, status: str, *arguments: str) -> None:
        """Kill this Helm when the release has the status."""
        process = subprocess.Popen(self.command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for dummy in range(300):
            if self.status() == status:
                break
            assert process.poll() is None, status
            threading.Event().wait(0.1)
        process.kill()
        process.wait()
        assert self.status() == status

    def status(self) -> str:
        listed = json.loads(self.run("list", "--all", "--output", "json"))
        return listed[0]["status"] if listed else ""

    def role(self, entry: str = "main", *arguments: str, fails: bool = False) -> int:
        """Run the role. Returns the number of changes."""
        variables = {
            "helm_release_kubernetes": {"kubeconfig": str(self.api.kubeconfig)},
            "helm_release_name": NAME,
            "helm_release_namespace": self.namespace,
            "helm_release_chart": str(self.folder / "chart"),
            "helm_release_values": self.values,
            "helm_release_pending_grace": 0,
            **self.more,
        }
        task = {"ansible.builtin.import_role": {"name": "servicemesh.pki.helm_release", "tasks_from": entry}}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
        (self.folder / "play.yml").write_text(json.dumps([play]))
        command = ["ansible-playbook", self.folder / "play.yml", "-e", json.dumps(variables), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return int(re.search(r"changed=(\d+)", done.stdout)[1])

    def map(self, name: str, namespace: str = "") -> dict:
        return self.api.call("GET", f"/api/v1/namespaces/{namespace or self.namespace}/configmaps/{name}")

    def finalizers(self, value: list[str]) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/first"
        self.api.call("PATCH", path, {"metadata": {"finalizers": value}}, "application/merge-patch+json")


@pytest.fixture
def release(kubernetes, tmp_path, request):
    namespace = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-50:].strip("-")
    kubernetes.namespace(namespace)
    return Release(kubernetes, tmp_path, namespace)


@pytest.mark.parametrize("before", ["nothing", "deployed"])
def test_a_failed_release_is_repaired_though_chart_and_values_are_the_same(release, kubernetes, before):
    if before == "deployed":
        release.role()
    missing = release.values["second"] = f"{release.namespace}-late"
    release.role(fails=True)
    assert release.status() == "failed"
    kubernetes.namespace(missing)
    assert release.role("main", "--check") == 1
    assert release.status() == "failed"
    assert (release.role(), release.status()) == (1, "deployed")
    assert release.map("second", missing)
    assert release.role() == 0


def test_an_interrupted_removal_is_finished(release):
    release.role()
    release.finalizers(["test/held"])
    release.kill("uninstalling", "uninstall", NAME, "--wait")
    release.finalizers([])
    info = json.loads(release.run("status", NAME, "--output", "json"))["info"]
    assert info["deleted"] > info["last_deployed"]  # what the module reads
    assert release.role("absent", "--check") == 1
    assert release.status() == "uninstalling"
    assert (release.role("absent"), release.status()) == (1, "")
    assert release.role("absent") == 0


def test_a_release_is_installed_again_after_an_interrupted_removal(release):
    release.role()
    release.finalizers(["test/held"])
    release.kill("uninstalling", "uninstall", NAME, "--wait")
    release.finalizers([])
    assert release.role() > 0
    assert release.status() == "deployed" and release.map("first") and release.map("second")
    assert release.role() == 0


def test_an_interrupted_installation_deletes_no_object_that_was_handed_to_it(release):
    """CRDs of an earlier installation, with the objects of their kinds."""
    notes = {"meta.helm.sh/release-name": NAME, "meta.helm.sh/release-namespace": release.namespace}
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    path = f"/api/v1/namespaces/{release.namespace}/configmaps"
    meta = {"name": "first", "annotations": notes, "labels": labels}
    handed = release.api.call("POST", path, {"metadata": meta, "data": {"of": "users"}})
    release.write(MAP % ("first", "first"), MAP % ("second", "second"), JOB)
    release.kill("pending-install", "install", NAME, str(release.folder / "chart"))
    release.write(MAP % ("first", "first"), MAP % ("second", "second"))
    assert release.role() > 0
    assert release.status() == "deployed" and release.map("second")
    assert release.map("first")["metadata"]["uid"] == handed["metadata"]["uid"]
    assert release.role() == 0


def test_the_plugin_diff_does_not_decide_whether_a_release_is_upgraded(release):
    """Linkerd's chart creates certificates whenever it is rendered, so there is always a difference."""
    plugin(release, "diff", 'command: "echo always"\n')
    assert (release.role(), release.role()) == (1, 0)


def plugin(release: Release, name: str, content: str) -> Path:
    folder = release.folder / "plugins" / name
    folder.mkdir(parents=True)
    (folder / "plugin.yaml").write_text(f'name: {name}\nversion: "3.9.12"\n{content}')
    release.environment["HELM_PLUGINS"] = str(folder.parent)
    return folder


def add_repository(release: Release, address: str) -> None:
    """Add the folder of the test to Helm as a repository of the chart."""
    for kind in ("CACHE", "CONFIG", "DATA"):
        release.environment[f"HELM_{kind}_HOME"] = str(release.folder / kind)
    commands = [
        ("package", str(release.folder / "chart"), "--destination", str(release.folder)),
        ("repo", "index", str(release.folder), "--url", address),
        ("repo", "add", "company", address),
    ]
    for arguments in commands:
        subprocess.run([str(release.helm), *arguments], env=release.environment, check=True, capture_output=True)
    release.more = {"helm_release_chart": f"company/{NAME}", "helm_release_chart_version": "1.0.0"}


def test_nor_with_a_chart_of_a_repository_that_was_added_to_helm(release):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(release.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            add_repository(release, f"http://127.0.0.1:{server.server_port}")
            plugin(release, "diff", 'command: "echo always"\n')
            assert (release.role(), release.role("main", "--check"), release.role()) == (1, 0, 0)
        finally:
            server.shutdown()


def test_a_repository_whose_protocol_comes_from_a_plugin(release):
    """Helm calls the plugin with three files for TLS, and with the address."""
    getter = plugin(release, "files", "downloaders: [{command: get.sh, protocols: [files]}]\n") / "get.sh"
    getter.write_text('#!/bin/sh\ncat "${4#files://}"\n')
    getter.chmod(0o700)
    add_repository(release, f"files://{release.folder}")
    assert (release.role(), release.role()) == (1, 0)
    assert release.status() == "deployed"
