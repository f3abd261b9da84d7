# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A teardown removes what this collection created, and nothing that others use."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError
from worlds import certificate, definition, deployment, empty, mesh, namespace, release, routes

from ansible_collections.servicemesh.pki.plugins.filter.preflight import removal_plan
from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites.facts import unreadable

SERVERS = "servers.policy.linkerd.io"
ISSUER = certificate("identity-1", "root-1")


def thing(kind, name, managed=True, exists=True):
    return {"api_version": "v1", "kind": kind, "name": name, "namespace": "linkerd", "exists": exists,
            "managed": managed, "matches": True, "owner": "", "gitops": ""}  # fmt: skip


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
    assert crds[0]["name"] in result["left"][0] and "linkerd/linkerd-crds" in result["left"][0]


def test_definitions_that_cannot_be_listed_keep_their_release():
    found = world()
    found["unreadable"] = [unreadable("403 Forbidden", "CustomResourceDefinition")]
    result = plan(found)
    assert result["releases"] == ["linkerd-control-plane"]
    (left,) = result["left"]
    assert "linkerd/linkerd-crds" in left and "403 Forbidden" in left


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
    source = thing("ConfigMap", "linkerd-trust-anchors")
    found["anchor_sources"] = [
        {**source, "namespace": name, "managed": name == "shared"} for name in ("shared", "other")
    ]
    assert [(one["kind"], one["namespace"]) for one in plan(found)["objects"]] == [("ConfigMap", "shared")]


def test_what_git_applies_stays():
    """Its controller would create it again, and the label of this collection can be in the repository."""
    certificate = {**thing("Certificate", "linkerd-identity-issuer"), "gitops": "Argo CD application mesh"}
    found = world(objects=[certificate, thing("Secret", "linkerd-identity-issuer", managed=False)])
    found["mesh"]["issuer_owner"] = "Certificate linkerd-identity-issuer"
    found["anchor_sources"] = [{**thing("ConfigMap", "linkerd-trust-anchors"), "gitops": "Flux Kustomization a/b"}]
    result = plan(found)
    assert result["objects"] == []
    assert [one.partition(" stays, ")[0] for one in result["left"]] == [
        "Certificate linkerd/linkerd-identity-issuer", "Secret linkerd/linkerd-identity-issuer",
        "ConfigMap linkerd/linkerd-trust-anchors",
    ]  # fmt: skip
    assert "Argo CD application mesh" in result["left"][0] and "Flux Kustomization a/b" in result["left"][2]


@pytest.mark.parametrize(
    ("gitops", "namespace", "annotations", "is_removed"),
    [
        ("", "linkerd", {}, True),
        ("Argo CD application mesh", "linkerd", {}, False),
        ("Argo CD application mesh", "other", {}, True),
        ("", "linkerd", {"argocd.argoproj.io/tracking-id": "mesh:/Namespace:/linkerd"}, False),
    ],
)
def test_a_namespace_with_objects_from_git_stays(gitops, namespace, annotations, is_removed):
    certificate = {**thing("Certificate", "linkerd-identity-issuer"), "gitops": gitops, "namespace": namespace}
    found = world(objects=[certificate])
    space = {"exists": True, "managed": True, "terminating": False, "labels": {}, "annotations": annotations}
    found["namespaces"] = {"linkerd": space}
    removed = removal_plan(found, "linkerd", "linkerd", with_namespace=True)["objects"]
    assert ("Namespace" in [one["kind"] for one in removed]) is is_removed


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


CERT_MANAGER, TRUST_MANAGER = ("cert-manager", "cert-manager"), ("cert-manager", "trust-manager")
OWN_MESH = {"name": "linkerd-control-plane", "namespace": "linkerd"}


def use(component, kind, name="theirs", owner=None):
    return {"component": component, "kind": kind, "name": name, "namespace": "team", "release": owner}


def platform(**changes):
    """cert-manager and trust-manager of this collection."""
    return empty(releases=[release(name, managed="installed") for name in ("cert-manager", "trust-manager")], **changes)


@pytest.mark.parametrize("place", [CERT_MANAGER, TRUST_MANAGER])
def test_nothing_is_removed_below_a_linkerd_that_runs(place):
    found = platform(deployments=[deployment("linkerd")])
    result = removal_plan(found, "", *place)
    assert result["releases"] == [] and "Linkerd in namespace linkerd" in result["left"][0]
    found["objects"] = [thing("Issuer", "vault")]
    result = removal_plan(found, "issuer")
    assert (result["objects"], result["is_in_use"], len(result["left"])) == ([], True, 1)
    assert [one["name"] for one in removal_plan(platform(objects=found["objects"]), "issuer")["objects"]] == ["vault"]


@pytest.mark.parametrize(
    ("kind", "stays"), [("Certificate", "cert-manager"), ("Issuer", "cert-manager"), ("ClusterIssuer", "cert-manager"),
                        ("Bundle", "trust-manager"), ("ClusterBundle", "trust-manager")],
)  # fmt: skip
def test_a_controller_that_objects_of_others_need_stays(kind, stays):
    found = platform(uses=[use(stays, kind)])
    removed = {place[1]: removal_plan(found, "", *place)["releases"] for place in (CERT_MANAGER, TRUST_MANAGER)}
    assert removed == {name: [] if name == stays else [name] for name in removed}
    assert f"{kind} team/theirs" in removal_plan(found, "", "cert-manager", stays)["left"][0]


