# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks that `fresh` and `clean` remove from an engine, with a stand-in for docker."""

from __future__ import annotations

import json

import pytest

from lab import engine

USERS = "unix:///users/docker.sock"
NETWORKS = {
    "of-the-role": {"Labels": {"servicemesh.pki.made": "true"}, "Containers": {}},
    "of-k3d": {"Labels": {"app": "k3d"}, "Containers": {}},
    "in-use": {"Labels": {"servicemesh.pki.made": "true"}, "Containers": {"somebody": {}}},
    "of-the-user": {"Labels": {"app": "shop"}, "Containers": {}},
    "without-labels": {"Labels": None, "Containers": {}},
}


class Docker:
    """A stand-in for docker with one container of the lab, which is connected to every network."""

    def __init__(self):
        self.networks = dict(NETWORKS)
        self.removed_containers: list[str] = []

    def __call__(self, address, *arguments, given=None):
        match arguments:
            case ("ps", *_):
                return "c1"
            case ("inspect", "c1"):
                networks = {"bridge": {}, **self.networks}
                return json.dumps([{"Name": "/node", "Mounts": [], "NetworkSettings": {"Networks": networks}}])
            case ("rm", *options):
                self.removed_containers += [name for name in options if not name.startswith("-")]
            case ("network", "inspect", name):
                return json.dumps([self.networks[name]])
            case ("network", "rm", name):
                del self.networks[name]
            case ("volume", "ls", *_) | ("network", "prune", *_):
                pass
            case _:
                raise AssertionError(arguments)
        return ""


@pytest.fixture
def docker(monkeypatch):
    docker = Docker()
    monkeypatch.setattr(engine, "docker", docker)
    return docker


def test_only_labelled_networks_are_removed_from_engine_of_user(docker):
    removed = engine.remove_all(USERS)
    assert docker.removed_containers == ["c1"]
    assert set(docker.networks) == {"in-use", "of-the-user", "without-labels"}
    assert removed == ["container node", "network of-k3d", "network of-the-role"]


def test_all_unused_networks_are_removed_from_own_engine(docker):
    engine.remove_all(engine.own_address())
    assert set(docker.networks) == {"in-use"}
