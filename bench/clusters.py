# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three clusters at once beside one: the same lab, in turns, cold each time, one Vault and one root for all."""

from __future__ import annotations

import statistics

from bench.place import place
from bench.workshop import changed, durations, medians

ROUNDS = 3
COUNTS = (1, 3)


def measure(rounds: int = ROUNDS) -> dict:
    runs: dict[int, list] = {count: [] for count in COUNTS}
    tasks: dict[int, list] = {count: [] for count in COUNTS}
    for number in range(rounds):
        for count in COUNTS:
            with place(count) as here:
                done, told = here.play("site", f"--forks={count + 1}")
                again = here.play("site", f"--forks={count + 1}")[0]
                if changed(again):
                    raise RuntimeError(f"the second run changed something:\n{again.output[-3000:]}")
            runs[count].append((done, again))
            tasks[count].append(told)
        print(
            f"  round {number + 1}: " + ", ".join(f"{count}: {runs[count][-1][0].seconds:.1f} s" for count in COUNTS),
            flush=True,
        )
    return {
        str(count): {
            "seconds": [round(done.seconds, 1) for done, _again in runs[count]],
            "median": round(statistics.median(done.seconds for done, _again in runs[count]), 1),
            "again_median": round(statistics.median(again.seconds for _done, again in runs[count]), 1),
            "cpu_seconds": round(statistics.median(done.cpu_seconds for done, _again in runs[count]), 1),
            "vault_tasks": vault_tasks(tasks[count]),
        }
        for count in COUNTS
    }


def vault_tasks(runs: list[list[dict]]) -> dict[str, float]:
    """Seconds of every task of the Vault host: what is done once."""
    return {
        name: took
        for name, took in medians([durations(run) for run in runs]).items()
        if name.startswith("bench-vault:")
    }
