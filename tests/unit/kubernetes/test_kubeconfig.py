# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs that the Python client cannot use, and servers that are not a Kubernetes API server."""

from __future__ import annotations

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.secret import SecretValue

SECRET = "c3VwZXItc2VjcmV0LXRva2Vu"
GOOD = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    "users": [{"name": "u", "user": {"token": SECRET}}],
}


def with_user(**user) -> dict:
    return {**GOOD, "users": [{"name": "u", "user": {"token-data": SECRET, **user}}]}


def with_cluster(**cluster) -> dict:
    return {**GOOD, "clusters": [{"name": "k", "cluster": cluster}]}


# Contents of the file, and what the error must name.
INVALID = {
    "removed auth provider": (with_user(**{"auth-provider": {"name": "gcp", "config": {}}}), ["u", "gcp"]),
    "incomplete auth provider": (
        with_user(**{"auth-provider": {"name": "oidc", "config": {}}}),
        ["u", "oidc"],
    ),
    "server is a number": (with_cluster(server=7), ["k", "server"]),
    "invalid base64": (with_cluster(**{"server": "https://127.0.0.1:1", "certificate-authority-data": "!x"}), ["c"]),
    "unknown context": ({**GOOD, "current-context": "nosuch"}, ["nosuch"]),
    "unknown cluster": ({**GOOD, "clusters": []}, ["k"]),
    "list": ([GOOD], ["mapping"]),
    "string": ("text", ["mapping"]),
    "empty": (None, ["mapping"]),
}


def secret_error(kubeconfig, context=None) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        SecretValue({"kubeconfig": str(kubeconfig), "context": context}, "n", "s", "k")
    return caught.value


@pytest.fixture
def written(tmp_path):
    def write(config) -> str:
        path = tmp_path / "kubeconfig"
        path.write_bytes(config if isinstance(config, bytes) else yaml.safe_dump(config).encode() if config else b"")
        return str(path)

    return write


@pytest.mark.parametrize("name", INVALID)
def test_invalid_kubeconfig_is_explained_without_secrets(result_of, written, name):
    config, names = INVALID[name]
    path = written(config)
    of_cluster = result_of("k8s_condition", kind="Secret", name="s", namespace="n", kubeconfig=path)
    of_secret = secret_error(path)
    assert of_cluster["failed"] and of_cluster["code"] == of_secret.code == "invalid_kubeconfig"
    assert path in str(of_secret), "kubernetes.core hides the path in results for its options"
    for message in (of_cluster["msg"], str(of_secret)):
        assert all(part in message for part in names), message
        assert SECRET not in message


@pytest.mark.parametrize("data", [b"a: [", b"\xff\xfe", b"a: b: c", b"[" * 3000, b"&a [*a]"])
def test_kubeconfig_that_is_not_yaml(result_of, written, data):
    path = written(data)
    result = result_of("k8s_condition", kind="Secret", name="s", namespace="n", kubeconfig=path)
    assert result["failed"] and result["code"] == "invalid_kubeconfig"
    assert secret_error(path).code == "invalid_kubeconfig" and path in str(secret_error(path))


def test_missing_kubeconfig(result_of, tmp_path):
    path = str(tmp_path / "nosuch")
    result = result_of("k8s_condition", kind="Secret", name="s", namespace="n", kubeconfig=path)
    assert result["failed"] and result["code"] == "invalid_kubeconfig"
    assert path in str(secret_error(path))


def test_kubeconfig_with_windows_line_ends(written):
    path = written(yaml.safe_dump(GOOD).replace("\n", "\r\n").encode())
    found = SecretValue({"kubeconfig": path}, "n", "s", "k").configuration
    assert found.host == "https://127.0.0.1:1" and SECRET in str(found.api_key) and "\r" not in str(found.api_key)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["name", "cluster", "user", "context", "server", "token"]), inner, max_size=3),
    ),
    max_leaves=6,
)
PATHS = [("current-context",), ("clusters",), ("contexts",), ("users",)]
PATHS += [(part, 0) for part in ("clusters", "contexts", "users")]
PATHS += [(part, 0, kind) for part, kind in (("clusters", "cluster"), ("contexts", "context"), ("users", "user"))]
PATHS += [("users", 0, "user", name) for name in ("token", "exec", "auth-provider", "client-key-data", "tokenFile")]
PATHS += [
    ("clusters", 0, "cluster", name) for name in ("server", "certificate-authority-data", "insecure-skip-tls-verify")
]


def put(place, path: tuple, value) -> None:
    """Set a value in a kubeconfig, if the path to it still exists."""
    for step in path[:-1]:
        place = place.get(step) if isinstance(place, dict) else place[0] if isinstance(place, list) and place else None
    if isinstance(place, dict) or (isinstance(place, list) and place):
        place[path[-1] if isinstance(place, dict) else 0] = value


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=2))
def test_any_kubeconfig_is_valid_or_invalid_kubeconfig_error(tmp_path, changes):
    config = copy.deepcopy(GOOD)
    for path, value in changes:
        put(config, path, value)
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    try:
        SecretValue({"kubeconfig": str(file)}, "n", "s", "k")
    except ClusterError as exc:
        assert exc.code == "invalid_kubeconfig" and str(file) in str(exc)


@pytest.fixture
def impostor():
    """A web server that returns the answer of a test to every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = self.server.answer
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


ANSWERS = [b"", b"<html>", b"null", b"[]", b"7", b"{}", b'{"versions": 1, "groups": [1], "resources": [{}]}', b"\xff"]
ANSWERS += [json.dumps({"kind": "APIResourceList", "groupVersion": "v1", "resources": None, "groups": None}).encode()]


@pytest.mark.parametrize("answer", [(status, body) for body in ANSWERS for status in (200, 500)])
@pytest.mark.parametrize(
    "module", ["k8s_condition", "linkerd_certificates_info", "service_account_issuer_info", "linkerd_issuer_renewal"]
)
def test_server_that_is_no_api_server_is_an_error(result_of, impostor, tmp_path, monkeypatch, module, answer):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # kubernetes.core caches API resources there
    impostor.answer = answer
    url = f"http://127.0.0.1:{impostor.server_port}"
    options = {"kind": "Secret", "name": "s", "namespace": "n", "timeout": 0} if module == "k8s_condition" else {}
    result = result_of(module, host=url, api_key="token", **options)
    assert result.get("failed"), result
    assert result["code"] == ("unexpected_answer" if answer[0] == 200 else "refused"), result["msg"]
