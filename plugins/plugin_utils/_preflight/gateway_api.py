# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a run installs or upgrades the Gateway API, and which CRDs an upgrade of linkerd-crds would delete. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.releases import CRDS, INSTALL, LEAVE, UPGRADE
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts, Result, numbers

STANDARD = "standard"
NEEDED = ("grpcroutes.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io")  # CRDs that Linkerd needs
OLDEST = (1, 1, 1)  # version that Linkerd supports
FIRST_GUARDED = (1, 5)  # version that installs the admission policy
REMEDY = "Set linkerd_gateway_api_upgrade to false to leave it as it is"


@dataclass(frozen=True)
class Requested:
    """What the variables request."""

    source: str  # linkerd_gateway_api_crds; empty leaves the Gateway API to the user
    version: str
    upgrade: bool
    linkerd_is_written: bool


def decide(result: Result, found: Facts, requested: Requested) -> str:
    present = [one for one in found["definitions"] if one["component"] == "gateway-api"]
    if not requested.source:
        return LEAVE
    version = numbers(requested.version)
    if not present:
        if found["admission_policies"] and version < FIRST_GUARDED:
            result.problem(
                "gateway_api_policy",
                f"ValidatingAdmissionPolicy {found['admission_policies'][0]}",
                f"The cluster has no Gateway API, but its admission policy permits only version 1.5.0 and later, not "
                f"{requested.version}. Set linkerd_gateway_api_version to a later version.",
            )
        return INSTALL
    versions = {one["bundle_version"].lstrip("v") for one in present}
    channels = {one["channel"] for one in present}
    shown = (
        f"{' and '.join(sorted(versions - {''})) or 'unknown'} ({' and '.join(sorted(channels - {''})) or 'unknown'})"
    )
    missing = [name for name in NEEDED if name not in {one["name"] for one in present}]
    if missing and versions == {requested.version.lstrip("v")} and channels == {STANDARD}:
        return INSTALL  # an interrupted installation
    oldest, newest = min(map(numbers, versions)), max(map(numbers, versions))
    if requested.upgrade:
        if oldest == version == newest and channels == {STANDARD}:
            return LEAVE
        return _upgrade(result, requested, newest, channels, shown)
    if requested.linkerd_is_written and (missing or oldest < OLDEST):
        result.problem(
            "gateway_api_too_old",
            "Gateway API",
            f"The cluster has the Gateway API {shown}, and Linkerd needs 1.1.1 or later with HTTPRoute and GRPCRoute. "
            f"Upgrade it, or set linkerd_gateway_api_upgrade to true to install {requested.version}.",
        )
    elif versions != {requested.version.lstrip("v")} or channels != {STANDARD}:
        is_upgradable = channels == {STANDARD} and oldest < version and newest <= version
        how = f" With linkerd_gateway_api_upgrade it is upgraded to {requested.version}." if is_upgradable else ""
        message = f"The cluster has the Gateway API {shown}, which is not changed.{how}"
        result.note("gateway_api_left", "Gateway API", message)
    return LEAVE


def _upgrade(result: Result, requested: Requested, newest: tuple[int, ...], channels: set[str], shown: str) -> str:
    """Also completes an upgrade that was interrupted, after which the definitions have different versions."""
    version = numbers(requested.version)
    if channels != {STANDARD}:
        result.problem(
            "gateway_api_channel",
            "Gateway API",
            f"The cluster has the Gateway API {shown}. The standard channel lacks kinds and fields of it, so it is not "
            f"replaced. {REMEDY}.",
        )
    elif version < newest:
        result.problem(
            "gateway_api_downgrade",
            "Gateway API",
            f"The cluster has the Gateway API {shown}, which is newer than {requested.version}. {REMEDY}, or set "
            "linkerd_gateway_api_version to a later version.",
        )
    return UPGRADE


def protect(result: Result, found: Facts, release_place: str, is_written: bool) -> list[str]:
    """CRDs of the release linkerd-crds that Helm would delete when the next version of the chart lacks them.

    Helm reads the annotation of the live object, so it is enough to set it there before an upgrade.
    """
    own = {name for one in found["releases"] if one["chart"] == CRDS for name in one["definitions"]}
    unkept = [one["name"] for one in found["definitions"] if one["component"] == "gateway-api" and not one["kept"]]
    shared = sorted(own.intersection(unkept))
    if is_written:
        if shared:
            result.note(
                "definitions_protected",
                f"release {release_place}",
                f"The release {release_place} owns {', '.join(shared)}, which linkerd-crds 2.19 and later do not "
                "contain. They get helm.sh/resource-policy: keep first, so that Helm does not delete them.",
            )
        return shared
    if shared:
        result.note(
            "definitions_unprotected",
            f"release {release_place}",
            f"The release {release_place} owns {', '.join(shared)} without helm.sh/resource-policy: keep. An upgrade "
            "to linkerd-crds 2.19 or later deletes them, with every route in the cluster. Run before it: "
            f"kubectl annotate crd {' '.join(shared)} helm.sh/resource-policy=keep",
        )
    return []
