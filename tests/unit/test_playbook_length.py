# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each play fits on a screen, and site.yml fits on three screens with the playbooks that it imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
SCREEN = 60  # lines


def content(name: str) -> str:
    """A playbook without the license and the start of the document."""
    return (PLAYBOOKS / name).read_text().partition("\n---\n")[2]


@pytest.mark.parametrize("name", sorted(path.name for path in PLAYBOOKS.glob("*.yml")))
def test_play_fits_on_a_screen(name):
    plays = re.split(r"^(?=- name: )", content(name), flags=re.MULTILINE)[1:]
    assert plays
    assert [play.splitlines()[0] for play in plays if len(play.splitlines()) > SCREEN] == []


def imported(name: str) -> set[str]:
    names = re.findall(r"import_playbook: (\S+)$", content(name), re.MULTILINE)
    return {name}.union(*(imported(one) for one in names))


def test_installation_fits_on_three_screens():
    names = imported("site.yml")
    assert {"preflight.yml", "local.yml", "vault.yml", "mesh.yml"} < names
    assert sum(len(content(name).splitlines()) for name in names) <= 3 * SCREEN
