# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Gateway API is installed where there is none, and upgraded on request and upwards only."""

from __future__ import annotations

import pytest
from worlds import check, codes, definition, deployment, empty, namespace, release, requested, routes

POLICY = "safe-upgrades.gateway.networking.k8s.io"


def configuration(**changes):
    return requested(linkerd={"gateway_api": {"source": "x", "version": "1.5.1", "upgrade": False, **changes}})


def action(result):
    return result["decisions"]["linkerd"]["gateway_api"]


@pytest.mark.parametrize(("version", "channel"), [("v1.5.1", "standard"), ("v1.6.1", "standard"),
                                                  ("v1.2.1", "standard"),
                                                  ("v1.5.1", "experimental"), ("", "")])  # fmt: skip
def test_what_exists_is_left_alone(version, channel):
    found = empty(definitions=routes(version, channel), deployments=[deployment("linkerd", version="edge-26.6.3")])
    result = check(found, configuration())
    assert (action(result), codes(result)) == ("leave", [])
    notes = [one["message"] for one in result["notes"] if one["code"] == "gateway_api_left"]
    assert len(notes) == ((version, channel) != ("v1.5.1", "standard"))
    # The note recommends the upgrade only where it is possible.
    upgraded = check(found, configuration(upgrade=True))
    is_possible = codes(upgraded) == [] and action(upgraded) == "upgrade"
    assert ["linkerd_gateway_api_upgrade" in one for one in notes] == [is_possible] * len(notes)


def test_it_is_installed_where_there_is_none_and_never_without_a_source():
    assert action(check(empty(), configuration())) == "install"
    assert action(check(empty(), configuration(source=""))) == "leave"
    assert action(check(empty(definitions=routes("v1.2.1")), configuration(source="", upgrade=True))) == "leave"


def test_an_interrupted_installation_goes_on():
    assert action(check(empty(definitions=routes()[:1]), configuration())) == "install"
    assert codes(check(empty(definitions=routes("v1.4.0")[:1]), configuration())) == ["gateway_api_too_old"]


def test_one_that_is_too_old_for_linkerd_stops_the_installation_of_linkerd():
    result = check(empty(definitions=routes("v1.0.0")), configuration())
    assert codes(result) == ["gateway_api_too_old"] and "1.0.0" in result["problems"][0]["message"]


def test_an_upgrade_goes_upwards():
    result = check(empty(definitions=routes("v1.2.1")), configuration(upgrade=True))
    assert (action(result), codes(result)) == ("upgrade", [])
    assert action(check(empty(definitions=routes()), configuration(upgrade=True))) == "leave"


def test_an_interrupted_upgrade_is_completed():
    found = empty(definitions=[routes("v1.2.1")[0], *routes()[1:]])
    upgraded = check(found, configuration(upgrade=True))
    assert (action(upgraded), codes(upgraded)) == ("upgrade", [])


@pytest.mark.parametrize(
    ("version", "channel", "code"),
    [
        ("v1.6.0", "standard", "gateway_api_downgrade"),
        ("v1.10.0", "standard", "gateway_api_downgrade"),
        ("v1.2.1", "experimental", "gateway_api_channel"),
        ("v1.6.0", "experimental", "gateway_api_channel"),
    ],
)
def test_an_upgrade_downwards_or_to_another_channel_is_refused(version, channel, code):
    assert codes(check(empty(definitions=routes(version, channel)), configuration(upgrade=True))) == [code]


@pytest.mark.parametrize(("version", "expected"), [("1.2.1", ["gateway_api_policy"]), ("1.5.1", []), ("1.6.0", [])])
def test_an_admission_policy_that_was_left_behind_permits_later_versions_only(version, expected):
    assert codes(check(empty(admission_policies=[POLICY]), configuration(version=version))) == expected


def with_routes_in_the_release(managed, **changes):
    names = [one["name"] for one in routes()]
    crds = [
        *routes("v1.1.1", "experimental", **changes),
        definition("servers.policy.linkerd.io", "linkerd", kept=False),
    ]
    released = release("linkerd-crds", managed=managed, definitions=[*names, "servers.policy.linkerd.io", "gone.x.io"])
    return empty(
        releases=[released, release("linkerd-control-plane", managed=managed)],
        definitions=crds,
        deployments=[deployment("linkerd", version="edge-26.6.3")],
    )


def test_definitions_that_an_upgrade_would_delete_are_protected_first():
    result = check(with_routes_in_the_release("installed"), configuration())
    assert result["decisions"]["linkerd"]["protect"] == [
        "grpcroutes.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io",
    ]  # fmt: skip
    assert "definitions_protected" in codes(result, "notes")


def test_definitions_that_are_kept_need_nothing():
    result = check(with_routes_in_the_release("installed", kept=True), configuration())
    assert result["decisions"]["linkerd"]["protect"] == []
    assert "definitions_protected" not in codes(result, "notes")


def test_the_owner_of_a_release_that_is_left_alone_gets_the_command():
    result = check(with_routes_in_the_release(""), configuration())
    assert result["decisions"]["linkerd"]["protect"] == []
    note = next(one for one in result["notes"] if one["code"] == "definitions_unprotected")
    assert "kubectl annotate crd grpcroutes.gateway.networking.k8s.io" in note["message"]
    assert "helm.sh/resource-policy=keep" in note["message"]


def test_the_quota_never_goes_into_a_namespace_that_is_used():
    for changes, quota in (({}, True), ({"secrets": 1}, False), ({"releases": 1}, False)):
        found = empty()
        found["namespaces"]["linkerd-trust"] = namespace(**changes)
        result = check(found)
        assert result["decisions"]["trust_manager"]["quota"] is quota
        assert ("quota_omitted" in codes(result, "notes")) is not quota
