# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops the adoption of a Linkerd before phase 1, and what does not stop it in the middle."""

from __future__ import annotations

import pytest
from support.authority import NOW
from support.readings import ISSUER
from test_rotation_plan import (
    BEFORE,
    BOTH,
    GOOD,
    NEW_NAME,
    NEXT_ISSUER,
    OLD_NAME,
    anchors_in_values,
    codes,
    of_the_cli,
    planned,
    reading,
    vault,
)

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import plan
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.problems import Options

FLUX, ARGO = "Flux HelmRelease flux-system/linkerd", "Argo CD application linkerd"
PARTS = {
    "ConfigMap": "ConfigMap linkerd/linkerd-identity-trust-roots",
    "Secret": "Secret linkerd/linkerd-identity-issuer",
    "Deployment": "Deployment linkerd/linkerd-identity",
}
RELEASE = {"name": "linkerd-control-plane", "namespace": "linkerd"}


def components(gitops: str = "", *applied: str, has_release: bool = True, created_by: str = "linkerd/helm x"):
    """What mesh_prerequisites_info returns for a Linkerd of which some objects come from Git."""
    controller = {"component": "linkerd", "namespace": "linkerd", "name": "linkerd-identity"}
    objects = [
        {"kind": kind, "namespace": "linkerd", "name": item.rpartition("/")[2], "exists": True, "managed": False,
         "owner": "Helm release linkerd/linkerd-control-plane", "gitops": gitops if kind in applied else ""}
        for kind, item in PARTS.items()
    ]  # fmt: skip
    return {
        "objects": objects,
        "deployments": [{**controller, "release": RELEASE if has_release else None, "created_by": created_by}],
    }


def refused(found: dict) -> list[str]:
    """The objects of the problems, which all are about objects in Git."""
    assert set(codes(found)) <= {"object_in_git"}
    assert all("adopt.md" in one["message"] for one in found["problems"])
    return [kind for one in found["problems"] for kind, item in PARTS.items() if one["message"].startswith(f"{item} ")]


@pytest.mark.parametrize("world", [of_the_cli(*BEFORE), anchors_in_values(BOTH, ISSUER, BOTH, ISSUER)])
@pytest.mark.parametrize(
    ("found", "take_over", "expected"),
    [
        (components(), (), []),
        (components(FLUX, *PARTS), (), [*PARTS]),
        (components(ARGO, "Deployment", has_release=False), (), ["Deployment"]),
        (components(FLUX, *PARTS), (PARTS["Secret"],), ["ConfigMap", "Deployment"]),
        (components(FLUX, *PARTS), (*PARTS.values(),), []),
        # Argo CD before 3.0 leaves only the label app.kubernetes.io/instance, which Helm sets, too.
        (components(has_release=False), (), ["Deployment"]),
        (components(has_release=False), (PARTS["Deployment"],), []),
        (components(has_release=False, created_by="linkerd/cli x"), (), []),
    ],
)
def test_a_linkerd_that_comes_from_git_is_not_adopted(world, found, take_over, expected):
    answer = planned(world, adopt=True, more={"components": found}, take_over=take_over)
    assert refused(answer) == expected
    forced = planned(world, adopt=True, force=True, more={"components": found}, take_over=take_over)
    assert refused(forced) == expected


def test_the_chart_of_an_adopted_linkerd_may_come_from_git():
    """After the change of phase 4 in Git, trust-manager and cert-manager write the ConfigMap and the Secret."""
    found = {"components": components(FLUX, *PARTS)}
    for world in (BEFORE, (BOTH, NEXT_ISSUER, BOTH, ISSUER)):
        for adopt in (True, False):
            assert codes(planned(reading(*world), adopt=adopt, more=found)) == []


CHART = {"code": "chart_unavailable", "message": "not found in https://helm.linkerd.io/edge"}
UPGRADE = {"code": "release_unfinished", "message": "helm history linkerd-control-plane"}
ACCOUNT = {"code": "cert_manager_mismatch", "message": "Set vault_issuer_cert_manager_service_account"}


@pytest.mark.parametrize(
    ("world", "adopt", "expected"),
    [
        (of_the_cli(*BEFORE), True, ["chart_unavailable", "release_unfinished", "cert_manager_mismatch"]),
        (reading(*BEFORE), True, ["cert_manager_mismatch"]),  # Linkerd is upgraded already
        (reading(*BEFORE), False, ["cert_manager_mismatch"]),
    ],
)
def test_what_would_stop_a_later_phase_is_a_problem_before_the_first(world, adopt, expected):
    found = planned(world, names=(OLD_NAME,), adopt=adopt, more={"obstacles": [CHART, UPGRADE, ACCOUNT]})
    assert (found["phase_name"], codes(found)) == ("create", expected)
    assert [one["message"] for one in found["problems"]][-1] == ACCOUNT["message"]
    assert {one["cluster"] for one in found["problems"]} == {"one"}


HINT = "https://linkerd.io/2/checks/#l5d-multicluster-clusters-share-anchors"
SHARED = {"category": "linkerd-multicluster", "description": "clusters share trust anchors", "result": "error",
          "error": "Problematic clusters: * two", "hint": HINT}  # fmt: skip
OTHER = {**SHARED, "description": "all gateway mirrors are healthy", "hint": ""}
EXPIRING = {"description": "trust anchors are valid for at least 60 days"}
FAILED = {"passed": False, "msg": "x", "exit_code": 1, "errors": [SHARED], "warnings_found": []}
MOVED = reading(BOTH, NEXT_ISSUER, BOTH, ISSUER)
WAITS = of_the_cli(BOTH, ISSUER, BOTH, ISSUER)
WAITS["anchors"]["bundle"] = "linkerd-identity-trust-roots"


@pytest.mark.parametrize(
    ("one", "two", "check", "expected"),
    [
        (MOVED, WAITS, {}, []),
        (MOVED, WAITS, {"warnings_found": [EXPIRING]}, []),
        (MOVED, WAITS, {"warnings_found": [{"description": "cli is up-to-date"}]}, ["linkerd_check_failed"]),
        (MOVED, WAITS, {"errors": [SHARED, OTHER]}, ["linkerd_check_failed"]),
        (MOVED, WAITS, {"errors": []}, ["linkerd_check_failed"]),
        (WAITS, WAITS, {}, ["linkerd_check_failed"]),  # the values are those that Linkerd reads
        (MOVED, {**WAITS, "anchors": of_the_cli(*BEFORE)["anchors"]}, {}, ["linkerd_check_failed", "pods_distrust"]),
    ],
)
def test_linked_clusters_of_which_one_is_adopted_continue(one, two, check, expected):
    """linkerd check compares the values of their charts, of which the adoption removes the trust anchors."""
    clusters = {
        "one": {"certificates": one, **GOOD},
        "two": {"certificates": two, **GOOD, "check": {**FAILED, **check}},
    }
    found = plan.plan(clusters, vault(OLD_NAME, NEW_NAME), Options(NEW_NAME, adopt=True), NOW)
    assert codes(found) == expected
