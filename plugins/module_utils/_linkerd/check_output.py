# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `linkerd check -o json` prints, read and judged. Private to this collection.

The CLI prints one JSON document, and after it what its extensions print: a document each, or a table for people where
the extension knows no JSON (linkerd2 issue 7037). Exit code 0 does not mean that an extension had no warning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

RESULTS = ("success", "warning", "error")
SYMBOLS = {"√": "success", "‼": "warning", "\u00d7": "error"}  # cli/cmd/check.go of linkerd2
SUMMARY = "Status check results are "
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
DOCUMENT, FOLLOWING = re.compile(r"^\s*(?=\{)", re.MULTILINE), re.compile(r"\s*(?=\{)")
HINT = re.compile(r"see (\S+) for hints")


class LinkerdCheckError(ValueError):
    """The output is not what linkerd check prints."""


@dataclass(frozen=True)
class Check:
    category: str
    description: str
    result: str
    error: str = ""
    hint: str = ""

    @property
    def anchor(self) -> str:
        return self.hint.rpartition("#")[2] if "#" in self.hint else ""

    def __str__(self) -> str:
        text = f"{self.category}: {self.description}"
        text += f": {' '.join(self.error.split())}" if self.error else ""
        return text + (f" (see {self.hint})" if self.hint else "")

    def facts(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("category", "description", "result", "error", "hint")}


@dataclass
class Output:
    """All checks, and the lines that are part of none."""

    checks: list[Check] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)


def parse(text: str) -> Output:
    """All that was printed, documents and tables in their order."""
    output, documents = Output(), 0
    for part in _parts(text):
        if isinstance(part, str):
            _read_table(part, output)
        else:
            documents += 1
            output.checks += _read_document(part, documents)
    if not output.checks:
        said = f": {' '.join(' '.join(output.rest).split())}" if output.rest else ""
        raise LinkerdCheckError(f"it has no checks{said}, wanted is at least one")
    return output


def _parts(text: str) -> Iterator[dict[str, Any] | str]:
    """JSON documents, each of which begins a line or follows another one, and the text between them."""
    decoder, position = json.JSONDecoder(), 0
    while match := FOLLOWING.match(text, position) or DOCUMENT.search(text, position):
        if text[position : match.start()].strip():
            yield text[position : match.start()]
        try:
            document, position = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError) as exc:
            raise LinkerdCheckError(f"it is not JSON at offset {match.end()}: {exc}") from exc
        yield document
    if text[position:].strip():
        yield text[position:]


def _read_document(document: dict[str, Any], number: int) -> list[Check]:
    try:
        if not isinstance(document["success"], bool):
            raise TypeError("success is no bool")
        checks = [
            _check(category, item) for category in document["categories"] or [] for item in category["checks"] or []
        ]
    except (KeyError, TypeError, AttributeError) as exc:
        raise LinkerdCheckError(f"document {number} is not in the form of linkerd check: {exc!r}") from exc
    if not document["success"] and not any(check.result == "error" for check in checks):
        checks.append(Check("linkerd check", f"document {number} reports a failure and names no check", "error"))
    return checks


def _check(category: dict[str, Any], item: dict[str, Any]) -> Check:
    values = (
        *(category["categoryName"], item["description"], item["result"]),
        *(item.get("error") or "", item.get("hint") or ""),
    )
    if not all(isinstance(value, str) for value in values):
        raise TypeError("a value is no text")
    if item["result"] not in RESULTS:
        raise KeyError(item["result"])
    return Check(*values)


def _read_table(text: str, output: Output) -> None:
    """The checks of a table: a category that is underlined, a line for each check, what was found indented below."""
    category, open_check, own = "", False, []
    empty: list[str] = []
    lines = [line.rstrip() for line in COLOURS.sub("", text).splitlines()]
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        result = SYMBOLS.get(line[:1])
        if result and line[1:2] == " ":
            own.append(Check(category or "linkerd check", line[2:].strip(), result))
            open_check = True
        elif line.startswith(SUMMARY):
            if SYMBOLS.get(line.removeprefix(SUMMARY)[:1]) == "error" and not any(one.result == "error" for one in own):
                own.append(Check(category or "linkerd check", "reports a failure and names no check", "error"))
            open_check = False
        elif open_check and line.startswith("    "):
            own[-1] = _with_detail(own[-1], line.strip())
        elif _is_rule(below):
            category, open_check = line.strip(), False
            empty.append(category)
        elif line and not _is_rule(line):
            output.rest.append(line.strip())
            open_check = False
    output.checks += own
    output.rest += [name for name in empty if name and not any(check.category == name for check in own)]


def _is_rule(line: str) -> bool:
    return len(line) > 2 and not line.strip("-")


def _with_detail(check: Check, line: str) -> Check:
    hint = HINT.fullmatch(line)
    if hint:
        return Check(check.category, check.description, check.result, check.error, hint.group(1))
    return Check(check.category, check.description, check.result, f"{check.error} {line}".strip(), check.hint)


def is_allowed(check: Check, allowed: list[str]) -> bool:
    """Whether a warning is named, by its description or by the anchor of its hint."""
    names = {check.description.casefold(), check.anchor.casefold()} - {""}
    return any(name.lstrip("#").casefold() in names for name in allowed)


def count(checks: list[Check]) -> dict[str, dict[str, int]]:
    """For each category how many checks ended how."""
    counts: dict[str, dict[str, int]] = {}
    for check in checks:
        counts.setdefault(check.category, dict.fromkeys(RESULTS, 0))[check.result] += 1
    return counts


def failure(errors: list[Check], warnings: list[Check]) -> str:
    """The message for what is wrong, or the empty string."""
    parts = [f"failed: {check}" for check in errors] + [f"warning that is not allowed: {check}" for check in warnings]
    return f"linkerd check found {len(parts)} problem(s). " + "; ".join(parts) if parts else ""
