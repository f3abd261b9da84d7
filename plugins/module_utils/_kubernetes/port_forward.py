# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to ports of pods through the API server, and certificates presented there. Private to this collection.

The client library's own port-forward replaces a method of the shared client while it connects, starts a thread for
each connection, has no time limit and drops the headers of impersonation. So the protocol (v4.channel.k8s.io) is here.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from typing import Any
from urllib.parse import quote, urlsplit

try:
    import websocket
    from websocket import ABNF
except ImportError:
    pass  # a requirement of kubernetes, whose absence AnsibleK8SModule reports

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1  # the channels of the first port
PORT_BYTES = 2  # the first frame of each channel holds the port


class ForwardError(Exception):
    """Why there is no connection, or no certificate on it. The code says who refused.

    forbidden: the API server, for lack of permission. refused: the pod, where nothing listens or no handshake succeeds.
    unreadable: anything between, which proves nothing about the pod.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Forwarder:
    """Opens connections with the address and the login of an API client. Can be used by several threads."""

    def __init__(self, api_client: Any) -> None:
        settings = api_client.configuration
        self._url = settings.host.rstrip("/").replace("http", "ws", 1)
        self._headers = [
            f"{name}: {value}" for name, value in api_client.default_headers.items() if name.lower() != "user-agent"
        ]
        for setting in settings.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                self._headers.append(f"{setting['key']}: {setting['value']}")
        self._options: dict[str, Any] = {"subprotocols": [PROTOCOL], "suppress_origin": True, "redirect_limit": 0}
        if self._url.startswith("wss"):
            self._options["sslopt"] = tls_options(settings)
        if settings.proxy:
            proxy = urlsplit(settings.proxy)
            self._options |= {"http_proxy_host": proxy.hostname, "http_proxy_port": proxy.port}
            self._options |= {"http_no_proxy": settings.no_proxy.split(",")} if settings.no_proxy else {}

    def connect(self, namespace: str, pod: str, port: int, until: float) -> Connection:
        """A connection that ends at a time (monotonic)."""
        url = f"{self._url}/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/portforward?ports={port}"
        try:
            return Connection(
                websocket.create_connection(url, header=self._headers, timeout=_left(until), **self._options), until
            )
        except websocket.WebSocketBadStatusException as exc:
            raise _refusal(exc) from exc
        except (websocket.WebSocketException, OSError, ValueError) as exc:
            raise ForwardError("unreadable", f"the API server opens no connection to it: {_cause(exc)}") from exc


class Connection:
    """The bytes of one port of one pod."""

    def __init__(self, socket: Any, until: float) -> None:
        self._socket, self._until = socket, until
        self._headed: set[int] = set()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *dummy: object) -> None:
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._socket.shutdown()  # close() would wait for the other side

    def send(self, data: bytes) -> None:
        with self._errors():
            self._socket.settimeout(_left(self._until))
            self._socket.send(bytes([DATA]) + data, ABNF.OPCODE_BINARY)

    def receive(self) -> bytes:
        """What came next; nothing when the pod has ended the connection."""
        while True:
            with self._errors():
                self._socket.settimeout(_left(self._until))
                operation, frame = self._socket.recv_data_frame(True)
            if operation == ABNF.OPCODE_CLOSE:
                return b""
            if operation not in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) or not frame.data:
                continue
            channel, data = frame.data[0], frame.data[1:]
            if channel not in self._headed:
                self._headed.add(channel)
                data = data[PORT_BYTES:]
            if channel == ERROR and data:
                message = " ".join(data.decode(errors="replace").split())
                if "connection refused" in message:
                    raise ForwardError("refused", "nothing listens on its port")
                raise ForwardError("unreadable", f"its kubelet reports: {message[:300]}")
            if channel == DATA and data:
                return bytes(data)

    @contextlib.contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except websocket.WebSocketTimeoutException as exc:
            raise ForwardError("unreadable", "it did not respond in time") from exc
        except (websocket.WebSocketException, OSError) as exc:
            raise ForwardError("unreadable", f"the connection through the API server broke: {_cause(exc)}") from exc


def presented(connection: Connection, server_name: str) -> list[bytes]:
    """The certificates (DER) that a TLS server presents for a name, its own first. They are read, not verified.

    A server may ask for a client certificate and close the connection without one: in TLS 1.3 its own certificates have
    arrived by then. Up to Python 3.12 the whole chain is offered by a private method only; without it, it is the first
    certificate alone.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        session = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    except ValueError as exc:  # a label of more than 63 letters
        raise ForwardError("unreadable", f"TLS cannot ask for the name {server_name}: {_cause(exc)}") from exc
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            if outgoing.pending > 0:
                connection.send(outgoing.read())
            data = connection.receive()
            if not data:
                raise ForwardError("refused", "it closed the connection during the TLS handshake") from None
            incoming.write(data)
        except ssl.SSLError as exc:
            raise ForwardError("refused", f"the TLS handshake failed: {exc.reason or _cause(exc)}") from exc
    with contextlib.suppress(ForwardError):
        connection.send(outgoing.read())  # the end of the handshake, so that the server logs no error
    return chain(session)


def chain(session: ssl.SSLObject) -> list[bytes]:
    if hasattr(session, "get_unverified_chain"):  # Python 3.13
        return [bytes(one) for one in session.get_unverified_chain()]
    private: Any = getattr(session, "_sslobj", None)
    if hasattr(private, "get_unverified_chain"):  # 3.10 to 3.12
        return [one.public_bytes(ENCODING_DER) for one in private.get_unverified_chain()]
    first = session.getpeercert(binary_form=True)
    return [first] if first else []


ENCODING_DER = 2  # _ssl.ENCODING_DER, X509_FILETYPE_ASN1 of OpenSSL


def tls_options(settings: Any) -> dict[str, Any]:
    """As the client library connects: its CA, its client certificate, its exceptions."""
    verify = bool(settings.verify_ssl)
    options: dict[str, Any] = {
        "cert_reqs": ssl.CERT_REQUIRED if verify else ssl.CERT_NONE,
        "check_hostname": verify and settings.assert_hostname is not False,
        "ca_certs": settings.ssl_ca_cert,
        "certfile": settings.cert_file,
        "keyfile": settings.key_file,
        "server_hostname": getattr(settings, "tls_server_name", None),
    }
    return {name: value for name, value in options.items() if value is not None}


def until(seconds: float) -> float:
    return time.monotonic() + seconds


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise ForwardError("unreadable", "it did not respond in time")
    return left


def _refusal(exc: Any) -> ForwardError:
    body = getattr(exc, "resp_body", None) or b""  # none up to websocket-client 1.5
    try:
        message = json.loads(body)["message"]  # a Status, as the API server answers
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")
    message = " ".join(message.split()).rstrip(":.")[:300]
    if exc.status_code in (401, 403):
        message = message or "the API server does not permit the connection"
        return ForwardError("forbidden", f"{message}. It needs get and create on pods/portforward")
    return ForwardError("unreadable", f"the API server refuses the connection with {exc.status_code}: {message}")


def _cause(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__
