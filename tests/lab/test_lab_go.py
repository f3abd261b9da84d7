# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own Go programs: format, vet, and their unit tests, with the lab's Go caches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lab.recipes import go_env  # noqa: E402

STACK = ROOT / "lab" / "go" / "stack"


def go(*words: str) -> str:
    done = subprocess.run(
        words, cwd=STACK, env={**os.environ, **go_env()}, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_format():
    assert go("gofmt", "-l", str(ROOT / "lab" / "go")) == ""


@pytest.mark.parametrize("program", ["node", "balancer"])
def test_unit(program):
    assert "ok" in go("go", "test", f"./cmd/{program}")


def test_vet():
    own = ("node", "balancer", "pause", "app", "linkerd-proxy", "linkerd-policy-controller")
    go("go", "vet", *(f"./cmd/{program}" for program in own))
