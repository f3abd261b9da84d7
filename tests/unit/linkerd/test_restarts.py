# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owners of pods, obstacles to restarts, and batches."""

from __future__ import annotations

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import restarts

APPS, KRUISE, ARGO = "apps/v1", "apps.kruise.io/v1beta1", "argoproj.io/v1alpha1"


def owned(version: str, kind: str, name: str, **labels: str) -> dict:
    """A pod, and the reference to its controller."""
    reference = {"apiVersion": version, "kind": kind, "name": name, "uid": f"uid of {name}", "controller": True}
    return {"metadata": {"name": "pod", "labels": labels, "ownerReferences": [reference]}}


def replica_set(name: str, deployment: str = "", version: str = APPS) -> dict:
    kind = "Rollout" if version == ARGO else "Deployment"
    found = owned(version, kind, deployment) if deployment else {"metadata": {}}
    found["metadata"]["name"] = name
    return found


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        (owned(APPS, "ReplicaSet", "web-1"), ("apps", "Deployment", "web")),
        (owned(APPS, "ReplicaSet", "alone"), ("apps", "ReplicaSet", "alone")),
        (owned(APPS, "ReplicaSet", "argo-1"), ("argoproj.io", "Rollout", "argo")),
        (owned(APPS, "StatefulSet", "db"), ("apps", "StatefulSet", "db")),
        (owned(KRUISE, "StatefulSet", "db"), ("apps.kruise.io", "StatefulSet", "db")),
        (owned("batch/v1", "Job", "nightly"), ("batch", "Job", "nightly")),
        (owned("v1", "ReplicationController", "old"), ("", "ReplicationController", "old")),
        ({"metadata": {"name": "bare"}}, ("", "", "")),
        ({"metadata": {"ownerReferences": [{"kind": "Node", "name": "n", "controller": False}]}}, ("", "", "")),
    ],
)
def test_workload_of_a_pod(pod, workload):
    sets = [replica_set("alone"), replica_set("web-1", "web"), replica_set("argo-1", "argo", ARGO)]
    assert restarts.workload_of(pod, sets) == workload


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("argoproj.io", "Rollout"),
        ("apps.kruise.io", "StatefulSet"),
        ("apps.kruise.io", "DaemonSet"),
        ("", ""),
    ],
)
def test_pods_without_rollout_are_left_to_the_user(group, kind):
    assert restarts.why_not_owner(restarts.Owner(group, kind, "one"))


@pytest.mark.parametrize("kind", restarts.RESTARTABLE)
def test_workloads_with_rollout_are_restarted(kind):
    assert restarts.why_not_owner(restarts.Owner("apps", kind, "one")) == ""
    assert (
        restarts.why_no_rollout({"kind": kind, "spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}) == ""
    )
    assert restarts.why_no_rollout({"kind": kind, "spec": {}}) == ""
    assert restarts.why_not_now({"kind": kind, "spec": {}}, []) == ""


@pytest.mark.parametrize(
    ("kind", "spec", "named"),
    [
        ("Deployment", {"paused": True}, "paused"),
        ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
        ("StatefulSet", {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}, "partition"),
    ],
)
def test_workloads_that_a_rollout_does_not_restart_completely(kind, spec, named):
    assert named in restarts.why_no_rollout({"kind": kind, "spec": spec})


def deployment(*revisions: str) -> tuple[dict, list[dict]]:
    """A Deployment and its ReplicaSets by revision, the hashes of which are the revisions."""
    sets = [owned(APPS, "Deployment", "web", **{"pod-template-hash": one}) for one in revisions]
    for one in sets:
        number = one["metadata"]["labels"]["pod-template-hash"]
        one["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": number}
    return {"kind": "Deployment", "metadata": {"uid": "uid of web"}}, sets


def daemon_set(*revisions: int) -> tuple[dict, list[dict]]:
    history = [
        {**owned(APPS, "DaemonSet", "agent", **{"controller-revision-hash": str(one)}), "revision": one}
        for one in revisions
    ]
    return {"kind": "DaemonSet", "metadata": {"uid": "uid of agent"}}, history


def stateful_set(current: str) -> tuple[dict, list[dict]]:
    return {"kind": "StatefulSet", "metadata": {"uid": "uid of db"}, "status": {"updateRevision": current}}, []


OTHERS = [*deployment("99")[1], *daemon_set(99)[1]]
for other in OTHERS:
    other["metadata"]["ownerReferences"][0]["uid"] = "uid of another"


@pytest.mark.parametrize(
    ("given", "label"),
    [
        (deployment("2", "10", "9"), "pod-template-hash"),
        (daemon_set(2, 10, 9), "controller-revision-hash"),
        (stateful_set("10"), "controller-revision-hash"),
    ],
)
@pytest.mark.parametrize(
    ("pods", "is_replacing"), [(["9"], True), (["2", "9"], True), (["10"], False), (["9", "10"], False)]
)
def test_a_rollout_replaces_pods_of_earlier_templates(given, label, pods, is_replacing):
    workload, history = given
    found = [{"metadata": {"labels": {label: one}}} for one in pods]
    assert restarts.is_replacing(workload, found, [*OTHERS, *history]) is is_replacing


@pytest.mark.parametrize("given", [deployment(), daemon_set(), stateful_set("")])
def test_without_a_known_template_no_rollout_replaces_pods(given):
    assert not restarts.is_replacing(given[0], [{"metadata": {"labels": None}}], OTHERS)


def budget(allowed: int | None, **selector) -> dict:
    return {
        "metadata": {"name": "limit"},
        "spec": {"selector": selector or None},
        "status": {} if allowed is None else {"disruptionsAllowed": allowed},
    }


@pytest.mark.parametrize(
    ("budgets", "named"),
    [
        ([budget(0, matchLabels={"app": "web"})], "limit"),
        ([budget(None, matchLabels={"app": "web"})], "limit"),
        ([budget(1, matchLabels={"app": "web"})], ""),
        ([budget(0, matchLabels={"app": "db"})], ""),
        ([budget(0)], ""),
    ],
)
def test_workloads_that_must_not_be_restarted_now(budgets, named):
    template = {"template": {"metadata": {"labels": {"app": "web"}}}}
    reason = restarts.why_not_now({"kind": "Deployment", "spec": template}, budgets)
    assert named in reason and bool(named) == bool(reason)


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ({"key": "app", "operator": "In", "values": ["web"]}, True),
        ({"key": "app", "operator": "In", "values": ["db"]}, False),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "tier", "operator": "NotIn", "values": ["web"]}, True),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "tier", "operator": "Exists"}, False),
        ({"key": "tier", "operator": "DoesNotExist"}, True),
        ({"key": "app", "operator": "DoesNotExist"}, False),
    ],
)
def test_label_selectors(expression, selected):
    assert restarts.selects({"matchExpressions": [expression]}, {"app": "web"}) is selected


def test_an_empty_selector_selects_everything_and_none_selects_nothing():
    assert restarts.selects({}, {"app": "web"}) and not restarts.selects(None, {"app": "web"})


def test_the_control_plane_is_restarted_first_then_namespace_by_namespace():
    def one(namespace: str, name: str) -> dict:
        return {"kind": "Deployment", "namespace": namespace, "name": name}

    given = [one("zebra", "a"), one("app", "c"), one("app", "a"), one("linkerd", "b"), one("app", "b")]
    found = [
        [f"{item['namespace']}/{item['name']}" for item in batch] for batch in restarts.batches(given, "linkerd", 2)
    ]
    assert found == [["linkerd/b"], ["app/a", "app/b"], ["app/c"], ["zebra/a"]]
