# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vault_dev does not change a container of others. Docker is a stand-in here."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from docker_standin import DockerStandIn
from support.plays import THIS_HOST

ROOT = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: servicemesh.pki.vault_dev, tasks_from: "{{ part | default('main') }}"}
"""
STATE = {"Running": True, "Status": "running"}
NETWORKS = {"Networks": {"pki-network": {"IPAddress": "10.0.0.2"}}}
COMMAND = ["server", "-dev", "-dev-listen-address=0.0.0.0:8200", "-dev-no-store-token"]
OURS = {
    "Config": {"Cmd": COMMAND, "Env": ["VAULT_DEV_ROOT_TOKEN_ID=t", "BAO_DEV_ROOT_TOKEN_ID=t", "PATH=/bin"]},
    "State": STATE,
    "NetworkSettings": NETWORKS,
}
DEV_OF_OTHERS = {"Cmd": ["server", "-dev"], "Env": ["VAULT_DEV_ROOT_TOKEN_ID=theirs"]}
PRODUCTION = {"Cmd": ["server"], "Env": None}
WITH_BOTH_TOKENS = {"Cmd": ["server"], "Env": OURS["Config"]["Env"]}


@pytest.fixture
def play(tmp_path):
    """A function that runs the role with a container named vault, and returns the run and the stand-in."""
    standins = []

    def run(container: dict | None, *arguments: str, **variables: object) -> tuple[bool, str, DockerStandIn]:
        standins.append(DockerStandIn(container))
        (tmp_path / "play.yml").write_text(PLAY)
        environment = {**os.environ, "DOCKER_HOST": standins[-1].host}
        command = ["ansible-playbook", "-i", "localhost,", tmp_path / "play.yml", *arguments]
        done = subprocess.run(
            [*command, "-e", json.dumps({**THIS_HOST, **variables})],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode == 0, " ".join((done.stdout + done.stderr).split()), standins[-1]

    yield run
    for one in standins:
        one.stop()


@pytest.mark.parametrize("config", [DEV_OF_OTHERS, PRODUCTION, WITH_BOTH_TOKENS])
def test_container_of_others_is_neither_recreated_nor_removed(play, config):
    theirs = {"Config": config, "State": STATE, "NetworkSettings": {"Networks": {"bridge": {}}}}
    for variables in ({}, {"vault_dev_recreate": True}, {"part": "results"}):
        ok, shown, docker = play(theirs, **variables)
        assert not ok and docker.changes == [], shown
        assert "vault_dev_name" in shown
    ok, shown, docker = play(theirs, vault_dev_state="absent")
    assert ok and docker.changes == [] and "container vault" in shown, shown


def test_own_container_is_removed(play):
    ok, shown, docker = play(OURS, vault_dev_state="absent")
    assert ok and "changed=1" in shown, shown
    assert [one.split()[0] for one in docker.changes] == ["POST", "DELETE"], "it is stopped and removed"


def test_nothing_to_remove(play):
    ok, shown, docker = play(None, vault_dev_state="absent")
    assert ok and "changed=0" in shown and docker.changes == [], shown


def test_results_of_own_container(play):
    ok, shown, dummy = play(OURS, part="results")
    assert ok, shown
