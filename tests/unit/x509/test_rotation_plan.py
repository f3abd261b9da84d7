# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a rotation, from readings as the modules return them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from support import readings
from support.authority import DAY, NOW, key, make
from support.readings import ISSUER, LATER, NEXT, ROOT, config_map, leaf_of, pod, presented, secret

from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_metrics, mesh_report, mesh_report_html
from ansible_collections.servicemesh.pki.plugins.filter.rotation import rotation_options, rotation_plan
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import leaves, sources
from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites.facts import unreadable
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import plan
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.problems import CODES, Options

COLLECTION = Path(__file__).resolve().parents[3]
OLD_NAME, NEW_NAME = "linkerd-root-1", "linkerd-root-2"
NEXT_ISSUER = make("identity.linkerd.cluster.local", NEXT, start=NOW - DAY / 24, end=NOW + 100 * DAY)
LONG_ISSUER = make("identity.linkerd.cluster.local", ROOT, own_key=key("p256", 41), end=NOW + 100 * DAY)
BOTH = ROOT.pem + NEXT.pem


def vault(*names: str) -> dict:
    roots = {OLD_NAME: ROOT, NEW_NAME: NEXT}
    listed = ({**sources.with_pem(roots[name].certificate), "issuer_name": name, "mount": "pki"} for name in names)
    return {"issuers": list(listed)}


def reading(anchors: str, issuer, carried: str, leaf_issuer, **more) -> dict:
    """One pod of an application and one of the control plane that started after the ConfigMap was written."""
    root = NEXT if issuer is NEXT_ISSUER else ROOT
    configuration = config_map(**{"ca-bundle.crt": anchors})
    configuration["metadata"]["labels"] = {"trust.cert-manager.io/bundle": "linkerd-identity-trust-roots"}
    found = [pod("web-0", carried), pod("identity-0", started=LATER.replace("09Z", "30Z"))]
    start = NOW - DAY / 48  # half an hour after NEXT_ISSUER was issued
    shown = [presented(one, leaf_of("web", leaf_issuer, start=start), leaf_issuer) for one in found]
    source = sources.anchors_source(configuration, "linkerd")
    return {
        "anchors": {**source, "in_values": False},
        "issuer": sources.secret_source(secret(issuer, root), "linkerd", "tls.crt"),
        "issuer_scheme": "kubernetes.io/tls",
        "signer": sources.secret_source(secret(issuer, root), "linkerd", "ca.crt"),
        "pods": sources.pod_groups(found, source["changed_at"]),
        "pods_problem": "",
        "leaves": leaves.groups(shown),
        "leaves_missing": [],
        **more,
    }


BEFORE = (ROOT.pem, ISSUER, ROOT.pem, ISSUER)


GOOD = {"check": {"passed": True}, "components": {"objects": []}}


def planned(given: dict, *, names=(OLD_NAME, NEW_NAME), target=NEW_NAME, at=NOW, more=None, **options) -> dict:
    """The plan for one cluster. `more` replaces its results of linkerd_check and mesh_prerequisites_info."""
    one = {"certificates": given, **GOOD, **(more or {})}
    return plan.plan({"one": one}, vault(*names), Options(target, **options), at)


@pytest.mark.parametrize(
    ("world", "names", "phase", "restart"),
    [
        (BEFORE, (OLD_NAME,), "create", []),
        (BEFORE, (OLD_NAME, NEW_NAME), "distribute", []),
        ((BOTH, ISSUER, ROOT.pem, ISSUER), (OLD_NAME, NEW_NAME), "restart", ["emojivoto/web-0"]),
        ((BOTH, ISSUER, BOTH, ISSUER), (OLD_NAME, NEW_NAME), "switch", []),
        ((BOTH, NEXT_ISSUER, BOTH, ISSUER), (OLD_NAME, NEW_NAME), "renew", ["emojivoto/web-0", "linkerd/identity-0"]),
        ((BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER), (OLD_NAME, NEW_NAME), "remove", []),
        ((NEXT.pem, NEXT_ISSUER, NEXT.pem, NEXT_ISSUER), (OLD_NAME, NEW_NAME), "done", []),
    ],
)
def test_phases_of_a_rotation(world, names, phase, restart):
    found = planned(reading(*world), names=names)
    assert (found["phase_name"], found["clusters"]["one"]["restart"], found["problems"]) == (phase, restart, [])
    assert found["finished"] == (phase == "done")


