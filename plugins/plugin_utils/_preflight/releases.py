# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Helm releases a run installs, upgrades, takes over or leaves alone. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites import helm
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts, Result, numbers

CRDS, CONTROL_PLANE = "linkerd-crds", "linkerd-control-plane"
INSTALL, UPGRADE, LEAVE = "install", "upgrade", "leave"
INSTALLED, TAKEN_OVER = "installed", "taken-over"
GONE = ("", "uninstalled", "superseded")
PENDING = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")
# Values that are removed when a release is taken over, because the issuer then comes from cert-manager.
DROPPED = (("identity", "issuer", "tls"), ("identityTrustAnchorsPEM",))


@dataclass(frozen=True)
class Chart:
    """A release that a run may write."""

    component: str
    title: str
    chart: str
    release: str
    namespace: str
    manage: str  # auto, true or false
    switch: str  # the variable of `manage`
    names: str  # the variables of release and namespace
    values: Facts = field(default_factory=dict)
    version: str = ""  # empty if it is not known, because the chart is a local file
    may_be_older: bool = False  # pki_allow_downgrade

    @classmethod
    def requested(cls, requested: Facts, **known: Any) -> Chart:
        manage = str(requested["manage"]).lower()
        switch = {"true": "true", "yes": "true", "false": "false", "no": "false"}.get(manage, "auto")
        return cls(
            manage=switch,
            release=requested["release"],
            namespace=requested["namespace"],
            version=str(requested["chart_version"]),
            **known,
        )

    @property
    def place(self) -> str:
        return f"{self.namespace}/{self.release}"

    @property
    def version_name(self) -> str:
        """The variable of `version`."""
        return f"{self.component.replace('-', '_')}_chart_version"


def decide(result: Result, found: Facts, chart: Chart, is_required: bool = True) -> Facts:
    """Whether to install, upgrade or leave a release, and which of its values to keep."""
    own = next((one for one in found["releases"] if _place(one) == chart.place and one["status"] not in GONE), None)
    controllers = [one for one in found["deployments"] if one["component"] == chart.component]
    elsewhere = [
        one for one in found["releases"] if one["chart"] == chart.chart and one is not own and one["status"] not in GONE
    ]
    is_other_chart = bool(own and own["chart"] and own["chart"] != chart.chart)
    if chart.manage == "false":
        if is_required and not controllers and (is_other_chart or not own):
            _missing(result, chart)
        return leave(controllers)
    if own and is_other_chart:
        return _other_chart(result, chart, own, controllers)
    if own and chart.chart == CRDS and _is_newer(chart, own) and (own["managed"] or chart.manage == "true"):
        _newer_definitions(result, chart, own)
        return leave(controllers)
    if own and own["managed"]:
        return _managed(result, chart, own, controllers)
    if own:
        return _unmanaged(result, chart, own, controllers)
    if controllers or elsewhere:
        return _other(result, chart, controllers, elsewhere)
    _left_behind(result, found, chart)
    return write(INSTALL, [], INSTALLED, {})


def running(decision: Facts) -> str:
    """The version of the controller that runs; empty if it is not known."""
    return next((str(one["version"]) for one in decision["controllers"] if one["version"]), "")


def write(action: str, controllers: list[Facts], mark: str, kept: Facts) -> Facts:
    return {"release": action, "mark": mark, "kept_values": kept, "controllers": controllers}


def leave(controllers: list[Facts]) -> Facts:
    return {"release": LEAVE, "mark": "", "kept_values": {}, "controllers": controllers}


def _other_chart(result: Result, chart: Chart, own: Facts, controllers: list[Facts]) -> Facts:
    """A release with the configured name and another chart, such as one of a distributor."""
    if controllers and chart.manage != "true":
        _left(result, chart, own)
        return leave(controllers)
    result.problem(
        "release_name_taken",
        f"release {chart.place}",
        f"The Helm release {chart.place} has the chart {own['chart']}, not {chart.chart}. Choose another name or "
        f"namespace with {chart.names}.",
    )
    return leave(controllers)


