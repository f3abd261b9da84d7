# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command and measure its time, processor time, memory and processes."""

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
SAMPLE_SECONDS = 0.25  # interval in which the processes are measured
ORPHAN_TIMEOUT_SECONDS = 10  # for processes that are still running after the command


class BenchError(Exception):
    """A failed measurement. The message states the cause."""


@dataclass
class Usage:
    """Output and usage of a successful command. Memory and processes are 0 unless the run was watched."""

    seconds: float
    cpu_seconds: float  # of the command and all its child processes
    output: str
    memory_mib: float = 0  # maximum of the proportional set size (PSS)
    processes: int = 0  # maximum
    started: float = 0  # seconds since the epoch


def run(command: Sequence[str], env: dict[str, str] | None = None, watch: bool = False, timeout: float = 900) -> Usage:
    """Run a command in the checkout. Watching its processes costs time, so a run is either watched or timed.

    Raises BenchError if the command fails or exceeds the timeout in seconds.
    """
    memory, processes = 0.0, 0
    adopt_orphans()
    existing = set(psutil.Process().children())
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
        start, started = time.monotonic(), time.time()
        child = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            while True:
                pid, status, used = os.wait4(child.pid, os.WNOHANG)
                elapsed = time.monotonic() - start
                if pid:
                    break
                if elapsed > timeout:
                    raise BenchError(f"{' '.join(command)} timed out after {timeout:.0f} s.")
                if watch:
                    current = process_tree_usage(set(psutil.Process().children()) - existing)
                    memory, processes = max(memory, current[0]), max(processes, current[1])
                time.sleep(SAMPLE_SECONDS if watch else 0.02)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu = used.ru_utime + used.ru_stime + wait_for_orphans(set(psutil.Process().children()) - existing)
        out.seek(0)
        output = out.read()
    if child.returncode:
        tail = "\n".join(output.splitlines()[-25:])
        raise BenchError(f"{' '.join(command)} exited with status {child.returncode}:\n{tail}")
    return Usage(elapsed, cpu, output, memory, processes, started)


def adopt_orphans() -> None:
    """Make this process the parent of orphans, so that they are counted (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def wait_for_orphans(orphans: set[psutil.Process]) -> float:
    """Wait for processes that a command left, and return their processor seconds. Raises BenchError after a timeout."""
    spent, end = 0.0, time.monotonic() + ORPHAN_TIMEOUT_SECONDS
    for process in orphans:
        while not (exited := os.wait4(process.pid, os.WNOHANG))[0]:
            if time.monotonic() > end:
                raise BenchError(f"{' '.join(process.cmdline())} is still running after the command that started it.")
            time.sleep(0.05)
        spent += exited[2].ru_utime + exited[2].ru_stime
    return spent


def process_tree_usage(roots: set[psutil.Process]) -> tuple[float, int]:
    """Memory in MiB and number of the processes and all their descendants."""
    memory, count = 0.0, 0
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):  # it has exited
                    memory += process.memory_full_info().pss / 2**20
                    count += 1
    return memory, count
