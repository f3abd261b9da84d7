# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of the workshop's script with site.yml, and of one cluster with three."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from bench import __main__ as program  # noqa: E402
from bench import chart_values, clusters, fleet, programs, ratios, report, sandbox, stand_in_api, usage, workshop  # noqa: E402

RECAP = "bench : ok=9    changed={}    unreachable=0"


def tasks(seconds: float) -> list[dict]:
    """A task that works, one that waits, and one of a Vault, in a run that starts at 100."""
    common = {"state": "ok", "attempts": 1}
    install = {"host": "bench", "task": "cert_manager : Install", "module": "kubernetes.core.helm", "waits": {}}
    wait = {"host": "bench", "task": "cert_manager : Wait", "module": "servicemesh.pki.k8s_condition"}
    vault = {"host": "bench-vault", "task": "vault_dev : Start", "module": "community.docker.docker_container"}
    return [
        {"mark": "start", "end": 100.5},
        install | common | {"start": 101, "end": 101 + seconds / 2},
        wait | common | {"start": 101 + seconds / 2, "end": 101 + seconds, "waits": {"Deployment x": seconds / 2}},
        vault | common | {"start": 101, "end": 102, "waits": {}},
    ]


class RecordedSandbox:
    """Replaces TimedSandbox: runs take made-up seconds, and the calls are recorded."""

    SECONDS = {
        "script": (60, 80, 100),
        "script_values": (50, 64, 90),
        "local": (54, 60, 110),
        "forkserver": (48, 56, 95),
    }

    def __init__(self, changed_again: int = 0) -> None:
        self.calls: list[str] = []
        self.rounds: dict[str, int] = defaultdict(int)
        self.changed_again, self.is_new = changed_again, True

    def usage(self, name: str, output: str, factor: float = 1) -> usage.Usage:
        number = self.rounds[name]
        self.rounds[name] += 1
        seconds = self.SECONDS.get(name.removesuffix("_again"), (5, 5, 5))[number % 3] * factor
        return usage.Usage(seconds, seconds / 4, output, 80, 5, 100)

    def remove(self) -> None:
        self.calls.append("remove")
        self.is_new = True

    def run_script(self, site_values: bool = False, watch: bool = False) -> usage.Usage:
        name = "script_values" if site_values else "script"
        self.calls.append(name)
        return self.usage(name, "@step 10.5 cluster\n@step 40.0 check\n@step 60.5 end\n")

    def play(self, playbook: str, connection: str, watch: bool) -> tuple[usage.Usage, list[dict]]:
        self.calls.append(f"{playbook} {connection}")
        changed = 20 if self.is_new else self.changed_again
        again = "" if self.is_new else "_again"
        self.is_new = False
        factor = 0.25 if again else 1
        name = playbook if playbook == "verify" else connection.rsplit(".", 1)[-1] + again
        return self.usage(name, RECAP.format(changed), factor), tasks(40 * factor)

    def container_memory(self) -> dict[str, float]:
        return {"bench-vault": 25.4}


@pytest.fixture(scope="module")
def results() -> dict:
    """The results of three rounds with made-up seconds."""
    recorded, timed, watched = RecordedSandbox(), defaultdict(list), defaultdict(list)
    for number in range(3):
        workshop.run_round(recorded, timed, number)
    workshop.run_round(recorded, watched, 0, watch=True)
    return {name: workshop.summary(name, timed, watched) for name in workshop.RUNS} | {
        "containers_mib": {name: round(used) for name, used in watched["containers"].items()},
        "programs": {"helm": 0.07, "helm_upgrade": 0.8, "linkerd": 0.1, "linkerd_check": 3.02, "api_response": 0.004},
    }


def test_ratios_divide_runs_of_the_same_round():
    values = ratios.ratios([50, 90, 40], [100, 100, 50])
    assert values == [0.5, 0.9, 0.8]
    assert ratios.spread(values) == "0.80 (0.50 to 0.90)"
    with pytest.raises(ValueError, match="argument"):
        ratios.ratios([1], [1, 2])


