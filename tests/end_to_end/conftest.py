# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worlds of the end-to-end tests. Whatever is in them has a name with `pki-e2e-`, and is gone afterwards."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from support import machine
from support.mesh import Mesh

from lab.places import LabError


@pytest.fixture(scope="session", autouse=True)
def unchanged_machine() -> Iterator[None]:
    """Fail the session when it does not leave the machine as it found it, a mesh of `make demo` included."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that fixtures remove what they made, as on Ctrl-C
    try:
        machine.remove_leftovers()
    except LabError:  # not up: there is nothing to change
        yield
        return
    before = machine.inventory()
    yield
    after = machine.inventory()
    machine.remove_leftovers()
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    assert not changed, f"the tests made, changed or removed: {', '.join(changed)}"


@pytest.fixture(scope="session")
def shared_mesh(unchanged_machine: None) -> Iterator[Mesh]:
    """One sandbox for all files that need a mesh; empty until one of them asks for it."""
    with Mesh.sandbox() as mesh:
        yield mesh


@pytest.fixture(scope="module")
def mesh(shared_mesh: Mesh, request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """The mesh that site.yml made from nothing, for files that leave it as it was; this is checked after each."""
    shared_mesh.ensure()
    yield shared_mesh
    if request.session.exitstatus != pytest.ExitCode.INTERRUPTED:  # a test that was interrupted restored nothing
        shared_mesh.ensure_restored()


@pytest.fixture(scope="module")
def expendable_mesh(shared_mesh: Mesh) -> Iterator[Mesh]:
    """The same sandbox, for a file that takes the mesh apart. It is empty afterwards, and the next file fills it."""
    yield shared_mesh
    shared_mesh.remove()
