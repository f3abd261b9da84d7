# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks of the role linkerd with which adopt.yml changes a Linkerd, with the real Helm and a real API server.

Secrets must not occur in any output, with every verbosity, and errors must. The chart stands in for Linkerd's.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess

import pytest
from test_helm_releases import JOB, ROOT, Release

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49\n-----END EC PRIVATE KEY-----\n"  # noqa: E501
SECRETS = (KEY.splitlines()[1], base64.b64encode(KEY.encode()).decode())
STORED = base64.b64encode(b"H4sI").decode()[:5]  # how a release begins in its Secret
NAME, ROOTS, ISSUER = "linkerd-control-plane", "linkerd-identity-trust-roots", "linkerd-identity-issuer"
CHART = """apiVersion: v1
kind: ConfigMap
metadata: {name: linkerd-config}
data: {scheme: "{{ .Values.identity.issuer.scheme }}", level: "{{ .Values.controllerLogLevel }}"}
---
apiVersion: v1
kind: Service
metadata: {name: linkerd-identity, annotations: {scheme: "{{ .Values.identity.issuer.scheme }}"}}
spec: {type: ExternalName, externalName: standin.example}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: linkerd-identity}
spec:
  selector: {matchLabels: {app: identity}}
  template: {metadata: {labels: {app: identity}}, spec: {containers: [{name: identity, image: none}]}}
{{ if not .Values.identity.externalCA }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: linkerd-identity-trust-roots}
data: {ca-bundle.crt: {{ .Values.identityTrustAnchorsPEM | quote }}}
---
apiVersion: v1
kind: Secret
metadata: {name: linkerd-identity-issuer}
data: {key.pem: {{ .Values.identity.issuer.tls.keyPEM | b64enc }}}
{{ end }}
"""
TLS = {"crtPEM": "certificate", "keyPEM": KEY}
GIVEN = {"identityTrustAnchorsPEM": "old anchor", "identity": {"issuer": {"scheme": "linkerd.io/tls", "tls": TLS}}}
# What adopt.yml sets. A release that has only these values differs in nothing after an upgrade that failed.
SET = {
    "identityTrustAnchorsPEM": "",
    "identity": {"externalCA": True, "issuer": {"scheme": "kubernetes.io/tls", "tls": {"crtPEM": "", "keyPEM": ""}}},
}


class Adoption(Release):
    """A release of the chart, and the tasks of adopt.yml."""

    def __init__(self, api, folder, namespace: str) -> None:
        super().__init__(api, folder, namespace)
        self.version("1.0.0")
        defaults = (
            "controllerLogLevel: info\nidentity: {externalCA: false, issuer: {scheme: linkerd.io/tls, tls: {}}}\n"
        )
        (folder / "chart/values.yaml").write_text(defaults)
        self.write(CHART)
        self.environment["ANSIBLE_CALLBACK_RESULT_FORMAT"] = "json"

    def version(self, version: str) -> None:
        content = f"apiVersion: v2\nname: {NAME}\nversion: {version}\nappVersion: {version}\n"
        (self.folder / "chart/Chart.yaml").write_text(content)

    def helm_with(self, command: str, values: dict) -> subprocess.CompletedProcess:
        file = self.folder / "given.json"
        file.write_text(json.dumps(values))
        line = [str(self.helm), "--kubeconfig", str(self.api.kubeconfig), "--namespace", self.namespace, command, NAME]
        return subprocess.run(
            [*line, str(self.folder / "chart"), "--values", str(file)], capture_output=True, check=False
        )

    def adopt(self, entry: str) -> subprocess.CompletedProcess:
        """Run one of the task files, with the highest verbosity. No output contains a secret."""
        variables = {
            "linkerd_namespace": self.namespace,
            "pki_kubernetes": {"kubeconfig": str(self.api.kubeconfig)},
            "linkerd_control_plane_chart": str(self.folder / "chart"),
            "linkerd_chart_repository": "",
            "pki_helm_pending_grace": 0,
            **self.more,
        }
        defaults = {
            f"group/{group}": variables["pki_kubernetes"]
            for group in ("kubernetes.core.k8s", "servicemesh.pki.kubernetes")
        }
        tasks = [{"ansible.builtin.import_role": {"name": "servicemesh.pki.linkerd", "tasks_from": entry}}]
        if entry == "adopt_helm":  # as adopt_issuer.yml
            options = {"linkerd_namespace": self.namespace, "helm_path": "", "linkerd_path": ""}
            read = {"servicemesh.pki.mesh_prerequisites_info": options, "register": "__linkerd_found"}
            tasks.insert(0, {**read, "no_log": True})  # it shows a key in base64 below a name that does not suggest it
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
        (self.folder / "play.yml").write_text(json.dumps([{**play, "module_defaults": defaults}]))
        command = [
            "ansible-playbook",
            self.folder / "play.yml",
            "-e",
            json.dumps(variables),
            "-vvvv",
            "--diff",
        ]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )
        shown = done.stdout + done.stderr
        assert not [secret for secret in (*SECRETS, STORED) if secret in shown]
        return done

    def problems(self) -> list[dict]:
        """What adopt.yml reports of the release before the first change."""
        done = self.adopt("adopt_chart")
        assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout[-6000:]
        name = '"linkerd_adopt_problems": '
        return json.JSONDecoder().raw_decode(done.stdout, done.stdout.index(name) + len(name))[0]

    def patch(self, path: str, body: dict) -> None:
        self.api.call("PATCH", f"/api/v1/namespaces/{self.namespace}/{path}", body, "application/merge-patch+json")

    def stored(self) -> dict:
        return json.loads(self.run("get", "values", NAME, "--output", "json"))

    def schemes(self) -> list[str]:
        """Those of the values and of the stand-in for the controller, which Helm writes after them."""
        controller = self.api.call("GET", f"/api/v1/namespaces/{self.namespace}/services/linkerd-identity")
        return [self.map("linkerd-config")["data"]["scheme"], controller["metadata"]["annotations"]["scheme"]]