FROM_CLI = {"issuer_scheme": "linkerd.io/tls"}
UNMANAGED = ["anchors_not_from_bundle", "issuer_not_from_cert_manager"]


def of_the_cli(*world) -> dict:
    """A mesh whose trust anchors and issuer were given to Linkerd's CLI or chart."""
    given = reading(*world, **FROM_CLI)
    return {**given, "anchors": {**given["anchors"], "bundle": None, "in_values": True}}


def anchors_in_values(*world) -> dict:
    given = reading(*world)
    return {**given, "anchors": {**given["anchors"], "in_values": True}}


@pytest.mark.parametrize(("adopt", "codes"), [(False, UNMANAGED), (True, [])])
def test_a_mesh_of_the_cli_is_only_adopted_on_request(adopt, codes):
    found = planned(of_the_cli(*BEFORE), adopt=adopt)
    assert [one["code"] for one in found["problems"]] == codes
    assert found["phase_name"] == "distribute"
    assert sorted(found["clusters"]["one"]["anchors"]) == sorted([ROOT.pem, NEXT.pem])


BUNDLE = {"kind": "Bundle", "name": "linkerd-identity-trust-roots", "namespace": "", "exists": True, "managed": True,
          "owner": "", "gitops": ""}  # fmt: skip
ISSUER_OF_OTHERS = {"kind": "ClusterIssuer", "name": "vault"}
FROM_GIT = {"gitops": "Flux Kustomization flux-system/mesh"}


@pytest.mark.parametrize(
    ("found", "options", "codes"),
    [
        ({}, {}, []),
        ({"exists": False, "managed": False}, {}, []),
        ({"managed": False}, {}, ["object_unmanaged"]),
        ({"managed": False}, {"adopt": True}, []),
        ({**ISSUER_OF_OTHERS, "managed": False}, {"adopt": True}, ["object_unmanaged"]),
        ({"managed": False}, {"take_over": ("Bundle linkerd-identity-trust-roots",)}, []),
        (FROM_GIT, {}, ["object_in_git"]),
        (FROM_GIT, {"adopt": True}, ["object_in_git"]),
        (FROM_GIT, {"take_over": ("Bundle linkerd-identity-trust-roots",)}, []),
    ],
)
def test_objects_of_others_are_not_changed(found, options, codes):
    answer = planned(reading(*BEFORE), more={"components": {"objects": [{**BUNDLE, **found}]}}, **options)
    assert [(one["code"], one["cluster"]) for one in answer["problems"]] == [(code, "one") for code in codes]


@pytest.mark.parametrize(
    ("namespace", "found", "options", "codes"),
    [
        ("trust", {"managed": False}, {}, ["object_unmanaged"]),
        ("trust", FROM_GIT, {}, ["object_in_git"]),
        ("trust", {}, {}, []),
        ("trust", {"managed": False}, {"take_over": ("ConfigMap trust/linkerd-trust-anchors",)}, []),
        ("trust", {"managed": False}, {"adopt": True}, ["object_unmanaged"]),
        ("other", {"managed": False}, {}, []),  # trust-manager does not read it, so the rotation does not write it
    ],
)
def test_the_source_of_the_trust_anchors_is_not_that_of_others(namespace, found, options, codes):
    source = {**BUNDLE, "kind": "ConfigMap", "name": "linkerd-trust-anchors", "namespace": namespace, **found}
    reader = {"component": "trust-manager", "trust_namespace": "trust"}
    components = {"objects": [], "deployments": [reader], "anchor_sources": [source]}
    answer = planned(reading(*BEFORE), more={"components": components}, **options)
    assert [one["code"] for one in answer["problems"]] == codes


@pytest.mark.parametrize(
    ("unread", "what"),
    [
        ({"kind": "Bundle", "name": "linkerd-identity-trust-roots"}, ["Bundle linkerd-identity-trust-roots"]),
        ({"kind": "ConfigMap"}, ["ConfigMaps of the cluster"]),
        # The rotation does not need these.
        ({"kind": "ConfigMap", "namespace": "linkerd", "name": "linkerd-config"}, []),
        ({"kind": "ValidatingWebhookConfiguration"}, []),
    ],
)
def test_an_object_whose_owner_cannot_be_read_is_not_changed(unread, what):
    missing = {**BUNDLE, "exists": False, "managed": False}
    components = {"objects": [missing], "unreadable": [unreadable("forbidden", **unread)]}
    answer = planned(reading(*BEFORE), more={"components": components})
    assert [one["code"] for one in answer["problems"]] == ["components_unreadable"] * len(what)
    assert all(text in one["message"] for text, one in zip(what, answer["problems"], strict=True))


