# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""inventories/existing with a cluster and a Vault that the collection did not create."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from datetime import datetime

import pytest
from support.company import Company
from support.identity_issuer import login_token, openssl_verifies, reissue, secret
from support.lab import until

from lab.sandbox import ROOT

PATH = "pki/issuer/linkerd-root-1/sign-intermediate"
IDENTITY = "identity.linkerd.cluster.local"
TRUST = ("linkerd-identity-trust-roots", "ca-bundle.crt")
BUILT_IN = {"kubernetes.io/tls", "helm.sh/release.v1"}
ENFORCE, AUDIT = "pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/audit"
# What the messages of preflight.yml advise, each on one line.
COMMANDS = (r"kubectl annotate crd .*? app\.kubernetes\.io/managed-by=Helm", r"kubectl label namespace linkerd [^)\n]+")
TOKENS = {"serviceaccount/vault-issuer", "role/vault-issuer-token", "rolebinding/vault-issuer-token"}
NEEDS = {
    "jwt": TOKENS,
    "kubernetes": TOKENS | {"clusterrolebinding/linkerd-vault-issuer-reviewer"},
    "approle": {"secret/vault-secret-id"},
    "token": {"secret/vault-token"},
}


@pytest.fixture(scope="module")
def company():
    with Company.sandbox() as company:
        company.create()
        yield company


@pytest.fixture(scope="module")
def predicted(company):
    return company.play("playbooks/site.yml", "--check", "--diff")


def definitions(company) -> dict[str, str]:
    """The CRDs of cert-manager with their identity."""
    metadata = [one["metadata"] for one in company.get("customresourcedefinitions")["items"]]
    return {one["name"]: one["uid"] for one in metadata if one["name"].endswith(".cert-manager.io")}


@pytest.fixture(scope="module")
def refused(company, predicted):
    """What others left: CRDs of cert-manager, from kubectl, and Linkerd's namespace with labels of Pod Security."""
    chart = company.parts["charts"]["cert_manager"]
    files = ("--set=crds.enabled=true", "--show-only=templates/crd-*.yaml")
    manifests = company.run("helm", "template", "cert-manager", chart, *files)
    company.kubectl("create", "-f", "-", given=manifests.replace("app.kubernetes.io/managed-by: Helm", ""))
    company.kubectl("create", "namespace", "linkerd")
    company.kubectl("label", "namespace", "linkerd", f"{ENFORCE}=baseline", f"{AUDIT}=restricted")
    company.left_behind = definitions(company)
    return company.play("playbooks/preflight.yml")


@pytest.fixture(scope="module")
def mesh(company, refused):
    message = refused.output.rpartition("must be solved first")[2]
    for command in COMMANDS:
        found = re.search(command, message)
        assert found, refused.output[-4000:]
        company.run("sh", "-c", found[0])
    run = company.play("playbooks/site.yml", "--diff")
    assert run.rc == 0, run.output[-4000:]
    return company


def test_check_mode_completes_without_certificates(company, predicted):
    assert predicted.rc == 0, predicted.output[-4000:]
    assert company.vault("GET", "pki/issuer/linkerd-root-1/json")[0] != 200
    assert company.run("helm", "list", "--all-namespaces", "--short") == ""


def test_what_others_left_is_used_after_the_commands_of_the_messages(mesh, refused):
    assert (refused.rc != 0, refused.changed) == (True, 0), refused.output[-4000:]
    for code in ("definitions_left_behind", "pod_security"):
        assert f"[{code}]" in refused.flat, code
    assert len(mesh.left_behind) == 6
    found = definitions(mesh)
    assert {name: found.get(name) for name in mesh.left_behind} == mesh.left_behind
    labels = mesh.get("namespace", "linkerd")["metadata"]["labels"]
    assert (labels[ENFORCE], labels[AUDIT]) == ("privileged", "restricted")


def test_site_is_idempotent_and_verify_passes(mesh):
    assert openssl_verifies(mesh, secret(mesh, "linkerd-identity-issuer", "tls.crt"))
    for arguments in ((), ("--check", "--diff"), ("--tags", "linkerd")):
        again = mesh.play("playbooks/site.yml", *arguments)
        assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    verified = mesh.play("playbooks/verify.yml")
    assert (verified.rc, verified.changed) == (0, 0), verified.output[-4000:]


def test_limit_without_vault_fails_before_any_change(mesh):
    run = mesh.play("playbooks/site.yml", "--limit", "production")
    assert run.rc != 0 and run.changed == 0
    assert "--limit 'company-vault,production'" in run.flat


