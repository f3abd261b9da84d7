# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real API server. Its objects are ours: no cert-manager runs, its kinds are declared bare."""

from __future__ import annotations

import json
import threading
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from forwarder_standin import DROP, SILENT, WATCH

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import wait
from ansible_collections.servicemesh.pki.plugins.modules import k8s_condition

GROUP = "/apis/cert-manager.io/v1/namespaces/linkerd"
CERTIFICATE = f"{GROUP}/certificates/identity"
WANTED = {"api_version": "cert-manager.io/v1", "kind": "Certificate", "name": "identity", "namespace": "linkerd"}

# Seconds: a limit that is never waited for, and how long it may take where that is so, on a busy machine.
LONG, SOON = 900, 300

NOBODY = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "x",
    "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "x", "user": {}}],
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
}


def head(kind: str, name: str, **metadata) -> dict:
    return {"apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": {"name": name, **metadata}}


def ready(status: str, generation: int, reason: str = "Ready", message: str = "") -> dict:
    condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
    return {"conditions": [{**condition, "observedGeneration": generation}]}


@pytest.fixture(scope="session")
def api(kinds):
    kinds.namespace("linkerd")
    return kinds


@pytest.fixture
def certificate(api):
    body = {**head("Certificate", "identity"), "spec": {"issuerRef": {"name": "vault"}}}
    api.call("POST", f"{GROUP}/certificates", body)
    yield api
    api.call("DELETE", CERTIFICATE)


@pytest.fixture
def run(api, capsys):
    def call(check: bool = False, **options) -> dict:
        arguments = {"kubeconfig": str(api.kubeconfig), "_ansible_check_mode": check, **options}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            k8s_condition.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_ready_at_the_current_generation(certificate, run):
    certificate.status(CERTIFICATE, ready("True", 1))
    answer = run(**WANTED, timeout=LONG)
    assert answer["changed"] is False
    assert answer["objects"][0]["fulfilled"] and answer["objects"][0]["seconds"] < SOON


def test_ready_of_an_older_generation_does_not_count(certificate, run):
    certificate.status(CERTIFICATE, ready("True", 1))
    patch = {"spec": {"duration": "48h"}}
    certificate.call("PATCH", CERTIFICATE, patch, "application/merge-patch+json")
    answer = run(**WANTED, timeout=1)
    assert answer["failed"]
    assert "for generation 1 only, wanted generation 2" in answer["msg"]


def test_returns_as_soon_as_it_becomes_ready(certificate, run):
    timer = threading.Timer(1.5, certificate.status, [CERTIFICATE, ready("True", 1)])
    timer.start()
    answer = run(**WANTED, timeout=LONG)
    timer.join()
    assert answer["objects"][0]["fulfilled"]
    assert answer["objects"][0]["seconds"] < SOON


def test_failure_tells_the_request_the_issuer_and_the_events(certificate, run):
    certificate.status(CERTIFICATE, ready("False", 1, "DoesNotExist", "Issuing certificate as Secret does not exist"))
    note = {"cert-manager.io/certificate-name": "identity"}
    certificate.call("POST", f"{GROUP}/certificaterequests", head("CertificateRequest", "identity-1", annotations=note))
    denied = "Vault failed to sign: Code: 403. Errors: * permission denied"
    certificate.status(f"{GROUP}/certificaterequests/identity-1", ready("False", 1, "Failed", denied))
    event = {
        "metadata": {"name": "identity.1"},
        "involvedObject": {"kind": "Certificate", "name": "identity", "namespace": "linkerd"},
        "reason": "Requested",
        "message": "Created new CertificateRequest",
    }
    certificate.call("POST", "/api/v1/namespaces/linkerd/events", event)
    message = run(**WANTED, timeout=0)["msg"]
    assert "Ready=False (DoesNotExist) Issuing certificate as Secret does not exist" in message
    assert "Newest CertificateRequest identity-1: Ready=False (Failed) Vault failed to sign" in message
    assert "Its issuer: Issuer linkerd/vault does not exist" in message
    assert "Requested: Created new CertificateRequest" in message
    assert "compare the Vault policy" in message


def test_secret_keys_are_waited_for_and_never_shown(api, run):
    secret = {"metadata": {"name": "s"}, "stringData": {"tls.crt": "public", "tls.key": "very-secret"}}
    api.call("POST", "/api/v1/namespaces/linkerd/secrets", secret)
    wanted = {"kind": "Secret", "name": "s", "namespace": "linkerd"}
    answer = run(objects=[{**wanted, "keys": ["tls.crt", "tls.key"]}], timeout=1)
    assert answer["objects"][0]["fulfilled"]
    failed = run(objects=[{**wanted, "keys": ["tls.crt", "ca.crt"]}], timeout=0)
    api.call("DELETE", "/api/v1/namespaces/linkerd/secrets/s")
    assert "Secret linkerd/s has no data for ca.crt" in failed["msg"]
    assert "very-secret" not in json.dumps([answer, failed]) and "dmVyeS1zZWNyZXQ" not in json.dumps([answer, failed])


