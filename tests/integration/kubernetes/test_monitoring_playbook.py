# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""monitoring.yml with a real API server and the custom resource definitions of the Prometheus operator."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
from pathlib import Path

import pytest
import yaml
from support.plays import THIS_HOST

from lab.prometheus import operator_definitions

ROOT = Path(__file__).resolve().parents[3]
GROUP = "monitoring.coreos.com"
OPERATOR = {"PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}
OWN = {"app.kubernetes.io/managed-by": "servicemesh.pki"}


class Playbook:
    def __init__(self, kubernetes, folder: Path, namespace: str) -> None:
        self.kubernetes, self.namespace = kubernetes, namespace
        self.inventory = folder / "hosts.json"
        variables = {
            **THIS_HOST,
            "pki_kubernetes": {"kubeconfig": str(kubernetes.kubeconfig)},
            "monitoring_namespace": namespace,
        }
        hosts = {"clusters": {"hosts": {"berlin": variables}}}
        self.inventory.write_text(json.dumps({"all": {"children": hosts}}))

    def run(self, *arguments: str, fails: bool = False, **variables) -> tuple[int, str]:
        """The number of changes, and the output."""
        command = [
            "ansible-playbook",
            "playbooks/monitoring.yml",
            "-i",
            str(self.inventory),
            "-e",
            json.dumps(variables),
        ]
        done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return int(re.search(r"changed=(\d+)", done.stdout)[1]), done.stdout

    def names(self) -> set[str]:
        """The objects of the namespace, as kind and name."""
        paths = [("v1", "configmaps")]
        paths += [(f"{GROUP}/v1", plural) for plural in OPERATOR.values()]
        found = set()
        for version, plural in paths:
            try:
                prefix = f"/api{'' if version == 'v1' else 's'}/{version}"
                listed = self.kubernetes.call("GET", f"{prefix}/namespaces/{self.namespace}/{plural}")["items"]
            except OSError:  # the kind does not exist
                continue
            found |= {f"{plural}/{one['metadata']['name']}" for one in listed}
        return found - {"configmaps/kube-root-ca.crt"}

    def config_map(self, name: str) -> dict:
        return self.kubernetes.call("GET", f"/api/v1/namespaces/{self.namespace}/configmaps/{name}")


@pytest.fixture
def playbook(kubernetes, tmp_path, request):
    namespace = re.sub(r"[^a-z]+", "-", request.node.name.lower())[:60].strip("-")
    kubernetes.namespace(namespace)
    return Playbook(kubernetes, tmp_path, namespace)


@pytest.fixture
def operator(kubernetes):
    """The API of the Prometheus operator, which is not running."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    names = [f"{plural}.{GROUP}" for plural in OPERATOR.values()]
    definitions = operator_definitions()
    for name in names:
        kubernetes.call("POST", path, definitions[name])
    yield
    for name in names:
        kubernetes.call("DELETE", f"{path}/{name}")


def test_config_map_without_the_operator(playbook):
    assert playbook.run("--check")[0] == 1
    assert playbook.names() == set()
    assert playbook.run()[0] == 1
    assert playbook.names() == {"configmaps/servicemesh-pki-monitoring"}
    found = playbook.config_map("servicemesh-pki-monitoring")
    assert found["metadata"]["labels"].items() >= OWN.items()
    rules = yaml.safe_load(found["data"]["rules.yml"])["groups"][0]["rules"]
    assert "{{ $labels.cluster }}" in rules[1]["annotations"]["summary"]
    assert playbook.run()[0] == 0
    changes, output = playbook.run("--check", "--diff", monitoring_rotation_days=9)
    assert (changes, "86400 < 99" in output) == (1, True)
    assert playbook.run(monitoring_rotation_days=9)[0] == 1
    assert "scrape.yml" in playbook.config_map("servicemesh-pki-monitoring")["data"]
    assert playbook.run(monitoring_rotation_days=9, monitoring_scrape=False)[0] == 1
    assert "scrape.yml" not in playbook.config_map("servicemesh-pki-monitoring")["data"]
    assert playbook.run("--check", monitoring_state="absent")[0] == 1
    assert playbook.names() == {"configmaps/servicemesh-pki-monitoring"}
    assert playbook.run(monitoring_state="absent")[0] == 1
    assert playbook.names() == set()
    assert playbook.run(monitoring_state="absent")[0] == 0


def test_objects_of_the_operator_replace_the_config_map(playbook, operator):
    playbook.run(monitoring_operator="false")
    assert playbook.run(monitoring_dashboard=True)[0] == 2
    monitors = {f"podmonitors/servicemesh-pki-{name}" for name in ("cert-manager", "trust-manager", "linkerd-identity")}
    rule = "prometheusrules/servicemesh-pki"
    assert playbook.names() == {rule, "configmaps/servicemesh-pki-dashboard", *monitors}
    assert playbook.run(monitoring_dashboard=True)[0] == 0
    path = f"/apis/{GROUP}/v1/namespaces/{playbook.namespace}/prometheusrules/servicemesh-pki"
    [group, *dummy] = playbook.kubernetes.call("GET", path)["spec"]["groups"]
    assert "{{ $labels.cluster }}" in group["rules"][1]["annotations"]["summary"]
    playbook.run(monitoring_scrape=False)
    assert playbook.names() == {rule}
    playbook.run(monitoring_state="absent")
    assert playbook.names() == set()


def test_object_of_others_stays(playbook):
    path = f"/api/v1/namespaces/{playbook.namespace}/configmaps"
    other = {"metadata": {"name": "servicemesh-pki-monitoring"}, "data": {"own": "text"}}
    playbook.kubernetes.call("POST", path, {"apiVersion": "v1", "kind": "ConfigMap", **other})
    changes, output = playbook.run(fails=True)
    assert changes == 0
    assert "ConfigMap servicemesh-pki-monitoring" in output
    assert playbook.run(monitoring_state="absent")[0] == 0
    assert playbook.config_map("servicemesh-pki-monitoring")["data"] == {"own": "text"}


def test_trust_manager_in_another_namespace(playbook):
    container = {"name": "trust-manager", "image": "none", "args": ["--trust-namespace=linkerd-trust"]}
    labels = {"app": "trust-manager"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment = {
        "metadata": {"name": "trust-manager"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    path = f"/apis/apps/v1/namespaces/{playbook.namespace}/deployments"
    playbook.kubernetes.call("POST", path, {"apiVersion": "apps/v1", "kind": "Deployment", **deployment})
    # Linkerd's namespace is read without a webhook, which the API server would call.
    mesh = {"monitoring_linkerd_namespace": playbook.namespace}
    changes, output = playbook.run(fails=True, **mesh)
    assert (changes, playbook.names()) == (0, set())
    assert "monitoring_trust_manager_namespace" in output and playbook.namespace in output
    assert playbook.run(**mesh, trust_manager_namespace=playbook.namespace)[0] == 1
    jobs = yaml.safe_load(playbook.config_map("servicemesh-pki-monitoring")["data"]["scrape.yml"])["scrape_configs"]
    found = {job["job_name"]: job["kubernetes_sd_configs"][0]["namespaces"]["names"] for job in jobs}
    assert found["servicemesh-pki-trust-manager"] == [playbook.namespace]
    assert found["servicemesh-pki-cert-manager"] == ["cert-manager"]
    playbook.run(**mesh, monitoring_scrape=False)


def test_alert_before_each_renewal_is_refused(playbook):
    short = {"linkerd_identity_duration": "24h", "linkerd_identity_renew_before": "8h"}
    changes, output = playbook.run(fails=True, **short)
    assert (changes, playbook.names()) == (0, set())
    assert "monitoring_issuer_hours" in output and "MeshIdentityIssuerExpires" in output
    playbook.run(fails=True, **short, monitoring_issuer_hours=8)
    assert playbook.run(**short, monitoring_issuer_hours=7)[0] == 1


PATHS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
}


def test_api_server_accepts_objects_of_the_guide(playbook):
    texts = re.findall(r"```yaml\n(apiVersion:.*?)```", (ROOT / "docs/guides/monitoring.md").read_text(), re.DOTALL)
    objects = {one["kind"]: one for one in map(yaml.safe_load, texts)}
    assert set(objects) == set(PATHS)
    for kind, one in objects.items():
        one["metadata"].pop("namespace", None)
        path = PATHS[kind].format(playbook.namespace)
        playbook.kubernetes.call("POST", f"{path}?dryRun=All&fieldValidation=Strict", one)


def test_namespace_with_the_level_restricted_accepts_the_pod_of_the_cron_job(kubernetes):
    """The role linkerd sets this level if Linkerd uses the CNI plugin."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubernetes.call("POST", "/api/v1/namespaces", {"metadata": {"name": "level-restricted", "labels": labels}})
    path = "/api/v1/namespaces/level-restricted/pods?dryRun=All&fieldValidation=Strict"
    job = yaml.safe_load((ROOT / "docs/monitoring/cronjob.yml").read_text())
    pod = {"metadata": {"name": "verify"}, "spec": job["spec"]["jobTemplate"]["spec"]["template"]["spec"]}
    kubernetes.call("POST", path, pod)
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        kubernetes.call("POST", path, pod)
    assert refused.value.code == 403


def test_files_for_a_prometheus_elsewhere(playbook, operator, tmp_path):
    task = {"ansible.builtin.import_role": {"name": "servicemesh.pki.monitoring", "tasks_from": "render"}}
    play = {
        "hosts": "clusters",
        "gather_facts": False,
        "vars": {"monitoring_render_dir": str(tmp_path)},
        "tasks": [task],
    }
    (tmp_path / "render.yml").write_text(yaml.safe_dump([play]))
    command = ["ansible-playbook", str(tmp_path / "render.yml"), "-i", str(playbook.inventory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    written = {path.name: path.read_text() for path in (tmp_path / "monitoring").iterdir()}
    assert set(written) == {"rules.yml", "scrape.yml", "dashboard.json", "operator.yaml"}
    objects = list(yaml.safe_load_all(written["operator.yaml"]))
    assert [one["kind"] for one in objects] == ["PrometheusRule", *["PodMonitor"] * 3]
    for one in objects:
        path = f"/apis/{GROUP}/v1/namespaces/{one['metadata']['namespace']}/{OPERATOR[one['kind']]}"
        playbook.kubernetes.call("POST", f"{path}?dryRun=All&fieldValidation=Strict", one)
    assert "{{ $labels.cluster }}" in written["rules.yml"]
    assert json.loads(written["dashboard.json"])["uid"] == "servicemesh-pki"
