# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin that prints the number of skipped tests, and fails a skipped test if the variable CI is set.

Tests that this machine or this Vault can never run are exempt. Their reason begins with "platform: ".
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

PLATFORM = "platform: "


def fail_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn the report of a skip into that of a failure, unless the platform is the reason or the test is an xfail."""
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(PLATFORM):
        report.outcome = "failed"
        report.longrepr = (
            f"{report.nodeid} was skipped: {reason}\n"
            f"CI is set, so a test may only be skipped if the platform cannot run it (reason: '{PLATFORM}...')."
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the number of skipped tests, also if it is 0."""
    skipped = terminalreporter.stats.get("skipped", [])
    platform = sum(PLATFORM in str(report.longrepr) for report in skipped)
    terminalreporter.write_line(f"Skipped tests: {len(skipped)}, {platform} of them for the platform")