def test_absent(api, run):
    api.call("POST", "/api/v1/namespaces/linkerd/configmaps", {"metadata": {"name": "c"}})
    wanted = {"kind": "ConfigMap", "name": "c", "namespace": "linkerd", "state": "absent"}
    assert "still exists" in run(**wanted, timeout=0)["msg"]
    timer = threading.Timer(1, api.call, ["DELETE", "/api/v1/namespaces/linkerd/configmaps/c"])
    timer.start()
    assert run(**wanted, timeout=LONG)["objects"][0]["seconds"] < SOON
    timer.join()


ASKED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "asked", "namespace": "linkerd"}}
MAPS = "/api/v1/namespaces/linkerd/configmaps"


@pytest.fixture
def webhook(api):
    """One that every ConfigMap is shown to and that does not answer, and how to remove it."""
    place = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    hook = {
        "name": "nobody.linkerd.test",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    api.call("POST", place, {"metadata": {"name": "nobody"}, "webhooks": [hook]})
    end = time.monotonic() + SOON
    while True:  # until the API server knows it
        try:
            api.call("POST", f"{MAPS}?dryRun=All", ASKED)
        except OSError:
            break
        assert time.monotonic() < end
        time.sleep(0.1)
    removed = []

    def remove() -> None:
        if not removed:
            removed.append(api.call("DELETE", f"{place}/nobody"))

    yield remove
    remove()


def test_what_the_api_server_accepts_is_not_stored(api, run):
    answer = run(accepts=[ASKED], timeout=LONG)
    assert (answer["changed"], answer["objects"][0]["fulfilled"]) == (False, True)
    assert "asked" not in [item["metadata"]["name"] for item in api.call("GET", MAPS)["items"]]


def test_an_object_that_exists_is_accepted(api, run):
    api.call("POST", MAPS, ASKED)
    answer = run(accepts=[ASKED], timeout=0)
    api.call("DELETE", f"{MAPS}/asked")
    assert answer["objects"][0]["fulfilled"]


def test_a_webhook_that_does_not_answer_is_waited_for(run, webhook):
    failed = run(accepts=[ASKED], timeout=0)
    assert failed["failed"]
    assert "ConfigMap linkerd/asked is refused: 500" in failed["msg"]
    assert failed["msg"].endswith("The webhook does not answer yet: look at its pod.")
    timer = threading.Timer(1, webhook)
    timer.start()
    answer = run(accepts=[ASKED], timeout=LONG)
    timer.join()
    assert answer["objects"][0]["fulfilled"] and answer["objects"][0]["seconds"] < SOON


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": {"not a key": "x"}}, "ConfigMap linkerd/asked is refused: 422"),
        ({"kind": "Thing"}, "Thing linkerd/asked is of a kind that the cluster does not know."),
        ({"metadata": {"name": "asked", "namespace": "nowhere"}}, "ConfigMap nowhere/asked is refused: 404"),
    ],
)
def test_what_is_never_accepted_is_not_waited_for_long(run, monkeypatch, change, sentence):
    monkeypatch.setattr(wait, "GRACE", 0.5)
    started = time.monotonic()
    answer = run(accepts=[ASKED | change], timeout=LONG)
    assert answer["failed"] and sentence in answer["msg"]
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "Secret", "name": "s", "namespace": "nowhere"}, "there is no namespace nowhere"),
        ({"api_version": "nobody.io/v1", "kind": "Thing", "name": "t"}, "does not know the kind Thing of nobody.io/v1"),
        ({"kind": "Secret", "name": "none", "namespace": "linkerd"}, "Secret linkerd/none does not exist"),
        ({"kind": "Secret", "name": "s", "kubeconfig": NOBODY}, "The cluster's API server does not answer"),
        ({"kind": "Secret", "name": "s", "context": "nosuch"}, "Look at kubeconfig and context"),
    ],
)
def test_what_cannot_come_true_is_one_sentence(run, options, sentence):
    answer = run(**options, timeout=0)
    assert answer["failed"] and sentence in answer["msg"]
    assert "Traceback" not in answer["msg"] and len(answer["msg"]) < 400


