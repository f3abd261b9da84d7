# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The workshop's commands as a script beside site.yml: the same lab, in turns, a cold cluster each time."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import defaultdict

from bench.place import Place, place
from bench.usage import BenchError, Done

ROUNDS = 5
RUNS = ("script", "site", "again", "verify")
STEP = re.compile(r"^@step (\d+[.,]\d+) (.+)$", re.MULTILINE)
RECAP = re.compile(r"^\S+\s+: ok=\d+\s+changed=(\d+)", re.MULTILINE)


def steps(output: str) -> dict[str, float]:
    """Seconds of each step of the script."""
    found = [(float(moment.replace(",", ".")), name) for moment, name in STEP.findall(output)]
    return {name: after - moment for (moment, name), (after, _next) in itertools.pairwise(found)}


def changed(done: Done) -> int:
    recap = RECAP.findall(done.output)
    if not recap:
        raise BenchError("a playbook printed no recap")
    return sum(int(count) for count in recap)


def one_round(here: Place, figures: dict, watch: bool) -> None:
    """Script, site.yml, site.yml again, verify.yml."""
    here.remove()
    figures["script"].append(here.script(watch))
    here.remove()
    for name, playbook in (("site", "site"), ("again", "site"), ("verify", "verify")):
        done, tasks = here.play(playbook, watch=watch)
        if name != "site" and changed(done):
            raise BenchError(f"{playbook}.yml changed something in its second run:\n{done.output[-3000:]}")
        figures[name].append(done)
        figures[f"{name} tasks"].append(tasks)
    if watch:
        figures["containers"] = here.containers()


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each name, in the order of the first run."""
    return {name: round(statistics.median(run.get(name, 0) for run in runs), 2) for name in runs[0]}


def durations(tasks: list[dict]) -> dict[str, float]:
    """Seconds of each task that ran, `host: task`; the rest is what Ansible does before, between and after."""
    spent: dict[str, float] = {}
    for entry in tasks:
        if entry.get("task") and entry["state"] != "skipped":
            name = f"{entry['host']}: {entry['task']}"
            spent[name] = spent.get(name, 0) + entry["end"] - entry["start"]
    return spent


def waits(tasks: list[dict]) -> dict[str, float]:
    """Seconds from the start of a waiting task until each object was what it should be."""
    return {
        f"{entry['host']}: {what}": seconds
        for entry in tasks
        if "waits" in entry
        for what, seconds in entry["waits"].items()
    }


def summary(name: str, timed: dict, watched: dict) -> dict:
    runs: list[Done] = timed[name]
    seconds = [done.seconds for done in runs]
    figures = {
        "seconds": [round(took, 1) for took in seconds],
        "minimum": round(min(seconds), 1),
        "median": round(statistics.median(seconds), 1),
        "cpu_seconds": round(statistics.median(done.cpu_seconds for done in runs), 1),
        "memory_mib": round(watched[name][0].memory_mib),
        "processes": watched[name][0].processes,
    }
    if name == "script":
        return figures | {"steps": medians([steps(done.output) for done in runs])}
    tasks = timed[f"{name} tasks"]
    middle = min(range(len(runs)), key=lambda n: abs(seconds[n] - statistics.median(seconds)))
    return figures | {
        "tasks": medians([durations(run) for run in tasks]),
        "waits": medians([waits(run) for run in tasks]),
        "timeline": timeline(tasks[middle], runs[middle].began),
    }


def timeline(tasks: list[dict], zero: float) -> list[dict]:
    """One run, to be drawn: when each task of each host began and ended, in seconds since the start of the program."""
    return [
        {
            "host": entry["host"],
            "task": entry["task"].split(" : ")[-1],
            "module": entry["module"],
            "from": round(entry["start"] - zero, 2),
            "to": round(entry["end"] - zero, 2),
        }
        for entry in tasks
        if entry.get("task") and entry["state"] != "skipped" and entry["end"] - entry["start"] >= 0.05
    ]


def measure(rounds: int = ROUNDS) -> dict:
    """A first round that is watched and warms up, then the rounds that are timed."""
    watched: dict = defaultdict(list)
    timed: dict = defaultdict(list)
    with place() as here:
        one_round(here, watched, True)
        for number in range(rounds):
            one_round(here, timed, False)
            took = ", ".join(f"{name} {timed[name][-1].seconds:.1f} s" for name in RUNS)
            print(f"  round {number + 1}: {took}", flush=True)
    return {name: summary(name, timed, watched) for name in RUNS} | {
        "containers_mib": {name: round(used) for name, used in watched["containers"].items()}
    }
