# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml and verify.yml in the lab, checked with openssl, kubectl, linkerd and the API of Vault."""

from __future__ import annotations

import base64
import json
import re
import stat

import pytest
from support.lab import http, until
from support.mesh import USERS_KUBECONFIG

from lab.sandbox import ROOT

APP = "mesh-test"
CONFIG = "config.linkerd.io"


def fingerprint(mesh, pem: str) -> str:
    return mesh.run("openssl", "x509", "-noout", "-fingerprint", "-sha256", given=pem)


def vault_root(mesh) -> str:
    return http(f"{mesh.vault_url}/v1/pki/issuer/linkerd-root-1/pem")[1]


@pytest.fixture(scope="module")
def issuer(mesh) -> str:
    return base64.b64decode(mesh.data("secret", "linkerd-identity-issuer", "tls.crt")).decode()


@pytest.fixture(scope="module")
def anchor(mesh) -> str:
    return mesh.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt")


def test_second_run_changes_nothing(mesh):
    run = mesh.play("playbooks/site.yml")
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]
    assert run.output.count("preflight : Read what the cluster has]") == 1  # the roles use what it decides


def test_check_mode_predicts_no_change(mesh):
    run = mesh.play("playbooks/site.yml", "--check", "--diff")
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]


def test_verify_prints_chain_and_changes_nothing(mesh, issuer):
    run = mesh.play("playbooks/verify.yml")
    assert (run.rc, run.changed) == (0, 0), run.output[-3000:]
    ski = mesh.run("openssl", "x509", "-noout", "-ext", "subjectKeyIdentifier", given=issuer)
    assert ski.split()[-1].replace(":", "").lower()[:16] in run.output


