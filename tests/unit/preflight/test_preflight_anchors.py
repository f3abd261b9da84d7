# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No run takes a trust anchor away that serves, or signs with one that pods do not trust."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from worlds import (
    VAULT_ISSUER,
    certificate,
    check,
    codes,
    definition,
    deployment,
    empty,
    issuers,
    mesh,
    namespace,
    pods,
    requested,
    source,
)

from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites.facts import unreadable
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.anchors import Plan
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.releases import merged

ONE, TWO, OTHER = certificate("root-1"), certificate("root-2"), certificate("other")
ISSUER, ISSUER_2, ISSUER_OTHER = (
    certificate("identity-1", "root-1"), certificate("identity-2", "root-2"), certificate("identity-x", "other")
)  # fmt: skip
WEB = "shop/web-1"


def plan(*anchors, signer=None, issuer=None, is_managed=True, root="linkerd-root", trust_source="anchors", extra=()):
    """A run whose Vault has at most the root linkerd-root."""
    vault = {
        "root": root,
        "mount": "pki",
        "issuers": issuers(**{"linkerd-root": signer}) if signer else [],
        "issuer_path": "pki/issuer/linkerd-root/sign-intermediate",
        "issuer_name": "vault",
        "is_managed": is_managed,
    }
    own, more = ([one["certificate"] for one in some] for some in (anchors, extra))
    linkerd = {"anchors": own, "extra_anchors": more, "trust_source": trust_source, "issuer": issuer or VAULT_ISSUER}
    return {**requested(linkerd=linkerd), "vault": vault}


def running(anchors, issuer, groups, **changes):
    return empty(mesh=mesh(anchors, issuer, groups, **changes))


def link(found):
    """Install the control plane and the extension linkerd-multicluster."""
    found["deployments"] = [deployment("linkerd", version="edge-26.6.3")]
    found["definitions"] = [definition("links.multicluster.linkerd.io", "linkerd-multicluster")]


def leaves(leaf, *above, pod=WEB, missing=()):
    group = {"certificates": list(above), "leaves": [{**leaf, "pod": pod}]}
    return {"leaves": [group], "leaves_missing": list(missing)}


def test_the_same_anchors_change_nothing():
    result = check(running([ONE], ISSUER, [pods(WEB, trust=(ONE,))]), plan(ONE, signer=ONE))
    assert codes(result) == [] and not result["needs_leaves"]


def test_a_reissued_root_with_the_same_key_is_the_same_anchor():
    again = certificate("root-1", number=7)
    assert again["fingerprint_sha256"] != ONE["fingerprint_sha256"]
    assert codes(check(running([ONE], ISSUER, [pods(WEB, trust=(ONE,))]), plan(again, signer=again))) == []


def test_a_cluster_without_a_mesh_has_nothing_to_lose():
    assert codes(check(empty(mesh=mesh([OTHER], None, [])), plan(ONE, signer=ONE))) == []


def test_pods_that_wait_for_their_first_anchors_have_nothing_to_lose():
    waiting = [pods("linkerd/identity", evidence="started_before")]
    found = running([], None, waiting)
    assert codes(check(found, plan(ONE, signer=ONE))) == []


def test_a_disjoint_set_is_refused_with_the_anchor_and_who_needs_it():
    found = running([OTHER], ISSUER_OTHER, [pods(WEB, trust=(OTHER,))])
    result = check(found, plan(ONE, signer=ONE))
    assert codes(result) == ["anchors_disjoint", "signer_untrusted"]
    message = result["problems"][0]["message"]
    assert "CN=other" in message and "pki_extra_trust_anchors" in message and "teardown" not in message
    assert WEB in result["problems"][1]["message"]


def test_the_plan_is_what_linkerd_requests_and_what_vault_has():
    def of(given):
        return Plan.of_run(given)

    one, other = ONE["certificate"], OTHER["certificate"]
    requested = plan(TWO, signer=ONE, extra=(OTHER,))
    found = {"root": one, "known": (one,), "beside": (one,), "identity": "identity.linkerd.cluster.local"}
    assert of(requested) == Plan([TWO["certificate"], other], one, "issuer linkerd-root in mount pki of Vault", **found)
    from_secret = plan(TWO, signer=ONE, extra=(OTHER,), trust_source="secret")
    assert of(from_secret).anchors == [one, other]  # cert-manager writes the root of the signer into the Secret
    assert of(plan(extra=(OTHER,), trust_source="secret")).anchors == [other]
    assert of(plan(signer=ONE, is_managed=False)) == Plan([], one, "", **found)
    for change in ({"name": "other"}, {"group": "awspca.cert-manager.io"}):
        assert of(plan(signer=ONE, issuer=VAULT_ISSUER | change)) == Plan([], one, "", **found)
    del requested["vault"]  # the role linkerd alone
    assert of(requested) == Plan([TWO["certificate"], other], "", "")


