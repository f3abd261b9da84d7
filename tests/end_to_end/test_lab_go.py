# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Format, vet and unit tests of the Go code in lab/go, with the Go caches of the lab."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.places import SOURCES
from lab.recipes import go_env

FOLDERS = [file.parent for file in sorted((SOURCES / "go").glob("*/go.mod")) if any(file.parent.rglob("*.go"))]
# A separate module under the module path of cert-manager, so that `./...` in go/stack does not match it.
CERT_MANAGER = "github.com/cert-manager/cert-manager/lab"


def go(*command: str, folder: Path) -> str:
    """The output of a command. The first `go vet` of a Kubernetes version takes minutes."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **go_env()}, capture_output=True, text=True, timeout=3600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def packages(folder: Path) -> list[str]:
    """Patterns of the packages in a folder, after a check that they contain all Go files of the folder."""
    patterns = ["./...", CERT_MANAGER] if folder.name == "stack" else ["./..."]
    files = "{{range .GoFiles}}{{$.Dir}}/{{.}}\n{{end}}{{range .TestGoFiles}}{{$.Dir}}/{{.}}\n{{end}}"
    listed = go("go", "list", "-f", files, *patterns, folder=folder).split()
    assert set(listed) == {str(file) for file in folder.rglob("*.go")}
    return patterns


def test_gofmt_changes_nothing():
    assert go("gofmt", "-l", ".", folder=SOURCES / "go") == ""


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_go_vet_passes(folder):
    go("go", "vet", *packages(folder), folder=folder)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_unit_tests_pass(folder):
    output = go("go", "test", "-count=1", *packages(folder), folder=folder)
    passed = [line for line in output.splitlines() if line.startswith("ok")]
    assert len(passed) == len({file.parent for file in folder.rglob("*_test.go")}), output
