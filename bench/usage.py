# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command with its seconds, processor time, memory and processes."""

from __future__ import annotations

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


class BenchError(Exception):
    """What could not be measured, and why."""


@dataclass
class Done:
    """A command that has ended well. Memory and processes are zero unless they were asked for."""

    seconds: float
    cpu_seconds: float  # of the command and of all that it started and waited for
    output: str
    memory_mib: float = 0  # at its highest, every shared page counted once (proportional set size)
    processes: int = 0  # at their highest
    began: float = 0  # seconds since the epoch


def run(command: Sequence[str], env: dict[str, str] | None = None, watch: bool = False, timeout: float = 900) -> Done:
    """Runs a command in the checkout. Looking at its processes costs time, so a run is watched or timed."""
    memory, processes = 0.0, 0
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
                    now = tree(child.pid)
                    memory, processes = max(memory, now[0]), max(processes, now[1])
                time.sleep(EVERY if watch else 0.02)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        output = out.read()
    if child.returncode:
        tail = "\n".join(output.splitlines()[-25:])
        raise BenchError(f"{' '.join(command)} ended with {child.returncode}:\n{tail}")
    return Done(took, used.ru_utime + used.ru_stime, output, memory, processes, began)


def tree(pid: int) -> tuple[float, int]:
    """MiB and number of a process and all below it."""
    memory, count = 0.0, 0
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    for process in family:
        try:
            memory += process.memory_full_info().pss / 2**20
            count += 1
        except (psutil.NoSuchProcess, psutil.ZombieProcess, FileNotFoundError):
            continue  # ended meanwhile
    return memory, count
