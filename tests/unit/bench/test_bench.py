# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The measurements of the bench, its report, and its stand-ins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions  # noqa: E402
from bench import counter, fleet, report, stand_in_api, usage, workshop  # noqa: E402


def entry(host: str, task: str, start: float, end: float, **more) -> dict:
    return (
        dict(host=host, task=task, module="kubernetes.core.k8s", state="ok", start=start, end=end, waits={}, attempts=1)
        | more
    )


PROGRAMS = {"helm": 0.07, "helm_upgrade": 0.8, "linkerd": 0.1, "linkerd_check": 3.02, "api_response": 0.004}
TASKS = [
    {"mark": "start", "end": 100.5},
    entry("a", "role : Create", 101, 103),
    entry("a", "role : Create", 103, 104),
    entry("b", "role : Wait", 101, 102, waits={"Deployment x": 0.7}),
    entry("b", "role : Skipped", 102, 105, state="skipped"),
]


def test_steps_of_script():
    assert workshop.steps("@step 10.5 cluster\nnoise\n@step 12.0 vault\n@step 12.25 end\n") == {
        "cluster": 1.5,
        "vault": 0.25,
    }


def test_durations_and_waits_of_tasks():
    assert workshop.durations(TASKS) == {"a: role : Create": 3, "b: role : Wait": 1}
    assert workshop.waits(TASKS) == {"b: Deployment x": 0.7}


def test_timeline_starts_with_program():
    assert [(task["host"], task["task"], task["from"], task["to"]) for task in workshop.timeline(TASKS, 100)] == [
        ("a", "Create", 1, 3),
        ("a", "Create", 3, 4),
        ("b", "Wait", 1, 2),
    ]


@pytest.fixture(autouse=True)
def long_orphan_timeout(monkeypatch):
    """On a busy machine, processes take longer to exit."""
    monkeypatch.setattr(usage, "ORPHAN_TIMEOUT_SECONDS", 120)


def test_run_is_measured_and_failure_is_reported():
    done = usage.run([sys.executable, "-c", "x = bytearray(50_000_000); import time; time.sleep(1.5)"], watch=True)
    assert done.seconds >= 1.5
    assert done.memory_mib > 45
    assert done.processes == 1
    with pytest.raises(usage.BenchError, match=r"status 3[\s\S]*because"):
        usage.run(["sh", "-c", "echo because; exit 3"])


def test_report_replaces_tables_and_preserves_text(tmp_path):
    guide = tmp_path / "guide.md"
    guide.write_text("before\n<!-- measured: fleet -->\nold\n<!-- end -->\nafter\n")
    one = dict(
        playbook="site.yml", clusters=10, forks=5, seconds=1, cpu_seconds=20, memory_mib=3, processes=4, requests=50,
        vault_requests=35,
    )  # fmt: skip
    for dummy in range(2):
        single = one | dict(clusters=1, vault_requests=8)
        results = {"programs": PROGRAMS, "runs": [single, one]}
        report.write({"fleet": {"format": report.FORMAT, "machine": "two cores", "results": results}}, guide, tmp_path)
    text = guide.read_text()
    assert text.startswith("before\n<!-- measured: fleet -->\n")
    assert text.endswith("two cores\n\n<!-- end -->\nafter\n")
    assert "old" not in text
    assert "| `site.yml` | 10 | 5 | 1 | 20 | 3 | 4 | 50 | 35 | 2.00 | 5.0 |" in text
    assert "Of `site.yml`'s requests to Vault 5 are for the root and 3 for each cluster." in text
    assert "| `linkerd check` | 3.02 |" in text
    assert "prefers-color-scheme" in (tmp_path / "fleet.svg").read_text()


def test_orphaned_processes_are_measured():
    work = (
        "import sys, time; x = bytearray(50_000_000); print(flush=True); end = time.process_time() + 0.8\n"
        "while time.process_time() < end: 0\n"
        "sys.stdin.read()"  # until the command has ended
    )
    start = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {work!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "time.sleep(1.5)"
    )
    done = usage.run([sys.executable, "-c", start], watch=True)
    assert done.cpu_seconds > 0.8
    assert done.memory_mib > 45
    assert done.processes == 2
    without_sleep = start.replace("time.sleep(1.5)", "0")
    assert usage.run([sys.executable, "-c", without_sleep]).cpu_seconds > 0.8


def test_counting_proxy_forwards_requests_unchanged():
    path = "/clusters/7/api/v1/namespaces"
    with stand_in_api.Clusters(0) as clusters, counter.CountingProxy(clusters.url) as proxy:
        request_json(f"{proxy.url}{path}", "POST", {"kind": "Namespace", "metadata": {"name": "linkerd"}})
        assert request_json(f"{proxy.url}{path}/linkerd") == request_json(f"{clusters.url}{path}/linkerd")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            request_json(f"{proxy.url}{path}/none")
    assert proxy.requests == {"POST": 1, "GET": 2}
    with pytest.raises(urllib.error.URLError, match="refused"):
        request_json(f"{proxy.url}{path}/linkerd")


