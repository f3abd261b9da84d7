# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of rotate_trust_anchor.yml, and its plan from what the hosts have read, in runs of ansible-playbook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.plays import THIS_HOST
from support.readings import ISSUER, NEXT, ROOT
from test_rotation_observed import SWITCHED
from test_rotation_plan import (
    BOTH,
    BUNDLE,
    FROM_GIT,
    GOOD,
    LONG_ISSUER,
    NEW_NAME,
    OLD_NAME,
    OTHER,
    STALE,
    reading,
    vault,
)

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs

COLLECTION = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: vault:clusters
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    rotation_vault: vault-host
    rotation_target: linkerd-root-2
  tasks:
    - ansible.builtin.import_tasks: ROOT/playbooks/tasks/rotate/plan.yml
    - ansible.builtin.copy: {content: "{{ rotation | to_json }}", dest: "{{ playbook_dir }}/{{ inventory_hostname }}"}
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook with the inventory in the folder."""
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(folder / "inventory.yml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=COLLECTION, check=False)


def test_the_playbook_plans_with_what_the_hosts_have_read(tmp_path):
    """Stand-ins of registered results, in an inventory in which variables refer to others."""
    results = {"linkerd_check_result": GOOD["check"], "rotation_components": {"objects": [{**BUNDLE, **FROM_GIT}]}}
    read = {"pki_certificates": reading(BOTH, LONG_ISSUER, ROOT.pem, LONG_ISSUER), **results}
    clusters = {
        "one": {**read, "pki_take_over": ["{{ bundle }}"], "bundle": "Bundle linkerd-identity-trust-roots"},
        "two": {**read, "linkerd_check_result": {"passed": False}, "pki_extra_trust_anchors": ["{{ other }}"],
                "other": OTHER.pem},
    }  # fmt: skip
    vault_host = {"vault-host": {"pki_issuers": vault(OLD_NAME, NEW_NAME)}}
    inventory = {"vault": {"hosts": vault_host}, "clusters": {"hosts": clusters}}
    (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
    (tmp_path / "play.yml").write_text(PLAY.replace("ROOT", str(COLLECTION)))
    done = run(tmp_path, str(tmp_path / "play.yml"), "-e", "rotation_force=false")
    assert done.returncode == 0, done.stdout + done.stderr
    plans = [json.loads((tmp_path / name).read_text()) for name in ("vault-host", "one", "two")]
    assert plans[0] == plans[1] == plans[2]
    assert [(one["code"], one["cluster"]) for one in plans[0]["problems"]] == [("linkerd_check_failed", "two")]
    assert plans[0]["phase_name"] == "distribute"  # both clusters lack the other trust anchor
    for cluster in plans[0]["clusters"].values():
        assert {*cluster["anchors"]} == {ROOT.pem, NEXT.pem, OTHER.pem}


@pytest.mark.parametrize(("limit", "left_out"), [("one", "two, vault-host"), ("vault-host", "one, two")])
def test_a_run_that_leaves_out_hosts_is_refused(tmp_path, limit, left_out):
    inventory = {"vault": {"hosts": {"vault-host": {}}}, "clusters": {"hosts": {"one": {}, "two": {}}}}
    (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
    done = run(tmp_path, "playbooks/rotate_trust_anchor.yml", "--limit", limit)
    assert done.returncode != 0 and f"leaves out {left_out}." in " ".join(done.stdout.split())
    assert "changed=0" in done.stdout


@pytest.mark.parametrize("playbook", ["rotate_trust_anchor", "adopt"])
def test_a_path_of_the_inventory_that_signs_is_not_overridden(tmp_path, playbook):
    clusters = {"one": {"vault_issuer_path": "pki-int/issuer/mesh/sign-intermediate"}, "two": {}}
    (tmp_path / "inventory.yml").write_text(
        json.dumps({"vault": {"hosts": {"v": {}}}, "clusters": {"hosts": clusters}})
    )
    done = run(tmp_path, f"playbooks/{playbook}.yml", "-e", "pki_root_issuer_name=linkerd-root-2")
    output = " ".join(done.stdout.split())
    assert done.returncode != 0 and "at pki/issuer/linkerd-root-2/sign-intermediate. Nothing was changed" in output
    assert "pki-int/issuer/mesh/sign-intermediate" in output and "changed=0" in output
    assert "TASK [Read what is installed]" not in output


@pytest.mark.parametrize(("variables", "codes"), [((), []), (("-e", "rotation_has_restarted=true"), ["root_in_use"])])
def test_pods_that_carry_a_retired_root_are_a_problem_only_after_the_last_restart(tmp_path, variables, codes):
    read = {"pki_certificates": reading(*STALE), "linkerd_check_result": GOOD["check"], "rotation_components": {}}
    inventory = {
        "vault": {"hosts": {"vault-host": {"pki_issuers": vault(OLD_NAME, NEW_NAME)}}},
        "clusters": {"hosts": {"one": {**read, "rotation_retired_roots": [OLD_NAME]}}},
    }
    inventory["vault"]["hosts"]["vault-host"]["rotation_retired_roots"] = [OLD_NAME]
    (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
    (tmp_path / "play.yml").write_text(PLAY.replace("ROOT", str(COLLECTION)))
    done = run(tmp_path, str(tmp_path / "play.yml"), *variables)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "one").read_text())
    assert (found["phase_name"], [one["code"] for one in found["problems"]]) == ("done", codes)


def test_no_root_is_retired_if_the_mesh_cannot_be_read_after_the_last_restart(tmp_path):
    finished = {"phase": 7, "finished": True, "clusters": {"one": {"phase": 7, "stale": []}}}
    variables = {
        **THIS_HOST,
        "linkerd_check_result": GOOD["check"],
        "pki_kubernetes": {"kubeconfig": str(tmp_path / "missing")},
        "pki_vault_address": "http://127.0.0.1:1",
        "read_leaves": True,
        "rotation": finished,
        "rotation_components": {},
        "rotation_history": [
            {"phase_name": "remove", "at": "2026-11-27T08:00:00Z"},
            {"phase_name": "done", "at": "2026-11-27T08:00:09Z"},
        ],
        "rotation_is_due": "{{ inventory_hostname == 'one' }}",
        "rotation_retired_roots": [OLD_NAME],
        "rotation_step": {"stale": []},
        "rotation_target": NEW_NAME,
        "rotation_vault": "vault-host",
    }
    hosts = {"vault": {"hosts": {"vault-host": {}}}, "clusters": {"hosts": {"one": {}}}}
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"children": hosts, "vars": variables}}))
    tasks = [{"ansible.builtin.import_tasks": str(COLLECTION / "playbooks/tasks/rotate/done.yml")}]
    play = [{"hosts": "vault:clusters", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    done = run(tmp_path, str(tmp_path / "play.yml"))
    assert done.returncode != 0 and "one: The cluster cannot be read" in " ".join(done.stdout.split()), done.stdout
    assert "Remove the permission to sign" not in done.stdout


def test_issuers_that_clusters_trust_are_not_those_of_others(tmp_path):
    """So the engine of the old root is configured also if neither its name nor its CN shows that it is the mesh's."""
    [task] = yaml.safe_load((COLLECTION / "playbooks/tasks/rotate/create.yml").read_text())
    clusters = {
        name: {"rotation_reading": {"certificates": reading(one, ISSUER, ROOT.pem, ISSUER)}}
        for name, one in {"one": OTHER.pem, "two": BOTH}.items()
    }
    inventory = {"vault": {"hosts": {"vault-host": {}}}, "clusters": {"hosts": clusters}}
    (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
    copied = {"content": "{{ vault_pki_trusted_roots | to_json }}", "dest": str(tmp_path / "result")}
    tasks = [{"ansible.builtin.copy": copied, "vars": task["vars"]}]
    play = {"hosts": "vault-host", "connection": "local", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"ansible_python_interpreter": sys.executable, "rotation_target": NEW_NAME}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    done = run(tmp_path, str(tmp_path / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    trusted = {certs.fingerprint(one) for one in certs.parse_bundle(OTHER.pem + BOTH)}
    assert set(json.loads((tmp_path / "result").read_text())) == trusted and len(trusted) > 2


def test_only_clusters_that_the_run_has_not_switched_restart_their_controller(tmp_path):
    read = {"pki_certificates": reading(*SWITCHED), "linkerd_check_result": GOOD["check"]}
    clusters = {name: {**read, "rotation_components": {"objects": []}} for name in ("one", "two")}
    clusters["one"]["rotation_is_switched"] = True
    inventory = {
        "vault": {"hosts": {"vault-host": {"pki_issuers": vault(OLD_NAME, NEW_NAME)}}},
        "clusters": {"hosts": clusters},
    }
    (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
    (tmp_path / "play.yml").write_text(PLAY.replace("ROOT", str(COLLECTION)))
    done = run(tmp_path, str(tmp_path / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    plan = json.loads((tmp_path / "one").read_text())
    assert (plan["phase_name"], plan["problems"]) == ("renew", [])
    assert {name: one["restart_controller"] for name, one in plan["clusters"].items()} == {"one": False, "two": True}


def test_trust_anchors_are_distributed_again_before_the_new_root_signs():
    """Their source can differ from the ConfigMaps, which decide the phase, for as long as trust-manager is down."""
    tasks = yaml.safe_load((COLLECTION / "playbooks/tasks/rotate/switch.yml").read_text())
    files = [one.get("ansible.builtin.import_tasks") for one in tasks]
    assert files.index("distribute.yml") < files.index("signer.yml")
    expired = [one for one in tasks if one.get("ansible.builtin.import_tasks") == "distribute.yml"]
    assert "not rotation_step.signer_expired" in expired[0]["when"], "expired anchors cannot be distributed"
