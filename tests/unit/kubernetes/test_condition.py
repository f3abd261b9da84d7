# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions

WANTED = conditions.Wanted("cert-manager.io/v1", "Certificate", "identity", "linkerd", "Ready")


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
        ({"metadata": {}, "status": {"conditions": [{"type": "Other", "status": "True"}]}}, "has no condition Ready"),
        (found() | {"metadata": {}}, None),
        (None, "does not exist"),
    ],
)
def test_unmet(given, why):
    answer = conditions.unmet(given, WANTED)
    assert answer is None if why is None else why in answer


def test_another_status_may_be_wanted():
    wanted = conditions.Wanted("v1", "X", "x", condition="Ready", status="False")
    assert conditions.unmet(found(status="False"), wanted) is None


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        ({"kind": "Certificate"}, "Ready"),
        ({"kind": "Certificate", "condition": "Issuing"}, "Issuing"),
        ({"kind": "Secret"}, None),
        ({"kind": "Whatever", "keys": ["a"]}, None),
        ({"kind": "Namespace", "condition": "NamespaceContentRemaining"}, "NamespaceContentRemaining"),
    ],
)
def test_the_default_condition(options, condition):
    assert conditions.Wanted.from_options({"api_version": "v1", "name": "x", **options}).condition == condition


def test_an_empty_value_is_no_value():
    wanted = conditions.Wanted("v1", "Secret", "s", keys=("a", "b", "c"))
    assert conditions.unmet({"metadata": {}, "data": {"a": "eA==", "b": ""}}, wanted) == "has no data for b, c"


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
    assert conditions.newest_request(requests, "a")["metadata"]["name"] == "a-2"
    assert conditions.newest_request([], "a") is None


def test_the_last_events_in_order_whatever_their_clock_is_called():
    events = [
        {"metadata": {"creationTimestamp": "2026-01-04T00:00:00Z"}, "reason": "D", "message": "d"},
        {"metadata": {}, "reason": "B", "message": "b", "lastTimestamp": "2026-01-02T00:00:00Z"},
        {"metadata": {}, "reason": "A", "message": "a", "eventTime": "2026-01-01T00:00:00Z"},
        {"metadata": {}, "reason": "C", "message": "c", "series": {"lastObservedTime": "2026-01-03T00:00:00Z"}},
    ]
    assert conditions.event_lines(events) == ["B: b", "C: c", "D: d"]


# As Vault, Go, cert-manager, trust-manager and Kubernetes write them, and a part of what to do.
CAUSES = [
    ("Vault failed to sign: Code: 403. Errors: * permission denied", "compare the Vault policy"),
    (
        'Post "http://127.0.0.1:8200/v1/x": dial tcp 127.0.0.1:8200: connect: connection refused',
        "in-network address",
    ),
    ("dial tcp: lookup vault.test on 10.43.0.10:53: no such host", "cluster's DNS knows"),
    ("dial tcp 10.0.0.1:8200: i/o timeout", "network policies"),
    ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "network policies"),
    ("x509: certificate signed by unknown authority", "its CA bundle"),
    ("certificate chain is malformed or broken", "the issuer's chain"),
    ("issuer has a max path length of zero", "1 or more"),
    ("Bundle source was not found (SourceNotFound)", "the trust namespace"),
    ('Internal error occurred: failed calling webhook "webhook.cert-manager.io"', "look at its pod"),
]
CAUSES_OF_PODS = [
    ("waiting: InvalidImageName", "Correct the name of the image"),
    ("waiting: ErrImagePull", "the nodes reach its registry"),
    ("waiting: ImagePullBackOff", "the nodes reach its registry"),
    ("waiting: CreateContainerConfigError: secret not found", "correct its specification"),
    ("PodScheduled=False (Unschedulable) 0/1 nodes are available", "Add nodes"),
    ('pods "a" is forbidden: exceeded quota: q, requested: pods=1', "Raise the quota"),
]


@pytest.mark.parametrize(("message", "what"), CAUSES)
def test_a_known_cause_has_its_advice(message, what):
    told = conditions.explain(WANTED, f"is not Ready=True: {message}", None, [])
    assert what in told
    assert "kubectl" not in told


@pytest.mark.parametrize(("message", "what"), CAUSES_OF_PODS)
def test_a_known_cause_of_pods_has_its_advice_and_no_other(message, what):
    answer = conditions.explain(
        WANTED, "is not Available=True", None, [(conditions.PODS, [f"{message}: lookup x: no such host"])]
    )
    assert what in answer and "DNS" not in answer


@pytest.mark.parametrize(
    ("table", "causes"), [(conditions.ADVICE, CAUSES), (conditions.ADVICE_FOR_PODS, CAUSES_OF_PODS)]
)
def test_every_advice_has_its_cause(table, causes):
    messages = [message.lower() for message, dummy in causes]
    assert [part for part, dummy in table if not any(part.lower() in message for message in messages)] == []


def test_an_unknown_cause_names_the_command():
    told = conditions.explain(WANTED, "does not exist", None, [("Last events", [])])
    assert told == (
        "Certificate linkerd/identity does not exist. "
        "See: kubectl describe certificate.cert-manager.io identity --namespace linkerd"
    )


