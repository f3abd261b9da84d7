# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles request, and the values that they write into a release, by Ansible's own templates."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).resolve().parents[3] / "roles"
THEIRS = {"defaultPackage": {"enabled": True}, "replicaCount": 2}


def written(name: str, decision: dict, role: str = "trust_manager", **given) -> dict:
    """An internal variable of a role."""
    loader = DataLoader()
    files = [
        loader.load_from_file(str(ROLES / role / part / "main.yml"), trusted_as_template=True)
        for part in ("defaults", "vars")
    ]
    checked = {f"__{role}_checked": {"decisions": {role: decision}}}
    variables = files[0] | given | files[1] | checked
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


@pytest.mark.parametrize("kept", [{}, {"fullnameOverride": "cm-of-others", "crds": {"enabled": False}}])
def test_a_takeover_of_cert_manager_keeps_its_names_and_crds(kept):
    decision = {"mark": "taken-over", "kept_values": {**kept, "replicaCount": 2}}
    values = written("__cert_manager_release_values", decision, "cert_manager", cert_manager_release="cm")
    names = ("fullnameOverride", "crds", "replicaCount")
    assert {name: values[name] for name in names if name in values} == {**kept, "replicaCount": 2}
    requested = written("__cert_manager_requested", decision, "cert_manager", ansible_skip_tags=[])["values"]
    assert not {"fullnameOverride", "crds"} & set(requested)  # the note about the takeover


def test_a_release_of_the_collection_has_its_name_and_the_crds():
    decision = {"mark": "installed", "kept_values": {}}
    values = written("__cert_manager_release_values", decision, "cert_manager", cert_manager_release="cm")
    assert (values["fullnameOverride"], values["crds"]) == ("cm", {"enabled": True, "keep": True})


@pytest.mark.parametrize(("release", "mark", "names"), [
    ("leave", "", ["theirs"]),
    ("upgrade", "taken-over", ["theirs"]),
    ("upgrade", "installed", ["cm", "cm-webhook", "cm-cainjector"]),
    ("install", "installed", ["cm", "cm-webhook", "cm-cainjector"]),
])  # fmt: skip
def test_the_role_waits_for_the_deployments_that_exist(release, mark, names):
    controller = {"component": "cert-manager", "name": "theirs", "namespace": "tools"}
    decision = {"release": release, "mark": mark, "kept_values": {}, "controllers": [controller]}
    waited = written("__cert_manager_wait_for", decision, "cert_manager", cert_manager_release="cm")
    assert [one["name"] for one in waited] == names


@pytest.mark.parametrize("role", ["cert_manager", "trust_manager", "linkerd"])
@pytest.mark.parametrize(("release", "mark"), [("leave", ""), ("upgrade", "taken-over"), ("upgrade", "installed")])
def test_upgrades_are_waited_for(role, release, mark):
    """The condition Available of a Deployment is true although no pod of the new version starts."""
    controller = {"component": role, "name": "theirs", "namespace": "tools"}
    decision = {"release": release, "mark": mark, "kept_values": {}, "controllers": [controller]}
    name = {"trust_manager": "__trust_manager_deployment"}.get(role, f"__{role}_wait_for")
    waited = written(name, decision, role)
    for one in waited if isinstance(waited, list) else [waited]:
        assert (one["condition"], one["rollout"]) == ("Available", release != "leave")


@pytest.mark.parametrize(("release", "namespace"), [("leave", "tools"), ("upgrade", "cert-manager")])
def test_the_webhook_is_probed_in_a_namespace_that_exists(release, namespace):
    controller = {"component": "cert-manager", "name": "theirs", "namespace": "tools"}
    decision = {"release": release, "mark": "", "kept_values": {}, "controllers": [controller]}
    assert written("__cert_manager_probe", decision, "cert_manager")["metadata"]["namespace"] == namespace


@pytest.mark.parametrize(("role", "variable", "key"), [
    ("cert_manager", "cert_manager_chart", "chart_version"),
    ("trust_manager", "trust_manager_chart", "chart_version"),
    ("linkerd", "linkerd_control_plane_chart", "chart_version"),
    ("linkerd", "linkerd_crds_chart", "crds_chart_version"),
])  # fmt: skip
def test_the_version_of_a_chart_in_the_home_folder_is_not_compared(role, variable, key, tmp_path, monkeypatch):
    """Helm expands the path as well."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "chart.tgz").touch()
    versions = [
        written(f"__{role}_requested", {}, role, ansible_skip_tags=[], **{variable: chart})[key]
        for chart in ("~/chart.tgz", "~/absent.tgz")
    ]
    assert versions[0] == "" and versions[1]


@pytest.mark.parametrize(("skipped", "expected"), [([], True), (["vault_issuer"], True), (["linkerd"], False)])
def test_a_run_that_skips_linkerd_does_not_call_linkerd_check(skipped, expected):
    assert written("__linkerd_requested", {}, "linkerd", ansible_skip_tags=skipped)["check"] is expected