def test_diff_shows_changed_field(mesh):
    run = mesh.play(
        "playbooks/site.yml", "--tags", "linkerd", "--check", "--diff", variables={"linkerd_identity_duration": "40h"}
    )
    assert (run.rc, run.changed) == (0, 1)
    assert re.search(r"^-\s+duration: 48h\n\+\s+duration: 40h$", run.output, re.MULTILINE), run.output[-4000:]


def test_trust_anchors_follow_namespace_selector(mesh):
    """A selector replaces the previous one, also an empty selector."""
    path = "jsonpath={.spec.target.namespaceSelector}"
    for selector in ({"matchLabels": {"linkerd.io/is-control-plane": "true"}}, {}, None):
        variables = {} if selector is None else {"linkerd_trust_selector": selector}
        run = mesh.play("playbooks/site.yml", "--tags", "linkerd", variables=variables)
        assert (run.rc, run.changed) == (0, 1), run.output[-4000:]
        found = mesh.kubectl("get", "bundle", "linkerd-identity-trust-roots", "-o", path)
        default = {"matchLabels": {"kubernetes.io/metadata.name": "linkerd"}}
        assert json.loads(found or "{}") == (default if selector is None else selector)


def test_cluster_contains_no_vault_credential(mesh):
    """With the default auth method, jwt, Secrets contain only certificates, Helm releases and public data."""
    items = json.loads(mesh.kubectl("get", "secrets", "-A", "-o", "json"))["items"]
    others = {(one["metadata"]["name"], *one["data"]) for one in items if one["type"] not in BUILT_IN}
    assert {entry for entry in others if entry[0].startswith("vault")} == {("vault-ca", "ca.crt")}
    assert secret(mesh, "vault-ca", "ca.crt") == mesh.ca.read_text()


def test_policy_allows_one_identity_at_one_path(mesh):
    token = login_token(mesh)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null"]
    csr = mesh.run("openssl", "req", *key, "-subj", f"/CN={IDENTITY}")
    good = {"csr": csr, "common_name": IDENTITY, "alt_names": IDENTITY, "ip_sans": "", "uri_sans": "", "ttl": "48h0m0s",
            "exclude_cn_from_sans": "true"}  # fmt: skip
    status, answer = mesh.vault("POST", PATH, good, token)
    assert status == 200, answer
    assert openssl_verifies(mesh, answer["data"]["certificate"])
    for change in (
        {"common_name": "evil.example.com"},
        {"alt_names": f"{IDENTITY},evil.example.com"},
        {"uri_sans": "spiffe://evil"},
        {"ip_sans": "10.0.0.1"},
        {"use_csr_values": True},
        {"ttl": "87600h0m0s"},
        {"max_path_length": 3},
        {"permitted_dns_domains": "example.com"},
        {"exclude_cn_from_sans": "false"},
    ):
        assert mesh.vault("POST", PATH, {**good, **change}, token)[0] == 403, change
    for path in ("pki/root/sign-intermediate", "pki/issuer/default/sign-intermediate", "pki/root/generate/internal",
                 "pki/sign-verbatim", "pki/issuer/linkerd-root-1/sign-verbatim", "sys/policies/acl/new"):  # fmt: skip
        assert mesh.vault("POST", path, good, token)[0] == 403, path
    assert mesh.vault("DELETE", "pki/root", None, token)[0] == 403
    assert mesh.vault("DELETE", "pki/issuer/linkerd-root-1", None, token)[0] == 403


def test_other_service_account_or_audience_cannot_log_in(mesh):
    login_token(mesh)  # the role exists
    made = mesh.kubectl("create", "token", "default", "-n", "linkerd", "--audience", "vault://linkerd/vault").strip()
    data = {"jwt": made, "role": "linkerd-identity-issuer-production"}
    assert mesh.vault("POST", "auth/jwt-production/login", data)[0] in (400, 403)
    made = mesh.kubectl("create", "token", "vault-issuer", "-n", "linkerd", "--audience", "another").strip()
    assert mesh.vault("POST", "auth/jwt-production/login", {**data, "jwt": made})[0] in (400, 403)


def can(mesh, account: str, *question: str) -> bool:
    answer = mesh.execute("kubectl", "auth", "can-i", *question, f"--as=system:serviceaccount:{account}")
    decision = answer.stdout.partition(" - ")[0].strip()  # a reason can follow
    assert decision in ("yes", "no"), answer
    return decision == "yes"


