# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports of the tests' servers stay free until a server uses them."""

from __future__ import annotations

import socket

import pytest
from support import ports


def test_system_does_not_choose_ports_of_the_tests():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert ports.free_port() < ports.EPHEMERAL <= listener.getsockname()[1]


def test_port_is_returned_once_and_not_while_it_is_in_use(monkeypatch):
    first = ports.free_port()
    with socket.create_server(("127.0.0.1", ports.free_port())) as listener:
        monkeypatch.setattr(ports, "EPHEMERAL", max(first, listener.getsockname()[1]) + 1)
        monkeypatch.setattr(ports, "COUNT", 1)
        monkeypatch.setattr(ports, "_returned", {first})
        with pytest.raises(AssertionError, match="is free"):
            ports.free_port()
