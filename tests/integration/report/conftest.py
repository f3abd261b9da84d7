# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open reports in Debian's Chromium, without a window. The readings are those of the unit tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Shown:
    """A page in the browser, with its requests and errors."""

    def __init__(self, context: Any, file: Path) -> None:
        self.page = context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.errors.append(dialog.message), dialog.dismiss()))
        self.page.goto(file.as_uri())
        self.text = self.page.inner_text("body")

    def ask(self, script: str, *arguments: Any) -> Any:
        return self.page.evaluate(script, *arguments)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium: make browser installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield found
        found.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Shown]]:
    """Return a function that opens a report, and saves a screenshot in the folder of the test."""
    contexts = []

    def run(report: dict[str, Any], width: int = 1280, **options: Any) -> Shown:
        from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_report_html

        (tmp_path / "report.html").write_text(mesh_report_html(report))
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        shown = Shown(contexts[-1], tmp_path / "report.html")
        shown.page.screenshot(path=tmp_path / f"{len(contexts)}.png", full_page=True)
        return shown

    yield run
    for context in contexts:
        context.close()
