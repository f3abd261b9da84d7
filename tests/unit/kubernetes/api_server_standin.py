# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for an API server and a kubelet that forward the port of a pod, with their errors. One connection each."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
HEADS = [b"\x00\x5f\x10", b"\x01\x5f\x10"]  # both channels, each with the port 4191


class StandIn:
    """Answers with a status, or upgrades and lets the script talk to the client."""

    def __init__(
        self, script: Callable[[StandIn], None], status: str = "", body: bytes = b"", tls: ssl.SSLContext | None = None
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._script, self._status, self._body = script, status, body
        self.request = ""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            self.client, dummy = self._listener.accept()
            if self._tls:
                self.client = self._tls.wrap_socket(self.client, server_side=True)
            with self.client:
                while "\r\n\r\n" not in self.request:
                    self.request += self.client.recv(4096).decode()
                if self._status:
                    head = f"HTTP/1.1 {self._status}\r\nContent-Length: {len(self._body)}\r\n\r\n"
                    self.client.sendall(head.encode() + self._body)
                    return
                self.client.sendall(self._upgrade().encode())
                self._script(self)

    def _upgrade(self) -> str:
        headers = dict(line.split(": ", 1) for line in self.request.splitlines() if ": " in line)
        digest = hashlib.sha1((headers["Sec-WebSocket-Key"] + MAGIC).encode()).digest()  # noqa: S324 - the protocol's own
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}"]
        lines += [f"Sec-WebSocket-Protocol: {headers['Sec-WebSocket-Protocol']}"]
        return "\r\n".join([*lines, "", ""])

    def send(self, data: bytes, operation: int = 2) -> None:
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack("!H", len(data))
        self.client.sendall(bytes([0x80 | operation]) + size + data)

    def receive(self) -> bytes:
        """The next frame that the client sent, unmasked; nothing at its end."""
        head = self._exactly(2)
        if len(head) < 2:
            return b""
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        mask, data = self._exactly(4), self._exactly(size)
        return bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count and (more := self.client.recv(count - len(found))):
            found += more
        return found

    def close(self) -> None:
        self._listener.close()
        self._thread.join(timeout=10)
