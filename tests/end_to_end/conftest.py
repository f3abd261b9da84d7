# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sandboxes of the end-to-end tests. All names in them begin with `pki-e2e-`, and the session removes everything."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from support import machine
from support.mesh import Mesh
from support.prober import Prober

from lab.places import LabError, exclusive_lock


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """SERVICEMESH_PKI_TEST_ORDER=reversed begins with the last file. The tests of a file keep their order."""
    if os.environ.get("SERVICEMESH_PKI_TEST_ORDER") == "reversed":
        items.sort(key=lambda item: item.path, reverse=True)  # stable


@pytest.fixture(scope="session")
def only_session() -> Iterator[None]:
    """Wait for another session on this machine: each removes what it finds under the names of the tests."""
    with exclusive_lock("end-to-end.lock"):
        yield


@pytest.fixture(scope="session", autouse=True)
def unchanged_machine(only_session: None) -> Iterator[None]:
    """Fail the session if it changes anything else on the machine, such as a mesh of `make demo`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # fixtures clean up, as on Ctrl-C
    try:
        machine.remove_leftovers()
    except LabError:  # the lab is not up
        yield
        return
    before = machine.inventory()
    yield
    after = machine.inventory()
    machine.remove_leftovers()
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    assert not changed, f"the tests created, changed or removed: {', '.join(changed)}"


@pytest.fixture(scope="session")
def shared_mesh(unchanged_machine: None) -> Iterator[Mesh]:
    """One sandbox for all files that need a mesh. It is empty until the first of them creates the mesh."""
    with Mesh.sandbox() as mesh:
        yield mesh


@pytest.fixture(scope="module")
def mesh(shared_mesh: Mesh, request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """The mesh that site.yml created, for files that restore it. This is checked after each file."""
    shared_mesh.ensure()
    yield shared_mesh
    if request.session.exitstatus != pytest.ExitCode.INTERRUPTED:  # an interrupted test restores nothing
        shared_mesh.ensure_restored()


@pytest.fixture(scope="module")
def expendable_mesh(shared_mesh: Mesh) -> Iterator[Mesh]:
    """The same sandbox, for a file that changes the mesh. It is empty afterwards, until the next file needs it."""
    yield shared_mesh
    shared_mesh.remove()


@pytest.fixture(scope="module")
def prober(expendable_mesh: Mesh) -> Prober:
    """Workloads in the mesh of the file that send requests to each other and count failures."""
    expendable_mesh.ensure()
    prober = Prober(expendable_mesh)
    prober.start()
    return prober
