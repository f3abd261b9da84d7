# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as Vault reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.servicemesh.pki.plugins.module_utils._common import durations

WHOLE = st.integers(min_value=0, max_value=10**9)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("48h", 172800),
        ("90d", 7776000),
        ("2160h0m0s", 7776000),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5m", 30),
        ("1d12h", 129600),
        ("2w", 1209600),
        ("999ms", 0),
        ("1500ms", 1),
        ("3600", 3600),
        (" 3600 ", 3600),
        (3600, 3600),
        (1.5, 1),
        (0, 0),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_seconds(value, expected):
    assert durations.seconds(value) == expected


@pytest.mark.parametrize(
    "bad", ["", "h", "1 h", "-1h", -1, "1y", "1h30", "soon", "\uff11h", "\u00b2", None, True, [], "300000000000h"]
)
def test_invalid_duration_is_named(bad):
    with pytest.raises(durations.DurationError) as caught:
        durations.seconds(bad)
    assert caught.value.code == "invalid_duration" and repr(bad) in str(caught.value)


@given(WHOLE)
def test_formatted_duration_has_the_same_seconds(number):
    assert durations.seconds(durations.to_text(number)) == number


@given(WHOLE, st.integers(0, 10**5), st.integers(0, 59), st.integers(0, 59))
def test_units_add_up(extra, hours, minutes, seconds):
    assert durations.seconds(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds
    assert durations.seconds(f"{extra}s") == durations.seconds(str(extra)) == durations.seconds(extra)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_an_error(text):
    try:
        assert durations.seconds(text) >= 0
    except durations.DurationError as exc:
        assert repr(text) in str(exc)
