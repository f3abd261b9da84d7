# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan after a run that stopped within a phase, and with pods that have no certificate."""

from __future__ import annotations

import pytest
from authority import DAY, NOW, make
from readings import ISSUER, LATER, NEXT, ROOT
from test_rotation_plan import BOTH, GOOD, NEW_NAME, NEXT_ISSUER, OLD_NAME, planned, reading, vault

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import observed, plan
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.problems import Options


def with_path(root: str, *world) -> dict:
    """A mesh in which cert-manager requests the next issuer from a root in Vault."""
    path = f"pki/issuer/{root}/sign-intermediate"
    return reading(*world, cert_manager_issuer={"where": "Issuer linkerd/vault", "ready": True, "path": path})


@pytest.mark.parametrize(
    ("path", "target", "phase"),
    [
        (OLD_NAME, NEW_NAME, "switch"),
        (NEW_NAME, NEW_NAME, "switch"),
        (NEW_NAME, OLD_NAME, "switch"),
        (OLD_NAME, OLD_NAME, "remove"),
        ("unknown", OLD_NAME, "remove"),
    ],
)
def test_a_run_that_stopped_after_it_had_set_the_path_is_undone(path, target, phase):
    """The old root signed the issuer in the Secret, and another one may sign the next."""
    found = planned(with_path(path, BOTH, ISSUER, BOTH, ISSUER), target=target)
    assert (found["phase_name"], found["problems"]) == (phase, [])


def test_a_mesh_is_not_finished_while_another_root_signs_the_next_issuer():
    after = (NEXT.pem, NEXT_ISSUER, NEXT.pem, NEXT_ISSUER)
    assert planned(with_path(OLD_NAME, *after))["phase_name"] == "switch"
    assert planned(with_path(NEW_NAME, *after))["finished"]


@pytest.mark.parametrize(
    ("path", "signs"),
    [
        ("pki/issuer/root-1/sign-intermediate", True),
        ("/pki/issuer/5f1e/sign/mesh", True),
        ("pki/root/sign-intermediate", True),
        ("pki/issuer/default/sign-intermediate", True),
        ("pki/issuer/root-11/sign-intermediate", False),
        ("pki_int/issuer/root-1/sign-intermediate", False),
        ("", False),
    ],
)
def test_path_that_signs_with_an_issuer(path, signs):
    one = {"mount": "pki", "issuer_name": "root-1", "issuer_id": "5f1e", "is_default": True}
    assert observed.signs_at(one, path) is signs
    assert observed.signs_at({"issuer_name": ""}, path) is False


def test_a_path_of_an_intermediate_leads_to_its_root():
    """An issuer of Vault between the root and the identity issuer, as an inventory can name it."""
    intermediate = make("intermediate", NEXT, start=NOW - DAY, end=NOW + 30 * DAY)
    named = {**sources.with_pem(intermediate.certificate), "issuer_name": "below-2", "mount": "pki"}
    given = with_path("below-2", NEXT.pem, NEXT_ISSUER, NEXT.pem, NEXT_ISSUER)
    issuers = [*vault(OLD_NAME, NEW_NAME)["issuers"], named]
    found = plan.plan({"one": {"certificates": given, **GOOD}}, {"issuers": issuers}, Options(NEW_NAME), NOW)
    assert found["finished"]


@pytest.mark.parametrize(("code", "waiting"), [("starting", []), ("refused", ["emojivoto/new-0"])])
def test_a_pod_whose_proxy_has_not_started_holds_nothing_up(code, waiting):
    given = reading(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER)
    group = next(one for one in given["pods"] if one["evidence"] == "spec")
    group["pods"] = [*group["pods"], "emojivoto/new-0"]
    given["leaves_missing"] = [{"pod": "emojivoto/new-0", "started_at": None, "code": code, "problem": "x"}]
    found = planned(given)
    assert (found["phase_name"], found["clusters"]["one"]["restart"]) == ("renew" if waiting else "remove", waiting)
    assert "2 have a certificate below it" in found["table"][0]
    wait = plan.renewal(given, vault(OLD_NAME, NEW_NAME)["issuers"], NEW_NAME)
    assert (wait["waiting"], wait["pods"]) == (waiting, 2 + len(waiting))


@pytest.mark.parametrize(
    ("ignored", "codes"), [((), ["leaves_unreadable"]), (("db/*",), []), (("x/*",), ["leaves_unreadable"])]
)
def test_ignored_pods_need_no_permission(ignored, codes):
    missing = [{"pod": "db/x", "started_at": LATER, "code": "forbidden", "problem": "x"}]
    found = planned(reading(ROOT.pem, ISSUER, ROOT.pem, ISSUER, leaves_missing=missing), ignored_pods=ignored)
    assert [one["code"] for one in found["problems"]] == codes
