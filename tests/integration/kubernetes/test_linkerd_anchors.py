# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point `anchors` of the role linkerd, with a real API server and a ConfigMap as trust-manager writes it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from support.running_mesh import BUNDLE, root

ROOT = Path(__file__).resolve().parents[3]
SPACE = "linkerd-anchors"
CONFIG_MAPS = f"/api/v1/namespaces/{SPACE}/configmaps"
KINDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BUNDLES = "/apis/trust.cert-manager.io/v1alpha1/bundles"
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION = {
    "metadata": {"name": "bundles.trust.cert-manager.io"},
    "spec": {
        "group": "trust.cert-manager.io",
        "scope": "Cluster",
        "names": {"kind": "Bundle", "plural": "bundles", "singular": "bundle"},
        "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": ANYTHING}}],
    },
}


@pytest.fixture(scope="module")
def bundles(kubernetes):
    kubernetes.namespace(SPACE)
    kubernetes.call("POST", KINDS, DEFINITION)
    deadline = time.monotonic() + 300
    while True:
        try:
            kubernetes.call("GET", BUNDLES)
            break
        except OSError:
            assert time.monotonic() < deadline, "the API server does not serve bundles"
            time.sleep(0.1)
    yield kubernetes
    kubernetes.call("DELETE", f"{KINDS}/bundles.trust.cert-manager.io")


@pytest.mark.parametrize(
    ("source", "written", "ok"),
    [
        ("anchors", ("vault", "company"), True),
        ("anchors", ("vault",), False),  # trust-manager has not written the other one yet
        ("secret", ("vault", "company"), True),  # the root is in the Secret, which only trust-manager reads
    ],
)
def test_extra_trust_anchors_are_distributed_too(bundles, tmp_path, source, written, ok):
    roots = {name: root(tmp_path, name) for name in ("vault", "company")}
    published = {"metadata": {"name": BUNDLE}, "data": {"ca-bundle.crt": "".join(roots[name] for name in written)}}
    bundles.call("POST", CONFIG_MAPS, published)
    variables = {
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "linkerd_kubernetes": {"kubeconfig": str(bundles.kubeconfig)},
        "linkerd_namespace": SPACE,
        "linkerd_trust_namespace": SPACE,
        "linkerd_trust_source": source,
        "linkerd_trust_anchors": [roots["vault"]] if source == "anchors" else [],
        "linkerd_extra_trust_anchors": [roots["company"]],
        "linkerd_timeout": 4,
    }
    call = {"ansible.builtin.include_role": {"name": "servicemesh.pki.linkerd", "tasks_from": "anchors"}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": [call]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = ["ansible-playbook", "-i", "localhost,", tmp_path / "play.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        data = bundles.call("GET", f"{CONFIG_MAPS}/linkerd-trust-anchors")["data"]["ca-bundle.crt"]
        expected = [roots["vault"]] * (source == "anchors") + [roots["company"]]
        assert "".join(data.split()) == "".join("".join(expected).split())
    finally:
        bundles.call("DELETE", f"{CONFIG_MAPS}/{BUNDLE}")
        bundles.call("DELETE", f"{CONFIG_MAPS}/linkerd-trust-anchors")
