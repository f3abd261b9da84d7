# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan after a run that stopped within a phase, and with pods that have no certificate."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.authority import DAY, NOW, make
from support.readings import ISSUER, LATER, NEXT, ROOT, leaf_of, pod, presented
from test_rotation_plan import BOTH, GOOD, NEW_NAME, NEXT_ISSUER, OLD_NAME, planned, reading, vault

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import leaves, sources
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import observed, plan
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.problems import Options

SWITCHED = (BOTH, NEXT_ISSUER, BOTH, ISSUER)  # and no pod has a new certificate


def with_path(root: str, *world) -> dict:
    """A mesh in which cert-manager requests the next issuer from a root in Vault."""
    path = f"pki/issuer/{root}/sign-intermediate"
    return reading(*world, cert_manager_issuer={"where": "Issuer linkerd/vault", "ready": True, "path": path})


def with_issuer(given: dict, **more) -> dict:
    return {**given, "issuer": {**given["issuer"], **more}}


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


def controller_restarts(given: dict, **more) -> bool:
    clusters = {"one": {"certificates": given, **GOOD, **more}}
    found = plan.plan(clusters, vault(OLD_NAME, NEW_NAME), Options(NEW_NAME), NOW)
    assert (found["phase_name"], found["problems"]) == ("renew", [])
    assert ("identity controller" in found["table"][0]) is found["clusters"]["one"]["restart_controller"]
    return found["clusters"]["one"]["restart_controller"]


def test_a_controller_is_restarted_unless_something_shows_that_it_uses_the_issuer():
    given = reading(*SWITCHED)
    assert controller_restarts(given)
    assert controller_restarts(with_issuer(given, evidence="started_before"), switched=False)
    assert not controller_restarts(with_issuer(given, evidence="started_after"))
    assert not controller_restarts(given, switched=True)  # the run has waited for Linkerd's event


@pytest.mark.parametrize(
    ("new", "old", "in_use"),
    [
        (30, -30, True),
        (30, 2, True),
        (30, 20, False),  # one of several controllers still uses the old issuer, and another one has the newest leaf
        (20, 30, False),
        (30, 30, False),
        (2, -30, False),  # one controller has loaded it, and nothing shows that the others have
    ],
)
def test_certificates_issued_after_all_controllers_can_have_loaded_the_issuer_show_it(new, old, in_use):
    """The times are minutes after the issuer was issued."""
    shown = []
    for name, issuer, minutes in (("api", NEXT_ISSUER, new), ("web", ISSUER, old)):
        start = NEXT_ISSUER.certificate.not_valid_before_utc + timedelta(minutes=minutes)
        shown.append(presented(pod(name, BOTH), leaf_of(name, issuer, start=start), issuer))
    assert controller_restarts(reading(*SWITCHED, leaves=leaves.groups(shown))) is not in_use


def test_anchors_are_not_removed_while_the_controller_may_sign_below_them():
    """All pods have certificates below the target from an earlier rotation, and the issuer is another one."""
    earlier = make("identity.linkerd.cluster.local", NEXT, start=NOW - DAY / 12, end=NOW + DAY)
    given = reading(BOTH, NEXT_ISSUER, BOTH, earlier)
    found = planned(given)
    assert found["phase_name"] == "renew" and found["clusters"]["one"]["restart"] == []
    assert found["clusters"]["one"]["restart_controller"]
    assert planned(with_issuer(given, evidence="started_after"))["phase_name"] == "remove"
    finished = planned(reading(NEXT.pem, NEXT_ISSUER, NEXT.pem, earlier))
    assert finished["finished"] and not finished["clusters"]["one"]["restart_controller"]


NEW_POD = ["emojivoto/new-0"]
STARTED = {"read_at": "2026-11-26T12:00:00Z"}


@pytest.mark.parametrize(
    ("code", "times", "waiting"),
    [
        ("starting", {}, []),
        ("refused", {}, NEW_POD),
        ("refused", {**STARTED, "started_at": "2026-11-26T11:58:30Z"}, []),
        ("unreadable", {**STARTED, "started_at": "2026-11-26T11:58:30Z"}, []),
        ("refused", {**STARTED, "started_at": "2026-11-26T11:57:30Z"}, NEW_POD),
    ],
)
def test_a_pod_whose_proxy_has_not_started_or_has_just_started_holds_nothing_up(code, times, waiting):
    given = reading(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER)
    group = next(one for one in given["pods"] if one["evidence"] == "spec")
    group["pods"] = [*group["pods"], "emojivoto/new-0"]
    missing = {"pod": "emojivoto/new-0", "started_at": None, "code": code, "problem": "x"}
    given["leaves_missing"] = [{**missing, **times}]
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


def test_the_key_of_the_issuer_before_an_adoption_is_removed():
    given = with_issuer(reading(NEXT.pem, NEXT_ISSUER, NEXT.pem, NEXT_ISSUER), obsolete_key=True)
    for adopt in (True, False):
        found = planned(given, adopt=adopt)
        assert (found["phase_name"], found["problems"]) == ("remove", [])
        assert found["clusters"]["one"]["obsolete_issuer"]
    assert not planned(with_issuer(given, obsolete_key=False))["clusters"]["one"]["obsolete_issuer"]


def test_the_table_names_the_first_pods_that_must_change():
    """A pod that no restart changes, such as one that was injected by hand, can then be found."""
    given = reading(BOTH, ISSUER, ROOT.pem, ISSUER)
    group = next(one for one in given["pods"] if one["evidence"] == "spec")
    group["pods"] = [f"app/web-{number}" for number in range(7)]
    [line] = planned(given)["table"][:1]
    assert "app/web-0" in line and "app/web-4" in line and "app/web-5" not in line and "2 more" in line
    assert "app/" not in planned(reading(NEXT.pem, NEXT_ISSUER, NEXT.pem, NEXT_ISSUER))["table"][0]
