# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check at the end of a session sees what tests leave behind, and the next session removes it."""

from __future__ import annotations

import pytest
from support import machine
from support.lab import PREFIX

from lab.places import cache_root
from lab.sandbox import environment_file

LEFT = f"{PREFIX}left-"


@pytest.fixture
def left():
    """A container, a network and a volume that an interrupted test made."""
    machine.docker("network", "create", f"{LEFT}network")
    machine.docker("volume", "create", f"{LEFT}volume")
    machine.docker("create", "--name", f"{LEFT}container", environment_file()["vault_image"])
    yield {f"container {LEFT}container", f"network {LEFT}network", f"volume {LEFT}volume"}
    machine.remove_leftovers(LEFT)


@pytest.fixture
def before():
    return machine.inventory()


def test_what_is_left_is_seen_and_removed(before, left):
    after = machine.inventory()
    assert left <= {name for name in after if name not in before}
    assert set(machine.remove_leftovers(LEFT)) >= left
    assert machine.inventory() == before


def test_a_container_that_was_restarted_is_not_as_before(left):
    before = machine.inventory()
    machine.docker("start", f"{LEFT}container")
    assert machine.inventory()[f"container {LEFT}container"] != before[f"container {LEFT}container"]


def test_a_kubeconfig_that_was_changed_is_not_as_before(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVICEMESH_PKI_CACHE", str(cache_root()))
    monkeypatch.setenv("HOME", str(tmp_path))
    kubeconfig = tmp_path / ".kube" / "config"
    kubeconfig.parent.mkdir()
    kubeconfig.write_text("kind: Config")
    before = machine.inventory()
    kubeconfig.write_text("kind: Config # changed")
    changed = {name for name, value in machine.inventory().items() if before.get(name) != value}
    assert changed == {f"file {kubeconfig}"}
