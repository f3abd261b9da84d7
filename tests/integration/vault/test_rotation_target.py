# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the new root before phase 4 of a rotation, against a real Vault."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.plays import LOCAL

ROOT = Path(__file__).resolve().parents[3]
ALL = ["read-only", "issuing-certificates", "crl-signing", "ocsp-signing"]
RETIRED = ["read-only", "crl-signing", "ocsp-signing"]


def check(server, folder: Path, mount: str, token: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **LOCAL,
        "pki_vault": {"url": server.url, "token": token},
        "pki_vault_mount": mount,
        "rotation_target": "one",
    }
    tasks = [{"ansible.builtin.import_tasks": str(ROOT / "playbooks/tasks/rotate/usage.yml")}]
    (folder / "play.json").write_text(json.dumps([{"hosts": "vault", "gather_facts": False, "tasks": tasks}]))
    (folder / "hosts.json").write_text(json.dumps({"vault": {"hosts": {"vault-host": variables}}}))
    program = str(Path(sys.executable).parent / "ansible-playbook")
    command = [program, "-i", str(folder / "hosts.json"), str(folder / "play.json")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("usage", "can_sign"), [(ALL, True), (RETIRED, False)])
def test_a_retired_root_is_refused_before_phase_4(run, roots, server, tmp_path, usage, can_sign):
    run.ok("vault_pki_issuer", mount=roots, issuer_name="one", usage=usage)
    done = check(server, tmp_path, roots, server.token)
    assert (done.returncode == 0) is can_sign, done.stdout + done.stderr
    assert "changed=0" in done.stdout and ("issuing-certificates" in done.stdout) is not can_sign


def test_a_login_without_permission_to_read_the_usage_continues(roots, server, tmp_path):
    """Vault then refuses to sign."""
    done = check(server, tmp_path, roots, server.token_for('path "none" { capabilities = ["read"] }'))
    assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout + done.stderr
