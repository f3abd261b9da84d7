# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases a run installs, upgrades, takes over or leaves alone."""

from __future__ import annotations

import pytest
from worlds import check, codes, definition, deployment, empty, release, requested

from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites import facts

COMPONENTS = {
    "cert_manager": ("cert-manager", "certificates.cert-manager.io"),
    "trust_manager": ("trust-manager", "bundles.trust.cert-manager.io"),
}
PARTS = pytest.mark.parametrize("part", COMPONENTS)


def world(part: str, **changes):
    """A cluster with one component that others installed with Helm."""
    chart = COMPONENTS[part][0]
    owner = {"name": chart, "namespace": "cert-manager"}
    found = {"releases": [release(chart, **changes)], "deployments": [deployment(chart, release=owner)]}
    return empty(**found)


def decided(result, part):
    return result["decisions"][part]["release"]


def test_everything_is_installed_in_an_empty_cluster():
    result = check(empty())
    assert (result["problems"], result["notes"]) == ([], [])
    assert {name: one["release"] for name, one in result["decisions"].items()} == {
        "cert_manager": "install", "trust_manager": "install", "linkerd": "install",
    }  # fmt: skip
    linkerd = result["decisions"]["linkerd"]
    assert (linkerd["crds"]["release"], linkerd["gateway_api"], linkerd["mark"]) == ("install", "install", "installed")


@PARTS
def test_a_release_of_the_collection_is_upgraded_with_its_own_values(part):
    result = check(world(part, managed="installed", user_values={"replicaCount": 2}))
    assert decided(result, part) == "upgrade"
    assert result["decisions"][part]["kept_values"] == {}


@PARTS
def test_a_release_of_others_is_left_alone_and_named(part):
    result = check(world(part, user_values={"replicaCount": 2}))
    assert decided(result, part) == "leave"
    assert codes(result) == []
    note = next(one for one in result["notes"] if one["code"] == "release_left")
    assert f"cert-manager/{COMPONENTS[part][0]}" in note["message"] and f"{part}_manage_release" in note["message"]


@PARTS
def test_a_release_that_is_taken_over_keeps_its_values_and_shows_what_changes(part):
    found = world(part, user_values={"replicaCount": 2, "podLabels": {"team": "x"}})
    values = {"replicaCount": 3, "crds": {"enabled": True}}
    result = check(found, requested(**{part: {"manage": True, "values": values}}))
    assert decided(result, part) == "upgrade"
    decision = result["decisions"][part]
    assert (decision["mark"], decision["kept_values"]) == ("taken-over", found["releases"][0]["user_values"])
    note = next(one for one in result["notes"] if one["code"] == "release_taken_over")
    assert "replicaCount: 2 -> 3" in note["message"]
    assert "crds.enabled: null -> true" in note["message"]
    assert "podLabels" not in note["message"]


@PARTS
def test_a_takeover_shows_every_value_that_changes(part):
    arguments = [f"--argument-{number}=value" for number in range(10)]
    values = {f"value{number}": number for number in range(30)} | {"extraArgs": arguments}
    found = world(part, user_values={"extraArgs": [*arguments[:-1], "--last=other"]})
    note = check(found, requested(**{part: {"manage": True, "values": values}}))["notes"][0]
    assert note["code"] == "release_taken_over"
    assert all(f"value{number}: null -> {number}" in note["message"] for number in range(30))
    assert "--last=other" in note["message"] and arguments[-1] in note["message"]


@PARTS
@pytest.mark.parametrize("manage", ["auto", "true"])
def test_a_release_that_was_taken_over_keeps_its_values_in_later_runs(part, manage):
    result = check(world(part, managed="taken-over", user_values={"a": 1}), requested(**{part: {"manage": manage}}))
    assert decided(result, part) == "upgrade"
    assert result["decisions"][part]["kept_values"] == {"a": 1}
    assert result["decisions"][part]["mark"] == "taken-over"


@PARTS
def test_secrets_in_values_stop_a_takeover(part):
    hidden = {"user_values": {"app": {"password": "(hidden)"}}, "hidden_values": ["app.password"]}
    for found, manage in ((world(part, **hidden), "true"), (world(part, **hidden, managed="taken-over"), "auto")):
        result = check(found, requested(**{part: {"manage": manage}}))
        assert codes(result) == ["release_hidden_values"]
        assert "app.password" in result["problems"][0]["message"]
        values = {"app": {"password": "s3cret"}}
        known = check(found, requested(**{part: {"manage": manage, "values": values}}))
        assert codes(known) == [] and "s3cret" not in str(known["notes"])
    assert codes(check(world(part, **hidden, managed="installed"))) == []  # none of its values is used


