# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real API server. Neither cert-manager nor Linkerd runs: what they write is written here, as soon
as the renewal is asked for."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from forwarder_standin import DROP

from ansible_collections.servicemesh.pki.plugins.modules import linkerd_issuer_renewal

sys.path.append(str(Path(__file__).resolve().parents[2] / "unit" / "x509"))

from readings import ISSUER, NEXT, encoded

CORE = "/api/v1/namespaces/renewal"
CERTIFICATES = "/apis/cert-manager.io/v1/namespaces/renewal/certificates"
CERTIFICATE = f"{CERTIFICATES}/linkerd-identity-issuer"
SECRET = f"{CORE}/secrets/linkerd-identity-issuer"
MERGE = "application/merge-patch+json"
READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1}
DONE = {"revision": 2, "conditions": [READY]}
FAILED = {**READY, "type": "Issuing", "status": "False", "reason": "Failed", "message": "permission denied"}
UNKNOWN = "The renewal was asked for, and its outcome is not known."


class Mesh:
    """What the module finds, and what others make of its wish."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def secret(self, text: str) -> None:
        self.api.call("PATCH", SECRET, {"data": {"tls.crt": encoded(text)}}, MERGE)

    def event(self, name: str, reason: str) -> None:
        about = {"kind": "Deployment", "name": "linkerd-identity", "namespace": "renewal"}
        body = {"metadata": {"name": name}, "involvedObject": about, "reason": reason, "message": "said by the test"}
        self.api.call("POST", f"{CORE}/events", body)

    def asked_for(self) -> bool:
        conditions = self.api.call("GET", CERTIFICATE)["status"]["conditions"]
        return any((item["type"], item["status"]) == ("Issuing", "True") for item in conditions)

    @contextlib.contextmanager
    def answers(self, status: dict, event: str | None = None):
        """Plays cert-manager, then Linkerd."""
        stop = threading.Event()

        def play() -> None:
            while not self.asked_for():
                if stop.wait(0.1):
                    return
            if status is DONE:
                self.secret(NEXT.pem)
            self.api.status(CERTIFICATE, status)
            if event:
                self.event("new", event)

        player = threading.Thread(target=play)
        player.start()
        yield
        stop.set()
        player.join()


@pytest.fixture
def mesh(kinds):
    kinds.namespace("renewal")
    name = {"name": "linkerd-identity-issuer"}
    body = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": name}
    kinds.call("POST", CERTIFICATES, {**body, "spec": {"secretName": name["name"], "issuerRef": {"name": "vault"}}})
    kinds.status(CERTIFICATE, {"revision": 1, "conditions": [READY]})
    kinds.call("POST", f"{CORE}/secrets", {"metadata": name, "data": {"tls.crt": encoded(ISSUER.pem)}})
    yield Mesh(kinds)
    for path in (CERTIFICATE, SECRET, f"{CORE}/events"):
        kinds.call("DELETE", path)


@pytest.fixture
def renew(forwarder, capsys):
    def call(check: bool = False, **options: Any) -> dict:
        given = {"kubeconfig": str(forwarder.kubeconfig), "linkerd_namespace": "renewal", "_ansible_check_mode": check}
        with patch_module_args(given | options), pytest.raises(SystemExit):
            linkerd_issuer_renewal.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_a_renewal_that_linkerd_takes(mesh, renew):
    with mesh.answers(DONE, "IssuerUpdated"):
        answer = renew(timeout=900, event_timeout=900)
    assert (answer["changed"], answer["in_use"]) == (True, True)
    assert answer["certificate"]["subject"] == NEXT.certificate.subject.rfc4514_string()


@pytest.mark.parametrize("check", [True, False])
def test_what_is_no_certificate_is_renewed_too(mesh, renew, check):
    mesh.secret("no certificate")
    with mesh.answers(DONE):
        answer = renew(check=check, timeout=900, event_timeout=0)
    assert answer["changed"], answer["msg"]
    assert bool(answer["certificate"]) is not check
    assert mesh.asked_for() is False


@pytest.mark.parametrize("fault", [503, DROP])
def test_an_api_server_that_is_away_for_a_moment_ends_no_wait(mesh, renew, forwarder, fault):
    forwarder.wrong("/certificates/linkerd-identity-issuer", fault, times=6, after=1)
    with mesh.answers(DONE):
        answer = renew(timeout=900, event_timeout=0)
    assert answer["changed"], answer["msg"]


@pytest.mark.parametrize("fault", [503, DROP])
def test_where_nobody_can_tell_the_outcome_nothing_is_claimed(mesh, renew, forwarder, fault):
    forwarder.wrong("/certificates/linkerd-identity-issuer", fault, times=1000, after=1)
    message = renew(timeout=1)["msg"]
    assert mesh.asked_for()
    assert message.startswith(UNKNOWN) and "old certificate" not in message


def test_a_renewal_that_takes_too_long_may_still_come(mesh, renew):
    message = renew(timeout=1)["msg"]
    assert message.startswith(f"{UNKNOWN} Certificate renewal/linkerd-identity-issuer was not renewed within 1 s.")


def test_only_a_failed_attempt_leaves_the_old_certificate(mesh, renew):
    with mesh.answers({"revision": 1, "failedIssuanceAttempts": 1, "conditions": [READY, FAILED]}):
        message = renew(timeout=900)["msg"]
    assert message.startswith("The old certificate stays in use.")
    assert "Issuing=False (Failed) permission denied" in message


def test_events_that_cannot_be_read_are_an_error_before_anything_is_asked_for(mesh, renew, forwarder):
    mesh.event("old", "IssuerUpdated")
    for check in (True, False):
        forwarder.wrong("/events", 503, times=1)
        assert "Events of renewal cannot be read: 503" in renew(check=check, timeout=900, event_timeout=0)["msg"]
    assert not mesh.asked_for()


def test_an_old_event_says_nothing_of_the_new_certificate(mesh, renew, forwarder):
    mesh.event("old", "IssuerUpdated")
    forwarder.wrong("/events", 503, times=1, after=1)
    with mesh.answers(DONE):
        answer = renew(timeout=900, event_timeout=3)
    assert (answer["changed"], answer["in_use"]) == (True, False)


def test_events_that_can_no_longer_be_read_are_said(mesh, renew, forwarder):
    forwarder.wrong("/events", 403, times=1000, after=1)
    with mesh.answers(DONE):
        message = renew(timeout=900, event_timeout=900)["msg"]
    assert message.startswith("The new certificate is there, but not whether Linkerd uses it:")
    assert "Events of renewal cannot be read: 403" in message
