# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Vault that was restarted, teardown.yml, and runs without an existing mesh."""

from __future__ import annotations

import json

import pytest
from support.lab import CREATION_TIMEOUT, PREFIX

UNRELATED = f"{PREFIX}unrelated"


@pytest.fixture
def mesh(expendable_mesh):
    """The mesh as site.yml created it."""
    expendable_mesh.ensure()
    return expendable_mesh


@pytest.fixture
def running(expendable_mesh):
    """A cluster and a Vault that are running, with any content."""
    names = expendable_mesh.run("docker", "ps", "--format", "{{.Names}}").split()
    if not {expendable_mesh.names.vault, expendable_mesh.server} <= {*names}:
        expendable_mesh.ensure()
    return expendable_mesh


@pytest.fixture
def empty(expendable_mesh):
    """No cluster, no Vault, no network."""
    expendable_mesh.remove()
    return expendable_mesh


def test_restarted_dev_vault_without_root_fails(mesh):
    mesh.run("docker", "restart", mesh.names.vault)
    run = mesh.play("playbooks/site.yml", "--tags", "vault_dev,vault_pki")
    assert run.rc != 0
    for named in (f"[anchors_disjoint] {mesh.cluster}:", "linkerd-root-1"):
        assert named in run.flat, named
    assert "teardown" not in run.flat  # a mesh may be running
    assert run.changed == 0
    run = mesh.play("playbooks/verify.yml")
    assert run.rc != 0
    assert "[vault_unreadable]" in run.flat  # a dev Vault loses its engines, too


def test_teardown_requires_confirmation(running):
    run = running.play("playbooks/teardown.yml")
    assert run.rc != 0
    assert "pki_confirm=yes" in run.flat
    assert running.container()["State"]["Running"]


def test_teardown_removes_created_objects_only(running):
    mesh = running
    mesh.run("docker", "network", "create", UNRELATED)
    try:
        predicted = mesh.play("playbooks/teardown.yml", "--check")
        assert predicted.rc == 0, predicted.output[-3000:]
        assert predicted.changed > 0
        run = mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes")
        assert run.rc == 0, run.output[-3000:]
        names = mesh.run("docker", "ps", "--all", "--format", "{{.Names}}").split()
        assert not [name for name in names if name == mesh.names.vault or name.startswith(f"k3d-{mesh.cluster}")]
        networks = mesh.run("docker", "network", "ls", "--format", "{{.Name}}").split()
        assert mesh.names.network not in networks
        assert UNRELATED in networks
        assert not mesh.kubeconfig.exists()
        again = mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes")
        assert (again.rc, again.changed) == (0, 0)
    finally:
        mesh.run("docker", "network", "rm", UNRELATED)


def test_teardown_leaves_a_cluster_of_others_with_the_same_name(empty):
    mesh = empty
    mesh.run(
        "k3d", "cluster", "create", mesh.cluster, "--image", mesh.parts["node_image"], "--no-lb", CREATION_TIMEOUT,
        "--kubeconfig-update-default=false",
    )  # fmt: skip
    try:
        for arguments in (["--check"], ["-e", "pki_confirm=yes"]):
            run = mesh.play("playbooks/teardown.yml", *arguments)
            assert (run.rc, run.changed) == (0, 0), run.output[-3000:]
            assert f"The cluster {mesh.cluster} stays" in run.flat
            assert "Vault and its root stay" in run.flat
        assert mesh.container(mesh.server)["State"]["Running"]
    finally:
        mesh.run("k3d", "cluster", "delete", mesh.cluster)


def test_mesh_in_an_existing_cluster_is_removed_with_the_vault_on_this_machine(mesh):
    """Also without that Vault: one that was stopped has lost all its data."""
    existing = {"pki_with_k3d": False}
    policy = f"sys/policies/acl/linkerd-identity-issuer-{mesh.cluster}"
    confirmed = ("playbooks/teardown.yml", "-e", "pki_confirm=yes")
    assert mesh.vault("GET", policy, None, mesh.root_token())[0] == 200
    predicted = mesh.play("playbooks/teardown.yml", "--check", variables=existing)
    assert predicted.rc == 0 and predicted.changed > 0, predicted.output[-4000:]
    run = mesh.play(*confirmed, "--tags", "linkerd,trust_manager,vault_issuer", variables=existing)
    assert run.rc == 0, run.output[-4000:]
    assert mesh.vault("GET", policy, None, mesh.root_token())[0] == 404
    mesh.run("docker", "stop", mesh.names.vault)
    run = mesh.play(*confirmed, variables=existing)
    assert run.rc == 0, run.output[-4000:]
    assert mesh.run("helm", "list", "--all-namespaces", "--short") == ""
    assert mesh.names.vault not in mesh.run("docker", "ps", "--all", "--format", "{{.Names}}").split()
    assert mesh.kubectl("get", "nodes", "-o", "name")
    again = mesh.play(*confirmed, variables=existing)
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]


def test_check_mode_completes_without_cluster_and_vault(empty):
    run = empty.play("playbooks/site.yml", "--check", "--diff")
    assert run.rc == 0, run.output[-3000:]
    assert "cannot predict" in run.flat
    assert empty.names.vault not in empty.run("docker", "ps", "--all", "--format", "{{.Names}}")


def test_custom_names_in_existing_cluster_and_vault(empty):
    """As with inventories/existing: a namespaced Issuer, and trust anchors from Vault."""
    mesh = empty
    assert mesh.play("playbooks/site.yml", "--tags", "k3d_cluster,vault_dev").rc == 0
    address = mesh.container()["NetworkSettings"]["Networks"][mesh.names.network]["IPAddress"]
    variables = {
        "pki_with_k3d": False,
        "pki_with_vault_dev": False,
        "pki_vault": {"url": mesh.vault_url, "auth_method": "token", "token": mesh.root_token()},
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
    assert lost.rc != 0 and "[anchors_disjoint]" in lost.flat, lost.output[-4000:]
    selected = mesh.kubectl(
        "get", "configmap", "-A", "-o", "name", "--field-selector=metadata.name=linkerd-identity-trust-roots"
    )
    assert len(selected.split()) == 1

    teardown = mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes", variables=variables)
    assert teardown.rc == 0, teardown.output[-4000:]
    assert mesh.run("helm", "list", "--all-namespaces", "--short") == ""
    assert (
        mesh.kubectl("get", "issuers,serviceaccounts,roles", "-n", "mesh", "-o", "name") == "serviceaccount/default\n"
    )
    assert mesh.container()["State"]["Running"]
    nodes = mesh.kubectl("get", "nodes", "-o", "name")
    assert nodes
    assert mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes", variables=variables).changed == 0
