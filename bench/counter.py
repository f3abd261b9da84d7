# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands before a server, passes every request on as it is, and counts them. Only on the loopback address."""

from __future__ import annotations

import http.client
from collections import Counter
from urllib.parse import urlsplit

from bench.loopback import Handler, LoopbackServer

OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Passing(Handler):
    server: Forwarder

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.requests[self.command] += 1
        behind = http.client.HTTPConnection(self.server.behind)
        try:
            behind.request(self.command, self.path, body, dict(self.headers))
            answer = behind.getresponse()
            data = answer.read()
        finally:
            behind.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OF_ONE_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    # A method of Vault's own, too: LIST.
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_LIST = do_HEAD = forward  # noqa: N815 the library's names


class Forwarder(LoopbackServer):
    """`requests` counts by method."""

    def __init__(self, behind: str) -> None:
        super().__init__(Passing)
        self.behind = urlsplit(behind).netloc
        self.requests: Counter[str] = Counter()
