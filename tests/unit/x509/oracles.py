# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the programs in tests/oracles, which verify as Linkerd's identity controller (Go) and its proxies (Rust) do.

Each is built once in the cache, and writes one line of JSON for each line that it reads.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from lab.places import cache_root

SOURCES = Path(__file__).resolve().parents[2] / "oracles"
CACHE = cache_root() / "oracles"


class Oracle:
    """A running program."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def built(name: str, command: list[str], product: str, **environment: str) -> Path:
    """Build the program of a folder, if it is not in the cache. Several processes can do so at the same time."""
    sources = sorted(path for path in (SOURCES / name).rglob("*") if path.is_file() and path.name != "Cargo.lock")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    program = CACHE / f"{name}-{digest}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            variables = {key: value.format(folder=folder) for key, value in environment.items()}
            arguments = [argument.format(folder=folder) for argument in command]
            subprocess.run(arguments, cwd=SOURCES / name, env=os.environ | variables, check=True)
            (Path(folder) / product).replace(program)
    return program


@cache
def controller() -> Oracle:
    return Oracle(built("controller", ["go", "build", "-o", "{folder}/program", "."], "program"))


@cache
def proxies() -> Oracle:
    assert shutil.which("cargo"), "the tests with the mark rust need cargo"
    command = ["cargo", "build", "--release", "--quiet"]
    return Oracle(built("webpki", command, "release/webpki-oracle", CARGO_TARGET_DIR="{folder}"))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def ask_controller(chain: bytes, anchors: bytes, at: datetime) -> dict[str, Any]:
    return controller().ask({"Chain": encoded(chain), "Anchors": encoded(anchors), "At": at.isoformat()})


def ask_proxies(chain: list[bytes], anchors: bytes, at: datetime, name: str = "") -> dict[str, Any]:
    """Verify a chain of DER certificates. The first one is that of the workload."""
    request = {"chain": [encoded(der) for der in chain], "anchors": encoded(anchors), "name": name}
    return proxies().ask({**request, "at": int(at.timestamp())})
