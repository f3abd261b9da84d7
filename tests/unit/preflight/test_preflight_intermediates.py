# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An intermediate CA in its own mount signs: its validity, and the trust anchor that cert-manager takes from Vault."""

from __future__ import annotations

import pytest
from worlds import certificate, check, codes, empty, issuers, mesh, pods, requested

from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.anchors import Plan

ROOT = certificate("root-1")
MIDDLE, LOWER = certificate("middle", "root-1"), certificate("lower", "middle")
WEB = "shop/web-1"


def signed_by(*mount, root=ROOT, **linkerd):
    """A run whose signer is the first of the CAs in a mount. Another mount has the root."""
    signers = issuers(**{f"ca-{number}": one for number, one in enumerate(mount)})
    vault = {
        "root": "company-root", "mount": "pki", "issuers": issuers(**{"company-root": root}),
        "issuer_path": "int/issuer/ca-0/sign-intermediate", "issuer_name": "vault", "is_managed": True,
        "signers": signers,
    }  # fmt: skip
    issuer = {"group": "cert-manager.io", "name": "vault"}
    given = {"anchors": [root["certificate"]], "issuer": issuer, **linkerd}
    return {**requested(linkerd=given), "vault": vault}


def from_secret(*mount):
    """The Bundle reads ca.crt of the Secret. It is the last certificate of the chain that the mount has."""
    configuration = signed_by(*mount, trust_source="secret", trust_namespace="linkerd", has_configmap=False)
    configuration["trust_manager"]["trust_namespace"] = "linkerd"
    return configuration


def running(anchor, signer):
    issuer = certificate("identity", signer["common_name"])
    return empty(mesh=mesh([anchor], issuer, [pods(WEB, trust=(anchor,))]))


@pytest.mark.parametrize("mount", [(MIDDLE,), (LOWER, certificate("middle", "root-1", number=400))])
def test_the_identity_issuer_does_not_outlive_a_ca_above_it(mount):
    root = certificate("root-1", number=400)  # is valid for longer than the signer
    assert codes(check(empty(), signed_by(*mount, root=root))) == []
    configuration = signed_by(*mount, root=root, duration="9000h")
    [problem] = check(empty(), configuration)["problems"]
    assert problem["code"] == "identity_lifetime" and f"CN={mount[0]['common_name']}," in problem["message"]
    configuration["vault"]["is_managed"] = False  # the run does not change the signer
    assert codes(check(empty(), configuration)) == []


@pytest.mark.parametrize("mount", [(MIDDLE, ROOT), (LOWER, MIDDLE, ROOT), (LOWER, ROOT, MIDDLE)])
def test_the_anchor_in_the_secret_is_the_root_above_the_signer(mount):
    configuration = from_secret(*mount)
    assert Plan.of_run(configuration).anchors == [ROOT["certificate"]]
    for found in (empty(), running(ROOT, ROOT), running(ROOT, MIDDLE)):
        assert codes(check(found, configuration)) == []


@pytest.mark.parametrize("mount", [(MIDDLE,), (LOWER, MIDDLE)])
def test_an_intermediate_in_the_secret_does_not_become_the_trust_anchor(mount):
    """Vault returns only what the mount of the signer has. A mesh that trusts the intermediate already continues."""
    configuration = from_secret(*mount)
    assert Plan.of_run(configuration).anchors == [MIDDLE["certificate"]]
    for found in (empty(), running(ROOT, ROOT)):
        problems = check(found, configuration)["problems"]
        [problem] = [one for one in problems if one["code"] == "anchor_not_a_root"]
        assert "CN=middle" in problem["object"] and "linkerd_trust_source to anchors" in problem["message"]
    assert codes(check(running(MIDDLE, MIDDLE), configuration)) == []
    # Other clusters of the mesh trust it already.
    assert codes(check(empty(), {**configuration, "verify_allowed": ["anchor_not_a_root"]})) == []
