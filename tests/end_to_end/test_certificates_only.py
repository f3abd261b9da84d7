# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pki_manage=certificates and render.yml, for a cluster whose charts come from Helm and a Vault with namespaces."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from support.company import Company

VAULT_NAMESPACE = "team-mesh"
CERTIFICATES = {"pki_manage": "certificates"}
THEIRS = "namespaces,configmaps,secrets,serviceaccounts,deployments,services,roles,rolebindings,cronjobs"
THEIRS_IN_THE_CLUSTER = (
    "customresourcedefinitions,clusterroles,clusterrolebindings,"
    "mutatingwebhookconfigurations,validatingwebhookconfigurations"
)
IDENTITY = "linkerd-identity-issuer"
# What the run creates, and what controllers create from it.
OURS = {
    "Secret linkerd/vault-ca",
    f"Secret linkerd/{IDENTITY}",
    "ServiceAccount linkerd/vault-issuer",
    "Role linkerd/vault-issuer-token",
    "RoleBinding linkerd/vault-issuer-token",
    "ConfigMap cert-manager/linkerd-trust-anchors",
    "ConfigMap linkerd/linkerd-identity-trust-roots",
}


class GitOps(Company):
    """Charts of cert-manager, trust-manager and Linkerd that are installed before any playbook runs."""

    name = "gitops"

    def create(self) -> None:
        super().create()
        assert self.vault("POST", f"sys/namespaces/{VAULT_NAMESPACE}", {}, self.token)[0] == 200
        charts = self.parts["charts"]
        self.kubectl("apply", "--server-side", "-f", self.parts["gateway_api_crds"])
        self.kubectl("create", "namespace", "linkerd")
        self.helm("cert-manager", charts["cert_manager"], "cert-manager", "crds.enabled=true",
                  "startupapicheck.enabled=false", "replicaCount=2", "podLabels.team=platform")  # fmt: skip
        self.helm("trust-manager", charts["trust_manager"], "cert-manager", "defaultPackage.enabled=false")
        self.helm("linkerd-crds", charts["linkerd_crds"], "linkerd")
        # Its pods wait for the certificates, so nothing waits for them here.
        values = {**self.parts["linkerd_values"], "podLabels": {"team": "platform"}}
        values["identity"] = {"externalCA": True, "issuer": {"scheme": "kubernetes.io/tls"}}
        (self.home / "values.json").write_text(json.dumps(values))
        self.run("helm", "install", "linkerd-control-plane", charts["linkerd_control_plane"], "--namespace=linkerd",
                 f"--values={self.home}/values.json")  # fmt: skip

    def helm(self, release: str, chart: str, namespace: str, *values: str) -> None:
        given = [f"--set={value}" for value in values]
        self.run("helm", "install", release, chart, f"--namespace={namespace}", "--create-namespace", "--wait", *given)

    def extra_variables(self) -> dict:
        return {
            **super().extra_variables(),
            "pki_vault_namespace": VAULT_NAMESPACE,
            "pki_trust_namespace": "cert-manager",
        }

    def objects(self) -> dict[str, object]:
        """Everything in the cluster by name: its resource version, of a Deployment its generation.

        The status of a Deployment changes when its pods find the certificates.
        """
        found: dict[str, object] = {}
        listed = self.get(THEIRS, "--all-namespaces")["items"] + self.get(THEIRS_IN_THE_CLUSTER)["items"]
        for item in listed:
            meta = item["metadata"]
            version = meta["generation"] if item["kind"] == "Deployment" else meta["resourceVersion"]
            found[f"{item['kind']} {meta.get('namespace', '')}/{meta['name']}"] = (meta["uid"], version)
        return found

    def root(self) -> str:
        """By Vault itself, in its namespace."""
        return self.vault("GET", f"{VAULT_NAMESPACE}/pki/issuer/linkerd-root-1/json")[1]["data"]["certificate"]

    def issuer(self) -> str:
        return base64.b64decode(self.data("secret", IDENTITY, "tls.crt")).decode()


@pytest.fixture(scope="module")
def company():
    with GitOps.sandbox() as company:
        company.create()
        yield company


@pytest.fixture(scope="module")
def before(company):
    return company.objects()


@pytest.fixture(scope="module")
def mesh(company, before):
    checked = company.play("playbooks/site.yml", "--check", "--diff", variables=CERTIFICATES)
    assert checked.rc == 0, checked.output[-4000:]
    assert company.objects() == before
    run = company.play("playbooks/site.yml", "--diff", variables=CERTIFICATES)
    assert run.rc == 0, run.output[-4000:]
    return company


