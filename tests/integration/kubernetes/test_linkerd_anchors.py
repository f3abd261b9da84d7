# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the role linkerd waits for trust-manager, with a real API server and a ConfigMap as trust-manager writes it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.running_mesh import BUNDLE, ISSUER, root, running_mesh

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
    kubernetes.define(DEFINITION)
    yield kubernetes
    kubernetes.call("DELETE", f"{KINDS}/bundles.trust.cert-manager.io")


def run(kubernetes, folder, tasks, namespace, variables):
    variables = {
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "linkerd_kubernetes": {"kubeconfig": str(kubernetes.kubeconfig)},
        "linkerd_namespace": namespace,
        "linkerd_trust_namespace": namespace,
        "linkerd_timeout": 4,
        **variables,
    }
    call = {"ansible.builtin.include_role": {"name": "servicemesh.pki.linkerd", "tasks_from": tasks}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": [call]}
    (folder / "play.yml").write_text(json.dumps([play]))
    command = ["ansible-playbook", "-i", "localhost,", folder / "play.yml"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


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
        "linkerd_trust_source": source,
        "linkerd_trust_anchors": [roots["vault"]] if source == "anchors" else [],
        "linkerd_extra_trust_anchors": [roots["company"]],
    }
    done = run(bundles, tmp_path, "anchors", SPACE, variables)
    try:
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        missing = set(roots) - set(written) if source == "anchors" else set()
        for name in roots:
            assert (f"CN={name}" in done.stdout) == (name in missing), done.stdout
        assert ("kubectl describe bundle" in done.stdout) == bool(missing)
        data = bundles.call("GET", f"{CONFIG_MAPS}/linkerd-trust-anchors")["data"]["ca-bundle.crt"]
        expected = [roots["vault"]] * (source == "anchors") + [roots["company"]]
        assert "".join(data.split()) == "".join("".join(expected).split())
    finally:
        bundles.call("DELETE", f"{BUNDLES}/{BUNDLE}")
        bundles.call("DELETE", f"{CONFIG_MAPS}/{BUNDLE}")
        bundles.call("DELETE", f"{CONFIG_MAPS}/linkerd-trust-anchors")


@pytest.mark.parametrize("extra", [True, False])
def test_an_anchor_that_trust_manager_leaves_out_is_named(bundles, kinds, tmp_path, extra):
    """With filterExpiredCertificates, the Bundle is synced all the same."""
    space = "linkerd-certificates"
    certificates = f"/apis/cert-manager.io/v1/namespaces/{space}/certificates"
    expired = root(tmp_path, "expired")
    with running_mesh(bundles, tmp_path, space) as live:
        kind = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate"}
        certificate = bundles.call("POST", certificates, {**kind, "metadata": {"name": ISSUER}, "spec": {}})
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        bundles.call("PUT", f"{certificates}/{ISSUER}/status", {**certificate, **ready})
        kind = {"apiVersion": "trust.cert-manager.io/v1alpha1", "kind": "Bundle"}
        synced = {"status": {"conditions": [{"type": "Synced", "status": "True"}]}}
        bundles.call("POST", BUNDLES, {**kind, "metadata": {"name": BUNDLE}, "spec": {}, **synced})
        anchors = {"linkerd_trust_anchors": [live], "linkerd_extra_trust_anchors": [expired] if extra else []}
        try:
            done = run(bundles, tmp_path, "certificates", space, anchors)
        finally:
            bundles.call("DELETE", f"{BUNDLES}/{BUNDLE}")
            bundles.call("DELETE", f"{certificates}/{ISSUER}")
            bundles.call("DELETE", f"/api/v1/namespaces/{space}/configmaps/linkerd-trust-anchors")
    assert (done.returncode == 0) != extra, done.stdout + done.stderr
    assert ("CN=expired" in done.stdout) == extra and "CN=live" not in done.stdout
    assert ("filterExpiredCertificates" in done.stdout) == extra
