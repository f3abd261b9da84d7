# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus scrapes report.prom over loopback and evaluates the rules. `nox -s prometheus` builds it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import alert_rules
from support.authority import Credential, key, make
from support.prometheus_server import PLAIN_TEXT, Prometheus, Report, report_job, running
from support.readings import reading, vault

from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_metrics, mesh_report

FORMATS = {"Prometheus": PLAIN_TEXT, "OpenMetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8"}
DAY = timedelta(days=1)


@pytest.fixture(params=FORMATS)
def served(request) -> Iterator[Report]:
    report = Report(FORMATS[request.param])
    yield report
    report.server.shutdown()


@pytest.fixture
def prometheus(served: Report, tmp_path: Path) -> Iterator[Prometheus]:
    with running(tmp_path, alert_rules.rules(), report_job(served)) as server:
        yield server


def metrics(*anchors: Credential, issuer: Credential, **more: Any) -> str:
    given = {**reading(anchors, issuer, anchors[-1], renewal=None, leaves=[]), "pods": [], **more}
    return mesh_metrics(mesh_report({"berlin": given}, vault(*anchors)))


def test_alerts_fire_for_their_cause_and_recover(served, prometheus):
    now = datetime.now(UTC).replace(microsecond=0)
    old = make("root.linkerd.cluster.local", start=now - DAY, end=now + 5 * DAY)
    new = make("root.linkerd.cluster.local", own_key=key("p256", 40), start=now - DAY, end=now + 3650 * DAY)
    issuers = [
        make("identity.linkerd.cluster.local", root, own_key=key("p256", 41), start=now - DAY, end=now + 2 * DAY)
        for root in (old, new)
    ]
    served.text = metrics(old, issuer=issuers[0], failed_attempts=2, bundle={"where": "Bundle roots", "ready": False})
    expected = {
        ("MeshTrustAnchorExpires", "critical"): "of cluster berlin expires in 5 days",
        ("MeshCertificateRequestRefused", "warning"): "cluster berlin",
        ("MeshBundleNotSynced", "warning"): "Bundle roots in cluster berlin",
    }
    prometheus.wait(lambda: set(prometheus.firing()) == set(expected))
    found = prometheus.firing()
    assert {name: part in found[name] for name, part in expected.items()} == dict.fromkeys(expected, True)
    served.text = metrics(new, issuer=issuers[1], failed_attempts=0, bundle={"where": "Bundle roots", "ready": True})
    prometheus.wait(lambda: prometheus.firing() == {})
    [ends] = prometheus.get("query", query="servicemesh_pki:trust_anchor_not_after:timestamp_seconds")["result"]
    assert float(ends["value"][1]) == (now + 3650 * DAY).timestamp()


def test_metrics_that_disappear_are_an_alert(served, prometheus):
    served.text = "# EOF\n"
    prometheus.wait(lambda: ("MeshTrustAnchorsUnwatched", "warning") in prometheus.firing())