def test_kubernetes_permissions_of_service_accounts(mesh):
    trust_manager, cert_manager = "cert-manager:trust-manager", "cert-manager:cert-manager"
    assert can(mesh, trust_manager, "list", "configmaps", "-n", "linkerd")
    for namespace in ("linkerd", "cert-manager", "default", "kube-system"):
        for verb in ("get", "list", "watch"):
            assert not can(mesh, trust_manager, verb, "secrets", "-n", namespace), namespace
    assert can(mesh, cert_manager, "create", "serviceaccounts/vault-issuer", "--subresource=token", "-n", "linkerd")
    assert not can(mesh, cert_manager, "create", "serviceaccounts/default", "--subresource=token", "-n", "linkerd")
    assert not can(mesh, cert_manager, "create", "serviceaccounts/vault-issuer", "--subresource=token", "-n", "default")
    assert not can(mesh, "linkerd:vault-issuer", "get", "secrets", "-n", "linkerd")
    assert not can(mesh, "linkerd:vault-issuer", "create", "tokenreviews.authentication.k8s.io")


def test_trust_namespace_contains_only_public_anchors(mesh):
    refused = mesh.execute("kubectl", "create", "secret", "generic", "x", "-n", "linkerd-trust", "--from-literal=a=b")
    assert refused.returncode != 0 and "exceeded quota" in refused.stderr
    assert mesh.kubectl("get", "secrets", "-n", "linkerd-trust", "-o", "name") == ""
    maps = mesh.kubectl("get", "configmaps", "-n", "linkerd-trust", "-o", "name").split()
    assert set(maps) == {"configmap/linkerd-trust-anchors", "configmap/kube-root-ca.crt"}
    anywhere = mesh.kubectl(
        "get", "configmaps", "-A", "-o", "name", "--field-selector=metadata.name=linkerd-identity-trust-roots"
    )
    assert len(anywhere.split()) == 1
    deployment = json.loads(mesh.kubectl("get", "deployment", "trust-manager", "-n", "cert-manager", "-o", "json"))
    assert "initContainers" not in deployment["spec"]["template"]["spec"]


def test_quota_follows_its_variable(mesh):
    for forbids in (False, True):
        variables = {"trust_manager_forbid_secrets": forbids}
        run = mesh.play("playbooks/site.yml", "--tags", "trust_manager", variables=variables)
        assert (run.rc, run.changed) == (0, 1), run.output[-4000:]
        quotas = mesh.kubectl("get", "resourcequotas", "-n", "linkerd-trust", "-o", "name").split()
        assert quotas == (["resourcequota/no-secrets"] if forbids else [])
        again = mesh.play("playbooks/site.yml", "--tags", "trust_manager", variables=variables)
        assert (again.rc, again.changed) == (0, 0), again.output[-4000:]


def test_urls_in_certificates_are_reachable_from_pods(mesh):
    shown = mesh.run("openssl", "x509", "-noout", "-text", given=secret(mesh, "linkerd-identity-issuer", "tls.crt"))
    addresses = re.findall(r"URI:(\S+)", shown)
    for address in addresses:
        assert address.startswith(f"{mesh.vault_server}/v1/pki/")
    assert {address.rpartition("/")[2] for address in addresses} == {"ca", "crl"}
    host_mapping = f"{mesh.names.vault}:8200:127.0.0.1:{mesh.names.vault_port}"
    for path in ("pki/ca", "pki/crl"):
        address = f"{mesh.vault_server}/v1/{path}"
        curl = ["curl", "-sf", "--cacert", mesh.ca, "--connect-to", host_mapping, address]
        answer = subprocess.run(curl, capture_output=True, check=False)
        assert answer.returncode == 0 and answer.stdout[:1] == b"\x30", path


def access(mesh) -> set[str]:
    """What the auth methods need in the cluster and is there."""
    names = set().union(*NEEDS.values())
    return {name for name in names if mesh.execute("kubectl", "get", name, "-n", "linkerd").returncode == 0}


def is_valid(mesh, name: str, value: str) -> bool:
    """Whether Vault knows the token or secret ID of a Secret."""
    path, key = "auth/token/lookup", "token"
    if name == "vault-secret-id":
        path, key = "auth/approle/role/linkerd-identity-issuer-production/secret-id/lookup", "secret_id"
    return mesh.vault("POST", path, {key: value}, mesh.token)[0] == 200


