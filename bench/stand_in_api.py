# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the API servers of many clusters, which counts requests, delays responses and stores objects.

Cluster N has the path /clusters/N. Every object is Ready, Available and Synced in its current generation, so no task
waits. There is no authentication, validation or controller. It listens on the loopback address only.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from bench.loopback import Handler, LoopbackServer

CLUSTER_SCOPED = {
    "Namespace",
    "ClusterIssuer",
    "Bundle",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Node",
}
# Kinds by group and version.
KINDS = {
    "v1": ["Namespace", "Secret", "ConfigMap", "Event", "Pod", "ServiceAccount", "ResourceQuota", "Node"],
    "apps/v1": ["Deployment"],
    "cert-manager.io/v1": ["Issuer", "ClusterIssuer", "Certificate", "CertificateRequest"],
    "trust.cert-manager.io/v1alpha1": ["Bundle"],
    "apiextensions.k8s.io/v1": ["CustomResourceDefinition"],
    "rbac.authorization.k8s.io/v1": ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"],
}
# The public key of service account tokens, which the auth method jwt reads.
TOKEN_KEY = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
CONDITIONS = [{"type": name, "status": "True", "observedGeneration": 1} for name in ("Ready", "Available", "Synced")]
OTHER_STATUS = {"conditions": CONDITIONS, "observedGeneration": 1}
PODS = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
STATUS = {"Namespace": {"phase": "Active"}, "Deployment": OTHER_STATUS | PODS}  # by kind
# Objects that controllers create: path -> path of the source, kind and keys. The data is that of the source, if any.
CONTROLLER_OBJECTS = {
    "secrets/linkerd-identity-issuer": (
        "certificates/linkerd-identity-issuer",
        "Secret",
        ("tls.crt", "tls.key", "ca.crt"),
    ),
    "configmaps/linkerd-identity-trust-roots": (
        "configmaps/linkerd-trust-anchors",
        "ConfigMap",
        ("ca-bundle.crt",),
    ),
}


def plural(kind: str) -> str:
    return kind.lower() + "s"


def encode_coordinate(number: int) -> str:
    """A coordinate of a P-256 point as in a JSON Web Key (RFC 7518, section 6.2.1)."""
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")


def resources(group_version: str) -> dict[str, Any]:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    listed = [
        {
            "name": plural(kind),
            "singularName": kind.lower(),
            "namespaced": kind not in CLUSTER_SCOPED,
            "kind": kind,
            "verbs": verbs,
        }
        for kind in KINDS[group_version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def discovery(path: str) -> dict[str, Any] | None:
    """The response to a discovery request, or None for another path."""
    groups = []
    for group_version in KINDS:
        if "/" in group_version:
            version = {"groupVersion": group_version, "version": group_version.split("/")[1]}
            groups.append({"name": group_version.split("/")[0], "versions": [version], "preferredVersion": version})
    point = {name: encode_coordinate(getattr(TOKEN_KEY, name)) for name in ("x", "y")}
    responses = {
        "/.well-known/openid-configuration": {"issuer": "https://kubernetes.default.svc.cluster.local"},
        "/openid/v1/jwks": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "stand-in", "use": "sig", **point}]},
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.2-standin"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    }
    for group_version in KINDS:
        responses[f"/apis/{group_version}" if "/" in group_version else "/api/v1"] = resources(group_version)
    return responses.get(path.rstrip("/"))


class Clusters(LoopbackServer):
    """A server for all clusters. `objects` are stored by path, and requests are counted by method and by cluster."""

    def __init__(self, delay: float) -> None:
        super().__init__(ApiHandler)
        self.delay = delay  # seconds before each response
        self.objects: dict[str, dict] = {}
        self.requests: Counter[str] = Counter()
        self.requests_by_cluster: Counter[str] = Counter()

    def get(self, path: str) -> dict | None:
        stored = self.objects.get(path)
        if stored:
            return stored
        base, _, name = path.rpartition("/")
        for created, (source, kind, keys) in CONTROLLER_OBJECTS.items():
            if not path.endswith(created):
                continue
            sources = [key for key in self.objects if key.endswith(source) and same_cluster(key, path)]
            if sources:
                data = self.objects[sources[0]].get("data") or dict.fromkeys(keys, "c3RhbmQtaW4=")
                return with_metadata({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data})
        if name == "kube-root-ca.crt":
            return with_metadata(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": "-"}}
            )
        if base.endswith("/deployments"):
            return with_metadata({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}})
        return None

    def put(self, path: str, given: dict, store: bool) -> dict:
        merged = with_metadata(merge(self.objects.get(path, {}), given))
        if store:
            self.objects[path] = merged
        return merged


def same_cluster(one: str, other: str) -> bool:
    return one.split("/")[2] == other.split("/")[2]


def merge(old: Any, new: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396) without deletions."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: merge(old.get(key), value) for key, value in new.items()}
    return new


def with_metadata(thing: dict) -> dict:
    """The object with the metadata and status that the API server and controllers set."""
    head = {
        "uid": str(uuid.uuid4()),
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return thing | {"metadata": head | thing["metadata"], "status": STATUS.get(thing.get("kind", ""), OTHER_STATUS)}


class ApiHandler(Handler):
    server: Clusters

    def send_json(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        given = json.loads(self.rfile.read(length)) if length else {}
        cluster = "/".join(url.path.split("/")[:3])
        path = url.path.removeprefix(cluster)
        time.sleep(self.server.delay)
        with self.server.lock:
            self.server.requests[self.command] += 1
            self.server.requests_by_cluster[cluster] += 1
            response = discovery(path) if self.command == "GET" else None
            if response is None:
                response = self.handle_object(url.path, given, "dryRun" not in parse_qs(url.query))
        if response is None:
            self.send_json(404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404})
        else:
            self.send_json(201 if self.command == "POST" else 200, response)

    def handle_object(self, path: str, given: dict, store: bool) -> dict | None:
        if self.command == "POST":
            return self.server.put(f"{path}/{given['metadata']['name']}", given, store)
        if self.command in ("PATCH", "PUT"):
            return self.server.put(path, given, store)
        if self.command == "DELETE":
            return self.server.objects.pop(path, None)
        if path.rsplit("/", 1)[-1] in {plural(kind) for kinds in KINDS.values() for kind in kinds}:
            return {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}
        return self.server.get(path)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815 names of http.server
