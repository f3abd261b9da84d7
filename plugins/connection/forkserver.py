# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: forkserver
short_description: As local, with each module in a fork of one Python that has its libraries loaded
version_added: 0.3.0
description:
  - Runs tasks on the controller, as P(ansible.builtin.local#connection) does, and takes the same options.
  - With V(local) every task starts a Python that loads its libraries anew, which for one that talks to Kubernetes takes
    0.5 to 1 s of the processor. Here the first task of a run starts one process that loads the libraries once. It forks
    for each module, and ends with the run.
  - No module runs in that process itself, so no task sees what another one has left. Arguments go through a socket in
    Ansible's own temporary folder, which only this user can enter. Results, check mode, diff and messages are the
    modules' own.
  - What cannot run in such a fork runs as with V(local). These are tasks with another environment than the run's first
    one, with another Python than the controller's own, with another shell than C(/bin/sh), with C(become) or C(async),
    and all on systems other than Linux 5.3 and later. C(-vvv) tells C(FORK) or C(EXEC).
  - Two things differ, so tasks that need one of them need V(local). A file of your own in C(module_utils) does not
    replace one of Ansible's that is loaded already. And a library that a task upgrades stays as it was until the run
    ends.
notes:
  - The process needs about 90 MiB once, and every module less memory of its own.
  - Set C(environment) alike on plays and hosts. Libraries read it when they are loaded, so it has to be the same.
author:
  - The servicemesh.pki authors (@servicemesh)
options:
  libraries:
    description:
      - Python modules to load once, in this order. One that cannot be loaded is left out.
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
      - Whether modules go through a pipe. Otherwise they go through files, with their arguments, and all runs as with
        V(local).
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
    description: Seconds that C(become) may take. Used where P(ansible.builtin.local#connection) is.
    type: int
    default: 10
    vars:
      - name: ansible_local_become_success_timeout
  become_strip_preamble:
    description: Whether what C(become) itself prints is left out. Used where P(ansible.builtin.local#connection) is.
    type: bool
    default: true
    vars:
      - name: ansible_local_become_strip_preamble
"""

EXAMPLES = r"""
# An inventory whose hosts are APIs.
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

from ansible_collections.servicemesh.pki.plugins.plugin_utils import _forkserver

display = Display()
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
LOST = (
    "The process that modules are forked from has ended while this task ran, so what the task did is not known. "
    "Perhaps memory ran out, `dmesg` would say so. Run again; with ansible_connection=local no such process is needed."
)


def environment_of(command: str) -> dict[str, str] | None:
    """What a command sets before it starts the controller's own Python on its input; None: it does something else."""
    try:
        *shell, inner = shlex.split(command)
        words = shlex.split(inner)
    except ValueError:
        return None
    if words[-3:] == ["&&", "sleep", "0"]:  # ansible-core before 2.21 appends it
        del words[-3:]
    # Another shell may be a wrapper, which changes what Python finds.
    if shell != ["/bin/sh", "-c"] or words[-1:] != [sys.executable]:
        return None
    found = [ASSIGNMENT.fullmatch(word) for word in words[:-1]]
    return {match[1]: match[2] for match in found if match} if all(found) else None


class Connection(LocalConnection):
    """A local connection, also in the name of its transport, which other collections ask for."""

    @ensure_connect
    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Runs a module in a fork, and any other command as a local connection does."""
        given = environment_of(cmd) if in_data and hasattr(os, "pidfd_open") else None
        if given is not None:
            # Ansible sets the playbook's folder, as for any connection whose transport is local.
            cwd = os.fsdecode(self.cwd) if self.cwd else os.getcwd()
            request = _forkserver.Request(in_data, {**os.environ, **given}, cwd)
            libraries, run = self.get_option("libraries"), os.getppid()  # a worker is a child of the run's main process

            def tell() -> None:
                display.vvv(f"FORK {cmd}", host=self._play_context.remote_addr)

            try:
                done = _forkserver.ask(C.DEFAULT_LOCAL_TMP, request, libraries, run, tell)
            except (_forkserver.LostError, OSError) as error:
                raise AnsibleError(LOST) from error
            if done:
                return done
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
