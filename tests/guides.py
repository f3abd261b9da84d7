# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fenced code blocks of README and guides, with the comment before each block that states where it runs."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/guides/*.md"), *ROOT.glob("roles/*/README.md"), ROOT / "lab/README.md"}
)
TARGETS = ("anywhere", "vault", "lab", "test", "not")
BLOCK = re.compile(
    r"(?:<!-- run: (?P<target>\w+)(?:, (?P<reason>.+?))? -->\n)?^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """A code block. `target` is a value of TARGETS. `reason` explains `not`, or is the file of the `test`."""

    page: str
    line: int
    language: str
    text: str
    target: str | None
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
            found.append(Block(name, line, one["language"], one["text"], one["target"], one["reason"]))
    return found


def commands(target: str) -> list[Block]:
    """The command blocks that run in a target, such as `vault`."""
    return [block for block in blocks() if block.is_command and block.target == target]


def playbook_arguments(page: str, part: str) -> list[str]:
    """The playbook and the arguments of the command in a page that contains this text, without its inventory.

    Raises ValueError if the page has no or several such commands with the target `test`.
    """
    (block,) = [one for one in commands("test") if one.page == page and part in one.text]
    program, *arguments = shlex.split(block.text)
    assert program == "ansible-playbook", block
    position = arguments.index("-i")
    return arguments[:position] + arguments[position + 2 :]
