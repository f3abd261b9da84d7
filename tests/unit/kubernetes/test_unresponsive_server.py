# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server that accepts connections and does not answer, such as one whose disk is stalled.

The client of Kubernetes discovers the API before the first request of a module, without its own timeout.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import secret
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream import kubernetes_core

PLENTY = 30  # seconds, in which every attempt of the client ends
SHORT = (0.2, 0.2)  # as a pair, because old clients ignore a fraction of a second
HEAD = {"apiVersion": "v1", "groupVersion": "v1"}
ANSWERS: dict[str, dict[str, Any]] = {
    "/version": {"gitVersion": "v1.36.0"},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "resources": []},
}


class Server(BaseHTTPRequestHandler):
    """Answers requests for some paths, and none to the others until the end of the test."""

    answered: tuple[str, ...] = ()
    has_ended = threading.Event()

    def do_GET(self) -> None:
        if self.path not in self.answered:
            self.has_ended.wait(PLENTY)
            return
        body = json.dumps(HEAD | ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *dummy: object) -> None:
        """Print nothing."""


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kubernetes_core, "REQUEST_TIMEOUT", SHORT)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the client stores what it has discovered


@pytest.fixture(params=["http", "https"])
def unresponsive(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a listener. With https it does not answer the first message of TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"{request.param}://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that starts a server which answers the given paths only."""
    servers = []

    def start(*answered: str) -> str:
        monkeypatch.setattr(Server, "answered", answered)
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Server))
        threading.Thread(target=servers[0].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[0].server_port}"

    Server.has_ended.clear()
    yield start
    Server.has_ended.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def in_time(call: Any, *arguments: Any, **options: Any) -> Any:
    """The result of a call, which must not block."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments, **options)), daemon=True)
    thread.start()
    thread.join(PLENTY)
    assert results, "the module waits without a limit"
    return results[0]


OBJECT = {"kind": "ConfigMap", "name": "x", "namespace": "default"}


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("linkerd_certificates_info", {}),
        ("linkerd_issuer_renewal", {}),
        ("k8s_condition", {"objects": [OBJECT], "timeout": 0}),
        ("service_account_issuer_info", {}),
        ("mesh_prerequisites_info", {"helm_path": "", "linkerd_path": ""}),
    ],
)
def test_module_reports_a_server_that_does_not_answer(result_of, unresponsive, module, options):
    result = in_time(result_of, module, host=unresponsive, api_key="x", validate_certs=False, **options)
    assert (result["failed"], result["code"]) == (True, "unreachable"), result


@pytest.mark.parametrize("answered", [("/version",), ("/version", "/apis")])
def test_module_reports_a_server_that_stops_answering_during_discovery(result_of, serve, answered):
    url = serve(*answered)
    result = in_time(result_of, "linkerd_certificates_info", host=url, api_key="x", validate_certs=False)
    assert (result["failed"], result["code"]) == (True, "unreachable"), result


def test_secret_of_a_server_that_does_not_answer(unresponsive):
    def read() -> str:
        options = {"host": unresponsive, "api_key": "x", "validate_certs": False}
        with pytest.raises(secret.SecretError) as caught:
            secret.SecretValue(options, "linkerd", "x", "token").read()
        return caught.value.code

    assert in_time(read) in ("unreachable", "answer_lost")


@pytest.mark.parametrize(("given", "used"), [({}, SHORT), ({"_request_timeout": (15, 35)}, (15, 35))])
def test_a_timeout_of_the_caller_is_kept(given, used):
    """A watch waits longer than other requests."""
    assert kubernetes_core.with_timeout(lambda **options: options)(**given) == {"_request_timeout": used}
