# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owners of pods, obstacles to restarts, and batches."""

from __future__ import annotations

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import restarts


def owned(kind: str, name: str) -> dict:
    return {"metadata": {"name": "pod", "ownerReferences": [{"kind": kind, "name": name, "controller": True}]}}


def replica_set(name: str, deployment: str = "") -> dict:
    found = owned("Deployment", deployment) if deployment else {"metadata": {}}
    found["metadata"]["name"] = name
    return found


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        (owned("ReplicaSet", "web-1"), ("Deployment", "web")),
        (owned("ReplicaSet", "alone"), ("ReplicaSet", "alone")),
        (owned("StatefulSet", "db"), ("StatefulSet", "db")),
        (owned("Job", "nightly"), ("Job", "nightly")),
        ({"metadata": {"name": "bare"}}, ("", "")),
        ({"metadata": {"ownerReferences": [{"kind": "Node", "name": "n", "controller": False}]}}, ("", "")),
    ],
)
def test_workload_of_a_pod(pod, workload):
    assert restarts.workload_of(pod, [replica_set("alone"), replica_set("web-1", "web")]) == workload


@pytest.mark.parametrize("kind", ["ReplicaSet", "Job", "Rollout", ""])
def test_pods_without_rollout_are_left_to_the_user(kind):
    assert restarts.why_not_kind(kind)


@pytest.mark.parametrize("kind", restarts.RESTARTABLE)
def test_workloads_with_rollout_are_restarted(kind):
    assert restarts.why_not_kind(kind) == ""
    assert restarts.why_not_now({"kind": kind, "spec": {}}, []) == ""


def budget(allowed: int | None, **selector) -> dict:
    return {
        "metadata": {"name": "limit"},
        "spec": {"selector": selector or None},
        "status": {} if allowed is None else {"disruptionsAllowed": allowed},
    }


@pytest.mark.parametrize(
    ("kind", "spec", "budgets", "named"),
    [
        ("Deployment", {"paused": True}, [], "paused"),
        ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, [], "OnDelete"),
        ("Deployment", {}, [budget(0, matchLabels={"app": "web"})], "limit"),
        ("Deployment", {}, [budget(None, matchLabels={"app": "web"})], "limit"),
        ("Deployment", {}, [budget(1, matchLabels={"app": "web"})], ""),
        ("Deployment", {}, [budget(0, matchLabels={"app": "db"})], ""),
        ("Deployment", {}, [budget(0)], ""),
    ],
)
def test_workloads_that_must_not_be_restarted_now(kind, spec, budgets, named):
    template = {"template": {"metadata": {"labels": {"app": "web"}}}}
    reason = restarts.why_not_now({"kind": kind, "spec": {**template, **spec}}, budgets)
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
