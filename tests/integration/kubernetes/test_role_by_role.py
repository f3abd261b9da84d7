# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles without the playbooks: each call checks its own cluster with its own variables. A real API server."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support.plays import THIS_HOST
from support.ports import free_port
from support.running_mesh import controller, root, running_mesh

ROOT = Path(__file__).resolve().parents[3]
SPACE = "role-by-role"
CORE = f"/api/v1/namespaces/{SPACE}"
OWN = {"app.kubernetes.io/managed-by": "servicemesh.pki"}
NO_VAULT = f"http://127.0.0.1:{free_port()}"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{SPACE}/deployments"


@pytest.fixture
def play(kubernetes, tmp_path):
    """A function that runs tasks, and returns whether they succeeded and the output. Context away does not respond."""
    config = json.loads(kubernetes.kubeconfig.read_text())
    away = {"server": f"https://127.0.0.1:{free_port()}", "insecure-skip-tls-verify": True}
    config["clusters"].append({"name": "away", "cluster": away})
    config["contexts"].append({"name": "away", "context": {"cluster": "away", "user": "u"}})
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    kubernetes.namespace(SPACE)

    def run(*tasks: dict) -> tuple[bool, str]:
        head = {"hosts": "localhost", "gather_facts": False}
        variables = {**THIS_HOST, "linkerd_check": False, "cert_manager_namespace": SPACE}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([{**head, "vars": variables, "tasks": list(tasks)}]))
        command = ["ansible-playbook", "-i", "localhost,", tmp_path / "play.yml"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode == 0, " ".join((done.stdout + done.stderr).split())

    run.reach = lambda context: {"kubeconfig": str(tmp_path / "kubeconfig"), "context": context}
    return run


def role(name: str, entry: str, **variables: object) -> dict:
    call = {"name": f"servicemesh.pki.{name}", "tasks_from": entry}
    return {"ansible.builtin.include_role": call, "vars": variables}


@pytest.fixture
def cert_manager_of_others(kubernetes):
    kubernetes.namespace(SPACE)
    kubernetes.call("POST", DEPLOYMENTS, controller("cert-manager", "cert-manager-controller"))
    yield
    kubernetes.call("DELETE", f"{DEPLOYMENTS}/cert-manager")


def test_second_cluster_of_a_play_is_checked(play, cert_manager_of_others):
    calls = {
        name: role("cert_manager", "install", cert_manager_kubernetes=play.reach(name)) for name in ("test", "away")
    }
    ok, output = play(calls["test"], calls["test"])
    assert ok, output
    assert output.count("TASK [servicemesh.pki.preflight : Read what the cluster has]") == 1
    ok, output = play(calls["test"], calls["away"])
    assert not ok and "[cluster_unreachable]" in output, output


@pytest.fixture
def mesh(kubernetes, tmp_path):
    """The root's certificate of a running mesh."""
    with running_mesh(kubernetes, tmp_path, SPACE) as live:
        yield live


@pytest.mark.parametrize(
    ("entry", "end"),
    [
        ("certificates_only", "CustomResourceDefinition bundles.trust.cert-manager.io does not exist"),
        ("mesh", "TASK [servicemesh.pki.kubernetes_objects"),
    ],
)
def test_anchors_are_checked_in_the_namespace_of_the_role(play, mesh, tmp_path, entry, end):
    """Also after an earlier call without trust anchors, which cannot check them.

    With trust anchors that match, the role continues until it uses custom resource definitions, which are missing.
    """
    reach = {"linkerd_kubernetes": play.reach("test"), "linkerd_namespace": SPACE}
    before = role("linkerd", "namespace", **reach)
    ok, output = play(before)
    assert ok, output
    other = root(tmp_path, "other")
    for calls in ([], [before], [role("linkerd", "namespace", linkerd_trust_anchors=[mesh], **reach)]):
        ok, output = play(*calls, role("linkerd", entry, linkerd_trust_anchors=[other], **reach))
        assert not ok and "[anchors_disjoint]" in output, output
        assert end not in output
    ok, output = play(before, role("linkerd", entry, linkerd_trust_anchors=[mesh, other], **reach))
    assert "[anchors_disjoint]" not in output and "[anchor_missing]" not in output
    assert not ok and end in output, output


def test_namespace_checks_the_anchors_that_it_is_given(play, mesh, tmp_path):
    reach = {"linkerd_kubernetes": play.reach("test"), "linkerd_namespace": SPACE}
    ok, output = play(role("linkerd", "namespace", linkerd_trust_anchors=[root(tmp_path, "other")], **reach))
    assert not ok and "[anchors_disjoint]" in output, output


@pytest.fixture
def remove_issuer(play, kubernetes):
    """A function that runs an entry point of the role vault_issuer with state absent. Its Vault does not respond.

    It returns whether the run succeeded, whether the service account of the issuer still exists, and the output.
    """
    accounts = f"{CORE}/serviceaccounts"
    kubernetes.call("POST", accounts, {"metadata": {"name": "vault-issuer", "labels": OWN}})

    def exists() -> bool:
        return "vault-issuer" in [one["metadata"]["name"] for one in kubernetes.call("GET", accounts)["items"]]

    def run(entry: str) -> tuple[bool, bool, str]:
        absent = role(
            "vault_issuer", entry, vault_issuer_state="absent", vault_issuer_kubernetes=play.reach("test"),
            vault_issuer_namespace=SPACE, vault_issuer_connection={"url": NO_VAULT, "token": "x"},
            vault_issuer_auth="token",
        )  # fmt: skip
        ok, output = play(absent)
        return ok, exists(), output

    yield run
    if exists():
        kubernetes.call("DELETE", f"{accounts}/vault-issuer")


@pytest.mark.parametrize("entry", ["main", "issuer"])
def test_issuer_stays_while_linkerd_runs(remove_issuer, kubernetes, entry):
    """The role would otherwise remove the policy and the auth method, with which cert-manager renews the issuer."""
    kubernetes.call("POST", DEPLOYMENTS, controller("linkerd-identity", "identity"))
    ok, is_left, output = remove_issuer(entry)
    kubernetes.call("DELETE", f"{DEPLOYMENTS}/linkerd-identity")
    assert (ok, is_left) == (True, True), output


def test_issuer_stays_if_vault_does_not_respond(remove_issuer):
    ok, is_left, output = remove_issuer("main")
    assert (ok, is_left) == (False, True) and NO_VAULT in output, output


def test_issuer_is_removed_without_vault(remove_issuer, kubernetes):
    """With the Secret that contains its credential, unless others created it."""
    secrets = f"{CORE}/secrets"
    for name, labels in (("vault-token", OWN), ("vault-secret-id", {})):
        kubernetes.call("POST", secrets, {"metadata": {"name": name, "labels": labels}})
    ok, is_left, output = remove_issuer("issuer")
    found = [one["metadata"]["name"] for one in kubernetes.call("GET", secrets)["items"]]
    kubernetes.call("DELETE", f"{secrets}/vault-secret-id")
    assert (ok, is_left, found) == (True, False, ["vault-secret-id"]), output
    assert f"Secret {SPACE}/vault-secret-id stays" in output, output


def test_issuer_of_others_that_is_taken_over_keeps_no_auth_method(play, kinds):
    """cert-manager refuses an issuer with two of them (pkg/issuer/vault/setup.go)."""
    issuers = f"/apis/cert-manager.io/v1/namespaces/{SPACE}/issuers"
    secret = {"name": "theirs", "key": "token"}
    auth = {
        "tokenSecretRef": secret, "appRole": {"path": "approle", "roleId": "x", "secretRef": secret},
        "clientCertificate": {"name": "x"}, "aws": {"role": "x"}, "kubernetes": {"role": "x", "secretRef": secret},
    }  # fmt: skip
    vault = {"server": "https://theirs.test", "path": "pki/sign/x", "auth": auth}
    kubernetes_object = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "vault"}}
    kinds.call("POST", issuers, {**kubernetes_object, "spec": {"vault": vault}})
    item = f"Issuer {SPACE}/vault"
    variables = {
        "vault_issuer_kubernetes": play.reach("test"), "vault_issuer_namespace": SPACE, "vault_issuer_wait": False,
        "vault_issuer_server": "https://vault.test", "vault_issuer_cluster": "berlin",
    }  # fmt: skip
    for entry in ("issuer", "main"):
        ok, output = play(role("vault_issuer", entry, **variables))
        found = set(re.findall(r"\[(\w+)\] localhost: (\w+ \S+)", output))
        assert (ok, found) == (False, {("object_unmanaged", item)}), output
        assert kinds.call("GET", f"{issuers}/vault")["spec"]["vault"] == vault
    ok, output = play(role("vault_issuer", "issuer", vault_issuer_take_over=[item], **variables))
    found = kinds.call("GET", f"{issuers}/vault")["spec"]["vault"]["auth"]
    kinds.call("DELETE", f"{issuers}/vault")
    account = {"name": "vault-issuer"}
    expected = {"mountPath": "/v1/auth/jwt-berlin", "role": "linkerd-identity-issuer-berlin"}
    assert (ok, found) == (True, {"kubernetes": {**expected, "serviceAccountRef": account}}), output


