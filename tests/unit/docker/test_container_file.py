# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What container_file makes of a file once it has it; tests/lab reads from real containers."""

from __future__ import annotations

import contextlib
import io
import stat

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible.modules import file as ansible_file

from ansible_collections.servicemesh.pki.plugins.modules import container_file


class StandInClient:
    """Stands in for Docker's client: the module's options are real, no engine is asked."""

    def __init__(self, **options):
        self.module = AnsibleModule(**options)


@pytest.fixture(autouse=True)
def no_engine(monkeypatch):
    monkeypatch.setattr(container_file, "AnsibleDockerClient", StandInClient)
    monkeypatch.setattr(container_file, "fetch", lambda client, container, path: "text\n")


def mode_of(path):
    return oct(stat.S_IMODE(path.stat().st_mode))


@pytest.mark.parametrize("written", ["0644", "'0644'", "0o600", "'600'", "384", "u=rw,g=r,o="])
def test_the_mode_is_read_as_ansible_reads_it(ok, tmp_path, written):
    """As in ansible.builtin.file: YAML makes a number of 0644, and a number is the mode itself."""
    mode = yaml.safe_load(f"mode: {written}")["mode"]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.write_text("text\n")
    arguments = {"path": str(theirs), "mode": mode}
    with patch_module_args(arguments), contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit):
        ansible_file.main()
    options = {"container": "c", "path": "/f", "dest": str(ours), "mode": mode}
    assert ok("container_file", **options)["changed"]
    assert mode_of(ours) == mode_of(theirs)
    assert not ok("container_file", **options)["changed"]


def test_the_mode_is_0644_unless_told_otherwise(ok, tmp_path):
    ok("container_file", container="c", path="/f", dest=str(tmp_path / "f"))
    assert mode_of(tmp_path / "f") == "0o644"
