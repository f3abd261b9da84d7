# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects, runbooks and dashboard of the role monitoring. tests/alerts evaluates the rules with promtool."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from support import alert_rules

ROOT = Path(__file__).resolve().parents[3]

RULES = alert_rules.rules()
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
DASHBOARD = json.loads((alert_rules.ROLE / "files/dashboard.json").read_text())
CRDS = {"results": [{"resources": [{}]}, {"resources": [{}]}]}
WITHOUT = {"results": [{"resources": [{}]}, {"resources": []}]}


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#{2,} (.+)$", (ROOT / "docs/guides" / page).read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: f"{rule['alert']} {rule['labels']['severity']}")
def test_alert_has_severity_summary_and_existing_runbook(alert):
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    page, dummy, anchor = alert["annotations"]["runbook_url"].rpartition("/")[2].partition("#")
    assert page == "troubleshooting.md"
    assert anchor in anchors(page)
    summary = alert["annotations"]["summary"]
    assert "$labels.cluster" in summary or "$labels.vault" in summary
    assert alert["annotations"]["description"].endswith(".")


def test_guide_lists_every_alert():
    rows = re.findall(r"^\| `(Mesh\w+)` \| (\w+(?:, \w+)*) \|", (ROOT / "docs/guides/monitoring.md").read_text(), re.M)
    listed = {(name, severity) for name, severities in rows for severity in severities.split(", ")}
    assert listed == {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}


def test_every_alert_fires_for_a_real_cause_in_the_lab():
    """The lab's Linkerd is older than the metric of these two alerts, as the guide explains."""
    text = (ROOT / "tests/end_to_end/test_alerts.py").read_text()
    expected = {"MeshIdentityIssuerNotLoaded", "MeshIdentityControllerUnwatched"}
    assert {rule["alert"] for rule in ALERTS if f'"{rule["alert"]}"' not in text} == expected


# Beginnings of the metrics of each source in the picture of the guide.
SOURCES = {
    "report": "servicemesh_pki_",
    "exporter": "x509_",
    "trust": "controller_runtime_",
    "certificates": "certmanager_",
    "identity": "issuer_cert_ttl_",
}


