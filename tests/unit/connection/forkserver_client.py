# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of the fork server, for programs that a test writes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from ansible_collections.servicemesh.pki.plugins.plugin_utils._forkserver.client import run_in_fork
from ansible_collections.servicemesh.pki.plugins.plugin_utils._forkserver.server import Request


def soon(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The value of the condition, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    assert value
    return value


def ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended after is_running()
        return True


class Client:
    """Runs programs in forks of a server whose parent is a process of the test."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.parent = subprocess.Popen(["sleep", "600"])
        (folder / "link").symlink_to(".")
        self.environment = {**environment, "SHOWN": "first", "PWD": str(folder / "link")}

    def __call__(self, payload: str, *libraries: str, **changed: str) -> tuple[int, bytes, bytes] | None:
        request = Request(payload.encode(), self.environment | changed, str(self.folder))
        return run_in_fork(str(self.folder), request, libraries, self.parent.pid)

    def output(self, payload: str, *libraries: str) -> str:
        done = self(payload, *libraries)
        assert done is not None
        assert done[0] == 0, done[2].decode()
        return done[1].decode()

    def server(self) -> psutil.Process:
        return psutil.Process(int(self.output("import os; print(os.getppid())")))

    def end(self) -> None:
        self.parent.kill()
        self.parent.wait()
