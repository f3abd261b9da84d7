# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an object has its expected state, and the messages that explain why not."""

from __future__ import annotations

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions

EXPECTED = conditions.Expectation("cert-manager.io/v1", "Certificate", "identity", "linkerd", "Ready")


def certificate(status="True", generation=2, condition_observed=None, status_observed=None, **metadata):
    condition = {"type": "Ready", "status": status, "reason": "R", "message": "because\n of this"}
    if condition_observed is not None:
        condition["observedGeneration"] = condition_observed
    body = {"metadata": {"generation": generation, **metadata}, "status": {"conditions": [condition]}}
    if status_observed is not None:
        body["status"]["observedGeneration"] = status_observed
    return body


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (certificate(), None),
        (certificate(condition_observed=2), None),
        (certificate(condition_observed=1), "for generation 1 only"),
        (certificate(status_observed=1), "for generation 1 only"),
        (certificate(status_observed=2), None),
        (certificate(condition_observed=2, status_observed=1), None),
        (certificate(status="False"), "is not Ready: Ready=False (R) because of this"),
        (certificate(deletionTimestamp="2026-01-01T00:00:00Z"), "is being deleted"),
        ({"metadata": {}}, "has no condition Ready"),
        ({"metadata": {}, "status": {"conditions": [{"type": "Other", "status": "True"}]}}, "has no condition Ready"),
        (certificate() | {"metadata": {}}, None),
        (None, "does not exist"),
    ],
)
def test_reason_of_unmet_condition(found, reason):
    answer = conditions.unmet_reason(found, EXPECTED)
    assert answer is None if reason is None else reason in answer


def test_expected_status_may_be_false():
    expected = conditions.Expectation("v1", "X", "x", condition="Ready", status="False")
    assert conditions.unmet_reason(certificate(status="False"), expected) is None


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
def test_default_condition(options, condition):
    assert conditions.Expectation.from_options({"api_version": "v1", "name": "x", **options}).condition == condition


def test_key_with_empty_value_is_missing():
    expected = conditions.Expectation("v1", "Secret", "s", keys=("a", "b", "c"))
    assert conditions.unmet_reason({"metadata": {}, "data": {"a": "eA==", "b": ""}}, expected) == "has no data for b, c"


def test_newest_request_of_certificate():
    def request(name, created, certificate):
        annotations = {"cert-manager.io/certificate-name": certificate}
        return {"metadata": {"name": name, "creationTimestamp": created, "annotations": annotations}}

    requests = [
        request("a-2", "2026-01-02T00:00:00Z", "a"),
        request("a-1", "2026-01-01T00:00:00Z", "a"),
        request("b-1", "2026-01-03T00:00:00Z", "b"),
        {"metadata": {"name": "by-hand"}},
    ]
    assert conditions.newest_request(requests, "a")["metadata"]["name"] == "a-2"
    assert conditions.newest_request([], "a") is None


def test_last_events_are_sorted_by_any_of_their_time_fields():
    events = [
        {"metadata": {"creationTimestamp": "2026-01-04T00:00:00Z"}, "reason": "D", "message": "d"},
        {"metadata": {}, "reason": "B", "message": "b", "lastTimestamp": "2026-01-02T00:00:00Z"},
        {"metadata": {}, "reason": "A", "message": "a", "eventTime": "2026-01-01T00:00:00Z"},
        {"metadata": {}, "reason": "C", "message": "c", "series": {"lastObservedTime": "2026-01-03T00:00:00Z"}},
    ]
    assert conditions.event_lines(events) == ["B: b", "C: c", "D: d"]


