# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_condition for workloads, with a real API server. The test writes what controllers and kubelets would write.

What they really write is tested in tests/end_to_end/test_wait_messages.py.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
from collections.abc import Iterable
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions, pods, wait
from ansible_collections.servicemesh.pki.plugins.modules import k8s_condition

# Seconds: a timeout that is never reached, and the limit for such a wait on a busy machine.
LONG, SOON = 900, 300
NAMESPACE = "waits"
CORE, APPS = f"/api/v1/namespaces/{NAMESPACE}", f"/apis/apps/v1/namespaces/{NAMESPACE}"
LABELS = {"app": "web"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "app", "image": "x"}]}}
OPTIONS = {
    "api_version": "apps/v1",
    "kind": "Deployment",
    "name": "web",
    "namespace": NAMESPACE,
    "condition": "Available",
}
UNAVAILABLE = {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "None."}


@pytest.fixture(scope="session")
def api(kubernetes):
    kubernetes.namespace(NAMESPACE)
    return kubernetes


@pytest.fixture
def run(api, capsys):
    def call(**options: Any) -> dict:
        arguments = {"kubeconfig": str(api.kubeconfig), **OPTIONS, **options}
        if "objects" in arguments:
            arguments = {name: value for name, value in arguments.items() if name not in OPTIONS}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            k8s_condition.main()
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture(autouse=True)
def faster(monkeypatch):
    """A tenth of the grace periods, so that 60 s are 6."""
    monkeypatch.setattr(wait, "POD_INTERVAL", 0.3)
    monkeypatch.setattr(pods, "GRACE_PERIODS", tuple((*rule, least / 10) for *rule, least in pods.GRACE_PERIODS))


class Workload:
    """A Deployment with its ReplicaSets and pods."""

    def __init__(self, api: Any, name: str = "web") -> None:
        self.api, self.name, self.made = api, name, []
        self.deployment = self.make(APPS, "deployments", name, spec=self.spec(replicas=1))
        api.status(f"{APPS}/deployments/{name}", {"observedGeneration": 1, "conditions": [UNAVAILABLE]})

    def spec(self, **more: Any) -> dict:
        return {"selector": {"matchLabels": LABELS}, "template": TEMPLATE, **more}

    def make(self, group: str, kind: str, name: str, owner: dict | None = None, **body: Any) -> dict:
        meta = {"name": name, "labels": LABELS, **body.pop("metadata", {})}
        if owner:
            kinds = {"deployments": "ReplicaSet", "replicasets": "Deployment", "pods": "ReplicaSet"}
            reference = {"apiVersion": "apps/v1", "kind": kinds[kind], "name": "x", "uid": owner["metadata"]["uid"]}
            meta["ownerReferences"] = [reference]
        self.made.append(f"{group}/{kind}/{name}")
        return self.api.call("POST", f"{group}/{kind}", {"metadata": meta, **body})

    def replica_set(self, revision: int = 1) -> dict:
        meta = {"annotations": {"deployment.kubernetes.io/revision": str(revision)}}
        name = f"{self.name}-{revision}"
        return self.make(APPS, "replicasets", name, self.deployment, metadata=meta, spec=self.spec(replicas=1))

    def pod(self, owner: dict, name: str = "web-1-abc", metadata: dict | None = None, **status: Any) -> dict:
        made = self.make(CORE, "pods", name, owner, metadata=metadata or {}, spec=TEMPLATE["spec"])
        self.api.status(f"{CORE}/pods/{name}", {"phase": "Pending", **status})
        return made

    def remove(self) -> None:
        for path in self.made:
            with contextlib.suppress(urllib.error.HTTPError):
                self.api.call("DELETE", f"{path}?gracePeriodSeconds=0&propagationPolicy=Background")


@pytest.fixture
def workload(api):
    made = Workload(api)
    yield made
    made.remove()


def container(name: str = "app", **state: Any) -> list[dict]:
    last = state.pop("lastState", {})
    restarts = state.pop("restarts", 0)
    found = {"name": name, "image": "x", "imageID": "", "ready": False, "restartCount": restarts}
    return [{**found, "state": state, "lastState": last}]


def waiting(reason: str, message: str = "") -> dict:
    return {"containerStatuses": container(waiting={"reason": reason, "message": message})}


