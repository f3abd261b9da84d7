# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from Certificate, Issuer and Bundle."""

from __future__ import annotations

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import controllers, sources

CERTIFICATE = {"metadata": {"name": "linkerd-identity-issuer", "namespace": "linkerd"}, "spec": {"issuerRef": {}}}
END = "2026-12-01T00:00:00Z"


@pytest.mark.parametrize(
    ("certificate", "attempts"),
    [(None, None), ({}, 0), ({"status": {"failedIssuanceAttempts": 3}}, 3)],
)
def test_failed_attempts(certificate, attempts):
    assert controllers.failed_attempts(certificate) == attempts


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"name": "vault"}, ("Issuer", "vault", "linkerd")),
        ({"name": "vault", "kind": "ClusterIssuer", "group": "cert-manager.io"}, ("ClusterIssuer", "vault", None)),
    ],
)
def test_issuer_of_certificate(reference, expected):
    found = controllers.issuer_of({**CERTIFICATE, "spec": {"issuerRef": reference}})
    assert (found.kind, found.name, found.namespace) == expected


def test_issuer_of_another_group_is_not_read():
    reference = {"name": "x", "group": "awspca.cert-manager.io"}
    assert controllers.issuer_of({**CERTIFICATE, "spec": {"issuerRef": reference}}) is None
    assert controllers.issuer_of(CERTIFICATE) is controllers.issuer_of(None) is None


def condition(status: str, **more: int) -> dict:
    return {"metadata": {"generation": 2}, "status": {"conditions": [{"type": "Synced", "status": status, **more}]}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, None),
        ({"metadata": {}}, False),
        (condition("True"), True),
        (condition("False"), False),
        (condition("True", observedGeneration=2), True),
        (condition("True", observedGeneration=1), False),
    ],
)
def test_condition_of_current_generation(found, expected):
    reference = ObjectReference(controllers.TRUST_MANAGER, "Bundle", "roots")
    state = controllers.state(reference, found, "" if found else "cannot be read: forbidden", "Synced")
    assert state == (None if expected is None else {"where": "Bundle roots", "ready": expected})


def issuer(auth: dict, **annotations: str) -> dict:
    found = {"path": "pki/root/sign-intermediate", "auth": auth}
    return {"metadata": {"namespace": "linkerd", "annotations": annotations}, "spec": {"vault": found}}


@pytest.mark.parametrize(
    "auth", [{"tokenSecretRef": {"name": "one"}}, {"appRole": {"secretRef": {"name": "one"}}}], ids=["token", "approle"]
)
def test_credential_with_known_end(auth):
    assert controllers.credential(issuer(auth, **{controllers.EXPIRES: END})) == {
        "where": "Secret linkerd/one",
        "not_after": END,
    }
    assert controllers.credential(issuer(auth)) is None
    assert controllers.credential(issuer(auth, **{controllers.EXPIRES: "soon"})) is None


def test_annotation_of_an_earlier_auth_method_is_ignored():
    service_account = {"kubernetes": {"serviceAccountRef": {"name": "vault-issuer"}}}
    assert controllers.credential(issuer(service_account, **{controllers.EXPIRES: END})) is None
    assert controllers.credential(None) is None


def test_issuer_that_does_not_sign_with_vault_has_no_path():
    reference = ObjectReference(controllers.CERT_MANAGER, "Issuer", "ca", "linkerd")
    assert controllers.issuer_state(reference, {"metadata": {}, "spec": {"ca": {}}}, "")["path"] is None


SIGNED = {**CERTIFICATE, "spec": {"issuerRef": {"name": "vault"}}}


def test_states_of_objects_that_can_be_read():
    objects = {"Issuer linkerd/vault": issuer({"tokenSecretRef": {"name": "one"}}), "Bundle roots": condition("True")}
    assert controllers.states(lambda reference: (objects[str(reference)], ""), SIGNED, "roots") == {
        "failed_attempts": 0,
        "cert_manager_issuer": {"where": "Issuer linkerd/vault", "ready": False, "path": "pki/root/sign-intermediate"},
        "bundle": {"where": "Bundle roots", "ready": True},
        "credential": None,
    }


def test_states_of_objects_that_do_not_exist():
    """A prune of GitOps or a wrong name. An object that is not permitted to be read may exist."""
    states = controllers.states(lambda reference: (None, sources.MISSING), SIGNED, "roots")
    assert states["cert_manager_issuer"] == {"where": "Issuer linkerd/vault", "ready": False, "path": None}
    assert states["bundle"] == {"where": "Bundle roots", "ready": False}
    forbidden = controllers.states(lambda reference: (None, "cannot be read: forbidden"), SIGNED, "roots")
    assert forbidden["cert_manager_issuer"] is forbidden["bundle"] is None
    assert set(controllers.states(lambda reference: (None, sources.MISSING), None, None).values()) == {None}
