# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils import _k8s_condition as judge

WANTED = judge.Wanted("cert-manager.io/v1", "Certificate", "identity", "linkerd", "Ready")


def found(status="True", generation=2, condition_seen=None, status_seen=None, **metadata):
    condition = {"type": "Ready", "status": status, "reason": "R", "message": "because\n of this"}
    if condition_seen is not None:
        condition["observedGeneration"] = condition_seen
    body = {"metadata": {"generation": generation, **metadata}, "status": {"conditions": [condition]}}
    if status_seen is not None:
        body["status"]["observedGeneration"] = status_seen
    return body


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (found(), None),
        (found(condition_seen=2), None),
        (found(condition_seen=1), "for generation 1 only"),
        (found(status_seen=1), "for generation 1 only"),
        (found(status_seen=2), None),
        (found(condition_seen=2, status_seen=1), None),
        (found(status="False"), "is not Ready=True: Ready=False (R) because of this"),
        (found(deletionTimestamp="2026-01-01T00:00:00Z"), "is being deleted"),
        ({"metadata": {}}, "has no condition Ready"),
        (None, "does not exist"),
    ],
)
def test_unmet(given, why):
    answer = judge.unmet(given, WANTED)
    assert answer is None if why is None else why in answer


def test_another_status_may_be_wanted():
    wanted = judge.Wanted("v1", "X", "x", condition="Ready", status="False")
    assert judge.unmet(found(status="False"), wanted) is None


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        ({"kind": "Certificate"}, "Ready"),
        ({"kind": "Secret"}, None),
        ({"kind": "Whatever", "keys": ["a"]}, None),
        ({"kind": "Namespace", "condition": "NamespaceContentRemaining"}, "NamespaceContentRemaining"),
    ],
)
def test_the_default_condition(options, condition):
    assert judge.Wanted.from_options({"api_version": "v1", "name": "x", **options}).condition == condition


def test_an_empty_value_is_no_value():
    wanted = judge.Wanted("v1", "Secret", "s", keys=("a", "b", "c"))
    assert judge.unmet({"metadata": {}, "data": {"a": "eA==", "b": ""}}, wanted) == "has no data for b, c"


def test_the_newest_request_of_the_certificate():
    def request(name, made, certificate):
        annotations = {"cert-manager.io/certificate-name": certificate}
        return {"metadata": {"name": name, "creationTimestamp": made, "annotations": annotations}}

    requests = [
        request("a-2", "2026-01-02T00:00:00Z", "a"),
        request("a-1", "2026-01-01T00:00:00Z", "a"),
        request("b-1", "2026-01-03T00:00:00Z", "b"),
        {"metadata": {"name": "by-hand"}},
    ]
    assert judge.newest_request(requests, "a")["metadata"]["name"] == "a-2"
    assert judge.newest_request([], "a") is None


def test_the_last_events_in_order_whatever_their_clock_is_called():
    events = [
        {"metadata": {"creationTimestamp": "2026-01-04T00:00:00Z"}, "reason": "D", "message": "d"},
        {"metadata": {}, "reason": "B", "message": "b", "lastTimestamp": "2026-01-02T00:00:00Z"},
        {"metadata": {}, "reason": "A", "message": "a", "eventTime": "2026-01-01T00:00:00Z"},
        {"metadata": {}, "reason": "C", "message": "c", "series": {"lastObservedTime": "2026-01-03T00:00:00Z"}},
    ]
    assert judge.event_lines(events) == ["B: b", "C: c", "D: d"]


@pytest.mark.parametrize(("part", "what"), judge.ADVICE)
def test_every_known_cause_has_its_advice(part, what):
    assert what in judge.explain(WANTED, f"is not Ready=True: {part}", None, [])


def test_an_unknown_cause_names_the_command():
    told = judge.explain(WANTED, "does not exist", None, [("Last events", [])])
    assert told == (
        "Certificate linkerd/identity does not exist. "
        "See: kubectl describe certificate.cert-manager.io identity --namespace linkerd"
    )


def test_a_refused_definition_is_named_with_the_cause_and_what_to_do():
    wanted = judge.Wanted.named({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}})
    assert judge.explain_refusal(wanted, "is refused: failed calling webhook x.") == (
        "Secret b/a is refused: failed calling webhook x. The webhook does not answer yet: look at its pod."
    )
    assert judge.explain_refusal(wanted, "is refused") == "Secret b/a is refused."


def rolled(kind="Deployment", generation=2, asked=2, **status):
    return {"kind": kind, "metadata": {"generation": generation}, "spec": {"replicas": asked}, "status": status}


DONE = {"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}
DAEMONS = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (rolled(**DONE), None),
        (rolled(**{**DONE, "observedGeneration": 1}), "has not observed"),
        (rolled(**{**DONE, "updatedReplicas": 1}), "1 of 2 pods with its current template"),
        (rolled(**{**DONE, "replicas": 3}), "1 pod(s) of an earlier template"),
        (rolled(**{**DONE, "availableReplicas": 1}), "1 of 2 pods available"),
        (rolled(asked=0, observedGeneration=2), None),
        (rolled(asked=None, observedGeneration=2), "0 of 1 pods with its current template"),
        (rolled("StatefulSet", **DONE), None),
        (rolled("DaemonSet", **DAEMONS), None),
        (rolled("DaemonSet", **{**DAEMONS, "numberAvailable": 2}), "2 of 3 pods available"),
        (rolled("DaemonSet", **{**DAEMONS, "updatedNumberScheduled": 0}), "0 of 3 pods with its current template"),
    ],
)
def test_a_rollout(given, why):
    wanted = judge.Wanted.from_options({"api_version": "apps/v1", "kind": given["kind"], "name": "x", "rollout": True})
    assert wanted.condition is None
    answer = judge.unmet(given, wanted)
    assert answer is None if why is None else why in answer
