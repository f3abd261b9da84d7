# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress lines with the number of the step, its name, its seconds, and the seconds of the last run."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class Progress:
    """Prints one line for each step. On a terminal, the line is updated every second."""

    def __init__(
        self, timings: Path, total: int, out: TextIO = sys.stdout, clock: Callable[[], float] = time.monotonic
    ):
        self.timings, self.total, self.out, self.clock = timings, total, out, clock
        self.number = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Print and store the seconds of the block. If it fails, the line shows that, and nothing is stored."""
        self.number += 1
        start, before = self.clock(), self._read().get(name)
        head = f"[{self.number:2}/{self.total}] {name} ..."
        last = "" if before is None else f" (last time {before:.0f} s)"
        finished = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(head, last, start, finished), daemon=True)
        if self.out.isatty():
            ticker.start()
        else:
            self.out.write(f"{head}\n" if before is None else f"{head}{last}\n")
            self.out.flush()
        outcome = "failed after "
        try:
            yield
            outcome = ""
        finally:
            finished.set()
            if ticker.is_alive():
                ticker.join()
            seconds = self.clock() - start
            self.out.write(f"{self._rewind()}{head} {outcome}{seconds:.0f} s{last}\n")
            self.out.flush()
        self._write(name, seconds)

    def _tick(self, head: str, last: str, start: float, finished: threading.Event) -> None:
        while not finished.wait(1):
            self.out.write(f"{self._rewind()}{head} {self.clock() - start:.0f} s{last}")
            self.out.flush()

    def _rewind(self) -> str:
        return "\r\x1b[K" if self.out.isatty() else ""

    def _read(self) -> dict[str, float]:
        try:
            return json.loads(self.timings.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def _write(self, name: str, seconds: float) -> None:
        partial = self.timings.with_suffix(".partial")
        partial.write_text(json.dumps(self._read() | {name: round(seconds, 1)}, indent=1, sort_keys=True))
        partial.replace(self.timings)
