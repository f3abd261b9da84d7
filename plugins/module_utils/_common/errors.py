# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base class of expected failures, and the body of every module. Private to this collection."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

# Raised by Python when a response lacks a value, or has a value of another type.
UNEXPECTED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class PkiError(Exception):
    """An expected failure of Vault, Kubernetes, a program, or an input.

    `str(error)` is the message: what is wrong, with which object, and what to do. `code` names the kind of failure and
    does not change between releases: each class or each raise sets one, and modules document it
    (tests/unit/test_error_codes.py). `details` are further return keys of the module.
    """

    code = "failed"

    def __init__(self, message: str, *, code: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code = code or self.code
        self.details = details

    def add(self, sentence: str, **details: Any) -> None:
        """Append a sentence to the message, and return keys to the details."""
        self.args = (f"{self} {sentence}",)
        self.details |= details

    def result(self) -> dict[str, Any]:
        """The arguments of fail_json()."""
        return {"msg": str(self), "code": self.code, **self.details}


def format_frames(exc: BaseException) -> str:
    """The traceback without the messages of the exception and its causes, which may contain a secret."""
    return "".join(traceback.format_tb(exc.__traceback__))


def run(module: Any, work: Callable[[], dict[str, Any]], unexpected: Callable[[Exception], PkiError]) -> None:
    """Exit the module with the result of `work`, or fail with the message, code and details of a PkiError.

    `unexpected` returns the error for a response that does not have the form that its API documents.
    """
    try:
        result = work()
    except PkiError as exc:
        module.fail_json(**exc.result(), exception=format_frames(exc))
    except UNEXPECTED as exc:
        module.fail_json(**unexpected(exc).result(), exception=format_frames(exc))
    module.exit_json(**result)