def test_each_auth_method_issues_identity_issuer(mesh):
    """One after another, because each run removes what the former method needed."""
    credentials: dict[str, str] = {}  # the token and the secret ID that were in the cluster, by the name of the Secret
    for method in ("kubernetes", "approle", "token", "jwt"):
        use_auth_method(mesh, method, credentials)
    assert set(credentials) == {"vault-token", "vault-secret-id"}
    assert_not_printed(mesh, credentials)


def use_auth_method(mesh, method: str, credentials: dict[str, str]) -> None:
    variables = {"pki_vault_auth": method}
    former = {name: value for name, value in credentials.items() if is_valid(mesh, name, value)}
    before = access(mesh)
    assert set(former) == {name.partition("/")[2] for name in before if name.startswith("secret/")}
    predicted = mesh.play("playbooks/site.yml", "--tags", "vault_issuer", "--check", variables=variables)
    assert (predicted.rc, access(mesh)) == (0, before), predicted.output[-4000:]
    run = mesh.play("playbooks/site.yml", "--tags", "vault_issuer", variables=variables)
    assert run.rc == 0, run.output[-4000:]
    assert access(mesh) == NEEDS[method]
    assert not [name for name, value in former.items() if is_valid(mesh, name, value)]
    for name, key in (("vault-token", "token"), ("vault-secret-id", "secretId")):
        if f"secret/{name}" in NEEDS[method]:
            credentials[name] = secret(mesh, name, key)
            assert is_valid(mesh, name, credentials[name])
    again = mesh.play("playbooks/site.yml", "--tags", "vault_issuer", variables=variables)
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    assert ("vault auth disable" in run.flat, "vault auth disable" in again.flat) == (True, False)
    ready = mesh.kubectl(
        "get", "issuer", "vault", "-n", "linkerd", "-o", "jsonpath={.spec.vault.auth}{.status.conditions}"
    )
    assert "Vault verified" in ready
    assert openssl_verifies(mesh, reissue(mesh))
    expires = re.search(r"linkerd/vault-(?:token|secret-id) expires at \S", run.flat)
    assert bool(expires) == (method in ("approle", "token"))


def assert_not_printed(mesh, secrets: dict[str, str]) -> None:
    printed = "".join(run.output for run in mesh.runs)
    for name, value in secrets.items():
        assert len(value) > 20, name
        assert value not in printed, name
        assert base64.b64encode(value.encode()).decode() not in printed, name


def test_linkerd_loads_renewed_issuer(mesh):
    before = secret(mesh, "linkerd-identity-issuer", "tls.crt")
    run = mesh.play("playbooks/renew_issuer.yml", "--check", "--diff")
    assert run.rc == 0 and secret(mesh, "linkerd-identity-issuer", "tls.crt") == before
    pod = mesh.kubectl(
        "get", "pods", "-n", "linkerd", "-l", "linkerd.io/control-plane-component=identity", "-o", "name"
    )
    run = mesh.play("playbooks/renew_issuer.yml", variables={"linkerd_renewal_timeout": 600})
    assert run.rc == 0, run.output[-4000:]
    after = secret(mesh, "linkerd-identity-issuer", "tls.crt")
    assert after != before and openssl_verifies(mesh, after)
    log = mesh.kubectl("logs", "-n", "linkerd", "deploy/linkerd-identity", "-c", "identity")
    assert "Updated identity issuer" in log
    same = mesh.kubectl(
        "get", "pods", "-n", "linkerd", "-l", "linkerd.io/control-plane-component=identity", "-o", "name"
    )
    assert same == pod, "the controller was restarted although it had loaded the issuer"


def test_identity_controller_is_restarted_after_timeout(mesh):
    run = mesh.play("playbooks/renew_issuer.yml", variables={"linkerd_renewal_timeout": 0})
    assert run.rc == 0, run.output[-4000:]
    deployment = mesh.get("deployment", "linkerd-identity", "-n", "linkerd")
    assert "kubectl.kubernetes.io/restartedAt" in deployment["spec"]["template"]["metadata"]["annotations"]
    assert openssl_verifies(mesh, secret(mesh, "linkerd-identity-issuer", "tls.crt"))


def test_duration_longer_than_root_fails_before_any_change(mesh):
    run = mesh.play(
        "playbooks/site.yml", "--tags", "vault_pki,linkerd", variables={"linkerd_identity_duration": "90000h"}
    )
    assert run.rc != 0 and run.changed == 0
    assert "CN=root.linkerd.cluster.local" in run.flat
    assert "linkerd_identity_duration" in run.flat


