# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the Docker Engine API with one container. It records every request that would change something."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ID = "c" * 64


class DockerStandIn:
    def __init__(self, container: dict[str, Any] | None) -> None:
        self.container = container
        self.changes: list[str] = []
        standin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(*standin.read(self.path))

            def do_POST(self) -> None:
                standin.changes.append(f"POST {self.path}")
                known = self.path.endswith("/stop") or "/stop?" in self.path
                self.reply(204 if known else 500, None if known else {"message": "this stand-in creates nothing"})

            def do_DELETE(self) -> None:
                standin.changes.append(f"DELETE {self.path}")
                standin.container = None
                self.reply(204, None)

            def reply(self, status: int, body: Any) -> None:
                content = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"tcp://127.0.0.1:{self.server.server_port}"

    def read(self, path: str) -> tuple[int, Any]:
        path = re.sub(r"^/v[\d.]+", "", path.partition("?")[0])
        if path == "/version":
            return 200, {"ApiVersion": "1.45", "Version": "26.0.0"}
        if path == "/containers/json":
            return 200, [{"Id": ID, "Names": ["/vault"]}] if self.container else []
        if path.startswith("/containers/") and self.container:
            return 200, {"Id": ID, "Name": "/vault", "Image": f"sha256:{ID}", **self.container}
        if path == "/networks":
            return 200, []
        return 404, {"message": f"nothing at {path}"}

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
