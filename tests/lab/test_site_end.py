# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends the mesh: run last, in this order."""

from __future__ import annotations

import json
from pathlib import Path

KUBECONFIG = Path("~/.config/k3d/kubeconfig-pki-cluster.yaml").expanduser()


def test_a_vault_that_lost_its_memory_is_recognised(mesh):
    mesh.run("docker", "restart", "vault")
    run = mesh.play("playbooks/site.yml", "--tags", "vault_dev,vault_pki")
    assert run.rc != 0
    assert "Vault has no root linkerd-root-1 in pki, but the cluster k3d-pki-cluster trusts another one" in run.flat
    assert "make demo FRESH=1" in run.flat
    assert run.changed == 0
    run = mesh.play("playbooks/verify.yml")
    assert run.rc != 0
    assert "Vault could not be asked for its issuers" in run.flat  # a dev Vault forgets its engines too


def test_teardown_asks_first(mesh):
    run = mesh.play("playbooks/teardown.yml")
    assert run.rc != 0
    assert "Nothing was removed" in run.flat
    assert mesh.container()["State"]["Running"]


def test_teardown_removes_what_was_made_and_nothing_else(mesh):
    mesh.run("docker", "network", "create", "not-ours")
    try:
        predicted = mesh.play("playbooks/teardown.yml", "--check")
        assert predicted.rc == 0, predicted.output[-3000:]
        assert predicted.changed > 0
        run = mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes")
        assert run.rc == 0, run.output[-3000:]
        names = mesh.run("docker", "ps", "--all", "--format", "{{.Names}}").split()
        assert not [name for name in names if name == "vault" or name.startswith("k3d-pki-cluster")]
        networks = mesh.run("docker", "network", "ls", "--format", "{{.Name}}").split()
        assert "pki-network" not in networks
        assert "not-ours" in networks
        assert not KUBECONFIG.exists()
        again = mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes")
        assert (again.rc, again.changed) == (0, 0)
    finally:
        mesh.run("docker", "network", "rm", "not-ours")


def test_a_check_of_a_fresh_system_gets_to_the_end(mesh):
    run = mesh.play("playbooks/site.yml", "--check", "--diff")
    assert run.rc == 0, run.output[-3000:]
    assert "cannot be predicted" in run.flat
    assert mesh.run("docker", "ps", "--all", "--quiet", "--filter", "name=vault") == ""


def test_names_of_ones_own_in_a_cluster_and_a_vault_of_somebody_else(mesh):
    """As with inventories/existing: nothing made but in them, a namespaced Issuer, anchors from Vault."""
    assert mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes").rc == 0
    assert mesh.play("playbooks/site.yml", "--tags", "k3d_cluster,vault_dev").rc == 0
    address = mesh.container()["NetworkSettings"]["Networks"]["pki-network"]["IPAddress"]
    variables = {
        "pki_with_k3d": False,
        "pki_with_vault_dev": False,
        "pki_vault": {"url": "http://127.0.0.1:8200", "auth_method": "token", "token": mesh.root_token()},
        "pki_vault_server": f"http://{address}:8200",
        "pki_issuer_kind": "Issuer",
        "pki_vault_auth": "jwt",
        "trust_manager_forbid_secrets": True,
        "pki_trust_namespace": "linkerd-trust",
        "linkerd_trust_source": "anchors",
        "pki_linkerd_namespace": "mesh",
        "pki_cert_manager_release": "cm",
        "trust_manager_release": "tm",
        "pki_vault_mount": "mesh-pki",
        "vault_issuer_cluster": "plant-7",
        "vault_issuer_service_account": "signer",
    }
    run = mesh.play("playbooks/site.yml", variables=variables)
    assert run.rc == 0, run.output[-4000:]
    again = mesh.play("playbooks/site.yml", variables=variables)
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    assert mesh.play("playbooks/verify.yml", variables=variables).rc == 0
    issuer = json.loads(mesh.kubectl("get", "issuer", "vault", "-n", "mesh", "-o", "json"))["spec"]["vault"]
    assert issuer["path"] == "mesh-pki/issuer/linkerd-root-1/sign-intermediate"
    assert issuer["auth"]["kubernetes"]["mountPath"] == "/v1/auth/jwt-plant-7"
    assert mesh.data("configmap", "linkerd-trust-anchors", "ca-bundle.crt", "linkerd-trust")
    assert mesh.kubectl("get", "clusterissuers", "-o", "name") == ""
    lost = mesh.play("playbooks/site.yml", "--tags", "vault_pki", variables={**variables, "pki_vault_mount": "empty"})
    assert lost.rc != 0 and "trusts another one" in lost.flat, lost.output[-4000:]
    selected = mesh.kubectl(
        "get", "configmap", "-A", "-o", "name", "--field-selector=metadata.name=linkerd-identity-trust-roots"
    )
    assert len(selected.split()) == 1

    gone = mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes", variables=variables)
    assert gone.rc == 0, gone.output[-4000:]
    assert mesh.run("helm", "list", "--all-namespaces", "--short") == ""
    assert (
        mesh.kubectl("get", "issuers,serviceaccounts,roles", "-n", "mesh", "-o", "name") == "serviceaccount/default\n"
    )
    assert mesh.container()["State"]["Running"]
    nodes = mesh.kubectl("get", "nodes", "-o", "name")
    assert nodes
    assert mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes", variables=variables).changed == 0
