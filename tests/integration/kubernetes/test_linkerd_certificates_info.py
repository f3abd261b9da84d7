# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""linkerd_certificates_info with a real API server. The test creates the objects of Linkerd's chart and injector."""

from __future__ import annotations

import json
import time
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from support.authority import DAY, NOW, make
from support.readings import ISSUER, NEXT, ROOT, encoded, pod

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import cluster
from ansible_collections.servicemesh.pki.plugins.modules import linkerd_certificates_info as module
from ansible_collections.servicemesh.pki.plugins.modules import mesh_prerequisites_info

CORE = "/api/v1/namespaces"
OLD_ISSUER = make("identity.linkerd.cluster.local", ROOT, start=NOW - DAY, end=NOW + DAY)
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="session")
def api(kubernetes):
    for name in ("linkerd", "emojivoto"):
        kubernetes.namespace(name)
    put(kubernetes, "configmaps", "linkerd-identity-trust-roots", {"data": {"ca-bundle.crt": ROOT.pem}})
    put(kubernetes, "configmaps", "linkerd-config", {"data": {"values": "identityTrustDomain: mesh.example\n"}})
    data = {"tls.crt": encoded(ISSUER.pem), "ca.crt": encoded(ROOT.pem), "tls.key": encoded("private key")}
    put(kubernetes, "secrets", "linkerd-identity-issuer", {"type": "kubernetes.io/tls", "data": data})
    for one in (pod("identity-0"), pod("web-0", ROOT.pem), pod("web-1", ROOT.pem, native=True), pod("web-2", NEXT.pem)):
        labels = {"linkerd.io/control-plane-ns": "linkerd"}
        if one["metadata"]["name"] == "identity-0":
            labels["linkerd.io/control-plane-component"] = "identity"
        run(kubernetes, one, labels, "2099-01-01T00:00:00Z")
    run(kubernetes, pod("other-mesh", NEXT.pem), {"linkerd.io/control-plane-ns": "other"}, "2099-01-01T00:00:00Z")
    return kubernetes


def put(api: Any, kind: str, name: str, body: dict) -> None:
    api.call("POST", f"{CORE}/linkerd/{kind}", {"metadata": {"name": name}, **body})


def run(api: Any, one: dict, labels: dict, started: str) -> None:
    """Create a pod, and write its status as a kubelet would."""
    path = f"{CORE}/{one['metadata']['namespace']}/pods"
    containers = [
        {**container, "image": "none"}
        for part in ("initContainers", "containers")
        for container in one["spec"].get(part, [])
    ]
    native = {"restartPolicy": "Always"} if "initContainers" in one["spec"] else {}
    spec = {"containers": [one_ for one_ in containers if one_["name"] == "app" or not native]}
    if native:
        spec["initContainers"] = [{**containers[0], **native}]
    api.call("POST", path, {"metadata": {**one["metadata"], "labels": labels}, "spec": spec})
    [(part, statuses)] = [(part, found) for part, found in one["status"].items() if part != "phase"]
    whole = {"image": "none", "imageID": "none", "ready": True, "restartCount": 0}
    status = [{**found, **whole, "state": {"running": {"startedAt": started}}} for found in statuses]
    api.status(f"{path}/{one['metadata']['name']}", {"phase": "Running", part: status})


@pytest.fixture
def read(api, capsys):
    def call(reader: ModuleType = module, **options: Any) -> dict:
        arguments = {"kubeconfig": str(api.kubeconfig), "validate_certs": False, **options}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            reader.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_certificates_without_private_key(read):
    found = read()
    assert found["changed"] is False
    assert [one["certificate"] for one in found["anchors"]["certificates"]] == [ROOT.pem]
    assert [one["certificate"] for one in found["issuer"]["certificates"]] == [ISSUER.pem]
    assert [one["certificate"] for one in found["signer"]["certificates"]] == [ROOT.pem]
    assert (found["issuer"]["evidence"], found["issuer"]["obsolete_key"]) == ("started_after", False)
    assert found["trust_domain"] == "mesh.example"
    assert found["renewal_time"] is None  # this cluster has no kind Certificate
    assert {found[key] for key in ("failed_attempts", "cert_manager_issuer", "bundle", "credential")} == {None}
    assert found["certificate_missing"] is False  # nor has the Secret been written by cert-manager
    assert encoded("private key") not in json.dumps(found)
    assert "private key" not in json.dumps(found)


