# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the Secrets of Kubernetes. test_secret_in_cluster.py and the end-to-end tests use a real server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERBS = ["create", "delete", "get", "list", "update"]
KINDS = {"namespaces": ("Namespace", False), "secrets": ("Secret", True)}
DISCOVERY = {
    "/version": {"major": "1", "minor": "30"},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": VERBS}
            for name, (kind, namespaced) in KINDS.items()
        ],
    },
}


class SecretsStandIn:
    """Namespaces and Secrets in memory, with resource versions that a change must contain."""

    def __init__(self, *namespaces: str) -> None:
        self.namespaces, self.secrets, self.refuse = set(namespaces), {}, None
        self.version = 0
        standin = self

        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                path, dummy, query = self.path.partition("?")
                status, answer = 200, DISCOVERY.get(path.rstrip("/"))
                if answer is None:
                    dry = "dryRun=All" in query
                    if self.command == "DELETE" and body:  # like the API server, which then ignores the query
                        dry = body.get("dryRun") == ["All"]
                    status, answer = standin.answer(self.command, path.split("/")[4:], body, dry)
                data = json.dumps({"kind": "Secret", **answer}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, method: str, path: list[str], body: dict | None, dry: bool = False) -> tuple[int, dict]:
        if not path:
            return 404, {"message": "not served here"}
        namespace = path[0]
        if self.refuse == method:
            return 403, {"message": "secrets is forbidden"}
        if namespace not in self.namespaces:
            return 404, {"message": "namespace not found"}
        if len(path) == 1:
            return 200, {"kind": "Namespace", "metadata": {"name": namespace}}
        place = (namespace, path[2] if len(path) > 2 else body["metadata"]["name"])
        found = self.secrets.get(place)
        if method == "POST" and found:
            return 409, {"message": "already exists"}
        if method != "POST" and not found:
            return 404, {"message": "not found"}
        if method == "PUT" and body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            return 409, {"message": "the object has been modified"}
        if dry:
            return 200, body or found
        if method == "DELETE":
            return 200, self.secrets.pop(place)
        if method in ("POST", "PUT"):
            self.version += 1
            body["metadata"]["resourceVersion"] = str(self.version)
            self.secrets[place] = body
        return 200, self.secrets[place]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