def test_a_cluster_whose_objects_cannot_be_read():
    answer = planned(reading(*BEFORE), more={"components": {"failed": True, "msg": "forbidden"}})
    assert [one["code"] for one in answer["problems"]] == ["components_unreadable"]


@pytest.mark.parametrize(("adopt", "phase"), [(True, "create"), (False, "unknown")])
@pytest.mark.parametrize("code", ["mount_not_found", "login_required"])
def test_a_mesh_is_adopted_by_a_vault_without_engine(adopt, phase, code):
    one = {"certificates": of_the_cli(*BEFORE), **GOOD}
    found = plan.plan({"one": one}, {"failed": True, "code": code}, Options(NEW_NAME, adopt=adopt), NOW)
    assert found["phase_name"] == phase


@pytest.mark.parametrize(
    ("world", "phase", "from_secret", "in_chart"),
    [
        (of_the_cli(BOTH, ISSUER, BOTH, ISSUER), "distribute", False, True),
        (reading(BOTH, ISSUER, ROOT.pem, ISSUER, **FROM_CLI), "restart", False, True),
        (reading(BOTH, ISSUER, BOTH, ISSUER, **FROM_CLI), "switch", False, True),
        (reading(BOTH, NEXT_ISSUER, BOTH, ISSUER), "renew", True, False),
        # cert-manager writes the issuer, and the trust anchors are in the values of the chart.
        (anchors_in_values(BOTH, ISSUER, BOTH, ISSUER), "switch", True, True),
        (anchors_in_values(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER), "switch", True, True),
    ],
)
def test_phases_of_an_adoption(world, phase, from_secret, in_chart):
    found = planned(world, adopt=True)
    assert (found["phase_name"], found["problems"]) == (phase, [])
    cluster = found["clusters"]["one"]
    assert (cluster["issuer_from_secret"], cluster["chart_has_identity"]) == (from_secret, in_chart)
    assert bool(planned(world)["problems"]) is in_chart


AFTER = (NEXT.pem, NEXT_ISSUER, NEXT.pem, NEXT_ISSUER)
STALE = (NEXT.pem, NEXT_ISSUER, BOTH, NEXT_ISSUER)  # a pod that still carries the old trust anchor


@pytest.mark.parametrize(
    ("world", "name", "restart", "codes"),
    [
        (BEFORE, OLD_NAME, True, []),  # long before the end nothing is retired, so nothing is refused
        (AFTER, OLD_NAME, True, []),
        (AFTER, OLD_NAME, False, []),
        (STALE, OLD_NAME, True, []),  # the pod restarts before
        (STALE, OLD_NAME, False, ["root_in_use"]),
        (AFTER, NEW_NAME, True, ["root_in_use"]),
        (AFTER, "misspelt", True, ["root_unknown"]),
    ],
)
def test_a_root_is_retired_only_when_nothing_trusts_it(world, name, restart, codes):
    found = planned(reading(*world), retired_roots=(name,), final_restart=restart)
    assert [one["code"] for one in found["problems"]] == codes


@pytest.mark.parametrize(
    ("world", "options", "expected"),
    [
        (AFTER, {}, ["nothing"]),
        (AFTER, {"retired_roots": (OLD_NAME,)}, ["permission to sign", OLD_NAME]),
        (STALE, {}, ["restart 1 pod(s)"]),
        (STALE, {"final_restart": False}, ["nothing"]),
        (STALE, {"retired_roots": (OLD_NAME,)}, ["restart 1 pod(s)", "permission to sign", OLD_NAME]),
    ],
)
def test_what_a_finished_rotation_still_does(world, options, expected):
    found = planned(reading(*world), **options)
    assert found["phase_name"] == "done"
    assert all(part in found["next"] and part in found["table"][-1] for part in expected)
    assert ("nothing" in found["next"]) == (expected == ["nothing"])


def test_durations_of_phases():
    history = [
        {"phase_name": "restart", "at": "2026-11-26T23:59:00+00:00"},
        {"phase_name": "switch", "at": "2026-11-27T00:02:05+00:00"},
        {"phase_name": "done", "at": "2026-11-27T00:02:12+00:00"},
    ]
    at = datetime(2026, 11, 27, 0, 3, 12, tzinfo=UTC)
    assert plan.durations(history, at) == [
        "restart: 3 min 05 s",
        "switch: 7 s",
        "done: 1 min 00 s",
        "total: 4 min 12 s",
    ]
    assert plan.durations([], at) == []