def test_bundle_that_was_deleted(api, read):
    """The ConfigMap that trust-manager wrote remains, and nothing distributes trust anchors."""
    path, merge = f"{CORE}/linkerd/configmaps/linkerd-identity-trust-roots", "application/merge-patch+json"
    label = "trust.cert-manager.io/bundle"
    api.call("PATCH", path, {"metadata": {"labels": {label: "roots"}}}, merge)
    assert read()["bundle"] == {"where": "Bundle roots", "ready": False}
    api.call("PATCH", path, {"metadata": {"labels": {label: None}}}, merge)
    assert read()["bundle"] is None


def test_certificate_that_was_deleted(api, read):
    """The Secret that cert-manager wrote remains."""
    path, name = f"{CORE}/linkerd/secrets/linkerd-identity-issuer", "linkerd-identity-issuer"
    secret = api.call("GET", path)
    secret["metadata"]["annotations"] = {"cert-manager.io/certificate-name": name}
    api.call("PUT", path, secret)
    assert read()["certificate_missing"] is True
    secret = api.call("GET", path)
    del secret["metadata"]["annotations"]
    api.call("PUT", path, secret)
    assert read()["certificate_missing"] is False


def test_an_upgrade_that_changed_the_values_but_not_the_controller(api, read):
    """Helm and the CLI write linkerd-config before the Deployment of the controller."""
    config, secret = f"{CORE}/linkerd/configmaps/linkerd-config", f"{CORE}/linkerd/secrets/linkerd-identity-issuer"
    scheme = "identityTrustDomain: mesh.example\nidentity: {externalCA: true, issuer: {scheme: kubernetes.io/tls}}\n"
    merge = "application/merge-patch+json"
    api.call("PATCH", config, {"data": {"values": scheme}}, merge)
    api.call("PATCH", secret, {"data": {"crt.pem": encoded(OLD_ISSUER.pem)}}, merge)
    assert (read()["issuer_scheme"], read()["anchors"]["in_values"]) == ("kubernetes.io/tls", False)
    old = pod("identity-1")
    old["spec"]["containers"].append({"name": "identity", "args": ["identity", "-identity-scheme=linkerd.io/tls"]})
    labels = {"linkerd.io/control-plane-ns": "linkerd", "linkerd.io/control-plane-component": "identity"}
    run(api, old, labels, "2099-01-01T00:00:00Z")
    found = read()
    assert (found["issuer_scheme"], found["anchors"]["in_values"]) == ("linkerd.io/tls", False)
    assert [one["certificate"] for one in found["issuer"]["certificates"]] == [OLD_ISSUER.pem]
    assert read(mesh_prerequisites_info)["mesh"]["issuer"]["certificates"] == found["issuer"]["certificates"]
    api.call("DELETE", f"{CORE}/linkerd/pods/identity-1", {"gracePeriodSeconds": 0})
    api.call("PATCH", config, {"data": {"values": "identityTrustDomain: mesh.example\n"}}, merge)
    api.call("PATCH", secret, {"data": {"crt.pem": None}}, merge)


def test_pods_of_mesh_by_their_anchors(read):
    groups = {tuple(group["pods"]): group for group in read()["pods"]}
    assert {pods: group["evidence"] for pods, group in groups.items()} == {
        ("emojivoto/web-0", "emojivoto/web-1"): "spec",
        ("emojivoto/web-2",): "spec",
        ("linkerd/identity-0",): "started_after",
    }
    assert groups["emojivoto/web-2",]["certificates"][0]["certificate"] == NEXT.pem


def test_pods_are_listed_in_pages(read, monkeypatch):
    whole = read()["pods"]
    monkeypatch.setattr(cluster, "PAGE_SIZE", 1)
    assert read()["pods"] == whole


def test_namespace_without_mesh(read):
    found = read(linkerd_namespace="emojivoto")
    assert found["anchors"]["problem"] == found["issuer"]["problem"] == "does not exist"
    assert found["pods"] == []
    assert found["trust_domain"] is None


