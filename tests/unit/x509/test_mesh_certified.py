# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that proxies present, in the report."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID
from support.authority import DAY, NOW, key, make, openssl_verifies
from support.oddities import POLICIES
from support.readings import HOUR, ISSUER, NEXT, ROOT, leaf_of, pod, presented, reading, report, vault

from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_report_html
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import leaves as linkerd_leaves
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import table

BY_NEXT = make("identity.linkerd.cluster.local", NEXT, own_key=key("p256", 46), end=NOW + 2 * DAY)
MIDDLE = make("middle", ROOT, own_key=key("p256", 47), end=NOW + 60 * DAY)
BELOW_MIDDLE = make("identity.linkerd.cluster.local", MIDDLE, own_key=key("p256", 48), end=NOW + 2 * DAY)
STARTED = "2026-11-24T11:00:09Z"  # almost an hour before NOW
YOUNG = "2026-11-24T11:59:00Z"


def web(number: int = 0) -> dict[str, Any]:
    return pod(f"web-{number}", ROOT.pem)


def usages(*oids: x509.ObjectIdentifier) -> tuple[x509.ExtendedKeyUsage, bool]:
    return x509.ExtendedKeyUsage(oids), False


def codes(found: dict[str, Any]) -> list[str]:
    return [item["code"] for item in found["disagreements"]]


def groups(found: dict[str, Any]) -> list[tuple[str, str | None, list[str]]]:
    """Fingerprints of issuer and root, and the pods."""
    return [
        (group["issuer"]["fingerprint_sha256"], group["root"]["fingerprint_sha256"], group["pods"])
        for group in found["clusters"][0]["certified"]["groups"]
    ]


def fingerprint(made: Any) -> str:
    return vault(made)["issuers"][0]["fingerprint_sha256"]


def test_workloads_are_counted_by_issuer_and_root():
    leaves = [presented(web(number), leaf_of("web"), ISSUER) for number in range(3)]
    leaves.append(presented(web(9), leaf_of("web", BY_NEXT), BY_NEXT))
    both = reading((ROOT, NEXT), pods=[pod("web-0", ROOT.pem + NEXT.pem)], leaves=leaves)
    found = report(vault(ROOT, NEXT), berlin=both)
    assert codes(found) == []
    assert found["clusters"][0]["certified"]["certified"] == 4
    assert groups(found) == [
        (fingerprint(ISSUER), fingerprint(ROOT), [f"emojivoto/web-{number}" for number in range(3)]),
        (fingerprint(BY_NEXT), fingerprint(NEXT), ["emojivoto/web-9"]),
    ]


@pytest.mark.parametrize("above", [(), (ISSUER,)])
def test_leaf_without_chain_belongs_to_issuer_in_secret(above):
    found = report(berlin=reading(leaves=[presented(web(), leaf_of("web"), *above)]))
    assert codes(found) == []
    assert groups(found)[0][:2] == (fingerprint(ISSUER), fingerprint(ROOT))


def test_root_above_intermediate_ca():
    leaf = presented(web(), leaf_of("web", BELOW_MIDDLE), BELOW_MIDDLE, MIDDLE)
    found = report(berlin=reading(leaves=[leaf]))
    assert codes(found) == []
    assert groups(found)[0][:2] == (fingerprint(BELOW_MIDDLE), fingerprint(ROOT))
    assert any(line.startswith("    Root: ") for line in table.table(found))


