# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the workshop as a script compared with site.yml, in alternating order, each with a new cluster."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence

from bench.ratios import ratios
from bench.sandbox import FORKSERVER, TimedSandbox, timed_sandbox
from bench.usage import BenchError, Usage

ROUNDS = 3
SCRIPTS = ("script", "script_values")  # as it is, and with the chart values of site.yml
# Connection of site.yml -> runs and their playbooks. Only the first run of each may change something.
PLAYS = {
    "local": {"local": "site", "local_again": "site", "verify": "verify"},
    FORKSERVER: {"forkserver": "site", "forkserver_again": "site"},
}
VARIANTS = (*SCRIPTS, *PLAYS)
RUNS = (*SCRIPTS, *(name for plays in PLAYS.values() for name in plays))
STEP = re.compile(r"^@step (\d+[.,]\d+) (.+)$", re.MULTILINE)
RECAP = re.compile(r"^\S+\s+: ok=\d+\s+changed=(\d+)", re.MULTILINE)


def steps(output: str) -> dict[str, float]:
    """Seconds of each step of the script."""
    starts = [(float(timestamp.replace(",", ".")), name) for timestamp, name in STEP.findall(output)]
    return {name: end - start for (start, name), (end, _) in itertools.pairwise(starts)}


def changed(run: Usage) -> int:
    """The number of changed tasks in the recap of a playbook. Raises BenchError if there is none."""
    recap = RECAP.findall(run.output)
    if not recap:
        raise BenchError("The output of the playbook has no recap.")
    return sum(int(count) for count in recap)


def order(variants: Sequence, number: int) -> Sequence:
    """The order of a round: reversed in every second one, because a run can profit from the one before it."""
    return variants[::-1] if number % 2 else variants


def run_variant(sandbox: TimedSandbox, variant: str, results: dict, watch: bool) -> None:
    """Run a script, or the playbooks on a connection. Raises BenchError if a run after site.yml changes something."""
    sandbox.remove()
    if variant in SCRIPTS:
        results[variant].append(sandbox.run_script(variant == "script_values", watch))
        return
    first = next(iter(PLAYS[variant]))
    for name, playbook in PLAYS[variant].items():
        usage, tasks = sandbox.play(playbook, connection=variant, watch=watch)
        if name != first and changed(usage):
            raise BenchError(f"{playbook}.yml changed something after site.yml:\n{usage.output[-3000:]}")
        results[name].append(usage)
        results[f"{name} tasks"].append(tasks)


def run_round(sandbox: TimedSandbox, results: dict, number: int, watch: bool = False) -> None:
    """Run each variant once from nothing."""
    for variant in order(VARIANTS, number):
        run_variant(sandbox, variant, results, watch)
    if watch:
        results["containers"] = sandbox.container_memory()


def describe_round(timed: dict) -> str:
    """The seconds of the last round, and the ratios of site.yml to the script in it."""
    seconds = {name: timed[name][-1].seconds for name in RUNS}
    compared = {name: ratios([value], [seconds["script"]])[0] for name, value in seconds.items()}
    return ", ".join(f"{name} {seconds[name]:.1f} s ({compared[name]:.2f})" for name in RUNS)


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each name, in the order of the first run."""
    return {name: round(statistics.median(run.get(name, 0) for run in runs), 2) for name in runs[0]}


def durations(tasks: list[dict]) -> dict[str, float]:
    """Seconds of each task that was not skipped, by `host: task`."""
    spent: dict[str, float] = {}
    for entry in tasks:
        if entry.get("task") and entry["state"] != "skipped":
            name = f"{entry['host']}: {entry['task']}"
            spent[name] = spent.get(name, 0) + entry["end"] - entry["start"]
    return spent


def waits(tasks: list[dict]) -> dict[str, float]:
    """Seconds from the start of a waiting task until each object met its condition, by `host: object`."""
    return {
        f"{entry['host']}: {waited_for}": seconds
        for entry in tasks
        if "waits" in entry
        for waited_for, seconds in entry["waits"].items()
    }


def summary(name: str, timed: dict, watched: dict) -> dict:
    """The results of a program: times of the timed runs, memory and processes of the watched run."""
    runs: list[Usage] = timed[name]
    seconds = [usage.seconds for usage in runs]
    figures = {
        "seconds": [round(value, 2) for value in seconds],
        "minimum": round(min(seconds), 1),
        "median": round(statistics.median(seconds), 1),
        "maximum": round(max(seconds), 1),
        "cpu_seconds": round(statistics.median(usage.cpu_seconds for usage in runs), 1),
        "memory_mib": round(watched[name][0].memory_mib),
        "processes": watched[name][0].processes,
    }
    if name in SCRIPTS:
        return figures | {"steps": medians([steps(usage.output) for usage in runs])}
    tasks = timed[f"{name} tasks"]
    middle = min(range(len(runs)), key=lambda n: abs(seconds[n] - statistics.median(seconds)))
    return figures | {
        "tasks": medians([durations(run) for run in tasks]),
        "waits": medians([waits(run) for run in tasks]),
        "timeline": timeline(tasks[middle], runs[middle].started),
    }


def timeline(tasks: list[dict], zero: float) -> list[dict]:
    """Start and end of each task of one run for the plot, in seconds since the start of the program."""
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
    """Measure programs in a run of site.yml, run a round that is watched and fills caches, and the timed rounds."""
    watched: dict = defaultdict(list)
    timed: dict = defaultdict(list)
    with timed_sandbox() as sandbox:
        programs = sandbox.measure_programs()
        print(f"  programs: {programs}", flush=True)
        run_round(sandbox, watched, 0, watch=True)
        for number in range(rounds):
            run_round(sandbox, timed, number)
            print(f"  round {number + 1}: {describe_round(timed)}", flush=True)
    return {name: summary(name, timed, watched) for name in RUNS} | {
        "containers_mib": {name: round(used) for name, used in watched["containers"].items()},
        "programs": programs,
    }
