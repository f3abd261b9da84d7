# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parser for the output of `linkerd check -o json`. Private to this collection.

The CLI prints one JSON document, followed by the output of its extensions: one document each, or a table for an
extension that does not support JSON (linkerd2 issue 7037). Exit code 0 does not exclude warnings of extensions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError

RESULTS = ("success", "warning", "error")
SYMBOLS = {"√": "success", "‼": "warning", "\u00d7": "error"}  # cli/cmd/check.go of linkerd2
SUMMARY = "Status check results are "
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
DOCUMENT, FOLLOWING = re.compile(r"^\s*(?=\{)", re.MULTILINE), re.compile(r"\s*(?=\{)")
HINT = re.compile(r"see (\S+) for hints")


class LinkerdCheckError(PkiError, ValueError):
    """The output is not that of linkerd check. The message is the reason."""

    code = "unreadable_output"


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
    """All checks, and the lines that belong to no check."""

    checks: list[Check] = field(default_factory=list)
    other_lines: list[str] = field(default_factory=list)


def parse(text: str) -> Output:
    """The checks of all documents and tables, in their order. Raises LinkerdCheckError."""
    output, documents = Output(), 0
    for part in _parts(text):
        if isinstance(part, str):
            _read_table(part, output)
        else:
            documents += 1
            output.checks += _read_document(part, documents)
    if not output.checks:
        lines = " ".join(" ".join(output.other_lines).split())
        raise LinkerdCheckError(f"it must be a list of checks: {lines or 'it is empty'}", code="unreadable_output")
    return output


def _parts(text: str) -> Iterator[dict[str, Any] | str]:
    """JSON documents, each at the start of a line or after another one, and the text between them."""
    decoder, position = json.JSONDecoder(), 0
    while match := FOLLOWING.match(text, position) or DOCUMENT.search(text, position):
        if text[position : match.start()].strip():
            yield text[position : match.start()]
        try:
            document, position = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError) as exc:
            raise LinkerdCheckError(f"it is not JSON at offset {match.end()}: {exc}", code="unreadable_output") from exc
        yield document
    if text[position:].strip():
        yield text[position:]


def _read_document(document: dict[str, Any], number: int) -> list[Check]:
    try:
        if not isinstance(document["success"], bool):
            raise TypeError("success is not a boolean")
        checks = [
            _check(category, item) for category in document["categories"] or [] for item in category["checks"] or []
        ]
    except (KeyError, TypeError, AttributeError) as exc:
        message = f"document {number} does not have the format of linkerd check: {exc!r}"
        raise LinkerdCheckError(message, code="unreadable_output") from exc
    if not document["success"] and not any(check.result == "error" for check in checks):
        checks.append(Check("linkerd check", f"document {number} reports a failure without a check", "error"))
    return checks


def _check(category: dict[str, Any], item: dict[str, Any]) -> Check:
    values = (
        *(category["categoryName"], item["description"], item["result"]),
        *(item.get("error") or "", item.get("hint") or ""),
    )
    if not all(isinstance(value, str) for value in values):
        raise TypeError("a value is not a string")
    if item["result"] not in RESULTS:
        raise KeyError(item["result"])
    return Check(*values)


def _read_table(text: str, output: Output) -> None:
    """The checks of a table: an underlined category, one line for each check, and its error and hint indented below."""
    category, in_check = "", False
    checks: list[Check] = []
    categories: list[str] = []
    lines = [line.rstrip() for line in COLOURS.sub("", text).splitlines()]
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        result = SYMBOLS.get(line[:1])
        if result and line[1:2] == " ":
            checks.append(Check(category or "linkerd check", line[2:].strip(), result))
            in_check = True
        elif line.startswith(SUMMARY):
            failed = SYMBOLS.get(line.removeprefix(SUMMARY)[:1]) == "error"
            if failed and not any(check.result == "error" for check in checks):
                checks.append(Check(category or "linkerd check", "reports a failure without a check", "error"))
            in_check = False
        elif in_check and line.startswith("    "):
            checks[-1] = _with_detail(checks[-1], line.strip())
        elif _is_underline(below):
            category, in_check = line.strip(), False
            categories.append(category)
        elif line and not _is_underline(line):
            output.other_lines.append(line.strip())
            in_check = False
    output.checks += checks
    with_checks = {check.category for check in checks}
    output.other_lines += [name for name in categories if name and name not in with_checks]


def _is_underline(line: str) -> bool:
    return len(line) > 2 and not line.strip("-")


def _with_detail(check: Check, line: str) -> Check:
    hint = HINT.fullmatch(line)
    if hint:
        return Check(check.category, check.description, check.result, check.error, hint.group(1))
    return Check(check.category, check.description, check.result, f"{check.error} {line}".strip(), check.hint)


def is_allowed(check: Check, allowed: list[str]) -> bool:
    """Whether a warning is in the list, by its description or by the anchor of its hint, case-insensitively."""
    names = {check.description.casefold(), check.anchor.casefold()} - {""}
    return any(name.lstrip("#").casefold() in names for name in allowed)


def count(checks: list[Check]) -> dict[str, dict[str, int]]:
    """The number of checks by category and result."""
    counts: dict[str, dict[str, int]] = {}
    for check in checks:
        counts.setdefault(check.category, dict.fromkeys(RESULTS, 0))[check.result] += 1
    return counts


def failure_message(errors: list[Check], warnings: list[Check]) -> str:
    """The message for failed checks and warnings; empty without any."""
    parts = [f"failed: {check}" for check in errors] + [f"warning that is not allowed: {check}" for check in warnings]
    return f"linkerd check reports {len(parts)} problem(s). " + "; ".join(parts) if parts else ""
