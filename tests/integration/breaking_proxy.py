# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy between a module and a real server that loses requests or responses as a test requires."""

from __future__ import annotations

import http.client
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

UNVERIFIED = ssl._create_unverified_context()  # noqa: S323 - the API server of the tests signs its own certificate
LOSE_REQUEST, LOSE_ANSWER = "the server does not receive it", "the server processes it, and the response is lost"


@dataclass
class Rule:
    """The fault of matching requests. A number is the status of a gateway that lost the response."""

    method: str
    part: str
    fault: str | int | None = None
    skip: int = 0  # matching requests that pass before
    times: int = 1
    before: Callable[[], object] | None = None  # called before the server receives the request
    after: Callable[[], object] | None = None  # called after the response of the server, before the client receives it


class Handler(BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def handle_one(self) -> None:
        proxy: BreakingProxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule = proxy.rule_for(self.command, self.path)
        if rule and rule.before:
            rule.before()
        if proxy.down or (rule and rule.fault == LOSE_REQUEST):
            self.close_connection = True
            return
        status, headers, answer = proxy.forward(self.command, self.path, body, dict(self.headers))
        proxy.seen.append((self.command, self.path.partition("?")[0], status))
        if proxy.alter:
            status, answer = proxy.alter(self.command, self.path, status, answer)
        if rule and rule.after:
            rule.after()
        if rule and rule.fault == LOSE_ANSWER:
            self.close_connection = True
            return
        if rule and rule.fault:
            status, headers, answer = int(rule.fault), {"Content-Type": "text/html"}, b"<html>gateway</html>"
        self.send_response(status)
        for name in ("Content-Type", "Audit-Id"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_LIST = handle_one  # noqa: N815 - the library's names


class BreakingProxy:
    """`seen` has method, path and status of each request that the server processed."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urllib.parse.urlsplit(upstream)
        self.rules: list[Rule] = []
        self.seen: list[tuple[str, str, int]] = []
        self.down = False
        self.alter: Callable[[str, str, int, bytes], tuple[int, bytes]] | None = None  # called for each response
        self.lock = threading.Lock()
        self.server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.proxy = True, self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def breaks(self, method: str, part: str, fault: str | int | None = LOSE_ANSWER, **more: Any) -> None:
        self.rules.append(Rule(method, part, fault, **more))

    def goes_down(self) -> None:
        self.down = True

    def rule_for(self, method: str, path: str) -> Rule | None:
        with self.lock:
            for rule in self.rules:
                if rule.method == method and rule.part in path and rule.times:
                    if rule.skip:
                        rule.skip -= 1
                        continue
                    rule.times -= 1
                    return rule
        return None

    def forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        if self.upstream.scheme == "https":
            server: Any = http.client.HTTPSConnection(self.upstream.netloc, context=UNVERIFIED, timeout=60)
        else:
            server = http.client.HTTPConnection(self.upstream.netloc, timeout=60)
        try:
            server.request(method, path, body or None, headers)
            answer = server.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            server.close()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