def test_a_vault_without_the_root_is_named():
    found = running([OTHER], ISSUER_OTHER, [])
    result = check(found, plan(root="linkerd-root-1", is_managed=False))
    assert codes(result) == ["anchors_disjoint"]
    assert "issuer linkerd-root-1 in mount pki of Vault" in result["problems"][0]["message"]


def test_an_anchor_that_only_copies_in_other_namespaces_have_counts():
    copies = [source("ConfigMap shop/linkerd-identity-trust-roots", OTHER)]
    found = running([ONE], ISSUER, [], copies=copies)
    assert codes(check(found, plan(ONE, signer=ONE))) == []  # nothing chains to it, and no pod has it
    found["mesh"]["pods"] = [pods(WEB, trust=(OTHER,))]
    assert codes(check(found, plan(ONE, signer=ONE))) == ["anchor_missing"]


def test_extra_anchors_make_a_set_that_overlaps_but_the_signer_has_to_wait():
    found = running([OTHER], ISSUER_OTHER, [pods(WEB, trust=(OTHER,))])
    assert codes(check(found, plan(ONE, OTHER, signer=ONE))) == ["signer_untrusted"]
    assert codes(check(found, plan(ONE, OTHER, signer=OTHER))) == []


@pytest.mark.parametrize(
    ("evidence", "published", "expected"),
    [
        ("started_after", [ONE, TWO], []),
        ("started_after", [ONE], ["signer_untrusted"]),
        ("started_before", [ONE, TWO], ["signer_untrusted"]),
    ],
)
def test_pods_of_the_control_plane_trust_what_the_configmap_had_when_they_started(evidence, published, expected):
    found = running(published, ISSUER, [pods("linkerd/identity", evidence=evidence)])
    assert codes(check(found, plan(ONE, TWO, signer=TWO))) == expected


def test_pods_that_trust_both_let_the_signer_change():
    found = running([ONE, TWO], ISSUER, [pods(WEB, trust=(ONE, TWO))])
    assert codes(check(found, plan(ONE, TWO, signer=TWO))) == []


def test_a_root_that_is_yet_to_be_created_signs_nothing_in_a_running_mesh():
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE,))])
    assert codes(check(found, plan(ONE, signer=None))) == ["signer_untrusted"]


MIDDLE, LOWER = certificate("middle", "root-1"), certificate("lower", "middle")
CROSS = certificate("root-2", "root-1", number=5)  # the key of TWO, signed by ONE


def below(signer, *known, path="int/issuer/signing/sign-intermediate", anchor=ONE, signers=True):
    """A run whose signer is in its own mount, with further CAs beside it."""
    configuration = plan(anchor, signer=anchor)
    found = {"signing": signer} | {str(number): one for number, one in enumerate(known)}
    configuration["vault"] |= {"issuer_path": path}
    if signers:
        configuration["vault"]["signers"] = issuers(**found)
    return configuration


@pytest.mark.parametrize(("anchor", "issuer", "evidence", "expected"), [
    (ONE, ISSUER, "started_after", []),
    (ONE, ISSUER, "started_before", ["signer_untrusted"]),
    (TWO, ISSUER_2, "started_after", ["signer_untrusted"]),
])  # fmt: skip
@pytest.mark.parametrize(("signer", "known"), [(MIDDLE, ()), (LOWER, (MIDDLE,))])
def test_an_intermediate_below_an_anchor_of_all_pods_may_sign(anchor, issuer, evidence, expected, signer, known):
    """Until now, the anchor itself signed the identity issuer."""
    found = running([anchor], issuer, [pods(WEB, trust=(anchor,)), pods("linkerd/identity", evidence=evidence)])
    assert codes(check(found, below(signer, *known, anchor=anchor))) == expected


