# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps what: everything is below one folder of the user's cache, shared by all checkouts."""

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
    """What went wrong and what to do about it, in words for the user."""


def cache_root() -> Path:
    """The folder that everything built once goes to; Makefile and inventories/lab have the same rule."""
    root = os.environ.get("SERVICEMESH_PKI_CACHE")
    if not root:
        root = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "servicemesh-pki")
    return Path(root).absolute()


def cache() -> Path:
    """The lab's folder in it; it need not exist."""
    return cache_root() / "lab"


def run_folder() -> Path:
    """Where the lab's own engine has its socket: a short path, as sockets must have, and one for each cache."""
    name = hashlib.sha256(str(cache()).encode()).hexdigest()[:8]
    return Path("/run") / f"servicemesh-pki-lab-{name}"


def versions() -> dict:
    """The content of versions.toml, each module and wheel with the `version` that go.mod or requirements.txt pins.

    Raises LabError when one is pinned nowhere.
    """
    found = tomllib.loads((SOURCES / "versions.toml").read_text())
    for folder, modules in found["go"].items():
        for entry in modules.values():
            entry["version"] = _pinned(SOURCES / "go" / folder / "go.mod", rf"{re.escape(entry['module'])} (v\S+)")
    for entry in found["wheel"].values():
        entry["version"] = _pinned(SOURCES.parent / "requirements.txt", rf"{re.escape(entry['package'])}==(\S+)")
    return found


def _pinned(file: Path, pattern: str) -> str:
    match = re.search(rf"^(?:require)?\s*{pattern}", file.read_text(), re.M)
    if match is None:
        raise LabError(f"{file} pins nothing that matches {pattern}")
    return match.group(1)


@contextmanager
def only_one() -> Iterator[None]:
    """Keep two commands from working on the same cache at once."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("lab: another lab command is at work; waiting until it ends ...", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
