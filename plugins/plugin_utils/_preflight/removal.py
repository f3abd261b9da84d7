# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a teardown removes: what this collection created, unless that would also delete objects of others. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites.facts import gitops_source
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.ownership import name_of
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.releases import (
    CONTROL_PLANE,
    CRDS,
    GONE,
    INSTALLED,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts

SHOWN = 5  # users of a component that a message names
NEEDED = ("Deployment", "ValidatingWebhookConfiguration")  # if these cannot be listed, a Linkerd is not found


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


def release(found: Facts, namespace: str, name: str, predicts: bool = False) -> Facts:
    """For a chart that creates no separate objects, such as cert-manager.

    In check mode, `predicts`, what an earlier task would have removed still exists, so the releases of this collection
    and their objects do not count.
    """
    removal = Removal()
    own = _find(found, namespace, name)
    chart = own["chart"] if own and own["managed"] == INSTALLED else None
    users, unread = ([], []) if chart is None else (_users(found, chart, predicts), _unread(found, chart))
    if users or unread:
        reason = f"it is used by {_some(users)}. Remove these first." if users else _hidden(unread)
        removal.left.append(f"The release {namespace}/{name} stays, because {reason}")
        return removal.facts()
    _release(removal, found, namespace, name)
    if removal.releases:
        _remains(removal, found, namespace, own["chart"] if own else "")
    return removal.facts()


def issuer(found: Facts, predicts: bool = False) -> Facts:
    """For the issuer that signs with Vault and its access to Vault."""
    removal = Removal()
    users, unread = _linkerd(found, predicts), _unread(found)
    if users or unread:
        removal.is_in_use = True
        reason = f"they renew the identity issuer of {_some(users)}. Remove Linkerd first."
        removal.left.append(f"The issuer and its access to Vault stay, because {reason if users else _hidden(unread)}")
        return removal.facts()
    _objects(removal, found)
    return removal.facts()


def objects(found: Facts) -> Facts:
    """For objects without a chart."""
    removal = Removal()
    _objects(removal, found)
    return removal.facts()


def linkerd(found: Facts, namespace: str, with_namespace: bool = False) -> Facts:
    """For Linkerd with its certificates, and with its namespace if this collection created it."""
    removal = Removal()
    own = _find(found, namespace, CONTROL_PLANE)
    running, unread = _linkerd(found, predicts=False), _unread(found)
    if (running or unread) and not (own and own["managed"] == INSTALLED):
        removal.is_in_use = True
        reason = f"this collection did not install what uses them: {_some(running)}."
        removal.left.append(
            f"The releases, Certificate, Bundle and trust anchors in namespace {namespace} stay, because "
            f"{reason if running else _hidden(unread)}"
        )
        return removal.facts()
    _release(removal, found, namespace, CONTROL_PLANE)
    _definitions(removal, found, namespace)
    space = found["namespaces"].get(namespace) or {}
    removes = with_namespace and space.get("managed", False) and not _has_objects_from_git(found, namespace)
    if removal.releases:
        _remains(removal, found, "" if removes else namespace, "gateway-api")
    _objects(removal, found)
    for source in found["anchor_sources"]:
        if source["managed"]:
            _object(removal, source, is_own=True)
    if removes:
        removal.objects.append({"api_version": "v1", "kind": "Namespace", "name": namespace, "namespace": ""})
    return removal.facts()


def _has_objects_from_git(found: Facts, namespace: str) -> bool:
    """Whether a GitOps controller applies a namespace, or an object in it that the removal leaves."""
    objects = [one for one in [*found["objects"], *found["anchor_sources"]] if one["namespace"] == namespace]
    return bool(gitops_source(found["namespaces"][namespace])) or any(one["gitops"] for one in objects)


def _linkerd(found: Facts, predicts: bool) -> list[str]:
    """The control planes that run."""
    return [
        f"Linkerd in namespace {one['namespace']}"
        for one in found["deployments"]
        if one["component"] == "linkerd" and not (predicts and _is_own(found, one["release"]))
    ]


def _users(found: Facts, chart: str, predicts: bool) -> list[str]:
    """What stops working without cert-manager or trust-manager."""
    used = [
        one
        for one in found["uses"]
        if one["component"] == chart and one["name"] and not (predicts and _is_own(found, one["release"]))
    ]
    return _linkerd(found, predicts) + [
        f"{one['kind']} {'/'.join(filter(None, (one['namespace'], one['name'])))}" for one in used
    ]


def _unread(found: Facts, chart: str = "") -> list[str]:
    """What may hide a Linkerd, or with `chart` an object of others that needs it."""
    return _unreadable(found, *NEEDED) + [
        f"{one['kind']}s of others" for one in found["uses"] if one["component"] == chart and not one["name"]
    ]


def _unreadable(found: Facts, *kinds: str) -> list[str]:
    """What could not be listed of these kinds, each with the reason."""
    unread = (one for one in found["unreadable"] if one["kind"] in kinds and not one["name"])
    return [f"{one['what']} ({one['problem']})" for one in unread]


def _hidden(unread: list[str]) -> str:
    return f"possible users cannot be read: {_some(unread)}. Remove the cause, and run the playbook again."


def _is_own(found: Facts, owner: Facts | None) -> bool:
    return bool(owner and (_find(found, owner["namespace"], owner["name"]) or {}).get("managed") == INSTALLED)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _remains(removal: Removal, found: Facts, namespace: str, component: str) -> None:
    """The namespace of a removed release, and definitions that Helm leaves."""
    kept = [one["name"] for one in found["definitions"] if one["component"] == component]
    if kept:
        removal.left.append(
            f"{len(kept)} CustomResourceDefinitions ({kept[0]}, ...) stay, because objects of others may need them."
        )
    if (found["namespaces"].get(namespace) or {}).get("exists"):
        removal.left.append(f"The namespace {namespace} stays, because it may contain objects of others.")


def _definitions(removal: Removal, found: Facts, namespace: str) -> None:
    """Helm deletes the CRDs of linkerd-crds together with every object of their kinds."""
    own = _find(found, namespace, CRDS)
    unread = _unreadable(found, "CustomResourceDefinition")
    if own and own["managed"] == INSTALLED and unread:
        removal.left.append(f"The release {namespace}/{CRDS} stays, because {_hidden(unread)}")
        return
    names = set(own["definitions"]) if own else set()
    used = [one["name"] for one in found["definitions"] if one["name"] in names and one.get("in_use")]
    shared = [one["name"] for one in found["definitions"] if one["name"] in names and one["component"] == "gateway-api"]
    if own and own["managed"] == INSTALLED and (used or shared):
        why = f"objects of {', '.join(used)} exist" if used else f"it owns {', '.join(shared)}, which others may use"
        removal.left.append(f"The release {namespace}/{CRDS} stays, because {why} and Helm would delete them.")
        return
    _release(removal, found, namespace, CRDS)


def _release(removal: Removal, found: Facts, namespace: str, name: str) -> None:
    own = _find(found, namespace, name)
    if own and own["managed"] == INSTALLED:
        removal.releases.append(name)
    elif own:
        removal.left.append(f"The release {namespace}/{name} stays, because this collection did not install it.")


def _objects(removal: Removal, found: Facts) -> None:
    mesh = found["mesh"]
    managed = {(one["kind"], one["name"]) for one in found["objects"] if one["managed"] and not one["gitops"]}
    for one in found["objects"]:
        # cert-manager creates the Secret of a Certificate, so only the Certificate has the label of this collection.
        own_secret = (
            one["kind"] == "Secret"
            and ("Certificate", one["name"]) in managed
            and mesh["issuer_owner"] == f"Certificate {one['name']}"
        )
        if one["exists"]:
            _object(removal, one, one["managed"] or own_secret)


def _object(removal: Removal, one: Facts, is_own: bool) -> None:
    if one["gitops"]:
        removal.left.append(f"{name_of(one)} stays, because {one['gitops']} applies it from a Git repository.")
    elif is_own:
        removal.objects.append({key: one[key] for key in ("api_version", "kind", "name", "namespace")})
    else:
        removal.left.append(f"{name_of(one)} stays, because this collection did not create it.")


def _find(found: Facts, namespace: str, name: str) -> Facts | None:
    return next(
        (
            one
            for one in found["releases"]
            if (one["namespace"], one["name"]) == (namespace, name) and one["status"] not in GONE
        ),
        None,
    )
