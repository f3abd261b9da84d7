# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vault_issuer removes what another auth method or a CA certificate has left. A real Vault and API server."""

from __future__ import annotations

import base64
import contextlib
import re
import urllib.error

import hvac
import pytest
from support.plays import ROOT_CA, production, publish_root_ca, role_play, runner

SPACE = "former"
ROLE = "linkerd-identity-issuer-production"
CORE = f"/api/v1/namespaces/{SPACE}"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ISSUERS = f"/apis/cert-manager.io/v1/namespaces/{SPACE}/issuers"
OWN = {"app.kubernetes.io/managed-by": "servicemesh.pki"}
OBJECTS = {
    "account": f"{CORE}/serviceaccounts/vault-issuer",
    "role": f"{RBAC}/namespaces/{SPACE}/roles/vault-issuer-token",
    "binding": f"{RBAC}/namespaces/{SPACE}/rolebindings/vault-issuer-token",
    "reviewer": f"{RBAC}/clusterrolebindings/{SPACE}-vault-issuer-reviewer",
    "ca": f"{CORE}/secrets/vault-ca",
    "token": f"{CORE}/secrets/vault-token",
    "secret id": f"{CORE}/secrets/vault-secret-id",
}
TOKENS = {"account", "role", "binding"}
NEEDS = {"jwt": TOKENS, "kubernetes": TOKENS | {"reviewer"}, "token": {"token"}, "approle": {"secret id"}}
READ = "TASK [servicemesh.pki.vault_issuer : Read "


@pytest.fixture
def play(kinds, server, tmp_path):
    """A function that runs the role for the host `production`, with an issuer that is always Ready."""
    kubernetes = kinds
    kubernetes.namespace(SPACE)
    variables = {**production(kubernetes, server), "pki_linkerd_namespace": SPACE}
    start = runner(server, tmp_path, role_play("vault_issuer", "main"), variables)

    def run(*arguments: str, **more: object) -> str:
        done = start(*arguments, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    publish_root_ca(kubernetes)
    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "vault", "labels": OWN}}
    kubernetes.call("POST", ISSUERS, issuer)
    ready = {"type": "Ready", "status": "True", "observedGeneration": 1000}
    kubernetes.status(f"{ISSUERS}/vault", {"conditions": [ready]})
    yield run
    for path in (f"{ISSUERS}/vault", ROOT_CA, *OBJECTS.values()):
        with contextlib.suppress(urllib.error.HTTPError):  # a test may have removed it
            kubernetes.call("DELETE", path)
    for name in ("jwt-production", "kubernetes-production", "approle"):
        server.client.sys.disable_auth_method(name)
    server.client.sys.delete_policy(ROLE)


def existing(kubernetes) -> set[str]:
    names = set()
    for name, path in OBJECTS.items():
        with contextlib.suppress(urllib.error.HTTPError):
            kubernetes.call("GET", path)
            names.add(name)
    return names


def credential(kubernetes, auth: str) -> str:
    secret, key = {"token": ("token", "token"), "approle": ("secret id", "secretId")}[auth]
    return base64.b64decode(kubernetes.call("GET", OBJECTS[secret])["data"][key]).decode()


def is_valid(server, auth: str, value: str) -> bool:
    try:
        if auth == "token":
            return bool(server.client.auth.token.lookup(value))
        path = f"auth/approle/role/{ROLE}/secret-id/lookup"
        return isinstance(server.client.write_data(path, data={"secret_id": value}), dict)  # else status 204
    except (hvac.exceptions.Forbidden, hvac.exceptions.InvalidPath):
        return False


def changes(output: str) -> int:
    return int(re.search(r"changed=(\d+)", output)[1])


@pytest.mark.parametrize(("former", "now"), [("token", "jwt"), ("approle", "token"), ("kubernetes", "approle")])
def test_what_another_auth_method_needed_is_removed(play, kubernetes, server, former, now):
    ca = {"pki_vault_ca_certificate": kubernetes.ca_file.read_text()}
    play(pki_vault_auth=former, **ca)
    assert existing(kubernetes) == NEEDS[former] | {"ca"}
    value = credential(kubernetes, former) if former in ("token", "approle") else ""
    predicted = play("--check", pki_vault_auth=now)
    assert existing(kubernetes) == NEEDS[former] | {"ca"}, "check mode changes nothing"
    assert not value or is_valid(server, former, value)
    output = play(pki_vault_auth=now)
    assert existing(kubernetes) == NEEDS[now], output
    assert not value or not is_valid(server, former, value)
    assert removed(predicted) == removed(output)
    path = {"approle": "approle"}.get(former, f"{former}-production")
    assert (f"vault auth disable {path}" in output) == (former != "token"), output
    assert (f"vault auth disable {path}" in predicted) == (former != "token"), predicted
    again = play(pki_vault_auth=now)
    assert changes(again) == 0 and "vault auth disable" not in again, again
    calls = again.partition("Read what another auth method left]")[2]
    assert calls.count("ok: [production]") == 1, "a quiet run makes one additional call"