@pytest.fixture
def mesh(kubernetes, tmp_path, request):
    """A Linkerd whose trust anchors and issuer were passed to its chart, and that is prepared for the upgrade."""
    namespace = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-50:].strip("-")
    kubernetes.namespace(namespace)
    mesh = Adoption(kubernetes, tmp_path, namespace)
    installed = mesh.helm_with("install", GIVEN)
    assert installed.returncode == 0, installed.stderr
    for path in (f"configmaps/{ROOTS}", f"secrets/{ISSUER}"):  # as adopt_anchors
        mesh.patch(path, {"metadata": {"annotations": {"helm.sh/resource-policy": "keep"}}})
    return mesh


def text(done: subprocess.CompletedProcess) -> str:
    return " ".join(done.stdout.split())


OLD, NEW = "linkerd.io/tls", "kubernetes.io/tls"
IN_BETWEEN = """{{ if .Values.identity.externalCA }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: late, namespace: NAMESPACE-late}
{{ end }}
"""


def assert_adopted(mesh: Adoption, values: dict) -> None:
    assert mesh.problems() == []
    done = mesh.adopt("adopt_helm")
    assert done.returncode == 0, done.stdout[-6000:]
    assert (mesh.status(), mesh.schemes(), mesh.stored()) == ("deployed", [NEW, NEW], values)
    assert mesh.map(ROOTS)["data"] == {"ca-bundle.crt": "old anchor"}  # trust-manager changes it


@pytest.mark.parametrize("more", [{}, {"controllerLogLevel": "debug"}])
def test_an_upgrade_that_failed_half_way_is_repeated(mesh, kubernetes, more):
    """As after a webhook or a quota that refused the Deployment of the identity controller."""
    if more:
        assert mesh.helm_with("upgrade", {**GIVEN, **more}).returncode == 0
    mesh.write(CHART + IN_BETWEEN.replace("NAMESPACE", mesh.namespace))
    failed = mesh.adopt("adopt_helm")
    assert failed.returncode != 0
    assert f'namespaces "{mesh.namespace}-late" not found' in text(failed)
    assert "linkerd_control_plane_chart" in text(failed)
    assert (mesh.status(), mesh.schemes()) == ("failed", [NEW, OLD])
    kubernetes.namespace(f"{mesh.namespace}-late")
    assert_adopted(mesh, {**SET, **more})
    assert mesh.map("linkerd-config")["data"]["level"] == more.get("controllerLogLevel", "info")


