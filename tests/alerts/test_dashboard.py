# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queries of the dashboard, and the scrape configuration, are valid for promtool."""

from __future__ import annotations

import json

import alert_rules
import pytest
import yaml

DASHBOARD = json.loads((alert_rules.ROLE / "files/dashboard.json").read_text())
QUERIES = [(panel["title"], one["expr"]) for panel in DASHBOARD["panels"] for one in panel["targets"]]


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_promtool_parses_query(title, query, promtool):
    done = promtool("promql", "format", query.replace("$cluster", "berlin"), "--experimental")
    assert done.returncode == 0, done.stderr


def test_invalid_query_is_refused(promtool):
    assert promtool("promql", "format", "sum(", "--experimental").returncode != 0


def test_prometheus_accepts_scrape_configuration(promtool, rules_file, tmp_path):
    (tmp_path / "scrape.yml").write_text(alert_rules.evaluate("__monitoring_scrape_text"))
    config = {"rule_files": [str(rules_file)], "scrape_config_files": [str(tmp_path / "scrape.yml")]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_file_of_the_rules_passes_the_check(promtool, tmp_path):
    """The file, before the role parses it: for a Prometheus outside of the cluster."""
    (tmp_path / "rules.yml").write_text(alert_rules.evaluate("__monitoring_rules_text"))
    assert promtool("check", "rules", str(tmp_path / "rules.yml")).returncode == 0
