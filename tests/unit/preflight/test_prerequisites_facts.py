# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases and objects as Helm and Kubernetes store them."""

from __future__ import annotations

import base64
import gzip
import json

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._common import labels
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites import facts, helm

MANIFEST = """---
# Source: x
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    a: b
  name: "servers.policy.linkerd.io"
spec:
  names:
    name: no
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: kind-is-not-enough
data:
  text: "kind: CustomResourceDefinition"
--- # another
kind: CustomResourceDefinition
apiVersion: apiextensions.k8s.io/v1
metadata:
  name: httproutes.gateway.networking.k8s.io
"""


def stored(**changes):
    release = {
        "name": "linkerd-crds", "namespace": "linkerd", "version": 3, "info": {"status": "deployed"}, "config": {},
        "chart": {"metadata": {"name": "linkerd-crds", "version": "1.7.0", "appVersion": "edge"}}, "manifest": MANIFEST,
        **changes,
    }  # fmt: skip
    return base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode()))).decode()


def test_a_release_is_read():
    found = helm.facts(helm.decode(stored()))
    assert (found["chart"], found["chart_version"], found["revision"], found["managed"]) == (
        "linkerd-crds",
        "1.7.0",
        3,
        "",
    )
    assert found["definitions"] == ["httproutes.gateway.networking.k8s.io", "servers.policy.linkerd.io"]


@pytest.mark.parametrize("text", ["", "x", "eA==", base64.b64encode(base64.b64encode(b"[]")).decode(),
                                  base64.b64encode(base64.b64encode(b"\x1f\x8bxx")).decode()])  # fmt: skip
def test_what_is_no_release_is_one_kind_of_error(text):
    with pytest.raises(helm.ReleaseError):
        helm.decode(text)


def test_missing_parts_of_a_release_are_empty():
    found = helm.facts({"chart": None, "info": None, "config": None, "version": "x"})
    assert (found["chart"], found["status"], found["revision"], found["user_values"]) == ("", "unknown", 0, {})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ""),
        ({"deploymentAnnotations": {helm.MARK: "installed"}}, "installed"),
        ({helm.MARK: "taken-over"}, "taken-over"),
        ({helm.MARK: "else"}, ""),
        ({"podAnnotations": {helm.EARLIER_MARK: "abc"}}, "installed"),
        (
            {"a": {helm.EARLIER_MARK: "abc"}, "b": {helm.MARK: "taken-over"}},
            "taken-over",
        ),
        ({"list": [{"x": {helm.MARK: "installed"}}]}, "installed"),
    ],
)
def test_the_mark(values, expected):
    assert helm.mark(values) == expected


def test_secrets_in_values_are_hidden():
    values = {
        "identity": {"issuer": {"tls": {"crtPEM": "public", "keyPEM": "k"}}},
        "extra": ["a", "-----BEGIN EC PRIVATE KEY-----"], "adminPassword": "p", "password": "",
        "tokenSecretRef": "name",
        "imagePullSecrets": [{"name": "pull"}], "apiToken": "t",
    }  # fmt: skip
    shown, hidden = helm.visible(values)
    assert hidden == ["identity.issuer.tls.keyPEM", "extra[1]", "adminPassword", "apiToken"]
    assert shown["identity"]["issuer"]["tls"] == {"crtPEM": "public", "keyPEM": helm.HIDDEN}
    assert (shown["imagePullSecrets"], shown["tokenSecretRef"]) == ([{"name": "pull"}], "name")


