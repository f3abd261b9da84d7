# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helm releases as Helm stores them in Secrets, and the mark of those that this collection manages.

Helm stores a release as gzipped JSON in base64 (helm: pkg/storage/driver/util.go), which the API server encodes again.
The mark is one of the release's own values. Helm writes it together with the release, so an interrupted installation
has it too. An upgrade with other values removes it, so the release then belongs to the person who upgraded it.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
import zlib
from typing import Any

Facts = dict[str, Any]

MARK = "servicemesh.pki/release"
INSTALLED, TAKEN_OVER = "installed", "taken-over"
EARLIER_MARK = "servicemesh.pki/config"  # what versions before 0.3.0 write into the values of cert-manager
HIDDEN = "(hidden)"
SECRET_NAME = re.compile(r"(password|passwd|token|secretkey|accesskey|apikey|privatekey|keypem|credentials?)$", re.I)
USER_INFO = re.compile(r"://[^/@\s]+:[^/@\s]+@")  # a password in a URL (RFC 3986 section 3.2.1)
KIND = re.compile(r"^kind: *[\"']?CustomResourceDefinition\b", re.M)
NAME = re.compile(r"^metadata:[^\n]*\n(?:(?:[ #][^\n]*)?\n)*?  name: *[\"']?([a-z0-9.-]+)", re.M)


class ReleaseError(ValueError):
    """The Secret holds no release that can be read."""


def decode(encoded: str) -> Facts:
    """The release in the key `release` of a Secret."""
    try:
        packed = base64.b64decode(base64.b64decode(encoded, validate=True), validate=True)
        found: Facts = json.loads(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
        if not isinstance(found, dict):
            raise ValueError
    except (binascii.Error, OSError, EOFError, zlib.error, ValueError) as exc:
        raise ReleaseError(f"holds no Helm release ({type(exc).__name__})") from exc
    return found


def facts(stored: Facts) -> Facts:
    """What can be shown of a release: its values are returned without secrets."""
    metadata = (stored.get("chart") or {}).get("metadata") or {}
    info, config = stored.get("info") or {}, stored.get("config") or {}
    values, hidden = visible(config)
    chart = str(metadata.get("name") or "")
    return {
        "name": str(stored.get("name") or ""),
        "namespace": str(stored.get("namespace") or ""),
        "chart": chart,
        "chart_version": str(metadata.get("version") or ""),
        "app_version": str(metadata.get("appVersion") or ""),
        "status": str(info.get("status") or "unknown"),
        "revision": stored.get("version") if isinstance(stored.get("version"), int) else 0,
        "managed": mark(config),
        "is_earlier": mark(config) == INSTALLED and MARK not in json.dumps(config),
        "user_values": values,
        "hidden_values": hidden,
        "definitions": definitions(str(stored.get("manifest") or "")) if chart == "linkerd-crds" else [],
    }


def mark(values: Any) -> str:
    """Which mark of this collection is in the values, at any place; empty for a release that it does not manage."""
    pending, found = [values], ""
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if value.get(MARK) in (INSTALLED, TAKEN_OVER):
                return str(value[MARK])
            found = INSTALLED if EARLIER_MARK in value else found
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return found


def visible(value: Any, path: str = "") -> tuple[Any, list[str]]:
    """The values without secrets, and the paths of these."""
    if isinstance(value, dict):
        parts = {key: visible(inner, f"{path}.{key}" if path else str(key)) for key, inner in value.items()}
        return {key: part[0] for key, part in parts.items()}, [one for part in parts.values() for one in part[1]]
    if isinstance(value, list):
        items = [visible_item(inner, f"{path}[{index}]") for index, inner in enumerate(value)]
        return [item[0] for item in items], [one for item in items for one in item[1]]
    named = SECRET_NAME.search(path.rpartition(".")[2])
    if isinstance(value, str) and value and (named or has_private_key(value) or USER_INFO.search(value)):
        return HIDDEN, [path]
    return value, []


def visible_item(value: Any, path: str) -> tuple[Any, list[str]]:
    """An item of a list, which can be an environment variable of a container, such as AWS_SECRET_ACCESS_KEY."""
    name = str(value.get("name") or "") if isinstance(value, dict) else ""
    if SECRET_NAME.search(name.replace("_", "")) and value.get("value"):
        shown, hidden = visible({**value, "value": ""}, path)
        return {**shown, "value": HIDDEN}, [*hidden, f"{path}.value"]
    return visible(value, path)


def has_private_key(value: str) -> bool:
    """Whether a text contains a private key as PEM, also in base64, as in the data of a Secret."""
    if "PRIVATE KEY" in value:
        return True
    try:
        return b"PRIVATE KEY" in base64.b64decode(value.strip())
    except ValueError:
        return False


def definitions(manifest: str) -> list[str]:
    """Names of the CustomResourceDefinitions in a manifest. It is not parsed: YAML of that size takes seconds."""
    documents = re.split(r"^---.*$", manifest, flags=re.M)
    names = (NAME.search(document) for document in documents if KIND.search(document))
    return sorted({found[1] for found in names if found})