@pytest.mark.parametrize("hook", ["pre-upgrade", "post-upgrade"])
def test_an_upgrade_that_was_killed_is_repeated(mesh, hook):
    mesh.write(CHART + "---\n" + JOB.replace("pre-install", hook))
    (mesh.folder / "set.json").write_text(json.dumps(SET))
    chart = str(mesh.folder / "chart")
    mesh.kill("pending-upgrade", "upgrade", NAME, chart, "--reuse-values", "--values", str(mesh.folder / "set.json"))
    mesh.write(CHART)
    assert_adopted(mesh, SET)


@pytest.mark.parametrize("version", ["1.0.0", "1.0.1"])
@pytest.mark.parametrize("status", ["pending-upgrade", "failed"])
def test_an_unfinished_upgrade_of_others_is_neither_removed_nor_continued(mesh, status, version):
    """With the values of the user, and with another version. The user undoes it, and the adoption continues."""
    values = {**GIVEN, "controllerLogLevel": "debug"}
    mesh.version(version)
    if status == "failed":
        mesh.write(CHART + IN_BETWEEN.replace("NAMESPACE", mesh.namespace).replace(" if ", " if not "))
        assert mesh.helm_with("upgrade", values).returncode != 0
    else:
        mesh.write(CHART + "---\n" + JOB.replace("pre-install", "pre-upgrade"))
        (mesh.folder / "user.json").write_text(json.dumps(values))
        mesh.kill(status, "upgrade", NAME, str(mesh.folder / "chart"), "--values", str(mesh.folder / "user.json"))
    mesh.write(CHART)
    history = mesh.run("history", NAME, "--output", "json")
    assert [one["code"] for one in mesh.problems()] == ["release_unfinished"]
    failed = mesh.adopt("adopt_helm")
    assert failed.returncode != 0 and f"{mesh.namespace}/{NAME}" in text(failed) and version in text(failed)
    assert (mesh.run("history", NAME, "--output", "json"), mesh.status()) == (history, status)
    mesh.run("rollback", NAME)
    mesh.version("1.0.0")
    assert_adopted(mesh, SET)
    assert json.loads(mesh.run("list", "--output", "json"))[0]["chart"] == f"{NAME}-1.0.0"


def test_an_installation_that_failed_is_adopted(mesh):
    """After a hook. Helm upgrades it, because there is no earlier revision whose values it could use."""
    mesh.run("uninstall", NAME)
    hook = JOB.replace("pre-install", "post-install").replace("name: wait,", f"name: wait, namespace: {NAME}-late,")
    mesh.write(CHART + "---\n" + hook)
    assert mesh.helm_with("install", GIVEN).returncode != 0 and mesh.status() == "failed"
    mesh.write(CHART)
    assert mesh.problems() == []
    done = mesh.adopt("adopt_helm")
    assert done.returncode == 0, done.stdout[-6000:]
    assert (mesh.status(), mesh.stored()) == ("deployed", SET)


def test_the_error_of_a_chart_that_does_not_exist_is_shown(mesh):
    mesh.more = {"linkerd_control_plane_chart": NAME, "linkerd_chart_repository": "http://127.0.0.1:1"}
    failed = mesh.adopt("adopt_helm")
    assert failed.returncode != 0 and "127.0.0.1:1" in text(failed) and "linkerd_chart_repository" in text(failed)


@pytest.mark.parametrize(
    ("variables", "cause"),
    [
        ({}, ""),
        ({"linkerd_control_plane_chart": NAME, "linkerd_chart_repository": "http://127.0.0.1:1"}, "127.0.0.1:1"),
        ({"version": "1.0.1"}, "it has version 1.0.1"),
    ],
)
def test_a_chart_that_helm_cannot_use_is_found_before_the_first_change(mesh, variables, cause):
    mesh.version(variables.get("version", "1.0.0"))
    mesh.more = variables
    found = mesh.problems()
    assert [one["code"] for one in found] == (["chart_unavailable"] if cause else [])
    assert all(cause in one["message"] and "linkerd_control_plane_chart" in one["message"] for one in found)


