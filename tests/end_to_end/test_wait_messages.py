# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of k8s_condition about pods that fail, with the reasons of kubelet, scheduler and controllers."""

from __future__ import annotations

import json
import re

import pytest
from support.lab import until

APP = "waits-test"
CRASH = ["/app", "get", "http://127.0.0.1:1/"]  # logs the reason and exits with 1


def deployment(name: str, image: str, **more: object) -> dict:
    container = {"name": "app", "image": image, "imagePullPolicy": "IfNotPresent", **more}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    meta = {"name": name, "namespace": APP}
    # A container that runs briefly before it crashes must not make the Deployment available.
    spec = {"minReadySeconds": 60, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


@pytest.fixture(scope="module")
def deployments(mesh):
    image = mesh.parts["test_app_image"]
    meta = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": APP}}
    items = [
        meta,
        deployment("unreached", "registry.invalid/none:1"),
        deployment("misnamed", "Not:a:name"),
        deployment("crashing", image, command=CRASH),
        deployment("unset", image, envFrom=[{"configMapRef": {"name": "settings"}}]),
        deployment("large", image, resources={"requests": {"cpu": "1000"}}),
    ]
    mesh.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    yield
    mesh.kubectl("delete", "namespace", APP)


@pytest.fixture
def wait(mesh, deployments, tmp_path):
    def run(name: str, timeout: int) -> tuple[str, float]:
        """The message of the failed task, and the seconds that it waited."""
        done = mesh.task(
            tmp_path,
            f"""
- servicemesh.pki.k8s_condition:
    api_version: apps/v1
    kind: Deployment
    name: {name}
    namespace: {APP}
    condition: Available
    timeout: {timeout}
  module_defaults:
    group/servicemesh.pki.kubernetes: "{{{{ pki_kubernetes }}}}"
""",
        )
        assert done.rc != 0, done.output[-3000:]
        return done.flat, float(re.search(r" after ([\d.]+) s", done.flat)[1])

    return run


@pytest.mark.parametrize(
    ("name", "reported", "timeout", "expected"),
    [
        ("misnamed", "InvalidImageName", 120, ["InvalidImageName", "Not:a:name"]),
        ("unreached", "ImagePull", 20, ["ImagePull", "registry.invalid"]),
        ("crashing", "exitCode", 20, ["exit code 1", "127.0.0.1:1", "logs crashing-"]),
        ("unset", "ConfigError", 15, ["CreateContainerConfigError", 'configmap "settings" not found']),
        ("large", "Unschedulable", 15, ["Unschedulable", "Insufficient cpu"]),
    ],
)
def test_message_names_cause(mesh, wait, name, reported, timeout, expected):
    until(lambda: reported in str(mesh.get("pods", "-n", APP, "-l", f"app={name}")))
    message, waited = wait(name, timeout)
    assert [one for one in expected if one not in message] == [], message[-3000:]
    if name == "misnamed":  # waiting longer cannot help
        assert waited < timeout


def test_exceeded_quota_ends_wait(mesh, wait):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": APP}}
    items = [{**quota, "spec": {"hard": {"pods": "0"}}}]
    mesh.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    more = deployment("refused", mesh.parts["test_app_image"])
    mesh.kubectl("apply", "-f", "-", given=json.dumps(more))
    message, waited = wait("refused", 200)
    mesh.kubectl("delete", "resourcequota", "few", "-n", APP)
    assert "exceeded quota: few" in message
    assert 30 <= waited < 200