def test_rotation_reads_the_owners_of_all_that_it_writes(play, kubernetes, tmp_path):
    """Phase 2 writes the ConfigMap with the trust anchors, phase 4 what the issuer needs."""
    space = "rotation-reads"
    core = f"/api/v1/namespaces/{space}"
    kubernetes.namespace(space)
    created = {
        f"{core}/serviceaccounts": {"metadata": {"name": "vault-issuer"}},
        f"{core}/secrets": {"metadata": {"name": "vault-ca"}},
        f"{core}/configmaps": {"metadata": {"name": "linkerd-trust-anchors"}},
    }
    for path, body in created.items():
        kubernetes.call("POST", path, body)
    variables = {
        "rotation_namespace": space, "pki_linkerd_namespace": space, "pki_kubernetes": play.reach("test"),
        "pki_vault_ca_certificate": kubernetes.ca_file.read_text(), "pki_vault_auth": "kubernetes",
    }  # fmt: skip
    read = {"ansible.builtin.include_tasks": str(ROOT / "playbooks/tasks/rotate/components.yml"), "vars": variables}
    result = {"content": "{{ rotation_components | to_json }}", "dest": str(tmp_path / "result")}
    ok, output = play(read, {"ansible.builtin.copy": result})
    for path, body in created.items():
        kubernetes.call("DELETE", f"{path}/{body['metadata']['name']}")
    assert ok, output
    found = json.loads((tmp_path / "result").read_text())
    read = [*found["objects"], *found["anchor_sources"]]
    others = {f"{one['kind']} {one['name']}" for one in read if one["exists"] and not one["managed"]}
    assert others == {"ServiceAccount vault-issuer", "Secret vault-ca", "ConfigMap linkerd-trust-anchors"}
    missing = {one["kind"] for one in read if not one["exists"]}
    assert missing >= {"Bundle", "Certificate", "Issuer", "Role", "RoleBinding", "ClusterRoleBinding"}