def test_secrets_in_an_error_of_helm_are_hidden(mesh):
    """A chart that fails with its values."""
    mesh.write(CHART + "{{ if .Values.identity.externalCA }}{{ fail (printf `cause: %s` .Values.key) }}{{ end }}")
    for key in (KEY, base64.b64encode(KEY.encode()).decode()):
        assert mesh.helm_with("upgrade", {**GIVEN, "key": key}).returncode == 0
        failed = mesh.adopt("adopt_helm")
        assert failed.returncode != 0 and "cause: (hidden)" in text(failed)


def user(mesh: Adoption, **verbs: list[str]) -> None:
    """Use a login with these permissions for kinds of the core group."""
    name, group = f"user-of-{mesh.namespace}", "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": [kind], "verbs": found} for kind, found in verbs.items()]
    path = f"/apis/{group}/v1/namespaces/{mesh.namespace}"
    mesh.api.call("POST", f"{path}/roles", {"metadata": {"name": name}, "rules": rules})
    subject = {"apiGroup": group, "kind": "User", "name": name}
    role = {"apiGroup": group, "kind": "Role", "name": name}
    mesh.api.call("POST", f"{path}/rolebindings", {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]})
    mesh.more = {"pki_kubernetes": {"kubeconfig": str(mesh.api.kubeconfig), "impersonate_user": name}}


@pytest.mark.parametrize("entry", ["adopt_anchors", "adopt_finish"])
def test_the_objects_of_the_chart_are_handed_over_without_showing_the_key(mesh, entry):
    """Also if kubectl has stored the key in an annotation, and if the API server refuses the change."""
    path = f"/api/v1/namespaces/{mesh.namespace}/secrets/{ISSUER}"
    applied = json.dumps({"data": {"key.pem": SECRETS[1]}})
    notes = {"kubectl.kubernetes.io/last-applied-configuration": applied, "helm.sh/resource-policy": None}
    notes = {"metadata": {"annotations": notes}}
    mesh.patch(f"secrets/{ISSUER}", notes)
    allowed, mesh.more = mesh.more, {}
    user(mesh, configmaps=["get", "patch"], secrets=["get"])
    refused = mesh.adopt(entry)
    assert refused.returncode != 0
    assert re.search(rf"secrets .*{ISSUER}.* is forbidden", text(refused)) and "cannot patch" in text(refused)
    mesh.more = allowed
    done = mesh.adopt(entry)
    assert done.returncode == 0, done.stdout[-6000:]
    found = mesh.api.call("GET", path)
    annotations = found["metadata"].get("annotations") or {}
    if entry == "adopt_anchors":
        assert annotations["helm.sh/resource-policy"] == "keep" and "key.pem" in found["data"]
    else:
        assert "key.pem" not in found.get("data", {}) and SECRETS[1] not in json.dumps(annotations)


CLI = """#!/usr/bin/env python3
import json, pathlib, sys
print({manifest!r}) if sys.argv[1] == "upgrade" else print("edge-1.1.1")
sys.stderr.write({error!r})
sys.exit({code})
"""


@pytest.mark.parametrize(
    ("manifest", "error", "code", "cause"),
    [
        ({}, 'no configmaps "linkerd-config" found', 1, 'no configmaps "linkerd-config" found'),
        ({}, f"invalid value: {KEY}", 1, "invalid value: (hidden)"),
        ({"namespace": "missing"}, "", 0, 'namespaces "missing" not found'),
        ({"labels": {"app": "not/a/value/"}}, "", 0, "metadata.labels: Invalid value"),
        ({"labels": {"key": SECRETS[1]}}, "", 0, "(hidden)"),
        ({}, "", 0, ""),
    ],
)
def test_errors_of_the_cli_and_of_its_manifests_are_shown_without_keys(mesh, manifest, error, code, cause):
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"tls.key": SECRETS[1]}}
    secret["metadata"] = {"name": "linkerd-proxy-injector-k8s-tls", "namespace": mesh.namespace, **manifest}
    cli = mesh.folder / "linkerd"
    cli.write_text(CLI.format(manifest=json.dumps(secret), error=error, code=code))
    cli.chmod(0o700)
    mesh.more = {"linkerd_cli": str(cli)}
    done = mesh.adopt("adopt_cli")
    assert (done.returncode == 0) == (not cause), done.stdout[-6000:]
    assert cause in text(done).replace('\\"', '"').replace('\\"', '"')
