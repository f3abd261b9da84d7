# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS layer against `openssl s_server`; end_to_end/test_leaf_certificates.py tests it with a real API server."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import ClassVar

import pytest
from api_server_standin import HEADS, StandIn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.authority import DAY, NOW, key, make
from support.ports import free_port
from support.readings import ISSUER, ROOT, leaf_of

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import port_forward

NAME = "web.emojivoto.serviceaccount.identity.linkerd.cluster.local"


class Direct:
    """A connection without an API server, for the TLS layer alone."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except ConnectionResetError:  # also a closed connection, with unread data; openssl 3.5 does that
            return b""


@pytest.fixture
def server(tmp_path):
    """Starts openssl s_server with a leaf and its issuer, and further options; returns its port and its leaf."""
    leaf = leaf_of(NAME)
    key = leaf.key_pem
    (tmp_path / "leaf.pem").write_bytes(leaf.pem.encode() + key)
    (tmp_path / "issuer.pem").write_text(ISSUER.pem)
    (tmp_path / "root.pem").write_text(ROOT.pem)
    processes = []

    def start(*options: str) -> int:
        port = free_port()
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", "leaf.pem", "-quiet"]
        processes.append(subprocess.Popen([*command, *options], cwd=tmp_path, stdin=subprocess.PIPE))
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return port
            except OSError:
                time.sleep(0.05)
        raise AssertionError("openssl s_server does not listen")

    yield start, leaf
    for process in processes:
        process.kill()
        process.wait(timeout=10)


def certificates(found: list[bytes]) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(one) for one in found]


CHAIN = ("-cert_chain", "issuer.pem")
DEMANDS = ("-Verify", "3", "-verify_return_error", "-CAfile", "root.pem")


@pytest.mark.parametrize(
    ("options", "above"),
    [
        (("-tls1_3", *CHAIN), [ISSUER.certificate]),
        (("-tls1_3",), []),
        (("-tls1_2", *CHAIN), [ISSUER.certificate]),
        (
            ("-tls1_3", *CHAIN, *DEMANDS),
            [ISSUER.certificate],
        ),  # closes a connection without a client certificate after it has sent its own
    ],
)
def test_whole_chain_is_read(server, options, above):
    start, leaf = server
    found = port_forward.presented_certificates(Direct(start(*options)), NAME)
    assert certificates(found) == [leaf.certificate, *above]


def test_python_without_chain_reads_leaf(server, monkeypatch):
    """A stand-in for the session: every supported Python returns the chain."""
    leaf = server[1].certificate.public_bytes(Encoding.DER)
    assert port_forward.peer_chain(SimpleNamespace(getpeercert=lambda binary_form: leaf)) == [leaf]
    assert port_forward.peer_chain(SimpleNamespace(getpeercert=lambda binary_form: None)) == []


def test_encoding_constant_is_that_of_python():
    import _ssl

    assert port_forward.ENCODING_DER == _ssl.ENCODING_DER


@pytest.fixture
def plain() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_server_without_tls_is_refused(plain, answer):
    connection = Direct(plain.getsockname()[1])
    other, dummy = plain.accept()
    other.sendall(answer)
    other.shutdown(socket.SHUT_WR)
    with pytest.raises(port_forward.ForwardError) as refused:
        port_forward.presented_certificates(connection, NAME)
    other.close()
    assert refused.value.code == "refused"


def test_server_without_common_tls_version_is_refused(server):
    with pytest.raises(port_forward.ForwardError, match="handshake") as refused:
        port_forward.presented_certificates(Direct(server[0]("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")), NAME)
    assert refused.value.code == "refused"


def test_name_that_is_too_long_for_tls_is_named():
    with pytest.raises(port_forward.ForwardError, match=f"{'x' * 64}.emojivoto") as refused:
        port_forward.presented_certificates(SimpleNamespace(), f"{'x' * 64}.emojivoto")
    assert refused.value.code == "unreadable"


def settings(**given) -> SimpleNamespace:
    values = {"verify_ssl": True, "ssl_ca_cert": None, "assert_hostname": None, "cert_file": None, "key_file": None}
    return SimpleNamespace(**{**values, **given})


class Client:
    """The attributes of the client library's ApiClient that a Forwarder uses."""

    default_headers: ClassVar = {"User-Agent": "x", "Impersonate-User": "reader"}

    def __init__(self, url: str, **more: object) -> None:
        auth = {"BearerToken": {"in": "header", "key": "authorization", "value": "Bearer secret"}}
        given = {"host": url, "proxy": None, "no_proxy": None, "auth_settings": lambda: auth, **more}
        self.configuration = settings(**given)


@pytest.fixture
def standin():
    made = []

    def start(script=lambda server: None, **answer) -> StandIn:
        made.append(StandIn(script, **answer))
        return made[-1]

    yield start
    for one in made:
        one.close()


def read(server: StandIn, seconds: float = 10) -> list[bytes]:
    deadline = time.monotonic() + seconds
    with port_forward.Forwarder(Client(server.url)).connect("emojivoto", "web-0", 4191, deadline) as connection:
        return port_forward.presented_certificates(connection, NAME)


def error(server: StandIn, seconds: float = 10) -> tuple[str, str]:
    with pytest.raises(port_forward.ForwardError) as refused:
        read(server, seconds)
    return refused.value.code, str(refused.value)


