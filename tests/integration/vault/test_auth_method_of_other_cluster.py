# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vault_issuer does not change the access of another cluster with the same name, or of other applications.

A real Vault and a real API server.
"""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from support.plays import ROOT_CA, production, publish_root_ca, role_play, runner

PLAY = role_play("vault_issuer", "{{ part | default('vault') }}")
OTHER_CLUSTER = "[auth_method_of_other_cluster] production:"


@pytest.fixture
def play(kubernetes, server, tmp_path):
    """A function that configures Vault for the host `production` and returns the output of a run."""
    publish_root_ca(kubernetes)
    start = runner(server, tmp_path, PLAY, production(kubernetes, server))

    def run(*arguments: str, **more: object) -> str:
        return " ".join(start(*arguments, **more).stdout.split())

    yield run
    kubernetes.call("DELETE", ROOT_CA)
    for name in ("jwt-production", "kubernetes-production", "jwt-Berlin", "kubernetes-Berlin"):
        server.client.sys.disable_auth_method(name)
    for name in ("production", "berlin"):
        server.client.sys.delete_policy(f"linkerd-identity-issuer-{name}")


def access(server, method: str) -> list:
    """What Vault stores for the cluster."""
    paths = (
        f"auth/{method}/config",
        f"auth/{method}/role/linkerd-identity-issuer-production",
        "sys/policies/acl/linkerd-identity-issuer-production",
    )
    return [(server.client.read(path) or {}).get("data") for path in paths]


def of_another_cluster(auth: str, kubernetes, folder: Path) -> dict:
    """The configuration of an auth method, the name or address of the other cluster first."""
    if auth == "jwt":
        return {"bound_issuer": "https://oidc.example.com/other", "jwt_validation_pubkeys": [kubernetes.token_key]}
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=other",
        "-keyout",
        folder / "k",
    ]
    ca = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"kubernetes_host": "https://other:6443", "kubernetes_ca_cert": ca}


@pytest.mark.parametrize("auth", ["jwt", "kubernetes"])
def test_access_of_another_cluster_with_the_same_name_is_not_changed(play, server, kubernetes, tmp_path, auth):
    assert "failed=0" in play(pki_vault_auth=auth), "from nothing"
    assert "changed=0 unreachable=0 failed=0" in play(pki_vault_auth=auth)
    method, other = f"{auth}-production", of_another_cluster(auth, kubernetes, tmp_path)
    server.client.write_data(f"auth/{method}/config", data=other)
    before = access(server, method)
    changed = {"pki_vault_auth": auth, "pki_root_issuer_name": "another-root"}  # another policy
    for arguments in (("--check",), ()):
        output = play(*arguments, **changed)
        assert "failed=1" in output and "changed=0" in output, output
        assert f"{OTHER_CLUSTER} The auth method {method}" in output
        assert next(iter(other.values())) in output
    assert access(server, method) == before
    assert "failed=0" in play(**changed, pki_take_over=[f"Vault auth method {method}"])
    assert access(server, method) != before


def test_same_cluster_with_another_address_is_changed(play, server):
    assert "failed=0" in play(pki_vault_auth="kubernetes")
    output = play(pki_vault_auth="kubernetes", vault_issuer_kubernetes_host="https://moved:6443")
    assert "failed=0" in output, output
    assert access(server, "kubernetes-production")[0]["kubernetes_host"] == "https://moved:6443"


def test_new_cluster_is_predicted(play):
    output = play("--check")
    assert "failed=0" in output, output


def test_removal_leaves_the_access_and_the_token_of_others(play, server, kubernetes, tmp_path):
    absent = {"part": "main", "vault_issuer_state": "absent"}
    assert "failed=0" in play()
    server.client.write_data("auth/jwt-production/config", data=of_another_cluster("jwt", kubernetes, tmp_path))
    output = play(**absent)
    assert "failed=1" in output and f"{OTHER_CLUSTER} The auth method jwt-production" in output, output
    assert all(access(server, "jwt-production"))
    output = play(**absent, pki_take_over=["Vault auth method jwt-production"])
    assert "failed=0" in output and not any(access(server, "jwt-production")[1:]), output

    token = server.client.auth.token.create(policies=["theirs"])["auth"]["client_token"]
    secrets = "/api/v1/namespaces/linkerd/secrets"
    body = {"metadata": {"name": "vault-token"}, "data": {"token": base64.b64encode(token.encode()).decode()}}
    kubernetes.namespace("linkerd")
    kubernetes.call("POST", secrets, body)
    output = play(**absent, pki_vault_auth="token")
    assert "failed=0" in output and "Secret linkerd/vault-token contains a token" in output, output
    assert server.client.auth.token.lookup(token)["data"]["policies"] == ["default", "theirs"]
    assert kubernetes.call("DELETE", f"{secrets}/vault-token")["status"] == "Success"


ABSENT = {"part": "main", "vault_issuer_state": "absent"}


def share(server, auth: str, **config: object) -> str:
    """Another application uses the auth method, with its own role and settings. Returns the path of its role."""
    method = f"{auth}-production"
    settings = {"jwt": {"default_role": "theirs"}, "kubernetes": {"token_reviewer_jwt": reviewer()}}[auth]
    found = {name: value for name, value in access(server, method)[0].items() if value not in ("", [], {}, None)}
    server.client.write_data(f"auth/{method}/config", data={**found, **settings, **config})
    role = {
        "jwt": {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["theirs"]},
        "kubernetes": {"bound_service_account_names": ["theirs"], "bound_service_account_namespaces": ["theirs"]},
    }[auth]
    path = f"auth/{method}/role/theirs"
    server.client.write_data(path, data=role)
    return path


def reviewer() -> str:
    """A token with the form of a service account's, which Vault checks."""
    parts = ({"alg": "RS256"}, {"iss": "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/namespace": "theirs"})
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts), "c2ln"]
    )