def allow(api: Any, user: str, **verbs: Any) -> None:
    """Permit the verbs for each resource, in all namespaces."""
    rules = [{"apiGroups": [""], "resources": [resource], "verbs": list(found)} for resource, found in verbs.items()]
    api.call("POST", f"{RBAC}/clusterroles", {"metadata": {"name": user}, "rules": rules})
    group = "rbac.authorization.k8s.io"
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": user}
    binding = {"metadata": {"name": user}, "roleRef": reference}
    api.call(
        "POST",
        f"{RBAC}/clusterrolebindings",
        {**binding, "subjects": [{"apiGroup": group, "kind": "User", "name": user}]},
    )
    end = time.monotonic() + 300
    while not all(is_allowed(api, user, resource, verb) for resource, found in verbs.items() for verb in found):
        assert time.monotonic() < end, f"the API server does not apply the role of {user}"
        time.sleep(0.1)


def is_allowed(api: Any, user: str, resource: str, verb: str) -> bool:
    """According to the API server, which applies a new role with a delay."""
    resource, dummy, subresource = resource.partition("/")
    attributes = {"resource": resource, "subresource": subresource, "verb": verb}
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    return api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]


def test_secret_that_is_not_permitted(api, read):
    allow(api, "looker", pods=["list"], configmaps=["get"])
    found = read(impersonate_user="looker")
    assert found["anchors"]["problem"] == ""
    assert "linkerd/linkerd-identity-issuer" in found["issuer"]["problem"] and "403" in found["issuer"]["problem"]
    assert (found["pods_problem"], len(found["pods"])) == ("", 3)


def test_pods_that_are_not_permitted(api, read):
    allow(api, "reader", secrets=["get"], configmaps=["get"])
    found = read(impersonate_user="reader")
    assert found["anchors"]["problem"] == found["issuer"]["problem"] == ""
    assert found["issuer"]["certificates"][0]["certificate"] == ISSUER.pem
    assert found["pods"] == []
    assert "403" in found["pods_problem"]


def test_login_without_permissions(read):
    found = read(impersonate_user="nobody")
    assert found["trust_domain"] is None
    assert all("403" in found[part]["problem"] for part in ("anchors", "issuer", "signer"))
    assert "403" in found["pods_problem"]


def test_unreachable_api_server(read, tmp_path):
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    failed = read(kubeconfig=str(tmp_path / "kubeconfig"))
    assert failed["failed"] and failed["code"] == "unreachable"


def test_leaves_are_read_on_request_only(read):
    found = read()
    assert (found["leaves"], found["leaves_missing"]) == (None, None)


def test_pods_without_kubelet_are_unreadable(read):
    """There is no node here. What a proxy presents is read in tests/end_to_end/test_leaf_certificates.py."""
    found = read(leaves=True)
    assert found["leaves"] == []
    pods = ("emojivoto/web-0", "emojivoto/web-1", "emojivoto/web-2", "linkerd/identity-0")
    assert {one["pod"]: one["code"] for one in found["leaves_missing"]} == dict.fromkeys(pods, "unreadable")


@pytest.mark.parametrize("verbs", [(), ("get",), ("create",)])
def test_port_forward_that_is_not_permitted(api, read, verbs):
    """A web socket is opened by GET, and Kubernetes 1.35 and newer also require create."""
    user = f"lister-{'-'.join(verbs)}"
    allow(api, user, pods=["list"], **({"pods/portforward": verbs} if verbs else {}))
    found = read(impersonate_user=user, leaves=True)
    assert {one["code"] for one in found["leaves_missing"]} == {"forbidden"}
    assert "pods/portforward" in found["leaves_missing"][0]["problem"]
    assert len(found["leaves_missing"]) == 4


def test_port_forward_with_documented_permissions(api, read):
    """The permissions in the documentation of the module."""
    allow(api, "forwarder", **{"pods": ["list"], "pods/portforward": ["get", "create"]})
    found = read(impersonate_user="forwarder", leaves=True)
    assert {one["code"] for one in found["leaves_missing"]} == {"unreadable"}