def removed(output: str) -> list[str]:
    """What a run removes, of the tasks after the issuer is Ready."""
    return re.findall(r"changed: \[production\] => \(item=([^)]*)\)", output.partition("Read what another")[2])


def test_other_roles_of_the_former_auth_method_stay(play, server):
    play(pki_vault_auth="approle")
    server.client.write_data("auth/approle/role/theirs", data={"token_policies": ["theirs"]})
    output = play(pki_vault_auth="jwt")
    assert f"vault delete auth/approle/role/{ROLE}" in output and "vault auth disable approle" not in output, output
    assert set(server.client.list("auth/approle/role")["data"]["keys"]) == {"theirs", ROLE}


@pytest.fixture
def other_issuer(kubernetes):
    """A function that creates an issuer of others in the same namespace."""

    def create(**auth: object) -> None:
        issuer = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "theirs"}}
        kubernetes.call("POST", ISSUERS, {**issuer, "spec": {"vault": {"auth": auth}}})

    yield create
    kubernetes.call("DELETE", f"{ISSUERS}/theirs")


@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_another_issuer_uses_stays(play, kubernetes, server, other_issuer, state):
    play(pki_vault_auth="token")
    value = credential(kubernetes, "token")
    other_issuer(tokenSecretRef={"name": "vault-token", "key": "token"})
    output = play(pki_vault_auth="jwt", vault_issuer_state=state)
    assert existing(kubernetes) == ({"token", *TOKENS} if state == "present" else {"token"}), output
    assert is_valid(server, "token", value)
    if state == "present":
        kubernetes.call("DELETE", OBJECTS["token"])
        server.client.auth.token.revoke(value)


def test_service_account_of_another_issuer_stays(play, kubernetes, other_issuer):
    play(pki_vault_auth="kubernetes")
    other_issuer(kubernetes={"role": "theirs", "serviceAccountRef": {"name": "vault-issuer"}})
    output = play(pki_vault_auth="token")
    assert existing(kubernetes) == {*NEEDS["kubernetes"], "token"}, output


@pytest.mark.parametrize("manager", ["test", "OpenAPI-Generator"])
@pytest.mark.parametrize("known", [True, False])
def test_what_others_created_stays(play, kubernetes, server, manager, known):
    """Secrets with credentials that this collection did not store, also with those of another Vault.

    OpenAPI-Generator is the name of every Python client, that of this collection included.
    """
    theirs = server.client.auth.token.create(policies=["x"])["auth"]["client_token"] if known else "of another Vault"
    tokens = {"token": theirs, "secret id": "theirs"}
    for name, key in (("token", "token"), ("secret id", "secretId")):
        body = {"metadata": {"name": OBJECTS[name].rpartition("/")[2]}}
        data = {key: base64.b64encode(tokens[name].encode()).decode()}
        kubernetes.call("POST", f"{CORE}/secrets?fieldManager={manager}", {**body, "data": data})
    binding = {"metadata": {"name": f"{SPACE}-vault-issuer-reviewer"}}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    kubernetes.call("POST", f"{RBAC}/clusterrolebindings", {**binding, "roleRef": reference})
    others = {"token", "secret id", "reviewer"}
    play(pki_vault_auth="jwt")
    assert existing(kubernetes) == others | TOKENS
    assert "vault auth disable" not in play(pki_vault_auth="jwt")
    play(pki_vault_auth="jwt", vault_issuer_state="absent")
    assert existing(kubernetes) == others
    assert not known or is_valid(server, "token", tokens["token"])


WITHOUT_LOOKUP = """
path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "auth/token/lookup" { capabilities = ["deny"] }
"""


@pytest.mark.parametrize("state", ["present", "absent"])
def test_credential_that_the_login_may_not_revoke_stays_and_is_named(play, kubernetes, server, state):
    """Such a login renews the credential on a schedule. It must not fail because of a former one."""
    play(pki_vault_auth="token")
    value = credential(kubernetes, "token")
    login = {"url": server.url, "token": server.token_for(WITHOUT_LOOKUP)}
    output = play(pki_vault_auth="approle", pki_vault=login, vault_issuer_state=state)
    assert existing(kubernetes) == ({"token", "secret id"} if state == "present" else {"token"})
    assert is_valid(server, "token", value)
    assert "auth/token/lookup" in output.partition("Show that a credential stays")[2], output


@pytest.mark.parametrize("former", ["approle", "kubernetes"])
def test_removal_sees_an_auth_method_that_is_not_configured_any_more(play, kubernetes, server, former):
    ca = {"pki_vault_ca_certificate": kubernetes.ca_file.read_text()}
    play(pki_vault_auth=former, **ca)
    value = credential(kubernetes, former) if former == "approle" else ""
    absent = {"pki_vault_auth": "jwt", "vault_issuer_state": "absent"}
    output = play("--check", **absent)
    assert existing(kubernetes) == NEEDS[former] | {"ca"}
    output = play(**absent)
    assert existing(kubernetes) == set(), output
    assert not value or not is_valid(server, former, value)
    assert "vault auth disable" in output, output
    assert changes(play(**absent)) == 0
