# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshed workloads that send requests to each other all the time and count every failure.

`web` and `api` have two pods each, so each of them opens 20 new connections a second to the other, four to `db` or
`agent`, and keeps a connection to each of them open. Their pods accept only connections with mutual TLS, and the lab's
proxy sends nothing in plain text to a meshed pod, so a good answer was authenticated on both sides. Counts are in a
folder of the node, which outlives the pods.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain

from support.lab import until
from support.mesh import Mesh

NAMESPACE, FOLDER = "prober", "/var/lib/prober"
CONFIG = "config.linkerd.io"
# A pod serves on until the others have learned that it leaves, as an application in production does. Its proxy stays
# five seconds longer, because on a busy machine the application is stopped late, and its last requests need the proxy.
ANNOTATIONS = {
    "linkerd.io/inject": "enabled",
    f"{CONFIG}/default-inbound-policy": "all-authenticated",
    "config.alpha.linkerd.io/proxy-wait-before-exit-seconds": "10",
}
WORKLOADS = {"web": "Deployment", "api": "Deployment", "db": "StatefulSet", "agent": "DaemonSet"}
# The services that get requests, and the interval of new connections from each pod.
TARGETS: dict[str, dict[str, str]] = {
    "web": {"api": "100ms", "db": "500ms"},
    "api": {"web": "100ms", "agent": "500ms"},
    "db": {},
    "agent": {},
}
# A busy machine must not take all pods out of their services.
PATIENT = {"periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6}
SETTLED = 100  # good requests that show that the mesh works


@dataclass(frozen=True)
class Count:
    """Numbers of requests, and each failure with its time."""

    good: int
    over_held_connections: int  # of these
    failures: tuple[str, ...]


class Prober:
    """The workloads in one mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    def start(self) -> None:
        """Create the workloads, wait until they answer each other, and count from then on."""
        self.stop()
        meta = {"name": NAMESPACE, "annotations": ANNOTATIONS}
        items = [{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}]
        for name, kind in WORKLOADS.items():
            items += workload(kind, name, self.mesh.parts["test_app_image"])
        self.mesh.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        for name, kind in WORKLOADS.items():
            self.mesh.kubectl("rollout", "status", f"{kind}/{name}", "-n", NAMESPACE, "--timeout=300s")
        until(lambda: self.count().good > SETTLED)
        # Failures before all workloads were ready do not count.
        self.on_node("sh", "-c", f"for file in {FOLDER}/*; do : > $file; done")

    def stop(self) -> None:
        """Remove the workloads and their counts."""
        self.mesh.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
        self.on_node("rm", "-rf", FOLDER)

    def good(self) -> Count:
        """The requests until now, after more of them were answered. Fails if one of all failed."""
        before = self.count()
        until(lambda: self.count().good > before.good + SETTLED)
        count = self.count()
        assert count.failures == (), count.failures[:20]
        print(f"{count.good} requests, {count.over_held_connections} of them over held connections, none failed")
        return count

    def count(self) -> Count:
        """All requests since `start`."""
        lines = self.on_node("sh", "-c", f"cat {FOLDER}/*").splitlines()
        good = [line for line in lines if line.startswith("good ")]
        held = sum(line.endswith("/held") for line in good)
        return Count(len(good), held, tuple(sorted(line for line in lines if line.startswith("failed "))))

    def on_node(self, *command: str) -> str:
        return self.mesh.run("docker", "exec", self.mesh.server, *command)


def workload(kind: str, name: str, image: str) -> list[dict]:
    """A workload of two pods (one where the node limits it), its service account, and its service."""
    streams = [(every, f"http://{target}.{NAMESPACE}.svc.cluster.local.") for target, every in TARGETS[name].items()]
    container = {
        "name": "app",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/app", "probe", FOLDER, *chain.from_iterable(streams)],
        "ports": [{"containerPort": 8080}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "readinessProbe": {"exec": {"command": ["/app", "get", "http://localhost:8080"]}, **PATIENT},
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "counts", "mountPath": FOLDER}],
    }
    counts = {"name": "counts", "hostPath": {"path": FOLDER, "type": "DirectoryOrCreate"}}
    pod = {"serviceAccountName": name, "containers": [container], "volumes": [counts]}
    spec = {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        **({} if kind == "DaemonSet" else {"replicas": 2}),
        **({"serviceName": name} if kind == "StatefulSet" else {}),
        **({"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}} if kind == "DaemonSet" else {}),
    }
    meta = {"name": name, "namespace": NAMESPACE}
    service = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    ]
