# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mesh.yml changes the access of no cluster to Vault if that of one of them belongs to others.

A real Vault, a real API server, and runs of ansible-playbook.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from support.plays import ROOT_CA, THIS_HOST, publish_root_ca

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("north", "south", "east", "west")
SPACE = "access-of-several-clusters"
SECRETS = f"/api/v1/namespaces/{SPACE}/secrets"
READ = "Read the roles of the auth method jwt-east"


@pytest.fixture
def play(kubernetes, server, roots, tmp_path):
    """A function that runs mesh.yml for clusters with their variables, and returns the output."""
    publish_root_ca(kubernetes)
    kubernetes.namespace(SPACE)  # without what other tests left of a mesh
    variables = {
        **THIS_HOST, "pki_manage": "vault", "pki_linkerd_namespace": SPACE,
        "pki_kubernetes": {"kubeconfig": str(kubernetes.kubeconfig)},
        "pki_vault": {"url": server.url}, "pki_vault_address": server.url, "pki_vault_server": server.url,
        "pki_vault_mount": roots, "pki_root_issuer_name": "one", "vault_pki_root_minimum_remaining": "",
        "pki_vault_jwt_keys": "static",
    }  # fmt: skip

    def run(*arguments: str, **clusters: dict) -> str:
        groups = {"vault": {"hosts": {"v": {}}}, "clusters": {"hosts": clusters}}
        (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": groups, "vars": variables}}))
        command = ["ansible-playbook", "playbooks/mesh.yml", "-i", tmp_path / "hosts.json", *arguments]
        environment = {**os.environ, "VAULT_TOKEN": server.token}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        return " ".join(done.stdout.split())

    yield run
    kubernetes.call("DELETE", ROOT_CA)
    for name in NAMES:
        server.client.sys.disable_auth_method(f"jwt-{name}")
        server.client.sys.delete_policy(f"linkerd-identity-issuer-{name}")


def access(server) -> list:
    """The auth methods and policies in Vault."""
    return [
        sorted(server.client.sys.list_auth_methods()["data"]),
        sorted(server.client.sys.list_policies()["data"]["policies"]),
    ]


@pytest.fixture
def of_others(server, kubernetes):
    """The auth method of another cluster `north`, and a token of others in the Secret of a cluster."""
    server.client.sys.enable_auth_method("jwt", path="jwt-north")
    config = {"bound_issuer": "https://oidc.example.com/other", "jwt_validation_pubkeys": [kubernetes.token_key]}
    server.client.write_data("auth/jwt-north/config", data=config)
    token = server.client.auth.token.create(policies=["theirs"])["auth"]["client_token"]
    body = {"metadata": {"name": "vault-token"}, "data": {"token": base64.b64encode(token.encode()).decode()}}
    yield kubernetes.call("POST", SECRETS, body)["metadata"]["resourceVersion"]
    kubernetes.call("DELETE", f"{SECRETS}/vault-token")


def unchanged(output: str) -> set[str]:
    """The clusters in which the run changed nothing."""
    return {name for name in NAMES if f"{name} :" in output and "changed=0" in output.split(f" {name} :")[-1][:30]}


def test_no_cluster_is_changed_and_the_problems_of_all_are_listed(play, server, kubernetes, of_others):
    before = access(server)
    clusters = {"north": {}, "south": {"pki_vault_auth": "token"}, "east": {}}
    for arguments in ((), ("--check",), ("--tags", "vault_issuer")):
        output = play(*arguments, **clusters)
        assert unchanged(output) == set(clusters), output
        assert "[auth_method_of_other_cluster]" in output and "'Vault auth method jwt-north'" in output, output
        assert "[credential_unmanaged]" in output and f"'Secret {SPACE}/vault-token'" in output, output
        assert output.count("failed=1") == 2, output
    assert access(server) == before
    assert kubernetes.call("GET", f"{SECRETS}/vault-token")["metadata"]["resourceVersion"] == of_others


def test_two_clusters_of_a_run_do_not_share_an_auth_method(play, server):
    """Neither has one in Vault yet."""
    before = access(server)
    output = play(east={}, west={"vault_issuer_cluster": "east"})
    assert unchanged(output) == {"east", "west"} and output.count("failed=1") == 2, output
    assert "[auth_method_of_two_clusters]" in output and "east and west" in output, output
    assert access(server) == before


def test_a_run_reads_the_access_once(play, server):
    output = play(east={}, west={})
    assert output.count("failed=0") == 3 and output.count(f"{READ}]") == 1, output
    assert {"jwt-east/", "jwt-west/"} <= set(access(server)[0])
    again = play("--skip-tags", "vault_issuer", east={}, west={})
    assert READ not in again and again.count("failed=0") == 3, again
