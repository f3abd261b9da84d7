# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP proxy on the loopback address that forwards requests unchanged and counts them."""

from __future__ import annotations

import http.client
from collections import Counter
from urllib.parse import urlsplit

from bench.loopback import Handler, LoopbackServer

HOP_BY_HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class ForwardingHandler(Handler):
    server: CountingProxy

    def forward(self) -> None:
        """Count the request, send it to the server, and return the response."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.requests[self.command] += 1
        upstream = http.client.HTTPConnection(self.server.upstream)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            response = upstream.getresponse()
            data = response.read()
        finally:
            upstream.close()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    # LIST is a method of Vault.
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_LIST = do_HEAD = forward  # noqa: N815 names of http.server


class CountingProxy(LoopbackServer):
    """A proxy for the server at a URL. `requests` contains the number of requests by method."""

    def __init__(self, upstream: str) -> None:
        super().__init__(ForwardingHandler)
        self.upstream = urlsplit(upstream).netloc
        self.requests: Counter[str] = Counter()