def forward_to(port: int, piece: int):
    """Forward to a TLS server and back, in frames of that many bytes, with pings between them."""

    def script(server: StandIn) -> None:
        for head in HEADS:
            server.send(head)
        direct = socket.create_connection(("127.0.0.1", port), timeout=1)
        direct.sendall(server.receive()[1:])
        for dummy in range(50):
            data = direct.recv(piece)
            server.send(b"ping", operation=9)
            server.send(b"\x00" + data)
            if data == b"":
                return

    return script


@pytest.mark.parametrize("piece", [50, 65536])
def test_handshake_in_frames(server, standin, piece):
    start, leaf = server
    between = standin(forward_to(start("-tls1_3", *CHAIN), piece))
    assert certificates(read(between)) == [leaf.certificate, ISSUER.certificate]
    assert between.request.startswith("GET /api/v1/namespaces/emojivoto/pods/web-0/portforward?ports=4191 HTTP/1.1\r\n")
    assert "authorization: Bearer secret" in between.request and "Impersonate-User: reader" in between.request


def send_frames(*frames: bytes, close: bool = False):
    def script(server: StandIn) -> None:
        for frame in (*HEADS, *frames):
            server.send(frame)
        if close:
            server.send(b"", operation=8)
        server.receive()
        server.receive()

    return script


REFUSED = b"\x01an error occurred forwarding 4191 -> 4191: dial tcp4 127.0.0.1:4191: connect: connection refused"


@pytest.mark.parametrize(
    ("answer", "code", "part"),
    [
        ({"script": send_frames(REFUSED)}, "refused", "port"),
        ({"script": send_frames(b"\x01network namespace is closed")}, "unreadable", "network namespace is closed"),
        ({"script": send_frames(b"\x00HTTP/1.1 400 Bad Request")}, "refused", "handshake failed"),
        ({"script": send_frames(close=True)}, "refused", "handshake"),
        ({"script": lambda server: None}, "unreadable", "connection"),
        (
            {"status": "403 Forbidden", "body": b'{"kind": "Status", "message": "pods \\"web-0\\" is forbidden:"}'},
            "forbidden",
            'pods "web-0" is forbidden. It needs get and create on pods/portforward',
        ),
        ({"status": "401 Unauthorized", "body": b"not json"}, "forbidden", "not json"),
        ({"status": "404 Not Found", "body": b'{"message": "pods \\"web-0\\" not found"}'}, "unreadable", "404"),
        ({"status": "502 Bad Gateway"}, "unreadable", "502"),
        ({"status": "302 Found\r\nLocation: http://elsewhere.invalid/"}, "unreadable", "connection"),
    ],
)
def test_code_of_failed_connection(standin, answer, code, part):
    found, message = error(standin(**answer))
    assert (found, part in message) == (code, True), message
    assert "secret" not in message


def test_unresponsive_pod_times_out(standin):
    started = time.monotonic()
    assert error(standin(send_frames()), seconds=1)[0] == "unreadable"
    assert time.monotonic() - started < 60


def test_unreachable_api_server():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(port_forward.ForwardError) as refused:
        port_forward.Forwarder(Client(url)).connect("emojivoto", "web-0", 4191, time.monotonic() + 5)
    assert refused.value.code == "unreadable"


@pytest.fixture
def tls(tmp_path) -> ssl.SSLContext:
    """The context of an API server at localhost that requires a client certificate of the same CA."""
    end = NOW + 3650 * DAY
    root = make("API server", own_key=key("p256", 51), end=end)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    options = {"own_key": key("p256", 50), "ca": None, "key_cert_sign": False, "end": end}
    server, client = (make(name, root, extensions=((names, False),), **options) for name in ("localhost", "client"))
    for name, one in (("server", server), ("client", client)):
        pem = one.key_pem
        (tmp_path / name).write_bytes(one.certificate.public_bytes(Encoding.PEM) + pem)
    (tmp_path / "ca").write_text(root.pem)
    (tmp_path / "other").write_text(ROOT.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server")
    context.load_verify_locations(tmp_path / "ca")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize(
    ("host", "options", "connects"),
    [
        ("localhost", {"ssl_ca_cert": "ca"}, True),
        ("localhost", {"ssl_ca_cert": "other"}, False),
        ("localhost", {}, False),  # the CAs of the system
        ("127.0.0.1", {"ssl_ca_cert": "ca"}, False),
        ("127.0.0.1", {"ssl_ca_cert": "ca", "tls_server_name": "localhost"}, True),
        ("127.0.0.1", {"ssl_ca_cert": "ca", "assert_hostname": False}, True),
        ("127.0.0.1", {"verify_ssl": False}, True),
        ("127.0.0.1", {"verify_ssl": False, "cert_file": None}, False),  # the server requires one
    ],
)
def test_api_server_is_verified_as_by_client_library(tmp_path, tls, standin, host, options, connects):
    files = {"cert_file": "client", "key_file": "client", **options}
    given = {
        name: str(tmp_path / value) if name in ("ssl_ca_cert", "cert_file", "key_file") and value else value
        for name, value in files.items()
    }
    server = standin(send_frames(REFUSED), tls=tls)
    client = Client(server.url.replace("127.0.0.1", host), **given)

    def receive() -> None:
        with port_forward.Forwarder(client).connect("emojivoto", "web-0", 4191, time.monotonic() + 5) as connection:
            connection.receive()

    with pytest.raises(port_forward.ForwardError) as refused:
        receive()
    assert (refused.value.code == "refused") == connects, refused.value