@pytest.mark.parametrize(
    ("world", "phase", "left"),
    [
        (BEFORE, None, []),  # no cluster trusts the new root
        ((BOTH, ISSUER, ROOT.pem, ISSUER), 3, ["emojivoto/web-0"]),
        ((BOTH, NEXT_ISSUER, BOTH, ISSUER), 5, ["emojivoto/web-0", "linkerd/identity-0"]),
        (AFTER, 7, []),
    ],
)
def test_the_report_shows_a_rotation(world, phase, left):
    given = {**readings.reading(), **reading(*world)}
    source = {**vault(OLD_NAME, NEW_NAME), "address": "https://vault.example", "mount": "pki"}
    report = mesh_report({"one": given}, source, at=NOW.isoformat(), root=NEW_NAME)
    shown = f"Rotation to {NEW_NAME}"
    assert any(line.startswith(shown) for line in report["table"]) is (phase in (3, 5))
    page = mesh_report_html(report)
    assert (shown in page) is (phase in (3, 5)) and all(name in page for name in left)
    metric = f'rotation_phase{{vault="https://vault.example",root="{NEW_NAME}"}} {phase}'
    assert (metric in mesh_metrics(report)) is (phase is not None)
    assert [one["pods"] for one in (report["rotation"] or {"clusters": [{"pods": []}]})["clusters"]] == [left]


def test_the_report_shows_no_rotation_if_certificates_of_pods_were_not_read():
    given = {**readings.reading(), **reading(BOTH, ISSUER, BOTH, ISSUER, leaves=None, leaves_missing=None)}
    report = mesh_report({"one": given}, {**vault(OLD_NAME, NEW_NAME)}, at=NOW.isoformat(), root=NEW_NAME)
    assert report["rotation"] is None


def test_both_anchors_are_distributed_as_pem():
    anchors = planned(reading(*BEFORE))["clusters"]["one"]["anchors"]
    assert sorted(anchors) == sorted([ROOT.pem, NEXT.pem])


def test_pods_that_carry_removed_anchors_are_stale():
    found = planned(reading(NEXT.pem, NEXT_ISSUER, BOTH, NEXT_ISSUER))
    assert found["finished"] and found["clusters"]["one"]["stale"] == ["emojivoto/web-0"]


def test_a_pod_without_a_readable_certificate_is_not_below_the_new_root():
    missing = [{"pod": "emojivoto/web-0", "started_at": LATER, "code": "unreadable", "problem": "x"}]
    found = planned(reading(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER, leaves=[], leaves_missing=missing))
    assert found["phase_name"] == "renew"


WEB_ENDS = leaf_of("web", ISSUER).certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("given", "ignored", "waiting"),
    [
        (reading(BOTH, NEXT_ISSUER, BOTH, ISSUER), (), ["emojivoto/web-0", "linkerd/identity-0"]),
        (reading(BOTH, NEXT_ISSUER, BOTH, ISSUER), ("linkerd/*",), ["emojivoto/web-0"]),
        (reading(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER), (), []),
        (reading(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER, pods_problem="cannot be listed: x", pods=[]), (), None),
    ],
)
def test_pods_that_a_wait_is_for(given, ignored, waiting):
    found = plan.renewal(given, vault(OLD_NAME, NEW_NAME)["issuers"], NEW_NAME, ignored_pods=ignored)
    assert found.get("waiting") == waiting
    if waiting is not None:
        assert found["pods"] == 2 - len(ignored) and NEW_NAME in found["message"]
        assert found["message"].startswith(f"{found['pods'] - len(waiting)} of {found['pods']} ")
        assert all(f"{name} ({WEB_ENDS})" in found["message"] for name in waiting)


@pytest.mark.parametrize(
    ("leaf", "patterns", "waiting", "pods"),
    [
        (ISSUER, ["linkerd/*"], ["linkerd/identity-0"], 1),
        (NEXT_ISSUER, ["linkerd/*"], [], 1),
        (NEXT_ISSUER, ["linkerd/identity-*", "linkerd/missing-*"], ["linkerd/missing-*"], 1),
        (NEXT_ISSUER, ["missing/*"], ["missing/*"], 0),
    ],
)
def test_a_wait_for_some_pods(leaf, patterns, waiting, pods):
    found = plan.renewal(
        reading(BOTH, NEXT_ISSUER, BOTH, leaf), vault(OLD_NAME, NEW_NAME)["issuers"], NEW_NAME, patterns
    )
    assert (found["waiting"], found["pods"]) == (waiting, pods)
    assert all(one in found["message"] for one in waiting)


