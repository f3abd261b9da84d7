# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops the adoption of a Linkerd whose chart or CLI provides its identity. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight import ownership

Facts = dict[str, Any]
# What the adoption takes over or upgrades. In an adopted mesh they belong to trust-manager, cert-manager and the chart.
OF_CHART = (
    ("ConfigMap", "linkerd-identity-trust-roots"),
    ("Secret", "linkerd-identity-issuer"),
    ("Deployment", "linkerd-identity"),
)
BY_HELM = "linkerd/helm"  # what the chart writes into the annotation linkerd.io/created-by. The CLI writes linkerd/cli
GUIDE = 'See "With Argo CD or Flux" in docs/guides/adopt.md.'
COMPARES_VALUES = "l5d-multicluster-clusters-share-anchors"  # a check of linkerd check, by the anchor of its hint


def is_of_chart(one: Facts) -> bool:
    return (one["kind"], one["name"]) in OF_CHART


def in_git(components: Facts, take_over: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Code and message for each part of Linkerd that a GitOps controller would change back, as mesh_prerequisites_info
    returns them.
    """
    objects = [one for one in components.get("objects") or [] if is_of_chart(one)]
    applied = [one for one in objects if one["exists"] and one["gitops"]]
    for one in applied:
        if refused := ownership.refusal(one, [*take_over]):
            yield refused[0], f"{refused[1]} {GUIDE}"
    if any(one["kind"] == "Deployment" for one in applied):
        return
    for one in components.get("deployments") or []:
        item = f"Deployment {one['namespace']}/{one['name']}"
        is_rendered = one["component"] == "linkerd" and not one["release"] and one["created_by"].startswith(BY_HELM)
        if is_rendered and item not in take_over:
            yield (
                "object_in_git",
                f"{item} was rendered from Linkerd's chart, but belongs to no Helm release, as with Argo CD. "
                "Neither Helm nor the CLI can upgrade it. Let the program that renders the chart do it, and add "
                f"'{item}' to pki_take_over. {GUIDE}",
            )


def compares_values(error: Facts) -> bool:
    """Whether a check of linkerd check compares the trust anchors in the values of linked clusters."""
    return str(error.get("hint") or "").rpartition("#")[2] == COMPARES_VALUES
