# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress lines of the lab."""

from __future__ import annotations

import io
import re
import subprocess
import time

import pytest

from lab import prometheus
from lab.progress import Progress


class Clock:
    """A clock whose time the test sets."""

    now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def timings(tmp_path):
    return tmp_path / "timings.json"


def run(timings, *seconds, out=None):
    out, clock = out or io.StringIO(), Clock()
    progress = Progress(timings, len(seconds), out, clock)
    for number, duration in enumerate(seconds):
        with progress.step(f"part {number}"):
            clock.now += duration
    return out.getvalue().splitlines()


def test_first_run_shows_no_last_time(timings):
    assert run(timings, 52, 3) == [
        "[ 1/2] part 0 ...",
        "[ 1/2] part 0 ... 52 s",
        "[ 2/2] part 1 ...",
        "[ 2/2] part 1 ... 3 s",
    ]


def test_second_run_shows_last_time(timings):
    run(timings, 54)
    assert run(timings, 52)[-1] == "[ 1/1] part 0 ... 52 s (last time 54 s)"
    assert run(timings, 50)[0] == "[ 1/1] part 0 ... (last time 52 s)"


def test_failure_is_shown_and_its_time_not_stored(timings):
    out, clock = io.StringIO(), Clock()
    with pytest.raises(ValueError, match="no"), Progress(timings, 1, out, clock).step("part"):
        clock.now += 7
        raise ValueError("no")
    assert out.getvalue().splitlines()[-1] == "[ 1/1] part ... failed after 7 s"
    assert not timings.exists()


def test_invalid_timings_are_ignored(timings):
    timings.write_text("{")
    assert run(timings, 1)[-1] == "[ 1/1] part 0 ... 1 s"
    assert run(timings, 1)[-1] == "[ 1/1] part 0 ... 1 s (last time 1 s)"


def test_terminal_shows_elapsed_seconds(timings):
    out, update = Terminal(), re.compile(r"\r\x1b\[K\[ 1/1\] part \.\.\. [1-9]\d* s(?=\r\x1b\[K)")
    with Progress(timings, 1, out).step("part"):
        end = time.monotonic() + 120
        while not update.search(out.getvalue()) and time.monotonic() < end:
            time.sleep(0.05)
    assert len(update.findall(out.getvalue())) >= 2, "overwritten by the next line, and by the result"
    assert out.getvalue().count("\n") == 1


def test_build_of_prometheus_does_not_write_the_timings_of_the_lab(own_cache, monkeypatch):
    """Both build at the same time in `make test`, and only the lab holds its lock."""
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(prometheus.subprocess, "run", lambda *dummy, **options: done)
    prometheus.program("promtool")
    assert [path.name for path in own_cache.glob("*timings.json")] == ["prometheus-timings.json"]
