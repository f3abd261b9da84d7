# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fenced code blocks of README and guides, with the comment before each block that states where it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/guides/*.md"), *ROOT.glob("roles/*/README.md"), ROOT / "lab/README.md"}
)
PLACES = ("anywhere", "vault", "lab", "not")
BLOCK = re.compile(
    r"(?:<!-- run: (?P<place>\w+)(?:, (?P<reason>.+?))? -->\n)?^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """A code block. `place` is a value of PLACES, `reason` explains the place `not`."""

    page: str
    line: int
    language: str
    text: str
    place: str | None
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_command(self) -> bool:
        return self.language in ("", "sh", "console")


def blocks() -> list[Block]:
    """All code blocks of PAGES."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for one in BLOCK.finditer(text):
            line = text.count("\n", 0, one.start("text"))
            name = str(page.relative_to(ROOT))
            found.append(Block(name, line, one["language"], one["text"], one["place"], one["reason"]))
    return found


def commands(place: str) -> list[Block]:
    """The command blocks that run in a place."""
    return [block for block in blocks() if block.is_command and block.place == place]
