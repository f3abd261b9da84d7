# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The duration of a rotation: its phases, restarts and report."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from support.plays import THIS_HOST

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from bench import __main__ as program  # noqa: E402
from bench import report, rotation, sandbox, usage  # noqa: E402

NAMES = ("create", "distribute", "restart", "switch", "renew", "remove", "done")


def entry(host: str, task: str, start: float, end: float, state: str = "ok") -> dict:
    return {"host": host, "task": task, "state": state, "start": start, "end": end}


def times(*hosts: str) -> list[dict]:
    """Phases of 10 s that begin at 105, and two batches in the phase restart, of 4 and 6 s."""
    phases = [
        entry(host, f"Run the tasks of the phase {name}", 105 + 10 * number, 105.1 + 10 * number)
        for number, name in enumerate(NAMES)
        for host in ("bench-vault", *hosts)
    ]
    batches = [entry(host, "Wait until the batch has restarted", 130, end) for host in hosts for end in (134, 136)]
    skipped = entry("bench-vault", "Wait until the batch has restarted", 130, 130, "skipped")
    return [{"mark": "start", "end": 100}, *phases, *batches, skipped, {"mark": "end", "end": 180}]


def run(seconds: float = 80, cpu_seconds: float = 20) -> usage.Usage:
    return usage.Usage(seconds, cpu_seconds, "the output", started=100)


def a_deployment(revision: int, replicas: int = 3) -> dict:
    annotations = {"deployment.kubernetes.io/revision": str(revision)}
    return {"metadata": {"annotations": annotations}, "spec": {"replicas": replicas}}


def test_phases_follow_each_other_to_the_end_of_the_run():
    found = rotation.phases(run(), times("bench"))
    assert found == {"before the first phase": 5, **dict.fromkeys(NAMES[:-1], 10), "done": 15}
    assert sum(found.values()) == run().seconds


def test_rotation_that_stops_early_is_no_measurement():
    with pytest.raises(usage.BenchError, match="the output"):
        rotation.phases(run(), [one for one in times("bench") if "done" not in one.get("task", "")])


def test_batches_are_counted_in_one_cluster():
    for hosts in (["bench"], ["bench-1", "bench-2", "bench-3"]):
        assert rotation.batches(times(*hosts)) == {"batches": 2, "batch_seconds": 5}


def test_pods_of_each_revision_are_counted():
    assert rotation.started_pods([a_deployment(4), a_deployment(1, replicas=1)]) == 13


def test_phase_of_the_playbook_is_found_in_a_run(tmp_path):
    """The callback writes the names of tasks with their values. The last phase does not restart anything here."""
    variables = {
        **THIS_HOST,
        "rotation": {"phase": 7, "phase_name": "done", "finished": True},
        "rotation_is_due": False,
        "rotation_target": "linkerd-root-2",
        "rotation_vault": "vault",
    }
    hosts = {"vault": {"hosts": {"vault": {}}}, "clusters": {"hosts": {"one": {}, "two": {}}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"vars": variables, "children": hosts}}))
    tasks = [{"ansible.builtin.include_tasks": str(ROOT / "playbooks/tasks/rotate/phase.yml")}]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    env = {**os.environ, **sandbox.callback_variables(tmp_path / "times.jsonl")}
    done = usage.run(["ansible-playbook", "-i", str(tmp_path / "hosts.json"), str(tmp_path / "play.yml")], env)
    found = rotation.phases(done, sandbox.read_times(tmp_path / "times.jsonl"))
    assert list(found) == ["before the first phase", "done"]
    assert 0 < found["before the first phase"] < done.seconds


def test_batch_has_this_name_in_the_playbook():
    names = [task["name"] for task in yaml.safe_load((ROOT / "playbooks/tasks/rotate/batch.yml").read_text())]
    assert rotation.BATCH_TASK in names


