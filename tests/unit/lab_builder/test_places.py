# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makefile, the inventory of the lab, the tests and lab/places.py find the same cache folder."""

from __future__ import annotations

import os
import subprocess
import sys
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
    """Set environment variables, and return the expected folder."""
    environment, folder = request.param
    monkeypatch.setenv("HOME", "/h")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return folder


def test_cache_folder_of_python(expected):
    assert cache_root() == Path(expected)


def test_cache_folder_of_makefile(expected):
    show = "show: ; @echo $(CACHE) $$SERVICEMESH_PKI_CACHE"
    command = ["make", "--silent", "--no-print-directory", "-f", str(ROOT / "Makefile"), "--eval", show, "show"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, expected]  # its own value, and the exported one


def test_cache_folder_of_lab_inventory(expected):
    rule = DataLoader().load_from_file(str(INVENTORY))["lab_cache"]
    assert Templar(DataLoader(), {}).template(trust_as_template(str(rule))) == expected


def test_cache_folder_of_oracles(expected):
    """In another process, because the module determines it when it is loaded."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests/unit/x509")))
    command = [sys.executable, "-c", "import oracles; print(oracles.CACHE)"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{expected}/oracles"
