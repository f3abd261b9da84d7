# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the network between a client and the API server. It forwards every request, except those that a test
lets fail."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

UNVERIFIED = ssl._create_unverified_context()  # noqa: S323 - the server signs its own certificate
DROP, UNRESPONSIVE = "drop", "unresponsive"  # faults; a number is the status of the answer
WATCH = "watch="


class Handler(BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def forward(self) -> None:
        fault = self.server.forwarder.next_fault(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault == DROP or self.server.forwarder.closed.is_set():
            self.close_connection = True
        elif fault == UNRESPONSIVE:
            self.begin(200)
            self.server.forwarder.closed.wait(900)  # longer than any test that passes
            self.close_connection = True
        elif fault:
            status = {"kind": "Status", "status": "Failure", "code": fault, "message": "etcdserver: leader changed"}
            self.begin(fault)
            self.write(json.dumps(status).encode())
            self.write(b"")
        else:
            server = http.client.HTTPSConnection(self.server.forwarder.address, context=UNVERIFIED, timeout=300)
            server.request(self.command, self.path, body, dict(self.headers))
            answer = server.getresponse()
            self.begin(answer.status)
            while chunk := answer.read1():
                self.write(chunk)
            self.write(b"")
            server.close()

    def begin(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")  # so that a watch is read line by line
        self.end_headers()

    def write(self, chunk: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815 - the library's names


class Forwarder:
    def __init__(self, url: str, kubeconfig: Path, folder: Path) -> None:
        self.address = urllib.parse.urlsplit(url).netloc
        self.faults: list[tuple[str, str, int | str | None]] = []
        self.closed, self.lock = threading.Event(), threading.Lock()
        self.server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.forwarder = True, self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        config = json.loads(kubeconfig.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.server.server_port}"}
        self.kubeconfig = folder / "forwarded"
        self.kubeconfig.write_text(json.dumps(config))

    def fail(self, part: str, fault: int | str, times: int, after: int = 0, method: str = "GET") -> None:
        """Let the next requests fail whose path and query contain `part`, after `after` requests that succeed."""
        self.faults += [(method, part, None)] * after + [(method, part, fault)] * times

    def next_fault(self, method: str, path: str) -> int | str | None:
        with self.lock:
            for number, (fault_method, part, fault) in enumerate(self.faults):
                if method == fault_method and part in path and (part == WATCH or WATCH not in path):
                    del self.faults[number]
                    return fault
        return None

    def close(self) -> None:
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()
