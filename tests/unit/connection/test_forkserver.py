# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program runs in a fork of the server as in a new Python that a shell starts, which is the oracle."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from forkserver_client import Client, soon

from ansible_collections.servicemesh.pki.plugins.connection.forkserver import assigned_environment

ROOT = Path(__file__).resolve().parents[3]
MEASURED = "COVERAGE_PROCESS_CONFIG"
UNLIKE = [MEASURED, "_", "OLDPWD", "SHLVL"]  # variables of the environment that a shell or the tests set
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
    "environment": "import os; print(sorted({**os.environ, **dict.fromkeys(UNLIKE, '')}.items()))".replace(
        "UNLIKE", str(UNLIKE)
    ),
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
    """The oracle. Its coverage is not measured, because that can change how a program ends."""
    environment = {name: value for name, value in client.environment.items() if name != MEASURED}
    return subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable}"], input=program.encode(), capture_output=True, check=False,
        cwd=client.folder, start_new_session=True, env=environment,
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
