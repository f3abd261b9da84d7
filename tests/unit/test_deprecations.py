# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end-to-end tests find deprecation warnings in the output of Ansible. A real module prints them here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from deprecations import deprecations

MODULE = """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(dict(texts=dict(type="list", elements="str")))
for text in module.params["texts"]:
    module.deprecate(text, version="8.0.0", collection_name="kubernetes.core")
module.exit_json()
"""
UPSTREAM = (
    "The 'status.values' return value is deprecated and will be removed in version 8.0.0. "
    "Use 'status.release_values' instead."
)
OTHER = "The option of a name so long that the warning does not fit into one line of a terminal is deprecated, at last"


def output(folder: Path, *texts: str) -> str:
    """The output of ansible-playbook for a module with these deprecation warnings."""
    (folder / "library").mkdir()
    (folder / "library/own.py").write_text(MODULE)
    task = {"own": {"texts": list(texts)}}
    (folder / "play.yml").write_text(f"- {{hosts: localhost, gather_facts: false, tasks: [{task}]}}\n")
    program = Path(sys.executable).parent / "ansible-playbook"
    env = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "false"}
    command = [str(program), "play.yml", "-e", "ansible_python_interpreter={{ ansible_playbook_python }}"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_deprecation_is_found_beside_the_unavoidable_one(tmp_path):
    found = deprecations(output(tmp_path, UPSTREAM, OTHER))
    assert [warning.startswith(OTHER) for warning in found] == [True]


@pytest.mark.parametrize("texts", [(), (UPSTREAM,)])
def test_unavoidable_deprecation_is_ignored(tmp_path, texts):
    assert deprecations(output(tmp_path, *texts)) == []