def _managed(result: Result, chart: Chart, own: Facts, controllers: list[Facts]) -> Facts:
    """A release that this collection installed or has taken over."""
    kept = kept_values(own) if own["managed"] == TAKEN_OVER else {}
    _check_hidden(result, chart, kept)
    _check_version(result, chart, own)
    return write(UPGRADE, controllers, own["managed"], kept)


def _check_hidden(result: Result, chart: Chart, kept: Facts) -> bool:
    """Whether every value that the run writes is known. Secrets in the values of a release are not read."""
    hidden = list(_hidden(merged(kept, chart.values)))
    if hidden:
        result.problem(
            "release_hidden_values",
            f"release {chart.place}",
            f"The values of release {chart.place} contain secrets, which this collection does not read: "
            f"{', '.join(hidden)}. Move them to Kubernetes Secrets that the values refer to, or leave the release "
            f"alone with {chart.switch}: false.",
        )
    return not hidden


def _hidden(value: Any, path: str = "") -> Iterator[str]:
    """Paths of the values that stand for a secret."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _hidden(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _hidden(inner, f"{path}[{index}]")
    elif value == helm.HIDDEN:
        yield path


def _is_newer(chart: Chart, own: Facts) -> bool:
    present, new = numbers(own["chart_version"]), numbers(chart.version)
    return bool(present and new and present > new)


def _newer_definitions(result: Result, chart: Chart, own: Facts) -> None:
    """Helm would delete the CRDs that the older chart does not contain, with every object of their kinds."""
    result.note(
        "definitions_newer",
        f"release {chart.place}",
        f"The Helm release {chart.place} has the chart {own['chart']} {own['chart_version']}, which is newer than "
        f"{chart.version}. It is not changed, because Helm would delete CRDs that the older chart does not contain.",
    )


def _check_version(result: Result, chart: Chart, own: Facts) -> None:
    if _is_newer(chart, own) and not chart.may_be_older:
        result.problem(
            "release_downgrade",
            f"release {chart.place}",
            f"The Helm release {chart.place} has the chart {own['chart']} {own['chart_version']}, which is newer than "
            f"{chart.version}. Set {chart.version_name} to {own['chart_version']} or later. To return to an older "
            "version on purpose, set pki_allow_downgrade to true for this run.",
        )


def _left(result: Result, chart: Chart, own: Facts) -> None:
    """A release of others."""
    same = own["chart"] in ("", chart.chart)
    how = f" To manage it with this collection, set {chart.switch} to true." if same else ""
    result.note(
        "release_left",
        f"release {chart.place}",
        f"{chart.title} {own['app_version'] or own['chart_version']} was installed by others (release {chart.place}"
        f"{'' if same else ', chart ' + own['chart']}) and is not changed.{how}",
    )


def _unmanaged(result: Result, chart: Chart, own: Facts, controllers: list[Facts]) -> Facts:
    """A release with the configured name that others installed."""
    if own["status"] in PENDING:
        result.problem(
            "release_pending",
            f"release {chart.place}",
            f"The Helm release {chart.place} has the status {own['status']}: another Helm process is working on it, or "
            "was interrupted. Wait until it has finished, or repair it: "
            f"helm history {chart.release} -n {chart.namespace}",
        )
        return leave(controllers)
    if chart.manage != "true":
        _left(result, chart, own)
        return leave(controllers)
    kept = kept_values(own)
    if not _check_hidden(result, chart, kept):
        return leave(controllers)
    _check_version(result, chart, own)
    after, _secrets = helm.visible(merged(kept, chart.values))
    changes = changed_values(own["user_values"], after)
    version = own["chart_version"]
    if chart.version.lstrip("v") not in ("", version.lstrip("v")):
        version += f" -> {chart.version}"
    result.note(
        "release_taken_over",
        f"release {chart.place}",
        f"{chart.switch} is true: this collection takes over release {chart.place} (chart {own['chart']} {version}) "
        f"and keeps its values. Values that change: {'; '.join(changes) or 'none'}.",
    )
    return write(UPGRADE, controllers, TAKEN_OVER, kept)


def _other(result: Result, chart: Chart, controllers: list[Facts], elsewhere: list[Facts]) -> Facts:
    """A component that is installed, but not as the configured release."""
    place = _place(elsewhere[0]) if elsewhere else ""
    item = f"release {place}" if place else _named(controllers)
    how = f"as the Helm release {place}" if place else f"without Helm ({_named(controllers)})"
    if chart.manage != "true":
        version = next((one["version"] for one in controllers), "") or (elsewhere[0]["app_version"] if place else "")
        result.note("release_left", item, f"{chart.title} {version} is installed {how} by others and is not changed.")
    elif place:
        result.problem(
            "release_elsewhere",
            item,
            f"{chart.title} is installed {how}, but {chart.switch} is true for {chart.place}. Set {chart.names} to the "
            f"names of the existing release, or set {chart.switch} to auto to leave it alone.",
        )
    else:
        result.problem(
            "release_not_helm",
            item,
            f"{chart.title} is installed {how}, so Helm cannot manage it. Set {chart.switch} to auto to use it as "
            "it is.",
        )
    return leave(controllers)


def _missing(result: Result, chart: Chart) -> None:
    result.problem(
        "component_missing",
        chart.title,
        f"{chart.title} is not installed, and this run does not install it. Install it first. To have a run install "
        f"it, set {chart.switch} to auto and pki_manage to all, and do not skip its tag.",
    )


def _left_behind(result: Result, found: Facts, chart: Chart) -> None:
    """CRDs without a controller. Helm refuses those that belong to no release or to another one."""
    owner = {"name": chart.release, "namespace": chart.namespace}
    crds = [one for one in found["definitions"] if one["component"] == chart.component and one["release"] != owner]
    if chart.component == "linkerd" and chart.chart != CRDS:
        return
    if crds and _installs_definitions(chart):
        names = " ".join(one["name"] for one in crds)
        result.problem(
            "definitions_left_behind",
            f"CustomResourceDefinition {crds[0]['name']}",
            f"{len(crds)} CRDs of {chart.title} exist without it ({crds[0]['name']}, ...), and Helm refuses CRDs that "
            f"belong to no release or another one. If they belong to no other installation, hand them to the new "
            f"release: kubectl annotate crd {names} --overwrite meta.helm.sh/release-name={chart.release} "
            f"meta.helm.sh/release-namespace={chart.namespace} && kubectl label crd {names} --overwrite "
            "app.kubernetes.io/managed-by=Helm",
        )


def _installs_definitions(chart: Chart) -> bool:
    crds = chart.values.get("crds")
    return not (isinstance(crds, dict) and crds.get("enabled") is False)


def kept_values(own: Facts) -> Facts:
    """The values of a release without those that the issuer of cert-manager replaces."""
    kept: Facts = _without(own["user_values"], ())
    return kept


def _without(values: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: _without(value, (*path, key)) for key, value in values.items() if (*path, key) not in DROPPED}


def merged(one: Any, other: Any) -> Any:
    """Values of Helm, `other` merged over `one` as Ansible's combine does with recursive=true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{key: merged(one.get(key), value) for key, value in other.items()}}
    return other


def changed_values(before: Any, after: Any, path: str = "") -> list[str]:
    """One entry for each value that differs."""
    if isinstance(after, dict) and after and (before is None or isinstance(before, dict)):
        before = before or {}
        keys = sorted({*before, *after}, key=str)
        return [
            one
            for key in keys
            for one in changed_values(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        ]
    if before == after:
        return []
    old, new = (json.dumps(value, sort_keys=True, default=str) for value in (before, after))
    return [f"{path}: {old} -> {new}"]


def _place(release: Facts) -> str:
    return f"{release['namespace']}/{release['name']}"


def _named(controllers: list[Facts]) -> str:
    one = controllers[0]
    return f"Deployment {one['namespace']}/{one['name']}"
