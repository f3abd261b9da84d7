# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vault_dev with TLS, checked with curl."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.mesh import Mesh

PLAY = """
- hosts: vault
  gather_facts: false
  environment: "{{ pki_environment }}"
  tasks:
    - ansible.builtin.include_role: {name: servicemesh.pki.vault_dev}
    - ansible.builtin.debug: {msg: "from pods {{ vault_dev_network_address }}"}
      when: vault_dev_state | default('present') == 'present'
"""


READ = """
- hosts: vault
  gather_facts: false
  environment: "{{ pki_environment }}"
  tasks:
    - ansible.builtin.import_role: {name: servicemesh.pki.vault_dev, tasks_from: results}
      when: vault_dev_root_token is not defined
    - ansible.builtin.debug: {msg: "from pods {{ vault_dev_network_address }}, CA {{ vault_dev_ca_certificate }}"}
"""


class Vault(Mesh):
    """The Vault of a sandbox without a cluster."""

    name = "tls"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.ca, self.port = home / "config" / "ca.pem", self.names.vault_port
        (home / "play.yml").write_text(PLAY)

    def run_role(self, *arguments: str, playbook: str = "", **variables):
        given = {"vault_dev_tls": True, "vault_dev_tls_ca_file": str(self.ca), **variables}
        return self.play(playbook or str(self.home / "play.yml"), *arguments, variables=given)

    def accepts(self, name: str) -> bool:
        """Whether curl verifies the certificate for a name with the CA file that the role wrote."""
        address = f"https://{name}:{self.port}/v1/sys/health"
        host_mapping = f"{name}:{self.port}:127.0.0.1:{self.port}"
        done = subprocess.run(
            ["curl", "-sf", "--cacert", self.ca, "--connect-to", host_mapping, address],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0 and b'"sealed":false' in done.stdout


@pytest.fixture(scope="module")
def sandbox():
    with Vault.sandbox() as vault:
        yield vault


@pytest.fixture
def vault(sandbox):
    """A running Vault with TLS."""
    if not sandbox.ca.exists():
        sandbox.creation = sandbox.run_role()
        assert sandbox.creation.rc == 0, sandbox.creation.output[-3000:]
    return sandbox


def test_certificate_covers_container_name_and_loopback(vault):
    assert f"from pods https://{vault.names.vault}:8200" in vault.creation.flat
    assert vault.accepts("127.0.0.1") and vault.accepts(vault.names.vault) and vault.accepts("localhost")
    assert not vault.accepts("another-name")
    assert "PRIVATE" not in vault.ca.read_text()


def test_second_run_and_check_mode_change_nothing(vault):
    for arguments in ((), ("--check", "--diff")):
        again = vault.run_role(*arguments)
        assert (again.rc, again.changed) == (0, 0), again.output[-3000:]


def test_results_entry_point_returns_address_and_ca(vault, tmp_path):
    (tmp_path / "results.yml").write_text(READ)
    run = vault.run_role(playbook=str(tmp_path / "results.yml"))
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]
    assert f"from pods https://{vault.names.vault}:8200, CA -----BEGIN CERTIFICATE-----" in run.flat


def test_site_starts_vault_before_clusters(vault):
    run = vault.run_role("--tags", "vault_dev", playbook="playbooks/site.yml")
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]
    before, after = run.output.split("PLAY [Create the clusters on this machine]")
    task = re.compile(rf"TASK \[.*vault_dev : .* container {vault.names.vault}\]")
    assert task.search(before)
    assert not task.search(after)


def test_ca_file_is_updated_after_restart(vault):
    before = vault.ca.read_text()
    vault.run("docker", "stop", vault.names.vault)
    run = vault.run_role()
    assert run.rc == 0, run.output[-3000:]
    assert vault.ca.read_text() != before and vault.accepts(vault.names.vault)


@pytest.mark.parametrize("path", ["/tmp/vault-key.pem", "/tmp/nosuch"])
def test_only_certificates_are_read_from_container(vault, path):
    before = vault.ca.read_text()
    run = vault.run_role("-vvv", __vault_dev_tls_ca=path, vault_dev_timeout=1, vault_dev_secure_logging=True)
    assert run.rc != 0 and f"{path} of the container {vault.names.vault}" in run.flat, run.output[-2000:]
    assert "PRIVATE KEY" not in run.output
    assert vault.ca.read_text() == before


def test_missing_ca_file_is_predicted_in_check_mode_and_restored(vault, tmp_path):
    (tmp_path / "role.yml").write_text(PLAY.partition("    - ansible.builtin.debug")[0])
    written = vault.ca.read_text()
    vault.ca.unlink()
    for folder_too in (False, True):
        if folder_too:
            shutil.rmtree(vault.ca.parent)
        predicted = vault.run_role("--check", "--diff", playbook=str(tmp_path / "role.yml"))
        assert (predicted.rc, predicted.changed) == (0, 1), predicted.output[-3000:]
        assert ("BEGIN CERTIFICATE" in predicted.output) is not folder_too
        assert not vault.ca.exists()
    assert vault.run_role().rc == 0
    assert vault.ca.read_text() == written
    assert vault.ca.stat().st_mode & 0o777 == 0o644


def test_absent_removes_ca_file(vault):
    assert vault.run_role(vault_dev_state="absent").rc == 0
    assert not vault.ca.exists()
    again = vault.run_role(vault_dev_state="absent")
    assert (again.rc, again.changed) == (0, 0), again.output[-3000:]
