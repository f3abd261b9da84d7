# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems of a plan that depend on time, on roots to retire, on the target, and on warnings of linkerd check."""

from __future__ import annotations

from datetime import timedelta

import pytest
import yaml
from support.authority import DAY, NOW, key, make
from support.readings import ISSUER, NEXT, ROOT, leaf_of
from test_rotation_plan import (
    BOTH,
    COLLECTION,
    GOOD,
    LONG_ISSUER,
    NEW_NAME,
    NEXT_ISSUER,
    OLD_NAME,
    anchors_in_values,
    codes,
    planned,
    reading,
    vault,
)

from ansible_collections.servicemesh.pki.plugins.filter.rotation import rotation_plan
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import plan
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.problems import Options


@pytest.mark.parametrize(("at", "expired"), [(NOW, False), (ROOT.certificate.not_valid_after_utc + DAY, True)])
def test_the_plan_shows_that_the_signer_has_expired(at, expired):
    """The running identity controller then rejects an issuer below the new root, until it restarts."""
    found = planned(reading(BOTH, ISSUER, ROOT.pem, ISSUER), at=at, force=True)
    assert found["clusters"]["one"]["signer_expired"] is expired


BACK = (NEXT.pem, NEXT_ISSUER, NEXT.pem, NEXT_ISSUER)
HALFWAY = (
    BOTH,
    LONG_ISSUER,
    BOTH,
    NEXT_ISSUER,
)  # the old root signs again, but proxies have the certificates of the new one


@pytest.mark.parametrize(
    ("world", "left", "phase", "expected"),
    [
        (BACK, timedelta(hours=-1), "distribute", ["target_unusable"]),
        (BACK, timedelta(hours=1), "distribute", ["target_unusable"]),
        (BACK, timedelta(days=6), "distribute", ["target_unusable"]),
        (BACK, timedelta(days=8), "distribute", []),
        # A rotation that has begun continues as long as it can finish.
        (HALFWAY, timedelta(days=6), "renew", []),
        (HALFWAY, timedelta(hours=24), "renew", ["target_unusable"]),
        ((BOTH, LONG_ISSUER, BOTH, LONG_ISSUER), timedelta(hours=24), "remove", ["target_unusable"]),
        ((BOTH, LONG_ISSUER, BOTH, LONG_ISSUER), timedelta(days=6), "remove", []),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_a_target_that_expires_soon_is_refused(world, left, phase, expected, force):
    at = ROOT.certificate.not_valid_after_utc - left
    found = planned(reading(*world), target=OLD_NAME, at=at, force=force)
    assert (found["phase_name"], codes(found)) == (phase, expected)


@pytest.mark.parametrize(
    "credential",
    [
        make("intermediate.example", ROOT, own_key=key("p256", 46), start=NOW - DAY, end=NOW + 300 * DAY),
        leaf_of("leaf.example", ROOT, end=NOW + 300 * DAY),
    ],
)
def test_a_target_that_is_no_root_is_refused(credential):
    issuers = [*vault(OLD_NAME)["issuers"], {**sources.with_pem(credential.certificate), "issuer_name": NEW_NAME}]
    one = {"certificates": reading(ROOT.pem, ISSUER, ROOT.pem, ISSUER), **GOOD}
    found = plan.plan({"one": one}, {"issuers": issuers}, Options(NEW_NAME, force=True), NOW)
    assert (found["phase_name"], codes(found)) == ("distribute", ["target_unusable"])
    assert NEW_NAME in found["problems"][0]["message"]


EXPIRED = make("identity.linkerd.cluster.local", ROOT, start=NOW - 2 * DAY, end=NOW - DAY / 24)
MIDDLE = make("middle.example", ROOT, own_key=key("p256", 47), start=NOW - 2 * DAY, end=NOW - DAY / 24)
BELOW_MIDDLE = make("identity.linkerd.cluster.local", MIDDLE, own_key=key("p256", 48), end=NOW + DAY)


def below_expired(anchors: str, issuer, carried: str) -> dict:
    """A mesh below a valid root whose issuer, or the certificate above it, has expired."""
    given = reading(anchors, issuer, carried, issuer)
    above = [sources.with_pem(MIDDLE.certificate)] if issuer is BELOW_MIDDLE else []
    return {**given, "issuer": {**given["issuer"], "certificates": [*given["issuer"]["certificates"], *above]}}


@pytest.mark.parametrize("issuer", [EXPIRED, BELOW_MIDDLE])
@pytest.mark.parametrize(
    ("anchors", "carried", "phase"),
    [
        (ROOT.pem, ROOT.pem, "distribute"),
        (BOTH, ROOT.pem, "switch"),  # a restarted pod would get no certificate
        (BOTH, BOTH, "switch"),
    ],
)
def test_an_expired_issuer_is_replaced_before_pods_restart(issuer, anchors, carried, phase):
    given = below_expired(anchors, issuer, carried)
    assert codes(planned(given)) == ["issuer_expired"]
    found = planned(given, force=True)
    assert (found["phase_name"], codes(found), found["clusters"]["one"]["restart"]) == (phase, [], [])
    assert found["clusters"]["one"]["signer_expired"]  # its controller may reject the new issuer, so it restarts
    assert (ROOT.pem in found["clusters"]["one"]["anchors"]) is True  # the root is valid
    healthy = planned(reading(anchors, ISSUER, carried, ISSUER))
    assert codes(healthy) == [] and not healthy["clusters"]["one"]["signer_expired"]


PAST = make("root.past.example", start=NOW - 9 * DAY, end=NOW - DAY)


def test_an_expired_anchor_that_nothing_uses_is_not_distributed():
    """trust-manager with filterExpiredCertificates would never write it, and the phase would wait for it."""
    anchors = ROOT.pem + PAST.pem
    found = planned(reading(anchors, ISSUER, anchors, ISSUER))
    assert (found["phase_name"], codes(found)) == ("distribute", [])
    assert set(found["clusters"]["one"]["anchors"]) == {ROOT.pem, NEXT.pem}
    again = planned(reading(BOTH, ISSUER, BOTH + PAST.pem, ISSUER))  # pods carry it until they restart
    assert (again["phase_name"], codes(again)) == ("switch", [])


def test_an_expired_issuer_below_the_target_is_renewed():
    given = reading(ROOT.pem, EXPIRED, ROOT.pem, EXPIRED)
    found = planned(given, target=OLD_NAME, force=True)
    assert (found["phase_name"], codes(found)) == ("switch", [])


def warning(description: str, result: str = "warning") -> dict:
    return {"category": "linkerd-identity", "description": description, "result": result, "error": "", "hint": ""}


EXPIRING = warning("trust anchors are valid for at least 60 days")
FOUND = {"failed": True, "passed": False, "msg": "x", "exit_code": 0, "errors": [], "warnings_found": [EXPIRING]}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, []),
        ({"warnings_found": [EXPIRING, warning("cli is up-to-date")]}, ["linkerd_check_failed"]),
        ({"errors": [warning("trust anchors are within their validity period", "error")]}, ["linkerd_check_failed"]),
        ({"exit_code": 1}, ["linkerd_check_failed"]),
    ],
)
def test_a_warning_about_the_end_of_the_old_root_does_not_stop_its_rotation(more, expected):
    found = planned(reading(ROOT.pem, ISSUER, ROOT.pem, ISSUER), more={"check": {**FOUND, **more}})
    assert codes(found) == expected


