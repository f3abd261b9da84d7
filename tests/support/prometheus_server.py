# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus that evaluates the rules of the role monitoring each second. `nox -s prometheus` builds it."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from support.ports import free_port

PLAIN_TEXT = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = 60  # to wait for alerts


class Report:
    """Serves a text over loopback, as an exporter does."""

    def __init__(self, content_type: str = PLAIN_TEXT) -> None:
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
    """A running Prometheus, its address, and the folder with its rules."""

    def __init__(self, address: str, folder: Path, process: subprocess.Popen) -> None:
        self.address, self.folder, self.process = address, folder, process

    def load(self, rules: dict[str, Any]) -> None:
        """Replace the rules."""
        write_rules(self.folder, rules)
        self.process.send_signal(signal.SIGHUP)

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

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                if condition():
                    return
            except OSError as exc:
                if time.monotonic() > deadline:
                    raise AssertionError("Prometheus does not respond.") from exc
            assert time.monotonic() < deadline, self.get("alerts")
            time.sleep(0.3)


def write_rules(folder: Path, rules: dict[str, Any]) -> None:
    """Write these rules, whose alerts fire after one second."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["for"] = "1s"
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))


@contextmanager
def running(folder: Path, rules: dict[str, Any], *jobs: dict[str, Any]) -> Iterator[Prometheus]:
    """Prometheus on a free port of loopback, with these rules and scrape jobs."""
    program = os.environ.get("SERVICEMESH_PKI_PROMETHEUS")
    assert program, "Run these tests with `nox -s prometheus`, which builds Prometheus."
    write_rules(folder, rules)
    settings = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": settings, "rule_files": ["rules.yml"], "scrape_configs": list(jobs)}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, *options], cwd=folder, stdout=log, stderr=log)
        try:
            yield Prometheus(address, folder, process)
        finally:
            process.terminate()
            process.wait(timeout=30)


def report_job(report: Report) -> dict[str, Any]:
    return {"job_name": "report", "honor_labels": True, "static_configs": [{"targets": [report.address]}]}
