# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program in a fork of the server is what a shell's new Python would make of it; that new Python is the oracle."""

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
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from ansible_collections.servicemesh.pki.plugins.connection.forkserver import environment_of
from ansible_collections.servicemesh.pki.plugins.plugin_utils import _forkserver


def soon(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """What the condition says, as soon as it says something."""
    end = time.monotonic() + seconds
    while not (told := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    assert told
    return told


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


class Asking:
    """Asks a server that lives as long as a process of the test's own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.parent = subprocess.Popen(["sleep", "600"])
        (folder / "link").symlink_to(".")
        self.environment = {**environment, "SHOWN": "as given", "PWD": str(folder / "link")}

    def __call__(self, payload: str, *libraries: str, **changed: str) -> tuple[int, bytes, bytes] | None:
        request = _forkserver.Request(payload.encode(), self.environment | changed, str(self.folder))
        return _forkserver.ask(str(self.folder), request, libraries, self.parent.pid)

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
def asking(tmp_path: Path, measured: dict[str, str]) -> Iterator[Asking]:
    asking = Asking(tmp_path, {**os.environ, **measured})
    yield asking
    asking.end()


PROGRAMS = {
    "output": "print('out'); import sys; print('err', file=sys.stderr)",
    "not flushed": "import sys; sys.stdout.write('no end of line')",
    "a lot of both": "import sys\nfor n in range(40000): print('x' * 50); print('y' * 50, file=sys.stderr)",
    "code": "raise SystemExit(3)",
    "code 256": "raise SystemExit(256)",
    "no code": "raise SystemExit",
    "words instead of a code": "import sys; sys.exit('why')",
    "anything else instead of a code": "import sys; sys.exit([3])",
    "a tuple instead of a code": "raise SystemExit((3,))",
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
    "a file that a global holds": (
        "import tempfile; held = tempfile.NamedTemporaryFile(prefix='held-', dir='.'); print(1); raise SystemExit(2)"
    ),
    "what a global says at the end": (
        "class Last:\n  def __del__(self): print('bye')\nlast = Last(); last.itself = last; print('first')"
    ),
    "limits": "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))",
}


def plainly(asking: Asking, program: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable}"], input=program.encode(), capture_output=True, check=False,
        cwd=asking.folder, start_new_session=True, env=asking.environment,
    )  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_as_in_a_new_python_of_a_shell(asking, name):
    program = PROGRAMS[name]
    plain = plainly(asking, program)
    done = asking(program)
    assert done is not None
    assert done[:2] == (plain.returncode, plain.stdout)
    assert done[2].splitlines()[-1:] == plain.stderr.splitlines()[-1:]
    assert not list(asking.folder.glob("held-*"))


def test_an_exception_is_told_with_its_place(asking):
    code, output, errors = asking("def f():\n  raise ValueError('why')\nf()")
    assert (code, output) == (1, b"")
    assert re.search(rb'File "<stdin>", line 2, in f\n.*ValueError: why', errors, re.DOTALL)


def test_no_program_sees_what_another_one_has_left(asking):
    asking.output("import os, sys, json; os.environ['LEFT'] = sys.left = json.left = 'behind'; os.chdir('/')")
    told = asking.output("import os, sys, json; print(os.environ.get('LEFT'), hasattr(sys, 'left'), os.getcwd())")
    assert told.split() == ["None", "False", str(asking.folder)]


def test_libraries_are_loaded_once_and_one_that_is_missing_is_left_out(asking):
    program = "import sys; print('colorsys' in sys.modules)"
    asking.output(program, "there_is_no_such_library", "colorsys")
    soon(lambda: asking.output(program) == "True\n")


@pytest.mark.parametrize("ending", ["SystemExit('no')", "type('Panic', (BaseException,), {})"])
def test_a_library_that_gives_up_while_it_is_loaded_ends_nothing(asking, ending):
    (asking.folder / "gives_up.py").write_text(f"raise {ending}")
    asking.environment["PYTHONPATH"] = str(asking.folder)
    program = "import sys; print('colorsys' in sys.modules)"
    asking.output(program, "gives_up", "colorsys")
    soon(lambda: asking.output(program) == "True\n")


def test_draws_of_two_programs_differ(asking):
    program = "import random, uuid, tempfile; print(random.random(), uuid.uuid4(), tempfile.mktemp())"
    first, second = (asking.output(program, "random", "uuid", "tempfile").split() for dummy in range(2))
    assert not set(first) & set(second)


def test_what_of_ansible_only_the_payload_has_is_found(asking, tmp_path):
    with zipfile.ZipFile(tmp_path / "payload.zip", "w") as archive:
        for name in ("ansible", "ansible/module_utils", "ansible/module_utils/own"):
            archive.writestr(f"{name}/__init__.py", "")
        archive.writestr("ansible/module_utils/own/deep.py", "told = 'by its own'")
    asking.output("", "ansible.module_utils.basic")
    soon(lambda: "True" in asking.output("import sys; print('ansible.module_utils.basic' in sys.modules)"))
    with_payload = "import sys; sys.path.insert(0, 'payload.zip')\n"
    program = "from ansible.module_utils.own.deep import told; print(told)"
    assert asking.output(with_payload + program) == "by its own\n"
    done = asking(with_payload + "import ansible.module_utils.nothing")
    assert b"No module named 'ansible.module_utils.nothing'" in done[2]


def test_another_environment_is_not_served_and_nothing_was_run(asking):
    asking.output("")
    assert asking("open('made', 'w')", SHOWN="otherwise") is None
    assert not (asking.folder / "made").exists()
    assert asking.output("import os; print(os.environ['SHOWN'])") == "as given\n"


def test_an_environment_in_which_python_changes_the_locale_is_served(asking):
    asking.environment = {name: value for name, value in asking.environment.items() if name != "LC_ALL"}
    asking.environment["LC_CTYPE"] = "C"
    program = "import locale, os; print(os.environ['LC_CTYPE'], locale.setlocale(locale.LC_CTYPE))"
    assert asking.output(program) == plainly(asking, program).stdout.decode()


def test_all_that_ask_at_once_get_the_same_server(asking):
    with ThreadPoolExecutor(20) as pool:
        told = set(pool.map(lambda _n: asking("import os; print(os.getppid())"), range(20)))
    assert None not in told
    assert len({done[1] for done in told}) == 1


def test_without_its_server_nothing_is_run_and_a_plain_python_can_do_it(asking):
    server = asking.server()
    server.kill()
    soon(lambda: ended(server))
    assert asking("open('made', 'w')") is None
    assert not (asking.folder / "made").exists()


def test_a_server_that_ends_meanwhile_leaves_the_outcome_open(asking):
    with pytest.raises(_forkserver.LostError):
        asking("import os, signal; os.kill(os.getppid(), signal.SIGKILL)")


def test_a_program_that_nobody_waits_for_is_ended_with_what_it_started(asking):
    asking.output("")
    request = (b"import os, subprocess; print(os.getpid(), flush=True); subprocess.run(['sleep', '300'])",)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(asking.folder / "forkserver"))
        start, end = os.pipe()
        socket.send_fds(connection, [b"-"], [end, end])
        os.close(end)
        connection.sendall(pickle.dumps((*request, asking.environment, "/")))
        program = psutil.Process(int(os.read(start, 100)))
        family = [program, *soon(program.children)]
    soon(lambda: all(ended(process) for process in family))
    os.close(start)
    assert asking.output("print('still there')") == "still there\n"


def test_a_question_that_is_cut_off_ends_nothing(asking):
    asking.output("")
    for part in (b"", b"-", b"-\x80\x04no pickle"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(asking.folder / "forkserver"))
            connection.sendall(part)
    assert asking.output("print('still there')") == "still there\n"


def test_who_connects_and_asks_nothing_holds_up_others_for_a_while_only(tmp_path, monkeypatch):
    monkeypatch.setattr(_forkserver, "PATIENCE", 0.05)
    for part in (b"", b"-", b"-\x80\x04"):
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as silent:
            listener.bind(str(tmp_path / f"socket-{len(part)}"))
            listener.listen()
            silent.connect(listener.getsockname())
            silent.sendall(part)
            accepting = threading.Thread(target=_forkserver.Server(listener, -1, []).accept, daemon=True)
            accepting.start()
            accepting.join(120)
            assert not accepting.is_alive()
            assert silent.recv(1) == b""


def test_a_question_that_was_not_taken_has_run_nothing_and_a_plain_python_can_do_it(asking):
    with socket.socket(socket.AF_UNIX) as listener:  # a stand-in for a server that ends, or has lost patience
        listener.bind(str(asking.folder / "forkserver"))
        listener.listen()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(asking, "x" * 1_000_000)
            listener.accept()[0].close()
            assert asked.result(timeout=120) is None


def test_the_server_ends_with_its_parent_and_ends_what_runs(asking):
    server = asking.server()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asking, "import time; time.sleep(300)")
        soon(server.children)
        asking.end()
        with contextlib.suppress(_forkserver.LostError):
            assert running.result(timeout=120)[0] == -signal.SIGTERM
    soon(lambda: ended(server))


def test_the_server_ends_with_a_parent_that_nobody_waits_for(asking):
    server = asking.server()
    asking.parent.kill()
    soon(lambda: ended(server))
    assert asking.parent.returncode is None


def test_where_a_process_cannot_be_watched_no_server_is_left_and_nothing_was_run(asking, monkeypatch):
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))  # as Linux before 5.3 does

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert asking("open('made', 'w')") is None
    assert [path.name for path in asking.folder.iterdir()] == ["link"]


def test_what_is_asked_is_neither_in_arguments_nor_on_the_disk(asking):
    asking.output("secret = 'hunter2'; print(len(secret))")
    server = asking.server()
    assert "hunter2" not in " ".join([*server.cmdline(), *server.environ().values()])
    assert {path.name for path in asking.folder.iterdir()} == {"forkserver", "link"}
    assert (asking.folder / "forkserver").is_socket()


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
def test_only_the_controllers_own_python_and_nothing_else_is_forked(command, found):
    assert environment_of(command) == found
