# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other checks: components that others share, namespaces, objects, programs, permissions, Vault."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from worlds import CLUSTER, certificate, check, codes, deployment, empty, issuers, namespace, release, requested

from ansible_collections.servicemesh.pki.plugins.filter.preflight import (
    preflight,
    preflight_message,
    preflight_problem,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites.facts import unreadable
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import CHECKS, NOTES, Result, numbers

ROOT = Path(__file__).resolve().parents[3]
ENFORCE = "pod-security.kubernetes.io/enforce"


def others(trust_namespace="cert-manager", **changes):
    """cert-manager and trust-manager of another team."""
    return [deployment("cert-manager", **changes), deployment("trust-manager", trust_namespace=trust_namespace)]


def test_the_trust_namespace_of_a_shared_trust_manager_is_used_without_a_quota():
    result = check(empty(deployments=others()))
    decision = result["decisions"]["trust_manager"]
    assert (decision["trust_namespace"], decision["quota"], decision["namespace"]) == ("cert-manager", False, False)
    assert codes(result) == [] and {"trust_namespace_used", "quota_omitted"} <= set(codes(result, "notes"))


@pytest.mark.parametrize(("bundles", "expected"), [
    ([{"name": "team-x", "managed": False}], ["trust_namespace_in_use"]),
    ([{"name": "linkerd-identity-trust-roots", "managed": False}, {"name": "own", "managed": True}], []),
])  # fmt: skip
def test_a_change_of_the_trust_namespace_breaks_no_other_bundle(bundles, expected):
    found = empty(
        releases=[release("trust-manager", managed="installed")],
        deployments=[deployment("trust-manager", trust_namespace="old")],
        bundles=bundles,
    )
    assert codes(check(found)) == expected


@pytest.mark.parametrize("name", ["linkerd", "cert-manager", "issuer"])
def test_a_namespace_that_gets_secrets_of_the_run_gets_no_quota(name):
    issuer = {"objects": [{"kind": "Secret", "metadata": {"name": "vault-ca", "namespace": "issuer"}},
                          {"kind": "ClusterIssuer", "metadata": {"name": "vault"}}]}  # fmt: skip
    result = check(empty(), requested(trust_manager={"trust_namespace": name}, issuer=issuer))
    decision = result["decisions"]["trust_manager"]
    assert (decision["quota"], decision["namespace"]) == (False, True)
    assert codes(result, "notes") == ["quota_omitted"]
    assert check(empty())["decisions"]["trust_manager"]["quota"] is True


def test_the_role_trust_manager_alone_creates_no_quota_for_linkerd():
    """In a cluster that the same run creates, each role is checked alone."""
    alone = {"trust_manager": {**requested()["trust_manager"], "trust_namespace": "mesh"}}
    assert check(empty(), alone)["decisions"]["trust_manager"]["quota"] is True
    named = check(empty(), {**alone, "linkerd_namespace": "mesh"})
    assert named["decisions"]["trust_manager"]["quota"] is False


@pytest.mark.parametrize(("space", "expected"), [
    (namespace(), False), (namespace(managed=True), True), (namespace(exists=False), True),
])  # fmt: skip
def test_a_trust_namespace_of_others_is_not_written(space, expected):
    decision = check(empty(namespaces={"linkerd-trust": space}))["decisions"]["trust_manager"]
    assert (decision["namespace"], decision["quota"]) == (expected, True)


def test_linkerd_in_another_namespace_is_not_overlooked():
    found = empty(deployments=[deployment("linkerd", version="edge-26.6.3")])
    elsewhere = requested(linkerd={"namespace": "mesh", "trust_selector": {}})
    result = check(found, elsewhere)
    assert [(one["code"], one["object"]) for one in result["problems"]] == [("linkerd_elsewhere", "namespace linkerd")]
    assert "pki_linkerd_namespace to linkerd" in result["problems"][0]["message"]
    assert codes(check(found)) == [] and codes(check(empty(), elsewhere)) == []
    both = [*found["deployments"], deployment("linkerd", where="mesh", version="edge-26.6.3")]
    assert codes(check(empty(deployments=both), elsewhere)) == []


CONTROL_PLANE = {"matchLabels": {"linkerd.io/is-control-plane": "true"}}


@pytest.mark.parametrize(("selector", "labels", "expected"), [
    ({}, {}, True),
    ({"matchLabels": {"kubernetes.io/metadata.name": "linkerd"}}, {}, True),
    ({"matchLabels": {"kubernetes.io/metadata.name": "mesh"}}, {}, False),
    (CONTROL_PLANE, {}, False),
    (CONTROL_PLANE, {"linkerd.io/is-control-plane": "true"}, True),
    ({"matchLabels": None, "matchExpressions": [{"key": "mesh", "operator": "Exists"}]}, {}, False),
    ({"matchExpressions": [{"key": "mesh", "operator": "Exists"}]}, {"mesh": ""}, True),
    ({"matchExpressions": [{"key": "mesh", "operator": "DoesNotExist"}]}, {"mesh": ""}, False),
    ({"matchExpressions": [{"key": "mesh", "operator": "In", "values": ["a", "b"]}]}, {"mesh": "b"}, True),
    ({"matchExpressions": [{"key": "mesh", "operator": "In", "values": ["a"]}]}, {}, False),
    ({"matchExpressions": [{"key": "mesh", "operator": "NotIn", "values": ["a"]}]}, {}, True),
    ({"matchExpressions": [{"key": "mesh", "operator": "NotIn", "values": ["a"]}]}, {"mesh": "a"}, False),
])  # fmt: skip
def test_the_bundle_selects_the_namespace_of_linkerd(selector, labels, expected):
    """Nothing adds labels to the namespace of a Linkerd that others installed."""
    found = empty(
        deployments=[deployment("linkerd", version="edge-26.6.3")], namespaces={"linkerd": namespace(labels=labels)}
    )
    result = check(found, requested(linkerd={"trust_selector": selector}))
    assert codes(result) == ([] if expected else ["anchors_not_selected"])


@pytest.mark.parametrize(("targets", "expected"), [([], 0), (["linkerd", "shop"], 0), (["shop"], 1)])
def test_trust_manager_writes_to_the_namespace_of_linkerd(targets, expected):
    """A Bundle is synced if it is in all namespaces that trust-manager may write to (trust-manager: pkg/bundle)."""
    refused = [("anchors_not_selected", "namespace linkerd")] * expected

    def problems(found, configuration):
        return [(one["code"], one["object"]) for one in check(found, configuration)["problems"]]

    of_others = empty(deployments=[deployment("trust-manager", target_namespaces=targets)])
    assert problems(of_others, requested()) == refused
    without = {"linkerd": requested()["linkerd"]}  # the role alone, or objects from Git
    assert problems(of_others, without) == refused
    values = {"app": {"targetNamespaces": targets}}
    assert problems(empty(), requested(trust_manager={"values": values})) == refused
    # The run upgrades a release with other values.
    own = empty(releases=[release("trust-manager", managed="installed")],
                deployments=[deployment("trust-manager", target_namespaces=["shop"])])  # fmt: skip
    assert problems(own, requested(trust_manager={"values": values})) == refused


def test_labels_that_the_run_adds_count_for_the_selector():
    configuration = requested(linkerd={"trust_selector": CONTROL_PLANE})
    assert codes(check(empty(), configuration)) == []
    assert codes(check(empty(namespaces={"linkerd": namespace()}), configuration)) == []
    without = requested(linkerd={"trust_selector": CONTROL_PLANE, "creates_namespaces": False})
    assert "anchors_not_selected" not in codes(check(empty(), without))  # namespace_missing reports it


@pytest.mark.parametrize(("changes", "part"), [
    ({"renew_before": "48h"}, "duration 48h"),
    ({"duration": "90d"}, " 90d."),
    ({"duration": "two days"}, "two days"),
])  # fmt: skip
def test_a_validity_that_cert_manager_refuses(changes, part):
    result = check(empty(), requested(linkerd=changes))
    assert codes(result) == ["identity_lifetime"] and part in result["problems"][0]["message"]


def test_the_identity_issuer_does_not_outlive_its_trust_anchor():
    facts = certificate("root")
    root = facts["certificate"]
    configuration = requested(linkerd={"anchors": [root], "duration": "9000h"})
    vault = {"root": "new", "mount": "pki", "anchors": [root], "issuers": issuers(old=facts), "is_managed": True,
             "issuer_path": "pki/issuer/new/sign-intermediate", "issuer_name": "vault"}  # fmt: skip
    configuration["linkerd"]["issuer"] = {"group": "cert-manager.io", "name": "vault"}
    assert codes(check(empty(), configuration)) == ["identity_lifetime"]
    # The anchor is the previous root, and the run creates another one.
    assert codes(check(empty(), {**configuration, "vault": vault})) == []
    exists = {**vault, "issuers": issuers(old=facts, new=facts)}
    assert codes(check(empty(), {**configuration, "vault": exists})) == ["identity_lifetime"]
    given = {**vault, "anchors": []}  # the anchor is in the inventory
    assert codes(check(empty(), {**configuration, "vault": given})) == ["identity_lifetime"]


@pytest.mark.parametrize(("changes", "expected"), [
    ({"server": ""}, ["vault_issuer_server"]), ({"auth": "kubernetes"}, ["vault_issuer_kubernetes_host"]),
    ({"auth": "kubernetes", "kubernetes_host": "https://api.test"}, []), ({"auth": "token"}, []),
])  # fmt: skip
def test_the_addresses_of_the_issuer_are_set(changes, expected):
    problems = check(empty(), requested(issuer=changes))["problems"]
    assert [one["object"] for one in problems if one["code"] == "address_missing"] == expected
    assert len(problems) == len(expected)


def test_cert_managers_own_service_account_is_needed():
    found = empty(deployments=others(service_account="cm", where="security"))
    result = check(found)
    assert codes(result) == ["cert_manager_mismatch"]
    assert "pki_cert_manager_namespace to security" in result["problems"][0]["message"]
    assert codes(check(found, requested(issuer={"needs_service_account": False}))) == []
    named = {"cert_manager_namespace": "security", "cert_manager_service_account": "cm"}
    assert codes(check(found, requested(issuer=named))) == []
    cluster_wide = {"needs_service_account": False, "objects": [{"kind": "ClusterIssuer", "metadata": {"name": "v"}}]}
    assert codes(check(found, requested(issuer=cluster_wide))) == ["cert_manager_mismatch"]
    assert codes(check(found, requested(issuer={**cluster_wide, "cert_manager_namespace": "security"}))) == []


@pytest.mark.parametrize(("chart", "account"), [
    ({}, "cert-manager/cert-manager"),
    ({"namespace": "certs"}, "certs/cert-manager"),
    ({"release": "cm"}, "cert-manager/cm"),
    ({"values": {"fullnameOverride": "cm"}}, "cert-manager/cm"),
    ({"values": {"serviceAccount": {"name": "cm"}}}, "cert-manager/cm"),
])  # fmt: skip
def test_the_issuer_names_the_cert_manager_that_is_installed_first(chart, account):
    space, dummy, name = account.partition("/")
    named = {"cert_manager_namespace": space, "cert_manager_service_account": name}
    assert codes(check(empty(), requested(cert_manager=chart, issuer=named))) == []
    default = codes(check(empty(), requested(cert_manager=chart)))
    assert default == ([] if not chart else ["cert_manager_mismatch"])


@pytest.mark.parametrize(("version", "limits"), [("v1.20.3", False), ("v1.21.0", True), ("v1.22.1", True), ("", True)])
def test_the_version_of_cert_manager_decides_about_the_limit_of_retries(version, limits):
    result = check(empty(), requested(cert_manager={"version": version}))
    assert result["decisions"]["cert_manager"]["limits_retries"] is limits
    assert ("retry_limit_not_set" in codes(result, "notes")) is not limits
    left = check(empty(deployments=others(version=version or "main")))
    assert "retry_limit_not_set" in codes(left, "notes")


@pytest.mark.parametrize(("level", "cni", "expected"), [
    ("restricted", False, ["pod_security"]), ("baseline", False, ["pod_security"]), ("privileged", False, []),
    ("baseline", True, []), (None, False, []),
])  # fmt: skip
def test_pod_security_has_to_permit_the_control_plane(level, cni, expected):
    found = empty()
    found["namespaces"]["linkerd"] = namespace(labels={ENFORCE: level} if level else {})
    assert codes(check(found, requested(linkerd={"cni": cni}))) == expected


def test_a_namespace_that_is_terminating_stops_the_run():
    found = empty()
    found["namespaces"]["linkerd-trust"] = namespace(terminating=True)
    assert [(one["code"], one["object"]) for one in check(found)["problems"]] == [
        ("namespace_terminating", "namespace linkerd-trust")
    ]


@pytest.mark.parametrize(
    ("has_configmap", "missing"),
    [(True, ["namespace linkerd", "namespace linkerd-trust"]), (False, ["namespace linkerd"])],
)
def test_without_charts_the_namespaces_must_exist(has_configmap, missing):
    configuration = requested(linkerd={"creates_namespaces": False, "has_configmap": has_configmap})
    found = [one["object"] for one in check(empty(), configuration)["problems"] if one["code"] == "namespace_missing"]
    assert found == missing
    present = empty(namespaces=dict.fromkeys(("linkerd", "linkerd-trust"), namespace()))
    assert "namespace_missing" not in codes(check(present, configuration))


def thing(**changes):
    return {"kind": "Certificate", "name": "linkerd-identity-issuer", "namespace": "linkerd", "exists": True,
            "managed": False, "matches": False, "owner": "", "gitops": "", **changes}  # fmt: skip


@pytest.mark.parametrize("changes", [{"managed": True}, {"exists": False}, {"kind": "Namespace"}])
def test_objects_that_may_be_written(changes):
    assert codes(check(empty(objects=[thing(**changes)]))) == []


@pytest.mark.parametrize("matches", [True, False])
def test_an_object_of_others_is_changed_on_request_only(matches):
    """With the same content as well: with the label of this collection, a teardown would delete it."""
    found = empty(objects=[thing(owner="argocd", matches=matches)])
    result = check(found)
    assert codes(result) == ["object_unmanaged"] and "argocd" in result["problems"][0]["message"]
    item = result["problems"][0]["object"]
    assert codes(check(found, {**requested(), "take_over": [item]})) == []


@pytest.mark.parametrize(("kind", "name", "where", "of_mesh"), [
    ("Bundle", "linkerd-identity-trust-roots", "", True), ("Secret", "linkerd-identity-issuer", "mesh", True),
    ("ConfigMap", "linkerd-trust-anchors", "linkerd-trust", True), ("Issuer", "vault", "linkerd", False),
    ("ServiceAccount", "linkerd-identity-issuer", "linkerd", False),
])  # fmt: skip
def test_no_message_recommends_removal(kind, name, where, of_mesh):
    result = check(empty(objects=[thing(kind=kind, name=name, namespace=where)]))
    message = result["problems"][0]["message"]
    assert ("do not remove it" in message) is of_mesh and ("another name" in message) is not of_mesh
    assert "Remove" not in message and "pki_take_over" in message


@pytest.mark.parametrize("space", [namespace(), None])
def test_a_quota_of_others_is_left_alone(space):
    """It can permit Secrets, and other users of the namespace may depend on that."""
    quota = {**thing(kind="ResourceQuota", name="no-secrets", namespace="linkerd-trust"), "matches": True}
    given = {**requested(), "take_over": []}
    spaces = {"linkerd-trust": space} if space else {}
    for managed, creates in ((True, True), (False, False)):
        result = check(empty(objects=[{**quota, "managed": managed}], namespaces=spaces), given)
        assert codes(result) == [] and result["decisions"]["trust_manager"]["quota"] is creates
        assert ("quota_omitted" in [one["code"] for one in result["notes"]]) is not creates
    from_git = check(empty(objects=[{**quota, "managed": True, "gitops": "Flux Kustomization a/b"}], namespaces=spaces))
    assert from_git["decisions"]["trust_manager"]["quota"] is False
    elsewhere = check(empty(objects=[{**quota, "namespace": "other"}], namespaces=spaces), given)
    assert elsewhere["decisions"]["trust_manager"]["quota"] is True


def test_an_object_from_git_is_not_changed_though_the_collection_rendered_it():
    found = empty(objects=[thing(managed=True, gitops="Argo CD application mesh")])
    problem = check(found)["problems"][0]
    assert problem["code"] == "object_in_git" and "Argo CD application mesh" in problem["message"]
    assert codes(check(found, {**requested(), "take_over": [problem["object"]]})) == []
    assert codes(check(empty(objects=[thing(managed=True, matches=True, gitops="Argo CD application mesh")]))) == []


def test_objects_of_an_earlier_version_are_recognized_beside_its_cert_manager():
    found = empty(objects=[thing(owner="OpenAPI-Generator")])
    assert codes(check(found)) == ["object_unmanaged"]
    found["releases"] = [release("cert-manager", managed="installed", is_earlier=True)]
    assert codes(check(found)) == []


def test_configmaps_that_are_no_source_any_more_are_removed_if_the_collection_created_them():
    sources = [
        {"namespace": name, "managed": name != "theirs", "gitops": name if name == "from Git" else ""}
        for name in ("linkerd-trust", "old", "theirs", "from Git")
    ]
    found = empty(anchor_sources=sources)
    assert check(found)["decisions"]["linkerd"]["remove_anchors"] == ["old"]
    configuration = requested(linkerd={"has_configmap": False})
    assert check(found, configuration)["decisions"]["linkerd"]["remove_anchors"] == ["linkerd-trust", "old"]


@pytest.mark.parametrize(("helm", "expected"), [
    (None, ["helm_missing"]), ("4.0.1", ["helm_unsupported"]), ("3.7.2", ["helm_unsupported"]), ("3.8.0", []),
    ("3.22.0", []), ("", []),
])  # fmt: skip
def test_helm(helm, expected):
    programs = {"helm": helm, "linkerd": "edge-26.6.3"}
    assert codes(check(empty(programs=programs))) == expected
    running = [*others(), deployment("linkerd", version="edge-26.6.3")]
    assert codes(check(empty(programs=programs, deployments=running))) == []  # nothing is installed with it


def test_the_cli_has_the_version_of_the_control_plane():
    missing = check(empty(programs={"helm": "3.22.0", "linkerd": None}))
    assert codes(missing) == ["linkerd_cli_missing"]
    other = check(empty(programs={"helm": "3.22.0", "linkerd": "edge-26.8.3"}))
    assert codes(other) == ["linkerd_cli_version"]
    assert "LINKERD2_VERSION=edge-26.6.3 sh" in other["problems"][0]["message"]
    own = empty(deployments=[deployment("linkerd", version="edge-25.1.1")])
    assert "LINKERD2_VERSION=edge-25.1.1 sh" in check(own)["problems"][0]["message"]
    assert codes(check(empty(programs={"helm": "3.22.0", "linkerd": None}), requested(linkerd={"check": False}))) == []


def test_the_cli_is_not_needed_before_others_install_linkerd():
    """The run creates the certificates only, and does not call linkerd check."""
    configuration = requested(linkerd={"manage": "false", "required": False})
    for present in (None, "edge-25.8.1"):
        found = empty(programs={"helm": "3.22.0", "linkerd": present})
        assert codes(check(found, configuration)) == []
        found["deployments"] = [deployment("linkerd", version="edge-26.6.3")]
        assert codes(check(found, configuration)) == [
            "linkerd_cli_missing" if present is None else "linkerd_cli_version"
        ]


@pytest.mark.parametrize(("version", "is_upstream"), [
    ("edge-25.1.1", True), ("stable-2.14.10", True), ("enterprise-2.17.1", False), ("preview-26.6.1", False),
])  # fmt: skip
def test_the_command_that_installs_the_cli_names_only_versions_that_it_finds(version, is_upstream):
    """run.linkerd.io downloads from the releases of linkerd/linkerd2, which has no others."""
    for present in (None, "edge-26.8.3"):
        found = empty(
            deployments=[deployment("linkerd", version=version)], programs={"helm": "3.22.0", "linkerd": present}
        )
        [problem] = check(found)["problems"]
        assert (f"LINKERD2_VERSION={version} sh" in problem["message"]) is is_upstream
        assert ("run.linkerd.io" in problem["message"]) is is_upstream


def test_a_control_plane_of_others_without_a_known_version_is_not_compared_with_the_chart():
    found = empty(
        deployments=[deployment("linkerd", version="")], programs={"helm": "3.22.0", "linkerd": "edge-25.8.1"}
    )
    assert codes(check(found)) == []
    found["programs"]["linkerd"] = None
    [problem] = check(found)["problems"]
    assert problem["code"] == "linkerd_cli_missing" and "LINKERD2_VERSION" not in problem["message"]


def test_what_cannot_be_read_is_a_problem():
    found = empty(unreadable=[unreadable("403 Forbidden.", "Secret", "linkerd", "x")])
    assert [(one["code"], one["object"]) for one in check(found)["problems"]] == [("not_readable", "Secret linkerd/x")]


def test_only_the_requested_components_are_decided():
    result = check(empty(), {"cert_manager": requested()["cert_manager"]})
    assert set(result["decisions"]) == {"cert_manager"} and result["problems"] == []


def test_every_problem_names_its_cluster_and_an_object():
    found = empty(objects=[thing()], programs={"helm": None, "linkerd": None})
    result = check(found)
    assert {one["cluster"] for one in result["problems"]} == {CLUSTER} and all(
        one["object"] for one in result["problems"]
    )
    lines = preflight_message(result["problems"]).splitlines()
    assert len(lines) == 3 and lines[0].startswith("[helm_missing] berlin: ")


def test_codes_are_closed():
    with pytest.raises(KeyError):
        Result("x").problem("no_such_code", "", "")
    with pytest.raises(AnsibleFilterError, match="no_such_code"):
        preflight_problem("x", "no_such_code", "c")
    assert preflight_problem("x", "cluster_unreachable", "c")["message"] == "x"
    with pytest.raises(AnsibleFilterError, match="mesh_prerequisites_info"):
        preflight({}, requested(), "c")


def test_the_guide_lists_every_check_and_note():
    text = (ROOT / "docs/guides/production.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.M))
    assert {code: text.strip() for code, text in rows.items()} == {**CHECKS, **NOTES}


def test_every_code_is_tested_here():
    """A code that no test produces could be one that nothing produces."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [code for code in {**CHECKS, **NOTES} if f'"{code}"' not in tests] == []


@pytest.mark.parametrize(("text", "expected"), [
    ("v1.21.2", (1, 21, 2)), ("1.5.0-rc.1", (1, 5, 0)), ("edge-26.6.3", ()), ("", ()), ("v1.2+k3s1", (1, 2)),
])  # fmt: skip
def test_numbers(text, expected):
    assert numbers(text) == expected
