# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the collection on this machine: python -m bench [--only PART] [--dry] [--rounds N].

Everything runs in the lab with its own names, and is removed afterwards. The results are printed and, without --dry,
written to docs/guides/performance.md and docs/figures.
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
from bench import clusters, fleet, report, rotation, workshop
from bench.usage import BenchError
from lab.places import LabError

MEASURES = {
    "workshop": workshop.measure,
    "clusters": clusters.measure,
    "fleet": fleet.measure,
    "rotation": rotation.measure,
}


def describe_machine() -> str:
    """Processor, memory, kernel and Python of this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    models = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = models[0] if models else platform.machine()
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB, {system}"


def run_modules() -> None:
    """Run main() of the other modules in this package that have one."""
    for entry in pkgutil.iter_modules(bench.__path__):
        if entry.name != "__main__":
            module = importlib.import_module(f"bench.{entry.name}")
            if hasattr(module, "main"):
                print(f"\n{(module.__doc__ or entry.name).splitlines()[0]}", flush=True)
                module.main()


def measure(part: str, dry: bool, rounds: int | None, measured: dict) -> None:
    """Measure a part, print its tables, add its results to `measured` and, unless `dry`, store them."""
    print(f"\n{sys.modules[f'bench.{part}'].__doc__.splitlines()[0]}", flush=True)
    measured[part] = MEASURES[part](**settings(part, rounds, measured))
    print(f"\n{report.PARTS[part](measured[part])}", flush=True)
    if not dry:
        report.store(part, describe_machine(), measured[part])


def settings(part: str, rounds: int | None, measured: dict) -> dict:
    """Arguments of the function that measures a part. `measured` has the results of the parts before it."""
    if part == "fleet":
        return {"programs": (measured.get("workshop") or report.stored("workshop"))["programs"]}
    return {"rounds": rounds} if rounds and part != "rotation" else {}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[*MEASURES, "modules"], help="measure one part only")
    parser.add_argument("--dry", action="store_true", help="print the results, and do not change docs/")
    parser.add_argument("--rounds", type=int, help="rounds of workshop and clusters (default 3)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that objects are removed
    print(describe_machine(), flush=True)
    failed, measured = 0, {}
    for part in (*MEASURES, "modules"):
        if arguments.only in (None, part):
            try:
                if part == "modules":
                    run_modules()
                else:
                    measure(part, arguments.dry, arguments.rounds, measured)
            except (BenchError, LabError) as error:
                failed = 1
                print(f"bench {part}: {error}", file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
