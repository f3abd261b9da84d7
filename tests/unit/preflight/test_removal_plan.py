# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A teardown removes what this collection created, and nothing that others use."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from worlds import certificate, definition, deployment, empty, mesh, release, routes

from ansible_collections.servicemesh.pki.plugins.filter.preflight import removal_plan

SERVERS = "servers.policy.linkerd.io"
ISSUER = certificate("identity-1", "root-1")


def thing(kind, name, managed=True, exists=True):
    return {"api_version": "v1", "kind": kind, "name": name, "namespace": "linkerd", "exists": exists,
            "managed": managed, "matches": True, "owner": ""}  # fmt: skip


def world(managed="installed", crds="installed", objects=(), definitions=()):
    names = [one["name"] for one in definitions]
    return empty(
        releases=[release("linkerd-control-plane", managed=managed),
                  release("linkerd-crds", managed=crds, definitions=names)],
        deployments=[deployment("linkerd")], objects=list(objects), definitions=list(definitions),
        mesh=mesh([], ISSUER, []),
    )  # fmt: skip


def plan(found):
    return removal_plan(found, "linkerd", "linkerd")


def test_both_releases_of_the_collection_are_removed():
    found = world(definitions=[definition(SERVERS, "linkerd", in_use=False)])
    assert plan(found) == {
        "releases": ["linkerd-control-plane", "linkerd-crds"], "objects": [], "left": [], "is_in_use": False,
    }  # fmt: skip


@pytest.mark.parametrize("crds", [[definition(SERVERS, "linkerd", in_use=True)],
                                  [{**routes()[0], "in_use": False}]])  # fmt: skip
def test_definitions_that_others_use_keep_their_release(crds):
    result = plan(world(definitions=crds))
    assert result["releases"] == ["linkerd-control-plane"]
    assert crds[0]["name"] in result["left"][0] and "helm uninstall linkerd-crds" in result["left"][0]


@pytest.mark.parametrize("managed", ["", "taken-over"])
def test_a_linkerd_of_others_keeps_its_certificates(managed):
    found = world(managed=managed, crds=managed, objects=[thing("Certificate", "linkerd-identity-issuer")])
    result = plan(found)
    assert (result["releases"], result["objects"], result["is_in_use"]) == ([], [], True)
    assert len(result["left"]) == 1


def test_only_marked_objects_are_removed():
    objects = [
        thing("Certificate", "linkerd-identity-issuer"), thing("Secret", "linkerd-identity-issuer", managed=False),
        thing("Bundle", "linkerd-identity-trust-roots", managed=False), thing("ConfigMap", "gone", exists=False),
    ]  # fmt: skip
    result = plan(world(objects=objects))
    assert [one["kind"] for one in result["objects"]] == ["Certificate", "Secret"]
    assert result["left"] == [
        "Bundle linkerd/linkerd-identity-trust-roots stays, because this collection did not create it."
    ]


def test_trust_anchors_are_removed_from_any_trust_namespace():
    found = world()
    found["anchor_sources"] = [
        {"name": "linkerd-trust-anchors", "namespace": name, "managed": name == "shared"}
        for name in ("shared", "other")
    ]
    assert [(one["kind"], one["namespace"]) for one in plan(found)["objects"]] == [("ConfigMap", "shared")]


def test_the_secret_of_a_certificate_of_others_stays():
    objects = [thing("Certificate", "linkerd-identity-issuer", managed=False),
               thing("Secret", "linkerd-identity-issuer", managed=False)]  # fmt: skip
    assert plan(world(objects=objects))["objects"] == []


@pytest.mark.parametrize(("managed", "removed"), [("installed", ["cert-manager"]), ("taken-over", []), ("", [])])
def test_a_single_release(managed, removed):
    result = removal_plan(
        empty(releases=[release("cert-manager", managed=managed)]), "", "cert-manager", "cert-manager"
    )
    assert result["releases"] == removed and len(result["left"]) == 1 - len(removed)
    assert removal_plan(empty(), "", "cert-manager", "cert-manager")["left"] == []


def test_objects_alone():
    found = empty(objects=[thing("Issuer", "vault"), thing("ServiceAccount", "vault-issuer", managed=False)])
    assert [one["name"] for one in removal_plan(found)["objects"]] == ["vault"]


def test_another_input_is_one_kind_of_error():
    with pytest.raises(AnsibleFilterError, match="mesh_prerequisites_info"):
        removal_plan({}, "linkerd")
