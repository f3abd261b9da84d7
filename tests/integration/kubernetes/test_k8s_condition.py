# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_condition with a real API server. The test creates all objects: cert-manager does not run."""

from __future__ import annotations

import json
import threading
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from forwarder_standin import DROP, UNRESPONSIVE, WATCH

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions, wait
from ansible_collections.servicemesh.pki.plugins.modules import k8s_condition

GROUP = "/apis/cert-manager.io/v1/namespaces/linkerd"
CERTIFICATE = f"{GROUP}/certificates/identity"
OPTIONS = {"api_version": "cert-manager.io/v1", "kind": "Certificate", "name": "identity", "namespace": "linkerd"}

# Seconds: a timeout that is never reached, and the limit for such a wait on a busy machine.
LONG, SOON = 900, 300

UNREACHABLE = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "x",
    "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "x", "user": {}}],
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
}


def manifest(kind: str, name: str, **metadata) -> dict:
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
    body = {**manifest("Certificate", "identity"), "spec": {"issuerRef": {"name": "vault"}}}
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


def test_ready_for_current_generation(certificate, run):
    certificate.status(CERTIFICATE, ready("True", 1))
    answer = run(**OPTIONS, timeout=LONG)
    assert answer["changed"] is False
    assert answer["objects"][0]["fulfilled"] and answer["objects"][0]["seconds"] < SOON


def test_ready_for_older_generation_times_out(certificate, run):
    certificate.status(CERTIFICATE, ready("True", 1))
    patch = {"spec": {"duration": "48h"}}
    certificate.call("PATCH", CERTIFICATE, patch, "application/merge-patch+json")
    answer = run(**OPTIONS, timeout=1)
    assert answer["failed"] and answer["code"] == "timeout"
    assert "for generation 1 only" in answer["objects"][0]["reason"]


def test_returns_as_soon_as_it_becomes_ready(certificate, run):
    timer = threading.Timer(1.5, certificate.status, [CERTIFICATE, ready("True", 1)])
    timer.start()
    answer = run(**OPTIONS, timeout=LONG)
    timer.join()
    assert answer["objects"][0]["fulfilled"]
    assert answer["objects"][0]["seconds"] < SOON


def test_timeout_explains_request_issuer_and_events(certificate, run):
    certificate.status(CERTIFICATE, ready("False", 1, "DoesNotExist", "Issuing certificate as Secret does not exist"))
    annotations = {"cert-manager.io/certificate-name": "identity"}
    request = manifest("CertificateRequest", "identity-1", annotations=annotations)
    certificate.call("POST", f"{GROUP}/certificaterequests", request)
    denied = "Vault failed to sign: Code: 403. Errors: * permission denied"
    certificate.status(f"{GROUP}/certificaterequests/identity-1", ready("False", 1, "Failed", denied))
    event = {
        "metadata": {"name": "identity.1"},
        "involvedObject": {"kind": "Certificate", "name": "identity", "namespace": "linkerd"},
        "reason": "Requested",
        "message": "Created new CertificateRequest",
    }
    certificate.call("POST", "/api/v1/namespaces/linkerd/events", event)
    message = run(**OPTIONS, timeout=0)["msg"]
    assert "Ready=False (DoesNotExist) Issuing certificate as Secret does not exist" in message
    assert "CertificateRequest identity-1: Ready=False (Failed) Vault failed to sign" in message
    assert "Issuer linkerd/vault" in message
    assert "Requested: Created new CertificateRequest" in message
    assert conditions.advice("permission denied") in message


def test_keys_of_secret_without_their_values(api, run):
    secret = {"metadata": {"name": "s"}, "stringData": {"tls.crt": "public", "tls.key": "very-secret"}}
    api.call("POST", "/api/v1/namespaces/linkerd/secrets", secret)
    options = {"kind": "Secret", "name": "s", "namespace": "linkerd"}
    answer = run(objects=[{**options, "keys": ["tls.crt", "tls.key"]}], timeout=1)
    assert answer["objects"][0]["fulfilled"]
    failed = run(objects=[{**options, "keys": ["tls.crt", "ca.crt"]}], timeout=0)
    api.call("DELETE", "/api/v1/namespaces/linkerd/secrets/s")
    assert "Secret linkerd/s" in failed["msg"] and "ca.crt" in failed["msg"]
    assert "very-secret" not in json.dumps([answer, failed]) and "dmVyeS1zZWNyZXQ" not in json.dumps([answer, failed])


