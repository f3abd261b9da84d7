# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One warm Python for a run of Ansible: it has libraries loaded and forks for each module (Linux only).

As a program, `python _forkserver.py SOCKET_FD PARENT_FD LIBRARY...`, it is the server; the connection plugin calls
ask(). No module runs in the server itself, so every fork begins in the same clean state, as a new Python would. The
server imports nothing of Ansible's controller, and ends with the process that the pidfd PARENT_FD stands for.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import pickle
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

TAKEN = b"+"  # said before the fork; whoever never hears it knows that nothing was run
REFUSED = b"refused"
PATIENCE = 10  # seconds that a question may take, as all others wait meanwhile


class Request(NamedTuple):
    """A Python program, and what it shall find around it."""

    payload: bytes
    environment: dict[str, str]
    cwd: str


class LostError(Exception):
    """The server ended, or was ended, while a program ran in one of its forks."""


def ask(
    folder: str, request: Request, libraries: Sequence[str], parent: int, begun: Callable[[], object] = lambda: None
) -> tuple[int, bytes, bytes] | None:
    """Runs a program in a fork of the folder's server, which the first call starts and which ends with its parent.

    Returns exit code (negative: the signal that ended it), output and errors as subprocess does; or None where the
    server is gone or has another environment, and nothing was run. Calls begun when the server has taken the program,
    which is long before some of them end. Raises LostError.
    """
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(connect(folder, request.environment, libraries, parent))
            ends = [os.pipe(), os.pipe()]
            reading = [stack.enter_context(open(start, "rb", buffering=0)) for start, _end in ends]
            send(connection, request, [end for _start, end in ends])
            taken = connection.recv(len(TAKEN))
        except OSError:
            return None
        if not taken:
            return None
        begun()
        output, errors = read_all(reading)
        answer = connection.recv(len(REFUSED))
    if not answer:
        raise LostError
    return None if answer == REFUSED else (int(answer), output, errors)


def send(connection: socket.socket, request: Request, outputs: Sequence[int]) -> None:
    """Asks a server to run a program that writes to these pipes, which are the program's alone from then on."""
    try:
        socket.send_fds(connection, [b"-"], outputs)
    finally:
        for output in outputs:
            os.close(output)
    with connection.makefile("wb") as stream:
        pickle.dump(tuple(request), stream)


