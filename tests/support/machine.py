# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the machine: containers, networks and volumes, kubeconfigs and CA files of the user."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from lab import engine
from lab.images import LABEL
from lab.sandbox import environment_file
from support.lab import PREFIX

LISTS = {
    "container": ("ps", "--all", "--format={{.Names}}"),
    "network": ("network", "ls", "--format={{.Name}}"),
    "volume": ("volume", "ls", "--format={{.Name}}"),
}
REMOVALS = {
    "container": ("rm", "--force", "--volumes"),
    "network": ("network", "rm"),
    "volume": ("volume", "rm", "--force"),
}
FOLDERS = ("~/.kube", "~/.config/k3d", "~/.config/servicemesh-pki")


def docker(*arguments: str) -> str:
    """Standard output of docker, empty if the engine is not running."""
    env = {**os.environ, **environment_file()["environment"]}
    return subprocess.run(["docker", *arguments], env=env, capture_output=True, text=True, check=False).stdout


def is_of_lab(kind: str, item: dict[str, Any]) -> bool:
    """Whether the tests, the lab or a role created a Docker object. Others can change in the engine of the user."""
    if item["Name"].removeprefix("/").removeprefix("k3d-").startswith(PREFIX):
        return True
    labels = (item["Config"] if kind == "container" else item)["Labels"] or {}
    return LABEL in labels or (kind != "container" and any(one in labels.items() for one in engine.NETWORK_LABELS))


def inventory() -> dict[str, str]:
    """Docker objects with their ID and start time, and files with the hash of their content, by kind and name.

    In the engine of the user, only the objects of the lab.
    """
    found, is_own = {}, environment_file()["environment"]["DOCKER_HOST"] == engine.own_address()
    for kind, command in LISTS.items():
        names = docker(*command).split()
        for item in json.loads(docker("inspect", f"--type={kind}", *names)) if names else []:
            name = item["Name"].lstrip("/")
            started = item["State"]["StartedAt"] if kind == "container" else ""
            if is_own or is_of_lab(kind, item):
                found[f"{kind} {name}"] = f"{item.get('Id', '')} {started}"
    for folder in FOLDERS:
        for path in sorted(Path(folder).expanduser().glob("*")):
            if path.is_file():
                found[f"file {path}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def remove_leftovers(prefix: str = PREFIX) -> list[str]:
    """Remove the Docker objects of an interrupted run, and return their kinds and names."""
    removed = []
    for kind, command in LISTS.items():
        names = [name for name in docker(*command).split() if name.removeprefix("k3d-").startswith(prefix)]
        if names:
            docker(*REMOVALS[kind], *names)
        removed += [f"{kind} {name}" for name in names]
    return removed