def test_check_mode_looks_once_and_never_fails(run):
    started = time.monotonic()
    answer = run(check=True, kind="Secret", name="none", namespace="nowhere", timeout=LONG)
    assert not answer.get("failed") and not answer["objects"][0]["fulfilled"]
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("check", [False, True])
def test_a_namespace_that_was_forgotten_is_said_at_once(api, run, state, check):
    api.call("POST", "/api/v1/namespaces/linkerd/secrets", {"metadata": {"name": "here"}})
    answer = run(check=check, kind="Secret", name="here", state=state, timeout=60)
    api.call("DELETE", "/api/v1/namespaces/linkerd/secrets/here")
    assert answer["failed"]
    assert answer["msg"] == "Secret here lacks a namespace, and every Secret is in one. Say which."


def test_a_namespace_beside_an_object_of_the_cluster_is_no_error(run):
    answer = run(kind="Namespace", name="default", namespace="linkerd", timeout=0)
    assert answer["objects"][0]["fulfilled"]


@pytest.mark.parametrize("options", [{}, {"accepts": [ASKED]}])
def test_a_kind_that_was_forgotten_is_said(run, options):
    answer = run(name="x", namespace="linkerd", **options)
    assert answer["failed"] and "kind" in answer["msg"]


def test_nothing_to_wait_for_is_an_error(run):
    assert "one of the following is required: kind, objects, accepts" in run(timeout=0)["msg"]


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        (ASKED | {"metadata": {"name": "asked"}}, "ConfigMap asked lacks a namespace, and every ConfigMap is in one."),
        (ASKED | {"metadata": {"generateName": "a-"}}, "Definition 2 in accepts lacks metadata.name."),
        ({"data": {"very": "secret"}}, "Definition 2 in accepts lacks apiVersion, kind, metadata.name."),
        (ASKED | {"metadata": "asked"}, "Definition 2 in accepts lacks metadata.name."),
    ],
)
def test_a_definition_that_lacks_its_name_is_said(run, definition, sentence):
    answer = run(accepts=[ASKED, definition], timeout=60)
    assert answer["failed"] and answer["msg"].startswith(sentence)
    assert "secret" not in answer["msg"]


@pytest.fixture
def two(api):
    """One that is there, so that the API server has answered, and the one that is waited for."""
    for name in ("first", "second"):
        api.call("POST", MAPS, {"metadata": {"name": name}})
    yield [{"kind": "ConfigMap", "name": name, "namespace": "linkerd"} for name in ("first", "second")]
    for name in ("first", "second"):
        api.call("DELETE", f"{MAPS}/{name}")


@pytest.mark.parametrize("fault", [500, 503, 429, DROP])
def test_an_api_server_that_cannot_answer_for_a_moment_is_asked_again(two, run, forwarder, fault):
    forwarder.wrong("/configmaps/second", fault, times=6)  # more often than the client asks again by itself
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, timeout=LONG)
    assert [item["fulfilled"] for item in answer["objects"]] == [True, True]


def test_a_definition_is_sent_again_after_the_connection_broke(two, run, forwarder):
    forwarder.wrong("/configmaps?dryRun", DROP, times=6, method="POST")
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, accepts=[ASKED], timeout=LONG)
    assert answer["objects"][2]["fulfilled"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [(503, "ConfigMap linkerd/second cannot be read: 503"), (DROP, "The cluster's API server does not answer")],
)
def test_the_last_error_is_named_when_the_time_is_over(two, run, forwarder, fault, sentence):
    forwarder.wrong("/configmaps/second", fault, times=1000)
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, timeout=2)
    assert answer["failed"] and sentence in answer["msg"]


def test_a_refusal_is_not_waited_for(two, run, forwarder):
    forwarder.wrong("/configmaps/second", 403, times=1)
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, timeout=LONG)
    assert answer["failed"] and "ConfigMap linkerd/second cannot be read: 403" in answer["msg"]


def test_an_api_server_that_never_answers_is_an_error_soon(two, run, forwarder):
    options = {"kubeconfig": str(forwarder.kubeconfig), "objects": two}
    assert run(**options, timeout=0)["objects"][0]["fulfilled"]  # the client knows the kinds from now on
    forwarder.close()
    started = time.monotonic()
    answer = run(**options, timeout=LONG)
    assert answer["failed"] and "The cluster's API server does not answer" in answer["msg"]
    assert time.monotonic() - started < SOON


def test_a_watch_that_falls_silent_does_not_outlive_the_limit(two, run, forwarder):
    forwarder.wrong(WATCH, SILENT, times=1)
    started = time.monotonic()
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, state="absent", timeout=1)
    assert answer["failed"] and "still exists" in answer["msg"]
    assert time.monotonic() - started < SOON
