# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readings that agree, and every way in which they may not."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from authority import DAY, NOW, key, make
from readings import EARLIER, ISSUER, NEXT, PASSED, ROOT, pod, reading, report, vault

from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_report
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import comparison, html, table

# Their cases are in test_mesh_certified.py.
LEAVES = {"pod_leaf_unknown_issuer", "pod_leaf_untrusted", "pod_leaf_expired", "pod_leaf_near_end"}
LEAVES |= {"pod_without_leaf", "pod_leaf_unreadable"}
BY_NEXT = make("identity.linkerd.cluster.local", NEXT, own_key=key("p256", 41), end=NOW + DAY)
EXPIRED = make("root.linkerd.cluster.local", own_key=key("p256", 42), start=NOW - 9 * DAY, end=NOW - DAY)
FAILED = {"failed": True, "msg": "The cluster's API server does not answer: refused."}


def broken(part: str) -> dict:
    found = reading()
    found[part] |= {"certificates": [], "problem": "does not exist"}
    return found


def test_all_agree():
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
    "vault not asked": ({"vault_result": {"address": "x"}}, {"vault_unreadable"}, "--limit"),
    "cluster": ({"berlin": FAILED}, {"cluster_unreadable"}, "does not answer: refused."),
    "cluster not asked": ({"berlin": {}}, {"cluster_unreadable"}, "--limit"),
    "no ConfigMap": ({"berlin": broken("anchors")}, {"anchors_unreadable"}, "kubectl describe bundle"),
    "no issuer": ({"berlin": broken("issuer")}, {"issuer_unreadable"}, "tls.crt does not exist"),
    "no signer": ({"berlin": broken("signer")}, {"signer_unreadable"}, "linkerd check does"),
    "anchor is no root": (
        {"vault_result": vault(ROOT, ISSUER), "berlin": reading(anchors=(ROOT, ISSUER))},
        {"anchor_not_a_root"},
        "holds a certificate that is no self-signed CA: CN=identity",
    ),
    "old anchor": (
        {"vault_result": vault(ROOT, EXPIRED), "berlin": reading(anchors=(ROOT, EXPIRED))},
        {"anchor_expired"},
        "2026-11-15T12:00:00Z to 2026-11-23T12:00:00Z",
    ),
    "another Vault": (
        {"vault_result": vault(NEXT)},
        {"anchor_not_in_vault"},
        "which Vault at http://127.0.0.1:8200 does not have",
    ),
    "issuer of another root": (
        {"vault_result": vault(ROOT, NEXT), "berlin": reading(issuer=BY_NEXT)},
        {"issuer_refused", "pod_leaf_untrusted"},
        "Linkerd refuses the identity issuer CN=identity.linkerd.cluster.local (identity controller, linkerd check, "
        "proxies): Its signature was not made by the key of CN=root.linkerd.cluster.local.",
    ),
    "an issuer with less left than asked for": (
        {"min_days": (3, 0)},
        {"expires_soon"},
        "CN=identity.linkerd.cluster.local is good, with less time left than asked for: As leaf it has 2.0 days left, "
        "wanted 3. An issuer is renewed by renew_issuer.yml",
    ),
    "an anchor with less left than asked for": (
        {"min_days": (0, 100)},
        {"expires_soon"},
        "less time left than asked for: As anchor it has 89.0 days left, wanted 100. An issuer",
    ),
    "an issuer of another root, with less left than asked for": (
        {"min_days": (3, 0), "vault_result": vault(ROOT, NEXT), "berlin": reading(issuer=BY_NEXT)},
        {"issuer_refused", "pod_leaf_untrusted"},
        "As leaf it has 1.0 days left, wanted 3. Deleting the Secret",
    ),
    "signer of another root": (
        {"berlin": reading(signer=NEXT)},
        {"signer_not_in_anchors"},
        "is not in the ConfigMap linkerd/linkerd-identity-trust-roots",
    ),
    "renewal": (
        {"berlin": reading(renewal="2026-11-24T11:49:00Z")},
        {"renewal_overdue"},
        "kubectl get certificaterequests -n linkerd",
    ),
    "pods lack an anchor": (
        {"vault_result": vault(ROOT, NEXT), "berlin": reading((ROOT, NEXT), pods=[pod("web", ROOT.pem)])},
        {"pod_anchors_differ"},
        "emojivoto/web do not trust CN=root",
    ),
    "pods have an anchor more": (
        {"berlin": reading(pods=[pod("web", ROOT.pem + NEXT.pem)])},
        {"pod_anchors_differ"},
        "which is not in the ConfigMap",
    ),
    "pods of long ago": (
        {"berlin": reading(pods=[pod("linkerd-identity-0", started=EARLIER)])},
        {"pod_anchors_unknown"},
        "cannot be read from outside",
    ),
    "pods with garbage": (
        {"berlin": reading(pods=[pod("web", "x")])},
        {"pod_anchors_unreadable"},
        "No certificate found",
    ),
    "pods that may not be listed": (
        {"berlin": {**reading(pods=[]), "pods_problem": "may not be listed: 403 Forbidden. pods is forbidden"}},
        {"pod_anchors_unreadable"},
        "The pods may not be listed: 403 Forbidden. pods is forbidden. Allow the login to list pods",
    ),
    "linkerd check": (
        {"berlin": (reading(), {"failed": True, "msg": "linkerd check found 1 problem(s). failed: identity"})},
        {"linkerd_check"},
        "failed: identity",
    ),
    "linkerd check in check mode": (
        {"berlin": (reading(), {"passed": False, "errors": [{"description": "control plane pods are ready"}]})},
        {"linkerd_check"},
        "linkerd check did not pass: control plane pods are ready",
    ),
    "clusters differ": (
        {"vault_result": vault(ROOT, NEXT), "oslo": reading((ROOT, NEXT))},
        {"clusters_differ"},
        "berlin trust(s) CN=root.linkerd.cluster.local",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_disagreement(name):
    given, codes, sentence = CASES[name]
    found = report(**{"berlin": reading(), **given})
    assert {item["code"] for item in found["disagreements"]} == codes
    assert not found["agreed"]
    told = table.failures(found)[0]
    assert sentence in told and told.endswith(tuple(f" [{code}]" for code in codes))
    assert "PRIVATE" not in str(found)


def test_every_code_has_a_case_and_the_picture_knows_it():
    seen = set().union(*(codes for dummy, codes, dummy in CASES.values())) | {"no_clusters"}
    assert seen | LEAVES == comparison.CODES
    assert set(html.MARKS) == comparison.CODES - {"no_clusters"}


def test_nothing_asked_proves_nothing():
    assert [item["code"] for item in report()["disagreements"]] == ["no_clusters"]


def test_all_disagreements_of_all_clusters_are_told_at_once():
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


def test_an_expired_issuer_is_told_with_its_reason():
    old = make("identity.linkerd.cluster.local", ROOT, own_key=key("p256", 41), end=NOW - DAY / 8)
    item = report(berlin=reading(issuer=old))["disagreements"][0]
    assert (item["code"], [reason["code"] for reason in item["reasons"]]) == ("issuer_refused", ["expired"])


def test_what_is_allowed_is_told_and_no_failure():
    found = report(allowed=("pod_anchors_unknown",), berlin=reading(pods=[pod("linkerd-identity-0", started=EARLIER)]))
    assert found["agreed"]
    assert table.failures(found) == []
    assert any(line.startswith("Allowed: berlin: linkerd/linkerd-identity-0") for line in table.table(found))


def test_the_table_has_the_workshops_form():
    lines = table.table(report(**{"pki-cluster": reading()}))
    ski, aki = (
        one["subject_key_identifier"][:16] for one in (reading()["issuer"]["certificates"][0], vault()["issuers"][0])
    )
    text = "\n".join(lines)
    assert f"Issuer:  {aki}  CN=root.linkerd.cluster.local" in text
    assert f"Subject: {ski}  CN=identity.linkerd.cluster.local, until 2026-11-26T12:00:00Z" in text
    assert "2 pod(s) carry these anchors" in text
    assert f"  3 pod(s) certified, the first until 2026-11-25T11:00:00Z, by\n    Issuer:  {aki}" in text
    assert "linkerd check: 39 passed, 1 expected warning" in text
    assert lines[-1] == "All agree."
    assert max(map(len, lines)) <= 110


def test_the_filter():
    asked = {**vault(), "changed": False}
    found = mesh_report({"berlin": reading()}, asked, {"berlin": PASSED}, at=NOW.isoformat())
    assert found["agreed"]
    assert found["failures"] == []
    assert found["table"][-1] == "All agree."
    late = mesh_report({"berlin": reading()}, asked, at=NOW.isoformat(), issuer_min_days=3, anchor_min_days=90)
    assert [item["code"] for item in late["disagreements"]] == ["expires_soon"]
    assert [reason["code"] for reason in late["disagreements"][0]["reasons"]] == ["expires_soon", "expires_soon"]
    assert late["clusters"][0]["check"] is None


@pytest.mark.parametrize("bad", [{"allowed": ["everything"]}, {"at": "tomorrow"}, {"issuer_min_days": "x"}])
def test_options_that_make_no_sense(bad):
    with pytest.raises(AnsibleFilterError):
        mesh_report({}, {}, **bad)


def test_all_of_many_clusters_are_compared():
    found = report(**{f"c{number}": reading() for number in range(50)})
    assert found["agreed"]
    assert len(found["clusters"]) == 50
