# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rotate_trust_anchor.yml and adopt.yml check of later phases, in runs of ansible-playbook."""

from __future__ import annotations

import json
import sys

import pytest
import yaml
from test_rotation_playbook import COLLECTION, run

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import adoption

ROTATE = COLLECTION / "playbooks/tasks/rotate"
CONTROLLER = {"component": "cert-manager", "namespace": "cm", "name": "cm-cert-manager", "version": "v1.21.2",
              "service_account": "cm-cert-manager", "release": None, "created_by": ""}  # fmt: skip
FOUND = {
    "deployments": [CONTROLLER], "releases": [], "definitions": [], "namespaces": {}, "objects": [], "bundles": [],
    "programs": {}, "unreadable": [], "admission_policies": [], "anchor_sources": [], "uses": [],
    "mesh": {"anchors_owner": "", "issuer_owner": ""},
}  # fmt: skip
RIGHT = {"pki_cert_manager_namespace": "cm", "vault_issuer_cert_manager_service_account": "cm-cert-manager"}
UPGRADE = {"code": "release_unfinished", "message": ""}
ADDRESS = {"vault_issuer_server": "https://vault.example:8200"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({**RIGHT, **ADDRESS}, []),
        (ADDRESS, ["cert_manager_mismatch"]),
        ({**RIGHT, "vault_issuer_server": ""}, ["address_missing"]),
        ({**ADDRESS, "vault_issuer_auth": "approle"}, []),
        ({**RIGHT, **ADDRESS, "linkerd_adopt_problems": [UPGRADE]}, ["release_unfinished"]),  # of the role linkerd
        ({**ADDRESS, "linkerd_adopt_problems": [UPGRADE]}, ["cert_manager_mismatch", "release_unfinished"]),
    ],
)
def test_the_account_of_cert_manager_and_the_addresses_are_checked_before_the_first_phase(
    tmp_path, variables, expected
):
    given = {"rotation_components": FOUND, "pki_kubernetes": {}, "vault_issuer_auth": "jwt", **variables}
    (tmp_path / "inventory.yml").write_text(json.dumps({"clusters": {"hosts": {"one": given}}}))
    tasks = [
        *({"ansible.builtin.include_tasks": str(ROTATE / name)} for name in ("requested.yml", "obstacles.yml")),
        {"ansible.builtin.copy": {"content": "{{ rotation_obstacles | to_json }}", "dest": str(tmp_path / "result")}},
    ]
    play = {"hosts": "clusters", "connection": "local", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"ansible_python_interpreter": sys.executable}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    done = run(tmp_path, str(tmp_path / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "result").read_text())
    assert [one["code"] for one in found] == expected
    assert all("cm-cert-manager" in one["message"] for one in found if one["code"] == "cert_manager_mismatch")


def test_the_playbook_reads_who_applies_what_the_adoption_takes_over():
    [dummy, task] = yaml.safe_load((ROTATE / "components.yml").read_text())
    objects = task["vars"]["rotation_objects"]
    assert [(one["kind"], one["metadata"]["name"]) for one in objects[2:]] == [*adoption.OF_CHART]