@contextmanager
def sealed_vault(mesh):
    """Seal Vault for the block, and unseal it afterwards."""
    unseal = re.search(r"Unseal Key: (\S+)", mesh.run("docker", "logs", mesh.names.vault)).group(1)
    assert mesh.vault("PUT", "sys/seal", {}, mesh.token)[0] == 204
    try:
        yield
    finally:
        assert mesh.vault("PUT", "sys/unseal", {"key": unseal})[0] == 200


def test_issuer_is_renewed_after_vault_outage(mesh):
    """cert-manager retries the login, so no action is needed."""
    before = secret(mesh, "linkerd-identity-issuer", "tls.crt")
    with sealed_vault(mesh):
        refused = mesh.play("playbooks/renew_issuer.yml", variables={"linkerd_timeout": 30})
        assert refused.rc != 0
        assert "Vault is sealed" in refused.flat
    until(lambda: secret(mesh, "linkerd-identity-issuer", "tls.crt") != before)
    assert openssl_verifies(mesh, secret(mesh, "linkerd-identity-issuer", "tls.crt"))


def test_issuance_backoff_is_limited(mesh):
    """The backoff is 5 s at first and 10 s at most here, so that the test need not wait for hours."""
    waits = {"pki_vault_auth": "token", "cert_manager_maximum_backoff": "10s",
             "cert_manager_values": {"config": {"certificateRequestMinimumBackoffDuration": "5s"}}}  # fmt: skip
    run = mesh.play("playbooks/site.yml", "--tags", "vault_issuer,cert_manager", variables=waits)
    assert run.rc == 0, run.output[-4000:]
    mesh.kubectl("rollout", "status", "deployment", "cert-manager", "-n", "cert-manager", "--timeout=300s")

    def failure(number: int) -> tuple[int, datetime]:
        """The number and time of the last failed attempt, which is at least that number."""
        status = mesh.get("certificate", "linkerd-identity-issuer", "-n", "linkerd")["status"]
        assert status["failedIssuanceAttempts"] >= number
        return status["failedIssuanceAttempts"], datetime.fromisoformat(status["lastFailureTime"])

    # Vault must reject the signing: with a sealed Vault the issuer is not Ready, and nothing is requested.
    assert mesh.vault("DELETE", "sys/policies/acl/linkerd-identity-issuer-production", None, mesh.token)[0] == 204
    # cert-manager tries a requested renewal once, but retries until a missing Secret exists.
    mesh.kubectl("delete", "secret", "linkerd-identity-issuer", "-n", "linkerd")
    number, time = until(lambda: failure(5))  # without the cap the next comes 80 s later
    dummy, next_time = until(lambda: failure(number + 1))
    assert (next_time - time).total_seconds() < 70
    again = mesh.play("playbooks/site.yml", "--tags", "vault_issuer", variables=waits)
    assert again.rc == 0, again.output[-4000:]
    assert openssl_verifies(mesh, until(lambda: secret(mesh, "linkerd-identity-issuer", "tls.crt")))
    back = mesh.play("playbooks/site.yml", "--tags", "vault_issuer,cert_manager")
    assert back.rc == 0, back.output[-4000:]
    config = mesh.data("configmap", "cert-manager", "config.yaml", "cert-manager")
    assert "certificateRequestMaximumBackoffDuration: 1h" in config


def test_changed_trust_source_removes_configmap_of_anchors(mesh):
    secret_source = {
        "linkerd_trust_source": "secret", "pki_trust_namespace": "linkerd", "trust_manager_forbid_secrets": False,
    }  # fmt: skip
    get = ("kubectl", "get", "configmap", "linkerd-trust-anchors", "-n", "linkerd-trust")
    tags = ("--tags", "trust_manager,linkerd")
    for variables, exists in ((secret_source, False), ({}, True)):
        run = mesh.play("playbooks/site.yml", *tags, variables=variables)
        assert run.rc == 0, run.output[-4000:]
        assert (mesh.execute(*get).returncode == 0) == exists
        again = mesh.play("playbooks/site.yml", *tags, variables=variables)
        assert (again.rc, again.changed) == (0, 0), again.output[-4000:]


def restart_mesh(mesh) -> None:
    mesh.kubectl("rollout", "restart", "deployment", "-n", "linkerd")
    for name in mesh.kubectl("get", "deployments", "-n", "linkerd", "-o", "name").split():
        mesh.kubectl("rollout", "status", name, "-n", "linkerd", "--timeout=300s")