@pytest.mark.parametrize("auth", ["jwt", "kubernetes"])
def test_auth_method_of_other_applications_is_used_and_not_changed(play, server, auth):
    assert "failed=0" in play(pki_vault_auth=auth)
    theirs = share(server, auth)
    config, role, policy = access(server, f"{auth}-production")
    output = play(pki_vault_auth=auth, pki_root_issuer_name="another-root")
    assert "changed=1 " in output and "failed=0" in output, output
    assert access(server, f"{auth}-production")[:2] == [config, role]
    assert access(server, f"{auth}-production")[2] != policy

    output = play(pki_vault_auth=auth, **ABSENT)
    assert "failed=0" in output and f"auth method {auth}-production" in output, output
    assert access(server, f"{auth}-production") == [config, None, None]
    assert server.client.read(theirs)
    output = play(pki_vault_auth=auth, **ABSENT, pki_take_over=[f"Vault auth method {auth}-production"])
    assert "failed=0" in output and f"{auth}-production/" not in server.client.sys.list_auth_methods()["data"], output


@pytest.mark.parametrize("auth", ["jwt", "kubernetes"])
def test_unsuitable_auth_method_of_other_applications_is_not_changed(play, server, kubernetes, auth):
    assert "failed=0" in play(pki_vault_auth=auth)
    method = f"{auth}-production"
    other = {"jwt": {"jwt_validation_pubkeys": [new_key()]}, "kubernetes": {"kubernetes_host": "https://proxy:6443"}}
    share(server, auth, **other[auth])
    before = access(server, method)
    changed = {"pki_vault_auth": auth, "pki_root_issuer_name": "another-root"}
    for arguments in (("--check",), ()):
        output = play(*arguments, **changed)
        assert "failed=1" in output and "changed=0" in output, output
        assert "[auth_method_in_use]" in output and method in output and "theirs" in output, output
    assert access(server, method) == before
    assert "failed=0" in play(**changed, pki_take_over=[f"Vault auth method {method}"])
    assert access(server, method)[0] != before[0]


def new_key() -> str:
    """A public key in PEM."""
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    key = subprocess.run(command, check=True, capture_output=True).stdout
    return subprocess.run(["openssl", "pkey", "-pubout"], input=key, check=True, capture_output=True).stdout.decode()


def test_auth_method_whose_roles_cannot_be_listed_is_not_disabled(play, server):
    assert "failed=0" in play()
    everything = 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }'
    token = server.token_for(everything, 'path "auth/jwt-production/role/" { capabilities = ["deny"] }')
    restricted = {"pki_vault": {"url": server.url, "token": token}}
    assert "changed=0 unreachable=0 failed=0" in play(**restricted)
    output = play(**restricted, **ABSENT)
    assert "failed=0" in output and "auth method jwt-production" in output, output
    assert access(server, "jwt-production")[0] and access(server, "jwt-production")[1:] == [None, None]


