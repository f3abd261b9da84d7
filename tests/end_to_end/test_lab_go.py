# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All Go code of the lab: format, vet and unit tests, with the lab's Go caches. Modules without code are pins only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.places import SOURCES
from lab.recipes import go_env

FOLDERS = [file.parent for file in sorted((SOURCES / "go").glob("*/go.mod")) if any(file.parent.rglob("*.go"))]
# It is within cert-manager's module path, a module that only go/stack replaces, so `./...` there does not match it.
CERT_MANAGER = "github.com/cert-manager/cert-manager/lab"


def go(*command: str, folder: Path) -> str:
    """The output of a command. The first vet of a Kubernetes version analyses all its packages: minutes."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **go_env()}, capture_output=True, text=True, timeout=3600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def packages(folder: Path) -> list[str]:
    """Every package below the folder, which together hold every Go file of it."""
    patterns = ["./...", CERT_MANAGER] if folder.name == "stack" else ["./..."]
    files = "{{range .GoFiles}}{{$.Dir}}/{{.}}\n{{end}}{{range .TestGoFiles}}{{$.Dir}}/{{.}}\n{{end}}"
    listed = go("go", "list", "-f", files, *patterns, folder=folder).split()
    assert set(listed) == {str(file) for file in folder.rglob("*.go")}
    return patterns


def test_format():
    assert go("gofmt", "-l", ".", folder=SOURCES / "go") == ""


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_vet(folder):
    go("go", "vet", *packages(folder), folder=folder)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_unit(folder):
    output = go("go", "test", "-count=1", *packages(folder), folder=folder)
    passed = [line for line in output.splitlines() if line.startswith("ok")]
    assert len(passed) == len({file.parent for file in folder.rglob("*_test.go")}), output
