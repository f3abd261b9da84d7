# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured figures of this machine: python -m bench [--only PART] [--dry].

Everything runs in the lab under names of its own and is removed afterwards. What was measured goes to the terminal and,
unless --dry, into docs/guides/performance.md and docs/figures.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import platform
import re
import signal
import sys
from pathlib import Path

import bench
from bench import clusters, fleet, report, workshop
from bench.usage import BenchError
from lab.places import LabError

MEASURES = {"workshop": workshop.measure, "clusters": clusters.measure, "fleet": fleet.measure}


def machine() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    told = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = told[0] if told else platform.machine()
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB, {system}"


def modules() -> None:
    """Every other file of this folder that has a main()."""
    for found in pkgutil.iter_modules(bench.__path__):
        if found.name != "__main__":
            module = importlib.import_module(f"bench.{found.name}")
            if hasattr(module, "main"):
                print(f"\n{(module.__doc__ or found.name).splitlines()[0]}", flush=True)
                module.main()


def measure(part: str, dry: bool, **settings: int) -> None:
    print(f"\n{sys.modules[f'bench.{part}'].__doc__.splitlines()[0]}", flush=True)
    results = MEASURES[part](**settings)
    print(f"\n{report.PARTS[part](results)}", flush=True)
    if not dry:
        report.store(part, machine(), results)


def settings(part: str, rounds: int | None) -> dict[str, int]:
    return {"rounds": rounds} if part in ("workshop", "clusters") and rounds else {}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[*MEASURES, "modules"], help="one part")
    parser.add_argument("--dry", action="store_true", help="only print: leave docs/ as it is")
    parser.add_argument("--rounds", type=int, help="rounds of workshop (5 unless told) and clusters (3)")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made is removed, too
    print(machine(), flush=True)
    failed = 0
    for part in (*MEASURES, "modules"):
        if chosen.only in (None, part):
            try:
                modules() if part == "modules" else measure(part, chosen.dry, **settings(part, chosen.rounds))
            except (BenchError, LabError) as error:
                failed = 1
                print(f"bench {part}: {error}", file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
