# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks with variables of other types and values than the defaults."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from support.plays import THIS_HOST
from support.templates import trusted

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("defaults", "vars")
CONTENT = {"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": []}


def play(
    folder: Path, path: Path, *arguments: str, berlin: dict | None = None, vault: dict | None = None, **variables
) -> subprocess.CompletedProcess:
    """Run a playbook with variables of all hosts, of Vault, and of one cluster."""
    hosts = {"vault": {"hosts": {"v": vault or {}}}, "clusters": {"hosts": {"berlin": berlin or {}}}}
    given = {**THIS_HOST, **variables}
    (folder / "hosts.json").write_text(json.dumps({"all": {"children": hosts, "vars": given}}))
    command = ["ansible-playbook", path, "-i", folder / "hosts.json", *arguments]
    environment = {**os.environ, "KUBECONFIG": str(folder / "none")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("kubeconfig", [CONTENT, "/nonexistent", None])
def test_check_mode_accepts_the_content_of_a_kubeconfig(tmp_path, kubeconfig):
    tasks = [
        {"ansible.builtin.import_tasks": str(ROOT / "playbooks/tasks/existing_cluster.yml")},
        {"ansible.builtin.debug": {"msg": "the cluster exists"}},
    ]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "clusters", "gather_facts": False, "tasks": tasks}]))
    variables = {"pki_kubernetes": {"kubeconfig": kubeconfig} if kubeconfig else {}, "pki_vault_is_ready": True}
    done = play(tmp_path, tmp_path / "play.yml", "--check", **variables)
    assert done.returncode == 0, done.stdout
    assert ("the cluster exists" in done.stdout) == (kubeconfig != "/nonexistent")


def test_the_preflight_checks_accept_the_content_of_a_kubeconfig():
    [block] = yaml.safe_load((ROOT / "playbooks/tasks/check_cluster.yml").read_text())
    for kubeconfig, expected in ((CONTENT, True), ("/nonexistent", False), ("/", True)):
        given = {**trusted(block["vars"]), "pki_kubernetes": {"kubeconfig": kubeconfig}}
        assert Templar(DataLoader(), variables=given).template(trusted("{{ has_kubeconfig }}")) is expected


def test_the_preflight_checks_get_the_codes_that_verify_allows():
    defaults, variables = (yaml.safe_load((ROOT / f"roles/preflight/{part}/main.yml").read_text()) for part in PARTS)
    given = {**trusted(defaults), **trusted(variables), "preflight_requested": {}}
    for allowed in ({}, {"pki_verify_allowed": ["anchor_not_a_root"]}):
        templar = Templar(DataLoader(), variables={**given, **allowed})
        request = templar.template(trusted("{{ __preflight_request }}"))
        assert request["verify_allowed"] == allowed.get("pki_verify_allowed", [])


@pytest.mark.parametrize(("read", "mounts", "expected"), [
    ({}, {}, "pki"),
    ({}, {"pki_vault_mount": "/int/"}, "int"),
    ({"vault_pki_preflight": {"mount": "company"}}, {"pki_vault_mount": "int"}, "company"),  # vault_pki_mount
    ({"vault_pki_preflight": {}}, {"pki_vault_mount": "int"}, "int"),
])  # fmt: skip
@pytest.mark.parametrize("groups", [{"vault": ["v"]}, {"vault": []}, {}])
def test_the_mount_of_the_root_is_the_one_that_was_read(groups, read, mounts, expected):
    variables = yaml.safe_load((ROOT / "roles/vault_issuer/vars/main.yml").read_text())
    hosts = {"v": read, "berlin": {} if groups.get("vault") else read}
    given = {**trusted(variables), **mounts, "groups": groups, "hostvars": hosts, "inventory_hostname": "berlin"}
    templar = Templar(DataLoader(), variables=given)
    assert templar.template(trusted("{{ __vault_issuer_root_mount }}")) == expected


def verify(folder: Path, **variables) -> subprocess.CompletedProcess:
    """Run verify.yml without anything that responds."""
    given = {
        "linkerd_cli": "no-such-linkerd", "pki_vault_address": "http://127.0.0.1:1", "pki_report_dir": str(folder),
        "pki_kubernetes": {"kubeconfig": str(folder / "none")}, "pki_verify_fail": False,
    }  # fmt: skip
    merged = {name: value for name, value in {**given, **variables}.items() if value is not None}
    return play(folder, ROOT / "playbooks/verify.yml", **merged)


@pytest.mark.parametrize("check", [True, False])
def test_the_verification_omits_linkerd_check(tmp_path, check):
    done = verify(tmp_path, linkerd_check=check)
    assert done.returncode == 0, done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert ("linkerd_check" in {one["code"] for one in report["disagreements"]}) is check


@pytest.mark.parametrize(
    ("name", "value"), [("pki_verify_intermediate_min_days", 30), ("pki_verify_allowed", ["no_clusters"])]
)
def test_the_verification_refuses_a_variable_that_only_a_cluster_has(tmp_path, name, value):
    """The host of Vault would compare with another value."""
    done = verify(tmp_path, linkerd_check=False, berlin={name: value})
    assert done.returncode != 0 and re.search(rf"^failed: .* \(item={name}\)", done.stdout, re.MULTILINE)
    assert not (tmp_path / "report.json").exists()


def test_the_verification_accepts_a_variable_that_only_vault_has(tmp_path):
    """It compares on that host, so the value has an effect."""
    folder = tmp_path / "reports"
    done = verify(tmp_path, linkerd_check=False, pki_report_dir=None, vault={"pki_report_dir": str(folder)})
    assert done.returncode == 0, done.stdout
    assert (folder / "report.json").exists()


def test_the_renewal_omits_linkerd_check():
    [play_of_clusters] = yaml.safe_load((ROOT / "playbooks/renew_issuer.yml").read_text())
    [task] = [one for one in play_of_clusters["tasks"] if one["name"] == "Run linkerd check"]
    for given, expected in (({}, True), ({"linkerd_check": False}, False), ({"linkerd_check": "false"}, False)):
        templar = Templar(DataLoader(), variables={"ansible_check_mode": False, **given})
        assert templar.template(trusted("{{ " + task["when"] + " }}")) is expected
