# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program in a fork of the server, which the first client starts."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.servicemesh.pki.plugins.plugin_utils._forkserver import server
from ansible_collections.servicemesh.pki.plugins.plugin_utils._forkserver.server import NOT_RUN, STARTED, Request

START_TIMEOUT = 30  # seconds; a library that is being loaded delays the fork
EXIT_TIMEOUT = 60  # seconds from the end of both outputs to the exit code


class ServerLostError(Exception):
    """The server ended or stopped responding while a program ran in one of its forks: the outcome is unknown."""


def run_in_fork(
    folder: str, request: Request, libraries: Sequence[str], parent: int, on_start: Callable[[], object] = lambda: None
) -> tuple[int, bytes, bytes] | None:
    """Run a program in a fork of the server of `folder`. The first call starts the server, which ends with `parent`.

    Returns exit code (negative: the number of the signal that ended it), output and error output as subprocess does.
    Returns None if nothing was run, because the server is gone, does not respond, or has another environment.
    Calls `on_start` when the program starts. Raises ServerLostError if the outcome is unknown.
    """
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(connect(folder, request.environment, libraries, parent))
            ends = [os.pipe(), os.pipe()]
            reading = [stack.enter_context(open(start, "rb", buffering=0)) for start, _end in ends]
            send(connection, request, [end for _start, end in ends])
            answer = receive_start(connection)
        except OSError:
            return None
        if answer != STARTED:
            return None
        on_start()
        output, errors = read_all(reading)
        return receive_exit_code(connection), output, errors


def send(connection: socket.socket, request: Request, outputs: Sequence[int]) -> None:
    """Send a request to the server and close this process's ends of the output pipes."""
    try:
        with open(os.memfd_create("request"), "wb") as file:
            file.write(request.encode())
            file.flush()
            socket.send_fds(connection, [b"?"], [file.fileno(), *outputs])
    finally:
        for output in outputs:
            os.close(output)


def receive_start(connection: socket.socket) -> bytes:
    """STARTED, or anything else if the program was not started and never will be."""
    connection.settimeout(START_TIMEOUT)
    try:
        return connection.recv(1)
    except TimeoutError:
        connection.shutdown(socket.SHUT_RD)  # from here on the fork cannot send STARTED, so it does not run the program
        if connection.recv(1) == STARTED:  # sent just before
            raise ServerLostError from None
        return NOT_RUN


def receive_exit_code(connection: socket.socket) -> int:
    connection.settimeout(EXIT_TIMEOUT)
    try:
        return int(connection.recv(16))  # the server sends it at once
    except (OSError, ValueError) as exc:
        raise ServerLostError from exc


def connect(folder: str, environment: dict[str, str], libraries: Sequence[str], parent: int) -> socket.socket:
    """Connect to the server of a folder, and start it if there is none. Raises OSError if that is not possible."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        address = f"/proc/self/fd/{directory}/forkserver"  # the path of a socket is limited to 107 characters
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(START_TIMEOUT)
        try:
            connection.connect(address)
        except FileNotFoundError:
            start_server(address, environment, libraries, parent)
            connection.connect(address)
        return connection
    finally:
        os.close(directory)


def start_server(address: str, environment: dict[str, str], libraries: Sequence[str], parent: int) -> None:
    """Start the server. Others may connect at once: they wait until it accepts."""
    temporary = f"{address}-{secrets.token_hex(8)}"
    # Unlike a number in /proc, a pidfd also reports a parent that ended and is not reaped. It needs Linux 5.3.
    with open(os.pidfd_open(parent), "rb", buffering=0) as watched, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(temporary)
        listener.listen(1024)
        try:
            os.link(temporary, address)  # visible to others only now that it listens
        except FileExistsError:
            return  # another worker was faster
        finally:
            os.unlink(temporary)
        inherited = [listener.fileno(), watched.fileno()]
        subprocess.Popen(
            [sys.executable, server.__file__, *map(str, inherited), *libraries],
            env=environment, cwd="/", pass_fds=inherited, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def read_all(pipes: Sequence[Any]) -> list[bytes]:
    """The contents of some pipes, when every one is closed at its other end."""
    contents = {pipe: bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _events in selector.select():
                chunk = os.read(key.fd, 65536)
                contents[key.fileobj] += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
    return [bytes(contents[pipe]) for pipe in pipes]
