# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else uses the access to Vault that the role vault_issuer would change."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.filter.preflight import preflight_vault_access

METHOD, POLICY = "Vault auth method jwt-berlin", "Vault policy linkerd-identity-issuer-berlin"
HOST, OTHER = "https://api.berlin:6443", "https://api.other:6443"
SERVER = "https://vault.test:8200"
TOKENS = {"issuer": "https://kubernetes.default.svc/", "public_keys": ["key 1\n"], "ca_certificate": "CA\n"}
JWT = {"bound_issuer": "https://kubernetes.default.svc", "jwt_validation_pubkeys": ["key 1"]}
OTHER_KEYS = {**JWT, "jwt_validation_pubkeys": ["key 2"]}
KUBERNETES = {"kubernetes_host": HOST, "kubernetes_ca_cert": "CA"}
UNREAD = [{"failed": True}, {"failed": True}]
OTHERS = ["theirs", "Linkerd-identity-issuer-berlin"]


def issuers(path: str = "/v1/auth/jwt-berlin", server: str = SERVER + "/") -> list:
    """The Issuers and ClusterIssuers of a cluster, as k8s_info returns them."""
    vault = {"server": server, "auth": {"kubernetes": {"mountPath": path}}}
    return [{"resources": [{"spec": {"ca": {}}}, {"spec": {"vault": vault}}]}, {"resources": []}]


def decide(auth: str = "jwt", requested: dict | None = None, **found: object) -> dict:
    """The decisions for the cluster berlin. From nothing, unless `found` is what the role has read."""
    read = {
        "roles": [], "config": {}, "tokens": TOKENS, "keys": {}, "issuers": [], "policy_before": "",
        "policy_differs": True, "credential": {}, "credential_owner": {}, **found,
    }  # fmt: skip
    name = "linkerd-identity-issuer-berlin"
    return preflight_vault_access(read, {
        "host": "berlin", "state": "present", "auth": auth, "auth_path": f"{auth}-berlin", "role": name, "policy": name,
        "path": "pki/issuer/new/sign", "keeps_path": False, "server": SERVER, "kubernetes_host": HOST, "take_over": [],
        "secret": "Secret linkerd/vault-token", **(requested or {}),
    })  # fmt: skip


def problem(*given: object, **found: object) -> str:
    """The code of the only problem, empty if there is none."""
    codes = [one["code"] for one in decide(*given, **found)["problems"]]
    assert len(codes) <= 1
    return "".join(codes)


@pytest.mark.parametrize("auth", ["jwt", "kubernetes", "token", "approle"])
def test_new_cluster_has_no_problem(auth):
    assert problem(auth, tokens=TOKENS if auth in ("jwt", "kubernetes") else {}) == ""


@pytest.mark.parametrize(("auth", "config", "other"), [
    ("jwt", JWT, ""),
    ("jwt", {**JWT, "bound_issuer": "https://oidc.other/"}, "https://oidc.other"),
    ("jwt", {"jwks_url": "https://x"}, "(bound_issuer is empty)"),
    ("jwt", OTHER_KEYS, "the same issuer and other keys"),
    ("jwt", {**JWT, "jwks_ca_pem": "another CA"}, "the same issuer and other keys"),
    ("jwt", {**JWT, "jwks_ca_pem": "CA\n"}, ""),
    ("jwt", {"bound_issuer": "https://kubernetes.default.svc/", "jwt_validation_pubkeys": None}, ""),
    ("kubernetes", KUBERNETES, ""),
    ("kubernetes", {**KUBERNETES, "kubernetes_host": OTHER}, ""),  # the same CA at another address
    ("kubernetes", {"kubernetes_host": HOST, "kubernetes_ca_cert": "another CA"}, ""),
    ("kubernetes", {"kubernetes_host": OTHER, "kubernetes_ca_cert": "another CA"}, OTHER),
])  # fmt: skip
def test_auth_method_of_another_cluster(auth, config, other):
    found = decide(auth, config=config)
    assert other in found["other_cluster"] and bool(other) == bool(found["other_cluster"])
    named = [(one["code"], one["cluster"], one["object"]) for one in found["problems"]]
    item = f"Vault auth method {auth}-berlin"
    assert named == ([("auth_method_of_other_cluster", "berlin", item)] if other else [])
    assert problem(auth, {"take_over": [item]}, config=config) == ""


@pytest.mark.parametrize(("found", "state", "expected"), [
    ({"issuers": issuers()}, "present", ""),
    ({"issuers": issuers()}, "absent", "auth_method_of_other_cluster"),  # the removal has deleted the issuer
    ({"issuers": UNREAD}, "present", ""),
    ({"issuers": issuers("/v1/auth/jwt-paris")}, "present", "auth_method_of_other_cluster"),
    ({"issuers": issuers(server="https://another-vault.test")}, "present", "auth_method_of_other_cluster"),
])  # fmt: skip
def test_only_a_cluster_whose_issuer_uses_the_auth_method_may_have_changed_its_keys(found, state, expected):
    assert problem("jwt", {"state": state}, config=OTHER_KEYS, **found) == expected