REMEDY = re.compile(r"\. Remove (\w+)")  # what to remove


def test_objects_that_cannot_be_read_count_as_used():
    found = platform(uses=[use("cert-manager", "Issuer", name="")])
    result = removal_plan(found, "", *CERT_MANAGER)
    assert (result["releases"], len(result["left"])) == ([], 1)
    assert "Issuers of others" in result["left"][0] and REMEDY.findall(result["left"][0]) == ["the"]
    found["uses"].append(use("cert-manager", "Issuer"))
    [text] = removal_plan(found, "", *CERT_MANAGER)["left"]
    assert "Issuer team/theirs" in text and REMEDY.findall(text) == ["these"]


def test_check_mode_counts_what_an_earlier_task_would_have_removed():
    own = {"name": "trust-manager", "namespace": "cert-manager"}
    found = platform(
        deployments=[deployment("linkerd", release=OWN_MESH)], uses=[use("cert-manager", "Certificate", owner=own)]
    )
    found["releases"].append(release("linkerd-control-plane", managed="installed"))
    assert removal_plan(found, "", *CERT_MANAGER, predicts=True)["releases"] == ["cert-manager"]
    assert removal_plan(found, "issuer", predicts=True)["is_in_use"] is False
    found["releases"][-1]["managed"] = "taken-over"
    assert removal_plan(found, "", *CERT_MANAGER, predicts=True)["releases"] == []
    assert removal_plan(found, "issuer", predicts=True)["is_in_use"] is True


@pytest.mark.parametrize(
    ("kind", "place", "what"),
    [
        ("Deployment", "linkerd", "Deployments of linkerd"),
        ("ValidatingWebhookConfiguration", None, "ValidatingWebhookConfigurations of the cluster"),
    ],
)
def test_a_linkerd_that_cannot_be_ruled_out_counts_as_running(kind, place, what):
    unread = [unreadable("the API server answered 429.", kind, place)]
    objects = [thing("Issuer", "vault"), thing("Certificate", "linkerd-identity-issuer")]
    found = platform(unreadable=unread, objects=objects, namespaces={"linkerd": namespace()})
    for place in (CERT_MANAGER, TRUST_MANAGER):
        result = removal_plan(found, "", *place)
        assert result["releases"] == [] and what in result["left"][0]
        assert REMEDY.findall(result["left"][0]) == ["the"]  # there may be no Linkerd to remove
    for component in ("issuer", "linkerd"):
        result = removal_plan(found, component, "linkerd", with_namespace=True)
        assert (result["objects"], result["is_in_use"], result["releases"]) == ([], True, [])
        assert what in result["left"][0] and REMEDY.findall(result["left"][0]) == ["the"]
    found["deployments"] = [deployment("linkerd", release=OWN_MESH)]
    assert REMEDY.findall(removal_plan(found, "issuer")["left"][0]) == ["Linkerd"]
    found["deployments"] = []
    found["unreadable"] = [unreadable("it is not a release.", "Secret", "a", "b")]
    assert removal_plan(found, "issuer")["is_in_use"] is False


def test_the_namespace_of_linkerd_is_removed_only_on_request_and_if_it_is_ours():
    for managed, requested in ((True, True), (True, False), (False, True)):
        found = {**world(), "namespaces": {"linkerd": {**namespace(), "managed": managed}}}
        result = removal_plan(found, "linkerd", "linkerd", with_namespace=requested)
        removed = [one["name"] for one in result["objects"] if one["kind"] == "Namespace"]
        assert removed == (["linkerd"] if managed and requested else [])
        assert any("namespace linkerd" in one for one in result["left"]) is not bool(removed)


def test_no_message_recommends_a_removal():
    spaces = {"linkerd": namespace(), "cert-manager": namespace()}
    plans = [
        plan({**world(managed="", crds="installed", definitions=routes()), "namespaces": spaces}),
        plan({**world(definitions=[definition(SERVERS, "linkerd", in_use=True)]), "namespaces": spaces}),
        removal_plan(platform(namespaces=spaces), "", *CERT_MANAGER),
        removal_plan(platform(deployments=[deployment("linkerd")]), "", *CERT_MANAGER),
    ]
    texts = [text for one in plans for text in one["left"]]
    assert len(texts) >= len(plans) and not [one for one in texts if "kubectl" in one or "helm uninstall" in one]


def test_namespaces_and_definitions_that_stay_are_listed():
    spaces = {"linkerd": namespace(), "cert-manager": namespace()}
    found = world(definitions=[definition(SERVERS, "linkerd", in_use=False)])
    found["definitions"] += routes()
    left = plan({**found, "namespaces": spaces})["left"]
    assert [one for one in left if "grpcroutes" in one or "httproutes" in one] and "namespace linkerd" in left[-1]
    found = platform(namespaces=spaces, definitions=[definition("issuers.cert-manager.io", "cert-manager")])
    left = removal_plan(found, "", *CERT_MANAGER)["left"]
    assert "issuers.cert-manager.io" in left[0] and "namespace cert-manager" in left[1]
