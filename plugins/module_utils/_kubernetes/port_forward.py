# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to ports of pods through the API server, and the certificates that they present. Private to this
collection.

The port-forward of the client library replaces a method of the shared client while it connects, starts a thread for
each connection, has no timeout and drops the headers of impersonation. Therefore this file implements the protocol
(v4.channel.k8s.io over a web socket).
"""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from typing import Any
from urllib.parse import quote, urlsplit

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError

try:
    import websocket
    from websocket import ABNF
except ImportError:
    pass  # a requirement of kubernetes, whose absence AnsibleK8SModule reports

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1  # the channels of the first port
PORT_BYTES = 2  # the first frame of each channel holds the port


class ForwardError(PkiError):
    """There is no connection to a pod, or no certificate on it. The code names who refused.

    forbidden: the API server, because of a missing permission. refused: the pod, where nothing listens or the handshake
    fails. unreadable: anything between them, which proves nothing about the pod.
    """

    code = "unreadable"


class Forwarder:
    """Opens connections with the address and the login of an API client. It is safe for threads."""

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

    def connect(self, namespace: str, pod: str, port: int, deadline: float) -> Connection:
        """A connection that times out at a monotonic time."""
        url = f"{self._url}/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/portforward?ports={port}"
        try:
            timeout = _remaining(deadline)
            socket = websocket.create_connection(url, header=self._headers, timeout=timeout, **self._options)
            return Connection(socket, deadline)
        except websocket.WebSocketBadStatusException as exc:
            raise _connection_error(exc) from exc
        except (websocket.WebSocketException, OSError, ValueError) as exc:
            message = f"the API server opens no connection to it: {_cause(exc)}"
            raise ForwardError(message, code="unreadable") from exc


class Connection:
    """The bytes of one port of one pod."""

    def __init__(self, socket: Any, deadline: float) -> None:
        self._socket, self._deadline = socket, deadline
        self._started_channels: set[int] = set()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *dummy: object) -> None:
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._socket.shutdown()  # close() waits for the other side

    def send(self, data: bytes) -> None:
        with self._errors():
            self._socket.settimeout(_remaining(self._deadline))
            self._socket.send(bytes([DATA]) + data, ABNF.OPCODE_BINARY)

    def receive(self) -> bytes:
        """The next data; empty when the pod has closed the connection."""
        while True:
            with self._errors():
                self._socket.settimeout(_remaining(self._deadline))
                operation, frame = self._socket.recv_data_frame(True)
            if operation == ABNF.OPCODE_CLOSE:
                return b""
            if operation not in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) or not frame.data:
                continue
            channel, data = frame.data[0], frame.data[1:]
            if channel not in self._started_channels:
                self._started_channels.add(channel)
                data = data[PORT_BYTES:]
            if channel == ERROR and data:
                message = " ".join(data.decode(errors="replace").split())
                if "connection refused" in message:
                    raise ForwardError("nothing listens on its port", code="refused")
                raise ForwardError(f"its kubelet reports: {message[:300]}", code="unreadable")
            if channel == DATA and data:
                return bytes(data)

    @contextlib.contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except websocket.WebSocketTimeoutException as exc:
            raise ForwardError("it did not respond in time", code="unreadable") from exc
        except (websocket.WebSocketException, OSError) as exc:
            message = f"the connection through the API server broke: {_cause(exc)}"
            raise ForwardError(message, code="unreadable") from exc


def presented_certificates(connection: Connection, server_name: str) -> list[bytes]:
    """The certificates (DER) that a TLS server presents for a name, its own first. They are read, not verified.

    A server may request a client certificate and close the connection without one. In TLS 1.3 its own certificates have
    arrived by then (RFC 8446, section 2).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        session = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    except ValueError as exc:  # a label of more than 63 characters
        message = f"the name {server_name} cannot be requested in TLS: {_cause(exc)}"
        raise ForwardError(message, code="unreadable") from exc
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            if outgoing.pending > 0:
                connection.send(outgoing.read())
            data = connection.receive()
            if not data:
                raise ForwardError("it closed the connection during the TLS handshake", code="refused") from None
            incoming.write(data)
        except ssl.SSLError as exc:
            raise ForwardError(f"the TLS handshake failed: {exc.reason or _cause(exc)}", code="refused") from exc
    with contextlib.suppress(ForwardError):
        connection.send(outgoing.read())  # completes the handshake, so that the server logs no error
    return peer_chain(session)


def peer_chain(session: ssl.SSLObject) -> list[bytes]:
    """The certificates (DER) of the peer. Up to Python 3.12 only a private method returns all of them."""
    if hasattr(session, "get_unverified_chain"):  # Python 3.13
        return [bytes(one) for one in session.get_unverified_chain()]
    private: Any = getattr(session, "_sslobj", None)
    if hasattr(private, "get_unverified_chain"):  # 3.10 to 3.12
        return [one.public_bytes(ENCODING_DER) for one in private.get_unverified_chain()]
    first = session.getpeercert(binary_form=True)
    return [first] if first else []


ENCODING_DER = 2  # _ssl.ENCODING_DER, X509_FILETYPE_ASN1 of OpenSSL


def tls_options(settings: Any) -> dict[str, Any]:
    """The TLS settings of the client library: its CA, its client certificate, and whether it verifies."""
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


def _remaining(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise ForwardError("it did not respond in time", code="unreadable")
    return seconds


def _connection_error(exc: Any) -> ForwardError:
    """The error for an HTTP status instead of a web socket."""
    body = getattr(exc, "resp_body", None) or b""  # missing up to websocket-client 1.5
    try:
        message = json.loads(body)["message"]  # a Status object of the API server
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")
    message = " ".join(message.split()).rstrip(":.")[:300]
    if exc.status_code in (401, 403):
        message = message or "the API server does not permit the connection"
        return ForwardError(f"{message}. It needs get and create on pods/portforward", code="forbidden")
    message = f"the API server refuses the connection with {exc.status_code}: {message}"
    return ForwardError(message, code="unreadable")


def _cause(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__