def test_a_wait_names_the_pods_that_renew_last():
    given = reading(BOTH, NEXT_ISSUER, BOTH, ISSUER)
    names = [f"emojivoto/web-{number}" for number in range(5)]
    given["pods"] = [{**given["pods"][0], "pods": names}]
    (group,) = given["leaves"]
    ends = ["2026-11-27T05:00:00Z", "2026-11-27T03:00:00Z", "2026-11-27T09:00:00Z", "2026-11-27T07:00:00Z"]
    template = group["leaves"][0]
    group["leaves"] = [{**template, "pod": name, "not_after": end} for name, end in zip(names, ends, strict=False)]
    found = plan.renewal(given, vault(OLD_NAME, NEW_NAME)["issuers"], NEW_NAME)
    assert found["waiting"] == [names[one] for one in (2, 3, 0, 1, 4)]
    assert [name in found["message"] for name in names] == [True, False, True, True, False]


def test_ignored_pods_hold_nothing_up():
    found = planned(reading(BOTH, ISSUER, ROOT.pem, ISSUER), ignored_pods=("emojivoto/*",))
    assert found["phase_name"] == "switch"


def codes(found: dict) -> list[str]:
    assert {one["code"] for one in found["problems"]} <= set(CODES)
    assert len(found["failures"]) == len(found["problems"])
    return [one["code"] for one in found["problems"]]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"anchors": {**reading(*BEFORE)["anchors"], "bundle": None}}, "anchors_not_from_bundle"),
        ({"anchors": sources.anchors_source(None, "linkerd", "does not exist")}, "anchors_unreadable"),
        ({"issuer": sources.secret_source(None, "linkerd", "tls.crt", "does not exist")}, "issuer_unreadable"),
        ({"pods_problem": "cannot be listed"}, "pods_unreadable"),
        ({"leaves_missing": [{"pod": "a/b", "started_at": None, "code": "forbidden", "problem": "x"}]},
         "leaves_unreadable"),
    ],
)  # fmt: skip
def test_problems_of_a_cluster_are_named(more, code):
    found = planned({**reading(*BEFORE), **more})
    assert codes(found) == [code] and found["problems"][0]["cluster"] == "one"


def test_an_unreachable_cluster_stops_the_fleet():
    failed = {"failed": True, "msg": "The cluster does not respond."}
    clusters = {"one": {"certificates": reading(*BEFORE), **GOOD}, "two": {"certificates": failed, **GOOD}}
    found = plan.plan(clusters, vault(OLD_NAME), Options(NEW_NAME), NOW)
    assert codes(found) == ["cluster_unreadable"] and found["phase"] is None
    assert found["problems"][0]["cluster"] == "two"


def test_a_vault_that_cannot_be_read_stops_the_rotation():
    one = {"certificates": reading(*BEFORE), **GOOD}
    found = plan.plan({"one": one}, {"failed": True, "msg": "sealed"}, Options(NEW_NAME), NOW)
    assert codes(found) == ["vault_unreadable"]


def test_a_broken_mesh_is_refused_unless_forced():
    more = {"check": {"passed": False, "msg": "linkerd-identity is missing"}}
    assert codes(planned(reading(*BEFORE), more=more)) == ["linkerd_check_failed"]
    assert codes(planned(reading(*BEFORE), more=more, force=True)) == []


@pytest.mark.parametrize(
    ("world", "options", "expected"),
    [
        (AFTER, {}, []),  # nothing restarts
        (STALE, {}, ["linkerd_check_failed"]),
        (STALE, {"force": True}, []),
        (STALE, {"final_restart": False}, []),
    ],
)
def test_the_last_restarts_need_a_working_mesh(world, options, expected):
    found = planned(reading(*world), more={"check": {"passed": False, "msg": "linkerd-identity is missing"}}, **options)
    assert (found["phase_name"], codes(found)) == ("done", expected)


def test_what_was_not_read_is_a_problem():
    found = plan.plan({"one": {"certificates": reading(*BEFORE)}}, vault(OLD_NAME), Options(NEW_NAME), NOW)
    assert codes(found) == ["components_unreadable", "linkerd_check_failed"]


def test_pods_that_do_not_trust_each_other_are_refused_unless_forced():
    broken = reading(BOTH, NEXT_ISSUER, ROOT.pem, ISSUER)
    assert codes(planned(broken)) == ["pods_distrust"]
    assert codes(planned(broken, force=True)) == []


