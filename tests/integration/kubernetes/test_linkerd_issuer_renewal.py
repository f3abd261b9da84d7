# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""linkerd_issuer_renewal with a real API server. The test writes what cert-manager and Linkerd would write, as soon as
the renewal is requested."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from forwarder_standin import DROP
from support.plays import THIS_HOST
from support.readings import ISSUER, NEXT, encoded

from ansible_collections.servicemesh.pki.plugins.modules import linkerd_issuer_renewal

COLLECTION = Path(__file__).resolve().parents[3]
CORE = "/api/v1/namespaces/renewal"
CERTIFICATES = "/apis/cert-manager.io/v1/namespaces/renewal/certificates"
CERTIFICATE = f"{CERTIFICATES}/linkerd-identity-issuer"
SECRET = f"{CORE}/secrets/linkerd-identity-issuer"
MERGE = "application/merge-patch+json"
READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1}
DONE = {"revision": 2, "conditions": [READY]}
FAILED = {**READY, "type": "Issuing", "status": "False", "reason": "Failed", "message": "permission denied"}


class Mesh:
    """The objects of a mesh, and the reactions of cert-manager and Linkerd."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def secret(self, text: str) -> None:
        self.api.call("PATCH", SECRET, {"data": {"tls.crt": encoded(text)}}, MERGE)

    def event(self, name: str, reason: str) -> None:
        about = {"kind": "Deployment", "name": "linkerd-identity", "namespace": "renewal"}
        body = {"metadata": {"name": name}, "involvedObject": about, "reason": reason, "message": "by the test"}
        self.api.call("POST", f"{CORE}/events", body)

    def controller_pods(self, *names: str) -> None:
        """Create pods of the identity controller, which run as far as the API server knows."""
        labels = {"linkerd.io/control-plane-component": "identity", "linkerd.io/control-plane-ns": "renewal"}
        spec = {"containers": [{"name": "identity", "image": "none"}]}
        for name in names:
            self.api.call("POST", f"{CORE}/pods", {"metadata": {"name": name, "labels": labels}, "spec": spec})
            self.api.status(f"{CORE}/pods/{name}", {"phase": "Running"})

    def renewal_requested(self) -> bool:
        conditions = self.api.call("GET", CERTIFICATE)["status"]["conditions"]
        return any((item["type"], item["status"]) == ("Issuing", "True") for item in conditions)

    @contextlib.contextmanager
    def reacts(self, status: dict, *events: str):
        """Stands in for cert-manager, then for Linkerd, with one event for each pod of the identity controller."""
        stop = threading.Event()

        def react() -> None:
            while not self.renewal_requested():
                if stop.wait(0.1):
                    return
            if status is DONE:
                self.secret(NEXT.pem)
            self.api.status(CERTIFICATE, status)
            for number, event in enumerate(events):
                self.event(f"new-{number}", event)

        thread = threading.Thread(target=react)
        thread.start()
        yield
        stop.set()
        thread.join()


@pytest.fixture
def mesh(kinds):
    kinds.namespace("renewal")
    name = {"name": "linkerd-identity-issuer"}
    body = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": name}
    kinds.call("POST", CERTIFICATES, {**body, "spec": {"secretName": name["name"], "issuerRef": {"name": "vault"}}})
    kinds.status(CERTIFICATE, {"revision": 1, "conditions": [READY]})
    kinds.call("POST", f"{CORE}/secrets", {"metadata": name, "data": {"tls.crt": encoded(ISSUER.pem)}})
    yield Mesh(kinds)
    for path in (CERTIFICATE, SECRET, f"{CORE}/events", f"{CORE}/pods?gracePeriodSeconds=0"):
        kinds.call("DELETE", path)


@pytest.fixture
def renew(forwarder, capsys):
    def call(check: bool = False, **options: Any) -> dict:
        given = {"kubeconfig": str(forwarder.kubeconfig), "linkerd_namespace": "renewal", "_ansible_check_mode": check}
        with patch_module_args(given | options), pytest.raises(SystemExit):
            linkerd_issuer_renewal.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_renewal_that_linkerd_uses(mesh, renew):
    with mesh.reacts(DONE, "IssuerUpdated"):
        answer = renew(timeout=900, event_timeout=900)
    assert (answer["changed"], answer["in_use"]) == (True, True)
    assert answer["certificate"]["subject"] == NEXT.certificate.subject.rfc4514_string()


@pytest.mark.parametrize("check", [True, False])
def test_invalid_certificate_is_renewed(mesh, renew, check):
    mesh.secret("no certificate")
    with mesh.reacts(DONE):
        answer = renew(check=check, timeout=900, event_timeout=0)
    assert answer["changed"], answer["msg"]
    assert bool(answer["certificate"]) is not check
    assert mesh.renewal_requested() is False


@pytest.mark.parametrize("fault", [503, DROP])
def test_wait_continues_while_api_server_is_busy(mesh, renew, forwarder, fault):
    forwarder.fail("/certificates/linkerd-identity-issuer", fault, times=6, after=1)
    with mesh.reacts(DONE):
        answer = renew(timeout=900, event_timeout=0)
    assert answer["changed"], answer["msg"]


@pytest.mark.parametrize("fault", [503, DROP])
def test_outcome_is_unknown_without_api_server(mesh, renew, forwarder, fault):
    forwarder.fail("/certificates/linkerd-identity-issuer", fault, times=1000, after=1)
    answer = renew(timeout=1)
    assert mesh.renewal_requested()
    assert answer["code"] == "outcome_unknown" and "old certificate" not in answer["msg"]


def test_outcome_is_unknown_after_timeout(mesh, renew):
    answer = renew(timeout=1)
    assert answer["code"] == "outcome_unknown"
    assert "Certificate renewal/linkerd-identity-issuer" in answer["msg"]


def test_failed_attempt_is_an_error_with_message_of_cert_manager(mesh, renew):
    with mesh.reacts({"revision": 1, "failedIssuanceAttempts": 1, "conditions": [READY, FAILED]}):
        answer = renew(timeout=900)
    assert answer["code"] == "issuance_failed"
    assert "Issuing=False (Failed) permission denied" in answer["msg"]


def test_unreadable_events_are_an_error_before_renewal(mesh, renew, forwarder):
    mesh.event("old", "IssuerUpdated")
    for check in (True, False):
        forwarder.fail("/events", 503, times=1)
        answer = renew(check=check, timeout=900, event_timeout=0)
        assert answer["code"] == "server_busy" and "Events of renewal" in answer["msg"]
    assert not mesh.renewal_requested()


def test_old_event_is_ignored(mesh, renew, forwarder):
    mesh.event("old", "IssuerUpdated")
    forwarder.fail("/events", 503, times=1, after=1)
    with mesh.reacts(DONE):
        answer = renew(timeout=900, event_timeout=3)
    assert (answer["changed"], answer["in_use"]) == (True, False)


def test_usage_is_unknown_without_events(mesh, renew, forwarder):
    forwarder.fail("/events", 403, times=1000, after=1)
    with mesh.reacts(DONE):
        answer = renew(timeout=900, event_timeout=900)
    assert answer["code"] == "usage_unknown" and "Events of renewal" in answer["msg"]


def test_rejected_certificate_is_returned_with_the_failure(mesh, renew):
    with mesh.reacts(DONE, "IssuerUpdateSkipped"):
        answer = renew(timeout=900, event_timeout=900)
    assert (answer["code"], answer["changed"]) == ("issuer_rejected", True)
    assert answer["certificate"]["subject"] == NEXT.certificate.subject.rfc4514_string()


PODS = ("identity-0", "identity-1", "identity-2")


@pytest.mark.parametrize(
    ("events", "in_use", "code"),
    [
        (["IssuerUpdated"] * 3, True, None),
        (["IssuerUpdated"] * 2, False, None),
        (["IssuerUpdated", "IssuerUpdateSkipped", "IssuerUpdateSkipped"], None, "issuer_rejected"),
    ],
)
def test_every_pod_of_the_controller_must_use_the_issuer(mesh, renew, events, in_use, code):
    """With several controllers, each loads the issuer at its own time, and verifies it with its own anchors."""
    mesh.controller_pods(*PODS)
    with mesh.reacts(DONE, *events):
        answer = renew(timeout=900, event_timeout=8 if in_use is False else 900)
    assert (answer.get("in_use"), answer.get("code"), answer["changed"]) == (in_use, code, True), answer


def test_pods_that_have_finished_report_nothing(mesh, renew):
    mesh.controller_pods(*PODS)
    mesh.api.status(f"{CORE}/pods/identity-1", {"phase": "Failed"})
    with mesh.reacts(DONE, "IssuerUpdated", "IssuerUpdated"):
        assert renew(timeout=900, event_timeout=900)["in_use"] is True


def test_unreadable_pods_are_an_error_before_renewal(mesh, renew, forwarder):
    forwarder.fail("/pods", 403, times=1)
    answer = renew(timeout=900, event_timeout=0)
    assert answer["code"] == "refused" and "Pods of renewal" in answer["msg"]
    assert not mesh.renewal_requested()


DEPLOYMENTS = "/apis/apps/v1/namespaces/renewal/deployments"
CONTROLLER = f"{DEPLOYMENTS}/linkerd-identity"
ROLLED_OUT = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
PLAY = [{
    "hosts": "localhost",
    "gather_facts": False,
    "tasks": [
        {"ansible.builtin.include_role": {"name": "servicemesh.pki.linkerd", "tasks_from": "renew"}},
        {"ansible.builtin.assert": {"that": "linkerd_identity_issuer.subject == expected_subject"}},
    ],
}]  # fmt: skip


@pytest.fixture
def controller(kinds, mesh):
    """The Deployment of Linkerd's identity controller, for which no pods are created."""
    labels = {"app": "identity"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "identity", "image": "none"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    kinds.call("POST", DEPLOYMENTS, {"metadata": {"name": "linkerd-identity"}, "spec": spec})
    kinds.status(CONTROLLER, ROLLED_OUT)  # the rollout after a restart, too
    yield lambda: kinds.call("GET", CONTROLLER)["metadata"]["generation"]
    kinds.call("DELETE", CONTROLLER)


@pytest.mark.parametrize(
    ("event", "restart", "succeeds", "generation"),
    [
        ("IssuerUpdated", True, True, 1),
        ("IssuerUpdateSkipped", False, False, 1),
        ("IssuerUpdateSkipped", True, True, 2),
    ],
)
def test_role_restarts_a_controller_that_rejects_the_issuer_only_on_request(
    mesh, controller, tmp_path, event, restart, succeeds, generation
):
    """An identity controller that started before a root was distributed rejects an issuer below it."""
    variables = {
        **THIS_HOST,
        "expected_subject": NEXT.certificate.subject.rfc4514_string(),
        "linkerd_kubernetes": {"kubeconfig": str(mesh.api.kubeconfig)},
        "linkerd_namespace": "renewal",
        "linkerd_renewal_restart_if_rejected": restart,
    }
    (tmp_path / "play.json").write_text(json.dumps(PLAY))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(tmp_path / "play.json")]
    with mesh.reacts(DONE, event):
        done = subprocess.run(
            [*command, "-e", json.dumps(variables)], cwd=COLLECTION, capture_output=True, text=True, check=False
        )
    assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
    assert controller() == generation, done.stdout