@pytest.fixture
def api():
    with stand_in_api.Clusters(0) as clusters:
        yield clusters, f"{clusters.url}/clusters/7"


def request_json(address: str, method: str = "GET", body: dict | None = None) -> dict:
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(address, data=data, method=method)) as answer:
        return json.load(answer)


def test_deployments_of_the_api_stand_in_are_rolled_out(api):
    path = f"{api[1]}/apis/apps/v1/namespaces/cert-manager/deployments/cert-manager"
    expected = conditions.Expectation("apps/v1", "Deployment", "cert-manager", "cert-manager", rollout=True)
    assert conditions.unmet_reason(request_json(path), expected) is None


def test_api_stand_in_stores_objects_and_counts_requests(api):
    clusters, address = api
    path = f"{address}/apis/cert-manager.io/v1/namespaces/linkerd/certificates"
    body = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "linkerd-identity-issuer"}}
    with pytest.raises(urllib.error.HTTPError):
        request_json(f"{path}/linkerd-identity-issuer")
    request_json(f"{path}?dryRun=All", "POST", body)
    with pytest.raises(urllib.error.HTTPError):
        request_json(f"{path}/linkerd-identity-issuer")
    request_json(path, "POST", body)
    assert request_json(f"{path}/linkerd-identity-issuer")["status"]["conditions"][0] == {
        "type": "Ready", "status": "True", "observedGeneration": 1,
    }  # fmt: skip
    assert set(request_json(f"{address}/api/v1/namespaces/linkerd/secrets/linkerd-identity-issuer")["data"]) == {
        "tls.crt", "tls.key", "ca.crt",
    }  # fmt: skip
    assert dict(clusters.requests) == {"GET": 4, "POST": 2}
    anchors = {"kind": "ConfigMap", "metadata": {"name": "linkerd-trust-anchors"}, "data": {"ca-bundle.crt": "PEM"}}
    request_json(f"{address}/api/v1/namespaces/linkerd-trust/configmaps", "POST", anchors)
    published = request_json(f"{address}/api/v1/namespaces/linkerd/configmaps/linkerd-identity-trust-roots")
    assert published["data"] == {"ca-bundle.crt": "PEM"}


def test_helm_stand_in_lists_installed_releases(tmp_path):
    (tmp_path / "values").write_text("a: 1\n")

    def helm(*arguments: str) -> str:
        seconds = fleet.stand_in_env(dict.fromkeys(PROGRAMS, 0))
        env = os.environ | {"STAND_IN_STATE": str(tmp_path), "HELM_KUBECONTEXT": "c1"} | seconds
        command = [str(ROOT / "bench" / "stand_ins" / "helm"), *arguments]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    assert helm("list", "--output=yaml", "--filter", "x") == "[]\n"
    helm("--version=1", "upgrade", "-i", "--reset-values", f"-f={tmp_path / 'values'}", "x", "chart")
    assert "name: x" in helm("list", "--output=yaml", "--filter", "x")
    assert helm("get", "values", "--output=yaml", "x") == "a: 1\n"
    assert helm("--namespace", "n", "--kube-context", "c2", "list", "--pending") == "[]\n"


def test_linkerd_stand_in_prints_its_version_or_a_check():
    env = os.environ | {"STAND_IN_LINKERD_VERSION": "edge-1"} | fleet.stand_in_env(dict.fromkeys(PROGRAMS, 0))

    def linkerd(*arguments: str) -> str:
        command = [str(ROOT / "bench" / "stand_ins" / "linkerd"), *arguments]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    assert linkerd("version", "--client", "--short") == "edge-1\n"
    assert json.loads(linkerd("check", "--output=json"))["success"] is True


def test_guide_and_figures_match_measurements(tmp_path):
    """In two processes with different hash seeds, so that the order of sets does not matter.

    Figures of parts that an older version measured are not drawn.
    """
    parts = report.current(json.loads(report.MEASURED.read_text()))
    drawn = [report.FIGURES / name for part, name in report.PLOTS.items() if part in parts]
    shown = {path.name: path.read_bytes() for path in (report.GUIDE, *drawn)}
    program = (
        "import json, pathlib, sys; from bench import report; folder = pathlib.Path(sys.argv[1]);"
        "report.write(json.loads(report.MEASURED.read_text()), folder / report.GUIDE.name, folder)"
    )
    for seed in ("1", "2"):
        shutil.copy(report.GUIDE, tmp_path)
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env=env, check=True)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == shown
