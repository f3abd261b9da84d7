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
from support.issuers import GROUP, RootCA, ca_issuer, standin_issuer
from support.lab import until, version_of

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
# Objects that an earlier test applies with kubectl, as a GitOps controller does.
FROM_GIT = [
    f"Certificate linkerd/{IDENTITY}",
    "Bundle linkerd-identity-trust-roots",
    "ConfigMap cert-manager/linkerd-trust-anchors",
    "ServiceAccount linkerd/vault-issuer",
    "Role linkerd/vault-issuer-token",
    "RoleBinding linkerd/vault-issuer-token",
    "Issuer linkerd/vault",
]


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

    def objects(self) -> dict[str, tuple[str, ...]]:
        """Everything in the cluster by name, with its version."""
        listed = self.get(THEIRS, "--all-namespaces")["items"] + self.get(THEIRS_IN_THE_CLUSTER)["items"]
        return {
            f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}": version_of(item)
            for item in listed
        }

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


@pytest.fixture
def by_token(mesh, monkeypatch):
    """The cluster in the environment, as the automation platform gives it; no kubeconfig."""
    mesh.kubectl("create", "serviceaccount", "ansible", "-n", "kube-system")
    role = ("--clusterrole=cluster-admin", "--serviceaccount=kube-system:ansible")
    mesh.kubectl("create", "clusterrolebinding", "ansible", *role)
    config = json.loads(mesh.kubectl("config", "view", "--raw", "-o", "json"))["clusters"][0]["cluster"]
    ca = mesh.home / "cluster-ca.pem"
    ca.write_bytes(base64.b64decode(config["certificate-authority-data"]))
    token = mesh.kubectl("create", "token", "ansible", "-n", "kube-system", "--duration=2h").strip()
    for name, value in {
        "HOST": config["server"],
        "API_KEY": token,
        "SSL_CA_CERT": str(ca),
        "VERIFY_SSL": "True",
    }.items():
        monkeypatch.setenv(f"K8S_AUTH_{name}", value)
    return token


def test_a_cluster_by_host_and_token(mesh, by_token):
    """The default kubeconfig of the sandbox leads to a port that nobody listens on."""
    variables = {**CERTIFICATES, "pki_kubernetes": {}}
    run = mesh.play("playbooks/site.yml", variables=variables)
    assert (run.rc, run.changed) == (0, 0), run.output[-4000:]
    verified = mesh.play("playbooks/verify.yml", variables=variables)
    assert (verified.rc, verified.changed) == (0, 0), verified.output[-4000:]
    assert by_token not in run.output + verified.output


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
    assert "pki_manage" in run.flat


def test_vault_follows_the_keys_of_a_cluster_that_shows_them(mesh):
    """Static keys with their reason at first. The administrator's binding lets Vault read the key set."""
    config = f"{VAULT_NAMESPACE}/auth/jwt-production/config"
    assert mesh.vault("GET", config, None, mesh.token)[1]["data"]["jwt_validation_pubkeys"]
    assert any("/openid/v1/jwks" in run.flat and "with another key" in run.flat for run in mesh.runs)
    group = ("--clusterrole=system:service-account-issuer-discovery", "--group=system:unauthenticated")
    mesh.kubectl("create", "clusterrolebinding", "issuer-discovery", *group)
    variables = {"pki_manage": "vault"}
    run = mesh.play("playbooks/site.yml", variables=variables)
    assert (run.rc, run.changed) == (0, 1), run.output[-4000:]
    written = mesh.vault("GET", config, None, mesh.token)[1]["data"]
    assert written["jwks_url"].endswith(":6443/openid/v1/jwks") and not written["jwt_validation_pubkeys"]
    again = mesh.play("playbooks/site.yml", variables=variables)
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    mesh.kubectl("delete", "secret", IDENTITY, "-n", "linkerd")
    mesh.kubectl("wait", f"secret/{IDENTITY}", "-n", "linkerd", "--for=create", "--timeout=300s")
    assert "Vault verified" in mesh.kubectl("get", "issuer", "vault", "-n", "linkerd", "-o", "jsonpath={.status}")


@pytest.mark.parametrize("kind", ["CA issuer of cert-manager", "stand-in for an external issuer"])
def test_another_issuer_signs_the_identity_issuer(mesh, kind):
    """The last tests: afterwards the mesh differs from Vault."""
    root = RootCA(mesh, kind.split()[0])
    named = {"linkerd_issuer_name": "own-ca"}
    if kind.startswith("stand-in"):
        named = {"linkerd_issuer_name": "one", "linkerd_issuer_kind": "StandInIssuer", "linkerd_issuer_group": GROUP}
    else:
        ca_issuer(mesh, root, "own-ca")
    anchors = [mesh.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt"), root.pem]
    variables = {**CERTIFICATES, **named, "linkerd_trust_anchors": anchors, "pki_take_over": FROM_GIT}
    with standin_issuer(mesh, root) as issuer:
        run = mesh.play("playbooks/site.yml", "--tags", "linkerd", variables=variables)
        assert run.rc == 0, f"{issuer.signed} {issuer.errors[-3:]} {run.output[-4000:]}"
        until(lambda: root.issued(mesh.issuer()))
        again = mesh.play("playbooks/site.yml", "--tags", "linkerd", variables=variables)
        assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    assert bool(issuer.signed) == kind.startswith("stand-in")
