# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""adopt.yml moves a Linkerd of the CLI, of Helm, and with a CA issuer of cert-manager to Vault, though runs are killed.
It and rotate_trust_anchor.yml also replace a trust anchor that has expired.

The oracles are the requests of the prober, openssl, kubectl, Helm, and verify.yml.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from guides import playbook_arguments
from support.existing import APP, SHORT_ROOT, Existing
from support.lab import until
from support.prober import NAMESPACE, Prober
from support.rotation import FAST, GUIDE

ISSUER = "linkerd-identity-issuer"
KEYS = {"key.pem", "tls.key"}  # of the issuer's Secret, before and after
# Tasks of the phases 2, 4 and 6 at which a run is killed: nothing is protected yet, Linkerd has just been upgraded, and
# the old issuer is still in the Secret.
UPGRADED = "Wait until the identity controller has restarted"
KILLED_AT = (
    "Protect the trust anchors and the identity issuer",
    UPGRADED,
    "Remove the old issuer, and the labels and annotations",
)
CERTIFICATE_EXISTS = "Read how Linkerd was installed"


@pytest.fixture(scope="module")
def company():
    with Existing.sandbox() as company:
        company.create()
        yield company


@pytest.fixture(params=["cli", "helm", "cert-manager"])
def existing(company, request):
    """A Linkerd with its own trust anchor and issuer, and workloads that send requests to each other."""
    {
        "cli": company.install_linkerd_with_its_cli,
        "helm": company.install_linkerd_with_helm,
        "cert-manager": company.install_linkerd_with_cert_manager,
    }[request.param]()
    prober = Prober(company)
    prober.start()
    company.how = request.param
    yield company, prober
    remove(company, NAMESPACE)


def remove(company, namespace: str) -> None:
    """Linkerd and the workloads of one namespace."""
    company.kubectl("delete", "namespace", namespace)
    company.execute("kubectl", "delete", "bundle,certificate", "--all", "--all-namespaces")
    if company.how == "cli":
        uninstall = company.run("linkerd", "uninstall", "--force")
        company.kubectl("delete", "-f", "-", "--ignore-not-found", given=uninstall)
    else:
        for name in ("linkerd-control-plane", "linkerd-crds"):
            company.run("helm", "uninstall", name, "-n", "linkerd", "--wait")
        company.kubectl("delete", "namespace", "linkerd")
    until(lambda: company.execute("kubectl", "get", "namespace", "linkerd").returncode != 0)


def secret(company) -> dict[str, str]:
    return company.get("secret", ISSUER, "-n", "linkerd")["data"]


def test_a_running_mesh_moves_to_vault_and_loses_no_request(existing, tmp_path):
    company, prober = existing
    root = {"pki_root_issuer_name": f"root-for-{company.how}", **FAST}
    adopt, check = playbook_arguments("docs/guides/adopt.md", "adopt.yml")
    planned = company.play(adopt, check, variables=root)
    assert (planned.rc, planned.changed) == (0, 0), planned.output[-4000:]
    assert "Phase 1 of 7" in planned.flat
    (old_key,) = (base64.b64decode(secret(company)[key]).decode() for key in KEYS & set(secret(company)))

    killed_at = KILLED_AT
    if company.how == "cli":  # a move to another root has got as far as the Certificate, but not to the upgrade
        assert company.kill(adopt, CERTIFICATE_EXISTS, {**root, "pki_root_issuer_name": "root-given-up"})
        killed_at = tuple(task for task in KILLED_AT if task != UPGRADED)
    for task in killed_at:
        assert company.kill(adopt, task, root)
    adopted = company.play(adopt, variables=root)
    assert adopted.rc == 0, adopted.output[-6000:]
    prober.good()

    pem = company.vault("GET", f"pki/issuer/root-for-{company.how}/json")[1]["data"]["certificate"].strip()
    assert company.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt").strip() == pem
    assert set(secret(company)) == {"tls.crt", "tls.key", "ca.crt"}
    (tmp_path / "root.pem").write_text(pem)
    (tmp_path / "issuer.pem").write_bytes(base64.b64decode(secret(company)["tls.crt"]))
    company.run("openssl", "verify", "-CAfile", str(tmp_path / "root.pem"), str(tmp_path / "issuer.pem"))
    assert all(old_key.splitlines()[1] not in run.output for run in company.runs)
    annotations = company.get("secret", ISSUER, "-n", "linkerd")["metadata"]["annotations"]
    assert {name for name in annotations if not name.startswith("cert-manager.io/")} == set()
    if company.how != "cli":
        values = company.run("helm", "get", "values", "linkerd-control-plane", "-n", "linkerd", "-o", "json")
        assert "PRIVATE KEY" not in values and json.loads(values)["identity"]["externalCA"] is True

    for playbook in ("adopt", "site", "verify"):  # the mesh is one that site.yml could have created
        again = company.play(f"playbooks/{playbook}.yml", variables=root)
        assert again.rc == 0, again.output[-4000:]
        assert playbook == "site" or again.changed == 0
    again = company.play("playbooks/site.yml", variables=root)
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    prober.good()


def wait_for_expiry(company, identity: dict[str, str]) -> None:
    check = ("openssl", "x509", "-noout", "-checkend", "0", "-in", identity["ca.pem"])
    until(lambda: company.execute(*check).returncode != 0, 600)


@pytest.fixture
def expired(company):
    """A Linkerd whose trust anchor has just expired, with an application that accepts mutual TLS only."""
    company.how = "cli"
    identity = company.make_short_identity(480)
    company.install_linkerd_with_its_cli(identity)
    company.install_application()
    wait_for_expiry(company, identity)
    yield company
    remove(company, APP)


def assert_mesh_works(company, root: dict[str, str]) -> None:
    until(lambda: company.request().returncode == 0)
    verified = company.play("playbooks/verify.yml", variables=root)
    assert verified.rc == 0, verified.output[-4000:]


def test_an_expired_anchor_is_replaced_by_the_shortest_way(expired):
    """First of a mesh of the CLI. Then of one with cert-manager, whose running controller rejects the new issuer."""
    root = {"pki_root_issuer_name": "linkerd-root-2"}
    refused = expired.play("playbooks/adopt.yml", variables=root)
    assert (refused.rc != 0, refused.changed) == (True, 0), refused.output[-4000:]
    assert SHORT_ROOT in refused.flat and "rotation_force" in refused.flat
    rotate, *arguments = playbook_arguments(GUIDE, "rotation_force")
    adopted = expired.play("playbooks/adopt.yml", *arguments)
    assert adopted.rc == 0, adopted.output[-6000:]
    assert_mesh_works(expired, root)

    identity = expired.let_short_root_sign(360)
    wait_for_expiry(expired, identity)
    issuer = base64.b64decode(secret(expired)["tls.crt"]).decode()
    assert issuer.strip() == Path(identity["issuer.pem"]).read_text().strip()
    rotated = expired.play(rotate, *arguments)
    assert rotated.rc == 0, rotated.output[-6000:]
    assert_mesh_works(expired, root)
