# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line of JSON for each task and host, with its times, into the file that BENCH_TASK_TIMES names."""

from __future__ import annotations

import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_times
type: aggregate
short_description: Times of every task on every host, for bench
description: Writes one line of JSON for each task and host, and for the start and the end of the run.
"""


class CallbackModule(CallbackBase):
    """Times are seconds since the epoch: hosts overlap, so durations alone would not tell."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        path = os.environ.get("BENCH_TASK_TIMES")
        self.disabled = not path
        self.file = open(path, "a", encoding="utf-8", buffering=1) if path else None  # noqa: SIM115 until the end
        self.began: dict[tuple[str, str], float] = {}

    def write(self, **entry) -> None:
        self.file.write(json.dumps(entry) + "\n")

    def v2_playbook_on_start(self, playbook) -> None:
        self.write(mark="start", end=time.time())

    def v2_playbook_on_stats(self, stats) -> None:
        self.write(mark="end", end=time.time())

    def v2_runner_on_start(self, host, task) -> None:
        self.began[host.name, task._uuid] = time.time()

    def done(self, result, state: str) -> None:
        now, told = time.time(), result._result
        waits = {f"{item['kind']} {item['name']}": item["seconds"] for item in waited_for(told)}
        self.write(
            host=result._host.name,
            task=result._task.get_name().strip(),
            module=result._task.action,
            state=state,
            start=self.began.get((result._host.name, result._task._uuid), now),
            end=now,
            waits=waits,
            attempts=told.get("attempts", 1),
        )

    def v2_runner_on_ok(self, result) -> None:
        self.done(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_on_skipped(self, result) -> None:
        self.done(result, "skipped")

    def v2_runner_on_failed(self, result, ignore_errors=False) -> None:
        self.done(result, "failed")

    def v2_runner_on_unreachable(self, result) -> None:
        self.done(result, "unreachable")


def waited_for(told: dict) -> list[dict]:
    """The objects of k8s_condition, each with its seconds."""
    objects = told.get("objects")
    return [item for item in objects if "seconds" in item] if isinstance(objects, list) else []
