# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus, built from its Go module, and the alerts on the mesh of `make demo`.

The module contains no web pages, so only the API of Prometheus can be used.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from lab.places import SOURCES, LabError, cache, cache_root
from lab.progress import Progress

VERSION, RELEASE = "v0.316.0", "3.16"
MODULE = "github.com/prometheus/prometheus/cmd/{}@" + VERSION
TAGS = "remove_all_sd,enable_kubernetes_sd"  # the clients of all clouds take most of the time of a build
OPERATOR_VERSION = "v0.85.0"
OPERATOR_MODULE = "github.com/prometheus-operator/prometheus-operator"
ADDRESS = "127.0.0.1:9090"
INVENTORY = "inventories/lab"
INTERVAL = 30  # seconds between the alerts of a verification and the next one
SETTLE = 35  # seconds until Prometheus has read a report and evaluated the rules, both every 15 seconds
TRIES = 30  # seconds to wait for Prometheus


def program(name: str) -> Path:
    """Build a program of Prometheus in the cache, if it is missing, and return its path. Raises LabError."""
    path = cache_root() / f"{name}-{VERSION}" / name
    if not path.exists():
        build(f"{name} of Prometheus {RELEASE}", path, "install", "-tags", TAGS, MODULE.format(name))
    return path


def operator() -> Path:
    """Build the Prometheus operator in the cache, if it is missing, and return its path. Raises LabError."""
    path = cache_root() / f"prometheus-operator-{OPERATOR_VERSION}" / "operator"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # `go install` refuses a module that replaces others, and these two are those that it replaces.
        modules = (f"{OPERATOR_MODULE}{part}" for part in ("", "/pkg/apis/monitoring", "/pkg/client"))
        required = "".join(f"\nrequire {module} {OPERATOR_VERSION}" for module in modules)
        (path.parent / "go.mod").write_text(f"module operator\n\ngo 1.24.0\n{required}\n")
        build("the Prometheus operator", path, "build", "-mod=mod", "-o", str(path), f"{OPERATOR_MODULE}/cmd/operator")
    return path


def build(title: str, path: Path, *arguments: str) -> None:
    """Run `go` in the folder of the program that it builds, with progress. Raises LabError."""
    for folder in (path.parent, cache()):
        folder.mkdir(parents=True, exist_ok=True)
    command = ["nice", "-n", "10", "go", *arguments]
    # The other builds write timings.json while they hold the lock of the lab.
    with Progress(cache() / "prometheus-timings.json", 1).step(title):
        built = subprocess.run(command, cwd=path.parent, env={**os.environ, "GOBIN": str(path.parent)}, check=False)
    if built.returncode:
        raise LabError(f"{title} cannot be built. The output of go is above.")


class DefinitionLoader(yaml.SafeLoader):
    """Reads `=` as text. PyYAML knows it as a special value of YAML 1.1."""


DefinitionLoader.add_constructor("tag:yaml.org,2002:value", yaml.SafeLoader.construct_yaml_str)


def operator_definitions() -> dict[str, dict[str, Any]]:
    """The custom resource definitions of the Prometheus operator by name, from its Go module. Raises LabError."""
    command = ["go", "mod", "download", "-json", f"{OPERATOR_MODULE}@{OPERATOR_VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"The Go module of the Prometheus operator cannot be downloaded: {done.stdout}{done.stderr}")
    folder = Path(json.loads(done.stdout)["Dir"]) / "example/prometheus-operator-crd"
    found = [yaml.load(path.read_text(), DefinitionLoader) for path in sorted(folder.glob("*.yaml"))]
    return {one["metadata"]["name"]: one for one in found}


def monitor(env: dict[str, str]) -> None:
    """Verify the mesh of the demo about once a minute, and print its alerts when they change, until Ctrl-C.

    `env` are the environment variables of the lab's programs. The rules are those that monitoring.yml created. Raises
    LabError.
    """
    folder = cache() / "monitor"
    (folder / "report").mkdir(parents=True, exist_ok=True)
    with kubectl_proxy(env) as api, served(folder / "report") as report:
        rules, jobs = created_by_role(env)
        (folder / "rules.yml").write_text(rules)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(jobs, api, report)))
        with running(folder):
            print(f"lab: Prometheus listens at http://{ADDRESS}/api/v1/alerts (Ctrl-C ends it)", flush=True)
            shown: list[str] | None = None
            while True:
                verify(folder / "report", env)
                time.sleep(SETTLE)
                try:
                    found = alerts()
                except OSError as error:
                    raise LabError(f"Prometheus does not respond: {error}. Read {folder / 'log'}.") from None
                if found != shown:
                    print("\n".join([time.strftime("%H:%M:%S"), *(found or ["  no alert"])]), flush=True)
                    shown = found
                time.sleep(INTERVAL)


