# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook runs with the connection forkserver as with Ansible's own local, which is the oracle."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]
OWN = """
import os, signal, time
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.own_utils import VALUE
def main():
    module = AnsibleModule(dict(how=dict(default="well"), secret=dict(no_log=True)), supports_check_mode=True)
    module.warn("own warning")
    if module.params["how"] == "crash":
        raise RuntimeError("own crash")
    if module.params["how"] == "kill":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1)
    if module.params["how"] == "fail":
        module.fail_json(msg=f"failed with {module.params['secret']}")
    module.exit_json(
        changed=True, value=VALUE, folder=[os.getcwd(), os.environ["PWD"]], check=module.check_mode,
        diff={"before": "1\\n", "after": "2\\n"},
    )
main()
"""
PLAY = """
- hosts: all
  gather_facts: false
  environment: {MARK: two words}
  tasks:
    - own: {secret: "{{ lookup('env', 'OWN_SECRET') }}"}
    - own: {how: fail, secret: "{{ lookup('env', 'OWN_SECRET') }}"}
      ignore_errors: true
    - own: {how: crash}
      ignore_errors: true
    - command: sh -c 'echo $MARK; pwd; cat; exit 4'
      failed_when: false
    - command: sh -c 'echo $MARK'
      environment: {MARK: another}
    - command: sh -c 'echo $MARK'
      async: 600
      poll: 1
    - command: sh -c 'echo $FROM_WRAPPER'
      vars: {ansible_shell_executable: "{{ playbook_dir }}/wrapper"}
    - copy: {content: "new\\n", dest: made.txt, mode: "0600"}
    - command: {cmd: sh -c 'pwd; echo $PWD', chdir: below}
    - command: {cmd: echo made, creates: made.txt}
    - command: printf %s {{ item }}
      loop: [one, two]
      register: both
    - assert: {that: "both.results | map(attribute='stdout') == ['one', 'two']"}
      when: not ansible_check_mode
    - own: {secret: "{{ lookup('env', 'OWN_SECRET') }}"}
      no_log: true
    - raw: echo as it is
"""


@pytest.fixture
def project(tmp_path: Path, measured: dict[str, str]) -> Path:
    """The playbook is not in the folder that the run starts in, because modules run in the playbook's."""
    (tmp_path / "plays/below").mkdir(parents=True)
    for name, content in {"library/own.py": OWN, "module_utils/own_utils.py": "VALUE = 'own utils'\n"}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    (tmp_path / "plays/play.yml").write_text(PLAY)
    (tmp_path / "plays/wrapper").write_text('#!/bin/sh\nexport FROM_WRAPPER=yes\nexec /bin/sh "$@"\n')
    (tmp_path / "plays/wrapper").chmod(0o755)
    (tmp_path / "measured.json").write_text(json.dumps(measured))
    (tmp_path / "inventory.yml").write_text(
        "all: {hosts: {here: {}}, vars: {ansible_python_interpreter: '{{ ansible_playbook_python }}'}}\n"
    )
    return tmp_path


