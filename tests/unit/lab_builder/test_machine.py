# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the check at the end of an end-to-end session compares, with a stand-in for docker."""

from __future__ import annotations

import json

import pytest
from support import machine

from lab import engine

OBJECTS = {
    "container": {
        "node": {"servicemesh.pki.lab": "1"}, "k3d-pki-e2e-1-server-0": {},
        "shop": {"app": "shop"}, "k3d-users-server-0": {"app": "k3d"},
    },
    "network": {"pki": {"servicemesh.pki.made": "true"}, "k3d-pki": {"app": "k3d"}, "pki-e2e-1": None, "bridge": None},
    "volume": {"k3d-pki-images": {"app": "k3d"}, "3f9a": None},
}  # fmt: skip
KINDS = {"ps": "container", "network": "network", "volume": "volume"}


def docker(*arguments: str) -> str:
    if arguments[0] != "inspect":
        return "\n".join(OBJECTS[KINDS[arguments[0]]])
    kind = arguments[1].removeprefix("--type=")
    found = [{"Name": name, "Labels": labels} for name, labels in OBJECTS[kind].items()]
    if kind == "container":
        found = [{"Name": f"/{one['Name']}", "Config": one, "State": {"StartedAt": "now"}} for one in found]
    return json.dumps(found)


@pytest.fixture
def compared(monkeypatch, tmp_path):
    """A function that returns the names of the compared objects in an engine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(machine, "docker", docker)

    def call(address: str) -> set[str]:
        monkeypatch.setattr(machine, "environment_file", lambda: {"environment": {"DOCKER_HOST": address}})
        return set(machine.inventory())

    return call


def test_all_objects_in_engine_of_lab_are_compared(compared):
    assert compared(engine.own_address()) == {f"{kind} {name}" for kind, names in OBJECTS.items() for name in names}


def test_only_objects_of_lab_in_engine_of_user_are_compared(compared):
    """Containers of the user start and stop during the tests."""
    assert compared("unix:///var/run/docker.sock") == {
        "container node", "container k3d-pki-e2e-1-server-0", "network pki", "network k3d-pki", "network pki-e2e-1",
        "volume k3d-pki-images",
    }  # fmt: skip