def test_secrets_in_environment_variables_and_urls_are_hidden():
    variables = [
        {"name": "AWS_SECRET_ACCESS_KEY", "value": "k"},
        {"name": "HTTPS_PROXY", "value": "http://user:password@proxy:3128"},
        {"name": "VAULT_TOKEN", "valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}},
        {"name": "NO_PROXY", "value": "http://proxy:3128/@x"}, {"name": "apiToken"}, {"name": 5, "value": "v"},
    ]  # fmt: skip
    shown, hidden = helm.visible({"extraEnv": variables})
    assert hidden == ["extraEnv[0].value", "extraEnv[1].value"]
    assert [one.get("value") for one in shown["extraEnv"][:2]] == [helm.HIDDEN] * 2
    assert shown["extraEnv"][2:] == variables[2:]


@pytest.mark.parametrize("key", ["-----BEGIN PRIVATE KEY-----\nMC4CAQAw", "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE"])
@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_private_keys_in_base64_are_hidden_under_any_name(key, before):
    encoded = base64.b64encode(f"{before}{key}".encode()).decode()
    values = {
        "key": encoded,
        "wrapped": "\n".join([encoded[:20], encoded[20:], ""]),
        "cert": "LS0tLS1CRUdJTiBD",
        "é": "é",
    }
    shown, hidden = helm.visible(values)
    assert hidden == ["key", "wrapped"] and (shown["cert"], shown["é"]) == (values["cert"], "é")


def container(name, image="x/y:v1", *args):
    return {"name": name, "image": image, "args": list(args)}


def deployment(name, *containers, labels=None, annotations=None):
    meta = {"name": name, "namespace": "ns", "labels": labels or {}, "annotations": annotations or {}}
    return {
        "metadata": meta,
        "spec": {"template": {"spec": {"serviceAccountName": "sa", "containers": list(containers)}}},
    }


def test_controllers_of_charts_and_of_static_manifests():
    helm_release = {facts.RELEASE_NAME: "cm", facts.RELEASE_NAMESPACE: "ns"}
    found = facts.deployment_facts(
        [
            deployment("cm", container("cert-manager-controller"), annotations=helm_release,
                       labels={"app.kubernetes.io/version": "v1.21.2"}),
            deployment("tm", container("own-name", "r:5/t@sha256:1", "--trust-namespace=trust")),
            deployment("trust-manager", container("trust-manager", "r/t:v0.25.0@sha256:1",
                                                  "--target-namespaces=a,b", "--target-namespaces=c")),
            deployment("linkerd-identity", container("identity", "cr/c:edge-26.6.3"), container("linkerd-proxy")),
            deployment("web", container("app")),
        ]
    )  # fmt: skip
    shown = [(one["component"], one["version"], one["release"], one.get("trust_namespace")) for one in found]
    assert shown == [
        ("cert-manager", "v1.21.2", {"name": "cm", "namespace": "ns"}, None),
        ("trust-manager", "", None, "trust"),
        ("trust-manager", "v0.25.0", None, "cert-manager"),
        ("linkerd", "edge-26.6.3", None, None),
    ]
    assert [one.get("target_namespaces") for one in found] == [None, [], ["a", "b", "c"], None]


def test_webhooks_lead_to_the_namespaces_of_controllers():
    def webhook(group, namespace):
        service = {"namespace": namespace, "name": "w"}
        return {"webhooks": [{"rules": [{"apiGroups": [group]}], "clientConfig": {"service": service}}]}

    remote = {"webhooks": [{"clientConfig": {"url": "https://x"}, "rules": [{"apiGroups": ["cert-manager.io"]}]}]}
    names = {"cert-manager.io": "security", "apps": "other", "trust.cert-manager.io": "trust"}
    found = [remote, *(webhook(group, namespace) for group, namespace in names.items())]
    assert facts.webhook_namespaces(found) == {"security", "trust"}


def test_definitions_by_component():
    def crd(name, **annotations):
        return {"metadata": {"name": name, "annotations": annotations}}

    found = facts.definition_facts(
        [
            crd("orders.acme.cert-manager.io"), crd("bundles.trust.cert-manager.io"), crd("x.example.com"),
            crd("httproutes.gateway.networking.k8s.io", **{facts.BUNDLE_VERSION: "v1.5.1", facts.CHANNEL: "standard"}),
            crd("servers.policy.linkerd.io", **{facts.POLICY: "keep"}),
        ]
    )  # fmt: skip
    assert {one["name"].partition(".")[0]: one["component"] for one in found} == {
        "orders": "cert-manager", "bundles": "trust-manager", "httproutes": "gateway-api", "servers": "linkerd",
    }  # fmt: skip
    assert [one["kept"] for one in found if one["component"] == "linkerd"] == [True]


WANTED = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Issuer",
    "metadata": {"name": "a", "namespace": "b"},
    "spec": {"vault": {"path": "p", "caBundle": None}},
}


