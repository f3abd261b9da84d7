# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role monitoring with its defaults, and promtool, which `nox -s alerts` builds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import alert_rules

Promtool = Callable[..., subprocess.CompletedProcess]


@dataclass
class Expect:
    """Runs promtool with series, and fails if an alert fires at other minutes than expected."""

    promtool: Callable
    rules: Path
    folder: Path

    def __call__(
        self,
        alert: str,
        series: dict[str, Callable[[int], float | None]],
        minutes: Iterable[int],
        *firing: dict[str, str],
    ) -> None:
        expected = {minute: [{"severity": "warning", **labels} for labels in firing] for minute in minutes}
        values = {
            name: " ".join("_" if at(minute) is None else str(at(minute)) for minute in range(max(expected) + 1))
            for name, at in series.items()
        }
        content = alert_rules.promtool_test(self.rules, alert, values, expected)
        (self.folder / "test.yml").write_text(yaml.safe_dump(content))
        done = self.promtool("test", "rules", str(self.folder / "test.yml"))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    program = os.environ.get("SERVICEMESH_PKI_PROMTOOL")
    if not program:
        pytest.fail("Run these tests with `nox -s alerts`, which builds promtool.")

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess:
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, **options)

    return run


@pytest.fixture(scope="session")
def rules_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    path.write_text(yaml.safe_dump(alert_rules.rules()))
    return path


@pytest.fixture(scope="session")
def plain_rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules without annotations, which contain values. Their own test reads them."""
    path = tmp_path_factory.mktemp("plain") / "rules.yml"
    path.write_text(yaml.safe_dump(alert_rules.without_annotations(alert_rules.rules())))
    return path


@pytest.fixture
def expect(promtool, plain_rules, tmp_path) -> Expect:
    return Expect(promtool, plain_rules, tmp_path)


@pytest.fixture
def expect_with(promtool, tmp_path) -> Callable[..., Expect]:
    """The same for other variables of the role."""

    def create(**variables: float) -> Expect:
        path = tmp_path / "rules.yml"
        path.write_text(yaml.safe_dump(alert_rules.without_annotations(alert_rules.rules(**variables))))
        return Expect(promtool, path, tmp_path)

    return create
