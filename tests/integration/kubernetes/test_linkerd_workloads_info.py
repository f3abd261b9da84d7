# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""linkerd_workloads_info and linkerd_injected_anchors_info with a real API server, on objects that the test creates."""

from __future__ import annotations

import json
import urllib.error
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from support.readings import NEXT, ROOT

from ansible_collections.servicemesh.pki.plugins.modules import linkerd_injected_anchors_info, linkerd_workloads_info

NAMESPACE = "restarts"
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "app", "image": "none"}]},
}


@pytest.fixture(scope="module")
def api(kubernetes):
    kubernetes.namespace(NAMESPACE)
    selector = {"matchLabels": {"app": "web"}}
    spec = {"selector": selector, "template": TEMPLATE}
    web = create(kubernetes, "apps/v1", "Deployment", "web", spec=spec)
    paused = create(kubernetes, "apps/v1", "Deployment", "paused", spec={**spec, "paused": True})
    database = create(kubernetes, "apps/v1", "StatefulSet", "database", spec={**spec, "serviceName": "database"})
    for owner in (web, paused):
        name = owner["metadata"]["name"]
        replicas = create(kubernetes, "apps/v1", "ReplicaSet", f"{name}-1", owner, spec=spec)
        create(kubernetes, "v1", "Pod", f"{name}-1-a", replicas, spec=TEMPLATE["spec"])
    create(kubernetes, "v1", "Pod", "database-0", database, spec=TEMPLATE["spec"])
    create(kubernetes, "v1", "Pod", "bare", spec=TEMPLATE["spec"])
    return kubernetes


def create(api: Any, version: str, kind: str, name: str, owner: dict | None = None, **parts: Any) -> dict:
    metadata: dict[str, Any] = {"name": name, "labels": {"app": "web", **parts.pop("labels", {})}}
    if owner:
        reference = {key: owner[key] for key in ("apiVersion", "kind")}
        found = owner["metadata"]
        metadata["ownerReferences"] = [{**reference, "name": found["name"], "uid": found["uid"], "controller": True}]
    group = "/api/v1" if version == "v1" else f"/apis/{version}"
    body = {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}
    return {**body, **api.call("POST", f"{group}/namespaces/{NAMESPACE}/{kind.lower()}s", body)}


@pytest.fixture
def read(api, capsys):
    def call(module: Any, **options: Any) -> dict:
        arguments = {"kubeconfig": str(api.kubeconfig), "validate_certs": False, **options}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_workloads_of_pods_and_what_no_rollout_restarts(read):
    pods = [f"{NAMESPACE}/{name}" for name in ("web-1-a", "paused-1-a", "database-0", "bare", "gone")]
    found = read(linkerd_workloads_info, pods=pods)
    [batch] = found["batches"]
    assert [(one["kind"], one["name"], one["rollout"]) for one in batch] == [
        ("Deployment", "web", True),
        ("StatefulSet", "database", True),
    ]
    assert sorted(one["object"] for one in found["manual"]) == [
        f"Deployment {NAMESPACE}/paused",
        f"Pod {NAMESPACE}/bare",
    ]


def test_pods_that_are_not_requested_are_left_out(read):
    found = read(linkerd_workloads_info, pods=[f"{NAMESPACE}/web-1-a"])
    assert [[one["name"] for one in batch] for batch in found["batches"]] == [["web"]] and found["manual"] == []


