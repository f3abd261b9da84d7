# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real API server. No Linkerd runs: its objects are ours, as its chart and injector make them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.servicemesh.pki.plugins.modules import linkerd_certificates_info as module

sys.path.append(str(Path(__file__).resolve().parents[2] / "unit" / "x509"))

from readings import ISSUER, NEXT, ROOT, encoded, pod

CORE = "/api/v1/namespaces"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="session")
def api(kubernetes):
    for name in ("linkerd", "emojivoto"):
        kubernetes.namespace(name)
    put(kubernetes, "configmaps", "linkerd-identity-trust-roots", {"data": {"ca-bundle.crt": ROOT.pem}})
    data = {"tls.crt": encoded(ISSUER.pem), "ca.crt": encoded(ROOT.pem), "tls.key": encoded("never to be seen")}
    put(kubernetes, "secrets", "linkerd-identity-issuer", {"type": "kubernetes.io/tls", "data": data})
    for one in (pod("identity-0"), pod("web-0", ROOT.pem), pod("web-1", ROOT.pem, native=True), pod("web-2", NEXT.pem)):
        labels = {"linkerd.io/control-plane-ns": "linkerd"}
        run(kubernetes, one, labels, "2099-01-01T00:00:00Z")
    run(kubernetes, pod("other-mesh", NEXT.pem), {"linkerd.io/control-plane-ns": "other"}, "2099-01-01T00:00:00Z")
    return kubernetes


def put(api: Any, kind: str, name: str, body: dict) -> None:
    api.call("POST", f"{CORE}/linkerd/{kind}", {"metadata": {"name": name}, **body})


def run(api: Any, one: dict, labels: dict, started: str) -> None:
    """Pods that no kubelet runs: their status is written as a kubelet would."""
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
def ask(api, capsys):
    def asked(**options: Any) -> dict:
        given = {"kubeconfig": str(api.kubeconfig), "validate_certs": False, **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return asked


def test_everything_public_and_nothing_else(ask):
    found = ask()
    assert found["changed"] is False
    assert [one["certificate"] for one in found["anchors"]["certificates"]] == [ROOT.pem]
    assert [one["certificate"] for one in found["issuer"]["certificates"]] == [ISSUER.pem]
    assert [one["certificate"] for one in found["signer"]["certificates"]] == [ROOT.pem]
    assert found["renewal_time"] is None  # this cluster knows no Certificate
    assert encoded("never to be seen") not in json.dumps(found)
    assert "never to be seen" not in json.dumps(found)


def test_pods_of_this_mesh_by_what_they_carry(ask):
    groups = {tuple(group["pods"]): group for group in ask()["pods"]}
    assert {pods: group["evidence"] for pods, group in groups.items()} == {
        ("emojivoto/web-0", "emojivoto/web-1"): "spec",
        ("emojivoto/web-2",): "spec",
        ("linkerd/identity-0",): "started_after",
    }
    assert groups["emojivoto/web-2",]["certificates"][0]["certificate"] == NEXT.pem


def test_pods_come_page_by_page(ask, monkeypatch):
    whole = ask()["pods"]
    monkeypatch.setattr(module, "PAGE", 1)
    assert ask()["pods"] == whole


def test_another_namespace_holds_nothing(ask):
    found = ask(linkerd_namespace="emojivoto")
    assert found["anchors"]["problem"] == found["issuer"]["problem"] == "does not exist"
    assert found["pods"] == []


def allow(api: Any, user: str, **verbs: Any) -> None:
    """For each resource its verbs, in all namespaces."""
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
    """By the API server's own review; a new role counts a moment later."""
    resource, dummy, subresource = resource.partition("/")
    asked = {"resource": resource, "subresource": subresource, "verb": verb}
    review = {"spec": {"user": user, "resourceAttributes": asked}}
    return api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]


def test_a_login_that_may_not_read_the_secret_is_told_so(api, ask):
    allow(api, "looker", pods=["list"], configmaps=["get"])
    found = ask(impersonate_user="looker")
    assert found["anchors"]["problem"] == ""
    assert "may not be read: Secret linkerd/linkerd-identity-issuer cannot be read: 403" in found["issuer"]["problem"]
    assert (found["pods_problem"], len(found["pods"])) == ("", 3)


def test_a_login_that_may_not_list_pods_is_told_the_rest(api, ask):
    allow(api, "reader", secrets=["get"], configmaps=["get"])
    found = ask(impersonate_user="reader")
    assert found["anchors"]["problem"] == found["issuer"]["problem"] == ""
    assert found["issuer"]["certificates"][0]["certificate"] == ISSUER.pem
    assert found["pods"] == []
    assert found["pods_problem"].startswith("may not be listed: 403 Forbidden. pods is forbidden")


def test_a_login_that_may_nothing_is_told_of_each_place(ask):
    found = ask(impersonate_user="nobody")
    assert all("403" in found[part]["problem"] for part in ("anchors", "issuer", "signer"))
    assert "403" in found["pods_problem"]


def test_a_cluster_that_does_not_answer(ask, tmp_path):
    nobody = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(nobody))
    failed = ask(kubeconfig=str(tmp_path / "kubeconfig"))
    assert failed["failed"]
    assert "does not answer" in failed["msg"]


def test_leaves_are_read_only_on_request(ask):
    found = ask()
    assert (found["leaves"], found["leaves_missing"]) == (None, None)


def test_pods_that_no_kubelet_runs_are_not_reached(ask):
    """There is no node here. What a proxy presents is read in tests/end_to_end/test_leaf_certificates.py."""
    found = ask(leaves=True)
    assert found["leaves"] == []
    pods = ("emojivoto/web-0", "emojivoto/web-1", "emojivoto/web-2", "linkerd/identity-0")
    assert {one["pod"]: one["code"] for one in found["leaves_missing"]} == dict.fromkeys(pods, "unreadable")


@pytest.mark.parametrize("verbs", [(), ("get",), ("create",)])
def test_a_login_that_may_not_forward_ports_is_not_an_error(api, ask, verbs):
    """Both verbs are needed: a web socket is opened by GET, and Kubernetes 1.35 and newer ask for create as well."""
    user = f"lister-{'-'.join(verbs)}"
    allow(api, user, pods=["list"], **({"pods/portforward": verbs} if verbs else {}))
    found = ask(impersonate_user=user, leaves=True)
    assert {one["code"] for one in found["leaves_missing"]} == {"forbidden"}
    assert "needs get and create on pods/portforward" in found["leaves_missing"][0]["problem"]
    assert len(found["leaves_missing"]) == 4


def test_a_login_that_may_forward_ports_is_not_refused(api, ask):
    """The permissions that the documentation names."""
    allow(api, "forwarder", **{"pods": ["list"], "pods/portforward": ["get", "create"]})
    found = ask(impersonate_user="forwarder", leaves=True)
    assert {one["code"] for one in found["leaves_missing"]} == {"unreadable"}