@pytest.mark.parametrize("state", ["runs", "is gone"])
def test_quota_is_removed_with_trust_manager(play, kubernetes, state):
    quotas = f"{CORE}/resourcequotas"
    own = {"name": "no-secrets", "labels": OWN}
    kubernetes.call("POST", quotas, {"metadata": own, "spec": {"hard": {"count/secrets": "0"}}})
    if state == "runs":
        kubernetes.call("POST", DEPLOYMENTS, controller("trust-manager", "trust-manager"))
    absent = role(
        "trust_manager", "main", trust_manager_state="absent", trust_manager_kubernetes=play.reach("test"),
        trust_manager_namespace=SPACE, trust_manager_trust_namespace=SPACE,
    )  # fmt: skip
    ok, output = play(absent)
    left = [one["metadata"]["name"] for one in kubernetes.call("GET", quotas)["items"]]
    assert (ok, left) == (True, ["no-secrets"] if state == "runs" else []), output
    if state == "runs":
        kubernetes.call("DELETE", f"{DEPLOYMENTS}/trust-manager")
        kubernetes.call("DELETE", f"{quotas}/no-secrets")


@pytest.mark.parametrize("forbids", [True, False])
def test_quota_is_removed_when_secrets_are_not_forbidden(play, kubernetes, forbids):
    quotas = f"{CORE}/resourcequotas"
    own = {"name": "no-secrets", "labels": OWN}
    kubernetes.call("POST", quotas, {"metadata": own, "spec": {"hard": {"count/secrets": "0"}}})
    kubernetes.call("POST", DEPLOYMENTS, controller("trust-manager", "trust-manager"))
    install = role(
        "trust_manager", "install", trust_manager_kubernetes=play.reach("test"), trust_manager_namespace=SPACE,
        trust_manager_trust_namespace=SPACE, trust_manager_forbid_secrets=forbids,
    )  # fmt: skip
    predicted, output = play({"check_mode": True, "block": [install]})
    assert predicted and kubernetes.call("GET", quotas)["items"], output
    ok, output = play(install)
    left = [one["metadata"]["name"] for one in kubernetes.call("GET", quotas)["items"]]
    assert (ok, left) == (True, ["no-secrets"] if forbids else []), output
    ok, output = play(install)
    assert ok and "changed=0" in output, output
    kubernetes.call("DELETE", f"{DEPLOYMENTS}/trust-manager")
    if forbids:
        kubernetes.call("DELETE", f"{quotas}/no-secrets")
