# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that the role trust_manager writes into a release, by Ansible's own templates."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).resolve().parents[3] / "roles/trust_manager"
THEIRS = {"defaultPackage": {"enabled": True}, "replicaCount": 2}


def written(name: str, decision: dict, **given) -> dict:
    """An internal variable of the role."""
    loader = DataLoader()
    files = [
        loader.load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True) for part in ("defaults", "vars")
    ]
    variables = files[0] | given | files[1] | {"preflight_result": {"decisions": {"trust_manager": decision}}}
    return Templar(loader=loader, variables=variables).template(variables[name])


@pytest.mark.parametrize(("mark", "kept", "given", "enabled"), [
    ("installed", {}, {}, False),
    ("installed", {}, {"defaultPackage": {"enabled": True}}, True),
    ("taken-over", THEIRS, {}, True),
    ("taken-over", THEIRS, {"defaultPackage": {"enabled": False}}, False),
])  # fmt: skip
def test_a_takeover_keeps_the_package_of_public_authorities(mark, kept, given, enabled):
    decision = {"mark": mark, "kept_values": kept}
    values = written("__trust_manager_release_values", decision, trust_manager_values=given)
    assert values["defaultPackage"]["enabled"] is enabled
    assert values["app"]["trust"]["namespace"] == "linkerd-trust" and values.get("replicaCount") == kept.get(
        "replicaCount"
    )


def test_the_note_about_a_takeover_shows_the_same_values():
    requested = written("__trust_manager_requested", {}, ansible_skip_tags=[])
    assert "defaultPackage" not in requested["values"]