def test_round_has_all_variants_and_every_second_one_is_reversed():
    recorded, timed = RecordedSandbox(), defaultdict(list)
    workshop.run_round(recorded, timed, 0)
    forward = [
        ["remove", "script"],
        ["remove", "script_values"],
        ["remove", "site local", "site local", "verify local"],
        ["remove", "site servicemesh.pki.forkserver", "site servicemesh.pki.forkserver"],
    ]
    assert recorded.calls == [*itertools.chain(*forward)]
    recorded.calls.clear()
    workshop.run_round(recorded, timed, 1)
    assert recorded.calls == [*itertools.chain(*reversed(forward))]
    assert {name: len(timed[name]) for name in workshop.RUNS} == dict.fromkeys(workshop.RUNS, 2)
    assert "forkserver 56.0 s (0.70)" in workshop.describe_round(timed)


def test_second_run_that_changes_something_fails():
    with pytest.raises(usage.BenchError, match="changed something"):
        workshop.run_round(RecordedSandbox(changed_again=1), defaultdict(list), 0)


def test_page_leads_with_ratios(results):
    text = report.workshop(results)
    lines = text.splitlines()
    assert lines[0].startswith("| ratio to the script of the same round |")
    assert "| the script with the chart values of `site.yml` | 0.83 (0.80 to 0.90) | 1 |" in lines
    assert "| `site.yml` from nothing, `local` | 0.90 (0.75 to 1.10) | 1.08 (0.94 to 1.22) |" in lines
    assert "| `site.yml` again, `changed=0`, `local` | 0.23 (0.19 to 0.28) | 0.27 (0.23 to 0.31) |" in lines
    assert "| the workshop's commands as a script | 60 | 80 | 100 | 20.0 | 80 | 5 |" in lines
    assert "| cluster | 29.5 | 29.5 |" in lines
    assert "| bench: cert_manager : Install | 20.0 | 20.0 | 5.0 | 5.0 |" in lines
    assert "| bench: Deployment x | 20.0 | 20.0 |" in lines
    assert "| `linkerd check` | 3.02 |" in lines


def test_results_are_written_and_drawn(results, tmp_path):
    guide = tmp_path / "guide.md"
    guide.write_text("<!-- measured: workshop -->\n<!-- end -->\n<!-- measured: fleet -->\nold\n<!-- end -->\n")
    entry = {"format": report.FORMAT, "machine": "two cores", "results": json.loads(json.dumps(results))}
    report.write({"workshop": entry, "fleet": {"machine": "older", "results": []}}, guide, tmp_path)
    assert "| ratio to the script" in guide.read_text()
    assert "\nold\n" in guide.read_text()  # a part in an older format stays
    drawn = (tmp_path / "runs.svg").read_text()
    for lane in ("the workshop's script", "with the chart values of site.yml", "site.yml, local, bench"):
        assert lane in drawn
    for host in ("bench", "bench-vault"):
        assert f"site.yml, forkserver, {host}" in drawn


def test_clusters_are_compared_within_rounds(monkeypatch):
    class Clusters:
        seconds = iter((50, 12, 75, 18, 70, 20, 65, 10, 60, 11, 66, 22))  # order: 1, 3; then 3, 1; then 1, 3
        counts: list[int] = []

        def __init__(self, count: int) -> None:
            self.counts.append(count)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def play(self, *_):
            return usage.Usage(next(self.seconds), 1, RECAP.format(0)), tasks(1)

    monkeypatch.setattr(clusters, "timed_sandbox", Clusters)
    results = clusters.measure(rounds=3)
    assert Clusters.counts == [1, 3, 3, 1, 1, 3]
    text = report.clusters(results)
    assert text.startswith("Three at once take 1.10 (1.08 to 1.50) times as long as one, and 2.00 (1.50 to 2.00) times")


