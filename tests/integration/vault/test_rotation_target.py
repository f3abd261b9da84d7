# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the new root before phase 4, and the deletion of the old root after a rotation, against a real Vault."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from guides import blocks
from support.plays import THIS_HOST

ROOT = Path(__file__).resolve().parents[3]
ALL = ["read-only", "issuing-certificates", "crl-signing", "ocsp-signing"]
RETIRED = ["read-only", "crl-signing", "ocsp-signing"]


def check(server, folder: Path, mount: str, token: str) -> subprocess.CompletedProcess[str]:
    tasks = [{"ansible.builtin.import_tasks": str(ROOT / "playbooks/tasks/rotate/usage.yml")}]
    play = json.dumps([{"hosts": "vault", "gather_facts": False, "tasks": tasks}])
    return run_play(server, folder, mount, token, play)


def run_play(server, folder: Path, mount: str, token: str, play: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **THIS_HOST,
        "pki_vault": {"url": server.url, "token": token},
        "pki_vault_mount": mount,
        "rotation_target": "one",
    }
    (folder / "play.json").write_text(play)
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


def test_the_guide_deletes_the_old_root_when_nothing_below_it_is_valid(run, mount, server, tmp_path):
    """The old root is the first of the engine, which Vault makes its default issuer."""
    for name in ("linkerd-root-1", "linkerd-root-2"):
        run.ok("vault_pki_root", mount=mount, issuer_name=name, common_name=f"{name}.test", ttl="100h")
    server.client.write(f"{mount}/roles/any", allow_any_name=True, issuer_ref="linkerd-root-1")
    issued = server.client.write(f"{mount}/issue/any", common_name="a.test", ttl="1h")["data"]
    (play,) = [one.text for one in blocks() if one.page == "docs/guides/rotation.md" and "state: absent" in one.text]
    refused = run_play(server, tmp_path, mount, server.token, play)
    assert refused.returncode != 0 and "issuer_in_use" in refused.stdout, refused.stdout
    server.client.write(f"{mount}/revoke", serial_number=issued["serial_number"])
    done = run_play(server, tmp_path, mount, server.token, play)
    assert done.returncode == 0, done.stdout + done.stderr
    left = server.client.list(f"{mount}/issuers")["data"]["key_info"]
    assert [(one["issuer_name"], one["is_default"]) for one in left.values()] == [("linkerd-root-2", True)]
    assert len(server.client.list(f"{mount}/keys")["data"]["keys"]) == 1
