# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which program or container uses a TCP port of this host. Private to this collection."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError

MAX_PORT = 65535
LISTEN = "0A"  # state column of /proc/net/tcp, proc(5)


def in_use(port: int) -> bool:
    """Whether the port cannot be bound on all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except PermissionError:  # a port below 1024 without root, which a container engine can bind
            return _connects(port)
        except OSError:
            return True
    return False


def _connects(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """``name (pid N)`` of the process that listens on the port; None if /proc does not show it."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        path = proc / "net" / table
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in proc.glob("[0-9]*") if inodes else []:
        try:
            if any(os.readlink(entry) in inodes for entry in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:  # it has ended, or belongs to another user
            continue
    return None


def container(module: Any, docker: str | None, port: int) -> str | None:
    """Names of the containers that publish the port; None without one, or without Docker's client."""
    if not docker:
        return None
    rc, out, dummy = module.run_command([docker, "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"])
    return ", ".join(out.split()) if rc == 0 and out.strip() else None


def ports_in_use(module: Any, ports: list[int], docker_path: str) -> list[dict[str, Any]]:
    """The ports that are in use, each with its owner. Raises PkiError for a number that is not a TCP port."""
    invalid = [str(port) for port in ports if not 1 <= port <= MAX_PORT]
    if invalid:
        message = f"Not a TCP port: {', '.join(invalid)}. Use numbers from 1 to {MAX_PORT}."
        raise PkiError(message, code="invalid_port")
    docker = module.get_bin_path(docker_path)
    found = []
    for port in ports:
        if in_use(port):
            names = [("container", container(module, docker, port)), ("process", owner(port))]
            known = ", ".join(f"{kind} {name}" for kind, name in names if name)
            found.append({"port": port, "owner": known or "an unknown process"})
    return found


def describe(found: list[dict[str, Any]]) -> str:
    return " ".join(f"Port {entry['port']} is already in use by {entry['owner']}." for entry in found)
