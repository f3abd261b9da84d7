# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python process that loads libraries once and forks for each module of a run (Linux only).

As a program, `python _forkserver.py SOCKET_FD PARENT_FD LIBRARY...`, it is the server; the connection plugin calls
run_in_fork(). The server runs no module and reads no request itself, so every fork starts in the same state, as a new
Python would. It imports nothing of Ansible's controller, and ends with the process that the pidfd PARENT_FD refers to.

A client sends one byte with three file descriptors: the request (a memfd), standard output and standard error. The fork
answers STARTED before it runs the program, or NOT_RUN; after STARTED the server sends the exit code in decimal.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, NamedTuple, NoReturn

STARTED, NOT_RUN = b"+", b"-"
DESCRIPTORS = 3
START_TIMEOUT = 30  # seconds; a library that is being loaded delays the fork
EXIT_TIMEOUT = 60  # seconds from the end of both outputs to the exit code


class Request(NamedTuple):
    """A Python program with its environment and working directory."""

    payload: bytes
    environment: dict[str, str]
    cwd: str

    def encode(self) -> bytes:
        return json.dumps([self.environment, self.cwd]).encode() + b"\n" + self.payload

    @classmethod
    def decode(cls, data: bytes) -> Request:
        header, dummy, payload = data.partition(b"\n")
        return cls(payload, *json.loads(header))


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
            [sys.executable, __file__, *map(str, inherited), *libraries],
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


class PayloadFinder:
    """Finds modules of the package `ansible` that only the payload has, such as a user's own module_utils.

    The payload's archive is the first entry of sys.path, but Python looks for the parts of a package that is loaded
    already only beside that package.
    """

    @staticmethod
    def find_spec(name: str, _path: Sequence[str] | None = None, _target: Any = None) -> ModuleSpec | None:
        if not name.startswith("ansible."):
            return None
        return PathFinder.find_spec(name, ["/".join([sys.path[0], *name.split(".")[:-1]])])


def change_directory(folder: str) -> None:
    """Change the directory as a shell does that starts there: PWD remains if it is a name of the same folder."""
    os.chdir(folder)
    with contextlib.suppress(KeyError, OSError):
        if os.path.samefile(os.environ["PWD"], "."):
            return
    os.environ["PWD"] = os.getcwd()


def read_request(descriptor: int) -> Request:
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)  # the offset is shared with the client, which wrote it
        return Request.decode(file.read())


def serve_request(connection: socket.socket, descriptors: Sequence[int], environment: dict[str, str]) -> NoReturn:
    """In the fork: read the request, and run it unless it needs another environment or nobody waits for it."""
    try:
        os.setsid()  # its own process group, so that it can be ended as a whole
        source, *outputs = descriptors
        request = read_request(source)
        # Libraries read the environment when they are loaded, so another one needs another Python.
        if request.environment != environment:
            connection.sendall(NOT_RUN)
            os._exit(0)
        connection.sendall(STARTED)
    except BaseException:
        os._exit(1)
    run_program(request, outputs)


def run_program(request: Request, outputs: Sequence[int]) -> NoReturn:
    """In the fork: run the program as a new Python does that reads it from its standard input, and exit."""
    code = 1
    main = types.ModuleType("__main__")
    try:
        change_directory(request.cwd)
        for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), *outputs)):
            os.dup2(descriptor, number)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.closerange(3, 1 + max(map(int, os.listdir("/proc/self/fd"))))  # those of the server
        sys.argv = [""]
        if not sys.flags.safe_path:  # PYTHONSAFEPATH
            sys.path.insert(0, "")
        sys.meta_path.append(PayloadFinder)
        sys.modules["__main__"] = main
        main.__file__ = "<stdin>"
        program = compile(request.payload, "<stdin>", "exec", dont_inherit=True)
        exec(program, main.__dict__)  # noqa: S102 this is its purpose
        code = 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        # As at the end of any Python, but without tearing down the libraries, which takes longer than many modules.
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            main.__dict__.clear()  # removes temporary files that globals hold
            gc.collect()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def initial_environment() -> dict[str, str]:
    """The environment that this process was started with. In os.environ Python itself may replace the locale C."""
    with open("/proc/self/environ", "rb") as file:
        entries = os.fsdecode(file.read()).split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


class Server:
    """Accepts connections, forks for each request, and reports the exit code of each fork."""

    def __init__(self, listener: socket.socket, parent: int, libraries: Sequence[str]) -> None:
        self.listener = listener
        self.parent = parent
        self.libraries = list(libraries)
        self.environment = initial_environment()
        self.running: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()

    def serve(self) -> NoReturn:
        woken, waker = socket.socketpair()
        for end in (woken, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(woken, selectors.EVENT_READ, lambda: woken.recv(4096))
        self.selector.register(self.parent, selectors.EVENT_READ, self.stop)
        while True:
            # A request that arrives before all libraries are loaded gets those that are, and imports others itself.
            for key, _events in self.selector.select(0 if self.libraries else None):
                key.data()
            self.reap()
            if self.libraries:
                self.load(self.libraries.pop(0))

    def stop(self) -> NoReturn:
        """The parent has ended, and with it every client."""
        for pid in self.running:
            self.terminate(pid)
        sys.exit()

    @staticmethod
    def load(name: str) -> None:
        with contextlib.suppress(BaseException):  # a module that needs the library reports why it cannot be loaded
            importlib.import_module(name)
        gc.freeze()  # so that forks share its memory

    def accept(self) -> None:
        connection, _address = self.listener.accept()
        connection.setblocking(False)
        self.selector.register(connection, selectors.EVENT_READ, lambda: self.receive(connection))

    def receive(self, connection: socket.socket) -> None:
        """Fork for the request that a connection sends."""
        self.selector.unregister(connection)
        descriptors: list[int] = []
        try:
            descriptors = list(socket.recv_fds(connection, 1, DESCRIPTORS)[1])
            if len(descriptors) != DESCRIPTORS:  # the client ended
                connection.close()
            elif pid := self.fork(connection, descriptors):
                self.running[pid] = connection
                self.selector.register(connection, selectors.EVENT_READ, lambda: self.abandon(pid))
            else:
                connection.sendall(NOT_RUN)
                connection.close()
        except OSError:
            connection.close()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def fork(self, connection: socket.socket, descriptors: Sequence[int]) -> int | None:
        try:
            pid = os.fork()
        except OSError:  # out of memory, or too many processes
            return None
        if not pid:
            serve_request(connection, descriptors, self.environment)
        return pid

    def reap(self) -> None:
        for pid in list(self.running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                connection = self.running.pop(pid)
                with contextlib.suppress(OSError):  # the client has ended
                    connection.sendall(b"%d" % os.waitstatus_to_exitcode(status))
                with contextlib.suppress(KeyError):  # abandoned
                    self.selector.unregister(connection)
                connection.close()

    def abandon(self, pid: int) -> None:
        """The client closed the connection: Ansible ended its worker, or the task timed out."""
        self.selector.unregister(self.running[pid])
        self.terminate(pid)

    @staticmethod
    def terminate(pid: int) -> None:
        try:
            os.killpg(pid, signal.SIGTERM)
        except ProcessLookupError:  # it has not created its group yet
            os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    if not sys.flags.safe_path:  # PYTHONSAFEPATH, with which Python does not add this file's folder
        sys.path.pop(0)
    Server(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[3:]).serve()