@PARTS
@pytest.mark.parametrize(("managed", "manage"), [("installed", "auto"), ("taken-over", "auto"), ("", "true")])
def test_a_newer_release_is_not_replaced_by_an_older_chart(part, managed, manage):
    found = world(part, managed=managed, chart_version="v99.0.1")
    result = check(found, requested(**{part: {"manage": manage}}))
    assert codes(result) == ["release_downgrade"]
    assert f"{part}_chart_version to v99.0.1" in result["problems"][0]["message"]
    assert codes(check(found, requested(**{part: {"manage": manage, "chart_version": "99.0.1"}}))) == []
    assert codes(check(found, requested(**{part: {"manage": manage, "chart_version": ""}}))) == []  # a local file
    assert codes(check(found, {**requested(**{part: {"manage": manage}}), "allow_downgrade": True})) == []


def test_a_newer_linkerd_is_not_replaced_by_older_charts():
    charts = ("linkerd-control-plane", "linkerd-crds")
    found = empty(
        releases=[release(name, managed="installed", chart_version="2027.1.1") for name in charts],
        deployments=[deployment("linkerd", version="edge-27.1.1")],
    )
    result = check(found)
    assert [(one["code"], one["object"]) for one in result["problems"]] == [
        ("release_downgrade", "release linkerd/linkerd-control-plane")
    ]
    assert "linkerd_chart_version to 2027.1.1" in result["problems"][0]["message"]
    edge = requested(linkerd={"chart_version": "edge-26.6.3", "crds_chart_version": "edge-26.6.3"})
    assert codes(check(found, edge)) == []  # a version that cannot be compared


@pytest.mark.parametrize(("managed", "manage"), [("installed", "auto"), ("taken-over", "auto"), ("", "true")])
def test_a_downgrade_of_linkerd_keeps_the_newer_definitions(managed, manage):
    """Helm deletes the CRDs that the older chart lacks. The next runs, without the permission, leave them as well."""
    crds, control_plane = (release(f"linkerd-{name}", managed=managed) for name in ("crds", "control-plane"))
    request = {**requested(linkerd={"manage": manage}), "allow_downgrade": True}
    newer = [{**one, "chart_version": "2027.1.1"} for one in (crds, control_plane)]
    downgraded = [newer[0], {**control_plane, "chart_version": "2026.6.3"}]
    for found, permitted in ((newer, True), (downgraded, True), (downgraded, False)):
        result = check(empty(releases=found), {**request, "allow_downgrade": permitted})
        linkerd = result["decisions"]["linkerd"]
        assert (codes(result), linkerd["release"], linkerd["crds"]["release"]) == ([], "upgrade", "leave")
        [note] = [one for one in result["notes"] if one["code"] == "definitions_newer"]
        assert note["object"] == "release linkerd/linkerd-crds"
    same = check(empty(releases=[{**crds, "chart_version": "2026.6.3"}, control_plane]), request)
    assert same["decisions"]["linkerd"]["crds"]["release"] == "upgrade"


@PARTS
def test_a_takeover_shows_both_versions_of_the_chart(part):
    found = world(part, chart_version="v0.1.0")
    note = check(found, requested(**{part: {"manage": "true", "chart_version": "v0.2.0"}}))["notes"][0]
    assert note["code"] == "release_taken_over" and "v0.1.0 -> v0.2.0" in note["message"]
    same = check(found, requested(**{part: {"manage": "true", "chart_version": "0.1.0"}}))["notes"][0]
    assert "->" not in same["message"].partition("Values")[0]


@PARTS
def test_a_release_of_another_name_is_left_alone_or_refused(part):
    chart = COMPONENTS[part][0]
    found = world(part, name="other")
    found["deployments"][0]["release"] = {"name": "other", "namespace": "cert-manager"}
    assert decided(check(found), part) == "leave"
    result = check(found, requested(**{part: {"manage": "true"}}))
    assert codes(result) == ["release_elsewhere"]
    assert result["problems"][0]["object"] == "release cert-manager/other" and chart in result["problems"][0]["message"]


@PARTS
def test_an_installation_without_helm_is_left_alone_or_refused(part):
    found = empty(deployments=[deployment(COMPONENTS[part][0])])
    result = check(found)
    assert decided(result, part) == "leave" and "release_left" in codes(result, "notes")
    assert codes(check(found, requested(**{part: {"manage": "true"}}))) == ["release_not_helm"]


@PARTS
def test_nothing_is_managed_with_false(part):
    result = check(world(part, managed="installed"), requested(**{part: {"manage": "false"}}))
    assert decided(result, part) == "leave" and codes(result) == []
    [missing] = check(empty(), requested(**{part: {"manage": False}}))["problems"]
    assert missing["code"] == "component_missing"
    # The value is also false with pki_manage=certificates, and if the run skips the tag of the component.
    assert all(name in missing["message"] for name in ("pki_manage", "tag", f"{part}_manage_release"))


@PARTS
@pytest.mark.parametrize("owner", [None, {"name": "old", "namespace": "old"}])
def test_definitions_of_an_earlier_installation_are_handed_over_with_commands(part, owner):
    component, name = COMPONENTS[part]
    result = check(empty(definitions=[definition(name, component, owner)]))
    assert codes(result) == ["definitions_left_behind"]
    message = result["problems"][0]["message"]
    assert f"kubectl annotate crd {name} " in message and f"meta.helm.sh/release-name={component}" in message


