# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible and cert-manager use the same namespace of Vault with any environment. A real Vault."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import hvac
import pytest
from support.plays import THIS_HOST

ROOT = Path(__file__).resolve().parents[3]
EXISTING = ROOT / "inventories" / "existing"
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - servicemesh.pki.vault_pki_issuer_info: {mount: "{{ mount }}"}
      module_defaults: {group/servicemesh.pki.vault: "{{ pki_vault }}"}
      when: mount is defined
    - ansible.builtin.import_tasks: ROOT/playbooks/tasks/read_mesh.yml
      when: ca_certificate is defined
    - ansible.builtin.assert:
        that: [pki_issuers.issuers is defined, pki_vault_ca_certificate == ca_certificate]
      when: ca_certificate is defined
    - ansible.builtin.include_vars: {file: "{{ defaults }}", name: found}
    - ansible.builtin.copy: {content: "{{ found.vault_issuer_vault_namespace }}", dest: "{{ playbook_dir }}/out"}
      vars: {vault_issuer_connection: "{{ pki_vault }}"}
"""


@pytest.fixture
def play(tmp_path):
    """A function that runs a task against Vault and returns the namespace that the role writes into the issuer."""
    (tmp_path / "play.yml").write_text(PLAY.replace("ROOT", str(ROOT)))

    def run(inventory: str, environment: dict[str, str], **variables: object) -> str:
        local = {**THIS_HOST, "defaults": str(ROOT / "roles/vault_issuer/defaults/main.yml")}
        command = ["ansible-playbook", "-i", inventory, tmp_path / "play.yml", "-e", json.dumps({**local, **variables})]
        command += ["--limit", "vault" if inventory == str(EXISTING) else "all"]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return (tmp_path / "out").read_text()

    return run


def test_inventory_does_not_depend_on_the_environment(play, server, mount):
    environment = {"VAULT_TOKEN": server.token, "VAULT_NAMESPACE": "nosuch", "VAULT_CACERT": "/nosuch/ca.pem"}
    assert play(str(EXISTING), environment, mount=mount, pki_vault_address=server.url) == ""


@pytest.mark.parametrize("kind", ["home", "relative"])
def test_path_of_the_ca_is_the_same_for_modules_and_pods(play, tls, tmp_path, kind):
    """The home directory of a test is its folder, and the playbooks run in the folder of the collection."""
    certificate = Path(tls.ca).read_text()
    (tmp_path / "vault-ca.pem").write_text(certificate)
    file = "~/vault-ca.pem" if kind == "home" else os.path.relpath(tmp_path / "vault-ca.pem", ROOT)
    hvac.Client(url=tls.url, token=tls.token, verify=tls.ca).sys.enable_secrets_engine("pki", kind)
    variables = {"pki_vault_mount": kind, "mount": kind, "pki_vault_address": tls.url, "pki_vault_ca_file": file}
    environment = {"VAULT_TOKEN": tls.token}
    assert play(str(EXISTING), environment, ca_certificate=certificate.strip(), **variables) == ""


@pytest.mark.parametrize(
    ("connection", "expected"),
    [({}, "team-mesh"), ({"namespace": ""}, ""), ({"namespace": "other"}, "other")],
)
def test_issuer_has_the_namespace_of_the_connection(play, connection, expected):
    assert play("localhost,", {"VAULT_NAMESPACE": "team-mesh"}, pki_vault=connection) == expected
