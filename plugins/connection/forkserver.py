# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: forkserver
short_description: Run modules on the controller in forks of one Python process
version_added: 0.3.0
description:
  - Runs tasks on the controller, as P(ansible.builtin.local#connection) does, and takes the same options.
  - With V(local), every task starts a Python process that loads its libraries, which takes 0.5 to 1 s of processor time
    for the client library of Kubernetes. With this connection, the first task of a run starts one process that loads
    the libraries once. It forks for each module, and ends with the run.
  - It changes how Ansible starts Python. Use it where many tasks run on the controller, such as for many clusters, and
    V(local) otherwise.
  - No module runs in that process itself, so no task sees the state of another one. Arguments go through memory and a
    socket in Ansible's own temporary folder, which only this user can enter. Results, check mode, diff and messages are
    the same as with V(local).
  - A task that cannot run in such a fork runs as with V(local). These are tasks with another environment than the first
    one of the run, with another Python than the controller's own, with another shell than C(/bin/sh), with C(become) or
    C(async), and all tasks on systems other than Linux 5.3 and later. C(-vvv) shows C(FORK) or C(EXEC).
  - Two things differ from V(local). Your own file in C(module_utils) does not replace one of Ansible's that is
    loaded already. A library that a task upgrades is used from the next run on.
notes:
  - The process needs about 90 MiB of memory once, and every module needs less.
  - Set the same C(environment) for all plays and hosts, because libraries read it when they are loaded.
author:
  - The servicemesh.pki authors (@servicemesh)
options:
  libraries:
    description:
      - Python modules to load once, in this order. One that cannot be loaded is skipped.
      - The first task does not wait for all of them.
    type: list
    elements: str
    default:
      - ansible.module_utils.basic
      - docker
      - ansible.module_utils.urls
      - hvac
      - cryptography.x509
      - kubernetes.dynamic
      - jsonpatch
    vars:
      - name: ansible_forkserver_libraries
  pipelining:
    description:
      - Whether Ansible sends modules through a pipe. Otherwise it writes them to files, with their arguments, and all
        tasks run as with V(local).
    type: bool
    default: true
    env:
      - name: ANSIBLE_PIPELINING
    ini:
      - section: connection
        key: pipelining
      - section: defaults
        key: pipelining
    vars:
      - name: ansible_pipelining
  become_success_timeout:
    description: Seconds that C(become) may take. Applies to tasks that run as with V(local).
    type: int
    default: 10
    vars:
      - name: ansible_local_become_success_timeout
  become_strip_preamble:
    description: Whether to strip the output of C(become) itself. Applies to tasks that run as with V(local).
    type: bool
    default: true
    vars:
      - name: ansible_local_become_strip_preamble
"""

EXAMPLES = r"""
# An inventory whose hosts are APIs, so that all tasks run on the controller.
all:
  vars:
    ansible_connection: servicemesh.pki.forkserver
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  children:
    clusters:
      hosts:
        production:
"""

import os
import re
import shlex
import sys

import ansible.constants as C  # noqa: N812 Ansible's own name for it
from ansible.errors import AnsibleError
from ansible.plugins.connection import ensure_connect
from ansible.plugins.connection.local import Connection as LocalConnection
from ansible.utils.display import Display

from ansible_collections.servicemesh.pki.plugins.plugin_utils._forkserver import client
from ansible_collections.servicemesh.pki.plugins.plugin_utils._forkserver.server import Request

display = Display()
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
SERVER_LOST = (
    "The forkserver process ended or stopped responding while this task ran, so the outcome of the task is unknown. "
    "Run the playbook again, or set ansible_connection to local. If memory ran out, `dmesg` shows it."
)


def assigned_environment(command: str) -> dict[str, str] | None:
    """The variables that a command sets before it starts the controller's own Python; None for any other command."""
    try:
        *shell, inner = shlex.split(command)
        parts = shlex.split(inner)
    except ValueError:
        return None
    if parts[-3:] == ["&&", "sleep", "0"]:  # appended by ansible-core before 2.21
        del parts[-3:]
    # Another shell may be a wrapper that changes what Python finds.
    if shell != ["/bin/sh", "-c"] or parts[-1:] != [sys.executable]:
        return None
    matches = [ASSIGNMENT.fullmatch(part) for part in parts[:-1]]
    return {match[1]: match[2] for match in matches if match} if all(matches) else None


def is_supported() -> bool:
    return hasattr(os, "pidfd_open") and hasattr(os, "memfd_create")


class Connection(LocalConnection):
    """A local connection. `transport` remains `local`, which other collections compare."""

    @ensure_connect
    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a module in a fork, and any other command as a local connection does."""
        assigned = assigned_environment(cmd) if in_data and is_supported() else None
        if assigned is not None:
            result = self._run_in_fork(cmd, in_data, assigned)
            if result:
                return result
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)

    def _run_in_fork(self, cmd: str, program: bytes, assigned: dict[str, str]) -> tuple[int, bytes, bytes] | None:
        # Ansible sets the playbook's folder, as for any connection whose transport is local.
        cwd = os.fsdecode(self.cwd) if self.cwd else os.getcwd()
        request = Request(program, {**os.environ, **assigned}, cwd)
        run = os.getppid()  # a worker is a child of the main process of the run

        def log() -> None:
            display.vvv(f"FORK {cmd}", host=self._play_context.remote_addr)

        try:
            return client.run_in_fork(C.DEFAULT_LOCAL_TMP, request, self.get_option("libraries"), run, log)
        except (client.ServerLostError, OSError) as error:
            raise AnsibleError(SERVER_LOST) from error
