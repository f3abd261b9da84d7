# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters in use: cert-manager, trust-manager and Linkerd of others, and an application with steady traffic."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.company import Company
from support.issuers import IDENTITY, RootCA, ca_issuer
from support.lab import CREATION_TIMEOUT, until, version_of

APP = "shop"
GATEWAY_API = "gateway.networking.k8s.io"
SHORT_ROOT = "short.root.linkerd.cluster.local"
# These change without anybody's doing.
RESTLESS = ("events", "events.events.k8s.io", "leases.coordination.k8s.io", "nodes", "endpoints",
            "endpointslices.discovery.k8s.io", "componentstatuses")  # fmt: skip
HELM_WAIT = ("--wait", "--timeout=540s")  # for a busy machine, below COMMAND_SECONDS
TEAM_BUNDLE = {
    "apiVersion": "trust.cert-manager.io/v1alpha1",
    "kind": "Bundle",
    "metadata": {"name": "team-x"},
    "spec": {
        "sources": [{"configMap": {"name": "team-x-source", "key": "ca.pem"}}],
        "target": {"configMap": {"key": "ca.pem"}, "namespaceSelector": {"matchLabels": {"team": "x"}}},
    },
}


@dataclass
class Traffic:
    """Requests of one workload to another, each over its own connection."""

    sent: int = 0
    failed: list[str] = field(default_factory=list)


