# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ratios of runs of one round, which a slow or busy machine changes less than seconds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def ratios(seconds: Sequence[float], base: Sequence[float]) -> list[float]:
    """The ratio of each run to the run of the same round in `base`. Both lists have one entry for each round."""
    return [value / other for value, other in zip(seconds, base, strict=True)]


def spread(values: Sequence[float]) -> str:
    """The median of ratios, with their minimum and maximum."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
