# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vault_issuer replaces the credential of cert-manager with the policies in the guide to monitoring."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import time
import urllib.error
from pathlib import Path

import hvac
import pytest
from support.plays import THIS_HOST

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs/guides/monitoring.md").read_text().partition("\n## Credentials that expire\n")[2]
POLICIES = dict(zip(("approle", "token"), re.findall(r"^```text\n(path .*?)```$", GUIDE, re.M | re.S), strict=True))
NAMESPACE = "/api/v1/namespaces/default/secrets"
ISSUER = "/apis/cert-manager.io/v1/namespaces/default/issuers/vault"
PLAY = """
- hosts: berlin
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: servicemesh.pki.vault_issuer}
      tags: vault_issuer
    - ansible.builtin.fail: {msg: no other task runs}
"""
AGE = 15  # seconds, after which the second run must replace a credential of 767 hours


@pytest.fixture
def schedule(kubernetes, kinds, server, tmp_path, request):
    """A function that runs the role with a token of Vault."""
    (tmp_path / "play.yml").write_text(PLAY)
    variables = {
        **THIS_HOST, "pki_kubernetes": {"kubeconfig": str(kubernetes.kubeconfig)}, "pki_linkerd_namespace": "default",
        "pki_vault": {"url": server.url}, "pki_vault_server": server.url, "vault_issuer_wait": False,
    }  # fmt: skip
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"berlin": variables}}}))

    def run(token: str, *arguments: str, **more: str) -> str:
        command = ["ansible-playbook", "-i", tmp_path / "hosts.json", tmp_path / "play.yml", "--tags", "vault_issuer"]
        command += arguments
        environment = {**os.environ, "VAULT_TOKEN": token}
        done = subprocess.run(
            [*command, "-e", json.dumps(more)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield run
    with contextlib.suppress(urllib.error.HTTPError):
        kubernetes.call("DELETE", ISSUER)
    server.client.sys.disable_auth_method("approle")


@pytest.mark.parametrize(
    ("auth", "secret", "key"), [("approle", "vault-secret-id", "secretId"), ("token", "vault-token", "token")]
)
def test_schedule_replaces_credential_with_the_policy_of_the_guide(schedule, kubernetes, server, auth, secret, key):
    def state() -> tuple[str, str]:
        value = base64.b64decode(kubernetes.call("GET", f"{NAMESPACE}/{secret}")["data"][key]).decode()
        return value, kubernetes.call("GET", ISSUER)["metadata"]["annotations"]["servicemesh.pki/credential-expires"]

    schedule(server.token, vault_issuer_auth=auth)
    first = state()
    login = server.token_for(POLICIES[auth])
    time.sleep(AGE)
    schedule(login, vault_issuer_auth=auth, vault_issuer_minimum_ttl=f"{767 * 3600 - AGE}s")
    second = state()
    assert second[0] != first[0]
    assert second[1] > first[1], "the alert would fire for the replaced credential"
    if auth == "token":
        assert server.client.auth.token.lookup(second[0])["data"]["policies"] == ["linkerd-identity-issuer-berlin"]
        other = hvac.Client(url=server.url, token=login).auth.token.create(policies=["another-policy"])
        assert "another-policy" in other["auth"]["policies"], "the guide warns of this"


def test_check_mode_of_a_new_cluster_where_approle_is_enabled(schedule, server):
    """The role of AppRole is predicted, so it cannot issue a secret ID."""
    server.client.sys.enable_auth_method("approle")
    assert "failed=0" in schedule(server.token, "--check", "--diff", vault_issuer_auth="approle")
    schedule(server.token, vault_issuer_auth="approle")
    changed = schedule(server.token, "--check", vault_issuer_auth="approle", vault_issuer_login_ttl="5m")
    assert re.search(r"Create a secret ID .*\nok:", changed), "a role that changes still issues secret IDs"


def test_date_is_removed_when_the_new_credential_does_not_expire(schedule, kubernetes, server):
    """The alert would fire for it permanently."""

    def date() -> str:
        return kubernetes.call("GET", ISSUER)["metadata"]["annotations"]["servicemesh.pki/credential-expires"]

    schedule(server.token, vault_issuer_auth="approle")
    assert date() > "2026"
    kubernetes.call("DELETE", f"{NAMESPACE}/vault-secret-id")
    unlimited = {"vault_issuer_auth": "approle", "vault_issuer_secret_id_ttl": "0"}
    schedule(server.token, **unlimited)
    assert date() == ""
    assert re.search(r"changed=0 .*failed=0", schedule(server.token, **unlimited))
