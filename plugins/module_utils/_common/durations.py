# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as Vault writes them: 48h, 90d, 1h30m, 1.5h, 3600 or "3600". Private to this collection."""

from __future__ import annotations

import re
from fractions import Fraction

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError

UNITS = {
    "w": Fraction(604800),  # Vault itself knows no week; it gets seconds from us
    "d": Fraction(86400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
PART = r"(\d+(?:\.\d*)?|\.\d+)(ms|us|ns|w|d|h|m|s)"
WHOLE = re.compile(rf"(?:{PART})+", re.ASCII)
LONGEST = 2**63 // 10**9  # Vault counts nanoseconds in 64 bits, so 292 years is the end


class DurationError(PkiError, ValueError):
    """Not a duration."""

    code = "invalid_duration"


def seconds(value: object) -> int:
    """The whole seconds of a duration; a fraction is cut off, as Vault does when it tells one."""
    return int(exact(value))


def exact(value: object) -> Fraction:
    """The seconds of a duration. A DurationError for what Vault could not read."""
    if isinstance(value, str) and WHOLE.fullmatch(value.strip()):
        total = sum((Fraction(number) * UNITS[unit] for number, unit in re.findall(PART, value)), Fraction(0))
    elif isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        total = Fraction(value.strip()) if len(value.strip()) < 20 else Fraction(LONGEST)
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LONGEST:
        total = Fraction(value)
    else:
        raise DurationError(f"{value!r} is not a duration: write it like 48h, 90d, 1h30m, or as seconds.")
    if total >= LONGEST:
        raise DurationError(f"{value!r} is longer than the 292 years that Vault can count: give less.")
    return total


def positive(name: str, value: object) -> int:
    """The seconds of the option of that name. For less than one Vault would use its own default."""
    if exact(value) < 1:
        raise DurationError(f"{name} {value!r} is less than a second: give more, such as 1h.")
    return seconds(value)


def zero_or_more(name: str, value: object) -> int:
    """The same where 0 has a meaning, so that a fraction of a second must not become 0."""
    return positive(name, value) if exact(value) else 0


def is_written(value: object) -> bool:
    """Whether this is a duration with a unit, so that nothing else can be meant."""
    return isinstance(value, str) and WHOLE.fullmatch(value.strip()) is not None


def is_go(value: object) -> bool:
    """Whether Go's time.ParseDuration reads it, as cert-manager does: no day, no week, no number without a unit."""
    return isinstance(value, str) and WHOLE.fullmatch(value) is not None and not set("dw") & set(value)


def text(value: object) -> str:
    """A duration for a person: 90d, 48h, 1h30m, 45s. Days only when it is days and more than two."""
    left = seconds(value)
    if left and left % 86400 == 0 and left > 2 * 86400:
        return f"{left // 86400}d"
    parts = [(left // 3600, "h"), (left % 3600 // 60, "m"), (left % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
