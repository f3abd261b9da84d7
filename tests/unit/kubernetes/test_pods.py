# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes of pods that are not ready, and their grace periods. With a real API server: tests/integration/kubernetes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import pods


def pod(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    meta = {"name": "web-1", "namespace": "shop", "uid": "1"}
    return {"metadata": meta, "status": {"phase": "Pending", "containerStatuses": list(containers), **more}}


def container(name: str = "app", restarts: int = 0, last: dict[str, Any] | None = None, **state: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "lastState": last or {}, "restartCount": restarts}


def event(reason: str, message: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {}, "involvedObject": {"uid": "1"}, "reason": reason, "message": message, **more}


def only_cause(found: dict[str, Any], *events: dict[str, Any]) -> pods.Cause:
    [cause] = pods.pod_causes(found, list(events))
    return cause


PULL = 'Failed to pull image "x": rpc error: code = NotFound desc = not found'
STATUS = "unexpected status from GET request to https://ghcr.io/token?service=ghcr.io"  # of containerd
OLD = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


def test_pull_error_is_in_event_up_to_kubernetes_1_30():
    found = pod(container(waiting={"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}))
    cause = only_cause(
        found, event("Failed", PULL), event("Failed", "Error: ErrImagePull"), event("Other", "pull image")
    )
    assert "not found" in cause.message and cause.grace_period == 60
    new = pod(container(waiting={"reason": "ImagePullBackOff", "message": "Back-off: ErrImagePull: rpc error"}))
    assert only_cause(new, event("Failed", PULL)).message == "Back-off: ErrImagePull: rpc error"


@pytest.mark.parametrize(
    ("crashed", "message"),
    [
        (
            container(waiting={"reason": "CrashLoopBackOff"}, last=OLD, restarts=2),
            "exit code 137 (OOMKilled) after 2 restarts",
        ),
        (container(terminated={"exitCode": 1, "reason": "Error"}, restarts=1), "exit code 1 (Error) after 1 restart"),
        (
            container(terminated={"exitCode": 1, "reason": "StartError", "message": 'exec: "x": not found in $PATH'}),
            'exec: "x": not found in $PATH',
        ),
    ],
)
def test_cause_of_crashed_container(crashed, message):
    cause = only_cause(pod(crashed))
    assert message in cause.message and cause.crashed and cause.grace_period is None
    assert pods.command([cause], "shop") == "kubectl logs web-1 --container app --previous --namespace shop"


@pytest.mark.parametrize(
    "found",
    [
        pod(container(terminated={"exitCode": 0})),
        pod(container(waiting={"reason": "PodInitializing"})),
        pod(container(running={}), conditions=[{"type": "Ready", "status": "True"}]),
        {**pod(container(waiting={"reason": "InvalidImageName"})), "metadata": {"name": "x", "deletionTimestamp": "t"}},
    ],
)
def test_healthy_pod_has_no_cause(found):
    assert pods.pod_causes(found, []) == []


def test_cause_of_running_pod_is_last_warning():
    events = [
        event("Unhealthy", "Readiness probe failed: 503", type="Warning", lastTimestamp="2026-01-02T00:00:00Z"),
        event("BackOff", "before", type="Warning", lastTimestamp="2026-01-01T00:00:00Z"),
        event("Pulled", "later", type="Normal", lastTimestamp="2026-01-03T00:00:00Z"),
        {**event("Unhealthy", "of another pod", type="Warning"), "involvedObject": {"uid": "2"}},
    ]
    assert only_cause(pod(container(running={})), *events).message == "Readiness probe failed: 503"


def test_cause_of_evicted_pod():
    assert only_cause(pod(phase="Failed", reason="Evicted", message="low on memory")).reason == "Evicted"


@pytest.mark.parametrize(
    ("reason", "message", "seconds"),
    [
        ("InvalidImageName", "couldn't parse image name", 0),
        ("ErrImagePull", "manifest unknown", 60),
        ("ImagePullBackOff", "pull access denied, repository does not exist", 60),
        ("ErrImagePull", f"failed to fetch anonymous token: {STATUS}: 401 Unauthorized", 60),
        ("ErrImagePull", f"failed to resolve reference: {STATUS}: 403 Forbidden", 60),
        ("ErrImagePull", "requesting bearer token: invalid status code from registry 403 (Forbidden)", 60),  # CRI-O
        ("ErrImagePull", "Error response from daemon: no basic auth credentials", 60),  # cri-dockerd
        ("ErrImagePull", f"failed to resolve reference: {STATUS}: 503 Service Unavailable", None),
        ("ErrImagePull", "dial tcp: i/o timeout", None),
        ("ErrImageNeverPull", "Container image is not present with pull policy of Never", None),
        ("CreateContainerConfigError", 'secret "x" not found', 60),
        ("CreateContainerConfigError", "container's runAsUser breaks non-root policy", 0),
        ("FailedCreate", 'error looking up service account shop/web: serviceaccount "web" not found', None),
        ("FailedCreate", 'pods "x" is forbidden: exceeded quota: q, requested: pods=1', 30),
        ("FailedCreate", 'pods "x" is forbidden: maximum memory usage per Container is 1Gi', 30),
        ("Unschedulable", "0/1 nodes are available", None),
        ("CrashLoopBackOff", "exit code 1", None),
    ],
)
def test_grace_period_of_cause(reason, message, seconds):
    assert pods.Cause("x", reason, message).grace_period == seconds


def test_grace_period_is_for_uninterrupted_cause_of_one_workload():
    causes, cause = pods.PersistentCauses(), pods.Cause("x", "ErrImagePull", "not found", container="app")
    retried = pods.Cause("y", "ImagePullBackOff", "not found", container="app")
    assert not causes.persist("a", [cause], 0)
    assert not causes.persist("b", [cause], 30)
    assert causes.persist("a", [retried], 60)  # the kubelet retried in between
    assert not causes.persist("b", [], 61)
    assert not causes.persist("b", [cause], 95)
    assert causes.persist("b", [cause], 155)


def test_grace_period_of_image_continues_in_back_off_of_kubernetes_1_30():
    """Without an error in its status, the pod still has the cause that the kubelet reported before."""
    causes = pods.PersistentCauses()
    refused = pods.Cause("x", "ErrImagePull", "not found", container="app")
    unreachable = pods.Cause("x", "ErrImagePull", "dial tcp: i/o timeout", container="app")
    back_off = pods.Cause("x", "ImagePullBackOff", 'Back-off pulling image "x"', container="app")
    assert back_off.grace_period is None
    assert not causes.persist("a", [refused], 0)
    assert not causes.persist("a", [back_off], 12)
    assert not causes.persist("a", [refused], 24)
    assert not causes.persist("a", [back_off], 59)
    assert causes.persist("a", [refused], 60)
    assert not causes.persist("a", [unreachable], 61)  # interrupts it
    assert not causes.persist("a", [back_off], 90)
    assert not causes.persist("a", [refused], 130)
    assert causes.persist("a", [refused], 190)


def test_selector_as_query_parameter():
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "tier", "operator": "NotIn", "values": ["c"]},
        {"key": "track", "operator": "Exists"},
        {"key": "canary", "operator": "DoesNotExist"},
    ]
    spec = {"selector": {"matchLabels": {"app": "web"}, "matchExpressions": expressions}}
    assert pods.selector({"spec": spec}) == "app=web,tier in (a,b),tier notin (c),track,!canary"


def test_newest_replica_set():
    sets = [
        {"metadata": {"name": text, "annotations": {"deployment.kubernetes.io/revision": text}}}
        for text in ("2", "10", "9", "x")
    ]
    assert pods.newest(sets)["metadata"]["name"] == "10"
    assert pods.newest([]) is None


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("first\n  the  last \n\n", "the last"),
        ("", ""),
        ("unable to retrieve container logs for containerd://ada16f773ca5742d223fa73a396ae68d5", ""),
        ("x" * 1000, "x" * 300),
    ],
)
def test_last_line_of_log(log, line):
    assert pods.last_line(log) == line