def command(project: Path, connection: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    program = Path(sys.executable).parent / "ansible-playbook"
    env = {
        **os.environ,
        "ANSIBLE_NOCOLOR": "1",
        "OWN_SECRET": "hunter2",
        "OWN_RUN": str(project),
        "ANSIBLE_LIBRARY": "library",
        "ANSIBLE_MODULE_UTILS": "module_utils",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
    }
    env |= json.loads((project / "measured.json").read_text())
    given = ["plays/play.yml", "-i", "inventory.yml", "-e", f"ansible_connection={connection}", *arguments]
    return [str(program), *given], env


def play(project: Path, connection: str, *arguments: str) -> str:
    arguments, env = command(project, connection, *arguments)
    (project / "plays/made.txt").unlink(missing_ok=True)
    done = subprocess.run(arguments, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def normalized(output: str) -> str:
    """Without times, random numbers and names, and without the number of polls of a slow task."""
    output = re.sub(r"^ASYNC POLL on .*\n", "", output, flags=re.MULTILINE)
    output = re.sub(
        r"\d+:\d\d:\d\d\.\d+|\d{4}-\d\d-\d\d \S+|\bj?\d+\.\d+\b|_payload_\w+|tmp\w{8}|-\d+-\d+\b", "-", output
    )
    return re.sub(r"source: .*|ansible-local-\S+", "-", output)


@pytest.mark.parametrize("arguments", [("--check", "--diff"), ("--diff", "-v")])
def test_output_equals_that_of_local(project, arguments):
    plain, forked = (play(project, name, *arguments) for name in ("local", "servicemesh.pki.forkserver"))
    assert normalized(forked) == normalized(plain)
    assert "hunter2" not in forked
    assert "own crash" in forked


def test_number_of_polls_is_ignored():
    polled = "ASYNC POLL on here: jid=j12.34 started=1 finished=0\n"
    output = "TASK [command]\nASYNC OK on here: jid=j12.34\nchanged: [here]\n"
    assert normalized(polled + output) == normalized(polled * 3 + output) == normalized(output)
    assert normalized(output.replace("changed", "ok")) != normalized(output)


def test_modules_run_in_forks_except_those_that_cannot(project):
    output = play(project, "servicemesh.pki.forkserver", "-vvv")
    assert "hunter2" not in output
    forks = [line for line in output.splitlines() if "> FORK " in line]
    assert len(forks) >= 8  # four of own, two of command, two of a loop, and those of copy
    assert all("two words" in line for line in forks)
    started = [line for line in output.splitlines() if "> EXEC " in line and sys.executable in line]
    assert [line for line in started if "two words" in line and "wrapper" not in line] == []
    assert [line for line in started if "MARK=another" in line]


def test_fork_is_logged_before_its_module_ends(project):
    (project / "plays/play.yml").write_text(
        "- {hosts: all, gather_facts: false, tasks: [{wait_for: {path: seen, timeout: 100}}]}\n"
    )
    arguments, env = command(project, "servicemesh.pki.forkserver", "-vvv")
    env |= {"PYTHONUNBUFFERED": "1"}  # Ansible does not flush what it prints
    with subprocess.Popen(arguments, cwd=project, env=env, stdout=subprocess.PIPE, text=True) as run:
        output = []
        for line in run.stdout:
            output.append(line)
            if "> FORK " in line:
                (project / "plays/seen").touch()
    assert run.returncode == 0, "".join(output)


def test_lost_server_fails_only_the_running_task(project):
    (project / "plays/play.yml").write_text(
        "- {hosts: all, gather_facts: false, tasks: [{own: {how: kill}, ignore_errors: true}, {own: {}}]}\n"
    )
    output = play(project, "servicemesh.pki.forkserver", "-vvv")
    assert "ansible_connection" in output
    assert re.search(r"ok=2 +changed=1 .* ignored=1", output)


def test_interrupted_run_leaves_no_process(project):
    (project / "plays/play.yml").write_text("- {hosts: all, gather_facts: false, tasks: [{command: sleep 298.5}]}\n")
    arguments, env = command(project, "servicemesh.pki.forkserver")
    # A shell starts jobs in the background with SIGINT ignored, and programs inherit that.
    arguments = ["env", "--default-signal=INT", *arguments]
    run = subprocess.Popen(arguments, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def left() -> str:
        """The command lines of the processes that the run has started, found by their environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # it ended meanwhile
                if process.environ().get("OWN_RUN") == str(project) and process.pid != run.pid:
                    found.append(" ".join(process.cmdline()))
        return "\n".join(found)

    def until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end, left()
            time.sleep(0.1)

    until(lambda: "sleep 298.5" in left() and "_forkserver/server.py" in left())
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=120)
    until(lambda: not left())
