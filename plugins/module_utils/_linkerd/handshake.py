# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the certificates that Linkerd's proxies present, several at a time. Private to this collection.

As `linkerd identity` does it (linkerd2: cli/cmd/identity.go): a connection through the API server to the proxy's admin
port, and there a TLS handshake for the name of the proxy's identity. The proxy asks for no client certificate and gives
a handshake one second from the connection on (linkerd2-proxy: linkerd/app/admin/src/stack.rs), so a busy API server may
cost a proxy its first attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.port_forward import (
    Forwarder,
    ForwardError,
    presented,
    until,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import leaves

PARALLEL = 16  # connections at a time
ATTEMPTS = 2
ONE = 10  # seconds for an attempt

Facts = dict[str, Any]
Read = tuple[Facts, list[Facts]]


class Reader:
    """Reads proxies until a time (monotonic) is over."""

    def __init__(self, api_client: Any, seconds: float) -> None:
        self._forwarder, self._end = Forwarder(api_client), until(seconds)
        self._seconds = seconds
        self._forbidden: dict[str, str] = {}  # by namespace: one refusal is enough

    def read(self, target: leaves.Target) -> Read | Facts:
        """The leaf with what is presented above it, or why there is none."""
        if target.started_at is None:
            return leaves.unread(target, "starting", "its proxy has not started")
        if target.obstacle:
            return leaves.unread(target, "refused", target.obstacle)
        problem = ForwardError("unreadable", f"the {self._seconds:g} s for all pods were over")
        for dummy in range(ATTEMPTS):
            if target.namespace in self._forbidden:
                return leaves.unread(target, "forbidden", self._forbidden[target.namespace])
            if until(0) >= self._end:
                break
            try:
                return self._attempt(target)
            except ForwardError as exc:
                problem = exc
                if exc.code == "forbidden":
                    self._forbidden[target.namespace] = str(exc)
        return leaves.unread(target, problem.code, str(problem))

    def _attempt(self, target: leaves.Target) -> Read:
        end = min(until(ONE), self._end)
        with self._forwarder.connect(target.namespace, target.pod, target.port, end) as connection:
            found = presented(connection, target.server_name)
        if not found:
            raise ForwardError("refused", "it presents no certificate")
        try:
            return leaves.leaf(target, found)
        except ValueError as exc:
            raise ForwardError("refused", f"what it presents is no certificate: {exc}") from exc


def read_all(
    api_client: Any, pods: list[Facts], seconds: float, again: Callable[[], list[Facts]]
) -> tuple[list[Facts], list[Facts]]:
    """The groups of leaves, and the pods without one. Pods that ended meanwhile, as listed again, are in neither."""
    reader, wanted = Reader(api_client, seconds), leaves.targets(pods)
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        results = list(zip(wanted, pool.map(reader.read, wanted), strict=True))
    read = [result for dummy, result in results if isinstance(result, tuple)]
    missing = [(target, result) for target, result in results if isinstance(result, dict)]
    if any(result["code"] != "forbidden" for dummy, result in missing):
        alive = {target.uid: target for target in leaves.targets(again())}
        # A proxy that was restarted since is as young as one that was just started.
        missing = [
            (target, {**result, "started_at": alive[target.uid].started_at})
            for target, result in missing
            if target.uid in alive
        ]
    return leaves.groups(read), sorted((result for dummy, result in missing), key=lambda one: str(one["pod"]))
