# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readings that agree, and every way in which they may not."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from cryptography import x509
from support.authority import DAY, NOW, key, make
from support.readings import EARLIER, ISSUER, NEXT, PASSED, ROOT, pod, reading, report, vault

from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_report
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import comparison, html, table

# Their cases are in test_mesh_certified.py.
LEAVES = {"pod_leaf_unknown_issuer", "pod_leaf_untrusted", "pod_leaf_expired", "pod_leaf_near_end",
          "pod_identity_differs", "issuer_not_in_use"}  # fmt: skip
LEAVES |= {"pod_without_leaf", "pod_leaf_unreadable"}
BY_NEXT = make("identity.linkerd.cluster.local", NEXT, own_key=key("p256", 41), end=NOW + DAY)
EXPIRED = make("root.linkerd.cluster.local", own_key=key("p256", 42), start=NOW - 9 * DAY, end=NOW - DAY)
FAILED = {"failed": True, "msg": "The cluster's API server does not answer: refused."}


def broken(part: str) -> dict:
    found = reading()
    found[part] |= {"certificates": [], "problem": "does not exist"}
    return found


def test_report_without_disagreement():
    found = report(berlin=reading(), oslo=reading())
    assert found["agreed"]
    assert found["disagreements"] == []
    assert found["at"] == "2026-11-24T12:00:00Z"
    assert [cluster["name"] for cluster in found["clusters"]] == ["berlin", "oslo"]
    assert [one["subject"] for one in found["clusters"][0]["chain"]["path"]] == [
        "CN=identity.linkerd.cluster.local",
        "CN=root.linkerd.cluster.local",
    ]


