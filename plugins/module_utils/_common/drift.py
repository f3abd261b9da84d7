# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare requested settings with what Vault returns (drift). Private to this collection."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import durations

Differences = dict[str, dict[str, Any]]
EMPTY: tuple[Any, ...] = (None, "", [], {})
NOT_SHOWN = "(not shown)"


def is_equal(expected: Any, found: Any) -> bool:
    """Whether two values of an API field mean the same.

    An absent field is None and equals an empty one. Lists have no order and may be comma-separated strings, durations
    may have any unit, and mappings are compared key by key.
    """
    if expected in EMPTY and found in EMPTY:
        return True
    if isinstance(expected, Mapping) or isinstance(found, Mapping):
        return isinstance(expected, Mapping) and isinstance(found, Mapping) and _equal_mappings(expected, found)
    if isinstance(expected, list | tuple) or isinstance(found, list | tuple):
        return _equal_items(as_list(expected), as_list(found))
    if isinstance(expected, bool) or isinstance(found, bool):
        return str(expected).lower() == str(found).lower()
    if durations.has_unit(expected) or durations.has_unit(found):
        try:
            return durations.seconds(expected) == durations.seconds(found)
        except durations.DurationError:
            return False
    if expected in EMPTY or found in EMPTY:
        return False
    if _lines(expected) == _lines(found):
        return True
    network = _parse_network(expected)
    return network is not None and network == _parse_network(found)


def _equal_mappings(expected: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Compare the keys too, because Vault replaces a mapping as a whole.

    A key with an empty value has a meaning: SSH's `default_extensions` grants a permission with it.
    """
    return expected.keys() == found.keys() and all(_equal_entries(expected[key], found[key]) for key in expected)


def _equal_entries(expected: Any, found: Any) -> bool:
    """Compare two values inside a mapping, where Vault does not read a comma-separated string as a list."""
    if expected in EMPTY and found in EMPTY:
        return True
    return isinstance(expected, list | tuple) == isinstance(found, list | tuple) and is_equal(expected, found)


def _is_blank(value: Any) -> bool:
    """Whether a value is empty, or a mapping of empty values: there is nothing to redact."""
    return value in EMPTY or (isinstance(value, Mapping) and all(map(_is_blank, value.values())))


def _lines(value: Any) -> list[str]:
    """The lines of a policy or PEM text without trailing blanks and with any line ending."""
    return [line.rstrip() for line in str(value).strip().splitlines()]


def _parse_network(value: Any) -> Any:
    """An IP network, or None. Vault returns 127.0.0.1/32 as 127.0.0.1."""
    try:
        return ipaddress.ip_network(value) if isinstance(value, str) else None
    except ValueError:
        return None


def as_list(value: Any) -> list[Any]:
    """A list; Vault accepts a comma-separated string for most lists."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [] if value is None else [value]


def _equal_items(expected: list[Any], found: list[Any]) -> bool:
    """Whether each item of one list has its own equal item in the other one."""
    remaining = list(found)
    for item in expected:
        match = next((index for index, other in enumerate(remaining) if is_equal(item, other)), None)
        if match is None:
            return False
        del remaining[match]
    return not remaining


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Differences:
    """The expected settings that have another value, by name. Names that are not expected are not compared."""
    return {
        name: {"expected": value, "found": found.get(name)}
        for name, value in expected.items()
        if not is_equal(value, found.get(name))
    }


def describe(differing: Differences) -> str:
    """The differences as part of a message."""
    return "; ".join(
        f"{name} is {format_value(pair['found'])}, expected {format_value(pair['expected'])}"
        for name, pair in differing.items()
    )


def format_value(value: Any) -> str:
    if value in EMPTY:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def select(data: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The entries of a mapping that have one of the names."""
    return {name: data[name] for name in names if name in data}


def redact(found: Any, given: Any) -> Any:
    """What was found, without the values of names that the task does not set: they may be secret."""
    if isinstance(found, Mapping):
        names = given if isinstance(given, Mapping) else {}
        return {name: redact(value, names.get(name)) for name, value in found.items()}
    if isinstance(found, list) and given is not None:
        names = {name: value for one in as_list(given) if isinstance(one, Mapping) for name, value in one.items()}
        return [redact(one, names) if isinstance(one, Mapping | list) else one for one in found]
    return NOT_SHOWN if given is None and not _is_blank(found) else found
