# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials in a Secret of a real API server, with the cluster by host, token and CA."""

from __future__ import annotations

import base64
import os

import pytest
from kubernetes_server import TOKEN
from server import expect_error

SECRET = "/api/v1/namespaces/default/secrets/vault-credential"


@pytest.fixture(params=["options", "variables"])
def cluster(request, kubernetes, monkeypatch):
    for name in [one for one in os.environ if one.startswith(("K8S_AUTH_", "KUBE"))]:
        monkeypatch.delenv(name)
    given = {"host": kubernetes.url, "api_key": TOKEN, "ca_cert": str(kubernetes.ca_file)}
    if request.param == "options":
        return given
    for name, value in given.items():
        variable = "SSL_CA_CERT" if name == "ca_cert" else name.upper()
        monkeypatch.setenv(f"K8S_AUTH_{variable}", value)
    return None


@pytest.fixture
def module(request, run, server, path):
    """The module and its options without the cluster."""
    options = dict(secret_namespace="default", secret_name="vault-credential")
    if request.param == "vault_token_secret":
        return request.param, "token", dict(**options, policies=["default"], ttl="1h")
    server.client.sys.enable_auth_method("approle", path=path)
    server.client.write_data(f"auth/{path}/role/r", data={"secret_id_ttl": "1h"})
    request.addfinalizer(lambda: server.client.sys.disable_auth_method(path))
    return request.param, "secretId", dict(**options, mount=path, role="r")


@pytest.mark.parametrize("module", ["vault_token_secret", "vault_approle_secret"], indirect=True)
def test_credential_is_stored_and_removed(run, kubernetes, cluster, module):
    name, key, options = module
    done = run.ok(name, kubernetes=cluster, **options)
    assert done["changed"]
    assert base64.b64decode(kubernetes.call("GET", SECRET)["data"][key])
    assert not run.ok(name, kubernetes=cluster, **options)["changed"]
    gone = {part: options[part] for part in ("secret_namespace", "secret_name", "mount", "role") if part in options}
    assert run.ok(name, check=True, kubernetes=cluster, **gone, state="absent")["changed"]
    assert kubernetes.call("GET", SECRET)["data"][key], "check mode removed the Secret"
    assert run.ok(name, kubernetes=cluster, **gone, state="absent")["changed"]


@pytest.mark.parametrize("module", ["vault_token_secret", "vault_approle_secret"], indirect=True)
@pytest.mark.parametrize(
    ("given", "variables", "code"),
    [
        ({"kubeconfig": "/nosuch"}, {"HOST": "https://127.0.0.1:1", "API_KEY": TOKEN}, "ambiguous_cluster"),
        ({"host": "https://127.0.0.1:1"}, {}, "no_login"),
        ({"api_key": TOKEN}, {}, "no_host"),
    ],
)
def test_ambiguous_or_incomplete_cluster(run, monkeypatch, module, given, variables, code):
    for name, value in variables.items():
        monkeypatch.setenv(f"K8S_AUTH_{name}", value)
    name, dummy, options = module
    result = run(name, kubernetes=given, **options)
    expect_error(result, code)