@pytest.mark.parametrize(
    ("selection", "batches", "left"),
    [
        ({"namespaces": ["rest*"]}, [["web"], ["database"]], []),
        ({"namespaces": ["other", "linkerd"]}, [], ["web-1-a", "database-0", "paused-1-a"]),
        ({"label_selectors": ["app=web", "tier notin (data)"]}, [["web"]], ["database-0", "paused-1-a"]),
        ({"label_selectors": ["app=other"]}, [], ["web-1-a", "database-0", "paused-1-a"]),
        ({"namespaces": ["other"], "label_selectors": ["app=web"]}, [], ["web-1-a", "database-0", "paused-1-a"]),
        ({"namespaces": []}, [], ["web-1-a", "database-0", "paused-1-a"]),
        ({"namespaces": ["!other"]}, [["web"], ["database"]], []),
        ({"namespaces": ["rest*", "!*t*"]}, [], ["web-1-a", "database-0", "paused-1-a"]),
    ],
)
def test_pods_that_are_not_selected_are_left(api, read, selection, batches, left):
    names = ("web-1-a", "database-0", "paused-1-a")
    for name in names[1:]:
        change = {"metadata": {"labels": {"tier": "data"}}}
        api.call("PATCH", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}", change, "application/merge-patch+json")
    found = read(linkerd_workloads_info, pods=[f"{NAMESPACE}/{name}" for name in names], parallel=1, **selection)
    assert [[one["name"] for one in batch] for batch in found["batches"]] == batches
    assert found["left"] == [f"{NAMESPACE}/{name}" for name in left]
    assert bool(found["manual"]) is (f"{NAMESPACE}/paused-1-a" not in found["left"])
    assert (found["pods_before"], found["pods_in_batches"]) == (list(range(len(batches))), len(batches))


def test_a_disruption_budget_that_permits_nothing_holds_a_restart_back(api, read):
    spec = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}
    path = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
    api.call("POST", path, {"metadata": {"name": "limit"}, "spec": spec})
    try:
        found = read(linkerd_workloads_info, pods=[f"{NAMESPACE}/web-1-a"])
    finally:
        api.call("DELETE", f"{path}/limit")
    assert found["batches"] == [] and "limit" in found["manual"][0]["reason"]


@pytest.mark.parametrize(("hashes", "replaced"), [(("1",), True), (("2",), False), (("1", "2"), False)])
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_rollout_in_progress_is_not_repeated(api, read, kind, hashes, replaced):
    name = f"{kind}-{''.join(hashes)}".lower()
    pods = [f"{NAMESPACE}/{pod}" for pod in rolled_out(api, kind, name, hashes)]
    found = read(linkerd_workloads_info, pods=pods)
    assert [one["name"] for one in found["in_progress"]] == ([name] if replaced else [])
    assert [one["name"] for one in found["batches"][0]] == [name] and found["manual"] == []
    # A rollout that has begun uses the disruptions that a budget permits. It continues nevertheless.
    path = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
    limit = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}
    api.call("POST", path, {"metadata": {"name": "limit"}, "spec": limit})
    try:
        found = read(linkerd_workloads_info, pods=pods)
    finally:
        api.call("DELETE", f"{path}/limit")
    assert bool(found["manual"]) is not replaced


def rolled_out(api: Any, kind: str, name: str, hashes: tuple[str, ...]) -> list[str]:
    """Create a workload with the revisions 1 and 2, and a pod of each given revision. Return the names of the pods.

    Labels and revisions are set as the controllers of Kubernetes set them, which do not run here.
    """
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}
    owner = create(api, "apps/v1", kind, name, spec=spec | ({"serviceName": name} if kind == "StatefulSet" else {}))
    label = "pod-template-hash" if kind == "Deployment" else "controller-revision-hash"
    owners = dict.fromkeys(("1", "2"), owner)
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}"
    for number in owners:
        labels, title = {label: number}, f"{name}-{number}"
        if kind == "Deployment":
            owners[number] = create(api, "apps/v1", "ReplicaSet", title, owner, labels=labels, spec=spec)
            change = {"metadata": {"annotations": {"deployment.kubernetes.io/revision": number}}}
            api.call("PATCH", f"{path}/replicasets/{title}", change, "application/merge-patch+json")
        elif kind == "DaemonSet":
            create(api, "apps/v1", "ControllerRevision", title, owner, labels=labels, revision=int(number), data={})
        else:
            api.status(f"{path}/statefulsets/{name}", {"replicas": 1, "updateRevision": number})
    for number in hashes:
        pod = f"{name}-pod-{number}"
        create(api, "v1", "Pod", pod, owners[number], labels={label: number}, spec=TEMPLATE["spec"])
    return [f"{name}-pod-{number}" for number in hashes]