def test_chart_values_are_those_of_the_roles():
    values = chart_values.chart_values({"controllerImage": "example/controller"})
    assert values["cert-manager"]["startupapicheck"] == {"enabled": False}
    assert values["cert-manager"]["webhook"]["readinessProbe"]["periodSeconds"] == 1
    assert values["cert-manager"]["fullnameOverride"] == "cert-manager"
    assert values["trust-manager"] == {
        "app": {"trust": {"namespace": "linkerd"}},
        "defaultPackage": {"enabled": False},
    }
    assert values["linkerd-control-plane"]["identity"] == {
        "externalCA": True,
        "issuer": {"scheme": "kubernetes.io/tls"},
    }
    assert values["linkerd-control-plane"]["controllerImage"] == "example/controller"
    assert "{{" not in json.dumps(values)


def script_arguments(folder: Path, **env: str) -> list[str]:
    """The helm commands of workshop.sh, with programs that only print their arguments."""
    log = folder / "helm.log"
    for name in ("helm", "k3d", "kubectl", "docker", "vault", "linkerd", "openssl", "jq"):
        path = folder / name
        path.write_text(f'#!/bin/sh\n[ "{name}" = helm ] && echo "$@" >> {log}\n[ -t 0 ] || cat > /dev/null\necho\n')
        path.chmod(0o755)
    required = ("NODE_IMAGE", "VAULT_IMAGE", "CERT_MANAGER_CHART", "TRUST_MANAGER_CHART", "LINKERD_CRDS_CHART")
    values = dict.fromkeys((*required, "LINKERD_CHART", "LINKERD_VALUES", "LINKERD_VERSION"), "x")
    full = os.environ | values | {"PATH": f"{folder}:{os.environ['PATH']}"} | env
    command = ["bash", str(ROOT / "bench" / "workshop.sh")]
    subprocess.run(command, env=full, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    return log.read_text().splitlines()


def test_script_uses_the_options_of_the_workshop_or_the_values_of_site(tmp_path):
    assert script_arguments(tmp_path)[0].endswith("--create-namespace --set installCRDs=true --wait")
    (tmp_path / "helm.log").unlink()
    names = ["cert-manager", "trust-manager", None, "linkerd-control-plane"]
    for name, line in zip(names, script_arguments(tmp_path, CHART_VALUES="/values"), strict=True):
        assert "--set" not in line
        assert name is None or f"-f /values/{name}.json" in line
    assert set(chart_values.RELEASES) == {name for name in names if name}


def test_programs_are_recorded(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    for name in programs.RECORDED:
        (real / name).write_text('#!/bin/sh\nsleep 0.2\necho "$0" "$#"\ntest "$1" != fail\n')
        (real / name).chmod(0o755)
    recorders = programs.write_recorders(tmp_path / "recorders")
    times = tmp_path / "times"
    env = os.environ | {"BENCH_PROGRAMS": str(real), "BENCH_PROGRAM_TIMES": str(times)}

    def start(name: str, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([str(recorders / name), *arguments], env=env, capture_output=True, text=True, check=False)

    assert start("helm", "list", "two\nlines").stdout == f"{real / 'helm'} 2\n"
    assert start("helm", "fail").returncode == 1
    with pytest.raises(usage.BenchError, match="helm_upgrade, linkerd, linkerd_check"):
        programs.program_seconds(times.read_text())
    started = time.monotonic()
    start("helm", "--version=1", "upgrade", "-i", "x")
    start("linkerd", "version", "--client")
    start("linkerd", "check")
    elapsed = time.monotonic() - started
    seconds = programs.program_seconds(times.read_text())
    assert list(seconds) == ["helm", "helm_upgrade", "linkerd", "linkerd_check"]
    assert min(seconds.values()) >= 0.2
    assert seconds["helm_upgrade"] + seconds["linkerd"] + seconds["linkerd_check"] < elapsed + 0.1
    lines = "1,5 2,0 helm list\n3.0 3.1 helm get values\n1 2 helm upgrade\n1 4 linkerd check\n1 2 linkerd version\n"
    assert programs.program_seconds(lines) == {"helm": 0.3, "helm_upgrade": 1, "linkerd": 1, "linkerd_check": 3}


def test_fleet_needs_the_measurement_of_programs(tmp_path):
    stored = tmp_path / "measured.json"
    stored.write_text(json.dumps({"workshop": {"machine": "older", "results": {}}}))
    with pytest.raises(usage.BenchError, match="--only workshop"):
        report.stored("workshop", stored)
    stored.write_text(json.dumps({"workshop": {"format": report.FORMAT, "results": {"programs": {"helm": 1}}}}))
    assert report.stored("workshop", stored) == {"programs": {"helm": 1}}
    assert program.settings("fleet", None, {"workshop": {"programs": {"helm": 2}}}) == {"programs": {"helm": 2}}
    assert program.settings("workshop", 2, {}) == {"rounds": 2}
    assert program.settings("rotation", 2, {}) == {}


@pytest.fixture
def timed(tmp_path, monkeypatch) -> tuple[sandbox.TimedSandbox, list]:
    """A sandbox that runs no program, and the commands that it would run, with their environment variables."""
    started: list[tuple[list[str], dict[str, str]]] = []

    def run(command, env, watch=False, timeout=0):
        started.append((command, env))
        Path(env.get("BENCH_TASK_TIMES", os.devnull)).write_text('{"mark": "start"}\n')
        return usage.Usage(1, 1, "")

    charts = dict.fromkeys(("cert_manager", "trust_manager", "linkerd_crds", "linkerd_control_plane"), "chart")
    images = dict.fromkeys(("node_image", "vault_image", "linkerd_version"), "x")
    parts = {"environment": {"A": "1"}, "path_prefix": "/tools", "charts": charts, "linkerd_values": {}, **images}
    monkeypatch.setattr(sandbox, "run", run)
    monkeypatch.setattr("lab.sandbox.environment_file", lambda: parts)
    monkeypatch.setattr(sandbox.TimedSandbox, "remove", lambda self: None)
    names = sandbox.Names(("bench",), "network", "vault", 1, 2, 3)
    return sandbox.TimedSandbox(tmp_path, names), started


def test_play_chooses_the_connection(timed):
    timed[0].play("site")
    timed[0].play("site", "--forks=4", connection="local")
    assert "--extra-vars=ansible_connection=servicemesh.pki.forkserver" in timed[1][0][0]
    assert timed[1][1][0][-2:] == ["--extra-vars=ansible_connection=local", "--forks=4"]


def test_kubectl_reads_the_kubeconfig_of_the_cluster(timed, tmp_path):
    timed[0].kubectl("bench-2", "get", "pods")
    ((command, env),) = timed[1]
    assert command == ["kubectl", f"--kubeconfig={tmp_path}/.config/k3d/kubeconfig-bench-2.yaml", "get", "pods"]
    assert env["PATH"].startswith("/tools:")


def test_script_gets_a_file_of_values_for_each_release(timed):
    timed[0].run_script()
    timed[0].run_script(site_values=True)
    plain, with_values = (env for _command, env in timed[1])
    assert "CHART_VALUES" not in plain
    written = {path.stem: json.loads(path.read_text()) for path in Path(with_values["CHART_VALUES"]).iterdir()}
    assert written == chart_values.chart_values({})


def test_programs_of_the_lab_start_through_recorders(timed, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "response_seconds", lambda kubeconfig, context: 0.01)
    monkeypatch.setattr(sandbox, "program_seconds", lambda times: {"helm": 0.1})
    assert timed[0].measure_programs() == {"helm": 0.1, "api_response": 0.01}
    variables = json.loads(timed[1][0][0][-1])["pki_environment"]
    assert variables["PATH"].startswith(f"{tmp_path / 'recorders'}:/tools:")
    assert (variables["BENCH_PROGRAMS"], variables["A"]) == ("/tools", "1")


def test_response_of_an_api_server_is_timed(tmp_path):
    with stand_in_api.Clusters(0.02) as api:
        fleet.write_kubeconfig(tmp_path / "kubeconfig", "cluster-0", f"{api.url}/clusters/0")
        api.objects["/clusters/0/api/v1/namespaces/kube-system"] = {"metadata": {"name": "kube-system"}}
        started = time.monotonic()
        assert 0.02 <= programs.response_seconds(tmp_path / "kubeconfig", "cluster-0") < time.monotonic() - started
    assert api.requests == {"GET": 1 + programs.REQUESTS}