def test_the_intermediate_that_signed_the_running_issuer_is_not_a_new_signer():
    issuer = certificate("identity-3", "middle")
    found = running([ONE], issuer, [pods(WEB, trust=(ONE,))])
    assert codes(check(found, below(MIDDLE))) == []
    found["mesh"]["issuer"]["certificates"].append(MIDDLE)
    found["mesh"]["pods"][0]["evidence"] = "started_before"
    assert codes(check(found, below(MIDDLE))) == []


def test_the_signer_is_looked_up_in_the_mount_of_its_path():
    """A name is unique in its mount only."""
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE,))])
    path = "int/issuer/linkerd-root/sign-intermediate"
    for signers in (True, False):
        result = check(found, below(OTHER, path=path, signers=signers))
        assert [(one["code"], one["object"]) for one in result["problems"]] == [
            ("signer_untrusted", "issuer linkerd-root in mount int of Vault")
        ]


def test_an_intermediate_does_not_become_the_trust_anchor():
    """verify.yml reports it, and no rotation accepts it. A mesh that trusts it needs a rotation, so it continues."""
    configuration = plan(MIDDLE, signer=MIDDLE)
    for found in (empty(), running([ONE], ISSUER, [pods(WEB, trust=(ONE,))])):
        problems = check(found, configuration)["problems"]
        [problem] = [one for one in problems if one["code"] == "anchor_not_a_root"]
        assert "CN=middle" in problem["object"]
    for allowed, expected in ((["anchor_not_a_root"], []), (["anchor_expired"], ["anchor_not_a_root"])):
        # The other clusters of the mesh trust it already.
        assert codes(check(empty(), {**configuration, "verify_allowed": allowed})) == expected
    issuer = certificate("identity-3", "middle")
    assert codes(check(running([MIDDLE], issuer, [pods(WEB, trust=(MIDDLE,))]), configuration)) == []
    assert codes(check(empty(), plan(ONE, signer=ONE))) == []
    del configuration["vault"]
    assert codes(check(empty(), configuration)) == []  # another issuer than Vault's
    configuration = plan(ONE, signer=MIDDLE)  # linkerd_trust_anchors has the root above it
    assert codes(check(empty(), configuration)) == []


def test_a_root_that_an_anchor_has_cross_signed_does_not_sign_yet():
    """Whether proxies get the cross-signed certificate is unknown."""
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE,))])
    for signer in (TWO, certificate("middle-2", "root-2")):
        assert codes(check(found, below(signer, CROSS, TWO))) == ["signer_untrusted"]


def test_the_anchor_of_the_identity_issuer_stays():
    found = running([ONE, TWO], ISSUER, [pods(WEB, trust=(ONE, TWO))])
    result = check(found, plan(TWO, signer=TWO))
    assert codes(result) == ["anchor_missing"] and "root-1" in result["problems"][0]["object"]


def test_unused_anchor_is_removed_after_pod_certificates_are_read():
    found = running([ONE, TWO], ISSUER_2, [pods(WEB, trust=(ONE, TWO))])
    configuration = plan(TWO, signer=TWO)
    first = check(found, configuration)
    assert codes(first) == [] and first["needs_leaves"]
    old = check(found, configuration, leaves(certificate("web", "identity-1"), ISSUER))
    assert codes(old) == ["anchor_missing"] and WEB in old["problems"][0]["message"]
    new = check(found, configuration, leaves(certificate("web", "identity-2"), ISSUER_2))
    assert codes(new) == [] and not new["needs_leaves"]