def test_auth_method_for_any_issuer_is_not_changed(play, server, kubernetes):
    """Such as that of a CI system, whose jobs come from several issuers."""
    assert "failed=0" in play()
    server.client.write_data("auth/jwt-production/config", data={"jwt_validation_pubkeys": [kubernetes.token_key]})
    before = access(server, "jwt-production")
    for more in ({}, ABSENT):
        output = play(**more)
        assert "failed=1" in output and f"{OTHER_CLUSTER} The auth method jwt-production" in output, output
        assert "bound_issuer" in output
    assert access(server, "jwt-production") == before


def test_removal_leaves_the_keys_of_another_cluster_with_the_same_issuer(play, server):
    """Most clusters of kubeadm, k3s and RKE2 have the issuer https://kubernetes.default.svc.cluster.local."""
    assert "failed=0" in play()
    config = access(server, "jwt-production")[0]
    data = {"bound_issuer": config["bound_issuer"], "jwt_validation_pubkeys": [new_key()]}
    server.client.write_data("auth/jwt-production/config", data=data)
    before = access(server, "jwt-production")
    output = play(**ABSENT)
    assert "failed=1" in output and f"{OTHER_CLUSTER} The auth method jwt-production" in output, output
    assert access(server, "jwt-production") == before
    assert "failed=0" in play(**ABSENT, pki_take_over=["Vault auth method jwt-production"])


@pytest.mark.parametrize("auth", ["jwt", "kubernetes"])
def test_name_with_a_capital_changes_nothing_again(play, server, auth):
    cluster = {"pki_vault_auth": auth, "vault_issuer_cluster": "Berlin"}
    output = play(**cluster)
    assert "failed=0" in output and "WARNING" not in output, output
    assert "changed=0 unreachable=0 failed=0" in play(**cluster)
    role = server.client.read(f"auth/{auth}-Berlin/role/linkerd-identity-issuer-Berlin")["data"]
    assert role["token_policies"] == ["linkerd-identity-issuer-berlin"]
    assert "linkerd-identity-issuer-berlin" in server.client.sys.list_policies()["data"]["policies"]
    assert "failed=0" in play(**cluster, **ABSENT)
    assert "linkerd-identity-issuer-berlin" not in server.client.sys.list_policies()["data"]["policies"]
    assert f"{auth}-Berlin/" not in server.client.sys.list_auth_methods()["data"]


ISSUERS = "/apis/cert-manager.io/v1/clusterissuers"
COMPANY = {"pki_vault_server": "https://company-vault.test:8200"}


