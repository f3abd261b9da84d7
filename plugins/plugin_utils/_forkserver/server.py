# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fork server: a Python process that loads libraries once and forks for each request.

As a program, `python server.py SOCKET_FD PARENT_FD LIBRARY...`. It runs no module and reads no request itself, so every
fork starts in the same state, as a new Python would. It imports nothing of Ansible's controller and no other file of
this collection, and ends with the process that the pidfd PARENT_FD refers to.

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
import selectors
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, NamedTuple, NoReturn

STARTED, NOT_RUN = b"+", b"-"
DESCRIPTORS = 3


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