CRASHED = {"terminated": {"exitCode": 3, "reason": "Error"}}
NOT_FOUND = 'failed to pull and unpack image "docker.io/library/x:latest": docker.io/library/x:latest: not found'
UNREACHED = 'failed to do request: Head "https://registry/v2/x": dial tcp: lookup registry: no such host'
UNSCHEDULED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available",
}

# Status of the pod, reported reason, and seconds (a tenth of the real ones) after which the wait stops.
CAUSES = {
    "invalid image name": (waiting("InvalidImageName", "couldn't parse image name"), "InvalidImageName", 0),
    "missing image": (waiting("ErrImagePull", NOT_FOUND), "ErrImagePull", 6),
    "unreachable registry": (waiting("ImagePullBackOff", UNREACHED), "ImagePullBackOff", None),
    "missing ConfigMap": (
        waiting("CreateContainerConfigError", 'configmap "settings" not found'),
        "CreateContainerConfigError",
        6,
    ),
    "image that runs as root": (
        waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
        "CreateContainerConfigError",
        0,
    ),
    "crash loop": (
        {"containerStatuses": container(waiting={"reason": "CrashLoopBackOff"}, lastState=CRASHED, restarts=4)},
        "CrashLoopBackOff",
        None,
    ),
    "no node": ({"conditions": [UNSCHEDULED]}, "Unschedulable", None),
    "init container": (
        {"initContainerStatuses": container("prepare", waiting={"reason": "InvalidImageName"})},
        "InvalidImageName",
        0,
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_cause_is_reported_and_unrecoverable_one_ends_wait(workload, run, name):
    status, reason, stops = CAUSES[name]
    workload.pod(workload.replica_set(), **status)
    limit = 3 if stops is None else LONG
    answer = run(timeout=limit)
    [item] = answer["objects"]
    assert answer["failed"] and not item["fulfilled"]
    assert [(cause["pod"], cause["reason"]) for cause in item["causes"]] == [("web-1-abc", reason)]
    name = item["causes"][0]["container"]
    where = f"Pod waits/web-1-abc, container {name}" if name else "Pod waits/web-1-abc"
    assert f"{where}: {reason}" in answer["msg"] and "web-1-abc" in answer["msg"].rpartition("See: ")[2]
    if stops is None:
        assert item["seconds"] >= limit and answer["code"] == "timeout"
    else:
        assert stops <= item["seconds"] < SOON and answer["code"] == "unrecoverable"


def test_config_map_that_is_created_later_ends_wait(workload, run):
    workload.pod(workload.replica_set(), **waiting("CreateContainerConfigError", 'configmap "settings" not found'))
    available = {"conditions": [{**UNAVAILABLE, "status": "True"}]}
    timer = threading.Timer(3, workload.api.status, [f"{APPS}/deployments/web", available])
    timer.start()
    answer = run(timeout=LONG)
    timer.join()
    assert answer["objects"][0]["fulfilled"] and answer["objects"][0]["causes"] == []
    assert answer["objects"][0]["seconds"] < SOON


def test_cause_that_recurs_has_new_grace_period(workload, run, monkeypatch):
    """It is not present at the second read. For the grace period of 6 s, the reads are 4 s apart."""
    workload.pod(workload.replica_set(), **waiting("ErrImagePull", NOT_FOUND))
    persist, reads = pods.PersistentCauses.persist, []
    statuses = {1: waiting("ContainerCreating"), 2: waiting("ErrImagePull", NOT_FOUND)}

    def read(self: pods.PersistentCauses, name: str, causes: Iterable[pods.Cause], _now: float) -> bool:
        found = list(causes)
        reads.append([cause.reason for cause in found])
        if len(reads) in statuses:
            workload.api.status(f"{CORE}/pods/web-1-abc", statuses[len(reads)])
        return persist(self, name, found, 4.0 * len(reads))

    monkeypatch.setattr(pods.PersistentCauses, "persist", read)
    assert run(timeout=LONG)["code"] == "unrecoverable"
    assert reads == [["ErrImagePull"], [], ["ErrImagePull"], ["ErrImagePull"], ["ErrImagePull"]]


def test_pods_of_earlier_template_are_ignored(workload, run):
    old, new = workload.replica_set(1), workload.replica_set(2)
    workload.pod(old, "web-1-abc", **waiting("InvalidImageName"))
    workload.pod(new, "web-2-abc", **waiting("ContainerCreating"))
    answer = run(timeout=2)
    assert answer["objects"][0]["causes"] == [] and answer["code"] == "timeout"


def test_pods_of_another_owner_are_ignored(workload, run):
    workload.replica_set()
    workload.pod(workload.deployment, "stray", **waiting("InvalidImageName"))
    assert run(timeout=1)["objects"][0]["causes"] == []


def test_unrecoverable_second_workload_ends_wait_for_first(api, workload, run):
    other = Workload(api, "other")
    workload.pod(workload.replica_set(), **waiting("InvalidImageName"))
    first = {**OPTIONS, "name": "other"}
    try:
        answer = run(objects=[first, OPTIONS], timeout=LONG)
    finally:
        other.remove()
    assert [item["fulfilled"] for item in answer["objects"]] == [False, False]
    assert answer["objects"][1]["causes"][0]["reason"] == "InvalidImageName"
    assert answer["objects"][1]["seconds"] < SOON


def refusal(api: Any, spec: dict) -> str:
    """The message with which the API server rejects such a pod."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:  # until admission uses the new object
        try:
            api.call("POST", f"{CORE}/pods?dryRun=All", {"metadata": {"name": "web-1-abc"}, "spec": spec})
        except urllib.error.HTTPError as exc:
            return json.loads(exc.read())["message"]
        time.sleep(0.1)
    raise AssertionError("the API server accepts the pod")


@pytest.fixture
def quota(api):
    made = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}
    api.call("POST", f"{CORE}/resourcequotas", made)
    api.status(f"{CORE}/resourcequotas/few", {"hard": {"pods": "0"}, "used": {"pods": "0"}})
    message = refusal(api, TEMPLATE["spec"])
    api.call("DELETE", f"{CORE}/resourcequotas/few")
    return message


@pytest.fixture
def restricted(api):
    label = "pod-security.kubernetes.io/enforce"
    kind = "application/merge-patch+json"
    api.call("PATCH", f"/api/v1/namespaces/{NAMESPACE}", {"metadata": {"labels": {label: "restricted"}}}, kind)
    message = refusal(api, TEMPLATE["spec"])
    api.call("PATCH", f"/api/v1/namespaces/{NAMESPACE}", {"metadata": {"labels": {label: None}}}, kind)
    return message


@pytest.fixture
def openshift():
    """As https://github.com/linkerd/linkerd2/issues/8553 reports it."""
    return (
        'pods "web-1-" is forbidden: unable to validate against any security context constraint: [provider "anyuid": '
        "Forbidden: not usable by user or serviceaccount, spec.containers[1].securityContext.runAsUser: Invalid value: "
        "2102: must be in the ranges: [1001180000, 1001189999]]"
    )


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ("quota", "exceeded quota: few"),
        ("restricted", "violates PodSecurity"),
        ("openshift", "unable to validate against any security context constraint"),
    ],
)
def test_pods_that_admission_rejects(workload, run, request, rule, part):
    message = request.getfixturevalue(rule)
    assert part in message
    replica_set = workload.replica_set()
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    path = f"{APPS}/replicasets/{replica_set['metadata']['name']}"
    workload.api.status(path, {"replicas": 0, "conditions": [failure]})
    answer = run(timeout=LONG)
    [item] = answer["objects"]
    assert [(cause["pod"], cause["reason"]) for cause in item["causes"]] == [("", "FailedCreate")]
    assert part in item["causes"][0]["message"] and part in answer["msg"]
    assert 3 <= item["seconds"] < SOON