def expanded(expression: str) -> str:
    """The expression with what the rules record."""
    records = {rule["record"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}
    return re.sub("|".join(records), lambda name: f"({records[name[0]]})", expression)


def test_picture_of_the_guide_shows_the_sources_of_each_alert():
    [picture] = re.findall(r"```mermaid\n(.*?)```", (ROOT / "docs/guides/monitoring.md").read_text(), re.DOTALL)
    alerts = {node: set(names.split("<br/>")) for node, names in re.findall(r'(\w+)\["(Mesh.+?)"\]', picture)}
    assert sum(map(len, alerts.values())) == len({rule["alert"] for rule in ALERTS})
    arrows = {source: nodes.split(" & ") for source, nodes in re.findall(r"(\w+) --> ([\w &]+)\n", picture)}
    shown = {(source, name) for source, nodes in arrows.items() for node in nodes for name in alerts[node]}
    used = {
        (source, rule["alert"])
        for rule in ALERTS
        for source, metrics in SOURCES.items()
        if re.search(rf"\b{metrics}", expanded(rule["expr"]))
    }
    assert shown == used


def test_variables_change_the_rules():
    text = str(
        alert_rules.rules(monitoring_rotation_days=5, monitoring_issuer_name="other", monitoring_issuer_hours=0.5)
    )
    for part in ("86400 < 95", "86400 < 12'", '{name="other"', "< 0.5 * 3600"):
        assert part in text
    runbooks = alert_rules.rules(monitoring_runbook_url="https://example.com/t")["groups"][0]["rules"][1]["annotations"]
    assert runbooks["runbook_url"].startswith("https://example.com/t#")


def test_prometheus_without_report_has_no_alert_on_its_absence():
    """Another Prometheus reads report.prom, so this one would fire permanently."""
    groups = alert_rules.rules(monitoring_report=False)["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert {rule["alert"] for rule in ALERTS} - names == {"MeshTrustAnchorsUnwatched"}


@pytest.mark.parametrize(
    ("variables", "kinds"),
    [
        ({"__monitoring_crds": CRDS}, ["PrometheusRule", *["PodMonitor"] * 3]),
        ({"__monitoring_crds": CRDS, "monitoring_scrape": False}, ["PrometheusRule"]),
        ({"__monitoring_crds": CRDS, "monitoring_operator": "false"}, ["ConfigMap"]),
        ({"__monitoring_crds": WITHOUT}, ["ConfigMap"]),
        (
            {"__monitoring_crds": {"results": []}, "monitoring_operator": "true"},
            ["PrometheusRule", *["PodMonitor"] * 3],
        ),
        ({"__monitoring_crds": WITHOUT, "monitoring_dashboard": True}, ["ConfigMap", "ConfigMap"]),
    ],
)
def test_objects_follow_the_operator(variables, kinds):
    found = alert_rules.evaluate("__monitoring_desired", **variables, monitoring_labels={"release": "one"})
    assert [one["kind"] for one in found] == kinds
    assert {one["metadata"]["labels"]["release"] for one in found} == {"one"}
    assert {one["metadata"]["namespace"] for one in found} == {"linkerd"}


@pytest.mark.parametrize("name", ["cert-manager", "trust-manager"])
def test_controllers_in_different_namespaces_are_scraped(name):
    """With the variables of the roles that install them, and with those of this role."""
    variable = f"{name.replace('-', '_')}_namespace"
    for given in ({variable: "own"}, {f"monitoring_{variable}": "own"}):
        jobs = {one["job_name"]: one for one in alert_rules.evaluate("__monitoring_scrape_jobs", **given)}
        monitors = {one["metadata"]["name"]: one for one in alert_rules.evaluate("__monitoring_pod_monitors", **given)}
        found = jobs.pop(f"servicemesh-pki-{name}")["kubernetes_sd_configs"][0]["namespaces"]["names"]
        assert found == monitors[f"servicemesh-pki-{name}"]["spec"]["namespaceSelector"]["matchNames"] == ["own"]
        assert "own" not in str(list(jobs.values()))


def test_pod_monitor_selects_pods_of_one_namespace():
    found = {one["metadata"]["name"]: one["spec"] for one in alert_rules.evaluate("__monitoring_pod_monitors")}
    identity = found["servicemesh-pki-linkerd-identity"]
    assert identity["namespaceSelector"] == {"matchNames": ["linkerd"]}
    [endpoint] = identity["podMetricsEndpoints"]
    assert endpoint["relabelings"][0]["regex"] == "9990"
    assert endpoint["relabelings"][1] == {"action": "replace", "targetLabel": "cluster", "replacement": "berlin"}


def test_pods_that_ended_are_not_scraped():
    """They would stay as targets that are down. For PodMonitors, the operator adds the same rule."""
    dropped = {"action": "drop", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed"}
    jobs = alert_rules.evaluate("__monitoring_scrape_jobs")
    assert [job["job_name"] for job in jobs if dropped not in job["relabel_configs"]] == []


def test_config_map_leaves_templates_of_prometheus():
    data = alert_rules.evaluate("__monitoring_config_map")["data"]
    assert "{{ $labels.cluster }}" in data["rules.yml"]
    assert "[[" not in data["rules.yml"]
    assert set(data) == {"rules.yml", "scrape.yml"}
    assert set(alert_rules.evaluate("__monitoring_config_map", monitoring_scrape=False)["data"]) == {"rules.yml"}


def test_panels_of_the_dashboard_do_not_overlap():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in itertools.combinations((panel["gridPos"] for panel in DASHBOARD["panels"]), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert one["x"] + one["w"] <= 24


def test_dashboard_reads_the_certificate_of_the_mesh_from_the_rules():
    """The metrics of cert-manager contain Certificates of the same name in other namespaces."""
    queries = " ".join(one["expr"] for panel in DASHBOARD["panels"] for one in panel["targets"])
    records = {rule["record"] for group in alert_rules.rules()["groups"] for rule in group["rules"] if "record" in rule}
    assert "certmanager_" not in queries
    assert set(re.findall(r"servicemesh_pki:[\w:]+", queries)) <= records


def test_all_clusters_of_the_dashboard_need_no_report():
    """Where the variable has no values, Grafana would replace All by an empty text."""
    [variable] = [one for one in DASHBOARD["templating"]["list"] if one["name"] == "cluster"]
    assert variable["includeAll"] and re.fullmatch(variable["allValue"], "berlin")
    selected = re.search(r'__name__=~"(.+?)"', variable["query"]["query"])[1]
    assert variable["definition"] == variable["query"]["query"]
    queries = " ".join(one["expr"] for panel in DASHBOARD["panels"] for one in panel["targets"])
    validity = set(re.findall(r"[a-z_:]*(?:not_after|cert_ttl)[a-z_:]*seconds", queries))
    assert "issuer_cert_ttl_seconds" in validity
    others = ("credential", "workload")  # of clusters that have other metrics, too
    assert [one for one in validity if not re.fullmatch(selected, one) and not any(map(one.__contains__, others))] == []


def test_panels_use_the_chosen_data_source():
    sources = {json.dumps(one["datasource"]) for panel in DASHBOARD["panels"] for one in (panel, *panel["targets"])}
    assert sources == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "cluster"]
