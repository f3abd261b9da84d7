# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the certificates that proxies present, and which pods have a proxy. Private to this collection.

Names are Linkerd's own (linkerd2: charts/partials/templates/_proxy.tpl, cli/cmd/identity.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import Encoding

PORT_NAME, PORT = "linkerd-admin", 4191
LOCAL_NAME = "LINKERD2_PROXY_IDENTITY_LOCAL_NAME"
BEFORE_START = (None, "ContainerCreating", "PodInitializing")  # reasons of a container that is starting

Facts = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A proxy whose certificate can be read."""

    namespace: str
    pod: str
    uid: str
    port: int
    server_name: str
    started_at: str | None  # of the proxy; None before its first start
    obstacle: str  # why it presents no certificate, according to the pod

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.pod}"


def targets(pods: Iterable[Facts]) -> list[Target]:
    """The proxies of all pods that are neither finished nor terminating."""
    found = []
    for pod in pods:
        proxy = sources.proxy(pod)
        if proxy is None or sources.is_finished(pod):
            continue
        metadata, name = pod["metadata"], server_name(pod, proxy)
        started, obstacle = proxy_start(pod)
        obstacle = obstacle or ("" if name else f"its proxy has no variable {LOCAL_NAME}")
        namespace, uid = metadata["namespace"], metadata.get("uid", "")
        found.append(Target(namespace, metadata["name"], uid, admin_port(proxy), name, started, obstacle))
    return found


def proxy_start(pod: Facts) -> tuple[str | None, str]:
    """When the proxy of a pod started, and why it does not run. Both are empty before its first start."""
    status = pod.get("status") or {}
    states = (
        container.get("state") or {}
        for part in ("initContainerStatuses", "containerStatuses")
        for container in status.get(part) or []
        if container["name"] == sources.PROXY
    )
    state = next(states, {})
    if running := state.get("running"):
        return running.get("startedAt"), ""
    reason = (state.get("waiting") or state.get("terminated") or {}).get("reason")
    if reason in BEFORE_START:
        return None, ""
    return status.get("startTime"), f"its proxy does not run ({reason})"


def admin_port(proxy: Facts) -> int:
    ports = (port["containerPort"] for port in proxy.get("ports") or [] if port.get("name") == PORT_NAME)
    return int(next(ports, PORT))


def server_name(pod: Facts, proxy: Facts) -> str:
    """The identity of the proxy, from a variable that refers to others, which are expanded as Kubernetes does."""
    fields = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName") or "default",
    }
    values: dict[str, str] = {}
    for entry in proxy.get("env") or []:
        path = ((entry.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
        text = fields.get(path, "") if path else entry.get("value") or ""
        values[entry["name"]] = re.sub(r"\$\(([^()]+)\)", lambda found: values.get(found[1], found[0]), text)
    return values.get(LOCAL_NAME, "").rstrip(".")


def leaf(target: Target, presented: list[bytes]) -> tuple[Facts, list[Facts]]:
    """The facts of a proxy's own certificate and of those above it. Raises X509Error for an invalid certificate."""
    first, *above = [certs.parse_der(der) for der in presented]
    facts = {
        "pod": target.name,
        "identity": target.server_name,
        "started_at": target.started_at,
        "serial_number": certs.serial_number(first),
        "not_before": certs.iso(first.not_valid_before_utc),
        "not_after": certs.iso(first.not_valid_after_utc),
        "fingerprint_sha256": certs.fingerprint(first),
        "certificate": first.public_bytes(Encoding.PEM).decode(),
    }
    return facts, [sources.with_pem(one) for one in above]


def missing_leaf(target: Target, code: str, problem: str) -> Facts:
    """An entry of leaves_missing."""
    read = certs.iso(datetime.now(UTC))
    return {"pod": target.name, "started_at": target.started_at, "read_at": read, "code": code, "problem": problem}


def groups(leaves: Iterable[tuple[Facts, list[Facts]]]) -> list[Facts]:
    """Leaves by the certificates above them, the largest group first."""
    found: dict[tuple[str, ...], Facts] = {}
    for facts, above in leaves:
        key = tuple(one["fingerprint_sha256"] for one in above)
        found.setdefault(key, {"certificates": above, "leaves": []})["leaves"].append(facts)
    for group in found.values():
        group["leaves"].sort(key=lambda one: one["pod"])
    return sorted(found.values(), key=lambda group: (-len(group["leaves"]), group["leaves"][0]["pod"]))
