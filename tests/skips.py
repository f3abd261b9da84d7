# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin for every tier: it prints how many tests were skipped, and where the environment variable CI is set a
skipped test is a failed test.

A test that this machine or this Vault cannot run at all is the exception. Its reason begins with "platform: ".
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

PLATFORM = "platform: "


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a report of a skip into one of a failure, unless the platform is the reason. An expected failure is none."""
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(PLATFORM):
        report.outcome = "failed"
        report.longrepr = (
            f"{report.nodeid} was skipped: {reason}\n"
            f"With CI set, only a test that the platform cannot run may be skipped (reason: '{PLATFORM}...')."
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the count, also when it is 0, so that a run that left tests out is not taken for a complete one."""
    skipped = terminalreporter.stats.get("skipped", [])
    platform = sum(PLATFORM in str(report.longrepr) for report in skipped)
    terminalreporter.write_line(f"Skipped tests: {len(skipped)}, {platform} of them for the platform")