# Messages of Vault, Go, cert-manager, trust-manager and Kubernetes, and a part of the advice.
CAUSES = [
    ("Vault failed to sign: Code: 403. Errors: * permission denied", "Vault policy"),
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
    ("Bundle source was not found (SourceNotFound)", "trust namespace"),
    ('Internal error occurred: failed calling webhook "webhook.cert-manager.io"', "check its pod"),
]
CAUSES_OF_PODS = [
    ("waiting: InvalidImageName", "name of the image"),
    ("waiting: ErrImagePull", "registry"),
    ("waiting: ImagePullBackOff", "registry"),
    ("waiting: CreateContainerConfigError: secret not found", "specification"),
    ("PodScheduled=False (Unschedulable) 0/1 nodes are available", "Add nodes"),
    ('pods "a" is forbidden: exceeded quota: q, requested: pods=1', "Raise the quota"),
]


@pytest.mark.parametrize(("message", "advice"), CAUSES)
def test_known_cause_has_advice(message, advice):
    explanation = conditions.explain(EXPECTED, f"is not Ready: {message}", None, [])
    assert advice in explanation
    assert "kubectl" not in explanation


@pytest.mark.parametrize(("message", "advice"), CAUSES_OF_PODS)
def test_known_cause_of_pods_has_only_its_own_advice(message, advice):
    answer = conditions.explain(
        EXPECTED, "is not Available", None, [(conditions.PODS, [f"{message}: lookup x: no such host"])]
    )
    assert advice in answer and "DNS" not in answer


@pytest.mark.parametrize(
    ("table", "causes"), [(conditions.ADVICE, CAUSES), (conditions.ADVICE_FOR_PODS, CAUSES_OF_PODS)]
)
def test_every_advice_is_tested(table, causes):
    messages = [message.lower() for message, dummy in causes]
    assert [part for part, dummy in table if not any(part.lower() in message for message in messages)] == []


def test_unknown_cause_names_command():
    explanation = conditions.explain(EXPECTED, "does not exist", None, [("Last events", [])])
    assert "Certificate linkerd/identity" in explanation
    assert explanation.endswith("kubectl describe certificate.cert-manager.io identity --namespace linkerd")


def test_rejected_manifest_is_explained_with_advice():
    reference = conditions.ObjectReference.from_manifest(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}}
    )
    explanation = conditions.explain_rejection(reference, "is rejected: failed calling webhook x.")
    assert explanation.startswith("Secret b/a is rejected: failed calling webhook x. ")
    assert conditions.advice("failed calling webhook") in explanation
    assert conditions.explain_rejection(reference, "is rejected") == "Secret b/a is rejected."


def workload(kind="Deployment", generation=2, desired=2, **status):
    return {"kind": kind, "metadata": {"generation": generation}, "spec": {"replicas": desired}, "status": status}


DONE = {"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}
DAEMONS = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (workload(**DONE), None),
        (workload(**{**DONE, "observedGeneration": 1}), "has not observed"),
        (workload(**{**DONE, "updatedReplicas": 1}), "1 of 2 pods with its current template"),
        (workload(**{**DONE, "replicas": 3}), "1 pod(s) of an earlier template"),
        (workload(**{**DONE, "availableReplicas": 1}), "1 of 2 pods available"),
        (workload(desired=0, observedGeneration=2), None),
        (workload(desired=None, observedGeneration=2), "0 of 1 pods with its current template"),
        (workload("StatefulSet", **DONE), None),
        (workload("DaemonSet", **DAEMONS), None),
        (workload("DaemonSet", **{**DAEMONS, "numberAvailable": 2}), "2 of 3 pods available"),
        (workload("DaemonSet", **{**DAEMONS, "updatedNumberScheduled": 0}), "0 of 3 pods with its current template"),
    ],
)
def test_reason_of_incomplete_rollout(found, reason):
    expected = conditions.Expectation.from_options(
        {"api_version": "apps/v1", "kind": found["kind"], "name": "x", "rollout": True}
    )
    assert expected.condition is None
    answer = conditions.unmet_reason(found, expected)
    assert answer is None if reason is None else reason in answer


