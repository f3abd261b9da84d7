# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helm runs without its plugins, except for a chart that may come from one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from support.templates import trusted

VARIABLES = Path(__file__).resolve().parents[3] / "roles/helm_release/vars/main.yml"


@pytest.mark.parametrize(
    ("repository", "chart", "has_plugins"),
    [
        ("https://charts.test", "linkerd-crds", False),
        ("", "oci://registry.test/charts/linkerd-crds", False),
        ("", "/srv/charts/linkerd-crds", False),
        ("", "./charts/linkerd-crds", False),
        ("s3://bucket/charts", "linkerd-crds", True),
        ("", "gs://bucket/charts/linkerd-crds-1.tgz", True),
        ("", "company/linkerd-crds", True),  # of a repository that was added to Helm, which can be one of s3
        ("", "{existing}", False),
    ],
)
def test_plugins_of_helm(tmp_path, monkeypatch, repository, chart, has_plugins):
    (tmp_path / "charts/one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    variables = yaml.safe_load(VARIABLES.read_text())
    variables |= {
        "helm_release_chart_repository": repository,
        "helm_release_chart": chart.format(existing="charts/one"),
    }
    environment = Templar(DataLoader(), variables=trusted(variables)).template(
        trusted("{{ __helm_release_environment }}")
    )
    assert environment == ({} if has_plugins else {"HELM_PLUGINS": "/dev/null"})