def test_a_definition_of_multicluster_does_not_block_linkerd():
    """The chart linkerd-crds does not contain it."""
    crd = {"metadata": {"name": "links.multicluster.linkerd.io"}}
    assert codes(check(empty(definitions=facts.definition_facts([crd])))) == []


@PARTS
def test_definitions_of_the_same_release_are_no_problem(part):
    component, name = COMPONENTS[part]
    result = check(empty(definitions=[definition(name, component, {"name": component, "namespace": "cert-manager"})]))
    assert codes(result) == [] and decided(result, part) == "install"


def test_definitions_that_the_chart_does_not_install_are_no_problem():
    found = empty(definitions=[definition("certificates.cert-manager.io", "cert-manager")])
    assert codes(check(found, requested(cert_manager={"values": {"crds": {"enabled": False}}}))) == []


@PARTS
def test_another_chart_of_that_name_is_refused(part):
    assert codes(check(empty(releases=[release("nginx", COMPONENTS[part][0], "cert-manager")]))) == [
        "release_name_taken"
    ]


def test_a_release_of_a_distribution_is_left_alone_though_it_has_the_configured_name():
    found = empty(
        releases=[release("linkerd-enterprise-control-plane", "linkerd-control-plane", "linkerd")],
        deployments=[deployment("linkerd", version="edge-26.6.3")],
    )
    result = check(found)
    assert codes(result) == [] and decided(result, "linkerd") == "leave"
    note = next(one for one in result["notes"] if one["code"] == "release_left")
    assert "linkerd-enterprise-control-plane" in note["message"] and "linkerd_manage_charts" not in note["message"]
    assert codes(check(found, requested(linkerd={"manage": "false", "required": False}))) == []
    assert codes(check(found, requested(linkerd={"manage": "true"}))) == ["release_name_taken"]


@PARTS
def test_another_chart_of_that_name_is_no_component(part):
    found = empty(releases=[release("nginx", COMPONENTS[part][0], "cert-manager")])
    assert codes(check(found, requested(**{part: {"manage": "false"}}))) == ["component_missing"]


@PARTS
def test_a_helm_that_works_on_a_release_is_waited_for(part):
    result = check(empty(releases=[release(COMPONENTS[part][0], status="pending-upgrade")]))
    assert codes(result) == ["release_pending"]


@PARTS
def test_an_interrupted_installation_of_the_collection_goes_on(part):
    result = check(empty(releases=[release(COMPONENTS[part][0], status="pending-install", managed="installed")]))
    assert codes(result) == [] and decided(result, part) == "upgrade"


@PARTS
def test_an_uninstalled_release_with_history_is_none(part):
    result = check(empty(releases=[release(COMPONENTS[part][0], status="uninstalled")]))
    assert codes(result) == [] and decided(result, part) == "install"


def test_linkerd_of_its_cli_is_left_alone_with_its_definitions():
    found = empty(deployments=[deployment("linkerd", version="edge-24.1.1", created_by="linkerd/cli edge-24.1.1")])
    found["programs"]["linkerd"] = "edge-24.1.1"
    result = check(found)
    linkerd = result["decisions"]["linkerd"]
    assert (linkerd["release"], linkerd["crds"]["release"], linkerd["version"]) == ("leave", "leave", "edge-24.1.1")
    assert codes(result) == []


def test_the_identity_of_linkerds_values_is_given_up_in_a_takeover():
    secret = "identity.issuer.tls.keyPEM"
    values = {"identity": {"issuer": {"tls": {"keyPEM": "(hidden)"}, "scheme": "linkerd.io/tls"}},
              "proxy": {"cores": 2}, "identityTrustAnchorsPEM": "x"}  # fmt: skip
    found = empty(
        releases=[
            release("linkerd-control-plane", user_values=values, hidden_values=[secret]),
            release("linkerd-crds"),
        ],
        deployments=[deployment("linkerd", version="edge-26.6.3")],
    )
    result = check(found, requested(linkerd={"manage": "true"}))
    assert codes(result) == []
    assert result["decisions"]["linkerd"]["kept_values"] == {
        "identity": {"issuer": {"scheme": "linkerd.io/tls"}}, "proxy": {"cores": 2},
    }  # fmt: skip


def test_a_namespace_that_others_created_gets_only_labels_that_it_lacks():
    found = empty()
    space = {**found["namespaces"]["linkerd"], "exists": True, "labels": {"linkerd.io/is-control-plane": "yes"}}
    found["namespaces"]["linkerd"] = space
    assert check(found)["decisions"]["linkerd"]["namespace"] == {
        "labels": {}, "annotations": {"linkerd.io/inject": "disabled"},
    }  # fmt: skip
    created = check(empty())["decisions"]["linkerd"]["namespace"]["labels"]
    assert created == {"linkerd.io/is-control-plane": "true", "app.kubernetes.io/managed-by": "servicemesh.pki"}