def test_absent(api, run):
    api.call("POST", "/api/v1/namespaces/linkerd/configmaps", {"metadata": {"name": "c"}})
    options = {"kind": "ConfigMap", "name": "c", "namespace": "linkerd", "state": "absent"}
    answer = run(**options, timeout=0)
    assert answer["code"] == "timeout" and not answer["objects"][0]["fulfilled"]
    timer = threading.Timer(1, api.call, ["DELETE", "/api/v1/namespaces/linkerd/configmaps/c"])
    timer.start()
    assert run(**options, timeout=LONG)["objects"][0]["seconds"] < SOON
    timer.join()


MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "accepted", "namespace": "linkerd"}}
MAPS = "/api/v1/namespaces/linkerd/configmaps"


@pytest.fixture
def webhook(api):
    """A webhook for ConfigMaps that does not respond; returns the function that removes it."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    hook = {
        "name": "nobody.linkerd.test",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    api.call("POST", path, {"metadata": {"name": "nobody"}, "webhooks": [hook]})
    end = time.monotonic() + SOON
    while True:  # until the API server uses it
        try:
            api.call("POST", f"{MAPS}?dryRun=All", MANIFEST)
        except OSError:
            break
        assert time.monotonic() < end
        time.sleep(0.1)
    removed = []

    def remove() -> None:
        if not removed:
            removed.append(api.call("DELETE", f"{path}/nobody"))

    yield remove
    remove()


def test_accepted_manifest_is_not_stored(api, run):
    answer = run(accepts=[MANIFEST], timeout=LONG)
    assert (answer["changed"], answer["objects"][0]["fulfilled"]) == (False, True)
    assert "accepted" not in [item["metadata"]["name"] for item in api.call("GET", MAPS)["items"]]


def test_manifest_of_existing_object_is_accepted(api, run):
    api.call("POST", MAPS, MANIFEST)
    answer = run(accepts=[MANIFEST], timeout=0)
    api.call("DELETE", f"{MAPS}/accepted")
    assert answer["objects"][0]["fulfilled"]


def test_waits_for_webhook(run, webhook):
    failed = run(accepts=[MANIFEST], timeout=0)
    assert failed["failed"] and failed["code"] == "timeout"
    assert "ConfigMap linkerd/accepted" in failed["msg"] and "500" in failed["objects"][0]["reason"]
    assert conditions.advice("failed calling webhook") in failed["msg"]
    timer = threading.Timer(1, webhook)
    timer.start()
    answer = run(accepts=[MANIFEST], timeout=LONG)
    timer.join()
    assert answer["objects"][0]["fulfilled"] and answer["objects"][0]["seconds"] < SOON


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"data": {"not a key": "x"}}, ["ConfigMap linkerd/accepted", "422"]),
        ({"kind": "Thing"}, ["Thing linkerd/accepted", "CustomResourceDefinition"]),
        ({"metadata": {"name": "accepted", "namespace": "nowhere"}}, ["ConfigMap nowhere/accepted", "404"]),
    ],
)
def test_permanent_rejection_ends_wait(run, monkeypatch, change, parts):
    monkeypatch.setattr(wait, "CREATION_GRACE", 0.5)
    started = time.monotonic()
    answer = run(accepts=[MANIFEST | change], timeout=LONG)
    assert answer["failed"] and all(part in answer["msg"] for part in parts)
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        ({"kind": "Secret", "name": "s", "namespace": "nowhere"}, "timeout", "no namespace nowhere"),
        ({"api_version": "nobody.io/v1", "kind": "Thing", "name": "t"}, "timeout", "kind Thing of nobody.io/v1"),
        ({"kind": "Secret", "name": "none", "namespace": "linkerd"}, "timeout", "Secret linkerd/none does not exist"),
        ({"kind": "Secret", "name": "s", "kubeconfig": UNREACHABLE}, "unreachable", "API server"),
        ({"kind": "Secret", "name": "s", "context": "nosuch"}, "invalid_kubeconfig", "kubeconfig"),
    ],
)
def test_code_and_message_of_failure(run, options, code, part):
    answer = run(**options, timeout=0)
    assert answer["code"] == code and part in answer["msg"]
    assert "Traceback" not in answer["msg"] and len(answer["msg"]) < 400


def test_check_mode_reads_once_and_does_not_fail(run):
    started = time.monotonic()
    answer = run(check=True, kind="Secret", name="none", namespace="nowhere", timeout=LONG)
    assert not answer.get("failed") and not answer["objects"][0]["fulfilled"]
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("check", [False, True])
def test_missing_namespace_is_an_error_at_once(api, run, state, check):
    api.call("POST", "/api/v1/namespaces/linkerd/secrets", {"metadata": {"name": "here"}})
    answer = run(check=check, kind="Secret", name="here", state=state, timeout=60)
    api.call("DELETE", "/api/v1/namespaces/linkerd/secrets/here")
    assert answer["failed"] and answer["code"] == "missing_namespace" and "Secret here" in answer["msg"]


def test_namespace_of_cluster_scoped_object_is_ignored(run):
    answer = run(kind="Namespace", name="default", namespace="linkerd", timeout=0)
    assert answer["objects"][0]["fulfilled"]


@pytest.mark.parametrize("options", [{}, {"accepts": [MANIFEST]}])
def test_name_without_kind_is_an_error(run, options):
    answer = run(name="x", namespace="linkerd", **options)
    assert answer["failed"] and "kind" in answer["msg"]


def test_no_object_is_an_error(run):
    assert "one of the following is required: kind, objects, accepts" in run(timeout=0)["msg"]


@pytest.mark.parametrize(
    ("manifest", "code", "part"),
    [
        (
            MANIFEST | {"metadata": {"name": "accepted"}},
            "missing_namespace",
            "ConfigMap accepted",
        ),
        (
            MANIFEST | {"metadata": {"generateName": "a-"}},
            "invalid_manifest",
            "Manifest 2 in accepts lacks metadata.name.",
        ),
        (
            {"data": {"very": "secret"}},
            "invalid_manifest",
            "Manifest 2 in accepts lacks apiVersion, kind, metadata.name.",
        ),
        (MANIFEST | {"metadata": "accepted"}, "invalid_manifest", "Manifest 2 in accepts lacks metadata.name."),
    ],
)
def test_incomplete_manifest_is_an_error(run, manifest, code, part):
    answer = run(accepts=[MANIFEST, manifest], timeout=60)
    assert answer["code"] == code and answer["msg"].startswith(part)
    assert "secret" not in answer["msg"]


@pytest.fixture
def two(api):
    """Two objects: after the first request the API server has responded."""
    for name in ("first", "second"):
        api.call("POST", MAPS, {"metadata": {"name": name}})
    yield [{"kind": "ConfigMap", "name": name, "namespace": "linkerd"} for name in ("first", "second")]
    for name in ("first", "second"):
        api.call("DELETE", f"{MAPS}/{name}")


@pytest.mark.parametrize("fault", [500, 503, 429, DROP])
def test_request_is_repeated_while_api_server_is_busy(two, run, forwarder, fault):
    forwarder.fail("/configmaps/second", fault, times=6)  # more often than the client library repeats it
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, timeout=LONG)
    assert [item["fulfilled"] for item in answer["objects"]] == [True, True]


def test_dry_run_is_repeated_after_broken_connection(two, run, forwarder):
    forwarder.fail("/configmaps?dryRun", DROP, times=6, method="POST")
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, accepts=[MANIFEST], timeout=LONG)
    assert answer["objects"][2]["fulfilled"]


@pytest.mark.parametrize(
    ("fault", "code", "part"), [(503, "server_busy", "ConfigMap linkerd/second"), (DROP, "unreachable", "API server")]
)
def test_last_error_is_reported_after_timeout(two, run, forwarder, fault, code, part):
    forwarder.fail("/configmaps/second", fault, times=1000)
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, timeout=2)
    assert answer["code"] == code and part in answer["msg"]


def test_refused_request_is_not_repeated(two, run, forwarder):
    forwarder.fail("/configmaps/second", 403, times=1)
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, timeout=LONG)
    assert answer["code"] == "refused" and "ConfigMap linkerd/second" in answer["msg"]


def test_unreachable_api_server_is_an_error_at_once(two, run, forwarder):
    options = {"kubeconfig": str(forwarder.kubeconfig), "objects": two}
    assert run(**options, timeout=0)["objects"][0]["fulfilled"]  # the client caches the kinds
    forwarder.close()
    started = time.monotonic()
    answer = run(**options, timeout=LONG)
    assert answer["code"] == "unreachable"
    assert time.monotonic() - started < SOON


def test_unresponsive_watch_ends_after_timeout(two, run, forwarder):
    forwarder.fail(WATCH, UNRESPONSIVE, times=1)
    started = time.monotonic()
    answer = run(kubeconfig=str(forwarder.kubeconfig), objects=two, state="absent", timeout=1)
    assert answer["code"] == "timeout" and not answer["objects"][0]["fulfilled"]
    assert time.monotonic() - started < SOON
