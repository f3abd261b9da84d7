# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check at the end of a session finds what tests leave on the machine, and the next session removes it."""

from __future__ import annotations

import pytest
from support import machine
from support.lab import PREFIX

from lab.places import cache_root
from lab.sandbox import environment_file

LEFTOVER = f"{PREFIX}leftovers-"


@pytest.fixture
def leftovers():
    """A container, a network and a volume, as an interrupted test leaves them."""
    machine.docker("network", "create", f"{LEFTOVER}network")
    machine.docker("volume", "create", f"{LEFTOVER}volume")
    machine.docker("create", "--name", f"{LEFTOVER}container", environment_file()["vault_image"])
    yield {f"container {LEFTOVER}container", f"network {LEFTOVER}network", f"volume {LEFTOVER}volume"}
    machine.remove_leftovers(LEFTOVER)


@pytest.fixture
def before():
    return machine.inventory()


def test_leftovers_are_found_and_removed(before, leftovers):
    after = machine.inventory()
    assert leftovers <= {name for name in after if name not in before}
    assert set(machine.remove_leftovers(LEFTOVER)) >= leftovers
    assert machine.inventory() == before


def test_restarted_container_is_a_change(leftovers):
    before = machine.inventory()
    machine.docker("start", f"{LEFTOVER}container")
    assert machine.inventory()[f"container {LEFTOVER}container"] != before[f"container {LEFTOVER}container"]


def test_changed_kubeconfig_is_a_change(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVICEMESH_PKI_CACHE", str(cache_root()))
    monkeypatch.setenv("HOME", str(tmp_path))
    kubeconfig = tmp_path / ".kube" / "config"
    kubeconfig.parent.mkdir()
    kubeconfig.write_text("kind: Config")
    before = machine.inventory()
    kubeconfig.write_text("kind: Config # changed")
    changed = {name for name, value in machine.inventory().items() if before.get(name) != value}
    assert changed == {f"file {kubeconfig}"}