CASES = {
    "vault": (
        {"vault_result": {"msg": "Vault refuses the connection."}},
        {"vault_unreadable"},
        "refuses the connection",
    ),
    "an issuer of Vault that cannot be read": (
        {"vault_result": {**vault(ROOT), "unreadable": [{"issuer_name": "odd", "issuer_id": "1", "problem": "why"}]}},
        {"vault_issuer_unreadable"},
        "odd",
    ),
    "vault not read": ({"vault_result": {"address": "x"}}, {"vault_unreadable"}, "--limit"),
    "cluster": ({"berlin": FAILED}, {"cluster_unreadable"}, "does not answer: refused."),
    "cluster not read": ({"berlin": {}}, {"cluster_unreadable"}, "--limit"),
    "no ConfigMap": ({"berlin": broken("anchors")}, {"anchors_unreadable"}, "kubectl describe bundle"),
    "no issuer": ({"berlin": broken("issuer")}, {"issuer_unreadable"}, "tls.crt does not exist"),
    "no signer": ({"berlin": broken("signer")}, {"signer_unreadable"}, "linkerd check"),
    "anchor is no root": (
        {"vault_result": vault(ROOT, ISSUER), "berlin": reading(anchors=(ROOT, ISSUER))},
        {"anchor_not_a_root"},
        "CN=identity",
    ),
    "old anchor": (
        {"vault_result": vault(ROOT, EXPIRED), "berlin": reading(anchors=(ROOT, EXPIRED))},
        {"anchor_expired"},
        "2026-11-15T12:00:00Z to 2026-11-23T12:00:00Z",
    ),
    "another Vault": (
        {"vault_result": vault(NEXT)},
        {"anchor_not_in_vault"},
        "http://127.0.0.1:8200",
    ),
    "issuer of another root": (
        {"vault_result": vault(ROOT, NEXT), "berlin": reading(issuer=BY_NEXT)},
        {"issuer_refused", "pod_leaf_untrusted"},
        "CN=identity.linkerd.cluster.local (identity controller, linkerd check, proxies)",
    ),
    "issuer with less validity than required": (
        {"min_days": (3, 0)},
        {"expires_soon"},
        "renew_issuer.yml",
    ),
    "anchor with less validity than required": (
        {"min_days": (0, 100)},
        {"expires_soon"},
        "89.0 days",
    ),
    "issuer of another root with less validity than required": (
        {"min_days": (3, 0), "vault_result": vault(ROOT, NEXT), "berlin": reading(issuer=BY_NEXT)},
        {"issuer_refused", "pod_leaf_untrusted"},
        "1.0 days",
    ),
    "signer of another root": (
        {"berlin": reading(signer=NEXT)},
        {"signer_not_in_anchors"},
        "ConfigMap linkerd/linkerd-identity-trust-roots",
    ),
    "renewal": (
        {"berlin": reading(renewal="2026-11-24T11:49:00Z")},
        {"renewal_overdue"},
        "kubectl get certificaterequests -n linkerd",
    ),
    "Certificate that was deleted": (
        {"berlin": {**reading(renewal=None), "certificate_missing": True}},
        {"certificate_missing"},
        "Certificate linkerd/linkerd-identity-issuer",
    ),
    "pods lack an anchor": (
        {"vault_result": vault(ROOT, NEXT), "berlin": reading((ROOT, NEXT), pods=[pod("web", ROOT.pem)])},
        {"pod_anchors_differ"},
        "emojivoto/web",
    ),
    "pods have an additional anchor": (
        {"berlin": reading(pods=[pod("web", ROOT.pem + NEXT.pem)])},
        {"pod_anchors_differ"},
        "emojivoto/web",
    ),
    "pods older than the ConfigMap": (
        {"berlin": reading(pods=[pod("linkerd-identity-0", started=EARLIER)])},
        {"pod_anchors_unknown"},
        "linkerd/linkerd-identity-0",
    ),
    "pods with garbage": (
        {"berlin": reading(pods=[pod("web", "x")])},
        {"pod_anchors_unreadable"},
        "emojivoto/web",
    ),
    "pods that cannot be listed": (
        {"berlin": {**reading(pods=[]), "pods_problem": "cannot be listed: 403 Forbidden. pods is forbidden"}},
        {"pod_anchors_unreadable"},
        "403 Forbidden. pods is forbidden",
    ),
    "linkerd check": (
        {"berlin": (reading(), {"failed": True, "msg": "linkerd check found 1 problem(s). failed: identity"})},
        {"linkerd_check"},
        "failed: identity",
    ),
    "linkerd check in check mode": (
        {"berlin": (reading(), {"passed": False, "errors": [{"description": "control plane pods are ready"}]})},
        {"linkerd_check"},
        "control plane pods are ready",
    ),
    "clusters differ": (
        {"vault_result": vault(ROOT, NEXT), "oslo": reading((ROOT, NEXT))},
        {"clusters_differ"},
        "berlin trust(s) CN=root.linkerd.cluster.local",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_disagreement_has_code_and_names_object(name):
    given, codes, part = CASES[name]
    found = report(**{"berlin": reading(), **given})
    assert {item["code"] for item in found["disagreements"]} == codes
    assert not found["agreed"]
    failure = table.failures(found)[0]
    assert part in failure and failure.endswith(tuple(f" [{code}]" for code in codes))
    assert "PRIVATE" not in str(found)


def test_every_code_has_a_case_and_marks_the_diagram():
    seen = set().union(*(codes for dummy, codes, dummy in CASES.values())) | {"no_clusters"}
    assert seen | LEAVES == comparison.CODES
    assert set(html.MARKS) == comparison.CODES - {"no_clusters"}


def test_report_without_clusters_is_a_disagreement():
    assert [item["code"] for item in report()["disagreements"]] == ["no_clusters"]


def test_disagreements_of_all_clusters_are_reported():
    found = report(vault(NEXT), berlin=reading(signer=NEXT), oslo=FAILED, rome=reading((NEXT,)))
    assert [(item["cluster"], item["code"]) for item in found["disagreements"]] == [
        ("berlin", "anchor_not_in_vault"),
        ("berlin", "signer_not_in_anchors"),
        ("oslo", "cluster_unreadable"),
        ("rome", "issuer_refused"),
        ("rome", "signer_not_in_anchors"),
        ("rome", "pod_leaf_untrusted"),
        (None, "clusters_differ"),
    ]


def test_expired_issuer_has_reason():
    old = make("identity.linkerd.cluster.local", ROOT, own_key=key("p256", 41), end=NOW - DAY / 8)
    item = report(berlin=reading(issuer=old))["disagreements"][0]
    assert (item["code"], [reason["code"] for reason in item["reasons"]]) == ("issuer_refused", ["expired"])


def test_allowed_disagreement_is_shown_and_is_no_failure():
    found = report(allowed=("pod_anchors_unknown",), berlin=reading(pods=[pod("linkerd-identity-0", started=EARLIER)]))
    assert found["agreed"]
    assert table.failures(found) == []
    assert any(line.startswith("Allowed: berlin: linkerd/linkerd-identity-0") for line in table.table(found))


def test_table_has_format_of_workshop():
    lines = table.table(report(**{"pki-cluster": reading()}))
    subject_key, authority_key = (
        one["subject_key_identifier"][:16] for one in (reading()["issuer"]["certificates"][0], vault()["issuers"][0])
    )
    text = "\n".join(lines)
    assert f"Issuer:  {authority_key}  CN=root.linkerd.cluster.local" in text
    assert f"Subject: {subject_key}  CN=identity.linkerd.cluster.local, until 2026-11-26T12:00:00Z" in text
    assert "2 pod(s) have these anchors in their specification" in text
    assert f"  3 pod(s) certified, the first until 2026-11-25T11:00:00Z, by\n    Issuer:  {authority_key}" in text
    assert "linkerd check: 39 passed, 1 expected warning" in text
    assert not lines[-1].endswith("disagreement(s)")
    assert max(map(len, lines)) <= 110


def test_anchor_that_the_inventory_adds_is_known():
    """A third one is not."""
    both = reading((ROOT, NEXT, OTHER), pods=[])
    assert codes_of(mesh_report({"berlin": both}, vault(), at=NOW.isoformat(), extra_anchors=[NEXT.pem])) == {
        "anchor_not_in_vault": "another root"
    }
    both = reading((ROOT, NEXT), pods=[])
    assert codes_of(mesh_report({"berlin": both}, vault(), at=NOW.isoformat(), extra_anchors=NEXT.pem)) == {}


OTHER = make("another root", own_key=key("p256", 43), start=NOW - DAY, end=NOW + 89 * DAY)


def codes_of(found):
    """Each code, with the subject of the certificate that its message names."""
    return {item["code"]: "another root" * ("another root" in item["message"]) for item in found["disagreements"]}


def test_signer_below_an_anchor_agrees():
    """An engine that has an intermediate CA, and not the root of the company above it."""
    middle = make("middle", ROOT, own_key=key("p256", 44), end=NOW + 60 * DAY)
    issuer = make("identity.linkerd.cluster.local", middle, own_key=key("p256", 41), end=NOW + DAY)
    found = report(vault(ROOT, middle), berlin=reading(issuer=issuer, signer=middle, above=(middle,)))
    assert "signer_not_in_anchors" not in [item["code"] for item in found["disagreements"]]


@pytest.mark.parametrize("has_root", [True, False])
def test_intermediate_in_a_mount_that_is_not_read_agrees(has_root):
    """cert-manager takes the chain that Vault returns: up to the root, which is then ca.crt, or to the intermediate."""
    middle = make("middle", ROOT, own_key=key("p256", 44), end=NOW + 60 * DAY)
    issuer = make("identity.linkerd.cluster.local", middle, own_key=key("p256", 41), end=NOW + DAY)
    deep = reading(issuer=issuer, signer=ROOT if has_root else middle, above=(middle,))
    deep["issuer"] = sources.source("Secret linkerd/linkerd-identity-issuer, tls.crt", issuer.pem + middle.pem)
    assert report(vault(ROOT), berlin=deep)["disagreements"] == []


@pytest.mark.parametrize(("min_days", "expected"), [((0, 0, 60), []), ((1, 80, 61), ["middle"]), ((2, 90, 61), None)])
def test_intermediate_with_less_validity_than_required(min_days, expected):
    """The CA between the issuer, which is valid for a day, and the anchor, which is valid for 89 days."""
    middle = make("middle", ROOT, own_key=key("p256", 44), end=NOW + 60 * DAY)
    issuer = make("identity.linkerd.cluster.local", middle, own_key=key("p256", 41), end=NOW + DAY)
    deep = reading(issuer=issuer, signer=ROOT, above=(middle,))
    deep["issuer"] = sources.source("Secret linkerd/linkerd-identity-issuer, tls.crt", issuer.pem + middle.pem)
    found = report(vault(ROOT), berlin=deep, min_days=min_days)["disagreements"]
    assert [item["code"] for item in found] == ["expires_soon"] * bool(expected or expected is None)
    subjects = [one["subject"].removeprefix("CN=") for item in found for one in item["reasons"]]
    everything = ["identity.linkerd.cluster.local", "middle", "root.linkerd.cluster.local"]
    assert subjects == (everything if expected is None else expected)
    assert all(f"CN={one}: " in item["message"] for item in found for one in subjects)
    late = mesh_report({"berlin": deep}, vault(ROOT), at=NOW.isoformat(), intermediate_min_days=61)
    assert [item["code"] for item in late["disagreements"]] == ["expires_soon"]


def test_signer_is_not_required_of_an_issuer_of_the_chart():
    """linkerd check reads the values there, not ca.crt."""
    lacking = reading(signer=None)
    assert [item["code"] for item in report(berlin=lacking)["disagreements"]] == ["signer_unreadable"]
    assert report(berlin={**lacking, "issuer_scheme": "linkerd.io/tls"})["agreed"]


def test_filter_with_results_of_modules():
    issuers = {**vault(), "changed": False}
    found = mesh_report({"berlin": reading()}, issuers, {"berlin": PASSED}, at=NOW.isoformat())
    assert found["agreed"]
    assert found["failures"] == []
    late = mesh_report({"berlin": reading()}, issuers, at=NOW.isoformat(), issuer_min_days=3, anchor_min_days=90)
    assert [item["code"] for item in late["disagreements"]] == ["expires_soon"]
    assert [reason["code"] for reason in late["disagreements"][0]["reasons"]] == ["expires_soon", "expires_soon"]
    assert late["clusters"][0]["check"] is None


@pytest.mark.parametrize("bad", [{"allowed": ["everything"]}, {"at": "tomorrow"}, {"intermediate_min_days": "x"}])
def test_invalid_option_is_an_error(bad):
    with pytest.raises(AnsibleFilterError):
        mesh_report({}, {}, **bad)


def test_trust_domain_is_that_of_the_cluster():
    """An issuer that permits names of its mesh only. Without a trust domain of the cluster, the option is used."""
    limits = x509.NameConstraints([x509.DNSName("mesh.example")], None)
    root = make("root", extensions=((limits, True),))
    issuer = make("identity.linkerd.mesh.example", root, own_key=key("p256", 41), end=NOW + DAY)
    for trust_domain, option, code in (
        ("mesh.example", "cluster.local", None),
        ("cluster.local", "mesh.example", "issuer_refused"),
        (None, "mesh.example", None),
        (None, "cluster.local", "issuer_refused"),
    ):
        cluster = reading((root,), issuer, root, pods=[], trust_domain=trust_domain)
        found = mesh_report({"berlin": cluster}, vault(root), at=NOW.isoformat(), trust_domain=option)
        assert [item["code"] for item in found["disagreements"]] == ([code] if code else []), (trust_domain, option)


def test_many_clusters_are_compared():
    found = report(**{f"c{number}": reading() for number in range(50)})
    assert found["agreed"]
    assert len(found["clusters"]) == 50
