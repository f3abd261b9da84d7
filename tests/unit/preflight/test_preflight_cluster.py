# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key under which the role preflight stores what it checked in a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from support.templates import trusted

from ansible_collections.servicemesh.pki.plugins.filter.preflight import preflight_cluster

ROLES = Path(__file__).resolve().parents[3] / "roles"
CLUSTER = {
    "host": "https://one.test",
    "api_key": "{{ lookup('pipe', 'date +%N') }}",  # as that of a cloud, another one each time
    "ca_cert": "{{ missing | default(omit) }}",
}


@pytest.mark.parametrize("role", ["cert_manager", "trust_manager", "linkerd"])
@pytest.mark.parametrize("options", [CLUSTER, {"kubeconfig": "/k", "context": "{{ missing | default(omit) }}"}, {}])
def test_a_role_finds_what_preflight_stored_for_its_cluster(role, options):
    variables = {}
    for one in ("preflight", role):
        variables |= yaml.safe_load((ROLES / one / "vars/main.yml").read_text())
        variables[f"{one}_kubernetes"] = options
    templar = Templar(DataLoader(), variables=trusted(variables))
    key = templar.template(trusted("{{ __preflight_cluster }}"))
    stored = {"requested": {"vault": {}}, "decisions": {role: {"release": "leave"}}}
    templar.available_variables = {**templar.available_variables, "preflight_checked": {key: stored}}
    assert templar.template(trusted(f"{{{{ __{role}_checked }}}}")) == stored
    assert templar.template(trusted(f"{{{{ __{role}_decision }}}}")) == {"release": "leave"}


def kubeconfig(server: str, **more) -> dict:
    return {"kubeconfig": {"current-context": "a", "clusters": [{"name": "a", "cluster": {"server": server}}], **more}}


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"host": "https://a", "api_key": "x"}, {"host": "https://a", "api_key": "y"}, True),
        ({"host": "https://a"}, {"host": "https://b"}, False),
        ({"kubeconfig": "/k", "context": "a"}, {"kubeconfig": "/k", "context": "b"}, False),
        ({"kubeconfig": "/k"}, {"kubeconfig": "/l"}, False),
        (kubeconfig("https://a"), kubeconfig("https://a", users=[{"name": "u", "user": {"token": "t"}}]), True),
        (kubeconfig("https://a"), kubeconfig("https://b"), False),
        ({}, None, True),
    ],
)
def test_only_what_names_the_cluster_counts(one, other, is_same):
    assert (preflight_cluster(one) == preflight_cluster(other)) is is_same


def test_options_of_another_type_are_an_error_that_names_the_filter():
    with pytest.raises(AnsibleFilterError, match="preflight_cluster"):
        preflight_cluster("/kubeconfig")
