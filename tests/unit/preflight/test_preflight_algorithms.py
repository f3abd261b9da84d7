# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""linkerd check accepts the key and the signature of the root that signs, before the root is created or used.

The expected verdicts are those of CheckTrustAnchorAlgoRequirements in linkerd2's pkg/issuercerts.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from test_preflight_anchors import from_git, plan, running
from worlds import certificate, check, codes, empty, issuers, pods, requested

from ansible_collections.servicemesh.pki.plugins.filter.preflight import preflight_vault

ROOT = "linkerd-root-1"
VAULT = {"issuers": [], "root": ROOT, "previous": "", "mount": "pki", "problem": "", "others": []}


@pytest.mark.parametrize(("own", "digest", "accepted"), [
    (ec.generate_private_key(ec.SECP256R1()), hashes.SHA256(), True),
    (ec.generate_private_key(ec.SECP256R1()), hashes.SHA384(), False),
    (ec.generate_private_key(ec.SECP384R1()), hashes.SHA256(), False),
    (rsa.generate_private_key(65537, 2048), hashes.SHA256(), True),
    (rsa.generate_private_key(65537, 2048), hashes.SHA512(), False),
    (rsa.generate_private_key(65537, 3072), hashes.SHA256(), False),
])  # fmt: skip
def test_linkerd_check_accepts_the_root_that_signs(own, digest, accepted):
    root, other = certificate("company-root", own=own, digest=digest), certificate("other")["certificate"]
    expected = [] if accepted else [("anchor_algorithm", True)]

    def found(*anchors, **changes):
        result = check(empty(), requested(linkerd={"anchors": list(anchors), **changes}))
        return [(one["code"], "company-root" in one["object"]) for one in result["problems"]]

    assert found(root["certificate"], other) == expected
    # linkerd check reads ca.crt of the issuer's Secret, where only the root that signs is.
    assert found(other, root["certificate"]) == []
    assert found(other, extra_anchors=[root["certificate"]]) == []
    assert found(root["certificate"], check=False) == []
    # Linkerd itself accepts it, and a run does not call linkerd check if a GitOps controller applies the objects.
    for cluster in (empty(), running([root], None, [pods("shop/web-1", trust=(root,))])):
        result = check(cluster, from_git(plan(root, signer=root)))
        assert (codes(result), codes(result, "notes")) == ([], [] if accepted else ["anchor_refused"])


@pytest.mark.parametrize(("new_key", "accepted"), [
    ("ec:256", True), ("rsa:2048", True), ("rsa:4096", True),
    ("ec:224", False), ("ec:384", False), ("ec:521", False), ("rsa:256", False), ("rsa:3072", False),
    ("rsa:8192", False),
])  # fmt: skip
def test_key_of_a_root_that_the_run_creates(new_key, accepted):
    def found(**changes):
        problems = preflight_vault({**VAULT, "new_key": new_key, **changes}, "v")
        return [(one["code"], one["object"]) for one in problems]

    assert found() == ([] if accepted else [("anchor_algorithm", f"issuer {ROOT}")])
    assert found(issuers=issuers(ROOT)) == []  # the root exists
    assert found(problem="sealed") == [("vault_unreadable", "v")]
