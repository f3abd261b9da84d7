# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that are in use, with real sockets of this process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._k3d import ports


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")])  # noqa: S104
def listener(request):
    family, address = request.param
    try:
        server = socket.create_server((address, 0), family=family)
    except OSError:
        if family is not socket.AF_INET6:
            raise
        pytest.skip("platform: this machine has no IPv6")
    with server:
        yield server


def test_owner_is_this_process(listener):
    name = Path("/proc/self/comm").read_text().strip()
    assert ports.owner(listener.getsockname()[1]) == f"{name} (pid {os.getpid()})"


def test_port_is_in_use_until_listener_closes():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert ports.in_use(port)
    assert not ports.in_use(port)
    assert ports.owner(port) is None


def test_connection_does_not_own_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname()) as client:
            assert ports.owner(client.getsockname()[1]) is None


def test_owner_is_unknown_without_proc(tmp_path):
    assert ports.owner(80, proc=tmp_path) is None


def test_owner_is_unknown_without_descriptors(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text("head\n 0: 00000000:0050 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n")
    (tmp_path / "12").mkdir()  # without fd, as after its end
    assert ports.owner(80, proc=tmp_path) is None


def test_host_port_info_returns_port_and_owner(only_standins, ok):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        result = ok("host_port_info", ports=[port])
    assert [entry["port"] for entry in result["in_use"]] == [port]
    assert str(port) in result["msg"] and f"(pid {os.getpid()})" in result["msg"]
    assert not result["changed"]
    assert ok("host_port_info", ports=[port])["in_use"] == []


def test_container_is_named_before_process(only_standins, ok):
    docker = only_standins / "bin" / "docker"
    docker.write_text("#!/bin/sh\n# Stands in for Docker's client.\necho web\n")
    docker.chmod(0o755)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        result = ok("host_port_info", ports=[server.getsockname()[1]])
    assert result["in_use"][0]["owner"].startswith("container web, process ")


@pytest.mark.parametrize("port", [-1, 0, 65536, 70000])
def test_number_that_is_not_a_port_is_an_error(only_standins, result_of, port):
    result = result_of("host_port_info", ports=[80, port])
    assert result["code"] == "invalid_port" and str(port) in result["msg"]


def test_highest_port(only_standins, ok):
    assert not ok("host_port_info", ports=[65535])["changed"]
