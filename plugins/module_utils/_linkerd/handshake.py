# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the certificates that Linkerd's proxies present, several at a time. Private to this collection.

This is the method of `linkerd identity` (linkerd2: cli/cmd/identity.go): a connection through the API server to the
proxy's admin port, and a TLS handshake for the name of the proxy's identity. The proxy requests no client certificate.
It closes a connection without a complete handshake after one second (linkerd2-proxy: linkerd/app/admin/src/stack.rs),
so the first attempt can fail when the API server is busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.port_forward import (
    Forwarder,
    ForwardError,
    presented_certificates,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import leaves
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.certs import X509Error

MAX_CONNECTIONS = 16
ATTEMPTS = 2
ATTEMPT_TIMEOUT = 10  # seconds

Facts = dict[str, Any]
Leaf = tuple[Facts, list[Facts]]


class Reader:
    """Reads the certificates of proxies within a time limit for all of them."""

    def __init__(self, api_client: Any, seconds: float) -> None:
        self._forwarder, self._deadline = Forwarder(api_client), time.monotonic() + seconds
        self._seconds = seconds
        self._forbidden: dict[str, str] = {}  # message by namespace, so that one refusal is enough

    def read(self, target: leaves.Target) -> Leaf | Facts:
        """The leaf with the certificates above it, or an entry for leaves_missing."""
        if target.started_at is None:
            return leaves.missing_leaf(target, "starting", "its proxy has not started")
        if target.obstacle:
            return leaves.missing_leaf(target, "refused", target.obstacle)
        problem = ForwardError(f"the timeout of {self._seconds:g} s for all pods was exceeded", code="unreadable")
        for dummy in range(ATTEMPTS):
            if target.namespace in self._forbidden:
                return leaves.missing_leaf(target, "forbidden", self._forbidden[target.namespace])
            if time.monotonic() >= self._deadline:
                break
            try:
                return self._attempt(target)
            except ForwardError as exc:
                problem = exc
                if exc.code == "forbidden":
                    self._forbidden[target.namespace] = str(exc)
        return leaves.missing_leaf(target, problem.code, str(problem))

    def _attempt(self, target: leaves.Target) -> Leaf:
        deadline = min(time.monotonic() + ATTEMPT_TIMEOUT, self._deadline)
        with self._forwarder.connect(target.namespace, target.pod, target.port, deadline) as connection:
            found = presented_certificates(connection, target.server_name)
        if not found:
            raise ForwardError("it presents no certificate", code="refused")
        try:
            return leaves.leaf(target, found)
        except X509Error as exc:
            raise ForwardError(f"a certificate that it presents is {exc}", code="unreadable") from exc


def read_all(
    api_client: Any, pods: list[Facts], seconds: float, list_pods: Callable[[], list[Facts]]
) -> tuple[list[Facts], list[Facts]]:
    """The groups of leaves, and the pods without a leaf. Pods that `list_pods` no longer returns are in neither."""
    reader, targets = Reader(api_client, seconds), leaves.targets(pods)
    with ThreadPoolExecutor(max_workers=MAX_CONNECTIONS) as pool:
        results = list(zip(targets, pool.map(reader.read, targets), strict=True))
    read = [result for dummy, result in results if isinstance(result, tuple)]
    missing = [(target, result) for target, result in results if isinstance(result, dict)]
    if any(result["code"] != "forbidden" for dummy, result in missing):
        current = {target.uid: target for target in leaves.targets(list_pods())}
        # The proxy may have restarted since then.
        missing = [
            (target, {**result, "started_at": current[target.uid].started_at})
            for target, result in missing
            if target.uid in current
        ]
    return leaves.groups(read), sorted((result for dummy, result in missing), key=lambda one: str(one["pod"]))