def expanded(**definition) -> dict:
    definitions = [{"name": "externalworkloads.workload.linkerd.io", **definition}]
    return {"components": {"objects": [], "definitions": definitions}}


@pytest.mark.parametrize(
    ("definition", "options", "expected"),
    [
        ({"in_use": True}, {}, ["external_workloads"]),
        ({"in_use": True}, {"force": True}, ["external_workloads"]),
        ({"in_use": True}, {"ignore_external_workloads": True}, []),
        ({"in_use": False}, {}, []),
        ({}, {}, []),
    ],
)
def test_proxies_outside_of_kubernetes_are_not_cut_off(definition, options, expected):
    """Linkerd's chart of the CRDs always creates the kind, so only its objects count."""
    found = planned(reading(ROOT.pem, ISSUER, ROOT.pem, ISSUER), more=expanded(**definition), **options)
    assert codes(found) == expected
    done = planned(reading(NEXT.pem, NEXT_ISSUER, NEXT.pem, NEXT_ISSUER), more=expanded(**definition), **options)
    assert (done["finished"], codes(done)) == (True, [])


def test_playbook_finds_out_whether_there_are_objects():
    [dummy, task] = yaml.safe_load((COLLECTION / "playbooks/tasks/rotate/components.yml").read_text())
    assert task["servicemesh.pki.mesh_prerequisites_info"]["count_objects"] is True