def test_expectation_from_options():
    options = {"api_version": "v1", "kind": "Secret", "name": "s", "namespace": "n", "keys": ["a"], "status": "False"}
    expected = conditions.Expectation.from_options(options)
    assert (expected.namespace, expected.keys, expected.status, expected.rollout) == ("n", ("a",), "False", False)
    assert str(expected) == "Secret n/s"
    plain = conditions.Expectation.from_options({**options, "namespace": "", "keys": None, "status": None})
    assert (plain.namespace, plain.keys, plain.status, plain.condition) == (None, (), "True", None)
    assert str(plain) == "Secret s"
    chosen = conditions.Expectation.from_options({**options, "keys": None, "condition": "Sealed"})
    assert chosen.condition == "Sealed"


@pytest.mark.parametrize(
    ("manifest", "fields"),
    [
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, []),
        ({"apiVersion": "v1", "kind": "", "metadata": {"name": 7}}, ["kind", "metadata.name"]),
        ({"kind": "Secret", "metadata": "a"}, ["apiVersion", "metadata.name"]),
        ({}, ["apiVersion", "kind", "metadata.name"]),
    ],
)
def test_missing_fields_of_manifest(manifest, fields):
    assert conditions.missing_fields(manifest) == fields


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ({"type": "Ready", "status": "True"}, "Ready=True"),
        ({"type": "Ready", "status": "False", "reason": "R", "message": None}, "Ready=False (R)"),
        ({"type": "Ready", "status": "False", "message": "a\n b"}, "Ready=False a b"),
    ],
)
def test_description_of_condition(condition, text):
    assert conditions.describe_condition(condition) == text


def test_secret_needs_no_condition():
    assert conditions.unmet_reason({"metadata": {}}, conditions.Expectation("v1", "Secret", "s")) is None
    assert conditions.data_keys({"data": None, "binaryData": {"a": "eA=="}}) == {"a"}


def test_request_without_creation_time_is_oldest():
    annotations = {"cert-manager.io/certificate-name": "a"}
    dated = {"metadata": {"name": "dated", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations}}
    undated = {"metadata": {"name": "undated", "annotations": annotations}}
    assert conditions.newest_request([undated, dated], "a") is dated
    assert conditions.newest_request([dated, undated], "a") is dated


def test_explanation_has_each_line_once_with_one_full_stop():
    found = {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Issuing", "status": "True"}]}}
    details = [("Last events", ["R: done.", "R: done."]), ("Nothing", [])]
    assert conditions.explain(EXPECTED, "is not ready.", found, details, "kubectl get pods") == (
        "Certificate linkerd/identity is not ready. Other conditions: Issuing=True. Last events: R: done. "
        "See: kubectl get pods"
    )


@pytest.mark.parametrize(
    ("expected", "command"),
    [
        (conditions.Expectation("v1", "Secret", "s", "n"), "kubectl describe secret s --namespace n"),
        (
            conditions.Expectation("cert-manager.io/v1", "ClusterIssuer", "v"),
            "kubectl describe clusterissuer.cert-manager.io v",
        ),
    ],
)
def test_command_that_describes_object(expected, command):
    assert conditions.describe_command(expected) == command


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"metadata": {}, "status": None, "spec": None}, "0 of 1 pods with its current template"),
        ({"metadata": {"generation": 1}}, "has not observed"),
        ({"metadata": {}, "status": {"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}}, None),
    ],
)
def test_rollout_without_reported_counts(found, reason):
    answer = conditions.rollout_reason(found, "Deployment")
    assert answer is None if reason is None else reason in answer


def test_daemon_set_without_nodes_is_rolled_out():
    assert conditions.rollout_reason({"metadata": {}, "status": {}}, "DaemonSet") is None


def test_given_command_is_named_beside_advice():
    explanation = conditions.explain(EXPECTED, "is not ready: permission denied", None, [], "kubectl logs x")
    assert "Vault policy" in explanation
    assert explanation.endswith("See: kubectl logs x")


def test_event_time_prefers_last_occurrence_and_message_is_optional():
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
