# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that run modules in the process of the test, with stand-ins for programs."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils import _internal
from ansible.module_utils.testing import patch_module_args


def run_module(module: str, /, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run a module in this process, and return the JSON that it prints."""
    found = importlib.import_module(f"ansible_collections.servicemesh.pki.plugins.modules.{module}")
    out = io.StringIO()
    given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
    on_target = mock.patch.object(_internal, "is_controller", False)  # other tests may have loaded controller code
    with on_target, patch_module_args(given), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        found.main()
    return json.loads(out.getvalue())


class StandIn:
    """A script in PATH that replaces a program. It logs its calls, and reads its answers from files in its folder."""

    def __init__(self, folder: Path, name: str, script: Path) -> None:
        self.folder = folder / f"standin-{name}"
        self.folder.mkdir()
        self.path = folder / "bin" / name
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(f"#!{sys.executable}\nFOLDER = {str(self.folder)!r}\n{script.read_text()}")
        self.path.chmod(0o755)

    def calls(self) -> list[list[str]]:
        log = self.folder / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content)


@pytest.fixture
def only_standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Restrict PATH to the stand-ins of the test, and use its folder as HOME."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


@pytest.fixture
def result_of() -> Callable[..., dict[str, Any]]:
    """A function that runs a module and returns its result, also of a failure."""
    return run_module


@pytest.fixture
def ok() -> Callable[..., dict[str, Any]]:
    """A function that runs a module, requires success, and returns its result."""

    def run(module: str, /, **arguments: Any) -> dict[str, Any]:
        result = run_module(module, **arguments)
        assert not result.get("failed"), result["msg"]
        return result

    return run


@pytest.fixture
def error() -> Callable[..., str]:
    """A function that runs a module, requires a failure, and returns its message."""

    def run(module: str, /, **arguments: Any) -> str:
        result = run_module(module, **arguments)
        assert result.get("failed"), result
        return result["msg"]

    return run


@pytest.fixture
def make_standin(only_standins: Path) -> Callable[[str, Path], StandIn]:
    """A function that creates a stand-in from its name and script."""
    return lambda name, script: StandIn(only_standins, name, script)