def test_each_cluster_has_thirty_pods_of_workloads_that_no_other_has():
    one, two = (rotation.workloads(name, "app:1")["items"] for name in ("bench-1", "bench-2"))
    namespaces = [item["metadata"] for item in one if item["kind"] == "Namespace"]
    assert [meta["annotations"] for meta in namespaces] == 2 * [{"linkerd.io/inject": "enabled"}]
    apps = [item for item in one if item["kind"] == "Deployment"]
    assert len(apps) == 10 and sum(app["spec"]["replicas"] for app in apps) == 30
    assert {app["metadata"]["namespace"] for app in apps} == {meta["name"] for meta in namespaces}
    names = [{item["metadata"]["name"] for item in items if item["kind"] == "Deployment"} for items in (one, two)]
    assert not names[0] & names[1]


class RecordedSandbox:
    """Replaces TimedSandbox for a number of clusters. Each Deployment restarts three times."""

    calls: list[str] = []
    folder = Path()

    def __init__(self, count: int) -> None:
        self.names = SimpleNamespace(clusters=tuple(f"bench-{number}" for number in range(1, count + 1)))
        self.home, self.revision = self.folder, 1
        self.parts = {"test_app_image": "app:1", "linkerd_values": {"proxyInit": {"runAsRoot": True}}}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.calls.append("remove")

    def play(self, name: str, forks: str, *arguments: str, timeout: float = 900) -> tuple[usage.Usage, list[dict]]:
        self.calls.append(f"{name} {forks}")
        given = json.loads(arguments[0].removeprefix("--extra-vars="))
        if name == "site":
            of_init = {"runAsRoot": True, "resources": {"cpu": {"request": "10m"}}}
            assert given == {"linkerd_values": {"proxyInit": of_init}}
            return run(), []
        assert given == {"pki_root_issuer_name": "linkerd-root-2", "rotation_restart_again": True}
        self.revision += 3
        clusters = len(self.names.clusters)
        return run(80 * clusters, 20 + 10 * (clusters - 1)), times(*self.names.clusters)

    def kubectl(self, cluster: str, verb: str, *arguments: str) -> str:
        if verb == "apply":
            path = Path(arguments[0].removeprefix("--filename="))
            assert json.loads(path.read_text()) == rotation.workloads(cluster, "app:1")
        if self.calls[-1] != f"{cluster} {verb}":
            self.calls.append(f"{cluster} {verb}")
        return json.dumps({"items": [a_deployment(self.revision)] * 11}) if verb == "get" else ""


@pytest.fixture
def results(tmp_path, monkeypatch) -> dict:
    monkeypatch.setattr(RecordedSandbox, "calls", [])
    monkeypatch.setattr(RecordedSandbox, "folder", tmp_path)
    monkeypatch.setattr(rotation, "timed_sandbox", RecordedSandbox)
    monkeypatch.setattr(rotation.os, "cpu_count", lambda: 2)
    return rotation.measure()


def test_mesh_and_workloads_run_before_the_rotation(results):
    one = ["site --forks=2", "bench-1 apply", "bench-1 wait", "bench-1 get", "rotate_trust_anchor --forks=2"]
    assert RecordedSandbox.calls[:7] == [*one, "bench-1 get", "remove"]
    assert RecordedSandbox.calls[7:11] == ["site --forks=4", "bench-1 apply", "bench-2 apply", "bench-3 apply"]
    assert [results[count]["restarted_pods"] for count in ("1", "3")] == [3 * 33, 3 * 99]
    assert program.MEASURES["rotation"] is rotation.measure


def test_page_shows_phases_restarts_and_an_estimate(results):
    lines = report.rotation(results).splitlines()
    assert "| before the first phase | 5 | 5 |" in lines
    assert "| all | 80 | 240 |" in lines
    assert "| pods restarted | 99 | 297 |" in lines
    assert "| batches in each cluster | 2 | 2 |" in lines
    # One cluster waits for 60 s. The processor time is 20 s, and 10 s for each further cluster, on two cores.
    assert "| 3 | 4 | 1.3 | 4.0 |" in lines
    assert "| 100 | 100 | 9.4 | - |" in lines
    assert "| 100 | 10 | 18.4 | - |" in lines
    assert json.loads(json.dumps(results)) == results
