# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus scrapes report.prom over loopback and evaluates the rules. `nox -s prometheus` builds it."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import alert_rules
import pytest
import yaml
from authority import Credential, key, make
from readings import reading, vault

from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_metrics, mesh_report

FORMATS = {
    "Prometheus": "text/plain; version=0.0.4; charset=utf-8",
    "OpenMetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
DAY = timedelta(days=1)


class Report:
    """Serves a text over loopback, as an exporter does."""

    def __init__(self, content_type: str) -> None:
        self.text = ""
        report = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.end_headers()
                self.wfile.write(report.text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"


class Prometheus:
    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **query: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]

    def firing(self) -> dict[tuple[str, str], str]:
        """The summaries of the alerts that fire, by name and severity."""
        return {
            (one["labels"]["alertname"], one["labels"]["severity"]): one["annotations"]["summary"]
            for one in self.get("alerts")["alerts"]
            if one["state"] == "firing"
        }

    def wait(self, condition: Any) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                if condition():
                    return
            except OSError as exc:
                if time.monotonic() > deadline:
                    raise AssertionError("Prometheus does not respond.") from exc
            assert time.monotonic() < deadline, self.get("alerts")
            time.sleep(0.3)


@pytest.fixture(params=FORMATS)
def served(request) -> Iterator[Report]:
    report = Report(FORMATS[request.param])
    yield report
    report.server.shutdown()


@pytest.fixture
def prometheus(served: Report, tmp_path: Path) -> Iterator[Prometheus]:
    program = os.environ.get("SERVICEMESH_PKI_PROMETHEUS")
    if not program:
        pytest.fail("Run these tests with `nox -s prometheus`, which builds Prometheus.")
    found = alert_rules.rules()
    for group in found["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["for"] = "1s"
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(found))
    jobs = [{"job_name": "report", "honor_labels": True, "static_configs": [{"targets": [served.address]}]}]
    settings = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": settings, "rule_files": ["rules.yml"], "scrape_configs": jobs}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([program, *options], cwd=tmp_path, stdout=log, stderr=log)
        yield Prometheus(address)
        process.terminate()
        process.wait(timeout=30)


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
    # Nothing else is scraped here, so this one fires, too.
    unwatched = ("MeshIdentityIssuerUnwatched", "warning")
    prometheus.wait(lambda: set(prometheus.firing()) == {*expected, unwatched})
    found = prometheus.firing()
    assert {name: part in found[name] for name, part in expected.items()} == dict.fromkeys(expected, True)
    served.text = metrics(new, issuer=issuers[1], failed_attempts=0, bundle={"where": "Bundle roots", "ready": True})
    prometheus.wait(lambda: set(prometheus.firing()) == {unwatched})
    [ends] = prometheus.get("query", query="servicemesh_pki:trust_anchor_not_after:timestamp_seconds")["result"]
    assert float(ends["value"][1]) == (now + 3650 * DAY).timestamp()


def test_metrics_that_disappear_are_an_alert(served, prometheus):
    served.text = "# EOF\n"
    prometheus.wait(lambda: ("MeshTrustAnchorsUnwatched", "warning") in prometheus.firing())