def test_an_anchor_that_linked_clusters_may_need_stays_until_it_is_retired():
    """Nothing in this cluster chains to the root of the other one."""
    found = running([ONE, OTHER], ISSUER, [pods(WEB, trust=(ONE, OTHER))])
    alone = check(found, plan(ONE, signer=ONE), leaves(certificate("web", "identity-1"), ISSUER))
    assert (codes(alone), codes(alone, "notes")) == ([], ["anchor_dropped"])
    assert "CN=other" in alone["notes"][0]["message"]
    link(found)
    result = check(found, plan(ONE, signer=ONE))
    assert codes(result) == ["anchor_missing"] and "CN=other" in result["problems"][0]["message"]
    fingerprint = OTHER["fingerprint_sha256"].replace(":", "")
    assert fingerprint in result["problems"][0]["message"]
    assert codes(check(found, plan(ONE, OTHER, signer=ONE))) == []
    for text in (fingerprint, ":".join(fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()):
        retired = check(found, {**plan(ONE, signer=ONE), "retired_anchors": [text]})
        assert codes(retired) == [] and retired["needs_leaves"]
    needed = {**plan(TWO, signer=TWO, is_managed=False), "retired_anchors": [ONE["fingerprint_sha256"]]}
    assert "root-1" in str(check(found, needed)["problems"])  # the identity issuer chains to it


def test_an_anchor_that_only_pods_still_have_is_not_removed_from_linked_clusters():
    """After a rotation, pods that it ignored trust the old root until they restart."""
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE, TWO))])
    link(found)
    assert codes(check(found, plan(ONE, signer=ONE))) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [("unreadable", ["anchor_missing"]), ("forbidden", ["anchor_missing"]), ("starting", []), ("refused", [])],
)
def test_removal_of_anchor_with_unread_pod_certificates(code, expected):
    found = running([ONE, TWO], ISSUER_2, [pods(WEB, trust=(ONE, TWO))])
    unread = [{"pod": "shop/db-0", "code": code, "started_at": None, "problem": "x"}]
    result = check(found, plan(TWO, signer=TWO), leaves(certificate("web", "identity-2"), ISSUER_2, missing=unread))
    assert codes(result) == expected


def test_an_issuer_that_the_run_does_not_configure_decides_on_the_signer():
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE,))])
    assert codes(check(found, plan(ONE, signer=None, is_managed=False))) == []


def test_with_the_secret_as_source_the_other_namespace_of_trust_manager_is_refused():
    configuration = plan(ONE, signer=ONE)
    configuration["linkerd"]["trust_source"] = "secret"
    result = check(running([ONE], ISSUER, []), configuration)
    assert codes(result) == ["trust_source_namespace"]
    configuration["trust_manager"]["trust_namespace"] = "linkerd"
    assert codes(check(running([ONE], ISSUER, []), configuration)) == []


PCA = {"group": "awspca.cert-manager.io", "kind": "AWSPCAClusterIssuer", "name": "mesh"}


@pytest.mark.parametrize(("has_vault", "present", "anchors", "expected"), [
    (True, PCA, (), []),
    (False, PCA, (), []),
    (False, VAULT_ISSUER, (), ["anchors_disjoint"]),  # another CA signs next
    (True, PCA | {"kind": "AWSPCAIssuer"}, (), ["anchors_disjoint"]),
    (False, {}, (OTHER,), ["anchors_disjoint"]),  # linkerd_trust_anchors are not distributed
])  # fmt: skip
def test_the_anchor_in_the_secret_stays_if_the_same_external_issuer_signs(has_vault, present, anchors, expected):
    """The Bundle reads the ca.crt that the issuer returned."""
    signer = source("Secret linkerd/linkerd-identity-issuer, ca.crt", OTHER)
    trusted = [pods(WEB, trust=(OTHER,))]
    found = running([OTHER], ISSUER_OTHER, trusted, signer=signer, issuer_reference=present)
    configuration = plan(*anchors, signer=ONE, issuer=PCA, trust_source="secret")
    configuration["trust_manager"]["trust_namespace"] = "linkerd"
    if not has_vault:
        del configuration["vault"]
    assert codes(check(found, configuration)) == expected
    extra = plan(signer=ONE, issuer=PCA, trust_source="secret", extra=(OTHER,))
    assert "anchors_disjoint" not in codes(check(found, extra))


def test_the_anchor_in_the_secret_stays_if_the_run_does_not_write_vaults_issuer():
    signer = source("Secret linkerd/linkerd-identity-issuer, ca.crt", OTHER)
    found = running([OTHER], ISSUER_OTHER, [pods(WEB, trust=(OTHER,))], signer=signer)
    for is_managed, expected in ((False, []), (True, ["anchors_disjoint", "signer_untrusted"])):
        configuration = plan(signer=ONE, trust_source="secret", is_managed=is_managed)
        configuration["trust_manager"]["trust_namespace"] = "linkerd"
        assert codes(check(found, configuration)) == expected


@pytest.mark.parametrize("owner", ["Helm release linkerd/linkerd-control-plane", "linkerd/cli edge-24.1.1"])
@pytest.mark.parametrize("part", ["anchors_owner", "issuer_owner"])
def test_an_identity_that_the_chart_made_is_not_overwritten_even_on_request(owner, part):
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE,))], **{part: owner})
    items = ["Secret linkerd/linkerd-identity-issuer", "ConfigMap linkerd/linkerd-identity-trust-roots"]
    result = check(found, {**plan(ONE, signer=ONE), "take_over": items})
    assert codes(result) == ["identity_in_release"] and owner in result["problems"][0]["message"]