def test_verify_writes_report(mesh, anchor, issuer, workloads, tmp_path):
    run = mesh.play("playbooks/verify.yml", variables={"pki_report_dir": str(tmp_path / "report")})
    assert run.rc == 0, run.output[-3000:]
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (report["agreed"], report["disagreements"]) == (True, [])
    cluster = report["clusters"][0]
    for pem, found in ((vault_root(mesh), report["vault"]["issuers"]), (anchor, cluster["anchors"]["certificates"])):
        expected = fingerprint(mesh, pem).split("=")[1].strip().replace(":", "").lower()
        assert expected in [one["fingerprint_sha256"] for one in found]
    assert cluster["issuer"]["certificates"][0]["certificate"].strip() == issuer.strip()
    carried = {pod: group["evidence"] for group in cluster["pods"] for pod in group["pods"]}
    meshed = [pod for pod in mesh.get("pods", "-A")["items"] if "linkerd-proxy" in json.dumps(pod["spec"])]
    assert set(carried) == {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in meshed}
    assert {evidence for pod, evidence in carried.items() if pod.startswith(f"{APP}/")} == {"spec"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert '<h1 class="good"' in page
    key = mesh.data("secret", "linkerd-identity-issuer", "tls.key")
    for secret in ("PRIVATE KEY", base64.b64decode(key).decode().splitlines()[1], key[40:120]):
        assert secret not in run.output + page + str(report)
    assert mesh.play("playbooks/verify.yml", "--check", variables={"pki_report_dir": str(tmp_path / "no")}).rc == 0
    assert not (tmp_path / "no").exists()


def test_verify_reports_pods_with_other_trust_anchors(mesh, tmp_path):
    """The pod has the environment that the injector sets under another root. It does not become ready."""
    other = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"]
    mesh.run(*other, "/CN=other.root", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "root.pem"))
    variable = {"name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "value": (tmp_path / "root.pem").read_text()}
    proxy = {"name": "linkerd-proxy", "image": mesh.parts["test_app_image"], "env": [variable]}
    labels = {"linkerd.io/control-plane-ns": "linkerd"}
    meta = {"name": "of-another-root", "namespace": "default", "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [proxy]}}
    mesh.kubectl("apply", "-f", "-", given=json.dumps(pod))
    try:
        run = mesh.play("playbooks/verify.yml", variables={"pki_report_dir": str(tmp_path)})
        assert run.rc != 0
        assert "[pod_anchors_differ]" in run.flat
        for named in ("default/of-another-root", "CN=root.linkerd.cluster.local", "CN=other.root"):
            assert named in run.flat, named
        assert "kubectl rollout restart" in run.flat
        assert not json.loads((tmp_path / "report.json").read_text())["agreed"]  # written before the failure
        assert mesh.play("playbooks/verify.yml", variables={"pki_verify_allowed": ["pod_anchors_differ"]}).rc == 0
    finally:
        mesh.kubectl("delete", "pod", "of-another-root", "-n", "default", "--now")


def test_the_cron_job_of_the_guide_has_the_permissions_that_it_needs(mesh, tmp_path):
    """verify.yml as the ServiceAccount of rbac.yml, with the two settings that the guide names for it."""
    permissions = str(ROOT / "docs/monitoring/rbac.yml")
    cluster = json.loads(mesh.kubectl("config", "view", "--raw", "--minify", "-o", "json"))["clusters"][0]["cluster"]
    (tmp_path / "ca.pem").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    mesh.kubectl("apply", "-f", permissions)
    try:
        token = mesh.kubectl("create", "token", "mesh-report", "-n", "linkerd").strip()
        login = {"host": cluster["server"], "api_key": token, "ca_cert": str(tmp_path / "ca.pem")}
        settings = {"pki_verify_leaves": False, "pki_verify_allowed": ["linkerd_check"]}
        report = {"pki_report_dir": str(tmp_path / "report")}
        run = mesh.play("playbooks/verify.yml", variables={"pki_kubernetes": login, **settings, **report})
        assert run.rc == 0, run.output[-3000:]
        assert token not in run.output
        found = json.loads((tmp_path / "report/report.json").read_text())["disagreements"]
        assert {one["code"] for one in found} == {"linkerd_check"}
    finally:
        mesh.kubectl("delete", "-f", permissions)


def test_vault_configmap_and_secret_contain_same_root(mesh, anchor):
    ca = base64.b64decode(mesh.data("secret", "linkerd-identity-issuer", "ca.crt")).decode()
    assert fingerprint(mesh, vault_root(mesh)) == fingerprint(mesh, anchor) == fingerprint(mesh, ca)


def test_root_matches_workshop(mesh):
    root = vault_root(mesh)
    subject = mesh.run("openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253", given=root)
    assert subject == "subject=CN=root.linkerd.cluster.local\n"
    key = mesh.run("openssl", "x509", "-noout", "-pubkey", given=root)
    curve = mesh.run("openssl", "ecparam", "-name", "prime256v1")
    assert mesh.run("openssl", "ec", "-pubin", "-param_out", given=key) == curve
    expires = {
        hours: mesh.execute("openssl", "x509", "-noout", "-checkend", str(hours * 3600), given=root).returncode
        for hours in (2100, 2161)
    }
    assert expires == {2100: 0, 2161: 1}


def test_openssl_verifies_identity_issuer(mesh, issuer, anchor, tmp_path):
    (tmp_path / "root.pem").write_text(anchor)
    (tmp_path / "issuer.pem").write_text(issuer)
    mesh.run("openssl", "verify", "-CAfile", str(tmp_path / "root.pem"), str(tmp_path / "issuer.pem"))
    extensions = ("basicConstraints", "subjectAltName")
    shown = [mesh.run("openssl", "x509", "-noout", "-ext", name, given=issuer) for name in extensions]
    assert "CA:TRUE" in shown[0]
    assert "DNS:identity.linkerd.cluster.local" in shown[1]


def test_token_of_cert_manager_is_limited_to_one_signing_path(mesh):
    token = base64.b64decode(mesh.data("secret", "vault-token", "token", "cert-manager")).decode()
    # An invalid token would be refused, too.
    assert mesh.vault("POST", "auth/token/lookup", {"token": token}, mesh.root_token())[0] == 200
    for path in ("pki/root/sign-intermediate", "pki/issuers/generate/root/internal", "sys/policies/acl/new"):
        assert mesh.vault("POST", path, {}, token)[0] == 403, path


def test_linkerd_check_has_one_warning(mesh):
    output = mesh.run("linkerd", "check", "--expected-version", mesh.parts["linkerd_version"], "-o", "json")
    checks = [check for category in json.loads(output)["categories"] for check in category["checks"]]
    assert [check["description"] for check in checks if check["result"] != "success"] == [
        "issuer cert is valid for at least 60 days"
    ]


def test_output_contains_no_secret_at_highest_verbosity(mesh):
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
        for run in (mesh.creation, again):
            assert secret not in run.output, name
            assert base64.b64encode(secret.encode()).decode() not in run.output, name
    assert "PRIVATE KEY" not in mesh.creation.output + again.output


def host_variables(mesh, inventory, name: str) -> dict:
    return json.loads(mesh.run("ansible-inventory", "-i", str(inventory), "--host", name))


def test_inventory_of_tests_differs_from_lab_in_names_and_ports_only(mesh):
    for lab_name, test_name in (("pki-cluster", mesh.cluster), ("workshop-vault", mesh.names.vault)):
        in_lab = host_variables(mesh, ROOT / "inventories/lab", lab_name)
        in_tests = host_variables(mesh, mesh.inventory, test_name)
        changed = {name for name, value in in_tests.items() if in_lab.get(name) != value}
        assert in_lab.keys() <= in_tests.keys()
        assert changed == {"k3d_cluster_network", "k3d_cluster_ports", "vault_dev_name", "vault_dev_network",
                           "vault_dev_port"}  # fmt: skip


def test_load_balancer_publishes_configured_ports(mesh):
    published = mesh.container(f"k3d-{mesh.cluster}-serverlb")["NetworkSettings"]["Ports"]
    ports = {port: {one["HostPort"] for one in bindings or ()} for port, bindings in published.items()}
    assert (ports["80/tcp"], ports["443/tcp"]) == ({str(mesh.names.http_port)}, {str(mesh.names.https_port)})
    assert "k3d_cluster_ports" not in host_variables(mesh, ROOT / "inventories/lab", "pki-cluster")
    shown = json.loads(mesh.run("ansible-doc", "-t", "role", "-j", "servicemesh.pki.k3d_cluster"))
    options = shown["servicemesh.pki.k3d_cluster"]["entry_points"]["main"]["options"]
    default = {one["port"]: one["nodeFilters"] for one in options["k3d_cluster_ports"]["default"]}
    assert default == {"80:80": ["loadbalancer"], "443:443": ["loadbalancer"]}


def test_kubeconfig_of_user_is_unchanged(mesh):
    assert (mesh.home / ".kube" / "config").read_text() == USERS_KUBECONFIG
    assert stat.S_IMODE(mesh.kubeconfig.stat().st_mode) == 0o600


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
        "metadata": {
            "name": APP,
            # The pods accept only connections with mutual TLS.
            "annotations": {"linkerd.io/inject": "enabled", f"{CONFIG}/default-inbound-policy": "all-authenticated"},
        },
    }
    image = mesh.parts["test_app_image"]
    items = [namespace, *workload("alpha", image), *workload("beta", image)]
    mesh.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    for name in ("alpha", "beta"):
        mesh.kubectl("rollout", "status", "deployment", name, "-n", APP, "--timeout=300s")
    yield
    mesh.kubectl("delete", "namespace", APP)


def identity(name: str) -> str:
    return f"{name}.{APP}.serviceaccount.identity.linkerd.cluster.local"


CONNECTED_TO = 'tcp_open_total{direction="outbound",peer="dst",tls="true",server_id="%s"}'
CONNECTED_FROM = 'tcp_open_total{direction="inbound",peer="src",tls="true",client_id="%s"}'
REFUSED = '%s_tcp_errors_total{error="%s"}'


class Connections:
    """Connections of proxies since this object was created, from the metrics of the proxies."""

    def __init__(self, mesh, *pods: str) -> None:
        self.mesh, self.before = mesh, {pod: self.counters(mesh, pod) for pod in pods}

    @staticmethod
    def counters(mesh, pod: str) -> dict[str, int]:
        output = mesh.run("linkerd", "diagnostics", "proxy-metrics", f"--namespace={APP}", pod)
        lines = [line.rpartition(" ") for line in output.splitlines() if "_total{" in line]
        return {series: int(value) for series, blank, value in lines}

    def since(self, pod: str) -> dict[str, int]:
        now = self.counters(self.mesh, pod)
        growth = {series: value - self.before[pod].get(series, 0) for series, value in now.items()}
        return {series: value for series, value in growth.items() if value}


def get_beta(mesh, pod: str, namespace: str = APP):
    """Open one connection from a pod to the service beta."""
    return mesh.execute(
        "kubectl", "exec", f"--namespace={namespace}", pod, "--container=app", "--", "/app", "get", f"http://beta.{APP}"
    )


def start_pod(mesh, pod: dict) -> None:
    mesh.kubectl("apply", "-f", "-", given=json.dumps(pod))
    mesh.kubectl("wait", "--for=condition=Ready", f"pod/{pod['metadata']['name']}", "-n", APP, "--timeout=300s")


def test_connections_between_meshed_pods_use_mutual_tls(mesh, workloads):
    pods = mesh.get("pods", "-n", APP)["items"]
    assert all(len(pod["status"]["containerStatuses"]) == 2 for pod in pods), "the injector did not inject"
    connections = Connections(mesh, "deploy/alpha", "deploy/beta")
    for answer in [get_beta(mesh, "deploy/alpha") for dummy in range(3)]:
        assert "beta" in answer.stdout, answer.stderr
    assert connections.since("deploy/alpha") == {CONNECTED_TO % identity("beta"): 3}
    assert connections.since("deploy/beta") == {CONNECTED_FROM % identity("alpha"): 3}


def test_connection_from_pod_without_proxy_is_refused(mesh, workloads):
    app = {"name": "app", "image": mesh.parts["test_app_image"]}
    meta = {"name": "plain", "namespace": APP, "annotations": {"linkerd.io/inject": "disabled"}}
    start_pod(mesh, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [app]}})
    connections = Connections(mesh, "deploy/beta")
    assert get_beta(mesh, "plain").returncode != 0
    assert connections.since("deploy/beta") == {REFUSED % ("inbound", "unauthorized"): 1}