# A leaf and what is presented above it, the code, and what the message names.
REFUSED = {
    "a leaf of the previous root": (leaf_of("web", BY_NEXT), (BY_NEXT,), "pod_leaf_untrusted"),
    "a leaf of a root that Vault does not have": (leaf_of("web", BY_NEXT), (BY_NEXT, NEXT), "pod_leaf_untrusted"),
    "a leaf whose signer is not known": (leaf_of("web", BY_NEXT), (), "pod_leaf_unknown_issuer"),
    "a leaf signed by another key than its issuer's": (
        make("web", ISSUER, sign_with=key("p256", 49), own_key=key("p256", 45), ca=None, key_cert_sign=False),
        (ISSUER,),
        "pod_leaf_unknown_issuer",
    ),
    "a leaf of an expired issuer": (
        leaf_of("web", old := make("identity", ROOT, own_key=key("p256", 41), end=NOW - HOUR)),
        (old,),
        "pod_leaf_untrusted",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_leaf_that_proxies_refuse(tmp_path, name):
    leaf, above, code = REFUSED[name]
    assert not openssl_verifies(tmp_path, [leaf, *above, ISSUER], [ROOT])
    found = report(vault(ROOT, NEXT), berlin=reading(leaves=[presented(web(), leaf, *above)]))
    assert codes(found) == [code]
    assert found["disagreements"][0]["pods"] == ["emojivoto/web-0"]
    assert not found["agreed"]


def test_root_of_refused_leaf_is_found_in_vault():
    found = report(vault(ROOT, NEXT), berlin=reading(leaves=[presented(web(), leaf_of("web", BY_NEXT), BY_NEXT)]))
    assert groups(found)[0][:2] == (fingerprint(BY_NEXT), fingerprint(NEXT))


# Certificates that RFC 5280 allows and webpki refuses, or the other way round, with the code of the reason.
PROXIES_ONLY = {
    "serverAuth only": (leaf_of("web", extensions=(usages(Usage.SERVER_AUTH),)), (ISSUER,), "extended_key_usage"),
    "issuer with serverAuth only": (
        leaf_of(
            "web", server := make("identity", ROOT, own_key=key("p256", 50), extensions=(usages(Usage.SERVER_AUTH),))
        ),
        (server,),
        "extended_key_usage",
    ),
    "issuer with certificate policies": (
        leaf_of("web", critical := make("identity", ROOT, own_key=key("p256", 51), extensions=((POLICIES, True),))),
        (critical,),
        "critical_extension",
    ),
    "another authority key identifier": (leaf_of("web", aki=b"x" * 20), (ISSUER,), None),
}


@pytest.mark.parametrize("name", PROXIES_ONLY)
def test_leaf_is_verified_as_proxies_do(name):
    leaf, above, code = PROXIES_ONLY[name]
    found = report(berlin=reading(leaves=[presented(web(), leaf, *above)]))
    assert codes(found) == (["pod_leaf_untrusted"] if code else [])
    reasons = [(one["code"], one["refused_by"]) for item in found["disagreements"] for one in item["reasons"]]
    assert reasons == ([(code, ["proxies"])] if code else [])


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (NOW - HOUR, ["pod_leaf_expired"]),
        (NOW + HOUR, ["pod_leaf_near_end"]),
        (NOW + 1.91 * HOUR, ["pod_leaf_near_end"]),
        (NOW + 1.93 * HOUR, []),  # 8 % of 24 h are 1.92 h
        (NOW + 23 * HOUR, []),
    ],
)
def test_leaf_that_expires_soon(end, expected):
    leaf = leaf_of("web", start=end - 24 * HOUR, end=end)
    found = report(berlin=reading(leaves=[presented(web(), leaf, ISSUER)]))
    assert codes(found) == expected
    assert all(item["pods"] == ["emojivoto/web-0"] for item in found["disagreements"])


def test_certificate_that_is_not_yet_valid_leads_to_the_clock():
    leaf = leaf_of("web", start=NOW + HOUR / 60, end=NOW + 24 * HOUR)
    [item] = report(berlin=reading(leaves=[presented(web(), leaf, ISSUER)]))["disagreements"]
    assert item["code"] == "pod_leaf_expired" and "clock" in item["message"] and "log" not in item["message"]
    assert "2026-11-24T12:01:00Z" in item["message"] and "2026-11-24T12:00:00Z" in item["message"]


def since(changed: Any, *leaves: Any) -> dict[str, Any]:
    """A reading in which the Secret has its issuer since then, with the leaves of a former issuer below the root."""
    read = reading(leaves=[presented(web(number), leaf, FORMER) for number, leaf in enumerate(leaves)])
    read["issuer"]["changed_at"] = changed.strftime("%Y-%m-%dT%H:%M:%SZ")
    return read


FORMER = make("identity.linkerd.cluster.local", ROOT, own_key=key("p256", 52), end=NOW + HOUR / 10)


def test_controller_that_does_not_use_the_issuer_in_the_secret():
    """Its certificates are valid, and end with the former issuer."""
    before = leaf_of("web", FORMER, start=NOW - 26 * HOUR, end=NOW + HOUR / 10)
    after = leaf_of("web", FORMER, start=NOW - HOUR / 30, end=NOW + HOUR / 10)
    found = report(berlin=since(NOW - 25 * HOUR, after, before))
    assert "issuer_not_in_use" in codes(found) and not found["agreed"]
    [item] = [one for one in found["disagreements"] if one["code"] == "issuer_not_in_use"]
    assert item["pods"] == ["emojivoto/web-0"] and "deployment -n linkerd linkerd-identity" in item["message"]


@pytest.mark.parametrize("minutes", [1, 9])
def test_controller_has_time_to_read_the_secret(minutes):
    leaf = leaf_of("web", FORMER, start=NOW - HOUR / 60, end=NOW + HOUR / 10)
    found = report(berlin=since(NOW - minutes * HOUR / 60, leaf))
    assert "issuer_not_in_use" not in codes(found)


@pytest.mark.parametrize(
    ("domain", "expected"), [("cluster.local", []), (None, []), ("other.example", ["pod_identity_differs"])]
)
def test_identity_of_another_trust_domain(domain, expected):
    found = report(berlin=reading(leaves=[presented(web(), leaf_of("web"), ISSUER)], trust_domain=domain))
    assert codes(found) == expected
    for item in found["disagreements"]:
        assert item["pods"] == ["emojivoto/web-0"]
        assert "default.emojivoto.serviceaccount.identity.linkerd.cluster.local" in item["message"]
        assert ".identity.linkerd.other.example" in item["message"]


def unread(code: str, started: str | None = STARTED, name: str = "web-0") -> dict[str, Any]:
    return {"pod": f"emojivoto/{name}", "started_at": started, "code": code, "problem": "why not"}


