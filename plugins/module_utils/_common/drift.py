# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what Vault tells is what was asked for, however each of them writes it. Private to this collection."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import durations

Differences = dict[str, dict[str, Any]]
EMPTY: tuple[Any, ...] = (None, "", [], {})
NOT_SHOWN = "(not shown)"


def same(wanted: Any, found: Any) -> bool:
    """Whether two values of a field of the API mean the same. An absent field is None, and the same as an empty one.

    A list has no order, and may be text with commas. A mapping has exactly its keys, see same_mapping().
    """
    if wanted in EMPTY and found in EMPTY:
        return True
    if isinstance(wanted, Mapping) or isinstance(found, Mapping):
        return isinstance(wanted, Mapping) and isinstance(found, Mapping) and same_mapping(wanted, found)
    if isinstance(wanted, list | tuple) or isinstance(found, list | tuple):
        return same_members(members(wanted), members(found))
    if isinstance(wanted, bool) or isinstance(found, bool):
        return str(wanted).lower() == str(found).lower()
    if durations.is_written(wanted) or durations.is_written(found):
        try:
            return durations.seconds(wanted) == durations.seconds(found)
        except durations.DurationError:
            return False
    if wanted in EMPTY or found in EMPTY:
        return False
    if lines(wanted) == lines(found):
        return True
    address = network(wanted)
    return address is not None and address == network(found)


def same_mapping(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Vault stores a mapping as it is sent and replaces it as a whole: a key counts, whatever its value.

    SSH's `default_extensions` grants a permission by a key with an empty value.
    """
    return wanted.keys() == found.keys() and all(same_entry(wanted[key], found[key]) for key in wanted)


def same_entry(wanted: Any, found: Any) -> bool:
    """Values under one key of a mapping, where Vault takes no text with commas for a list."""
    if wanted in EMPTY and found in EMPTY:
        return True
    return isinstance(wanted, list | tuple) == isinstance(found, list | tuple) and same(wanted, found)


def empty(value: Any) -> bool:
    """Nothing, or a mapping to nothing: there is no value to hide."""
    return value in EMPTY or (isinstance(value, Mapping) and all(map(empty, value.values())))


def lines(value: Any) -> list[str]:
    """A text without what an editor or another system's line ends make of it: a policy and a PEM mean the same."""
    return [line.rstrip() for line in str(value).strip().splitlines()]


def network(value: Any) -> Any:
    """The addresses that are meant. Vault tells 127.0.0.1/32 as 127.0.0.1."""
    try:
        return ipaddress.ip_network(value) if isinstance(value, str) else None
    except ValueError:
        return None


def members(value: Any) -> list[Any]:
    """A list, or the text with commas that Vault takes instead of one."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [] if value is None else [value]


def same_members(wanted: list[Any], found: list[Any]) -> bool:
    """Each member has its own equal one."""
    left = list(found)
    for item in wanted:
        match = next((index for index, other in enumerate(left) if same(item, other)), None)
        if match is None:
            return False
        del left[match]
    return not left


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Differences:
    """What was asked for and is otherwise, by name. Names that were not asked for are not compared."""
    return {
        name: {"wanted": value, "found": found.get(name)}
        for name, value in wanted.items()
        if not same(value, found.get(name))
    }


def sentence(differing: Differences) -> str:
    return "; ".join(
        f"{name}: wanted {show(pair['wanted'])}, found {show(pair['found'])}" for name, pair in differing.items()
    )


def show(value: Any) -> str:
    if value in EMPTY:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def view(data: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The part of an object that is shown before and after."""
    return {name: data[name] for name in names if name in data}


def redacted(found: Any, given: Any) -> Any:
    """What was found, with the values of those names only that a task gives too: others may be secret."""
    if isinstance(found, Mapping):
        names = given if isinstance(given, Mapping) else {}
        return {name: redacted(value, names.get(name)) for name, value in found.items()}
    if isinstance(found, list) and given is not None:
        names = {name: value for one in members(given) if isinstance(one, Mapping) for name, value in one.items()}
        return [redacted(one, names) if isinstance(one, Mapping | list) else one for one in found]
    return NOT_SHOWN if given is None and not empty(found) else found
