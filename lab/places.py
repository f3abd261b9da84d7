# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths, pinned versions and locks of the lab. All checkouts share one folder in the cache of the user."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).resolve().parent


class LabError(Exception):
    """An expected failure. The message states what is wrong and what to do."""


def cache_root() -> Path:
    """The cache folder of the project. Makefile and inventories/lab apply the same rule."""
    root = os.environ.get("SERVICEMESH_PKI_CACHE")
    if not root:
        root = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "servicemesh-pki")
    return Path(root).absolute()


def cache() -> Path:
    """The folder of the lab in the cache. It may not exist."""
    return cache_root() / "lab"


def run_folder() -> Path:
    """The folder of the engine's socket, one for each cache. Paths of sockets must be short (unix(7))."""
    name = hashlib.sha256(str(cache()).encode()).hexdigest()[:8]
    return Path("/run") / f"servicemesh-pki-lab-{name}"


def versions() -> dict:
    """The content of versions.toml, with the `version` of each module and wheel from go.mod or requirements.txt.

    Raises LabError if one is not pinned.
    """
    content = tomllib.loads((SOURCES / "versions.toml").read_text())
    for folder, modules in content["go"].items():
        for entry in modules.values():
            entry["version"] = _pinned(SOURCES / "go" / folder / "go.mod", rf"{re.escape(entry['module'])} (v\S+)")
    for entry in content["wheel"].values():
        entry["version"] = _pinned(SOURCES.parent / "requirements.txt", rf"{re.escape(entry['package'])}==(\S+)")
    return content


def _pinned(file: Path, pattern: str) -> str:
    match = re.search(rf"^(?:require)?\s*{pattern}", file.read_text(), re.M)
    if match is None:
        raise LabError(f"{file} contains no version that matches {pattern}. Pin it there.")
    return match.group(1)


@contextmanager
def exclusive_lock(name: str = "lock") -> Iterator[None]:
    """Wait for a lock file in the cache, and hold it, so that two commands do not build the same parts."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / name, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"lab: Waiting for another command that holds {lock.name} ...", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
