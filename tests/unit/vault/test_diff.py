# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: which values are equal for Vault, which differences are reported, and what is redacted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift

NAMES = st.text(alphabet="abcxyz-_/", min_size=1, max_size=6)
SCALARS = st.one_of(st.booleans(), st.integers(-(10**6), 10**6), NAMES)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("48h", 172800),
        (172800, "48h0m0s"),
        ("90d", "2160h"),
        ("256", 256),
        ("true", True),
        (False, "false"),
        (["a", "b"], ["b", "a"]),
        ("b,a", ["a", "b"]),
        (["a"], "a"),
        ("", None),
        ([], None),
        (None, ""),
        ("text\n", "text"),
        ("a {\r\n  b\t\r\n}", "a {\n  b\n}\n"),
        (["127.0.0.1/32", "::1/128", "10.0.0.0/8"], ["10.0.0.0/8", "127.0.0.1", "::1"]),
        ({"a": "1h", "b": ""}, {"a": 3600, "b": None}),
        ([{"a": 1}, {"b": 2}], [{"b": 2}, {"a": 1}]),
        ([256], 256),
        ([{"a": []}, {}, []], [{}, [], {"a": []}]),
    ],
)
def test_equal_values(expected, found):
    assert drift.is_equal(expected, found)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("48h", 172801),
        ("48h", "text"),
        ("48h", None),
        (0, None),
        (False, None),
        (False, 0),
        ("1", True),
        (["a"], ["a", "a"]),
        (["a", "b"], ["a"]),
        ({"a": 1}, {}),
        ({"a": 1}, None),
        ({"a": "1h"}, {"a": 3600, "more": 1}),
        ({}, {"a": 1}),
        ({"a": {}}, {"a": {"b": False}}),
        ([{"a": 1}], {"a": 1}),
        ("010", "10"),
        ("a", "A"),
        ("a\n b", "a\nb"),
        ("10.0.0.0/8", "10.0.0.0/16"),
        ("10.0.0.1/8", "10.0.0.0/8"),
        (["127.0.0.1"], [2130706433]),
        (None, "None"),
        ([""], None),
        ([{"a": 1}], [{"a": 1, "b": 2}]),
        ({"permit-pty": ""}, {"permit-pty": "", "permit-port-forwarding": ""}),
        ({"a": ""}, {}),
        ({}, {"a": None}),
        (None, {"a": ""}),
        ({"a": {"b": []}}, {"a": {}}),
        ([{"a": ""}], [{}]),
        ({"team": "pki,mesh"}, {"team": ["mesh", "pki"]}),
    ],
)
def test_unequal_values(expected, found):
    assert not drift.is_equal(expected, found)


@given(VALUES)
def test_equality_is_reflexive(value):
    assert drift.is_equal(value, value)


@given(VALUES, VALUES)
def test_equality_is_symmetric(one, other):
    assert drift.is_equal(one, other) == drift.is_equal(other, one)


@given(st.lists(VALUES, max_size=5), st.randoms())
def test_lists_have_no_order(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert drift.is_equal(values, shuffled)


@given(st.lists(NAMES, min_size=1, max_size=5), NAMES)
def test_list_with_one_more_item_is_unequal(values, extra):
    assert not drift.is_equal(values, [*values, extra])
    assert not drift.is_equal([*values, extra], values)


@given(st.dictionaries(NAMES, SCALARS, max_size=5), st.dictionaries(NAMES, SCALARS, max_size=5))
def test_differences_are_exactly_the_unequal_values(expected, found):
    differing = drift.differences(expected, found)
    assert not drift.differences(expected, {**found, **expected})
    for name, value in expected.items():
        assert (name in differing) == (not drift.is_equal(value, found.get(name)))
        assert name not in differing or name in drift.describe(differing)


def test_differences_have_both_values():
    differing = drift.differences({"ttl": "2h", "same": 1, "gone": "x"}, {"ttl": 3600, "same": "1", "more": 2})
    assert differing == {"ttl": {"expected": "2h", "found": 3600}, "gone": {"expected": "x", "found": None}}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "none"), ("", "none"), ([], "none"), (["a", 1], "a, 1"), (("a",), "a"), (0, "0"), ("x", "x")],
)
def test_values_in_a_message(value, shown):
    assert drift.format_value(value) == shown


def test_message_about_two_differences():
    differing = {"a": {"expected": [1, 2], "found": None}, "b": {"expected": "x", "found": "y"}}
    assert drift.describe(differing) == "a is none, expected 1, 2; b is y, expected x"


def test_select_ignores_missing_names():
    assert drift.select({"a": 1, "b": 2}, ["b", "c"]) == {"b": 2}


@pytest.mark.parametrize(
    ("found", "given", "shown"),
    [
        ({"a": "old", "b": "x"}, {"a": "new"}, {"a": "old", "b": "(not shown)"}),
        ({"a": {"b": 1, "c": [2]}}, {"a": {"b": 3}}, {"a": {"b": 1, "c": "(not shown)"}}),
        ({"a": {"b": 1}}, {"a": "text"}, {"a": {"b": "(not shown)"}}),
        ({"a": {"b": {"c": False}}}, {}, {"a": {"b": {"c": "(not shown)"}}}),
        ({"a": None, "b": "", "c": [], "d": {}}, {}, {"a": None, "b": "", "c": [], "d": {}}),
        ({"a": [1]}, {"a": []}, {"a": [1]}),
        ({"a": "x"}, {"a": None}, {"a": "(not shown)"}),
        ({"a": [{"b": 1, "c": 2}, 3]}, {"a": [{"b": 4}]}, {"a": [{"b": 1, "c": "(not shown)"}, 3]}),
        ({"a": [[{"b": 1}], {"b": 2}]}, {"a": "text"}, {"a": [[{"b": "(not shown)"}], {"b": "(not shown)"}]}),
    ],
)
def test_values_of_other_names_are_redacted(found, given, shown):
    assert drift.redact(found, given) == shown