def test_the_mesh_is_verified_and_nothing_but_certificates_is_new(mesh, before):
    after = mesh.objects()
    assert {name: after.get(name) for name in before} == before
    assert set(after) - set(before) == OURS
    assert mesh.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt").strip() == mesh.root().strip()
    verified = mesh.play("playbooks/verify.yml", variables=CERTIFICATES)
    assert (verified.rc, verified.changed) == (0, 0), verified.output[-4000:]
    mesh.run("linkerd", "check", f"--expected-version={mesh.parts['linkerd_version']}")


def test_a_second_run_changes_nothing(mesh, before):
    for arguments in ((), ("--check", "--diff")):
        again = mesh.play("playbooks/site.yml", *arguments, variables=CERTIFICATES)
        assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    after = mesh.objects()
    assert {name: after.get(name) for name in before} == before


def test_everything_is_in_the_namespace_of_vault(mesh):
    """Nothing in the root namespace, and addresses in the certificates that lead into the namespace."""
    engines = mesh.vault("GET", "sys/mounts", None, mesh.token)[1]["data"]
    methods = mesh.vault("GET", "sys/auth", None, mesh.token)[1]["data"]
    policies = mesh.vault("GET", "sys/policies/acl?list=true", None, mesh.token)[1]["data"]["keys"]
    assert "pki/" not in engines and "jwt-production/" not in methods
    assert "linkerd-identity-issuer-production" not in policies
    shown = mesh.run("openssl", "x509", "-noout", "-text", given=mesh.issuer())
    for path in ("ca", "crl"):
        assert f"URI:{mesh.vault_server}/v1/{VAULT_NAMESPACE}/pki/{path}" in shown


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def rendered(mesh):
    folder = mesh.home / "git"
    run = mesh.play("playbooks/render.yml", variables={"pki_render_dir": str(folder)})
    assert run.rc == 0, run.output[-4000:]
    return folder


def test_rendered_manifests_are_the_same_each_time(mesh, rendered):
    first = files(rendered)
    assert set(first) == {
        "production/manifests/vault-issuer.yaml",
        "production/manifests/identity-issuer.yaml",
        "production/manifests/trust-anchors.yaml",
        "production/values/linkerd-control-plane.yaml",
    }
    again = mesh.play("playbooks/render.yml", variables={"pki_render_dir": str(rendered)})
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    assert files(rendered) == first


def test_rendered_manifests_hold_no_secret(mesh, rendered):
    for name, content in files(rendered).items():
        assert b"PRIVATE KEY" not in content, name
        assert mesh.token.encode() not in content, name
        assert b"kind: Secret" not in content, name


def test_the_api_server_accepts_the_manifests_and_they_issue(mesh, rendered, before):
    """As in a cluster whose objects come from Git from the start. Ansible's own issuer has the CA in a Secret."""
    manifests = str(rendered / "production" / "manifests")
    mesh.kubectl("delete", "issuer", "vault", "-n", "linkerd")
    dry = mesh.run("kubectl", "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", manifests)
    assert dry.count("serverside-applied") == 7, dry
    mesh.run("kubectl", "apply", "--dry-run=server", "-f", manifests)
    mesh.run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", manifests)
    mesh.kubectl("wait", "issuer/vault", "-n", "linkerd", "--for=condition=Ready", "--timeout=300s")
    mesh.kubectl("delete", "secret", IDENTITY, "-n", "linkerd")
    mesh.kubectl("wait", f"secret/{IDENTITY}", "-n", "linkerd", "--for=create", "--timeout=300s")
    (mesh.home / "root.pem").write_text(mesh.root())
    (mesh.home / "issuer.pem").write_text(mesh.issuer())
    assert "OK" in mesh.run("openssl", "verify", "-CAfile", f"{mesh.home}/root.pem", f"{mesh.home}/issuer.pem")


def test_with_objects_from_git_only_vault_is_managed(mesh, before):
    objects = mesh.objects()
    run = mesh.play("playbooks/site.yml", variables={"pki_manage": "vault"})
    assert (run.rc, run.changed) == (0, 0), run.output[-4000:]
    assert mesh.objects() == objects


def test_an_unknown_value_is_refused(mesh):
    run = mesh.play("playbooks/site.yml", variables={"pki_manage": "charts"})
    assert run.rc != 0 and run.changed == 0
    assert "Set it to all, certificates or vault" in run.flat
