# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With objects from Git, a run configures Vault or writes files only if that does not break a running mesh.

A real Vault, a real API server, and runs of ansible-playbook.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.plays import ROOT_CA, THIS_HOST, publish_root_ca, role_play
from support.ports import free_port
from support.running_mesh import running_mesh

ROOT = Path(__file__).resolve().parents[3]
SPACE = "objects-from-git"
POLICY = "linkerd-identity-issuer-production"
PLAY = role_play("vault_issuer", "vault")
TEARDOWN = {"pki_vault_auth": "token", "pki_confirm": "yes", "vault_issuer_namespace": SPACE}


@pytest.fixture
def play(kubernetes, server, roots, tmp_path):
    """A function that runs a playbook with the root `one`, and returns whether it succeeded and the output."""
    variables = {
        **THIS_HOST, "pki_vault": {"url": server.url}, "pki_vault_address": server.url, "pki_vault_server": server.url,
        "pki_vault_mount": roots, "pki_root_issuer_name": "one", "linkerd_namespace": SPACE,
        "vault_pki_root_minimum_remaining": "",
    }  # fmt: skip
    cluster = {"pki_kubernetes": {"kubeconfig": str(kubernetes.kubeconfig)}}
    groups = {"vault": {"hosts": {"v": {}}}, "clusters": {"hosts": {"production": cluster}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": groups, "vars": variables}}))
    (tmp_path / "play.yml").write_text(PLAY)

    def run(playbook: str | Path, **more: object) -> tuple[bool, str]:
        command = ["ansible-playbook", "-i", tmp_path / "hosts.json", playbook, "-e", json.dumps(more)]
        environment = {**os.environ, "VAULT_TOKEN": server.token}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        return done.returncode == 0, " ".join((done.stdout + done.stderr).split())

    return run


def test_other_anchors_than_those_of_a_running_mesh_are_refused(play, kubernetes, tmp_path):
    with running_mesh(kubernetes, tmp_path, SPACE) as live:
        for playbook, more in (("preflight", {"pki_manage": "vault"}), ("render", {"pki_render_dir": str(tmp_path)})):
            ok, output = play(f"playbooks/{playbook}.yml", **more)
            assert not ok and set(re.findall(r"\[(\w+)\] production:", output)) == {"anchors_disjoint"}, output
        assert not (tmp_path / "production").exists()
        ok, output = play("playbooks/preflight.yml", pki_manage="vault", pki_extra_trust_anchors=[live])
        assert "anchors_disjoint" not in output and "anchor_missing" not in output, output


def test_earlier_checks_of_the_run_do_not_replace_those_of_a_playbook(play, kubernetes, tmp_path):
    """A role that runs alone checks its own objects, and render.yml what a GitOps controller does not decide."""
    role = {"hosts": "clusters", "gather_facts": False, "roles": ["servicemesh.pki.preflight"]}
    alone = {**role, "vars": {"preflight_requested": {}}}
    checks = {"ansible.builtin.import_playbook": str(ROOT / "playbooks/preflight.yml")}
    rendered = {**checks, "vars": {"pki_preflight_for": "render"}}
    path = tmp_path / "imports.yml"
    with running_mesh(kubernetes, tmp_path, SPACE) as live:
        path.write_text(json.dumps([alone, checks]))
        ok, output = play(path, pki_manage="vault")
        assert not ok and "[anchors_disjoint]" in output, output
        for second, readings in ((rendered, 1), (checks, 2)):
            path.write_text(json.dumps([rendered, second]))
            ok, output = play(path, pki_extra_trust_anchors=[live])
            assert output.count("Read what the cluster has") == readings, output
            # The releases do not matter to render.yml.
            assert ("[release_left]" in output) is (second is checks), output


def test_cluster_that_cannot_be_read_is_reported_only(play):
    away = {"host": f"https://127.0.0.1:{free_port()}", "api_key": "x", "validate_certs": False}
    ok, output = play("playbooks/preflight.yml", pki_manage="vault", pki_kubernetes=away)
    assert ok and "[cluster_not_checked]" in output, output


def test_policy_of_an_existing_issuer_is_not_changed_to_another_root(play, server, roots, kubernetes, tmp_path):
    publish_root_ca(kubernetes)
    vault_only = {"pki_manage": "vault", "pki_vault_jwt_keys": "static"}
    try:
        ok, output = play(tmp_path / "play.yml", **vault_only)
        assert ok, output
        before = server.client.read(f"sys/policies/acl/{POLICY}")["data"]["policy"]
        assert f"{roots}/issuer/one/sign-intermediate" in before
        ok, output = play(tmp_path / "play.yml", **vault_only, pki_root_issuer_name="two")
        assert not ok and f"'Vault policy {POLICY}'" in output, output
        assert server.client.read(f"sys/policies/acl/{POLICY}")["data"]["policy"] == before
        for more in ({}, {"pki_root_issuer_name": "two", "pki_take_over": [f"Vault policy {POLICY}"]}):
            ok, output = play(tmp_path / "play.yml", **vault_only, **more)
            assert ok, output
    finally:
        kubernetes.call("DELETE", ROOT_CA)
        server.client.sys.disable_auth_method("jwt-production")
        server.client.sys.delete_policy(POLICY)


def test_teardown_leaves_what_a_running_linkerd_needs(play, server, roots, kubernetes, tmp_path):
    """Also with the tags of other roles. After Linkerd has gone, the same run removes the policy and the root."""
    server.client.sys.create_or_update_policy(POLICY, f'path "{roots}/x" {{\n  capabilities = ["update"]\n}}')
    taken_over = [f"Vault engine {roots}", f"Vault policy {POLICY}"]
    known = {**TEARDOWN, "vault_pki_destroy_root": True, "pki_take_over": taken_over}
    with running_mesh(kubernetes, tmp_path, SPACE):
        ok, output = play("playbooks/teardown.yml", **known)
        assert ok, output
        assert POLICY in server.client.sys.list_policies()["data"]["policies"]
        assert len(server.client.list(f"{roots}/issuers")["data"]["keys"]) == 2
    ok, output = play("playbooks/teardown.yml", **known)
    assert ok, output
    assert POLICY not in server.client.sys.list_policies()["data"]["policies"]
    assert f"{roots}/" not in server.client.sys.list_mounted_secrets_engines()["data"]


@pytest.fixture
def identity_issuer(kubernetes):
    """A function that returns whether the Secret linkerd-identity-issuer, which this collection created, exists."""
    kubernetes.namespace(SPACE)
    secrets = f"/api/v1/namespaces/{SPACE}/secrets"
    own = {"name": "linkerd-identity-issuer", "labels": {"app.kubernetes.io/managed-by": "servicemesh.pki"}}
    kubernetes.call("POST", secrets, {"metadata": own})

    def exists() -> bool:
        return own["name"] in [one["metadata"]["name"] for one in kubernetes.call("GET", secrets)["items"]]

    yield exists
    if exists():
        kubernetes.call("DELETE", f"{secrets}/{own['name']}")


@pytest.fixture
def policy(server):
    """The policy of another cluster with the same name."""
    server.client.sys.create_or_update_policy(POLICY, 'path "theirs/x" {\n  capabilities = ["update"]\n}')
    yield POLICY
    server.client.sys.delete_policy(POLICY)


def test_teardown_removes_nothing_if_others_use_the_policy(play, server, policy, identity_issuer):
    ok, output = play("playbooks/teardown.yml", **TEARDOWN)
    assert not ok and "[policy_in_use] production:" in output, output
    assert identity_issuer() and policy in server.client.sys.list_policies()["data"]["policies"]
    ok, output = play("playbooks/teardown.yml", **TEARDOWN, pki_take_over=[f"Vault policy {policy}"])
    assert ok and not identity_issuer(), output
    assert policy not in server.client.sys.list_policies()["data"]["policies"]


def test_teardown_removes_nothing_if_others_use_the_engine(play, server, roots, identity_issuer):
    destroys = {**TEARDOWN, "vault_pki_destroy_root": True}
    ok, output = play("playbooks/teardown.yml", **destroys)
    assert not ok and f"'Vault engine {roots}'" in output, output
    assert identity_issuer() and len(server.client.list(f"{roots}/issuers")["data"]["keys"]) == 2
    ok, output = play("playbooks/teardown.yml", **destroys, pki_take_over=[f"Vault engine {roots}"])
    assert ok and not identity_issuer(), output
    assert f"{roots}/" not in server.client.sys.list_mounted_secrets_engines()["data"]
