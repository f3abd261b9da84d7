# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Prometheus operator configures Prometheus with the objects of monitoring.yml. `nox -s prometheus` builds it.

The operator runs beside the cluster and reaches it through kubectl proxy. Its Prometheus has no pods, because the lab
has no image of Prometheus.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support import alert_rules
from support.lab import until
from support.mesh import Mesh

from lab.prometheus import kubectl_proxy, operator_definitions

NAMESPACE, NAME = "linkerd", "test"
EVERYWHERE = {
    "podMonitorSelector": {},
    "podMonitorNamespaceSelector": {},
    "ruleSelector": {},
    "ruleNamespaceSelector": {},
}
PROMETHEUS = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "Prometheus",
    "metadata": {"name": NAME, "namespace": NAMESPACE},
    "spec": {"replicas": 0, **EVERYWHERE},
}


@pytest.fixture(scope="module")
def mesh(expendable_mesh, tmp_path_factory) -> Iterator[Mesh]:
    """A mesh with the operator and a Prometheus."""
    expendable_mesh.ensure()
    definitions = operator_definitions()
    for definition in definitions.values():
        expendable_mesh.kubectl("create", "-f", "-", given=json.dumps(definition))
    log = tmp_path_factory.mktemp("operator") / "log"
    program = os.environ["SERVICEMESH_PKI_PROMETHEUS_OPERATOR"]
    with kubectl_proxy(expendable_mesh.env) as address, log.open("w") as output:
        options = (f"--apiserver=http://{address}", "--web.listen-address=127.0.0.1:0")
        running = subprocess.Popen([program, *options], stdout=output, stderr=output)
        try:
            expendable_mesh.kubectl("create", "-f", "-", given=json.dumps(PROMETHEUS))
            yield expendable_mesh
        finally:
            running.terminate()
            running.wait(timeout=30)
            print(log.read_text()[-3000:])
            expendable_mesh.kubectl("delete", "customresourcedefinition", *definitions)


def configuration(mesh: Mesh) -> dict:
    """What the operator has written for Prometheus."""
    text = mesh.data("secret", f"prometheus-{NAME}", "prometheus.yaml.gz", NAMESPACE)
    return yaml.safe_load(gzip.decompress(base64.b64decode(text)))


def test_prometheus_gets_the_jobs_and_rules(mesh, tmp_path: Path):
    done = mesh.play("playbooks/monitoring.yml")
    assert done.rc == 0, done.output[-3000:]
    names = ("cert-manager", "trust-manager", "linkerd-identity")
    expected = {f"podMonitor/{NAMESPACE}/servicemesh-pki-{name}/0" for name in names}
    written = (f"secret/prometheus-{NAME}", f"configmap/prometheus-{NAME}-rulefiles-0")
    mesh.kubectl("wait", *written, "-n", NAMESPACE, "--for=create", "--timeout=120s")
    until(lambda: {job["job_name"] for job in configuration(mesh)["scrape_configs"]} == expected)
    files = mesh.get("configmap", f"prometheus-{NAME}-rulefiles-0", "-n", NAMESPACE)["data"]
    [found] = [yaml.safe_load(text) for text in files.values()]
    assert alerts(found) == alerts(alert_rules.rules(monitoring_issuer_kind="ClusterIssuer"))
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump({**configuration(mesh), "rule_files": []}))
    command = [os.environ["SERVICEMESH_PKI_PROMTOOL"], "check", "config", "--syntax-only", str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def alerts(rules: dict) -> list[tuple[str, str]]:
    found = [rule for group in rules["groups"] for rule in group["rules"]]
    return sorted((rule.get("alert", rule.get("record")), rule["expr"]) for rule in found)
