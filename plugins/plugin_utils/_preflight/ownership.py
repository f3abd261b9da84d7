# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a run may change an object of the cluster. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

Facts = dict[str, Any]
# Names that cannot be changed. Linkerd requires them, except that of the ConfigMap linkerd-trust-anchors.
OF_MESH = (
    "Bundle linkerd-identity-trust-roots",
    "Certificate linkerd-identity-issuer",
    "ConfigMap linkerd-identity-trust-roots",
    "ConfigMap linkerd-trust-anchors",
    "Secret linkerd-identity-issuer",
)


def name_of(one: Facts) -> str:
    """Kind, namespace and name of an object, as in pki_take_over."""
    return f"{one['kind']} {one['namespace']}/{one['name']}" if one["namespace"] else f"{one['kind']} {one['name']}"


def is_of_mesh(item: str) -> bool:
    """Whether this is the name of an object that belongs to Linkerd, also if others created it."""
    kind, _space, place = item.partition(" ")
    return f"{kind} {place.rpartition('/')[2]}" in OF_MESH


def refusal(one: Facts, take_over: Collection[str] = ()) -> tuple[str, str] | None:
    """Why a run must not change an object of mesh_prerequisites_info, as code and message; None if it may.

    `take_over` are names of objects that the user permits to change.
    """
    item = name_of(one)
    if not one["exists"] or item in take_over:
        return None
    if one["gitops"]:
        return "object_in_git", (
            f"{item} is applied from a Git repository by {one['gitops']}, which would undo the change. "
            "Change it in the repository, with the manifests that render.yml writes. Or suspend "
            f"{one['gitops']} for the run, and add '{item}' to pki_take_over."
        )
    return None if one["managed"] else ("object_unmanaged", unmanaged(item, one["owner"]))


def unmanaged(item: str, owner: str) -> str:
    """The message about an object that this collection did not create."""
    of_mesh = is_of_mesh(item)
    return (
        f"{item} exists, and this collection did not create it{f' (created by {owner})' if owner else ''}. "
        + ("A mesh may use it, so do not remove it. To" if of_mesh else "Configure another name. Or, to")
        + f" have the run change it, add '{item}' to pki_take_over."
        + (" The run still checks that no trust anchor in use is removed." if of_mesh else "")
    )
