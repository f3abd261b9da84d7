# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vault in dev mode with TLS, in a container of its own. The oracle is curl."""

from __future__ import annotations

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


KNOWN = """
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

    def keep(self, *arguments: str, playbook: str = "", **variables):
        wanted = {"vault_dev_tls": True, "vault_dev_tls_ca_file": str(self.ca), **variables}
        return self.play(playbook or str(self.home / "play.yml"), *arguments, variables=wanted)

    def answers(self, name: str) -> bool:
        """Whether the certificate is good for a name, by the CA that the role has kept."""
        address = f"https://{name}:{self.port}/v1/sys/health"
        to_here = f"{name}:{self.port}:127.0.0.1:{self.port}"
        done = subprocess.run(
            ["curl", "-sf", "--cacert", self.ca, "--connect-to", to_here, address], capture_output=True, check=False
        )
        return done.returncode == 0 and b'"sealed":false' in done.stdout


@pytest.fixture(scope="module")
def sandbox():
    with Vault.sandbox() as vault:
        yield vault


@pytest.fixture
def vault(sandbox):
    """A Vault with TLS that runs."""
    if not sandbox.ca.exists():
        sandbox.made_by = sandbox.keep()
        assert sandbox.made_by.rc == 0, sandbox.made_by.output[-3000:]
    return sandbox


def test_it_has_a_certificate_for_the_name_that_pods_use(vault):
    assert f"from pods https://{vault.names.vault}:8200" in vault.made_by.flat
    assert vault.answers("127.0.0.1") and vault.answers(vault.names.vault) and vault.answers("localhost")
    assert not vault.answers("another-name")
    assert "PRIVATE" not in vault.ca.read_text()


def test_again_and_checked_it_changes_nothing(vault):
    for arguments in ((), ("--check", "--diff")):
        again = vault.keep(*arguments)
        assert (again.rc, again.changed) == (0, 0), again.output[-3000:]


def test_another_run_knows_it_and_its_ca(vault, tmp_path):
    (tmp_path / "known.yml").write_text(KNOWN)
    run = vault.keep(playbook=str(tmp_path / "known.yml"))
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]
    assert f"from pods https://{vault.names.vault}:8200, CA -----BEGIN CERTIFICATE-----" in run.flat


def test_site_keeps_it_before_clusters_which_have_to_find_its_name(vault):
    run = vault.keep("--tags", "vault_dev", playbook="playbooks/site.yml")
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]
    before, after = run.output.split("PLAY [Create the clusters on this machine]")
    assert f"Keep the container {vault.names.vault}" in before
    assert f"Keep the container {vault.names.vault}" not in after


def test_its_ca_of_a_new_start_is_kept(vault):
    before = vault.ca.read_text()
    vault.run("docker", "stop", vault.names.vault)
    run = vault.keep()
    assert run.rc == 0, run.output[-3000:]
    assert vault.ca.read_text() != before and vault.answers(vault.names.vault)


@pytest.mark.parametrize(("path", "message"), [("/tmp/vault-key.pem", "holds none"), ("/tmp/nosuch", "/tmp/nosuch")])
def test_nothing_but_certificates_is_taken_out_of_the_container(vault, path, message):
    before = vault.ca.read_text()
    run = vault.keep("-vvv", __vault_dev_tls_ca=path, vault_dev_timeout=1, vault_dev_secure_logging=True)
    assert run.rc != 0 and message in run.flat, run.output[-2000:]
    assert "PRIVATE KEY" not in run.output
    assert vault.ca.read_text() == before


def test_a_lost_ca_file_is_predicted_then_written(vault, tmp_path):
    (tmp_path / "role.yml").write_text(PLAY.partition("    - ansible.builtin.debug")[0])
    written = vault.ca.read_text()
    vault.ca.unlink()
    for folder_too in (False, True):
        if folder_too:
            shutil.rmtree(vault.ca.parent)
        predicted = vault.keep("--check", "--diff", playbook=str(tmp_path / "role.yml"))
        assert (predicted.rc, predicted.changed) == (0, 1), predicted.output[-3000:]
        assert ("BEGIN CERTIFICATE" in predicted.output) is not folder_too
        assert not vault.ca.exists()
    assert vault.keep().rc == 0
    assert vault.ca.read_text() == written
    assert vault.ca.stat().st_mode & 0o777 == 0o644


def test_absent_takes_the_ca_too(vault):
    assert vault.keep(vault_dev_state="absent").rc == 0
    assert not vault.ca.exists()
    again = vault.keep(vault_dev_state="absent")
    assert (again.rc, again.changed) == (0, 0), again.output[-3000:]
