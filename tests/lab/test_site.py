# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole flow in the lab. The oracles are openssl, kubectl, Vault's own answers."""

from __future__ import annotations

import base64
import json
import re
import stat
import urllib.error
import urllib.request
from pathlib import Path

import pytest

VAULT = "http://127.0.0.1:8200/v1/"
APP = "mesh-test"


def fingerprint(mesh, pem: str) -> str:
    return mesh.run("openssl", "x509", "-noout", "-fingerprint", "-sha256", given=pem)


def text(mesh, pem: str) -> str:
    return mesh.run("openssl", "x509", "-noout", "-text", given=pem)


def vault_root() -> str:
    with urllib.request.urlopen(f"{VAULT}pki/issuer/linkerd-root-1/pem") as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def issuer(mesh) -> str:
    return base64.b64decode(mesh.data("secret", "linkerd-identity-issuer", "tls.crt")).decode()


@pytest.fixture(scope="module")
def anchor(mesh) -> str:
    return mesh.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt")


def test_a_second_run_changes_nothing(mesh):
    run = mesh.play("playbooks/site.yml")
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]


def test_check_mode_predicts_no_change(mesh):
    run = mesh.play("playbooks/site.yml", "--check", "--diff")
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]


def test_verify_shows_the_chain_and_changes_nothing(mesh, issuer):
    run = mesh.play("playbooks/verify.yml")
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]
    ski = mesh.run("openssl", "x509", "-noout", "-ext", "subjectKeyIdentifier", given=issuer)
    assert ski.split()[-1].replace(":", "").lower()[:16] in run.output


