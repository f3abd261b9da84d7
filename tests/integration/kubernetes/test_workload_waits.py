# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for workloads against a real API server. What controllers and kubelets would write is written here.

What they really write is in tests/end_to_end/test_wait_messages.py.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import pods, wait
from ansible_collections.servicemesh.pki.plugins.modules import k8s_condition

# Seconds: a limit that is never waited for, and how long it may take where that is so, on a busy machine.
LONG, SOON = 900, 300
NAMESPACE = "waits"
CORE, APPS = f"/api/v1/namespaces/{NAMESPACE}", f"/apis/apps/v1/namespaces/{NAMESPACE}"
LABELS = {"app": "web"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "app", "image": "x"}]}}
WANTED = {
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
        given = {"kubeconfig": str(api.kubeconfig), **WANTED, **options}
        if "objects" in given:
            given = {name: value for name, value in given.items() if name not in WANTED}
        with patch_module_args(given), pytest.raises(SystemExit):
            k8s_condition.main()
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture(autouse=True)
def faster(monkeypatch):
    """A tenth of the patience, so that 60 s are 6."""
    monkeypatch.setattr(wait, "POLL", 0.3)
    monkeypatch.setattr(pods, "PATIENCE", tuple((*rule, least / 10) for *rule, least in pods.PATIENCE))


class Workload:
    """A Deployment and what belongs to it."""

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

    def pod(self, owner: dict, name: str = "web-1-abc", **status: Any) -> dict:
        made = self.make(CORE, "pods", name, owner, spec=TEMPLATE["spec"])
        self.api.status(f"{CORE}/pods/{name}", {"phase": "Pending", **status})
        return made

    def remove(self) -> None:
        for path in self.made:
            with contextlib.suppress(urllib.error.HTTPError):
                self.api.call("DELETE", f"{path}?gracePeriodSeconds=0")


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


def waits(reason: str, message: str = "") -> dict:
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

# The status of the pod, the reason that is named, and seconds (a tenth of the real ones) after which the wait stops.
CAUSES = {
    "a name that is none": (waits("InvalidImageName", "couldn't parse image name"), "InvalidImageName", 0),
    "an image that is not there": (waits("ErrImagePull", NOT_FOUND), "ErrImagePull", 6),
    "a registry out of reach": (waits("ImagePullBackOff", UNREACHED), "ImagePullBackOff", None),
    "a ConfigMap that is missing": (
        waits("CreateContainerConfigError", 'configmap "settings" not found'),
        "CreateContainerConfigError",
        6,
    ),
    "an image that runs as root": (
        waits("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
        "CreateContainerConfigError",
        0,
    ),
    "a crash loop": (
        {"containerStatuses": container(waiting={"reason": "CrashLoopBackOff"}, lastState=CRASHED, restarts=4)},
        "CrashLoopBackOff",
        None,
    ),
    "no node": ({"conditions": [UNSCHEDULED]}, "Unschedulable", None),
    "an init container": (
        {"initContainerStatuses": container("prepare", waiting={"reason": "InvalidImageName"})},
        "InvalidImageName",
        0,
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_named_and_ends_the_wait_where_waiting_is_in_vain(workload, run, name):
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
        assert item["seconds"] >= limit and answer["msg"].startswith("Not so after")
    else:
        assert stops <= item["seconds"] < SOON and answer["msg"].startswith("Stopped after")


def test_a_config_map_that_comes_ends_the_wait_well(workload, run):
    workload.pod(workload.replica_set(), **waits("CreateContainerConfigError", 'configmap "settings" not found'))
    available = {"conditions": [{**UNAVAILABLE, "status": "True"}]}
    timer = threading.Timer(3, workload.api.status, [f"{APPS}/deployments/web", available])
    timer.start()
    answer = run(timeout=LONG)
    timer.join()
    assert answer["objects"][0]["fulfilled"] and answer["objects"][0]["causes"] == []
    assert answer["objects"][0]["seconds"] < SOON


def test_a_cause_that_passed_and_came_again_is_waited_for_again(workload, run):
    """Two pods one after the other, each for less than the limit."""
    workload.pod(workload.replica_set(), **waits("ErrImagePull", NOT_FOUND))
    path = f"{CORE}/pods/web-1-abc"
    timers = [
        threading.Timer(1, workload.api.status, [path, waits("ContainerCreating")]),
        threading.Timer(5, workload.api.status, [path, waits("ErrImagePull", NOT_FOUND)]),
    ]
    for timer in timers:
        timer.start()
    answer = run(timeout=10)
    for timer in timers:
        timer.join()
    assert answer["msg"].startswith("Not so after")


def test_only_pods_of_the_current_template_count(workload, run):
    old, new = workload.replica_set(1), workload.replica_set(2)
    workload.pod(old, "web-1-abc", **waits("InvalidImageName"))
    workload.pod(new, "web-2-abc", **waits("ContainerCreating"))
    answer = run(timeout=2)
    assert answer["objects"][0]["causes"] == [] and answer["msg"].startswith("Not so after")


def test_pods_of_another_owner_with_the_same_labels_do_not_count(workload, run):
    workload.replica_set()
    workload.pod(workload.deployment, "stray", **waits("InvalidImageName"))
    assert run(timeout=1)["objects"][0]["causes"] == []


def test_a_workload_that_is_waited_for_later_ends_the_wait_for_the_first(api, workload, run):
    other = Workload(api, "other")
    workload.pod(workload.replica_set(), **waits("InvalidImageName"))
    first = {**WANTED, "name": "other"}
    try:
        answer = run(objects=[first, WANTED], timeout=LONG)
    finally:
        other.remove()
    assert [item["fulfilled"] for item in answer["objects"]] == [False, False]
    assert answer["objects"][1]["causes"][0]["reason"] == "InvalidImageName"
    assert answer["objects"][1]["seconds"] < SOON


def refusal(api: Any, spec: dict) -> str:
    """Why the API server takes no such pod, in its own words."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:  # admission takes a moment to know what was just made
        try:
            api.call("POST", f"{CORE}/pods?dryRun=All", {"metadata": {"name": "web-1-abc"}, "spec": spec})
        except urllib.error.HTTPError as exc:
            return json.loads(exc.read())["message"]
        time.sleep(0.1)
    raise AssertionError("the API server takes the pod")


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


@pytest.mark.parametrize(("rule", "words"), [("quota", "exceeded quota: few"), ("restricted", "violates PodSecurity")])
def test_pods_that_cannot_be_created(workload, run, request, rule, words):
    message = request.getfixturevalue(rule)
    assert words in message
    replica_set = workload.replica_set()
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    path = f"{APPS}/replicasets/{replica_set['metadata']['name']}"
    workload.api.status(path, {"replicas": 0, "conditions": [failure]})
    answer = run(timeout=LONG)
    [item] = answer["objects"]
    assert [(cause["pod"], cause["reason"]) for cause in item["causes"]] == [("", "FailedCreate")]
    assert words in item["causes"][0]["message"] and words in answer["msg"]
    assert 3 <= item["seconds"] < SOON


def test_a_warning_about_the_pod_is_named_where_its_status_has_no_reason(workload, run):
    pod = workload.pod(workload.replica_set(), **waits("ContainerCreating"))
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


def test_many_pods_of_the_same_cause_are_one_line(workload, run):
    replica_set = workload.replica_set()
    for number in range(5):
        workload.pod(replica_set, f"web-1-{number}", **waits("InvalidImageName", f"invalid in pod {number}"))
    answer = run(timeout=LONG)
    assert len(answer["objects"][0]["causes"]) == 5
    assert answer["msg"].count("InvalidImageName") == 1 and "(and 4 more alike)" in answer["msg"]


def test_a_pod_itself(workload, run):
    workload.pod(workload.replica_set(), **waits("InvalidImageName", "couldn't parse image name"))
    answer = run(api_version="v1", kind="Pod", name="web-1-abc", condition="Ready", timeout=LONG)
    assert answer["objects"][0]["causes"][0]["reason"] == "InvalidImageName"
    assert answer["objects"][0]["seconds"] < SOON


def test_check_mode_names_no_cause_and_does_not_fail(workload, run):
    workload.pod(workload.replica_set(), **waits("InvalidImageName"))
    answer = run(timeout=LONG, _ansible_check_mode=True)
    assert not answer.get("failed") and answer["objects"][0]["causes"] == []


def test_a_rollout_that_old_pods_hide(workload, run):
    """As after a restart whose new pod cannot start: the old one keeps the Deployment available."""
    available = {**UNAVAILABLE, "status": "True"}
    counts = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    workload.api.status(f"{APPS}/deployments/web", {**counts, "conditions": [available]})
    workload.pod(workload.replica_set(2), **waits("InvalidImageName"))
    assert run(timeout=LONG)["objects"][0]["fulfilled"]
    answer = run(condition=None, rollout=True, timeout=LONG)
    assert answer["objects"][0]["causes"][0]["reason"] == "InvalidImageName"
    assert "has 1 pod(s) of an earlier template left" in answer["msg"]


def test_a_rollout_of_what_rolls_nothing_out_is_an_error(run):
    answer = run(api_version="v1", kind="Pod", condition=None, rollout=True)
    assert answer["failed"] and answer["msg"].startswith("Pod waits/web has no rollout.")