@pytest.mark.parametrize(
    ("left", "options", "expected"),
    [
        (timedelta(hours=26), {}, []),
        (timedelta(hours=24), {}, ["anchor_expires_too_soon"]),
        (timedelta(hours=24), {"wait": False}, []),
        (timedelta(minutes=30), {"wait": False}, ["anchor_expires_too_soon"]),
        (timedelta(minutes=30), {"wait": False, "force": True}, []),
        (timedelta(seconds=-1), {}, ["anchor_expired"]),
    ],
)
def test_an_anchor_that_ends_before_the_rotation_does(left, options, expected):
    at = ROOT.certificate.not_valid_after_utc - left
    assert codes(planned(reading(ROOT.pem, LONG_ISSUER, ROOT.pem, LONG_ISSUER), at=at, **options)) == expected


@pytest.mark.parametrize(("wait", "expected"), [(True, ["anchor_expires_too_soon"]), (False, [])])
def test_the_second_restart_is_possible_until_the_old_anchor_expires(wait, expected):
    at = ROOT.certificate.not_valid_after_utc - timedelta(minutes=30)
    found = planned(reading(BOTH, NEXT_ISSUER, BOTH, LONG_ISSUER), at=at, wait=wait)
    assert (found["phase_name"], codes(found)) == ("renew", expected)


@pytest.mark.parametrize(
    ("world", "phase", "restart"),
    [
        (BEFORE, "distribute", []),
        ((BOTH, ISSUER, ROOT.pem, ISSUER), "switch", []),  # before any restart: no pod would get a certificate
        ((NEXT.pem, ISSUER, ROOT.pem, ISSUER), "switch", []),  # trust-manager has filtered the expired root
        ((BOTH, NEXT_ISSUER, ROOT.pem, ISSUER), "restart", ["emojivoto/web-0"]),
        ((NEXT.pem, NEXT_ISSUER, ROOT.pem, ISSUER), "restart", ["emojivoto/web-0"]),
        ((BOTH, NEXT_ISSUER, BOTH, ISSUER), "renew", ["emojivoto/web-0", "linkerd/identity-0"]),
    ],
)
def test_an_expired_anchor_is_replaced_by_the_shortest_way(world, phase, restart):
    found = planned(reading(*world), at=ROOT.certificate.not_valid_after_utc + DAY, force=True, wait=False)
    assert (found["phase_name"], found["clusters"]["one"]["restart"], found["problems"]) == (phase, restart, [])
    if phase == "distribute":  # an expired root that trust-manager filters would never arrive in the ConfigMap
        assert found["clusters"]["one"]["anchors"] == [NEXT.pem]


def test_the_end_of_an_anchor_that_nothing_uses_any_more_is_no_problem():
    at = ROOT.certificate.not_valid_after_utc + DAY
    assert codes(planned(reading(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER), at=at)) == []


def test_the_guide_lists_every_problem():
    guide = (COLLECTION / "docs/guides/rotation.md").read_text()
    table = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", guide.partition("## Problems")[2], re.M))
    assert table == CODES


OTHER = make("root.other.example", start=NOW - DAY, end=NOW + 300 * DAY)


def test_variables_of_one_cluster_are_valid_for_all():
    clusters = {
        "one": {"certificates": reading(*BEFORE), **GOOD, "extra_anchors": [OTHER.pem]},
        "two": {"certificates": reading(*BEFORE), **GOOD, "take_over": ["Bundle linkerd-identity-trust-roots"]},
    }
    clusters["one"]["components"] = {"objects": [{**BUNDLE, "managed": False}]}
    options = rotation_options({"target": NEW_NAME, "wait": False, "ignored_pods": ["a/*"]}, clusters)
    assert options.extra_anchors == {certs.fingerprint(OTHER.certificate): OTHER.pem}
    assert (options.target, options.wait, options.force, options.ignored_pods) == (NEW_NAME, False, False, ("a/*",))
    assert rotation_plan(clusters, vault(OLD_NAME), {"target": NEW_NAME}, at=NOW.isoformat())["problems"] == []


@pytest.mark.parametrize("options", [{}, {"target": NEW_NAME, "forced": True}, NEW_NAME])
def test_unusable_options_are_an_error_of_the_filter(options):
    with pytest.raises(AnsibleFilterError):
        rotation_plan({}, vault(OLD_NAME), options)