def test_a_mesh_that_was_not_adopted_gets_no_advice_about_its_anchors():
    """adopt.yml adds the new anchor before it changes the signer, so none of it is a step of the user."""
    found = running([OTHER], ISSUER_OTHER, [pods(WEB, trust=(OTHER,))])
    assert codes(check(found, plan(ONE, signer=None))) == ["anchors_disjoint", "signer_untrusted"]
    found["mesh"]["issuer_owner"] = "Helm release linkerd/linkerd-control-plane"
    assert codes(check(found, plan(ONE, signer=None))) == ["identity_in_release"]


def test_an_identity_made_by_hand_is_overwritten_on_request_only():
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE,))], issuer_owner="kubectl-create")
    item = "Secret linkerd/linkerd-identity-issuer"
    result = check(found, plan(ONE, signer=ONE))
    assert [(one["code"], one["object"]) for one in result["problems"]] == [("object_unmanaged", item)]
    assert codes(check(found, {**plan(ONE, signer=ONE), "take_over": [item]})) == []


def from_git(configuration):
    """What preflight.yml checks if a GitOps controller applies the objects."""
    [block] = yaml.safe_load((Path(__file__).resolve().parents[3] / "playbooks/tasks/check_cluster.yml").read_text())
    return {"linkerd": merged(configuration["linkerd"], block["vars"]["from_git"]), "vault": configuration["vault"]}


def test_with_objects_from_git_anchors_and_signer_are_checked():
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE,))])
    found["namespaces"] = {"linkerd": namespace(exists=False)}
    assert codes(check(found, from_git(plan(ONE, signer=ONE)))) == []
    assert codes(check(found, from_git(plan(OTHER, signer=OTHER)))) == ["anchors_disjoint", "signer_untrusted"]


@pytest.mark.parametrize(("reads", "changes", "expected"), [
    ("linkerd-trust", {}, 0), ("cert-manager", {}, 1), ("cert-manager", {"trust_namespace": "cert-manager"}, 0),
    ("linkerd", {"trust_source": "secret", "has_configmap": False}, 0),
    ("linkerd-trust", {"trust_source": "secret", "has_configmap": False}, 1),
    ("linkerd", {"trust_source": "secret", "has_configmap": True}, 1),
])  # fmt: skip
def test_with_objects_from_git_trust_manager_reads_the_namespace_that_they_are_written_for(reads, changes, expected):
    configuration = from_git(plan(ONE, signer=ONE))
    configuration["linkerd"] |= changes
    found = empty(deployments=[deployment("trust-manager", trust_namespace=reads)])
    found["namespaces"] = {"linkerd": namespace()}
    result = check(found, configuration)
    assert [(one["code"], one["object"]) for one in result["problems"]] == [
        ("trust_source_namespace", f"namespace {reads}")
    ] * expected
    assert codes(check(empty(), configuration)) == []  # trust-manager is not installed yet


def test_with_objects_from_git_a_mesh_that_trusts_both_roots_can_be_moved():
    """The fourth phase of adopt.yml, which a GitOps controller performs: the chart still owns the old issuer."""
    chart = "Helm release linkerd/linkerd-control-plane"
    trusted = [pods(WEB, trust=(ONE, OTHER))]
    found = running([ONE, OTHER], ISSUER_OTHER, trusted, issuer_owner=chart)
    assert codes(check(found, from_git(plan(ONE, OTHER, signer=ONE)))) == []
    assert codes(check(found, from_git(plan(ONE, signer=ONE)))) == ["anchor_missing"]


def test_with_objects_from_git_a_cluster_that_cannot_be_read_is_a_note():
    found = empty(unreadable=[unreadable("Forbidden.", "Secret", "linkerd", "x")])
    result = check(found, from_git(plan(ONE, signer=ONE)))
    assert (codes(result), codes(result, "notes")) == ([], ["cluster_not_checked"])


def test_without_the_certificates_the_anchors_are_not_checked():
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE,))])
    configuration = plan(OTHER, signer=OTHER)
    configuration["linkerd"]["certificates"] = False
    assert codes(check(found, configuration)) == []