def test_proxy_without_discovery_sends_no_plain_text(mesh, workloads):
    """The proxy of a copy of alpha's pod looks for the destination controller at a closed port."""
    alpha = mesh.get("pods", "-n", APP, "-l", "app=alpha")["items"][0]
    labels = {name: value for name, value in alpha["metadata"]["labels"].items() if name.startswith("linkerd.io/")}
    meta = {"name": "lost", "namespace": APP, "labels": labels, "annotations": alpha["metadata"]["annotations"]}
    [proxy] = [one for one in alpha["spec"]["containers"] if one["name"] == "linkerd-proxy"]
    [address] = [one for one in proxy["env"] if one["name"] == "LINKERD2_PROXY_DESTINATION_SVC_ADDR"]
    address["value"] = "localhost.:1"
    start_pod(mesh, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": alpha["spec"]})
    connections = Connections(mesh, "pod/lost", "deploy/beta")
    assert get_beta(mesh, "pod/lost").returncode != 0
    assert until(lambda: connections.since("pod/lost")) == {REFUSED % ("outbound", "discovery"): 1}
    assert connections.since("deploy/beta") == {}


def test_certificate_chain_of_pod_ends_at_root_in_vault(mesh, workloads, issuer):
    """The certificates that the proxy of the pod presents, from `linkerd identity`."""
    shown = mesh.run("linkerd", "identity", "-n", APP, "-l", "app=beta")
    keys = [
        key.replace(":", "").lower() for key in re.findall(r"(?:keyid:)?((?:[0-9A-F]{2}:){19}[0-9A-F]{2})", shown, re.I)
    ]
    assert f"beta.{APP}.serviceaccount.identity.linkerd.cluster.local" in shown
    ski = mesh.run("openssl", "x509", "-noout", "-ext", "subjectKeyIdentifier", given=issuer).split()[-1]
    root = mesh.run("openssl", "x509", "-noout", "-ext", "subjectKeyIdentifier", given=vault_root(mesh)).split()[-1]
    aki = mesh.run("openssl", "x509", "-noout", "-ext", "authorityKeyIdentifier", given=issuer).split()[-1]
    assert ski.replace(":", "").lower() in keys, shown[:3000]
    assert aki.removeprefix("keyid:") == root