def version(file: Path) -> tuple[int, int] | None:
    """What changes when the file is replaced; None if there is no file. Two quick writes have the same time."""
    return (file.stat().st_ino, file.stat().st_mtime_ns) if file.exists() else None


def verify(report: Path, env: dict[str, str]) -> None:
    """Write report.prom. verify.yml fails when there are disagreements, which the alerts show."""
    file = report / "report.prom"
    former = version(file)
    command = ["ansible-playbook", "playbooks/verify.yml", "-i", INVENTORY, "-e", f"pki_report_dir={report}"]
    done = subprocess.run(command, cwd=SOURCES.parent, env=env, capture_output=True, text=True, check=False)
    if version(file) in (None, former):
        raise LabError(f"verify.yml wrote no report.prom:\n{done.stdout[-2000:]}")


def created_by_role(env: dict[str, str]) -> tuple[str, list[dict[str, Any]]]:
    """The rules and scrape jobs in the ConfigMap that monitoring.yml created."""
    command = ["kubectl", "get", "configmap", "servicemesh-pki-monitoring", "-n", "linkerd", "-o", "json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise LabError(f"The alerts cannot be read. Run `make demo MONITORING=1`. kubectl: {reason}")
    data = json.loads(done.stdout)["data"]
    return data["rules.yml"], yaml.safe_load(data["scrape.yml"])["scrape_configs"]


def configuration(jobs: list[dict[str, Any]], api: str, report: str) -> dict[str, Any]:
    """The configuration of Prometheus, with the addresses of `kubectl proxy` and of the server for report.prom."""
    read = {"metrics_path": "/report.prom", "honor_labels": True, "static_configs": [{"targets": [report]}]}
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [*(job | through(api, job) for job in jobs), {"job_name": "report", **read}],
    }


def through(api: str, job: dict[str, Any]) -> dict[str, Any]:
    """The settings of a scrape job that reads pods through the API server, because this machine reaches no pod."""
    labels = [f"__meta_kubernetes_{one}" for one in ("namespace", "pod_name", "pod_container_port_number")]
    path = {"source_labels": labels, "separator": ";", "regex": "(.*);(.*);(.*)", "target_label": "__metrics_path__",
            "replacement": "/api/v1/namespaces/$1/pods/$2:$3/proxy/metrics"}  # fmt: skip
    return {
        "kubernetes_sd_configs": [{**one, "api_server": f"http://{api}"} for one in job["kubernetes_sd_configs"]],
        "relabel_configs": [*job["relabel_configs"], path, {"target_label": "__address__", "replacement": api}],
    }


@contextmanager
def kubectl_proxy(env: dict[str, str]) -> Iterator[str]:
    """Address of a `kubectl proxy`."""
    command = ["kubectl", "proxy", "--port=0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout and proxy.stderr
        line = proxy.stdout.readline()
        if not line:
            raise LabError(f"kubectl proxy: {proxy.stderr.read().strip()}")
        try:
            yield line.rsplit(maxsplit=1)[-1]
        finally:
            proxy.terminate()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address at which the files of a folder can be read."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()  # a thread whose socket is closed would use a processor until the process ends


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, with the type that Prometheus expects of metrics, and logs nothing."""

    extensions_map = {".prom": "text/plain; version=0.0.4; charset=utf-8"}

    def log_message(self, *dummy: Any) -> None:
        return


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Prometheus with the configuration in a folder. Raises LabError if it does not start."""
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={ADDRESS}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program("prometheus"), *options], cwd=folder, stdout=log, stderr=log)
    try:
        for dummy in range(TRIES):
            time.sleep(1)  # a Prometheus that finds its port in use ends
            if process.poll() is not None:
                raise LabError(f"Prometheus ended:\n{(folder / 'log').read_text()[-2000:]}")
            try:
                alerts()
                break
            except OSError:
                continue
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def alerts() -> list[str]:
    """The alerts in Prometheus, one line each."""
    with urllib.request.urlopen(f"http://{ADDRESS}/api/v1/alerts", timeout=5) as answer:
        found = json.load(answer)["data"]["alerts"]
    return sorted(
        {
            f"  {one['state']:7} {one['labels']['severity']:8} {one['labels']['alertname']}: "
            f"{one['annotations']['summary']}"
            for one in found
        }
    )