BATCH = f"/apis/batch/v1/namespaces/{NAMESPACE}"
WITH_EVENTS = {
    "DaemonSet": (APPS, "daemonsets", {"rollout": True, "condition": None}),
    "StatefulSet": (APPS, "statefulsets", {"rollout": True, "condition": None}),
    "Job": (BATCH, "jobs", {"api_version": "batch/v1", "condition": "Complete"}),
}


@pytest.fixture(params=WITH_EVENTS)
def rejected(request, workload, quota):
    """A workload whose controller reports an event instead of a condition, and the options that wait for it."""
    group, plural, options = WITH_EVENTS[request.param]
    spec = workload.spec(serviceName="web") if request.param == "StatefulSet" else workload.spec()
    if request.param == "Job":
        spec = {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}
    made = workload.make(group, plural, "web", spec=spec)
    involved = {"kind": request.param, "name": "web", "namespace": NAMESPACE, "uid": made["metadata"]["uid"]}
    for name, message in (("before", "the first one"), ("now", f"Error creating: {quota}")):
        event = {"involvedObject": involved, "type": "Warning", "reason": "FailedCreate", "message": message}
        times = {"lastTimestamp": "2026-01-01T00:00:00Z"} if name == "before" else {}
        workload.make(CORE, "events", f"web.{name}", **event, **times)
    return made, {"kind": request.param, **options}


