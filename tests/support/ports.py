# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Free ports for servers of the tests."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

# The system chooses ports from this on for outgoing connections and for servers that request port 0.
EPHEMERAL = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
COUNT = 10_000
_returned: set[int] = set()


def free_port() -> int:
    """A TCP port that no server on the loopback address uses, and that this process has not received before.

    It stays free until the caller uses it, because nothing else is given ports below the ephemeral ones.
    """
    for port in random.sample(range(EPHEMERAL - COUNT, EPHEMERAL), COUNT):
        with contextlib.suppress(OSError), socket.socket() as probe:
            if port not in _returned:
                probe.bind(("127.0.0.1", port))
                _returned.add(port)
                return port
    raise AssertionError(f"no port from {EPHEMERAL - COUNT} to {EPHEMERAL - 1} is free")
