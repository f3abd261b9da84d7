# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run in this process, with named stand-ins for the programs that they start."""

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
    """The result of a module, run in this process as Ansible runs it: arguments in, JSON on stdout out."""
    found = importlib.import_module(f"ansible_collections.servicemesh.pki.plugins.modules.{module}")
    out = io.StringIO()
    given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
    on_target = mock.patch.object(_internal, "is_controller", False)  # whatever other tests have loaded
    with on_target, patch_module_args(given), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        found.main()
    return json.loads(out.getvalue())


class StandIn:
    """A program of that name in PATH: a script of the tests that logs its calls and obeys files in its folder."""

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
    """PATH holds nothing but what the test puts there; HOME is its own."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


@pytest.fixture
def result_of() -> Callable[..., dict[str, Any]]:
    """Runs a module and returns its result, whether it failed or not."""
    return run_module


@pytest.fixture
def ok() -> Callable[..., dict[str, Any]]:
    def run(module: str, /, **arguments: Any) -> dict[str, Any]:
        result = run_module(module, **arguments)
        assert not result.get("failed"), result["msg"]
        return result

    return run


@pytest.fixture
def error() -> Callable[..., str]:
    def run(module: str, /, **arguments: Any) -> str:
        result = run_module(module, **arguments)
        assert result.get("failed"), result
        return result["msg"]

    return run


@pytest.fixture
def make_standin(only_standins: Path) -> Callable[[str, Path], StandIn]:
    return lambda name, script: StandIn(only_standins, name, script)
