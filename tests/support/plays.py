# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays that run roles of the collection on this machine."""

from __future__ import annotations

import json

# Variables of a host on this machine, whose modules use the Python of the tests.
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


def role_play(role: str, tasks_from: str, hosts: str = "production") -> str:
    """A playbook that runs an entry point of a role."""
    task = {"ansible.builtin.include_role": {"name": f"servicemesh.pki.{role}", "tasks_from": tasks_from}}
    return json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": [task]}])
