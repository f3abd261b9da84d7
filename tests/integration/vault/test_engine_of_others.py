# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vault_pki does not change a PKI engine that others use. A real Vault, and runs of ansible-playbook."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.plays import THIS_HOST

ROOT = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: v
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: servicemesh.pki.vault_pki, tasks_from: preflight}
    - ansible.builtin.copy:
        content: "{{ vault_pki_preflight | servicemesh.pki.preflight_vault('v') | map(attribute='code') | to_json }}"
        dest: "{{ playbook_dir }}/codes.json"
      check_mode: false
      changed_when: false
    - ansible.builtin.include_role: {name: servicemesh.pki.vault_pki}
"""
CN = "root.linkerd.cluster.local"
URLS = {"issuing_certificates": ["http://run.test/ca"]}
THEIRS = {"issuing_certificates": ["http://corp.test/ca"], "crl_distribution_points": [], "ocsp_servers": []}


class Play:
    def __init__(self, folder: Path, server, mount: str) -> None:
        self.folder, self.server, self.mount = folder, server, mount
        (folder / "play.yml").write_text(PLAY)
        variables = {
            **THIS_HOST, "pki_vault": {"url": server.url}, "pki_vault_mount": mount, "vault_pki_urls": URLS,
            "vault_pki_max_lease_ttl": "9000h", "vault_pki_root_ttl": "9000h", "vault_pki_root_minimum_remaining": "",
        }  # fmt: skip
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {"v": variables}}}))

    def __call__(self, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", "-i", self.folder / "hosts.json", self.folder / "play.yml", *arguments]
        environment = {**os.environ, "VAULT_TOKEN": self.server.token}
        return subprocess.run(
            [*command, "-e", json.dumps(variables)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def ok(self, *arguments: str, **variables: object) -> str:
        done = self(*arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *texts: str, **variables: object) -> None:
        """The run fails and names the texts, and so does its check mode."""
        for arguments in (("--check",), ()):
            done = self(*arguments, **variables)
            assert done.returncode != 0, done.stdout
            flat = " ".join(done.stdout.split())
            assert [text for text in texts if text not in flat] == [], done.stdout
            assert "changed=0" in done.stdout

    @property
    def codes(self) -> list[str]:
        return json.loads((self.folder / "codes.json").read_text())

    @property
    def names(self) -> set[str]:
        found = self.server.client.list(f"{self.mount}/issuers")["data"]["key_info"].values()
        return {one["issuer_name"] for one in found}

    @property
    def settings(self) -> tuple[dict, int]:
        urls = self.server.client.read(f"{self.mount}/config/urls")["data"]
        tuned = self.server.client.sys.read_mount_configuration(self.mount)["data"]
        return {name: urls[name] for name in THEIRS}, tuned["max_lease_ttl"] // 3600


@pytest.fixture
def play(tmp_path, server, path):
    return Play(tmp_path, server, path)


@pytest.fixture
def theirs(play, run):
    """A function that creates an engine of others with an issuer."""

    def create(name: str, common_name: str) -> None:
        play.server.client.sys.enable_secrets_engine("pki", play.mount, config={"max_lease_ttl": "2160h"})
        play.server.client.write_data(f"{play.mount}/config/urls", data={"issuing_certificates": "http://corp.test/ca"})
        add(name, common_name)

    def add(name: str, common_name: str) -> None:
        data = {"common_name": common_name, "key_type": "ec", "ttl": "2000h", "max_path_length": 1}
        data |= {"issuer_name": name} if name else {}
        play.server.client.write_data(f"{play.mount}/root/generate/internal", data=data)

    create.add = add
    return create


@pytest.mark.parametrize("name", ["corp", ""])
def test_engine_of_others_is_not_changed(play, theirs, name):
    theirs(name, "Company Root")
    play.refused("[vault_mount_in_use]", name or "one without a name", f"'Vault engine {play.mount}'")
    assert play.codes == ["vault_mount_in_use"]
    assert (play.settings, play.names) == ((THEIRS, 2160), {name})
    play.ok(pki_take_over=[f"Vault engine {play.mount}"])
    assert (play.settings[1], play.names) == (9000, {name, "linkerd-root-1"})


def test_root_that_does_not_match_leaves_the_engine_unchanged(play, theirs):
    theirs("corp", "Company Root")
    play.refused("common_name", "Company Root", CN, pki_root_issuer_name="corp")
    assert (play.codes, play.settings) == ([], (THEIRS, 2160))


def test_root_of_others_that_is_alone_in_its_engine(play, theirs):
    """The message of vault_mount_in_use recommends to name it."""
    theirs("company-root", "Company Root")
    options = {
        "pki_root_issuer_name": "company-root", "vault_pki_root_common_name": "Company Root",
        "vault_pki_root_ttl": "2000h",
    }  # fmt: skip
    done = play.ok(**options)
    assert "changed=0" in done and "(company-root)" in done and play.settings == (THEIRS, 2160)
    absent = {**options, "vault_pki_state": "absent", "vault_pki_destroy_root": True}
    play.refused("(company-root)", "not disabled", **absent)
    assert (play.codes, play.names) == ([], {"company-root"})
    play.ok(**options, pki_take_over=[f"Vault engine {play.mount}"])
    assert play.settings[1] == 9000 and play.settings[0]["issuing_certificates"] == URLS["issuing_certificates"]


def test_root_that_exists_in_an_engine_with_other_issuers(play, theirs):
    theirs("corp", "Company Root")
    theirs.add("mesh", "Mesh Root")
    options = {
        "pki_root_issuer_name": "mesh", "vault_pki_root_common_name": "Mesh Root", "vault_pki_root_ttl": "2000h",
    }  # fmt: skip
    done = play.ok(**options)
    assert "changed=0" in done and "(corp, mesh)" in done and play.settings == (THEIRS, 2160)
    play.ok(**options, pki_take_over=[f"Vault engine {play.mount}"])
    assert play.settings[1] == 9000 and play.settings[0]["issuing_certificates"] == URLS["issuing_certificates"]


def test_new_root_in_an_engine_with_other_issuers(play, theirs):
    """The engine has a root of a mesh, too. A rotation creates the next one with the same role."""
    theirs("corp", "Company Root")
    theirs.add("linkerd-root-1", CN)
    config = f"{play.mount}/config/issuers"
    play.server.client.write_data(config, data={"default": "corp", "default_follows_latest_issuer": True})
    before = play.server.client.read(config)["data"]
    new = {"pki_root_issuer_name": "linkerd-root-2", "vault_pki_root_ttl": "2000h"}
    for arguments in (("--check",), ()):
        done = play.ok(*arguments, **new)
        assert "changed=1" in done and "(corp)" in done and play.settings == (THEIRS, 2160)
    assert "changed=0" in play.ok(**new)
    assert (play.codes, play.names) == ([], {"corp", "linkerd-root-1", "linkerd-root-2"})
    assert play.server.client.read(config)["data"] == before, "the roles of others sign with another issuer"
    play.refused("90d", "375d", **{**new, "pki_root_issuer_name": "linkerd-root-3", "vault_pki_root_ttl": "9000h"})
    play.ok(**new, pki_take_over=[f"Vault engine {play.mount}"])
    assert play.settings[1] == 9000


def test_issuers_that_a_mesh_trusts_are_not_those_of_others(play, theirs):
    theirs("mesh", "Mesh Root")
    (issuer,) = play.server.client.list(f"{play.mount}/issuers")["data"]["keys"]
    pem = play.server.client.read(f"{play.mount}/issuer/{issuer}")["data"]["certificate"]
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    shown = subprocess.run(command, input=pem, capture_output=True, text=True, check=True).stdout
    fingerprint = shown.strip().partition("=")[2].replace(":", "").lower()
    trusted = {"pki_root_issuer_name": "mesh-2", "vault_pki_trusted_roots": [fingerprint]}
    theirs.add("corp", "Company Root")
    play.ok(**trusted, vault_pki_root_ttl="2000h")
    assert (play.codes, play.names, play.settings) == ([], {"mesh", "mesh-2", "corp"}, (THEIRS, 2160))


def test_own_engine_from_nothing_to_a_second_root(play):
    assert re.search(f"Check mode: .*engine at {play.mount}", play.ok("--check"))
    play.ok()
    assert "changed=0" in play.ok()
    more = {"pki_root_issuer_name": "another", "vault_pki_urls": {"issuing_certificates": ["http://new.test/ca"]}}
    play.ok("--check", **more)
    play.ok(**more)
    assert "changed=0" in play.ok(**more)
    assert play.names == {"linkerd-root-1", "another"}
    assert play.settings[0]["issuing_certificates"] == ["http://new.test/ca"]
    play.ok(pki_root_issuer_name="third", vault_pki_root_common_name="Another Name")
    assert play.names == {"linkerd-root-1", "another", "third"}


def test_engine_without_issuers_is_used(play, server):
    """Its maximum TTL is that of the server, 768 hours, until the run raises it."""
    server.client.sys.enable_secrets_engine("pki", play.mount)
    assert re.search(f"Check mode: .*engine at {play.mount}", play.ok("--check"))
    play.ok()
    assert play.names == {"linkerd-root-1"}
    assert "changed=0" in play.ok()


def test_limit_that_the_run_does_not_raise_fails_in_check_mode(play, theirs):
    theirs("linkerd-root-1", CN)
    theirs.add("corp", "Company Root")
    play.refused("90d", "375d", pki_root_issuer_name="linkerd-root-2")


def test_teardown_does_not_destroy_issuers_of_others(play, theirs):
    play.ok()
    theirs.add("corp", "Company Root")
    absent = {"vault_pki_state": "absent", "vault_pki_destroy_root": True}
    play.refused("(corp)", "not disabled", **absent)
    assert play.names == {"linkerd-root-1", "corp"}
    play.ok(**absent, pki_take_over=[f"Vault engine {play.mount}"])
    assert "changed=0" in play.ok(**absent)


# Path of a policy, with the engine for {}, and whether it permits signing with it.
PATHS = {
    "{}/issuer/linkerd-root-2/sign-intermediate": True,
    "{}/sign/linkerd": True,
    "{}/issue/web": True,
    "{}/sign*": True,
    "{}/issuer/linkerd-root-2/*": True,
    "/{}/sign/linkerd": True,
    "{}/*": False,  # of an administrator
    "{}/issuer/linkerd-root-2/json": False,
    "{}/roles/sign-not": False,
    "other-{}/sign/linkerd": False,
}


@pytest.fixture
def policies(play):
    """Policies of others with these paths, by name."""
    found = {f"policy-{number}": path for number, path in enumerate(PATHS)}
    for name, path in found.items():
        rule = f'path "{path.format(play.mount)}" {{ capabilities = ["update"] }}'
        play.server.client.sys.create_or_update_policy(name, rule)
    yield found
    for name in found:
        play.server.client.sys.delete_policy(name)


def test_teardown_does_not_destroy_a_root_that_others_sign_with(play, policies):
    """A second mesh in the same engine has a root with the same CN, so only its policy shows it."""
    play.ok()
    absent = {"vault_pki_state": "absent", "vault_pki_destroy_root": True}
    signing = [name for name, path in policies.items() if PATHS[path]]
    play.refused(f": {', '.join(signing)}. ", "not disabled", **absent)
    assert play.names == {"linkerd-root-1"}
    for name in signing[1:]:
        play.server.client.sys.delete_policy(name)
    # In check mode, the policies that the teardown removes still exist.
    play.ok("--check", **absent, __vault_issuer_removed_policy=signing[0])
    play.refused(f": {signing[0]}. ", **absent)
    play.ok(**absent, pki_take_over=[f"Vault engine {play.mount}"])
    assert f"{play.mount}/" not in play.server.client.sys.list_mounted_secrets_engines()["data"]


def test_key_of_a_new_root_that_linkerd_check_refuses(play):
    play("--check", vault_pki_root_key_type="rsa", vault_pki_root_key_bits=3072)
    assert play.codes == ["anchor_algorithm"]
    refused = play("--check", vault_pki_root_key_type="ed25519", vault_pki_root_key_bits=0)
    assert refused.returncode != 0 and "value of vault_pki_root_key_type must be one of: ec, rsa" in refused.stdout


@pytest.mark.parametrize("bits", [0, -1, 1024])
def test_size_of_no_key_is_refused_before_the_engine_is_created(play, bits):
    play.refused("value of vault_pki_root_key_bits must be one of: 224, 256", vault_pki_root_key_bits=bits)
    assert f"{play.mount}/" not in play.server.client.sys.list_mounted_secrets_engines()["data"]