@pytest.fixture
def issuer(kinds):
    """A function that creates a ClusterIssuer of Vault, as this or another inventory has done in this cluster."""

    def create(name: str, server: str = COMPANY["pki_vault_server"], **auth: object) -> None:
        vault = {"server": server, "path": "pki/issuer/root/sign-intermediate", "auth": auth}
        given = {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": name}}
        kinds.call("POST", ISSUERS, {**given, "spec": {"vault": vault}})

    yield create
    kinds.call("DELETE", ISSUERS)  # all of them


def mount_path(method: str) -> dict:
    return {"kubernetes": {"mountPath": f"/v1/auth/{method}"}}


def test_keys_of_another_cluster_with_the_same_issuer_are_not_replaced(play, server, issuer):
    """Only a cluster whose issuer of cert-manager uses the auth method may have changed its keys."""
    assert "failed=0" in play(**COMPANY)
    config = access(server, "jwt-production")[0]
    other = {"bound_issuer": config["bound_issuer"], "jwt_validation_pubkeys": [new_key()]}
    server.client.write_data("auth/jwt-production/config", data=other)
    before = access(server, "jwt-production")
    changed = {**COMPANY, "pki_root_issuer_name": "another-root"}
    issuer("of-another-method", **mount_path("jwt-staging"))
    issuer("of-another-vault", "https://other-vault.test:8200", **mount_path("jwt-production"))
    issuer("with-a-token", tokenSecretRef={"name": "vault-token", "key": "token"})
    for arguments in (("--check",), ()):
        output = play(*arguments, **changed)
        assert "failed=1" in output and "changed=0" in output, output
        assert f"{OTHER_CLUSTER} The auth method jwt-production" in output, output
    assert access(server, "jwt-production") == before
    issuer("vault", **mount_path("jwt-production"))
    assert "failed=0" in play(**changed)
    assert access(server, "jwt-production")[0]["jwt_validation_pubkeys"] == config["jwt_validation_pubkeys"]
    assert access(server, "jwt-production")[2] != before[2]


def test_issuers_that_cannot_be_read_do_not_stop_the_run(play, server, kubernetes, issuer, tmp_path):
    """A login that only reads the keys, as before: the cluster may have changed them."""
    issuer("vault", **mount_path("jwt-staging"))
    assert "failed=0" in play(**COMPANY)
    config = access(server, "jwt-production")[0]
    other = {"bound_issuer": config["bound_issuer"], "jwt_validation_pubkeys": [new_key()]}
    server.client.write_data("auth/jwt-production/config", data=other)
    token = kubernetes.token("reads-keys", kubernetes.issuer)
    rules = "/apis/rbac.authorization.k8s.io/v1"
    subject = {"kind": "ServiceAccount", "name": "reads-keys", "namespace": "default"}
    role = {"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}
    role["rules"].append(
        {"nonResourceURLs": ["/openid/v1/jwks", "/.well-known/openid-configuration"], "verbs": ["get"]}
    )
    kubernetes.call("POST", f"{rules}/clusterroles", {"metadata": {"name": "reads-keys"}, **role})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reads-keys"}
    binding = {"metadata": {"name": "reads-keys"}, "roleRef": reference, "subjects": [subject]}
    kubernetes.call("POST", f"{rules}/clusterrolebindings", binding)
    try:
        login = {"host": kubernetes.url, "api_key": token, "validate_certs": False}
        output = play(**COMPANY, pki_kubernetes=login)
        assert "failed=0" in output, output
    finally:
        kubernetes.call("DELETE", f"{rules}/clusterrolebindings/reads-keys")
        kubernetes.call("DELETE", f"{rules}/clusterroles/reads-keys")
    assert access(server, "jwt-production")[0]["jwt_validation_pubkeys"] == config["jwt_validation_pubkeys"]


@pytest.mark.parametrize("auth", ["jwt", "kubernetes", "approle", "token"])
def test_policy_of_a_cluster_with_another_auth_method_stays(play, server, kubernetes, auth):
    """The other cluster, of another inventory, has the same name. Neither a run nor a removal may take its access."""
    kubernetes.namespace("linkerd")
    name = "linkerd-identity-issuer-production"
    theirs = 'path "pki/issuer/theirs/sign-intermediate" {\n  capabilities = ["update"]\n}'
    server.client.sys.create_or_update_policy(name, theirs)
    for state in ("present", "absent"):
        for arguments in (("--check",), ()):
            output = play(*arguments, **COMPANY, pki_vault_auth=auth, part="main", vault_issuer_state=state)
            assert "failed=1" in output and "changed=0" in output, output
            assert "[policy_in_use]" in output and f"'Vault policy {name}'" in output, output
    assert access(server, f"{auth}-production")[2]["policy"] == theirs
    taken = {"pki_take_over": [f"Vault policy {name}"], "part": "main", "vault_issuer_state": "absent"}
    output = play(**COMPANY, pki_vault_auth=auth, **taken)
    assert "failed=0" in output and access(server, f"{auth}-production")[2] is None, output


@pytest.mark.parametrize("permission", ["issuer in the cluster", "pki_take_over"])
def test_policy_of_another_cluster_with_the_same_name_is_not_changed(play, server, kubernetes, issuer, permission):
    """With a token, nothing in Vault shows which cluster uses the policy."""
    kubernetes.namespace("linkerd")
    token, name = {**COMPANY, "pki_vault_auth": "token"}, "linkerd-identity-issuer-production"
    theirs = 'path "pki/issuer/theirs/sign-intermediate" {\n  capabilities = ["update"]\n}'
    server.client.sys.create_or_update_policy(name, theirs)
    issuer("of-another-vault", "https://other-vault.test:8200", tokenSecretRef={"name": "vault-token"})
    for arguments in (("--check",), ()):
        output = play(*arguments, **token)
        assert "failed=1" in output and "changed=0" in output, output
        assert "[policy_in_use]" in output and f"'Vault policy {name}'" in output, output
    assert access(server, "none")[2]["policy"] == theirs
    if permission == "pki_take_over":
        token["pki_take_over"] = [f"Vault policy {name}"]
    else:
        issuer("vault", tokenSecretRef={"name": "vault-token", "key": "token"})
    try:
        output = play(**token)
        assert "failed=0" in output and access(server, "none")[2]["policy"] != theirs, output
        assert "changed=0 unreachable=0 failed=0" in play(**{**token, "pki_take_over": []}), "the policy is the same"
    finally:
        kubernetes.call("DELETE", "/api/v1/namespaces/linkerd/secrets/vault-token")