def test_rejected_pods_of_controller_without_a_condition(rejected, run):
    dummy, options = rejected
    answer = run(timeout=LONG, **options)
    [item] = answer["objects"]
    assert [(cause["pod"], cause["reason"]) for cause in item["causes"]] == [("", "FailedCreate")]
    assert "exceeded quota: few" in item["causes"][0]["message"]
    assert dict(conditions.ADVICE_FOR_PODS)["exceeded quota"] in answer["msg"]
    assert answer["code"] == "unrecoverable" and 3 <= item["seconds"] < SOON


def test_rejection_before_a_pod_was_created_is_no_cause(rejected, workload, run):
    """The quota was raised, and the controller has created the pod."""
    made, options = rejected
    labels = made["spec"]["selector"]["matchLabels"]
    workload.pod(made, metadata={"labels": labels}, **waiting("ContainerCreating"))
    answer = run(timeout=4, **options)
    assert answer["objects"][0]["causes"] == [] and answer["code"] == "timeout"


def test_warning_about_pod_is_cause_without_reason_in_status(workload, run):
    pod = workload.pod(workload.replica_set(), **waiting("ContainerCreating"))
    event = {
        "metadata": {"name": "web.1"},
        "involvedObject": {"kind": "Pod", "name": "web-1-abc", "namespace": NAMESPACE, "uid": pod["metadata"]["uid"]},
        "type": "Warning",
        "reason": "FailedMount",
        "message": 'MountVolume.SetUp failed for volume "tls": secret "linkerd-identity-issuer" not found',
    }
    workload.api.call("POST", f"{CORE}/events", event)
    [cause] = run(timeout=1)["objects"][0]["causes"]
    workload.api.call("DELETE", f"{CORE}/events/web.1")
    assert cause["reason"] == "FailedMount" and "linkerd-identity-issuer" in cause["message"]


def test_same_cause_of_many_pods_is_one_line(workload, run):
    replica_set = workload.replica_set()
    for number in range(5):
        workload.pod(replica_set, f"web-1-{number}", **waiting("InvalidImageName", f"invalid in pod {number}"))
    answer = run(timeout=LONG)
    assert len(answer["objects"][0]["causes"]) == 5
    assert answer["msg"].count("InvalidImageName") == 1 and "(and 4 more)" in answer["msg"]


def test_pod(workload, run):
    workload.pod(workload.replica_set(), **waiting("InvalidImageName", "couldn't parse image name"))
    answer = run(api_version="v1", kind="Pod", name="web-1-abc", condition="Ready", timeout=LONG)
    assert answer["objects"][0]["causes"][0]["reason"] == "InvalidImageName"
    assert answer["objects"][0]["seconds"] < SOON


def test_check_mode_returns_no_cause_and_does_not_fail(workload, run):
    workload.pod(workload.replica_set(), **waiting("InvalidImageName"))
    answer = run(timeout=LONG, _ansible_check_mode=True)
    assert not answer.get("failed") and answer["objects"][0]["causes"] == []


def test_rollout_with_available_old_pods_is_not_complete(workload, run):
    """As after a restart whose new pod cannot start: the Deployment is available because of the old one."""
    available = {**UNAVAILABLE, "status": "True"}
    counts = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    workload.api.status(f"{APPS}/deployments/web", {**counts, "conditions": [available]})
    workload.pod(workload.replica_set(2), **waiting("InvalidImageName"))
    assert run(timeout=LONG)["objects"][0]["fulfilled"]
    answer = run(condition=None, rollout=True, timeout=LONG)
    assert answer["objects"][0]["causes"][0]["reason"] == "InvalidImageName"
    assert "earlier template" in answer["objects"][0]["reason"]


def test_rollout_of_kind_without_rollout_is_an_error(run):
    answer = run(api_version="v1", kind="Pod", condition=None, rollout=True)
    assert answer["code"] == "unsupported_kind" and "Pod waits/web" in answer["msg"]