def connect(folder: str, environment: dict[str, str], libraries: Sequence[str], parent: int) -> socket.socket:
    """A connection to the folder's server; starts it where there is none. OSError: there was one, or it cannot be."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        address = f"/proc/self/fd/{place}/forkserver"  # a socket's own path may have 107 characters only
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address)
        except FileNotFoundError:
            start(address, environment, libraries, parent)
            connection.connect(address)
        return connection
    finally:
        os.close(place)


def start(address: str, environment: dict[str, str], libraries: Sequence[str], parent: int) -> None:
    """Starts the server. Others may connect at once: they wait until it accepts."""
    own = f"{address}-{secrets.token_hex(8)}"
    # Unlike a number in /proc this also tells that the parent ended when nobody waits for it. Needs Linux 5.3.
    with open(os.pidfd_open(parent), "rb", buffering=0) as watched, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(own)
        listener.listen(1024)
        try:
            os.link(own, address)  # there for others only now that it listens
        except FileExistsError:
            return  # somebody else was quicker
        finally:
            os.unlink(own)
        inherited = [listener.fileno(), watched.fileno()]
        subprocess.Popen(
            [sys.executable, __file__, *map(str, inherited), *libraries],
            env=environment, cwd="/", pass_fds=inherited, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def read_all(pipes: Sequence[Any]) -> list[bytes]:
    """All that comes out of some pipes, until every one is closed at its other end."""
    told = {pipe: bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _events in selector.select():
                chunk = os.read(key.fd, 65536)
                told[key.fileobj] += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
    return [bytes(told[pipe]) for pipe in pipes]


class FromPayload:
    """Finds what of the package `ansible` only the payload has, such as module_utils of a user's own.

    The payload's archive is the first entry of sys.path, but where `ansible` is loaded already, its parts are looked
    for beside it.
    """

    @staticmethod
    def find_spec(name: str, _path: Sequence[str] | None = None, _target: Any = None) -> ModuleSpec | None:
        if not name.startswith("ansible."):
            return None
        return PathFinder.find_spec(name, ["/".join([sys.path[0], *name.split(".")[:-1]])])


def enter(folder: str) -> None:
    """Goes to a folder as a shell starts there: PWD keeps its name for it, which may lead over links."""
    os.chdir(folder)
    with contextlib.suppress(KeyError, OSError):
        if os.path.samefile(os.environ["PWD"], "."):
            return
    os.environ["PWD"] = os.getcwd()


def become(request: Request, outputs: Sequence[int]) -> NoReturn:
    """In the fork: be what a new Python would be that reads the payload from its standard input."""
    code = 1
    main = types.ModuleType("__main__")
    try:
        os.setsid()  # a group of its own, to be ended as a whole
        enter(request.cwd)
        for number, given in enumerate((os.open(os.devnull, os.O_RDONLY), *outputs)):
            os.dup2(given, number)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.closerange(3, 1 + max(map(int, os.listdir("/proc/self/fd"))))  # the server's own
        sys.argv = [""]
        sys.path.insert(0, "")
        sys.meta_path.append(FromPayload)
        sys.modules["__main__"] = main
        main.__file__ = "<stdin>"
        program = compile(request.payload, "<stdin>", "exec", dont_inherit=True)
        exec(program, main.__dict__)  # noqa: S102 what this is for
        code = 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        # As at the end of any Python, but for taking all the libraries apart, which takes longer than many a module.
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            main.__dict__.clear()  # a temporary file goes with what holds it
            gc.collect()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def given_environment() -> dict[str, str]:
    """What this process was started with. os.environ may differ: Python itself replaces the locale C."""
    with open("/proc/self/environ", "rb") as given:
        entries = os.fsdecode(given.read()).split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


class Server:
    """Takes requests, forks, and tells how each fork ended."""

    def __init__(self, listener: socket.socket, parent: int, libraries: Sequence[str]) -> None:
        self.listener = listener
        self.parent = parent
        self.libraries = list(libraries)
        self.environment = given_environment()
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
            # Who asks while libraries are loaded gets those that are there, and loads others as ever.
            for key, _events in self.selector.select(0 if self.libraries else None):
                key.data()
            self.reap()
            if self.libraries:
                self.load(self.libraries.pop(0))

    def stop(self) -> NoReturn:
        """The parent has ended, and with it whoever could ask or wait."""
        for pid in self.running:
            self.end(pid)
        sys.exit()

    @staticmethod
    def load(name: str) -> None:
        with contextlib.suppress(BaseException):  # a module that needs it says why it cannot be loaded
            importlib.import_module(name)
        gc.freeze()  # so that forks share it

    def accept(self) -> None:
        connection, _address = self.listener.accept()
        outputs: list[int] = []
        try:
            connection.settimeout(PATIENCE)
            outputs = socket.recv_fds(connection, 1, 2)[1]
            with connection.makefile("rb") as stream:
                request = Request(*pickle.load(stream))  # noqa: S301 nobody else can write to the socket
            connection.settimeout(None)
            # Libraries look at the environment when they are loaded, so only the same one will do.
            if request.environment != self.environment:
                connection.close()
                return
            connection.sendall(TAKEN)
            if pid := self.fork(request, outputs):
                self.running[pid] = connection
                self.selector.register(connection, selectors.EVENT_READ, lambda: self.abandon(pid))
            else:
                connection.sendall(REFUSED)
                connection.close()
        except (OSError, EOFError, pickle.UnpicklingError):
            connection.close()  # who asked was ended meanwhile, or says nothing
        finally:
            for output in outputs:
                os.close(output)

    @staticmethod
    def fork(request: Request, outputs: Sequence[int]) -> int | None:
        try:
            pid = os.fork()
        except OSError:  # no memory, too many processes
            return None
        if not pid:
            become(request, outputs)
        return pid

    def reap(self) -> None:
        for pid in list(self.running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                connection = self.running.pop(pid)
                with contextlib.suppress(OSError):  # nobody waits for it any more
                    connection.sendall(b"%d" % os.waitstatus_to_exitcode(status))
                with contextlib.suppress(KeyError):  # abandoned
                    self.selector.unregister(connection)
                connection.close()

    def abandon(self, pid: int) -> None:
        """Nobody waits for it: Ansible has ended its worker, or its time is over."""
        self.selector.unregister(self.running[pid])
        self.end(pid)

    @staticmethod
    def end(pid: int) -> None:
        try:
            os.killpg(pid, signal.SIGTERM)
        except ProcessLookupError:  # it has yet to make its group
            os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder
    Server(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[3:]).serve()