def test_pods_whose_controller_a_rollout_cannot_use_are_not_left_out(api, read):
    """An owner of another API group, one that does not exist any more, and a StatefulSet with a partition."""
    gone = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "deleted", "uid": "1"}}
    create(api, "v1", "Pod", "deleted-0", gone, spec=TEMPLATE["spec"])
    kruise = {"apiVersion": "apps.kruise.io/v1beta1", "kind": "StatefulSet", "metadata": {"name": "web", "uid": "2"}}
    create(api, "v1", "Pod", "kruise-0", kruise, spec=TEMPLATE["spec"])
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE, "updateStrategy": strategy}
    part = create(api, "apps/v1", "StatefulSet", "part", spec={**spec, "serviceName": "part"})
    create(api, "v1", "Pod", "part-2", part, spec=TEMPLATE["spec"])
    found = read(linkerd_workloads_info, pods=[f"{NAMESPACE}/{name}" for name in ("deleted-0", "kruise-0", "part-2")])
    assert found["batches"] == []
    assert {one["object"]: one["pods"] for one in found["manual"]} == {
        f"StatefulSet {NAMESPACE}/deleted": [f"{NAMESPACE}/deleted-0"],
        f"StatefulSet {NAMESPACE}/web": [f"{NAMESPACE}/kruise-0"],
        f"StatefulSet {NAMESPACE}/part": [f"{NAMESPACE}/part-2"],
    }


@pytest.mark.parametrize(
    ("anchors", "restarts"), [([ROOT.pem], True), ([NEXT.pem], False), ([ROOT.pem, NEXT.pem], False), (None, True)]
)
def test_a_template_that_was_injected_by_hand_keeps_its_trust_anchors(api, read, anchors, restarts):
    variable = {"name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "value": ROOT.pem}
    proxy = {"name": "linkerd-proxy", "image": "none", "env": [variable]}
    template = {**TEMPLATE, "spec": {"containers": [*TEMPLATE["spec"]["containers"], proxy]}}
    with_hand = api_object(api, "StatefulSet", "by-hand", template)
    found = read(
        linkerd_workloads_info,
        pods=[f"{NAMESPACE}/by-hand-0"],
        **({} if anchors is None else {"trust_anchors": anchors}),
    )
    names = [one["object"] for one in found["manual"]]
    assert names == ([] if restarts else [f"StatefulSet {NAMESPACE}/{with_hand}"])
    assert bool(found["batches"]) is restarts


def api_object(api: Any, kind: str, name: str, template: dict) -> str:
    """A workload with a pod, unless an earlier case has created them."""
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template, "serviceName": name}
    try:
        owner = create(api, "apps/v1", kind, name, spec=spec)
        create(api, "v1", "Pod", f"{name}-0", owner, spec=template["spec"])
    except urllib.error.HTTPError as refusal:
        if refusal.code != 409:
            raise
    return name


def test_the_pod_of_the_dry_run_conforms_to_the_restricted_pod_security_standard(api, read):
    name = "restricted"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    bare = {"metadata": {"name": "bare"}, "spec": TEMPLATE["spec"]}
    with pytest.raises(urllib.error.HTTPError) as refusal:  # so admission is in force
        api.call("POST", f"/api/v1/namespaces/{name}/pods?dryRun=All", bare)
    assert refusal.value.code == 403 and "PodSecurity" in refusal.value.read().decode()
    found = read(linkerd_injected_anchors_info, namespace=name)
    assert "code" not in found and found["where"] == f"Pod {name}/{linkerd_injected_anchors_info.NAME}"


def test_a_cluster_without_injector_is_a_problem_and_stores_no_pod(api, read):
    found = read(linkerd_injected_anchors_info, namespace=NAMESPACE)
    assert found["certificates"] == [] and found["problem"]
    pods = api.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    assert linkerd_injected_anchors_info.NAME not in [one["metadata"]["name"] for one in pods]


def test_a_namespace_that_does_not_exist_is_refused(read):
    found = read(linkerd_injected_anchors_info, namespace="missing")
    assert found["failed"] and found["code"] == "pod_rejected"
