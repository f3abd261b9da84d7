# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has a port: asked of real sockets of this process."""

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


def test_this_process_is_named(listener):
    name = Path("/proc/self/comm").read_text().strip()
    assert ports.owner(listener.getsockname()[1]) == f"{name} (pid {os.getpid()})"


def test_a_listener_takes_its_port_until_it_closes():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert ports.in_use(port)
    assert not ports.in_use(port)
    assert ports.owner(port) is None


def test_a_connection_is_no_listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname()) as client:
            assert ports.owner(client.getsockname()[1]) is None


def test_where_the_kernel_tells_nothing_nobody_is_named(tmp_path):
    assert ports.owner(80, proc=tmp_path) is None


def test_a_process_of_another_user_is_not_named(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text("head\n 0: 00000000:0050 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n")
    (tmp_path / "12").mkdir()  # without fd, as if it ended meanwhile
    assert ports.owner(80, proc=tmp_path) is None


def test_host_port_info_says_it_in_a_sentence(only_standins, ok):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        result = ok("host_port_info", ports=[port])
    assert [entry["port"] for entry in result["taken"]] == [port]
    assert result["msg"].startswith(f"Port {port} is taken by process ")
    assert result["msg"].endswith(f"(pid {os.getpid()}).")
    assert not result["changed"]
    assert ok("host_port_info", ports=[port])["taken"] == []


def test_the_container_is_named_before_the_process(only_standins, ok):
    docker = only_standins / "bin" / "docker"
    docker.write_text("#!/bin/sh\n# Stands in for Docker's client.\necho web\n")
    docker.chmod(0o755)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        result = ok("host_port_info", ports=[server.getsockname()[1]])
    assert result["taken"][0]["owner"].startswith("container web, process ")


@pytest.mark.parametrize("port", [-1, 0, 65536, 70000])
def test_what_is_no_port_is_refused(only_standins, error, port):
    assert error("host_port_info", ports=[80, port]) == f"No TCP port: {port}. Give numbers from 1 to 65535."


def test_the_last_port_is_one(only_standins, ok):
    assert not ok("host_port_info", ports=[65535])["changed"]