def test_any_vault_counts_if_its_address_is_not_given():
    assert problem("jwt", {"server": ""}, config=OTHER_KEYS, issuers=issuers(server="https://any.test")) == ""


@pytest.mark.parametrize("roles", [OTHERS, None])
def test_configuration_that_others_use_is_kept_if_it_suits(roles):
    same, differs = {"source": "static", "differences": []}, {"source": "static", "differences": ["issuer"]}
    found = decide(roles=roles, config=JWT, keys=same)
    assert (found["is_shared"], found["keeps_config"], found["problems"]) == (True, True, [])
    assert ("theirs" in found["users"]) == (roles is not None)
    assert "linkerd-identity-issuer-berlin" not in found["users"]
    assert [problem(roles=roles, config=JWT, keys=keys) for keys in (differs, {"source": ""})] == [
        "auth_method_in_use"
    ] * 2
    assert problem(roles=roles, config=OTHER_KEYS, keys=same) == "", "they may be earlier keys of this cluster"
    assert problem("jwt", {"state": "absent"}, roles=roles, config=JWT, keys=differs) == ""
    taken = decide("jwt", {"take_over": [METHOD]}, roles=roles, config=JWT, keys=differs)
    assert (taken["is_shared"], taken["keeps_config"], taken["problems"]) == (False, False, [])


@pytest.mark.parametrize(("config", "expected"), [
    (KUBERNETES, ""),
    ({**KUBERNETES, "kubernetes_host": OTHER}, "auth_method_in_use"),
    ({**KUBERNETES, "kubernetes_ca_cert": "another CA"}, "auth_method_in_use"),
])  # fmt: skip
def test_kubernetes_configuration_that_others_use(config, expected):
    assert problem("kubernetes", roles=["theirs"], config=config) == expected


def test_own_role_alone_is_not_shared():
    found = decide(roles=["Linkerd-Identity-Issuer-Berlin"], config=JWT)
    assert (found["is_shared"], found["keeps_config"]) == (False, False)


def test_two_clusters_with_the_same_auth_method():
    [found] = decide(hosts_with_same_method=["amsterdam"])["problems"]
    assert (found["code"], found["object"]) == ("auth_method_of_two_clusters", METHOD)
    assert "amsterdam and berlin" in found["message"]


@pytest.mark.parametrize("auth", ["token", "approle", "jwt", "kubernetes"])
@pytest.mark.parametrize(("requested", "found", "expected"), [
    ({}, {}, "policy_in_use"),
    ({}, {"policy_differs": False}, ""),
    ({}, {"issuers": issuers("")}, ""),
    ({}, {"issuers": UNREAD}, ""),
    ({}, {"issuers": issuers(server="https://another-vault.test")}, "policy_in_use"),
    ({"take_over": [POLICY]}, {}, ""),
    ({"state": "absent"}, {}, "policy_in_use"),
    ({"state": "absent"}, {"issuers": issuers("")}, ""),
    ({"state": "absent"}, {"policy_differs": False}, ""),
])  # fmt: skip
def test_policy_of_another_cluster(auth, requested, found, expected):
    assert problem(auth, requested, policy_before='path "theirs" {}', **found) == expected


@pytest.mark.parametrize(("auth", "config"), [("jwt", JWT), ("kubernetes", KUBERNETES)])
def test_the_auth_method_of_a_cluster_shows_that_the_policy_is_that_of_the_cluster(auth, config):
    assert problem(auth, config=config, policy_before='path "former" {}') == ""


@pytest.mark.parametrize(("policy", "requested", "expected"), [
    ('path "pki/issuer/old/sign" {}', {"keeps_path": True}, "policy_path"),
    ('path "pki/issuer/old/sign" {}', {}, ""),
    ('path "pki/issuer/old/sign" {}', {"keeps_path": True, "take_over": [POLICY]}, ""),
    ('# path\npath "pki/issuer/new/sign" {}', {"keeps_path": True}, ""),
    ("", {"keeps_path": True}, ""),
])  # fmt: skip
def test_path_of_an_issuer_from_git(policy, requested, expected):
    assert problem("jwt", requested, config=JWT, policy_before=policy) == expected


def test_credential_of_others():
    unmanaged = {"code": "credential_unmanaged", "msg": "The Secret linkerd/vault-token contains a token of others."}
    [found] = decide("token", credential=unmanaged, credential_owner=unmanaged)["problems"]
    assert (found["code"], found["object"]) == ("credential_unmanaged", "Secret linkerd/vault-token")
    assert found["message"] == unmanaged["msg"]
    assert problem("token", credential={}, credential_owner=unmanaged) == "", "the role would not replace it"
    assert problem("token", credential=unmanaged, credential_owner={}) == "", "the role could remove it"


def test_input_of_another_form_is_an_error():
    with pytest.raises(AnsibleFilterError, match="preflight_vault_access"):
        preflight_vault_access({}, {})
