# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading many proxies: attempts, limits, pods that end meanwhile. A stand-in replaces the connections to them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.port_forward import ForwardError
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import handshake as reader

sys.path.append(str(Path(__file__).resolve().parents[1] / "x509"))

from readings import ISSUER, LATER, ROOT, leaf_of, pod

CHAIN = [one.certificate.public_bytes(Encoding.DER) for one in (leaf_of("web"), ISSUER)]


class StandIn:
    """In place of a Forwarder: for each pod what its connections give, one after the other, the last one for ever."""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    @contextlib.contextmanager
    def connect(self, namespace: str, name: str, port: int, until: float) -> Iterator[list[bytes]]:
        self.asked.append(name)
        given = self.answers[name]
        answer = given.pop(0) if given[1:] else given[0]
        if isinstance(answer, ForwardError):
            raise answer
        yield answer


@pytest.fixture
def read(monkeypatch):
    """Reads pods one at a time; gives the leaves and what is missing, both by pod, and the connections made."""

    def run(
        answers: dict[str, list[Any]],
        seconds: float = 60,
        again: list[dict] | None = None,
        pods: list[dict] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        connections = StandIn(answers)
        monkeypatch.setattr(reader, "Forwarder", lambda api_client: connections)
        monkeypatch.setattr(reader, "presented", lambda connection, name: connection)
        monkeypatch.setattr(reader, "PARALLEL", 1)
        pods = pods or [pod(name, ROOT.pem) for name in answers]
        groups, missing = reader.read_all(None, pods, seconds, lambda: pods if again is None else again)
        leaves = {leaf["pod"].partition("/")[2]: group for group in groups for leaf in group["leaves"]}
        return leaves, {one["pod"].partition("/")[2]: one for one in missing}, connections.asked

    return run


def test_leaves_and_what_is_presented_above_them(read):
    leaves, missing, asked = read({"a": [CHAIN], "b": [CHAIN], "c": [CHAIN[:1]]})
    assert (sorted(leaves), missing, asked) == (["a", "b", "c"], {}, ["a", "b", "c"])
    assert leaves["a"] is leaves["b"] and leaves["a"] is not leaves["c"]
    assert [one["certificate"] for one in leaves["a"]["certificates"]] == [ISSUER.pem]
    assert {leaf["started_at"] for leaf in leaves["a"]["leaves"]} == {LATER}


def test_one_refusal_is_enough_for_a_namespace(read):
    refused = ForwardError("forbidden", "may not")
    leaves, missing, asked = read({name: [refused] for name in "abc"})
    assert (leaves, asked) == ({}, ["a"])
    assert {one["code"] for one in missing.values()} == {"forbidden"} and len(missing) == 3


def test_a_second_attempt_is_made(read):
    leaves, missing, asked = read({"a": [ForwardError("refused", "too late"), CHAIN]})
    assert (sorted(leaves), missing, asked) == (["a"], {}, ["a", "a"])


@pytest.mark.parametrize("nothing", [[], [b"no certificate"]])
def test_a_pod_that_presents_none(read, nothing):
    leaves, missing, asked = read({"a": [nothing]})
    assert (leaves, missing["a"]["code"], len(asked)) == ({}, "refused", 2)


def test_nothing_is_read_after_the_time_for_all(read):
    leaves, missing, asked = read({"a": [CHAIN], "b": [CHAIN]}, seconds=0)
    assert (leaves, asked) == ({}, [])
    assert {one["code"] for one in missing.values()} == {"unreadable"}
    assert "the 0 s for all pods were over" in missing["a"]["problem"]


def test_pods_that_ended_meanwhile_are_not_missing(read):
    gone, terminating = ForwardError("unreadable", "not found"), ForwardError("refused", "closed")
    now = [pod("b", ROOT.pem, deletionTimestamp=LATER), pod("c", ROOT.pem)]
    dummy, missing, dummy = read({"a": [gone], "b": [terminating], "c": [terminating]}, again=now)
    assert list(missing) == ["c"]


def test_a_proxy_that_restarted_meanwhile_is_young(read):
    now = [pod("a", ROOT.pem, started="2026-11-24T11:59:59Z")]
    dummy, missing, dummy = read({"a": [ForwardError("refused", "closed")]}, again=now)
    assert missing["a"]["started_at"] == "2026-11-24T11:59:59Z"


def test_a_proxy_that_does_not_run_is_not_connected_to(read):
    one, other = pod("a", ROOT.pem), pod("b", ROOT.pem)
    one["status"] |= {"startTime": LATER}
    one["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    other["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "PodInitializing"}}
    dummy, missing, asked = read({"a": [CHAIN], "b": [CHAIN]}, pods=[one, other])
    assert {name: item["code"] for name, item in missing.items()} == {"a": "refused", "b": "starting"}
    assert "CrashLoopBackOff" in missing["a"]["problem"] and asked == []


def test_pods_are_read_at_the_same_time(monkeypatch):
    class Slow(StandIn):
        @contextlib.contextmanager
        def connect(self, *dummy: Any) -> Iterator[list[bytes]]:
            time.sleep(0.2)
            yield CHAIN

    monkeypatch.setattr(reader, "Forwarder", lambda api_client: Slow({}))
    monkeypatch.setattr(reader, "presented", lambda connection, name: connection)
    started = time.monotonic()
    groups, missing = reader.read_all(None, [pod(str(number), ROOT.pem) for number in range(32)], 60, list)
    assert len(groups[0]["leaves"]) == 32 and missing == []
    assert time.monotonic() - started < 3  # 6.4 s one after the other
