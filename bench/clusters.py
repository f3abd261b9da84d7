# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml for one and three clusters, in alternating order. Each run creates the clusters, one Vault and one root."""

from __future__ import annotations

import statistics

from bench.ratios import ratios
from bench.sandbox import timed_sandbox
from bench.usage import BenchError
from bench.workshop import changed, durations, medians, order

ROUNDS = 3
COUNTS = (1, 3)


def measure(rounds: int = ROUNDS) -> dict:
    """Seconds of each count of clusters in some rounds. Raises BenchError if a second run changes anything."""
    runs: dict[int, list] = {count: [] for count in COUNTS}
    tasks: dict[int, list] = {count: [] for count in COUNTS}
    for number in range(rounds):
        for count in order(COUNTS, number):
            with timed_sandbox(count) as sandbox:
                first, times = sandbox.play("site", f"--forks={count + 1}")
                second = sandbox.play("site", f"--forks={count + 1}")[0]
                if changed(second):
                    raise BenchError(f"The second run of site.yml changed something:\n{second.output[-3000:]}")
            runs[count].append((first, second))
            tasks[count].append(times)
        seconds = {count: runs[count][-1][0].seconds for count in COUNTS}
        shown = ", ".join(f"{count}: {seconds[count]:.1f} s" for count in COUNTS)
        ratio = ratios([seconds[3]], [seconds[1]])[0]
        print(f"  round {number + 1}: {shown}; three are {ratio:.2f} times one", flush=True)
    return {
        str(count): {
            "seconds": [round(first.seconds, 2) for first, _ in runs[count]],
            "again_seconds": [round(second.seconds, 2) for _, second in runs[count]],
            "median": round(statistics.median(first.seconds for first, _ in runs[count]), 1),
            "again_median": round(statistics.median(second.seconds for _, second in runs[count]), 1),
            "cpu_seconds": round(statistics.median(first.cpu_seconds for first, _ in runs[count]), 1),
            "vault_tasks": vault_tasks(tasks[count]),
        }
        for count in COUNTS
    }


def vault_tasks(runs: list[list[dict]]) -> dict[str, float]:
    """Median seconds of the tasks on the Vault host, which run once for all clusters."""
    return {
        name: seconds
        for name, seconds in medians([durations(run) for run in runs]).items()
        if name.startswith("bench-vault:")
    }