@pytest.mark.parametrize(
    ("missing", "expected", "part"),
    [
        (unread("refused"), ["pod_without_leaf"], "without"),
        (unread("refused", YOUNG), [], "starting"),
        (unread("starting", None), [], "starting"),
        (unread("starting"), [], "starting"),  # it started after the first list of pods
        ({**unread("refused", "2026-11-24T11:50:00Z"), "read_at": "2026-11-24T11:51:00Z"}, [], "starting"),
        (unread("unreadable"), ["pod_leaf_unreadable"], "unreadable"),
        (unread("unreadable", YOUNG), [], "starting"),
        (unread("forbidden"), [], "forbidden"),
    ],
)
def test_pod_whose_certificate_was_not_read(missing, expected, part):
    lines = {
        "without": "1 pod(s) without a certificate",
        "starting": "1 pod(s) that just started, still without a certificate",
        "unreadable": "1 pod(s) whose certificate could not be read",
        "forbidden": "1 pod(s) whose certificate was not read, because permission is missing",
    }
    found = report(berlin=reading(missing=[missing]))
    assert codes(found) == expected
    assert found["clusters"][0]["certified"][part] == [{"pod": "emojivoto/web-0", "problem": "why not"}]
    assert [line for line in table.table(found) if line.strip() in lines.values()] == [f"  {lines[part]}"]
    assert "emojivoto/web-0: why not" in mesh_report_html(found)


def test_report_without_leaves():
    found = report(berlin={**reading(), "leaves": None, "leaves_missing": None})
    assert found["agreed"] and found["clusters"][0]["certified"] is None
    assert "their certificates were not read" in mesh_report_html(found)


def test_disagreement_lists_all_pods():
    missing = [unread("refused", name=f"web-{number}") for number in range(300)]
    [item] = report(berlin=reading(missing=missing))["disagreements"]
    assert len(item["pods"]) == 300 and "and 297 more" in item["message"] and len(item["message"]) < 400


@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_identity_of_more_than_64_characters_is_no_warning(recwarn):
    """Linkerd writes it into the common name, for which RFC 5280 (appendix A.1) allows 64."""
    long = f"web.{'emojivoto' * 5}.serviceaccount.identity.linkerd.cluster.local"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, long, _validate=False)])
    leaf = presented(web(), leaf_of(name), ISSUER)
    recwarn.clear()
    warnings.simplefilter("always")
    assert codes(report(berlin=reading(leaves=[leaf]))) == []
    assert [str(one.message) for one in recwarn] == []


def test_disagreement_of_leaves_can_be_allowed():
    found = report(allowed=("pod_without_leaf",), berlin=reading(missing=[unread("refused")]))
    assert found["agreed"] and codes(found) == ["pod_without_leaf"]


def test_leaves_without_anchors_are_not_compared():
    lost = reading()
    lost["anchors"] |= {"certificates": [], "problem": "does not exist"}
    found = report(berlin=lost)
    assert codes(found) == ["anchors_unreadable"]
    assert [group["trusted"] for group in found["clusters"][0]["certified"]["groups"]] == [False]


@pytest.mark.parametrize("native", [False, True])
def test_target_of_pod(native):
    [target] = linkerd_leaves.targets([pod("web-0", ROOT.pem, native=native)])
    assert (target.name, target.uid, target.port) == ("emojivoto/web-0", "uid of web-0", 4191)
    assert target.server_name == "default.emojivoto.serviceaccount.identity.linkerd.cluster.local"
    assert (target.started_at, target.obstacle) == (STARTED, "")


def test_target_with_other_port_and_service_account():
    one = pod("web-0", ROOT.pem)
    one["spec"]["serviceAccountName"] = "voting"
    one["spec"]["containers"][1]["ports"] = [
        {"name": "x", "containerPort": 1},
        {"name": "linkerd-admin", "containerPort": 2},
    ]
    [target] = linkerd_leaves.targets([one])
    assert (target.port, target.server_name.split(".")[0]) == (2, "voting")


@pytest.mark.parametrize(
    ("state", "started", "obstacle"),
    [
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "2026-11-24T08:00:00Z", "(CrashLoopBackOff)"),
        ({"terminated": {"reason": "Error"}}, "2026-11-24T08:00:00Z", "(Error)"),
        ({"waiting": {"reason": "PodInitializing"}}, None, ""),
        ({}, None, ""),
    ],
)
def test_proxy_that_does_not_run(state, started, obstacle):
    one = pod("web-0", ROOT.pem)
    one["status"] |= {"startTime": "2026-11-24T08:00:00Z"}
    one["status"]["containerStatuses"][0]["state"] = state
    [target] = linkerd_leaves.targets([one])
    assert target.started_at == started
    assert obstacle in target.obstacle and bool(target.obstacle) == bool(obstacle)


def test_finished_terminating_and_unmeshed_pods_are_no_targets():
    over, plain = pod("over", ROOT.pem), pod("plain", ROOT.pem)
    over["status"]["phase"] = "Succeeded"
    plain["spec"]["containers"][1]["name"] = "other"
    assert linkerd_leaves.targets([over, plain, pod("going", ROOT.pem, deletionTimestamp=STARTED)]) == []
