# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `linkerd check -o json` prints, read and judged. Private to this collection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

RESULTS = ("success", "warning", "error")


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


def parse(output: str) -> list[Check]:
    """All checks, of all JSON documents: each extension prints one of its own after the first."""
    checks = []
    for number, document in enumerate(_documents(output), start=1):
        try:
            own = [
                _check(category, item) for category in document["categories"] or [] for item in category["checks"] or []
            ]
        except (KeyError, TypeError, AttributeError) as exc:
            raise LinkerdCheckError(f"document {number} is not in the form of linkerd check: {exc!r}") from exc
        if document.get("success") is False and not any(check.result == "error" for check in own):
            own.append(Check("linkerd check", f"document {number} says that it failed, and names no check", "error"))
        checks += own
    if not checks:
        raise LinkerdCheckError("it printed no checks. Run `linkerd check` to see more")
    return checks


def _documents(output: str) -> Iterator[dict[str, Any]]:
    decoder, position = json.JSONDecoder(), 0
    while (start := output.find("{", position)) >= 0:
        try:
            document, position = decoder.raw_decode(output, start)
        except ValueError as exc:
            raise LinkerdCheckError(f"it is not JSON at offset {start}: {exc}") from exc
        yield document


def _check(category: dict[str, Any], item: dict[str, Any]) -> Check:
    if item["result"] not in RESULTS:
        raise KeyError(item["result"])
    return Check(
        category["categoryName"], item["description"], item["result"], item.get("error") or "", item.get("hint") or ""
    )


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
