# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a teardown removes: what this collection created, unless that would also delete objects of others. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.releases import (
    CONTROL_PLANE,
    CRDS,
    GONE,
    INSTALLED,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts


@dataclass
class Removal:
    """Releases and objects to remove, in this order."""

    releases: list[str] = field(default_factory=list)
    objects: list[Facts] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # a sentence for each thing that stays, with the reason
    is_in_use: bool = False  # a Linkerd that others manage runs with the certificates

    def facts(self) -> Facts:
        return {
            "releases": self.releases,
            "objects": self.objects,
            "left": self.left,
            "is_in_use": self.is_in_use,
        }


def release(found: Facts, namespace: str, name: str) -> Facts:
    """For a chart without objects of its own."""
    removal = Removal()
    _release(removal, found, namespace, name)
    return removal.facts()


def objects(found: Facts) -> Facts:
    """For objects without a chart."""
    removal = Removal()
    _objects(removal, found)
    return removal.facts()


def linkerd(found: Facts, namespace: str) -> Facts:
    """For Linkerd with its certificates."""
    removal = Removal()
    own = _find(found, namespace, CONTROL_PLANE)
    running = [one for one in found["deployments"] if one["component"] == "linkerd"]
    if running and not (own and own["managed"] == INSTALLED):
        removal.is_in_use = True
        removal.left.append(
            f"Linkerd in namespace {namespace} was installed by others and uses these certificates, so its releases, "
            "Certificate, Bundle and trust anchors stay."
        )
        return removal.facts()
    _release(removal, found, namespace, CONTROL_PLANE)
    _definitions(removal, found, namespace)
    _objects(removal, found)
    removal.objects += [
        {"api_version": "v1", "kind": "ConfigMap", "name": one["name"], "namespace": one["namespace"]}
        for one in found["anchor_sources"]
        if one["managed"]
    ]
    return removal.facts()


def _definitions(removal: Removal, found: Facts, namespace: str) -> None:
    """Helm deletes the CRDs of linkerd-crds together with every object of their kinds."""
    own = _find(found, namespace, CRDS)
    names = set(own["definitions"]) if own else set()
    used = [one["name"] for one in found["definitions"] if one["name"] in names and one.get("in_use")]
    shared = [one["name"] for one in found["definitions"] if one["name"] in names and one["component"] == "gateway-api"]
    if own and own["managed"] == INSTALLED and (used or shared):
        why = f"objects of {', '.join(used)} exist" if used else f"it owns {', '.join(shared)}, which others may use"
        removal.left.append(
            f"The release {namespace}/{CRDS} stays, because {why} and Helm would delete them. To remove it with them: "
            f"helm uninstall {CRDS} -n {namespace}"
        )
        return
    _release(removal, found, namespace, CRDS)


def _release(removal: Removal, found: Facts, namespace: str, name: str) -> None:
    own = _find(found, namespace, name)
    if own and own["managed"] == INSTALLED:
        removal.releases.append(name)
    elif own:
        removal.left.append(
            f"The release {namespace}/{name} stays, because this collection did not install it. To remove it: "
            f"helm uninstall {name} -n {namespace}"
        )


def _objects(removal: Removal, found: Facts) -> None:
    mesh = found["mesh"]
    managed = {(one["kind"], one["name"]) for one in found["objects"] if one["managed"]}
    for one in found["objects"]:
        # cert-manager creates the Secret of a Certificate, so only the Certificate has the label of this collection.
        own_secret = (
            one["kind"] == "Secret"
            and ("Certificate", one["name"]) in managed
            and mesh["issuer_owner"] == f"Certificate {one['name']}"
        )
        if one["exists"] and (one["managed"] or own_secret):
            removal.objects.append({key: one[key] for key in ("api_version", "kind", "name", "namespace")})
        elif one["exists"]:
            place = f"{one['namespace']}/{one['name']}" if one["namespace"] else one["name"]
            removal.left.append(f"{one['kind']} {place} stays, because this collection did not create it.")


def _find(found: Facts, namespace: str, name: str) -> Facts | None:
    return next(
        (
            one
            for one in found["releases"]
            if (one["namespace"], one["name"]) == (namespace, name) and one["status"] not in GONE
        ),
        None,
    )
