# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mesh_prerequisites_info with a real API server: releases, controllers, kinds in use, and what is not permitted."""

from __future__ import annotations

import base64
import gzip
import io
import json
from contextlib import redirect_stdout, suppress

import pytest
from ansible.module_utils.testing import patch_module_args
from kubernetes_server import TOKEN
from support.custom_resources import custom_resource

from ansible_collections.servicemesh.pki.plugins.modules import mesh_prerequisites_info as module

SPACE = "prerequisites"
CORE = f"/api/v1/namespaces/{SPACE}"
KINDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def stored(name: str, revision: int, config: dict) -> dict:
    """A release as Helm stores it."""
    chart = {"metadata": {"name": "trust-manager", "version": f"1.0.{revision}", "appVersion": "v0.25.0"}}
    release = {"name": name, "namespace": SPACE, "version": revision, "chart": chart, "config": config,
               "info": {"status": "deployed"}, "manifest": ""}  # fmt: skip
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode())).decode()
    labels = {"owner": "helm", "name": name, "version": str(revision), "status": "deployed"}
    return {
        "metadata": {"name": f"sh.helm.release.v1.{name}.v{revision}", "labels": labels},
        "type": "helm.sh/release.v1",
        "stringData": {"release": packed},
    }


def deployment() -> dict:
    container = {"name": "trust-manager", "image": "x/trust-manager:v0.25.0", "args": ["--trust-namespace=shared"]}
    labels = {"app": "trust-manager"}
    annotations = {"meta.helm.sh/release-name": "tm", "meta.helm.sh/release-namespace": SPACE}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "serviceAccountName": "tm"}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "trust-manager", "annotations": annotations}, "spec": spec}


@pytest.fixture(scope="module")
def api(kubernetes):
    kubernetes.namespace(SPACE)
    kubernetes.namespace("shared")
    for revision in (9, 10):
        kubernetes.call("POST", f"{CORE}/secrets", stored("tm", revision, {"replicaCount": revision, "apiToken": "t"}))
    kubernetes.call("POST", f"/apis/apps/v1/namespaces/{SPACE}/deployments", deployment())
    for kind in ("Server", "MeshTLSAuthentication"):
        kubernetes.define(custom_resource(kind, "policy.linkerd.io"))
    server = {"apiVersion": "policy.linkerd.io/v1", "kind": "Server", "metadata": {"name": "own"}}
    path = f"/apis/policy.linkerd.io/v1/namespaces/{SPACE}/servers"
    kubernetes.call("POST", path, server)
    yield kubernetes
    for plural in ("servers", "meshtlsauthentications"):
        kubernetes.call("DELETE", f"{KINDS}/{plural}.policy.linkerd.io")


def read(api, **options) -> dict:
    out = io.StringIO()
    given = {"host": api.url, "api_key": TOKEN, "validate_certs": False, "helm_path": "", "linkerd_path": "", **options}
    with patch_module_args(given), redirect_stdout(out), suppress(SystemExit):
        module.main()
    return json.loads(out.getvalue())


def test_release_of_a_controller_is_found_in_its_newest_revision(api):
    found = read(api, namespaces=[SPACE])
    [release] = found["releases"]
    assert (release["name"], release["revision"], release["chart_version"]) == ("tm", 10, "1.0.10")
    assert (release["user_values"]["replicaCount"], release["hidden_values"]) == (10, ["apiToken"])
    [controller] = found["deployments"]
    assert (controller["component"], controller["trust_namespace"]) == ("trust-manager", "shared")
    assert found["namespaces"][SPACE]["releases"] == 2
    assert found["namespaces"]["shared"]["exists"] and not found["namespaces"]["linkerd"]["managed"]
    assert found["unreadable"] == []


def test_kinds_with_objects_are_in_use(api):
    found = read(api, count_objects=True)
    in_use = {one["name"]: one["in_use"] for one in found["definitions"] if one["component"] == "linkerd"}
    assert in_use == {"servers.policy.linkerd.io": True, "meshtlsauthentications.policy.linkerd.io": False}


def test_objects_are_compared(api):
    definition = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own", "namespace": SPACE}}
    api.call("POST", f"{CORE}/configmaps", {"metadata": {"name": "own"}, "data": {"a": "b"}})
    for data, matches in (({"a": "b"}, True), ({"a": "c"}, False)):
        [compared] = read(api, objects=[{**definition, "data": data}])["objects"]
        assert (compared["exists"], compared["managed"], compared["matches"]) == (True, False, matches)


def test_what_is_not_permitted_is_listed_and_the_rest_is_read(api):
    found = read(api, api_key=api.token("prerequisites", api.issuer), namespaces=[SPACE])
    assert not found.get("failed"), found
    refused = {one["what"] for one in found["unreadable"]}
    assert "CustomResourceDefinitions of the cluster" in refused and f"Deployments of {SPACE}" in refused
    assert found["releases"] == []


def test_objects_of_others_that_need_cert_manager_are_listed(api, kinds):
    path = f"/apis/cert-manager.io/v1/namespaces/{SPACE}/issuers"
    own = {"app.kubernetes.io/managed-by": "servicemesh.pki"}
    for name, labels in (("own", own), ("theirs", {})):
        body = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": name, "labels": labels}}
        api.call("POST", path, body)
    uses = [one for one in read(api, count_objects=True)["uses"] if one["namespace"] == SPACE]
    assert [(one["component"], one["kind"], one["name"]) for one in uses] == [("cert-manager", "Issuer", "theirs")]
    assert read(api)["uses"] == []
    refused = read(api, api_key=api.token("prerequisites", api.issuer), count_objects=True)["uses"]
    assert ("cert-manager", "Issuer", "") in {(one["component"], one["kind"], one["name"]) for one in refused}


def test_the_issuer_that_signed_the_identity_issuer_is_read(api):
    reference = {"group": "awspca.cert-manager.io", "kind": "AWSPCAClusterIssuer", "name": "mesh"}
    annotations = {f"cert-manager.io/issuer-{key}": value for key, value in reference.items()}
    secret = {"metadata": {"name": "linkerd-identity-issuer", "annotations": annotations}}
    api.call("POST", f"{CORE}/secrets", secret)
    assert read(api, linkerd_namespace=SPACE)["mesh"]["issuer_reference"] == reference
    api.call("DELETE", f"{CORE}/secrets/linkerd-identity-issuer")
    assert read(api, linkerd_namespace=SPACE)["mesh"]["issuer_reference"] == {}
