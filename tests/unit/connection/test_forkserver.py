# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program runs in a fork of the server as in a new Python that a shell starts, which is the oracle."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ansible_collections.servicemesh.pki.plugins.connection.forkserver import assigned_environment
from ansible_collections.servicemesh.pki.plugins.plugin_utils import _forkserver

ROOT = Path(__file__).resolve().parents[3]


def soon(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The value of the condition, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    assert value
    return value


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


class Client:
    """Runs programs in forks of a server whose parent is a process of the test."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.parent = subprocess.Popen(["sleep", "600"])
        (folder / "link").symlink_to(".")
        self.environment = {**environment, "SHOWN": "first", "PWD": str(folder / "link")}

    def __call__(self, payload: str, *libraries: str, **changed: str) -> tuple[int, bytes, bytes] | None:
        request = _forkserver.Request(payload.encode(), self.environment | changed, str(self.folder))
        return _forkserver.run_in_fork(str(self.folder), request, libraries, self.parent.pid)

    def output(self, payload: str, *libraries: str) -> str:
        done = self(payload, *libraries)
        assert done is not None
        assert done[0] == 0, done[2].decode()
        return done[1].decode()

    def server(self) -> psutil.Process:
        return psutil.Process(int(self.output("import os; print(os.getppid())")))

    def end(self) -> None:
        self.parent.kill()
        self.parent.wait()


@pytest.fixture
def client(tmp_path: Path, measured: dict[str, str]) -> Iterator[Client]:
    client = Client(tmp_path, {**os.environ, **measured})
    yield client
    client.end()


PROGRAMS = {
    "output": "print('out'); import sys; print('err', file=sys.stderr)",
    "not flushed": "import sys; sys.stdout.write('no end of line')",
    "a lot of both": "import sys\nfor n in range(40000): print('x' * 50); print('y' * 50, file=sys.stderr)",
    "code": "raise SystemExit(3)",
    "code 256": "raise SystemExit(256)",
    "no code": "raise SystemExit",
    "text instead of a code": "import sys; sys.exit('why')",
    "list instead of a code": "import sys; sys.exit([3])",
    "tuple instead of a code": "raise SystemExit((3,))",
    "annotations": "def f(x: 1 + 1): pass\nprint(f.__annotations__)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "nothing to read": "import sys; print(repr(sys.stdin.read()))",
    "arguments": "import sys; print(sys.argv, __name__, __file__, sys.modules['__main__'].__name__)",
    "path": "import sys; print(sys.path)",
    "folder": "import os; print(os.getcwd())",
    # Without what a Bash in place of /bin/sh would add.
    "environment": "import os; print(sorted({**os.environ, '_': '', 'OLDPWD': '', 'SHLVL': ''}.items()))",
    "group": "import os; print(os.getpgrp() == os.getpid())",
    "mask": "import os; print(oct(os.umask(0)))",
    "signals": "import signal; print([signal.getsignal(number) for number in sorted(signal.valid_signals())])",
    "wake-up": "import signal; print(signal.set_wakeup_fd(-1))",
    "files": "import os; print(sorted(os.listdir('/proc/self/fd'), key=int)[:4])",
    "at its end": "import atexit; atexit.register(print, 'bye')",
    "a thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print('done'))).start()",
    "a child": "import subprocess; print(subprocess.run(['false']).returncode)",
    "not Python": "this is no Python",
    "temporary file in a global": (
        "import tempfile; held = tempfile.NamedTemporaryFile(prefix='held-', dir='.'); print(1); raise SystemExit(2)"
    ),
    "finalizer of a global": (
        "class Last:\n  def __del__(self): print('bye')\nlast = Last(); last.itself = last; print('first')"
    ),
    "limits": "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))",
}


def in_new_python(client: Client, program: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable}"], input=program.encode(), capture_output=True, check=False,
        cwd=client.folder, start_new_session=True, env=client.environment,
    )  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_ends_as_in_new_python(client, name):
    program = PROGRAMS[name]
    plain = in_new_python(client, program)
    done = client(program)
    assert done is not None
    assert done[:2] == (plain.returncode, plain.stdout)
    assert done[2].splitlines()[-1:] == plain.stderr.splitlines()[-1:]
    assert not list(client.folder.glob("held-*"))


def test_traceback_names_line_of_program(client):
    code, output, errors = client("def f():\n  raise ValueError('why')\nf()")
    assert (code, output) == (1, b"")
    assert re.search(rb'File "<stdin>", line 2, in f\n.*ValueError: why', errors, re.DOTALL)


def test_program_does_not_see_state_of_another(client):
    client.output("import os, sys, json; os.environ['LEFT'] = sys.left = json.left = 'behind'; os.chdir('/')")
    output = client.output("import os, sys, json; print(os.environ.get('LEFT'), hasattr(sys, 'left'), os.getcwd())")
    assert output.split() == ["None", "False", str(client.folder)]


def test_libraries_are_loaded_and_missing_one_is_skipped(client):
    program = "import sys; print('colorsys' in sys.modules)"
    client.output(program, "there_is_no_such_library", "colorsys")
    soon(lambda: client.output(program) == "True\n")


@pytest.mark.parametrize("ending", ["SystemExit('no')", "type('Panic', (BaseException,), {})"])
def test_library_that_exits_while_loading_is_skipped(client, ending):
    (client.folder / "exits.py").write_text(f"raise {ending}")
    client.environment["PYTHONPATH"] = str(client.folder)
    program = "import sys; print('colorsys' in sys.modules)"
    client.output(program, "exits", "colorsys")
    soon(lambda: client.output(program) == "True\n")


def test_random_values_of_two_programs_differ(client):
    program = "import random, uuid, tempfile; print(random.random(), uuid.uuid4(), tempfile.mktemp())"
    first, second = (client.output(program, "random", "uuid", "tempfile").split() for dummy in range(2))
    assert not set(first) & set(second)


def test_module_utils_of_payload_are_found(client, tmp_path):
    with zipfile.ZipFile(tmp_path / "payload.zip", "w") as archive:
        for name in ("ansible", "ansible/module_utils", "ansible/module_utils/own"):
            archive.writestr(f"{name}/__init__.py", "")
        archive.writestr("ansible/module_utils/own/deep.py", "NAME = 'of the payload'")
    client.output("", "ansible.module_utils.basic")
    soon(lambda: "True" in client.output("import sys; print('ansible.module_utils.basic' in sys.modules)"))
    with_payload = "import sys; sys.path.insert(0, 'payload.zip')\n"
    program = "from ansible.module_utils.own.deep import NAME; print(NAME)"
    assert client.output(with_payload + program) == "of the payload\n"
    done = client(with_payload + "import ansible.module_utils.nothing")
    assert b"No module named 'ansible.module_utils.nothing'" in done[2]


def test_request_with_another_environment_is_not_run(client):
    client.output("")
    assert client("open('made', 'w')", SHOWN="second") is None
    assert not (client.folder / "made").exists()
    assert client.output("import os; print(os.environ['SHOWN'])") == "first\n"


def test_environment_in_which_python_changes_locale_is_served(client):
    client.environment = {name: value for name, value in client.environment.items() if name != "LC_ALL"}
    client.environment["LC_CTYPE"] = "C"
    program = "import locale, os; print(os.environ['LC_CTYPE'], locale.setlocale(locale.LC_CTYPE))"
    assert client.output(program) == in_new_python(client, program).stdout.decode()


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
    with pytest.raises(_forkserver.ServerLostError):
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
        _forkserver.send(connection, _forkserver.Request(program, client.environment, "/"), [end, os.dup(end)])
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
        assert connection.recv(1) != _forkserver.STARTED
        assert output.read() == b""
    assert client.server() == server


@pytest.mark.parametrize("part", [b"", b"?"])
def test_silent_client_delays_no_other(client, part):
    client.output("")
    with connected(client) as silent:
        silent.sendall(part)
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
    monkeypatch.setattr(_forkserver, "START_TIMEOUT", 0.1)
    with StandInServer(client) as server:
        assert client("print(1)") is None
        connection = server.listener.accept()[0]
        with pytest.raises(BrokenPipeError):  # so that a server that is late does not start the program
            connection.sendall(_forkserver.STARTED)


def test_start_that_arrives_at_the_limit_is_reported_as_lost():
    """The program may run then, so it must not run a second time."""

    class Late:
        settimeout = shutdown = staticmethod(lambda _value: None)
        received = iter([TimeoutError(), _forkserver.STARTED])

        def recv(self, _size: int) -> bytes:
            value = next(self.received)
            if isinstance(value, Exception):
                raise value
            return value

    with pytest.raises(_forkserver.ServerLostError):
        _forkserver.receive_start(Late())


def test_client_does_not_wait_longer_than_its_limit_for_exit_code(client, monkeypatch):
    monkeypatch.setattr(_forkserver, "EXIT_TIMEOUT", 0.1)
    with StandInServer(client) as server, ThreadPoolExecutor(1) as pool:
        result = pool.submit(client, "print(1)")
        connection = server.listener.accept()[0]
        for descriptor in socket.recv_fds(connection, 1, _forkserver.DESCRIPTORS)[1]:
            os.close(descriptor)
        connection.sendall(_forkserver.STARTED)
        with pytest.raises(_forkserver.ServerLostError):
            result.result(timeout=120)


def test_program_may_run_longer_than_the_limits(client, monkeypatch):
    monkeypatch.setattr(_forkserver, "START_TIMEOUT", 5)
    monkeypatch.setattr(_forkserver, "EXIT_TIMEOUT", 5)
    assert client.output("import time; time.sleep(6); print('done')") == "done\n"


@pytest.mark.parametrize("name", ["path", "output", "environment"])
def test_program_runs_as_in_new_python_with_safe_path(client, name):
    client.environment["PYTHONSAFEPATH"] = "1"
    client.output("", "colorsys")
    new = in_new_python(client, PROGRAMS[name])
    assert client(PROGRAMS[name]) == (0, new.stdout, new.stderr)


def test_standard_library_can_be_imported_with_safe_path(client):
    client.environment["PYTHONSAFEPATH"] = "1"
    program = "import sys; print('colorsys' in sys.modules)"
    client.output(program, "colorsys")
    soon(lambda: client.output(program) == "True\n")
    assert client.output("import zipimport, wave; print(wave.__name__)") == "wave\n"


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
        with contextlib.suppress(_forkserver.ServerLostError):
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


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (f"/bin/sh -c '{sys.executable} && sleep 0'", {}),
        (f"/bin/sh -c 'A=1 B='\"'\"'two words'\"'\"' {sys.executable} && sleep 0'", {"A": "1", "B": "two words"}),
        (f"/bin/sh -c 'A='\"'\"'x && y'\"'\"' {sys.executable} && sleep 0'", {"A": "x && y"}),
        (f"/bin/sh -c 'A= {sys.executable} && sleep 0'", {"A": ""}),
        (f"/bin/sh -c {sys.executable}", {}),  # as ansible-core writes it since 2.21
        (f"/bin/sh -c 'A=1 {sys.executable}'", {"A": "1"}),
        (f"/bin/sh -c '{sys.executable} && sleep 1'", None),
        (f"/opt/wrapper -c '{sys.executable} && sleep 0'", None),
        ("/bin/sh -c '/usr/bin/another-python && sleep 0'", None),
        (f"/bin/sh -c 'sudo {sys.executable} && sleep 0'", None),
        (f"/bin/sh -c '{sys.executable} /tmp/module.py && sleep 0'", None),
        (f"/bin/sh -c 'cd /; {sys.executable} && sleep 0'", None),
        (f"{sys.executable}", None),
        ("/bin/sh -c 'not closed", None),
    ],
)
def test_only_python_of_controller_is_forked(command, found):
    assert assigned_environment(command) == found


@pytest.mark.parametrize(
    ("inventory", "connection"),
    [("existing", "local"), ("k3d", "servicemesh.pki.forkserver"), ("lab", "servicemesh.pki.forkserver")],
)
def test_forkserver_is_default_of_workshop_inventories_only(inventory, connection):
    hosts = yaml.safe_load((ROOT / "inventories" / inventory / "hosts.yml").read_text())
    assert hosts["all"]["vars"]["ansible_connection"] == connection
