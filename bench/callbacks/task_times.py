# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a line of JSON with the times of each task on each host to the file in BENCH_TASK_TIMES."""

from __future__ import annotations

import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_times
type: aggregate
short_description: Write the times of tasks for the bench
description: Writes one line of JSON for each task and host, and for the start and the end of the run.
"""


class CallbackModule(CallbackBase):
    """Start and end of tasks in seconds since the epoch, because tasks of several hosts overlap."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        path = os.environ.get("BENCH_TASK_TIMES")
        self.disabled = not path
        self.file = open(path, "a", encoding="utf-8", buffering=1) if path else None  # noqa: SIM115 open until the run ends
        self.starts: dict[tuple[str, str], float] = {}

    def write(self, **entry) -> None:
        self.file.write(json.dumps(entry) + "\n")

    def v2_playbook_on_start(self, playbook) -> None:
        self.write(mark="start", end=time.time())

    def v2_playbook_on_stats(self, stats) -> None:
        self.write(mark="end", end=time.time())

    def v2_runner_on_start(self, host, task) -> None:
        self.starts[host.name, task._uuid] = time.time()

    def write_task(self, result, state: str) -> None:
        """Write a line for a finished task."""
        now, details = time.time(), result._result
        waits = {f"{item['kind']} {item['name']}": item["seconds"] for item in waited_objects(details)}
        self.write(
            host=result._host.name,
            task=result._task.get_name().strip(),
            module=result._task.action,
            state=state,
            start=self.starts.get((result._host.name, result._task._uuid), now),
            end=now,
            waits=waits,
            attempts=details.get("attempts", 1),
        )

    def v2_runner_on_ok(self, result) -> None:
        self.write_task(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_on_skipped(self, result) -> None:
        self.write_task(result, "skipped")

    def v2_runner_on_failed(self, result, ignore_errors=False) -> None:
        self.write_task(result, "failed")

    def v2_runner_on_unreachable(self, result) -> None:
        self.write_task(result, "unreachable")


def waited_objects(details: dict) -> list[dict]:
    """The objects in the result of k8s_condition that have seconds."""
    objects = details.get("objects")
    return [item for item in objects if "seconds" in item] if isinstance(objects, list) else []
