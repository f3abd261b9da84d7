# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured figures of this machine: python -m bench [--only site|verify|memory|modules].

`site` starts from an empty network in the lab, so it removes what runs there. `modules` is every other file of this
folder that has a main().
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import bench
from lab import engine

ROOT = Path(__file__).resolve().parent.parent
RECAP = re.compile(r"^\S+\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
UNITS = {"B": 1 / 2**20, "KiB": 1 / 2**10, "MiB": 1, "GiB": 2**10}


class BenchError(Exception):
    """What could not be measured, and why."""


def row(what: str, figure: str, goal: str = "") -> None:
    print(f"{what:46}{figure:>16}   {goal}".rstrip(), flush=True)


def machine() -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    told = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = told[0] if told else platform.machine()
    print(f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB, Linux {platform.release()}, ", end="")
    print(f"Python {platform.python_version()}", flush=True)


def timed(*command: str) -> tuple[float, str]:
    """Seconds and output of a command that has to succeed."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    took = time.monotonic() - start
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise BenchError(f"{' '.join(command)} ended with {done.returncode}:\n{tail}")
    return took, done.stdout


def play(name: str) -> tuple[float, int]:
    """Seconds of a playbook in the lab, and how much it changed."""
    took, out = timed("ansible-playbook", f"playbooks/{name}.yml", "-i", "inventories/lab")
    recap = RECAP.findall(out)
    if not recap:
        raise BenchError(f"{name}.yml printed no recap")
    return took, sum(int(changed) for changed, _unreachable, _failed in recap)


def site() -> None:
    timed(sys.executable, "-m", "lab", "fresh")
    up = timed(sys.executable, "-m", "lab", "up")[0]
    took = play("site")[0]
    row("lab up, everything built", f"{up:.1f} s")
    row("site.yml from an empty network", f"{took:.1f} s")
    row("both: make demo with a full cache", f"{up + took:.1f} s", "goal: 120 s or less")
    took, changed = play("site")
    row("site.yml again", f"{took:.1f} s", "goal: 25 s or less")
    row("  changed", str(changed), "goal: 0")


def verify() -> None:
    took, changed = play("verify")
    row("verify.yml", f"{took:.1f} s", "goal: 12 s or less")
    row("  changed", str(changed), "goal: 0")


def memory() -> None:
    """What the lab's containers use, without the page cache, as docker counts it."""
    total = 0.0
    for address in engine.running():
        ids = engine.containers(address)
        told = (
            engine.docker(address, "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *ids) if ids else ""
        )
        for line in told.splitlines():
            name, used = line.split()[:2]
            number, unit = re.fullmatch(r"([\d.]+)(\w+)", used).groups()
            total += float(number) * UNITS[unit]
            row(f"memory of {name}", f"{float(number) * UNITS[unit]:.0f} MiB")
    if not total:
        raise BenchError("nothing runs in the lab; `make demo` starts it")
    row("memory of all of them", f"{total:.0f} MiB", "goal: 2048 MiB or less")


def modules() -> None:
    for found in pkgutil.iter_modules(bench.__path__):
        if found.name != "__main__":
            module = importlib.import_module(f"bench.{found.name}")
            if hasattr(module, "main"):
                print(f"\n{(module.__doc__ or found.name).splitlines()[0]}", flush=True)
                module.main()


PARTS = {"site": site, "verify": verify, "memory": memory, "modules": modules}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS)
    only = parser.parse_args().only
    machine()
    failed = 0
    for name, part in PARTS.items():
        if only in (None, name):
            try:
                part()
            except BenchError as error:
                failed = 1
                print(f"bench {name}: {error}", file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