class Existing(Company):
    """A company with two clusters. The methods are what its teams did before they heard of this collection."""

    name = "existing"
    options = ()

    @property
    def second(self) -> str:
        return f"{self.cluster}-2"

    @property
    def second_kubeconfig(self) -> str:
        return str(self.kubeconfig.parent / "second.yaml")

    def create_second(self) -> None:
        self.run(
            "k3d", "cluster", "create", self.second, "--image", self.parts["node_image"], "--network",
            self.names.network, "--no-lb", CREATION_TIMEOUT, "--kubeconfig-update-default=false",
            "--kubeconfig-switch-context=false",
        )  # fmt: skip
        self.run("k3d", "kubeconfig", "write", self.second, "--output", self.second_kubeconfig)

    def remove(self) -> None:
        self.execute("k3d", "cluster", "delete", self.second)
        super().remove()

    def on_second(self) -> dict:
        """Variables of a run for the second cluster."""
        return {
            "pki_kubernetes": {"kubeconfig": self.second_kubeconfig, "context": f"k3d-{self.second}"},
            "vault_issuer_cluster": "second",
            "vault_issuer_kubernetes_host": f"https://k3d-{self.second}-server-0:6443",
        }

    def apply(self, *objects: dict) -> None:
        self.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def helm(self, *arguments: str, values: dict | None = None) -> str:
        """Run Helm. A failure of an installation comes with what the pods wait for."""
        file = self.home / "values.json"
        file.write_text(json.dumps(values or {}))
        given = ("--values", str(file)) if values is not None else ()
        done = self.execute("helm", *arguments, *given)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}{self.waiting()}"
        return done.stdout

    def waiting(self) -> str:
        """Pods, certificates that are not issued, and the last events."""
        wanted = (
            ("get", "pods", "-A", "-o", "wide"),
            ("get", "certificates,certificaterequests,issuers", "-A"),
            ("get", "events", "-A", "--sort-by=.metadata.creationTimestamp"),
        )
        return "\n".join(self.execute("kubectl", *arguments).stdout[-8000:] for arguments in wanted)

    def install_managers(self, trust_manager: str = "trust-manager") -> None:
        """cert-manager with its own values, and trust-manager with its default trust namespace and a Bundle.

        `trust_manager` is the name of its release.
        """
        charts = self.parts["charts"]
        self.helm(
            "install", "cert-manager", charts["cert_manager"], "-n", "cert-manager", "--create-namespace", *HELM_WAIT,
            values={"crds": {"enabled": True}, "replicaCount": 2, "podLabels": {"team": "platform"},
                    "startupapicheck": {"enabled": False}},
        )  # fmt: skip
        self.helm(
            "install", trust_manager, charts["trust_manager"], "-n", "cert-manager", *HELM_WAIT,
            values={"defaultPackage": {"enabled": False}},
        )  # fmt: skip
        pem = (self.home / "ca.pem").read_text()
        source = {"name": "team-x-source", "namespace": "cert-manager"}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-x", "labels": {"team": "x"}}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": source, "data": {"ca.pem": pem}},
            TEAM_BUNDLE,
        )
        until(lambda: self.data("configmap", "team-x", "ca.pem", "team-x"))

    def mark_gateway_api(self, version: str, channel: str) -> None:
        """As if others had installed this version, from this channel. The content stays the same."""
        marks = (f"{GATEWAY_API}/bundle-version={version}", f"{GATEWAY_API}/channel={channel}")
        self.kubectl("annotate", "--overwrite", "customresourcedefinition", *self.gateway_api(), *marks)

    def gateway_api(self) -> dict[str, tuple[str, str]]:
        """The CRDs of the Gateway API, with the version of the Gateway API and of the object."""
        found = [one for one in self.get("customresourcedefinitions")["items"] if one["spec"]["group"] == GATEWAY_API]
        assert found
        return {
            meta["name"]: (meta["annotations"][f"{GATEWAY_API}/bundle-version"], meta["resourceVersion"])
            for meta in (one["metadata"] for one in found)
        }

    def make_identity(self) -> dict[str, str]:
        """A trust anchor and an issuer, as the guides of Linkerd make them."""
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        at = {
            name: str(self.home / f"own-{name}")
            for name in ("ca.pem", "ca.key", "issuer.pem", "issuer.key", "csr", "ext")
        }
        (self.home / "own-ext").write_text(
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
            "subjectAltName=DNS:identity.linkerd.cluster.local\n"
        )
        name = "/CN=identity.linkerd.cluster.local"
        for arguments in (
            ("req", "-x509", *key, "-keyout", at["ca.key"], "-out", at["ca.pem"], "-days", "90", "-subj",
             "/CN=own.root.linkerd.cluster.local"),
            ("req", *key, "-keyout", at["issuer.key"], "-out", at["csr"], "-subj", name),
            ("x509", "-req", "-in", at["csr"], "-CA", at["ca.pem"], "-CAkey", at["ca.key"], "-CAcreateserial", "-days",
             "60", "-extfile", at["ext"], "-out", at["issuer.pem"]),
        ):  # fmt: skip
            self.run("openssl", *arguments)
        return at

    def make_short_identity(self, seconds: int) -> dict[str, str]:
        """A trust anchor and an issuer that expire after some seconds, which openssl 3.0 cannot make, but Vault can."""
        at = {name: str(self.home / f"short-{name}") for name in ("ca.pem", "issuer.pem", "issuer.key")}

        def write(path: str, **data: object) -> dict:
            return self.vault("POST", path, data, self.token)[1].get("data") or {}

        write("sys/mounts/short", type="pki")
        root = write("short/root/generate/internal", common_name=SHORT_ROOT, ttl=f"{seconds}s", key_type="ec")
        signer = f"short/issuer/{root['issuer_id']}/sign-intermediate"
        request = write("short/intermediate/generate/exported", common_name=IDENTITY, key_type="ec")
        named = {"csr": request["csr"], "common_name": IDENTITY, "alt_names": IDENTITY, "max_path_length": 0}
        issuer = write(signer, **named, ttl=f"{seconds - 10}s")
        contents = (root["certificate"], issuer["certificate"], request["private_key"])
        for path, text in zip(at.values(), contents, strict=True):
            Path(path).write_text(f"{text.strip()}\n")
        return at

    def let_short_root_sign(self, seconds: int) -> dict[str, str]:
        """Replace root and identity issuer of a mesh of this collection by those of `make_short_identity`.

        cert-manager cannot renew that issuer, as below a root that is about to expire: Vault refuses the path.
        """
        at = self.make_short_identity(seconds)
        self.patch("issuer/vault", "linkerd", {"spec": {"vault": {"path": "short/root/sign-intermediate"}}})

        def is_read() -> bool:
            found = self.get("issuer/vault", "-n", "linkerd")
            read = [one.get("observedGeneration") for one in found["status"]["conditions"]]
            return read == [found["metadata"]["generation"]]

        until(is_read)
        pem, *texts = (Path(at[name]).read_text() for name in ("ca.pem", "issuer.pem", "issuer.key"))
        contents = zip(("ca.crt", "tls.crt", "tls.key"), (pem, *texts), strict=True)
        data = {name: base64.b64encode(text.encode()).decode() for name, text in contents}
        self.patch("secret/linkerd-identity-issuer", "linkerd", {"data": data})
        named = "--field-selector=metadata.name=linkerd-trust-anchors"
        (source,) = self.get("configmaps", "--all-namespaces", named)["items"]
        self.patch("configmap/linkerd-trust-anchors", source["metadata"]["namespace"], {"data": {"ca-bundle.crt": pem}})
        until(lambda: self.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt").strip() == pem.strip())
        for namespace in ("linkerd", APP):
            self.kubectl("rollout", "restart", "deployment", "-n", namespace)
            for name in self.kubectl("get", "deployments", "-n", namespace, "-o", "name").split():
                self.kubectl("rollout", "status", name, "-n", namespace, "--timeout=300s")
        until(lambda: self.request().returncode == 0)
        return at

    def patch(self, item: str, namespace: str, change: dict) -> None:
        self.kubectl("patch", item, "-n", namespace, "--type=merge", "-p", json.dumps(change))

    def install_linkerd_with_its_cli(self, identity: dict[str, str] | None = None) -> None:
        at = identity or self.make_identity()
        values = self.home / "linkerd.json"
        values.write_text(json.dumps(self.parts["linkerd_values"]))
        self.kubectl("apply", "-f", self.parts["gateway_api_crds"])
        self.kubectl("apply", "-f", "-", given=self.run("linkerd", "install", "--crds"))
        install = self.run(
            "linkerd", "install", "--values", str(values), "--identity-trust-anchors-file", at["ca.pem"],
            "--identity-issuer-certificate-file", at["issuer.pem"], "--identity-issuer-key-file", at["issuer.key"],
        )  # fmt: skip
        self.kubectl("apply", "-f", "-", given=install)
        self.wait_for_linkerd()

    def remove_linkerd_of_its_cli(self) -> None:
        self.kubectl("delete", "namespace", APP)
        self.kubectl("delete", "-f", "-", "--ignore-not-found", given=self.run("linkerd", "uninstall", "--force"))

    def install_linkerd_with_helm(self) -> None:
        at = self.make_identity()
        anchor, issuer, key = (Path(at[name]).read_text() for name in ("ca.pem", "issuer.pem", "issuer.key"))
        self.install_linkerd_charts(anchor, {"tls": {"crtPEM": issuer, "keyPEM": key}})

    def install_linkerd_with_cert_manager(self) -> None:
        """The trust anchor is in the values of the chart, and a CA issuer of cert-manager signs with its key."""
        if "cert-manager" not in self.run("helm", "list", "--all-namespaces", "--short").split():
            self.install_managers()
        root = RootCA(self, "own-root")
        self.kubectl("create", "namespace", "linkerd")
        ca_issuer(self, root, "linkerd-trust-anchor")
        self.apply(
            {
                "apiVersion": "cert-manager.io/v1",
                "kind": "Certificate",
                "metadata": {"name": "linkerd-identity-issuer", "namespace": "linkerd"},
                "spec": {
                    "secretName": "linkerd-identity-issuer", "isCA": True, "commonName": IDENTITY,
                    "dnsNames": [IDENTITY], "duration": "48h", "renewBefore": "24h",
                    "privateKey": {"algorithm": "ECDSA"}, "issuerRef": {"name": "linkerd-trust-anchor"},
                },
            },
        )  # fmt: skip
        self.kubectl("wait", "certificate", "linkerd-identity-issuer", "-n", "linkerd", "--for=condition=Ready",
                     "--timeout=120s")  # fmt: skip
        self.install_linkerd_charts(root.pem, {"scheme": "kubernetes.io/tls"})

    def install_linkerd_charts(self, anchors: str, issuer: dict) -> None:
        charts = self.parts["charts"]
        self.kubectl("apply", "-f", self.parts["gateway_api_crds"])
        self.helm("install", "linkerd-crds", charts["linkerd_crds"], "-n", "linkerd", "--create-namespace")
        self.helm(
            "install", "linkerd-control-plane", charts["linkerd_control_plane"], "-n", "linkerd",
            values={**self.parts["linkerd_values"], "identityTrustAnchorsPEM": anchors,
                    "identity": {"issuer": issuer}},
        )  # fmt: skip
        self.wait_for_linkerd()

    def wait_for_linkerd(self) -> None:
        for name in ("linkerd-identity", "linkerd-destination", "linkerd-proxy-injector"):
            self.kubectl("rollout", "status", "deployment", name, "-n", "linkerd", "--timeout=300s")

    def install_application(self) -> None:
        annotations = {"linkerd.io/inject": "enabled", "config.linkerd.io/default-inbound-policy": "all-authenticated"}
        items: list[dict] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": APP, "annotations": annotations}}
        ]
        for name in ("web", "api"):
            meta, labels = {"name": name, "namespace": APP}, {"app": name}
            container = {"name": "app", "image": self.parts["test_app_image"], "ports": [{"containerPort": 8080}]}
            spec = {"serviceAccountName": name, "containers": [{**container, "imagePullPolicy": "IfNotPresent"}]}
            template = {"metadata": {"labels": labels}, "spec": spec}
            ports = [{"port": 80, "targetPort": 8080}]
            items += [
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
                {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": ports}},
                {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
                 "spec": {"selector": {"matchLabels": labels}, "template": template}},
            ]  # fmt: skip
        self.apply(*items)
        for name in ("web", "api"):
            self.kubectl("rollout", "status", "deployment", name, "-n", APP, "--timeout=300s")
        until(lambda: self.request().returncode == 0)

    def request(self):
        """The namespace admits connections with mutual TLS only, so an answer proves it."""
        return self.execute(
            "kubectl", "exec", "-n", APP, "deploy/web", "-c", "app", "--", "/app", "get", f"http://api.{APP}"
        )

    @contextmanager
    def traffic(self) -> Iterator[Traffic]:
        """Steady traffic, as long as the block runs."""
        counted, stop = Traffic(), threading.Event()

        def send() -> None:
            while not stop.is_set():
                done = self.request()
                counted.sent += 1
                if done.returncode != 0:
                    counted.failed.append(done.stderr)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield counted
        finally:
            stop.set()
            thread.join()

    def snapshot(self) -> dict[str, tuple[str, ...]]:
        """Identity and version of every object of the cluster."""
        kinds = self.kubectl("api-resources", "--verbs=list", "-o", "name").split()
        listed = ",".join(kind for kind in kinds if kind not in RESTLESS)
        found = self.get(listed, "--all-namespaces")["items"]
        return {
            f"{one['apiVersion']} {one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}": (
                version_of(one)
            )
            for one in found
        }

    def settled(self) -> dict[str, tuple[str, ...]]:
        """The snapshot, as soon as two in a row are the same."""

        def same() -> dict[str, tuple[str, ...]]:
            before, after = self.snapshot(), self.snapshot()
            assert before == after, sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            return after

        return until(same)
