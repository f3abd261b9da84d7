# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auth methods and connection options of community.hashi_vault in our modules."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import textwrap
import time
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from server import expect_error, run_module
from support.plays import THIS_HOST

ROOT = Path(__file__).resolve().parents[3]
READ_ONE = 'path "sys/policies/acl/default" { capabilities = ["read"] }'
OBJECT = dict(path="sys/policies/acl/default")


@pytest.fixture
def client(server, path):
    server.client.sys.create_or_update_policy(path, READ_ONE)
    yield server.client
    server.client.sys.delete_policy(path)
    server.client.sys.disable_auth_method(path)


def works(server, **login: object) -> bool:
    result = run_module("vault_resource", url=server.url, **OBJECT, **login)
    assert not result.get("failed"), result["msg"]
    return result["data"]["name"] == "default" and not result["changed"]


def test_token_from_environment_or_file(server, monkeypatch, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text(server.token + "\n")
    assert works(server, token_path=str(tmp_path / "folder"), token_file="file")
    monkeypatch.setenv("VAULT_TOKEN", server.token)
    monkeypatch.setenv("VAULT_ADDR", server.url)
    assert run_module("vault_resource", **OBJECT)["data"]["name"] == "default"


def test_token_validation(server):
    assert works(server, token=server.token, token_validate=True)
    result = run_module("vault_resource", url=server.url, token="s.0123456789", token_validate=True, **OBJECT)
    expect_error(result, "invalid_login", server.url, "with token")


def test_userpass(server, client, path):
    client.sys.enable_auth_method("userpass", path=path)
    client.auth.userpass.create_or_update_user("u", "pa55w0rd-1", mount_point=path, policies=[path])
    login = dict(auth_method="userpass", mount_point=path, username="u")
    assert works(server, **login, password="pa55w0rd-1")
    result = run_module("vault_resource", url=server.url, **OBJECT, **login, password="wrong-0ne")
    expect_error(result, "login_refused", server.url, "with userpass", "invalid username or password")


def test_approle(server, client, path):
    client.sys.enable_auth_method("approle", path=path)
    client.auth.approle.create_or_update_approle("r", token_policies=[path], mount_point=path)
    role_id = client.auth.approle.read_role_id("r", mount_point=path)["data"]["role_id"]
    secret_id = client.auth.approle.generate_secret_id("r", mount_point=path)["data"]["secret_id"]
    assert works(server, auth_method="approle", mount_point=path, role_id=role_id, secret_id=secret_id)


def test_login_of_the_guide(server, client, path, tmp_path):
    """With the variables, modules log in with AppRole. Without them, the module of verify.yml does not log in."""
    client.sys.enable_auth_method("approle", path=path)
    client.auth.approle.create_or_update_approle("r", token_policies=[path], mount_point=path)
    role_id = client.auth.approle.read_role_id("r", mount_point=path)["data"]["role_id"]
    secret_id = client.auth.approle.generate_secret_id("r", mount_point=path)["data"]["secret_id"]
    client.sys.enable_secrets_engine("pki", path)
    guide = (ROOT / "docs" / "guides" / "real-clusters.md").read_text()
    block = next(one for one in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if "secret_id:" in one)
    options = {**yaml.safe_load(textwrap.dedent(block))["pki_vault"], "mount_point": path}
    variables = {
        "pki_vault": options,
        "pki_vault_address": server.url,
        "pki_vault_ca_file": "",
        "pki_vault_namespace": "",
    }
    common = dict(hosts="localhost", gather_facts=False, vars={**variables, **THIS_HOST})
    tasks = [
        {"servicemesh.pki.vault_pki_issuer_info": {"mount": path}},
        {"servicemesh.pki.vault_resource": OBJECT, "when": "lookup('env', 'VAULT_ROLE_ID') is truthy"},
    ]
    play = {**common, "module_defaults": {"group/servicemesh.pki.vault": "{{ pki_vault }}"}, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    for login in ({"VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}, {}):
        command = ["ansible-playbook", "-i", "localhost,", "-c", "local", tmp_path / "play.yml"]
        environment = {**os.environ, **login}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert f"ok={1 + bool(login)} " in done.stdout and "failed=0" in done.stdout, done.stdout + done.stderr


def test_variables_of_lookup_plugins_are_not_read(server, monkeypatch):
    """As in the guide: they would select another login than the one that the module uses."""
    monkeypatch.setenv("ANSIBLE_HASHI_VAULT_AUTH_METHOD", "approle")
    monkeypatch.setenv("ANSIBLE_HASHI_VAULT_ROLE_ID", "nobody")
    monkeypatch.setenv("VAULT_TOKEN", server.token)
    assert works(server)


def test_jwt(server, client, path):
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    client.sys.enable_auth_method("jwt", path=path)
    client.write_data(f"auth/{path}/config", data={"jwt_validation_pubkeys": [public.decode()]})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "token_policies": path}
    client.write_data(f"auth/{path}/role/r", data=role)

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    head = part(json.dumps({"alg": "ES256", "typ": "JWT"}).encode())
    now = int(time.time())
    body = part(json.dumps({"sub": "me", "aud": "vault", "iat": now, "exp": now + 3600}).encode())
    r, s = decode_dss_signature(key.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
    jwt = f"{head}.{body}.{part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
    assert works(server, auth_method="jwt", mount_point=path, role_id="r", jwt=jwt)


def test_namespace(server, path):
    if server.product != "OpenBao":
        pytest.skip("platform: HashiCorp Vault has namespaces in its Enterprise edition only")
    server.client.adapter.request("post", f"/v1/sys/namespaces/{path}")
    login = dict(url=server.url, token=server.token, namespace=path)
    try:
        made = run_module("vault_engine", path="inner", type="pki", **login)
        assert made["changed"], made
        root = run_module("vault_pki_root", mount="inner", issuer_name="r", common_name="r.test", ttl="10h", **login)
        assert root["changed"], root
        found = run_module("vault_pki_issuer_info", url=server.url, namespace=path, mount="inner")
        assert [issuer["issuer_name"] for issuer in found["issuers"]] == ["r"]
        assert "inner/" not in server.client.sys.list_mounted_secrets_engines()["data"]
    finally:
        server.client.adapter.request("delete", f"/v1/sys/namespaces/{path}")
