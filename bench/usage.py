# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command with its seconds, processor time, memory and processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
EVERY = 0.25  # seconds between two looks at the processes
ORPHANS_MAY_TAKE = 10  # seconds until what a command leaves behind has ended


class BenchError(Exception):
    """What could not be measured, and why."""


@dataclass
class Done:
    """A command that has ended well. Memory and processes are zero unless they were asked for."""

    seconds: float
    cpu_seconds: float  # of the command and of all that it started
    output: str
    memory_mib: float = 0  # at its highest, every shared page counted once (proportional set size)
    processes: int = 0  # at their highest
    began: float = 0  # seconds since the epoch


def run(command: Sequence[str], env: dict[str, str] | None = None, watch: bool = False, timeout: float = 900) -> Done:
    """Runs a command in the checkout. Looking at its processes costs time, so a run is watched or timed."""
    memory, processes = 0.0, 0
    adopt_orphans()
    others = set(psutil.Process().children())
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
        start, began = time.monotonic(), time.time()
        child = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            while True:
                pid, status, used = os.wait4(child.pid, os.WNOHANG)
                took = time.monotonic() - start
                if pid:
                    break
                if took > timeout:
                    raise BenchError(f"{' '.join(command)} did not end within {timeout:.0f} s")
                if watch:
                    now = family(set(psutil.Process().children()) - others)
                    memory, processes = max(memory, now[0]), max(processes, now[1])
                time.sleep(EVERY if watch else 0.02)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu = used.ru_utime + used.ru_stime + orphans(set(psutil.Process().children()) - others)
        out.seek(0)
        output = out.read()
    if child.returncode:
        tail = "\n".join(output.splitlines()[-25:])
        raise BenchError(f"{' '.join(command)} ended with {child.returncode}:\n{tail}")
    return Done(took, cpu, output, memory, processes, began)


def adopt_orphans() -> None:
    """Processes that outlive who started them become children of this one, so that they are counted (prctl(2))."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def orphans(left: set[psutil.Process]) -> float:
    """Processor seconds of what a command has left behind, which is to end by itself."""
    spent, end = 0.0, time.monotonic() + ORPHANS_MAY_TAKE
    for process in left:
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            if time.monotonic() > end:
                raise BenchError(f"{' '.join(process.cmdline())} is still there after the command that started it")
            time.sleep(0.05)
        spent += ended[2].ru_utime + ended[2].ru_stime
    return spent


def family(heads: set[psutil.Process]) -> tuple[float, int]:
    """MiB and number of some processes and all below them."""
    memory, count = 0.0, 0
    for head in heads:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (head, *head.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):  # ended meanwhile
                    memory += process.memory_full_info().pss / 2**20
                    count += 1
    return memory, count
