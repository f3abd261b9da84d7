# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real `linkerd check`, with issuers and trust anchors that the profile linkerd verifies too.

The mesh runs with other certificates meanwhile: the check reads only the Secret and the ConfigMap.
"""

from __future__ import annotations

import json

import pytest
from support.issuer_cases import CASES, secret_data

from ansible_collections.servicemesh.pki.plugins.filter.x509 import chain_verdict

# They would restore the Secret and the ConfigMap.
CONTROLLERS = {
    "cert-manager": "app.kubernetes.io/name=cert-manager,app.kubernetes.io/component=controller",
    "trust-manager": "app.kubernetes.io/name=trust-manager",
}


@pytest.fixture(scope="module")
def linkerd_check(expendable_mesh):
    """Return a function that stores an issuer and trust anchors, and returns the result of `linkerd check`."""
    mesh = expendable_mesh
    mesh.ensure()
    for name, label in CONTROLLERS.items():
        mesh.kubectl("scale", f"deployment/{name}", "-n", "cert-manager", "--replicas=0")
        mesh.kubectl("wait", "--for=delete", "pods", "-n", "cert-manager", "-l", label, "--timeout=120s")

    def run(issuer, anchors: str) -> list[str]:
        changes = {
            "secret/linkerd-identity-issuer": secret_data(issuer, anchors),
            "configmap/linkerd-identity-trust-roots": {"ca-bundle.crt": anchors},
        }
        for name, data in changes.items():
            mesh.kubectl("patch", name, "-n", "linkerd", "--type=merge", "-p", json.dumps({"data": data}))
        shown = json.loads(mesh.run("linkerd", "check", "--output=json", "--wait=1s", check=False))
        [identity] = [one for one in shown["categories"] if one["categoryName"] == "linkerd-identity"]
        return [one["error"] for one in identity["checks"] if one["result"] == "error"]

    return run


@pytest.mark.parametrize("name", CASES)
def test_linkerd_check_fails_if_the_profile_predicts_it(name, linkerd_check):
    issuer, anchors, refused_by = CASES[name]
    assert set(chain_verdict(issuer.pem, anchors, profile="linkerd").refused_by) == refused_by
    errors = linkerd_check(issuer, anchors)
    assert bool(errors) is ("linkerd check" in refused_by), errors
