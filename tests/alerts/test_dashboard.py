# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboard matches Grafana's schema. Its queries, and the scrape configuration, are valid for promtool."""

from __future__ import annotations

import copy
import json
import os
import subprocess

import pytest
import yaml
from support import alert_rules

from lab import prometheus

DASHBOARD = json.loads((alert_rules.ROLE / "files/dashboard.json").read_text())
QUERIES = [(panel["title"], one["expr"]) for panel in DASHBOARD["panels"] for one in panel["targets"]]


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_promtool_parses_query(title, query, promtool):
    done = promtool("promql", "format", query.replace("$cluster", "berlin"), "--experimental")
    assert done.returncode == 0, done.stderr


# Groups of the Pushgateway, whose reports name the same Vault.
PARIS_AND_BERLIN = ('instance="paris"', 'instance="berlin"')
UNREADABLE = 'vault="https://v", code="vault_unreadable", allowed="false"'
FAILED = 'alertname="MeshVerificationFailed", severity="warning", alertstate="firing"'
CODES = ('code="a", vault="v"', 'code="b", vault="v"', 'code="a", vault="w"')
CERTIFICATE = 'name="linkerd-identity-issuer", namespace="linkerd", cluster="berlin"'
ISSUER = f"certmanager_certificate_expiration_timestamp_seconds{{{CERTIFICATE}}}"
SHOWN: list[tuple[str, dict[str, int], dict[str, int]]] = [
    (
        "Disagreements",
        {f"servicemesh_pki_disagreements{{{UNREADABLE}, {one}}}": 1 for one in PARIS_AND_BERLIN},
        {"{}": 1},
    ),
    (
        "Disagreements",
        {f'servicemesh_pki_disagreements{{cluster="berlin", code="{one}", allowed="false"}}': 2 for one in "ab"},
        {'{cluster="berlin"}': 4},
    ),
    (
        "Disagreements of the last verification",
        {f"servicemesh_pki_disagreements{{{UNREADABLE}, {one}}}": 1 for one in PARIS_AND_BERLIN},
        {f"{{{UNREADABLE}}}": 1},
    ),
    (
        "Workload certificates",
        {f'servicemesh_pki_workload_certificates{{cluster="berlin", {one}}}': 7 for one in PARIS_AND_BERLIN},
        {'{cluster="berlin"}': 7},
    ),
    ("Identity issuer", {ISSUER: 3600}, {'{cluster="berlin"}': 3600}),
    ("Identity issuer", {ISSUER: 3600, 'issuer_cert_ttl_seconds{cluster="berlin"}': 60}, {'{cluster="berlin"}': 60}),
    (
        "Alerts",
        {f"ALERTS{{{FAILED}, {one}}}": 1 for one in CODES},
        {f"{{{FAILED}, {one}}}": 1 for one in CODES},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("title", "series", "expected"), SHOWN, ids=[title for title, *dummy in SHOWN])
def test_panel_shows(title, series, expected, promtool, tmp_path):
    [query] = [query for panel, query in QUERIES if panel == title]
    groups = alert_rules.rules()["groups"]
    records = [rule for group in groups for rule in group["rules"] if "record" in rule]
    (tmp_path / "records.yml").write_text(yaml.safe_dump({"groups": [{"name": "records", "rules": records}]}))
    samples = [{"labels": labels, "value": value} for labels, value in expected.items()]
    content = {
        "rule_files": ["records.yml"],
        "tests": [
            {
                "input_series": [{"series": name, "values": str(value)} for name, value in series.items()],
                "promql_expr_test": [
                    {"expr": query.replace("$cluster", ".+"), "eval_time": "0m", "exp_samples": samples}
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(content))
    done = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_parses_the_selector_of_the_clusters(promtool):
    [variable] = [one for one in DASHBOARD["templating"]["list"] if one["name"] == "cluster"]
    selector = variable["query"]["query"].removeprefix("label_values(").removesuffix(", cluster)")
    done = promtool("promql", "format", selector, "--experimental")
    assert done.returncode == 0, done.stderr


def test_invalid_query_is_refused(promtool):
    assert promtool("promql", "format", "sum(", "--experimental").returncode != 0


@pytest.fixture
def errors_of(tmp_path):
    """A function that returns what the validator of `nox -s alerts` finds in a dashboard."""
    program = os.environ.get("SERVICEMESH_PKI_DASHBOARD_VALIDATOR")
    if not program:
        pytest.fail("Run these tests with `nox -s alerts`, which builds the validator.")

    def validate(dashboard: dict) -> list[str]:
        (tmp_path / "dashboard.json").write_text(json.dumps(dashboard))
        done = subprocess.run([program, tmp_path / "dashboard.json"], capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (done.stderr == "")
        return done.stderr.splitlines()

    return validate


def test_dashboard_matches_the_schema_of_grafana(errors_of):
    assert errors_of(DASHBOARD) == []


def test_panels_and_queries_are_of_kinds_that_the_validator_knows():
    """It reads the options of other kinds without validation."""
    assert {panel["type"] for panel in DASHBOARD["panels"]} <= {"stat", "table", "timeseries"}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("refreshes",), "1m"),
        (("panels", 0, "titel"), "Trust anchor"),
        (("panels", 0, "gridPos", "w"), "6"),
        (("panels", 0, "options", "graphMode"), 1),
        (("panels", 0, "options", "colour"), "red"),
        (("panels", 0, "targets", 0, "query"), "up"),
        (("templating", "list", 0, "current"), {}),
    ],
    ids=str,
)
def test_validator_refuses(errors_of, place, value):
    dashboard = copy.deepcopy(DASHBOARD)
    *path, last = place
    node = dashboard
    for part in path:
        node = node[part]
    node[last] = value
    errors = errors_of(dashboard)
    assert errors
    assert all(str(place[0]) in error for error in errors)


def test_prometheus_accepts_scrape_configuration(promtool, rules_file, tmp_path):
    (tmp_path / "scrape.yml").write_text(alert_rules.evaluate("__monitoring_scrape_text"))
    config = {"rule_files": [str(rules_file)], "scrape_config_files": [str(tmp_path / "scrape.yml")]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_configuration_of_the_demo(promtool, rules_file, tmp_path):
    jobs = yaml.safe_load(alert_rules.evaluate("__monitoring_scrape_text"))["scrape_configs"]
    config = prometheus.configuration(jobs, "127.0.0.1:8001", "127.0.0.1:8002")
    assert len(config["scrape_configs"]) == len(jobs) + 1
    (tmp_path / "rules.yml").write_text(rules_file.read_text())
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_file_of_the_rules_passes_the_check(promtool, tmp_path):
    """The file, before the role parses it: for a Prometheus outside of the cluster."""
    (tmp_path / "rules.yml").write_text(alert_rules.evaluate("__monitoring_rules_text"))
    assert promtool("check", "rules", str(tmp_path / "rules.yml")).returncode == 0
