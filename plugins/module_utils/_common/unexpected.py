# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of a server in another form than its API describes. Private to this collection."""

from __future__ import annotations

import traceback

# What Python raises for them where a value is missing, or is of another type.
UNEXPECTED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def places(exc: BaseException) -> str:
    """Where it was raised, without the message, which may show a value of the answer."""
    return "".join(traceback.format_tb(exc.__traceback__))