@pytest.mark.parametrize(
    ("spec", "matches"),
    [
        ({"vault": {"path": "p"}}, True),
        ({"vault": {"path": "p", "server": "added"}, "more": 1}, True),
        ({"vault": {"path": "other"}}, False),
        ({"vault": {"path": "p", "caBundle": "x"}}, False),
        ({}, False),
    ],
)
def test_objects_are_compared_by_what_a_run_would_write(spec, matches):
    live = {"metadata": {"name": "a", "managedFields": [{"manager": "kubectl"}]}, "spec": spec}
    found = facts.object_facts(WANTED, live)
    assert (found["exists"], found["managed"], found["matches"], found["owner"]) == (True, False, matches, "kubectl")


def test_an_object_that_does_not_exist_matches_nothing():
    found = facts.object_facts(WANTED, None)
    assert (found["exists"], found["matches"], found["managed"]) == (False, False, False)


@pytest.mark.parametrize(("found", "definition", "expected"), [
    ([1, 2], [1, 2], True), ([1], [1, 2], False), ([{"a": 1, "b": 2}], [{"a": 1}], True), (None, False, True),
    (None, "", True), (None, 1, False), ("x", ["x"], False), (None, [], True), (None, {}, True),
])  # fmt: skip
def test_includes(found, definition, expected):
    assert facts.includes(found, definition) is expected


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"annotations": {facts.RELEASE_NAME: "r", facts.RELEASE_NAMESPACE: "n"}}, "Helm release n/r"),
        ({"labels": {sources.BUNDLE_LABEL: "b"}}, "Bundle b"),
        ({"annotations": {sources.CERTIFICATE_NAME: "c"}}, "Certificate c"),
        ({"annotations": {facts.CREATED_BY: "linkerd/cli x"}}, "linkerd/cli x"),
        ({}, ""),
    ],
)
def test_owners(meta, expected):
    assert facts.owner(meta) == expected


def test_a_namespace_and_what_is_in_it():
    secrets = [
        {"metadata": {"labels": {"owner": "helm"}}},
        {"metadata": {}},
        {"metadata": {"labels": {"owner": "helm"}}},
    ]
    found = facts.namespace_facts({"metadata": {"labels": {labels.MANAGED_BY: labels.OWN_NAME}}}, secrets)
    assert (found["exists"], found["managed"], found["secrets"], found["releases"]) == (True, True, 1, 2)
    assert not facts.namespace_facts(None, [])["exists"]


@pytest.mark.parametrize(
    ("labels", "annotations", "expected"),
    [
        ({}, {}, ""),
        ({"app.kubernetes.io/instance": "mesh"}, {}, ""),  # Helm has it, too
        ({"argocd.argoproj.io/instance": "mesh"}, {}, "Argo CD application mesh"),
        (
            {},
            {"argocd.argoproj.io/tracking-id": "mesh:trust.cert-manager.io/Bundle:/roots"},
            "Argo CD application mesh",
        ),
        (
            {"kustomize.toolkit.fluxcd.io/name": "mesh", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"},
            {},
            "Flux Kustomization flux-system/mesh",
        ),
        (
            {"helm.toolkit.fluxcd.io/name": "mesh", "helm.toolkit.fluxcd.io/namespace": "flux-system"},
            {},
            "Flux HelmRelease flux-system/mesh",
        ),
        (
            {"kustomize.toolkit.fluxcd.io/name": "mesh"},
            {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
            "",
        ),
    ],
)
def test_what_applies_an_object_from_git(labels, annotations, expected):
    assert facts.gitops_source({"labels": labels, "annotations": annotations}) == expected


@pytest.mark.parametrize(("annotations", "expected"), [
    (None, {}),
    ({"cert-manager.io/issuer-name": "mesh", "cert-manager.io/issuer-kind": "AWSPCAClusterIssuer",
      "cert-manager.io/issuer-group": "awspca.cert-manager.io"},
     {"group": "awspca.cert-manager.io", "kind": "AWSPCAClusterIssuer", "name": "mesh"}),
    # A Certificate without these fields of issuerRef.
    ({"cert-manager.io/issuer-name": "vault", "cert-manager.io/issuer-group": ""},
     {"group": "cert-manager.io", "kind": "Issuer", "name": "vault"}),
])  # fmt: skip
def test_the_issuer_of_a_secret_is_in_its_annotations(annotations, expected):
    """cert-manager: internal/controller/certificates, AnnotationsForCertificate."""
    assert facts.issuer_reference({"annotations": annotations}) == expected