def test_filter_passes_the_option():
    given = {"one": {"certificates": reading(ROOT.pem, ISSUER, ROOT.pem, ISSUER), **GOOD, **expanded(in_use=True)}}
    for ignore, expected in ((False, ["external_workloads"]), (True, [])):
        options = {"target": NEW_NAME, "ignore_external_workloads": ignore}
        found = rotation_plan(given, vault(OLD_NAME, NEW_NAME), options, at=NOW.isoformat())
        assert codes(found) == expected
    given = {"one": {"certificates": reading(BOTH, ISSUER, BOTH, ISSUER), **GOOD, **LINKED}}
    for ready, expected in ((False, ["linked_clusters"]), (True, [])):
        options = {"target": NEW_NAME, "linked_clusters_ready": ready}
        assert codes(rotation_plan(given, vault(OLD_NAME, NEW_NAME), options, at=NOW.isoformat())) == expected


OTHER = make("root.other.example", start=NOW - DAY, end=NOW + 300 * DAY)
FINGERPRINT, OLD_FINGERPRINT = (certs.fingerprint(one.certificate) for one in (OTHER, ROOT))
LINKED = {"components": {"objects": [], "definitions": [{"name": "links.multicluster.linkerd.io"}]}}


@pytest.mark.parametrize(
    ("more", "options", "expected"),
    [
        (LINKED, {}, ["anchor_of_linked_clusters"]),
        (LINKED, {"force": True}, ["anchor_of_linked_clusters"]),
        (LINKED, {"retired_anchors": (FINGERPRINT,)}, []),
        (LINKED, {"extra_anchors": {FINGERPRINT: OTHER.pem}}, []),
        ({}, {}, []),
    ],
)
def test_anchors_of_linked_clusters_are_not_removed_by_chance(more, options, expected):
    given = reading(BOTH + OTHER.pem, NEXT_ISSUER, BOTH + OTHER.pem, NEXT_ISSUER)
    retired = (OLD_FINGERPRINT, *options.get("retired_anchors", ()))
    found = planned(given, more=more, **{**options, "retired_anchors": retired})
    assert (found["phase_name"], codes(found)) == ("remove", expected)
    assert all(FINGERPRINT in one["message"] for one in found["problems"])


@pytest.mark.parametrize("names", [(OLD_NAME, NEW_NAME), (NEW_NAME,)])
@pytest.mark.parametrize(
    ("more", "options", "expected"),
    [
        (LINKED, {}, ["anchor_of_linked_clusters"]),
        (LINKED, {"linked_clusters_ready": True}, ["anchor_of_linked_clusters"]),  # they may still use the old root
        (LINKED, {"retired_anchors": (OLD_FINGERPRINT,)}, []),
        ({}, {}, []),
    ],
)
def test_the_old_root_is_not_removed_from_linked_clusters_by_chance(names, more, options, expected):
    """Whether it is in Vault shows nothing: a second inventory can use the same Vault."""
    found = planned(reading(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER), names=names, more=more, **options)
    assert (found["phase_name"], codes(found)) == ("remove", expected)
    assert all(OLD_FINGERPRINT in one["message"] for one in found["problems"])


@pytest.mark.parametrize("options", [{}, {"adopt": True}])
@pytest.mark.parametrize(
    ("more", "ready", "expected"),
    [(LINKED, False, ["linked_clusters"]), (LINKED, True, []), ({}, False, [])],
)
def test_linked_clusters_trust_the_new_root_before_it_signs(options, more, ready, expected):
    chosen = {**options, "linked_clusters_ready": ready, "more": more}
    found = planned(reading(BOTH, ISSUER, BOTH, ISSUER), **chosen)
    assert (found["phase_name"], codes(found)) == ("switch", expected)
    assert codes(planned(reading(BOTH, ISSUER, BOTH, ISSUER), force=True, **chosen)) == expected
    back = planned(reading(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER), target=OLD_NAME, **chosen)
    assert (back["phase_name"], codes(back)) == ("switch", expected)
    # Earlier phases cut nothing off, so they run, and show what comes.
    early = planned(reading(BOTH, ISSUER, ROOT.pem, ISSUER), **chosen)
    assert (early["phase_name"], codes(early)) == ("restart", [])
    assert any("rotation_linked_clusters_ready" in line for line in early["table"]) is bool(expected)
    # The new root signs already.
    assert codes(planned(reading(BOTH, NEXT_ISSUER, BOTH, ISSUER), **chosen)) == []
    signs = anchors_in_values(BOTH, NEXT_ISSUER, BOTH, NEXT_ISSUER)
    found = planned(signs, retired_anchors=(OLD_FINGERPRINT,), **{**chosen, "adopt": True})
    assert (found["phase_name"], codes(found)) == ("switch", [])


def test_links_do_not_hold_back_a_mesh_without_certificates():
    """Below an expired issuer, a cluster can reach phase 3 only after phase 4."""
    given = below_expired(BOTH, EXPIRED, BOTH)
    found = planned(given, force=True, more=LINKED)
    assert (found["phase_name"], codes(found)) == ("switch", [])