def test_root_rotation_in_three_runs(mesh):
    """As in the guide: the new root signs once Linkerd trusts it, and the old one is removed in the last run."""
    new = {"pki_root_issuer_name": "linkerd-root-2"}
    both = {**new, "vault_pki_previous_root": "linkerd-root-1"}
    for number, variables in enumerate(({**both, "vault_issuer_path": PATH}, both, new), start=1):
        for arguments in (("--check",), ()):
            run = mesh.play("playbooks/site.yml", *arguments, variables=variables)
            assert run.rc == 0, run.output[-4000:]
        path = mesh.kubectl("get", "issuer", "vault", "-n", "linkerd", "-o", "jsonpath={.spec.vault.path}")
        assert path == (PATH if number == 1 else PATH.replace("root-1", "root-2"))
        anchors = 1 if number == 3 else 2
        until(lambda n=anchors: mesh.data("configmap", *TRUST).count("BEGIN CERT") == n)
        if number == 2:
            assert mesh.play("playbooks/renew_issuer.yml", variables=variables).rc == 0
            early = mesh.play("playbooks/site.yml", variables=new)  # certificates of pods still chain to the old root
            assert (early.rc != 0, early.changed) == (True, 0) and "[anchor_missing]" in early.flat
            restart_mesh(mesh)
        else:
            lags = mesh.play("playbooks/verify.yml", variables=variables)
            assert lags.rc != 0 and "[pod_anchors_unknown]" in lags.flat, lags.output[-4000:]
            restart_mesh(mesh)
        verified = mesh.play("playbooks/verify.yml", variables=variables)
        assert verified.rc == 0, verified.output[-4000:]
        assert openssl_verifies(mesh, secret(mesh, "linkerd-identity-issuer", "tls.crt"), min(number, 2))


def test_no_run_printed_a_secret(mesh):
    key = secret(mesh, "linkerd-identity-issuer", "tls.key").splitlines()[1]
    assert_not_printed(mesh, {"login token": mesh.token, "issuer key": key})
    printed = "".join(run.output for run in mesh.runs)
    assert "PRIVATE KEY" not in printed
    assert not re.search(r"validate_certs.{0,6}false", printed, re.IGNORECASE)


def test_teardown_preserves_cluster_vault_and_root(mesh):
    run = mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes")
    assert run.rc == 0, run.output[-4000:]
    assert mesh.run("helm", "list", "--all-namespaces", "--short") == ""
    assert mesh.vault("GET", "pki/issuer/linkerd-root-1/json")[0] == 200
    assert "jwt-production/" not in mesh.vault("GET", "sys/auth", None, mesh.token)[1]["data"]
    assert mesh.kubectl("get", "nodes", "-o", "name") == f"node/{mesh.server}\n"
    assert mesh.play("playbooks/teardown.yml", "-e", "pki_confirm=yes").changed == 0


def test_role_by_role_example_of_guide(mesh):
    """After the teardown: the blocks of the guide, with the names of this cluster and Vault."""
    section = (ROOT / "docs/guides/real-clusters.md").read_text().partition("## Role by role")[2].partition("\n## ")[0]
    blocks = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert len(blocks) >= 4
    tasks = textwrap.indent("\n".join(blocks), "    ")
    for documented, used in {
        "{url: https://vault.example.com:8200}": f"{{url: '{mesh.vault_url}', ca_cert: '{mesh.ca}'}}",
        "https://vault.example.com:8200": mesh.vault_server,
        "vault-ca.pem": str(mesh.ca),
        "~/.kube/config": str(mesh.kubeconfig),
        "context: berlin": f"context: k3d-{mesh.cluster}",
    }.items():
        assert documented in tasks, documented
        tasks = tasks.replace(documented, used)
    head = "- hosts: localhost\n  connection: local\n  gather_facts: false\n  environment: '{{ pki_environment }}'\n"
    (mesh.home / "guide.yml").write_text(f"{head}  tasks:\n{tasks}")
    variables = {"ansible_python_interpreter": sys.executable}
    run = mesh.play(str(mesh.home / "guide.yml"), variables=variables)
    assert run.rc == 0, run.output[-4000:]
    again = mesh.play(str(mesh.home / "guide.yml"), variables=variables)
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    assert openssl_verifies(mesh, secret(mesh, "linkerd-identity-issuer", "tls.crt"))
