# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cluster the options and the environment name, and the kubeconfig that a program gets."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access

HOST, TOKEN = "https://k8s.example.com:6443", "a-token-of-the-test"
FILE = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "one",
    "clusters": [
        {"name": "a", "cluster": {"server": "https://a", "certificate-authority": "ca.pem"}},
        {"name": "b", "cluster": {"server": "https://b", "certificate-authority-data": "QQ=="}},
    ],
    "users": [{"name": "u", "user": {"client-certificate": "u.pem", "client-key": "/keys/u.key"}}],
    "contexts": [
        {"name": "one", "context": {"cluster": "a", "user": "u"}},
        {"name": "two", "context": {"cluster": "b", "user": "u"}},
    ],
}


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in [one for one in os.environ if one.startswith(("K8S_AUTH_", "KUBE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def kubeconfig(tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(FILE))
    return str(path)


def read(given: dict) -> dict:
    """The cluster and the user of the kubeconfig that a program reads."""
    with access.files(given) as files:
        assert files.context is None
        command = ["cat", files.kubeconfig]
        done = subprocess.run(command, pass_fds=files.descriptors, capture_output=True, check=True)
        again = subprocess.run(command, pass_fds=files.descriptors, capture_output=True, check=True)
    assert done.stdout == again.stdout, "a program reads it more than once"
    config = json.loads(done.stdout)
    return {**config["clusters"][0]["cluster"], **config["users"][0]["user"]}


def test_nothing_given_is_the_default_of_the_program():
    with access.files({}) as files:
        assert files == access.Files()


def test_a_file_is_handed_on_as_it_is(kubeconfig):
    with access.files({"kubeconfig": kubeconfig, "context": "two"}) as files:
        assert files == access.Files(kubeconfig, "two")


def test_host_and_token():
    given = {"host": f"{HOST}/", "api_key": TOKEN, "ca_cert": "~/ca.pem"}
    expected = {"server": HOST, "token": TOKEN, "certificate-authority": os.path.expanduser("~/ca.pem")}
    assert read(given) == expected


def test_variables_of_the_automation_platform(monkeypatch):
    for name, value in {"HOST": HOST, "API_KEY": TOKEN, "SSL_CA_CERT": "/ca.pem", "VERIFY_SSL": "True"}.items():
        monkeypatch.setenv(f"K8S_AUTH_{name}", value)
    expected = {"server": HOST, "token": TOKEN, "certificate-authority": "/ca.pem", "insecure-skip-tls-verify": False}
    assert read({}) == expected
    monkeypatch.setenv("K8S_AUTH_VERIFY_SSL", "False")
    assert read({}) == {"server": HOST, "token": TOKEN, "insecure-skip-tls-verify": True}


def test_all_other_options():
    given = {"host": HOST, "client_cert": "/c", "client_key": "/k", "proxy": "http://p:3128",
             "impersonate_user": "jane", "impersonate_groups": ["ops"], "username": "u", "password": "p"}  # fmt: skip
    expected = {"server": HOST, "client-certificate": "/c", "client-key": "/k", "proxy-url": "http://p:3128",
                "as": "jane", "as-groups": ["ops"], "username": "u", "password": "p"}  # fmt: skip
    assert read(given) == expected


def test_an_option_beside_a_file_replaces_what_it_is_about(kubeconfig, tmp_path):
    found = read({"kubeconfig": kubeconfig, "ca_cert": "/other.pem", "impersonate_user": "jane"})
    expected = {"server": "https://a", "certificate-authority": "/other.pem", "as": "jane"}
    assert found == {**expected, "client-certificate": str(tmp_path / "u.pem"), "client-key": "/keys/u.key"}
    found = read({"kubeconfig": kubeconfig, "context": "two", "validate_certs": False})
    assert (found["server"], found["insecure-skip-tls-verify"]) == ("https://b", True)
    assert not {"certificate-authority", "certificate-authority-data"} & set(found)


def test_a_dictionary():
    assert read({"kubeconfig": FILE, "context": "two"})["server"] == "https://b"


def test_the_service_account_of_a_pod(monkeypatch, tmp_path):
    monkeypatch.setattr(access, "SERVICE_ACCOUNT", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    with access.files({}) as files:
        assert files == access.Files(), "a pod without a token"
    (tmp_path / "token").write_text(TOKEN)
    found = read({})
    assert found["server"] == "https://[fd00::1]:443"
    assert (found["tokenFile"], found["certificate-authority"]) == (f"{tmp_path}/token", f"{tmp_path}/ca.crt")


def test_no_file_is_written(tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with access.files({"host": HOST, "api_key": TOKEN}) as files:
        assert TOKEN not in str(files)
        assert os.readlink(files.kubeconfig).startswith("/memfd:")
        assert sorted(tmp_path.rglob("*")) == before
    assert not os.path.exists(files.kubeconfig)


@pytest.mark.parametrize(
    ("given", "variables", "code"),
    [
        ({"kubeconfig": "/k"}, {"HOST": HOST, "API_KEY": TOKEN}, "ambiguous_cluster"),
        ({"kubeconfig": "/k"}, {"API_KEY": TOKEN}, "ambiguous_cluster"),
        ({"context": "c"}, {"HOST": HOST}, "ambiguous_cluster"),
        ({"host": HOST}, {}, "no_login"),
        ({"host": HOST, "username": "u"}, {}, "no_login"),
        ({"host": HOST, "ca_cert": "/ca"}, {}, "no_login"),
        ({}, {"HOST": HOST}, "no_login"),
        ({"api_key": TOKEN}, {}, "no_host"),
        ({}, {"API_KEY": TOKEN}, "no_host"),
    ],
)
def test_what_does_not_name_one_cluster_is_an_error(monkeypatch, given, variables, code):
    for name, value in variables.items():
        monkeypatch.setenv(f"K8S_AUTH_{name}", value)
    with pytest.raises(access.AccessError) as failed:
        access.check(given)
    assert failed.value.code == code
    assert TOKEN not in str(failed.value)


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        ({}, {}),
        ({"kubeconfig": "/k"}, {"KUBECONFIG": "/other", "VERIFY_SSL": "False"}),
        ({"context": "c"}, {"KUBECONFIG": "/k"}),
        ({"host": HOST}, {"API_KEY": TOKEN}),
        ({"host": HOST, "kubeconfig": "/k"}, {}),
        ({"host": HOST, "api_key": TOKEN}, {"HOST": "https://other", "API_KEY": "other"}),
    ],
)
def test_what_names_one_cluster(monkeypatch, given, variables):
    for name, value in variables.items():
        monkeypatch.setenv(f"K8S_AUTH_{name}", value)
    access.check(given)


def test_an_option_is_preferred_to_its_variable(monkeypatch):
    monkeypatch.setenv("K8S_AUTH_HOST", "https://other")
    monkeypatch.setenv("K8S_AUTH_API_KEY", "other")
    assert read({"host": HOST, "api_key": TOKEN}) == {"server": HOST, "token": TOKEN}


@pytest.mark.parametrize("content", [None, "- 1\n", "clusters: 7\n", "{}", "a: [", "contexts: [{name: c}]\n"])
def test_a_file_that_cannot_be_read_with_another_option(tmp_path, content):
    path = tmp_path / "k"
    if content is not None:
        path.write_text(content)
    with pytest.raises(access.AccessError) as failed, access.files({"kubeconfig": str(path), "ca_cert": "/ca"}):
        pass
    assert failed.value.code == "invalid_kubeconfig"


def test_a_system_that_cannot_keep_a_file_in_memory(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(access.AccessError) as failed, access.files({"host": HOST, "api_key": TOKEN}):
        pass
    assert failed.value.code == "unsupported_platform"
