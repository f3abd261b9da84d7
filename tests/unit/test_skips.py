# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pytest plugin tests/skips.py, in a separate process of pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CASES = """
import pytest

@pytest.fixture
def missing():
    pytest.skip("no chromium: make browser installs it")

def test_fixture(missing): pass
@pytest.mark.skip(reason="not now")
def test_mark(): pass
def test_platform(): pytest.skip("platform: no IPv6")
@pytest.mark.xfail(reason="a known defect")
def test_expected_failure(): assert False
def test_passes(): pass
"""
WHOLE_FILE = "import pytest\npytest.skip('no library', allow_module_level=True)\n"


def outcome(folder: Path, ci: str, *arguments: str) -> tuple[int, dict[str, int], str]:
    """The exit status of pytest, the counts of its last line, and its output."""
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "pytest", "-p", "skips", "-p", "no:cacheprovider", "--color=no", *arguments]
    done = subprocess.run([*command, folder], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1]
    return done.returncode, {name: int(count) for count, name in re.findall(r"(\d+) ([a-z]+)", last)}, done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_cases.py").write_text(CASES)
    return tmp_path


def test_skips_are_counted_without_ci(folder):
    status, counts, output = outcome(folder, "")
    assert status == 0, output
    assert (counts["passed"], counts["skipped"], counts["xfailed"], "failed" in counts) == (1, 3, 1, False)
    assert "Skipped tests: 3, 1 of them for the platform\n" in output


@pytest.mark.parametrize("arguments", [(), ("--numprocesses=1",)], ids=["one process", "pytest-xdist"])
def test_ci_fails_skips_except_for_platform(folder, arguments):
    status, counts, output = outcome(folder, "true", *arguments)
    assert status == 1, output
    failures = counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
    assert (counts["passed"], failures, counts["skipped"], counts["xfailed"]) == (1, 2, 1, 1)
    assert "test_fixture was skipped: no chromium: make browser installs it" in output
    assert "test_mark was skipped: not now" in output
    assert "Skipped tests: 1, 1 of them for the platform\n" in output


def test_ci_fails_skipped_file(folder):
    (folder / "test_library.py").write_text(WHOLE_FILE)
    assert outcome(folder, "")[0] == 0
    status, dummy, output = outcome(folder, "true")
    assert status == 2
    assert "test_library.py was skipped: no library" in output


def test_count_is_printed_without_skips(tmp_path):
    (tmp_path / "test_one.py").write_text("def test_passes(): pass\n")
    status, dummy, output = outcome(tmp_path, "true")
    assert (status, "Skipped tests: 0, 0 of them for the platform\n" in output) == (0, True)


@pytest.mark.parametrize("tier", ["unit", "integration", "end_to_end"])
def test_plugin_is_active_in_every_tier(tier):
    """Collects no test modules, which takes long. pytest exits with status 5 if it finds no tests."""
    command = [sys.executable, "-m", "pytest", "--ignore-glob=*/test_*.py", str(TESTS / tier)]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, "Skipped tests: 0," in done.stdout) == (5, True), done.stdout + done.stderr
