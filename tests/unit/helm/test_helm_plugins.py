# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helm runs without its plugins, except for a chart that comes from one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from support.templates import trusted

WITHOUT = {"HELM_PLUGINS": "/dev/null"}
VARIABLES = Path(__file__).resolve().parents[3] / "roles/helm_release/vars/main.yml"
ADDED = {
    "stdout": json.dumps(
        [
            {"name": "linkerd-edge", "url": "https://helm.linkerd.io/edge"},
            {"name": "local", "url": "http://charts.test"},
            {"name": "company", "url": "s3://bucket/charts"},
        ]
    )
}


@pytest.mark.parametrize(
    ("repository", "chart", "has_plugins"),
    [
        ("https://charts.test", "linkerd-crds", False),
        ("", "oci://registry.test/charts/linkerd-crds", False),
        ("", "/srv/charts/linkerd-crds", False),
        ("", "./charts/linkerd-crds", False),
        ("s3://bucket/charts", "linkerd-crds", True),
        ("", "gs://bucket/charts/linkerd-crds-1.tgz", True),
        ("", "linkerd-edge/linkerd-control-plane", False),
        ("", "local/linkerd-control-plane", False),
        ("", "company/linkerd-control-plane", True),
        ("", "missing/linkerd-control-plane", False),
        ("company", "linkerd-control-plane", False),  # Helm expects an address here
        ("", "{existing}", False),
    ],
)
def test_plugins_of_helm(tmp_path, monkeypatch, repository, chart, has_plugins):
    assert environment(tmp_path, monkeypatch, repository, chart, ADDED) == ({} if has_plugins else WITHOUT)


@pytest.mark.parametrize("repositories", [{"stdout": ""}, {"msg": "no such file"}, {"skipped": True}, {"stdout": "[]"}])
def test_helm_without_repositories(tmp_path, monkeypatch, repositories):
    assert environment(tmp_path, monkeypatch, "", "company/linkerd-control-plane", repositories) == WITHOUT


def environment(tmp_path, monkeypatch, repository, chart, repositories) -> dict:
    (tmp_path / "charts/one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    variables = yaml.safe_load(VARIABLES.read_text())
    variables |= {
        "helm_release_chart_repository": repository,
        "helm_release_chart": chart.format(existing="charts/one"),
        "__helm_release_repositories": repositories,
    }
    return Templar(DataLoader(), variables=trusted(variables)).template(trusted("{{ __helm_release_environment }}"))
