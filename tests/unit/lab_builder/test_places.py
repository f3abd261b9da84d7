# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule for the cache is written in three languages, because make, Ansible and Python each need it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from lab.places import SOURCES, cache_root

ROOT = SOURCES.parent
INVENTORY = ROOT / "inventories/lab/group_vars/all/lab.yml"
NAMES = ("SERVICEMESH_PKI_CACHE", "XDG_CACHE_HOME")


@pytest.fixture(
    params=[
        ({"SERVICEMESH_PKI_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/servicemesh-pki"),
        ({"SERVICEMESH_PKI_CACHE": "", "XDG_CACHE_HOME": ""}, "/h/.cache/servicemesh-pki"),
        ({}, "/h/.cache/servicemesh-pki"),
    ],
    ids=["named", "XDG", "empty", "default"],
)
def expected(request, monkeypatch):
    """An environment, and the folder that it must lead to."""
    environment, folder = request.param
    monkeypatch.setenv("HOME", "/h")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return folder


def test_python(expected):
    assert cache_root() == Path(expected)


def test_make(expected):
    show = "show: ; @echo $(CACHE) $$SERVICEMESH_PKI_CACHE"
    command = ["make", "--silent", "--no-print-directory", "-f", str(ROOT / "Makefile"), "--eval", show, "show"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, expected]  # the second is what it passes on


def test_inventory_of_the_lab(expected):
    rule = DataLoader().load_from_file(str(INVENTORY))["lab_cache"]
    assert Templar(DataLoader(), {}).template(trust_as_template(str(rule))) == expected
