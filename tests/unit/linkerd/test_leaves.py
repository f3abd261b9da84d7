# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading many proxies: attempts, limits, and pods that end meanwhile. A stand-in replaces the connections."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from support.readings import ISSUER, LATER, ROOT, leaf_of, pod

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.port_forward import ForwardError
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import handshake

CHAIN = [one.certificate.public_bytes(Encoding.DER) for one in (leaf_of("web"), ISSUER)]


class StandIn:
    """Replaces a Forwarder: for each pod the results of its connections in their order. The last one is repeated."""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self.answers = answers
        self.connected: list[str] = []

    @contextlib.contextmanager
    def connect(self, namespace: str, name: str, port: int, deadline: float) -> Iterator[list[bytes]]:
        self.connected.append(name)
        answers = self.answers[name]
        answer = answers.pop(0) if answers[1:] else answers[0]
        if isinstance(answer, ForwardError):
            raise answer
        yield answer


@pytest.fixture
def read(monkeypatch):
    """Read pods one at a time; returns the leaves and the missing ones, both by pod, and the connections."""

    def run(
        answers: dict[str, list[Any]],
        seconds: float = 60,
        listed: list[dict] | None = None,
        pods: list[dict] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        connections = StandIn(answers)
        monkeypatch.setattr(handshake, "Forwarder", lambda api_client: connections)
        monkeypatch.setattr(handshake, "presented_certificates", lambda connection, name: connection)
        monkeypatch.setattr(handshake, "MAX_CONNECTIONS", 1)
        pods = pods or [pod(name, ROOT.pem) for name in answers]
        groups, missing = handshake.read_all(None, pods, seconds, lambda: pods if listed is None else listed)
        leaves = {leaf["pod"].partition("/")[2]: group for group in groups for leaf in group["leaves"]}
        return leaves, {one["pod"].partition("/")[2]: one for one in missing}, connections.connected

    return run


def test_leaves_are_grouped_by_certificates_above_them(read):
    leaves, missing, connected = read({"a": [CHAIN], "b": [CHAIN], "c": [CHAIN[:1]]})
    assert (sorted(leaves), missing, connected) == (["a", "b", "c"], {}, ["a", "b", "c"])
    assert leaves["a"] is leaves["b"] and leaves["a"] is not leaves["c"]
    assert [one["certificate"] for one in leaves["a"]["certificates"]] == [ISSUER.pem]
    assert {leaf["started_at"] for leaf in leaves["a"]["leaves"]} == {LATER}


def test_forbidden_namespace_is_tried_once(read):
    refused = ForwardError("not permitted", code="forbidden")
    leaves, missing, connected = read({name: [refused] for name in "abc"})
    assert (leaves, connected) == ({}, ["a"])
    assert {one["code"] for one in missing.values()} == {"forbidden"} and len(missing) == 3


def test_failed_attempt_is_repeated(read):
    leaves, missing, connected = read({"a": [ForwardError("too late", code="refused"), CHAIN]})
    assert (sorted(leaves), missing, connected) == (["a"], {}, ["a", "a"])


@pytest.mark.parametrize(("presented", "code"), [([], "refused"), ([b"no certificate"], "unreadable")])
def test_pod_without_valid_certificate(read, presented, code):
    leaves, missing, connected = read({"a": [presented]})
    assert (leaves, missing["a"]["code"], len(connected)) == ({}, code, 2)


def test_nothing_is_read_after_timeout(read):
    leaves, missing, connected = read({"a": [CHAIN], "b": [CHAIN]}, seconds=0)
    assert (leaves, connected) == ({}, [])
    assert {one["code"] for one in missing.values()} == {"unreadable"}
    assert "0 s" in missing["a"]["problem"]


def test_pods_that_ended_are_not_missing(read):
    gone, terminating = ForwardError("not found", code="unreadable"), ForwardError("closed", code="refused")
    now = [pod("b", ROOT.pem, deletionTimestamp=LATER), pod("c", ROOT.pem)]
    dummy, missing, dummy = read({"a": [gone], "b": [terminating], "c": [terminating]}, listed=now)
    assert list(missing) == ["c"]


def test_restarted_proxy_has_new_start_time(read):
    now = [pod("a", ROOT.pem, started="2026-11-24T11:59:59Z")]
    dummy, missing, dummy = read({"a": [ForwardError("closed", code="refused")]}, listed=now)
    assert missing["a"]["started_at"] == "2026-11-24T11:59:59Z"


def test_proxy_that_does_not_run_is_not_connected(read):
    one, other = pod("a", ROOT.pem), pod("b", ROOT.pem)
    one["status"] |= {"startTime": LATER}
    one["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    other["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "PodInitializing"}}
    dummy, missing, connected = read({"a": [CHAIN], "b": [CHAIN]}, pods=[one, other])
    assert {name: item["code"] for name, item in missing.items()} == {"a": "refused", "b": "starting"}
    assert "CrashLoopBackOff" in missing["a"]["problem"] and connected == []


def test_pods_are_read_in_parallel(monkeypatch):
    together = threading.Barrier(handshake.MAX_CONNECTIONS, timeout=120)

    class Waiting(StandIn):
        @contextlib.contextmanager
        def connect(self, *dummy: Any) -> Iterator[list[bytes]]:
            together.wait()
            yield CHAIN

    monkeypatch.setattr(handshake, "Forwarder", lambda api_client: Waiting({}))
    monkeypatch.setattr(handshake, "presented_certificates", lambda connection, name: connection)
    pods = [pod(str(number), ROOT.pem) for number in range(2 * handshake.MAX_CONNECTIONS)]
    groups, missing = handshake.read_all(None, pods, 600, list)
    assert len(groups[0]["leaves"]) == len(pods) and missing == []
