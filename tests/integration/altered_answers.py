# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Responses of a real server of which hypothesis replaces a part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n", "1h", "9999-12-31T23:59:59Z", "\ud800"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner, max_size=2)),
    max_leaves=4,
)
GARBAGE = st.one_of(
    st.binary(max_size=12), st.sampled_from([b"", b"null", b"[]", b"{}", b"[" * 5000, b"<html>", b'"x"', b"\xff"])
)


@dataclass
class Alteration:
    """Replaces or drops the part at a path of the nth response, or replaces the whole response."""

    number: int
    path: list[int]
    value: Any
    drop: bool
    whole: bytes | None
    status: int | None

    def __call__(self, dummy: str, dummy2: str, status: int, body: bytes) -> tuple[int, bytes]:
        self.number -= 1
        if self.number != -1:
            return status, body
        if self.whole is not None:
            return self.status or status, self.whole
        try:
            answer = json.loads(body)
        except ValueError:
            return self.status or status, body
        return self.status or status, json.dumps(self.put(answer, self.path)).encode("utf-8", "surrogatepass")

    def put(self, value: Any, path: list[int]) -> Any:
        if not path or not isinstance(value, dict | list) or not value:
            return self.value
        if isinstance(value, list):
            here = path[0] % len(value)
            changed = [self.put(one, path[1:]) if number == here else one for number, one in enumerate(value)]
            return (
                [one for number, one in enumerate(changed) if number != here]
                if self.drop and len(path) == 1
                else changed
            )
        here = sorted(value)[path[0] % len(value)]
        if self.drop and len(path) == 1:
            return {key: one for key, one in value.items() if key != here}
        return {**value, here: self.put(value[here], path[1:])}


ALTERATIONS = st.builds(
    Alteration,
    number=st.integers(0, 8),
    path=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    value=VALUES,
    drop=st.booleans(),
    whole=st.one_of(st.none(), st.none(), st.none(), GARBAGE),
    status=st.one_of(st.none(), st.none(), st.none(), st.sampled_from([200, 204, 400, 403, 404, 500, 503])),
)