def test_verify_writes_a_report_of_what_it_saw(mesh, anchor, issuer, workloads, tmp_path):
    run = mesh.play("playbooks/verify.yml", variables={"pki_report_dir": str(tmp_path / "report")})
    assert run.rc == 0, run.output[-3000:]
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (report["agreed"], report["disagreements"]) == (True, [])
    cluster = report["clusters"][0]
    for pem, found in ((vault_root(), report["vault"]["issuers"]), (anchor, cluster["anchors"]["certificates"])):
        told = fingerprint(mesh, pem).split("=")[1].strip().replace(":", "").lower()
        assert told in [one["fingerprint_sha256"] for one in found]
    assert cluster["issuer"]["certificates"][0]["certificate"].strip() == issuer.strip()
    carried = {pod: group["evidence"] for group in cluster["pods"] for pod in group["pods"]}
    told = json.loads(mesh.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    meshed = [pod for pod in told if "linkerd-proxy" in json.dumps(pod["spec"])]
    assert set(carried) == {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in meshed}
    assert {evidence for pod, evidence in carried.items() if pod.startswith(f"{APP}/")} == {"spec"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert "All agree" in page
    assert mesh.data("secret", "linkerd-identity-issuer", "tls.key")[40:120] not in run.output + page + str(report)
    assert mesh.play("playbooks/verify.yml", "--check", variables={"pki_report_dir": str(tmp_path / "no")}).rc == 0
    assert not (tmp_path / "no").exists()


def test_verify_tells_which_pods_carry_other_anchors(mesh, tmp_path):
    """A pod as the injector would have made it under another root. It need not run well for that."""
    other = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"]
    mesh.run(*other, "/CN=other.root", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "root.pem"))
    variable = {"name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "value": (tmp_path / "root.pem").read_text()}
    proxy = {"name": "linkerd-proxy", "image": mesh.told["test_app_image"], "env": [variable]}
    labels = {"linkerd.io/control-plane-ns": "linkerd"}
    meta = {"name": "of-another-root", "namespace": "default", "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [proxy]}}
    mesh.kubectl("apply", "-f", "-", given=json.dumps(pod))
    try:
        run = mesh.play("playbooks/verify.yml", variables={"pki_report_dir": str(tmp_path)})
        assert run.rc != 0
        assert "default/of-another-root do not trust CN=root.linkerd.cluster.local" in run.flat
        assert "trust CN=other.root" in run.flat
        assert "kubectl rollout restart" in run.flat
        assert not json.loads((tmp_path / "report.json").read_text())["agreed"]  # written before the failure
        assert mesh.play("playbooks/verify.yml", variables={"pki_verify_allowed": ["pod_anchors_differ"]}).rc == 0
    finally:
        mesh.kubectl("delete", "pod", "of-another-root", "-n", "default", "--now")


def test_vault_configmap_and_secret_hold_the_same_root(mesh, anchor):
    ca = base64.b64decode(mesh.data("secret", "linkerd-identity-issuer", "ca.crt")).decode()
    assert fingerprint(mesh, vault_root()) == fingerprint(mesh, anchor) == fingerprint(mesh, ca)


def test_the_root_is_as_the_workshop_has_it(mesh):
    shown = text(mesh, vault_root())
    assert re.search(r"Subject: CN ?= ?root\.linkerd\.cluster\.local", shown)
    assert "ASN1 OID: prime256v1" in shown
    assert mesh.run("openssl", "x509", "-noout", "-checkend", str(2159 * 3600), given=vault_root(), check=False)
    assert "not expire" not in mesh.run(
        "openssl", "x509", "-noout", "-checkend", str(2161 * 3600), given=vault_root(), check=False
    )


def test_openssl_accepts_the_identity_issuer(mesh, issuer, anchor, tmp_path):
    (tmp_path / "root.pem").write_text(anchor)
    (tmp_path / "issuer.pem").write_text(issuer)
    assert mesh.run("openssl", "verify", "-CAfile", str(tmp_path / "root.pem"), str(tmp_path / "issuer.pem"))
    shown = text(mesh, issuer)
    assert "CA:TRUE" in shown
    assert "DNS:identity.linkerd.cluster.local" in shown


def test_the_root_key_is_internal_to_vault(mesh):
    request = urllib.request.Request(f"{VAULT}pki/issuer/linkerd-root-1", headers={"X-Vault-Token": mesh.root_token()})
    with urllib.request.urlopen(request) as answer:
        assert "private_key" not in answer.read().decode()


def test_the_credential_signs_at_one_path_and_may_do_nothing_else(mesh):
    token = base64.b64decode(mesh.data("secret", "vault-token", "token", "cert-manager")).decode()
    for path in ("pki/root/sign-intermediate", "pki/issuers/generate/root/internal", "sys/policies/acl/new"):
        request = urllib.request.Request(VAULT + path, data=b"{}", headers={"X-Vault-Token": token})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 403, path


def test_linkerd_check_has_one_warning(mesh):
    told = mesh.run("linkerd", "check", "--expected-version", mesh.told["linkerd_version"], "-o", "json")
    checks = [check for category in json.loads(told)["categories"] for check in category["checks"]]
    assert [check["description"] for check in checks if check["result"] != "success"] == [
        "issuer cert is valid for at least 60 days"
    ]


def test_no_secret_is_in_the_output_at_any_verbosity(mesh, first_run):
    key = mesh.data("secret", "linkerd-identity-issuer", "tls.key")
    token = base64.b64decode(mesh.data("secret", "vault-token", "token", "cert-manager")).decode()
    again = mesh.play("playbooks/site.yml", "-vvv")
    assert again.rc == 0
    for name, secret in (
        ("root token", mesh.root_token()),
        ("cert-manager's token", token),
        ("issuer key", key[40:120]),
    ):
        assert len(secret) > 20, name
        for run in (first_run, again):
            assert secret not in run.output, name
            assert base64.b64encode(secret.encode()).decode() not in run.output, name
    assert "PRIVATE KEY" not in first_run.output + again.output


def test_the_load_balancer_has_the_workshops_ports(mesh):
    published = mesh.container("k3d-pki-cluster-serverlb")["NetworkSettings"]["Ports"]
    assert {"80/tcp", "443/tcp"} <= {port for port, bindings in published.items() if bindings}


def test_the_current_context_of_the_user_stays_as_it_was(mesh):
    default = Path("~/.kube/config").expanduser()
    assert not default.exists() or "pki-cluster" not in default.read_text()
    assert stat.S_IMODE(Path(mesh.env["KUBECONFIG"]).stat().st_mode) == 0o600


def workload(name: str, image: str) -> list[dict]:
    container = {"name": "app", "image": image, "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 8080}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"serviceAccountName": name, "containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    meta = {"name": name, "namespace": APP}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


@pytest.fixture(scope="module")
def workloads(mesh):
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": APP, "annotations": {"linkerd.io/inject": "enabled"}},
    }
    image = mesh.told["test_app_image"]
    items = [namespace, *workload("alpha", image), *workload("beta", image)]
    mesh.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    for name in ("alpha", "beta"):
        mesh.kubectl("rollout", "status", "deployment", name, "-n", APP, "--timeout=120s")
    yield
    mesh.kubectl("delete", "namespace", APP, "--wait=false")


def test_two_meshed_pods_complete_a_mutual_handshake(mesh, workloads):
    pods = json.loads(mesh.kubectl("get", "pods", "-n", APP, "-o", "json"))["items"]
    assert all(len(pod["status"]["containerStatuses"]) == 2 for pod in pods), "the injector did not inject"
    said = mesh.kubectl("exec", "-n", APP, "deploy/alpha", "-c", "app", "--", "/app", "get", "http://beta")
    assert "beta" in said
    log = mesh.kubectl("logs", "-n", APP, "deploy/beta", "-c", "linkerd-proxy")
    assert f'client.id="alpha.{APP}.serviceaccount.identity.linkerd.cluster.local"' in log
    log = mesh.kubectl("logs", "-n", APP, "deploy/alpha", "-c", "linkerd-proxy")
    assert f'server.id="beta.{APP}.serviceaccount.identity.linkerd.cluster.local"' in log


def test_the_chain_of_a_pod_ends_at_the_root_in_vault(mesh, workloads, issuer):
    """`linkerd identity` shows the certificates that the pod's proxy presents."""
    shown = mesh.run("linkerd", "identity", "-n", APP, "-l", "app=beta")
    keys = [
        key.replace(":", "").lower() for key in re.findall(r"(?:keyid:)?((?:[0-9A-F]{2}:){19}[0-9A-F]{2})", shown, re.I)
    ]
    assert f"beta.{APP}.serviceaccount.identity.linkerd.cluster.local" in shown
    ski = mesh.run("openssl", "x509", "-noout", "-ext", "subjectKeyIdentifier", given=issuer).split()[-1]
    root = mesh.run("openssl", "x509", "-noout", "-ext", "subjectKeyIdentifier", given=vault_root()).split()[-1]
    aki = mesh.run("openssl", "x509", "-noout", "-ext", "authorityKeyIdentifier", given=issuer).split()[-1]
    assert ski.replace(":", "").lower() in keys, shown[:3000]
    assert aki.removeprefix("keyid:") == root