def test_a_refused_definition_is_named_with_the_cause_and_what_to_do():
    wanted = conditions.Wanted.named(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}}
    )
    assert conditions.explain_refusal(wanted, "is refused: failed calling webhook x.") == (
        "Secret b/a is refused: failed calling webhook x. The webhook does not answer yet: look at its pod."
    )
    assert conditions.explain_refusal(wanted, "is refused") == "Secret b/a is refused."


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
    wanted = conditions.Wanted.from_options(
        {"api_version": "apps/v1", "kind": given["kind"], "name": "x", "rollout": True}
    )
    assert wanted.condition is None
    answer = conditions.unmet(given, wanted)
    assert answer is None if why is None else why in answer


def test_what_is_wanted_is_taken_from_the_options():
    options = {"api_version": "v1", "kind": "Secret", "name": "s", "namespace": "n", "keys": ["a"], "status": "False"}
    wanted = conditions.Wanted.from_options(options)
    assert (wanted.namespace, wanted.keys, wanted.status, wanted.rollout) == ("n", ("a",), "False", False)
    assert str(wanted) == "Secret n/s"
    plain = conditions.Wanted.from_options({**options, "namespace": "", "keys": None, "status": None})
    assert (plain.namespace, plain.keys, plain.status, plain.condition) == (None, (), "True", None)
    assert str(plain) == "Secret s"
    chosen = conditions.Wanted.from_options({**options, "keys": None, "condition": "Sealed"})
    assert chosen.condition == "Sealed"


@pytest.mark.parametrize(
    ("definition", "lacks"),
    [
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, []),
        ({"apiVersion": "v1", "kind": "", "metadata": {"name": 7}}, ["kind", "metadata.name"]),
        ({"kind": "Secret", "metadata": "a"}, ["apiVersion", "metadata.name"]),
        ({}, ["apiVersion", "kind", "metadata.name"]),
    ],
)
def test_what_a_definition_lacks(definition, lacks):
    assert conditions.lacking(definition) == lacks


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ({"type": "Ready", "status": "True"}, "Ready=True"),
        ({"type": "Ready", "status": "False", "reason": "R", "message": None}, "Ready=False (R)"),
        ({"type": "Ready", "status": "False", "message": "a\n b"}, "Ready=False a b"),
    ],
)
def test_a_condition_in_words(condition, text):
    assert conditions.sentence(condition) == text


def test_a_secret_needs_no_condition():
    assert conditions.unmet({"metadata": {}}, conditions.Wanted("v1", "Secret", "s")) is None
    assert conditions.data_keys({"data": None, "binaryData": {"a": "eA=="}}) == {"a"}


def test_a_request_without_a_time_is_older_than_one_with_it():
    annotations = {"cert-manager.io/certificate-name": "a"}
    dated = {"metadata": {"name": "dated", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations}}
    undated = {"metadata": {"name": "undated", "annotations": annotations}}
    assert conditions.newest_request([undated, dated], "a") is dated
    assert conditions.newest_request([dated, undated], "a") is dated


def test_the_parts_of_an_explanation_stand_once_and_end_with_one_full_stop():
    found = {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Issuing", "status": "True"}]}}
    details = [("Last events", ["R: said.", "R: said."]), ("Nothing", [])]
    assert conditions.explain(WANTED, "is not ready.", found, details, "kubectl get pods") == (
        "Certificate linkerd/identity is not ready. Other conditions: Issuing=True. Last events: R: said. "
        "See: kubectl get pods"
    )


@pytest.mark.parametrize(
    ("wanted", "command"),
    [
        (conditions.Wanted("v1", "Secret", "s", "n"), "kubectl describe secret s --namespace n"),
        (
            conditions.Wanted("cert-manager.io/v1", "ClusterIssuer", "v"),
            "kubectl describe clusterissuer.cert-manager.io v",
        ),
    ],
)
def test_the_command_that_describes_an_object(wanted, command):
    assert conditions.describe_command(wanted) == command


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"metadata": {}, "status": None, "spec": None}, "0 of 1 pods with its current template"),
        ({"metadata": {"generation": 1}}, "has not observed"),
        ({"metadata": {}, "status": {"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}}, None),
    ],
)
def test_a_rollout_of_which_nothing_is_reported_yet(given, why):
    answer = conditions.rollout(given, "Deployment")
    assert answer is None if why is None else why in answer


def test_a_daemon_set_that_no_node_wants_is_rolled_out():
    assert conditions.rollout({"metadata": {}, "status": {}}, "DaemonSet") is None


def test_a_command_that_shows_more_stands_beside_the_advice():
    told = conditions.explain(WANTED, "is not ready: permission denied", None, [], "kubectl logs x")
    assert "compare the Vault policy" in told
    assert told.endswith("See: kubectl logs x")


def test_an_event_is_as_old_as_its_newest_clock_and_needs_no_words():
    repeated = {
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "eventTime": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "series": {"lastObservedTime": "2026-01-05T00:00:00Z"},
        "reason": "Repeated",
    }
    counted = {**repeated, "series": None, "lastTimestamp": "2026-01-04T00:00:00Z", "reason": "Counted"}
    timed = {**counted, "lastTimestamp": None, "eventTime": "2026-01-03T00:00:00Z", "reason": "Timed"}
    assert conditions.event_lines([repeated, counted, timed]) == ["Timed: ", "Counted: ", "Repeated: "]
    assert conditions.event_lines([{"metadata": {}, "reason": "Undated"}, timed])[0] == "Undated: "
