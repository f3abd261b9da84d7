# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that writes Kubernetes objects for a Git repository. It is documented in the YAML file of its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.module_utils._common.labels import MANAGED_BY

HEADER = "# Written by servicemesh.pki. The next run of render.yml replaces this file.\n"
FIRST = ("apiVersion", "kind", "metadata", "name", "namespace")


class _Dumper(yaml.SafeDumper):
    """Indents lists, writes texts of several lines as blocks, and never an anchor or an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def kubernetes_manifests(definitions: list[dict[str, Any]]) -> str:
    """One YAML document for each definition, in their order. The same definitions give the same text."""
    if not isinstance(definitions, list):
        raise AnsibleFilterError("kubernetes_manifests needs a list of definitions of Kubernetes objects.")
    return HEADER + "".join(f"---\n{document(_definition(one))}" for one in definitions)


def document(value: Mapping[str, Any]) -> str:
    """YAML with sorted keys, except that the names of an object come first."""
    return yaml.dump(_plain(value), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _definition(one: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        name = f"{one['kind']} {one['metadata']['name']}"
    except (KeyError, TypeError) as exc:
        raise AnsibleFilterError(f"A definition has no {exc}. Give kind and metadata.name of each object.") from exc
    if one["kind"] == "Secret":
        raise AnsibleFilterError(f"{name} must not be written into a file. Create it in the cluster.")
    metadata = dict(one["metadata"])
    # Its value names the program that manages the object, which is then the one that applies the file.
    labels = {key: value for key, value in (metadata.pop("labels", None) or {}).items() if key != MANAGED_BY}
    return {**one, "metadata": {**metadata, **({"labels": labels} if labels else {})}}


def _plain(value: Any) -> Any:
    """Built-in types only, without what is null: a null removes a field of a live object, and a file has none."""
    if isinstance(value, Mapping):
        found = {str(key): _plain(item) for key, item in value.items() if item is not None}
        return {key: found[key] for key in sorted(found, key=_position)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | float):
        return value
    return str(value)


def _position(key: str) -> tuple[int, str]:
    return (FIRST.index(key) if key in FIRST else len(FIRST), key)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"kubernetes_manifests": kubernetes_manifests}
