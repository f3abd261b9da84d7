# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets of the Makefile, sessions of noxfile.py and .ci/run provide what their tests need, or fail."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import debian13
import pytest

import noxfile

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("target", ["test", "test-vault", "coverage", "oldest"])
def test_targets_that_test_the_report_install_a_browser(target, tmp_path):
    """Their tests are skipped without one, which is a failure in CI."""
    command = ["make", "--dry-run", "--no-print-directory", f"SERVICEMESH_PKI_CACHE={tmp_path}", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "chromium" in done.stdout


def test_demo_with_monitoring_runs_what_is_tested_in_the_lab(tmp_path):
    """test_alerts.py runs the last commands."""
    command = ["make", "--dry-run", "--no-print-directory", f"SERVICEMESH_PKI_CACHE={tmp_path}", "demo", "MONITORING=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.strip() for line in done.stdout.splitlines()[-3:]] == [
        "python -m lab up",
        "ansible-playbook playbooks/site.yml -i inventories/lab",
        "ansible-playbook playbooks/monitoring.yml -i inventories/lab && python -m lab monitor",
    ]


def test_ci_fails_on_skipped_tests(tmp_path):
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$@" "CI=$CI"\n')
    make.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CI": ""}
    done = subprocess.run([ROOT / ".ci/run"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "test CI=true\n"


class Session:
    """Records the programs that a session of nox would run, and their environment variables."""

    def __init__(self) -> None:
        self.commands: list[tuple[tuple[str, ...], dict[str, str]]] = []
        self.posargs: list[str] = []

    def run(self, *command: str, env: dict[str, str] | None = None, **dummy: Any) -> None:
        self.commands.append((command, env or {}))


def test_session_oldest_requires_exactly_the_oldest_versions(monkeypatch):
    """test_oldest.py reads the variable."""
    session = Session()
    monkeypatch.setattr(noxfile, "oldest_environment", lambda *dummy: Path("/venv"))
    noxfile.oldest.func(session)
    command, env = session.commands[-1]
    assert command[:3] == ("/venv/bin/python", "-m", "pytest")
    assert env["SERVICEMESH_PKI_TEST_OLDEST"] == "1"


class Unpacking(Session):
    """Creates the two files of an artifact that unpack_artifact() removes."""

    def run(self, *command: str, **dummy: Any) -> None:
        for name in ("MANIFEST.json", "FILES.json"):
            Path(command[-1], name).touch()


def test_artifact_without_the_list_of_tests_is_an_error(tmp_path, monkeypatch):
    """As if Git refuses the checkout. ansible-test would check an empty list."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "missing"))
    with pytest.raises(subprocess.CalledProcessError):
        noxfile.unpack_artifact(Unpacking(), tmp_path / "artifact", tmp_path / "unpacked")


def test_git_reads_a_checkout_of_another_user_in_the_chroot(tmp_path):
    """In the workflow, the checkout is not root's, and the chroot has another HOME than the runner."""
    other_user = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    subprocess.run(["git", "init", "--quiet", tmp_path], env=other_user, check=True)

    def code(env: dict[str, str]) -> int:
        return subprocess.run(["git", "ls-files"], cwd=tmp_path, env=env, capture_output=True, check=False).returncode

    assert code(other_user) == 128
    assert code({**debian13.environment(other_user, Path("/go")), "PATH": os.environ["PATH"]}) == 0
