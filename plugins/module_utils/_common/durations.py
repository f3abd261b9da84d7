# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as Vault writes them: 48h, 90d, 1h30m, 1.5h, 3600 or "3600". Private to this collection.

Vault reads them with ParseDurationSecond of github.com/hashicorp/go-secure-stdlib/parseutil.
"""

from __future__ import annotations

import re
from fractions import Fraction

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError

UNITS = {
    "w": Fraction(604800),  # not a unit of Vault, which receives seconds from these modules
    "d": Fraction(86400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
PART = r"(\d+(?:\.\d*)?|\.\d+)(ms|us|ns|w|d|h|m|s)"
DURATION = re.compile(rf"(?:{PART})+", re.ASCII)
MAX_SECONDS = 2**63 // 10**9  # Go's time.Duration counts nanoseconds in 64 bits: 292 years


class DurationError(PkiError, ValueError):
    """A value that is not a duration, or not one in the required range."""

    code = "invalid_duration"


def seconds(value: object) -> int:
    """The whole seconds of a duration. A fraction is cut off, as Vault does. Raises DurationError."""
    return int(parse(value))


def parse(value: object) -> Fraction:
    """The exact seconds of a duration. Raises DurationError for a value that Vault could not read."""
    if isinstance(value, str) and DURATION.fullmatch(value.strip()):
        total = sum((Fraction(number) * UNITS[unit] for number, unit in re.findall(PART, value)), Fraction(0))
    elif isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        total = Fraction(value.strip()) if len(value.strip()) < 20 else Fraction(MAX_SECONDS)
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_SECONDS:
        total = Fraction(value)
    else:
        raise DurationError(f"{value!r} is not a duration. Write it like 48h, 90d or 1h30m, or in seconds.")
    if total >= MAX_SECONDS:
        raise DurationError(f"{value!r} is longer than 292 years, the maximum of Vault. Use a shorter duration.")
    return total


def positive(name: str, value: object) -> int:
    """The seconds of the named option. Raises DurationError for less than 1, which Vault replaces by its default."""
    if parse(value) < 1:
        raise DurationError(f"{name} {value!r} is less than one second. Use a longer duration, such as 1h.")
    return seconds(value)


def zero_or_more(name: str, value: object) -> int:
    """The seconds of the named option where 0 has a meaning. A fraction of a second must not become 0."""
    return positive(name, value) if parse(value) else 0


def has_unit(value: object) -> bool:
    """Whether a string has the units of a duration, so that it means nothing else."""
    return isinstance(value, str) and DURATION.fullmatch(value.strip()) is not None


def is_go_duration(value: object) -> bool:
    """Whether Go's time.ParseDuration reads it, as cert-manager does: no days, no weeks, no number without a unit."""
    return isinstance(value, str) and DURATION.fullmatch(value) is not None and not set("dw") & set(value)


def to_text(value: object) -> str:
    """A duration for people: 90d, 48h, 1h30m, 45s. Only multiples of a day over 48h are written in days."""
    remaining = seconds(value)
    if remaining and remaining % 86400 == 0 and remaining > 2 * 86400:
        return f"{remaining // 86400}d"
    parts = [(remaining // 3600, "h"), (remaining % 3600 // 60, "m"), (remaining % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
