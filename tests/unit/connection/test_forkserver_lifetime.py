# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of the forks starts, refuses, times out, and ends with its parent."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from forkserver_client import Client, ended, soon

from ansible_collections.servicemesh.pki.plugins.plugin_utils._forkserver import client as forkserver
from ansible_collections.servicemesh.pki.plugins.plugin_utils._forkserver.server import DESCRIPTORS, STARTED, Request


def test_concurrent_clients_get_same_server(client):
    with ThreadPoolExecutor(20) as pool:
        results = set(pool.map(lambda _n: client("import os; print(os.getppid())"), range(20)))
    assert None not in results
    assert len({result[1] for result in results}) == 1


def test_killed_server_runs_nothing(client):
    server = client.server()
    server.kill()
    soon(lambda: ended(server))
    assert client("open('made', 'w')") is None
    assert not (client.folder / "made").exists()


def test_server_killed_by_program_is_reported_as_lost(client):
    with pytest.raises(forkserver.ServerLostError):
        client("import os, signal; os.kill(os.getppid(), signal.SIGKILL)")


def connected(client: Client) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(client.folder / "forkserver"))
    return connection


def test_program_of_closed_connection_is_terminated_with_its_children(client):
    client.output("")
    program = b"import os, subprocess; print(os.getpid(), flush=True); subprocess.run(['sleep', '300'])"
    start, end = os.pipe()
    with connected(client) as connection:
        forkserver.send(connection, Request(program, client.environment, "/"), [end, os.dup(end)])
        process = psutil.Process(int(os.read(start, 100)))
        family = [process, *soon(process.children)]
    soon(lambda: all(ended(member) for member in family))
    os.close(start)
    assert client.output("print('still there')") == "still there\n"


class Pickled:
    """Writes to the output when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("import os; os.write(4, b'unpickled')",)


PICKLE = pickle.dumps((Pickled(), {}, "/"))


@pytest.mark.parametrize("request_data", [None, b"", b"no JSON\nprint(1)", b'["no environment"]\nprint(1)', PICKLE])
def test_invalid_request_is_not_run_and_does_not_end_server(client, request_data):
    server = client.server()
    with connected(client) as connection, open(client.folder / "output", "wb+") as output:
        if request_data is None:
            connection.sendall(b"?")  # without descriptors
        else:
            (client.folder / "request").write_bytes(request_data)
            with open(client.folder / "request", "rb") as file:
                socket.send_fds(connection, [b"?"], [file.fileno(), output.fileno(), output.fileno()])
        connection.settimeout(120)
        assert connection.recv(1) != STARTED
        assert output.read() == b""
    assert client.server() == server


@pytest.mark.parametrize("part", [b"", b"?"])
def test_unresponsive_client_delays_no_other(client, part):
    client.output("")
    with connected(client) as unresponsive:
        unresponsive.sendall(part)
        assert client.output("print('served')") == "served\n"


class StandInServer:
    """A socket that accepts connections and sends the answer that a test sets."""

    def __init__(self, client: Client) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(client.folder / "forkserver"))
        self.listener.listen()

    def __enter__(self) -> StandInServer:
        return self

    def __exit__(self, *dummy: object) -> None:
        self.listener.close()


def test_client_does_not_wait_longer_than_its_limit_for_start(client, monkeypatch):
    monkeypatch.setattr(forkserver, "START_TIMEOUT", 0.1)
    with StandInServer(client) as server:
        assert client("print(1)") is None
        connection = server.listener.accept()[0]
        with pytest.raises(BrokenPipeError):  # so that a server that is late does not start the program
            connection.sendall(STARTED)


def test_start_that_arrives_at_the_limit_is_reported_as_lost():
    """The program may run then, so it must not run a second time."""

    class Late:
        settimeout = shutdown = staticmethod(lambda _value: None)
        received = iter([TimeoutError(), STARTED])

        def recv(self, _size: int) -> bytes:
            value = next(self.received)
            if isinstance(value, Exception):
                raise value
            return value

    with pytest.raises(forkserver.ServerLostError):
        forkserver.receive_start(Late())


def test_client_does_not_wait_longer_than_its_limit_for_exit_code(client, monkeypatch):
    monkeypatch.setattr(forkserver, "EXIT_TIMEOUT", 0.1)
    with StandInServer(client) as server, ThreadPoolExecutor(1) as pool:
        result = pool.submit(client, "print(1)")
        connection = server.listener.accept()[0]
        for descriptor in socket.recv_fds(connection, 1, DESCRIPTORS)[1]:
            os.close(descriptor)
        connection.sendall(STARTED)
        with pytest.raises(forkserver.ServerLostError):
            result.result(timeout=120)


def test_program_may_run_longer_than_the_limits(client, monkeypatch):
    client.output("")  # starts the server, which can take longer
    monkeypatch.setattr(forkserver, "START_TIMEOUT", 5)
    monkeypatch.setattr(forkserver, "EXIT_TIMEOUT", 5)
    # On a busy machine, a fork can start later than that. It then does not run the program.
    dummy, output, errors = soon(lambda: client("import time; time.sleep(6); print('done')"))
    assert output == b"done\n", errors


def test_request_that_is_not_started_is_not_run(client):
    with socket.socket(socket.AF_UNIX) as listener:  # a stand-in for a server that ends
        listener.bind(str(client.folder / "forkserver"))
        listener.listen()
        with ThreadPoolExecutor(1) as pool:
            result = pool.submit(client, "x" * 1_000_000)
            listener.accept()[0].close()
            assert result.result(timeout=120) is None


def test_server_ends_with_its_parent_and_terminates_programs(client):
    server = client.server()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client, "import time; open('started', 'w').close(); time.sleep(300)")
        soon((client.folder / "started").exists)
        client.end()
        with contextlib.suppress(forkserver.ServerLostError):
            assert running.result(timeout=120)[0] == -signal.SIGTERM
    soon(lambda: ended(server))


def test_server_ends_with_parent_that_is_not_reaped(client):
    server = client.server()
    client.parent.kill()
    soon(lambda: ended(server))
    assert client.parent.returncode is None


def test_without_pidfd_no_server_is_started(client, monkeypatch):
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))  # as Linux before 5.3 does

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert client("open('made', 'w')") is None
    assert [path.name for path in client.folder.iterdir()] == ["link"]


def test_request_is_neither_in_arguments_nor_on_disk(client):
    client.output("secret = 'hunter2'; print(len(secret))")
    server = client.server()
    assert "hunter2" not in " ".join([*server.cmdline(), *server.environ().values()])
    assert {path.name for path in client.folder.iterdir()} == {"forkserver", "link"}
    assert (client.folder / "forkserver").is_socket()
