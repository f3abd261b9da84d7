# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout importable as ansible_collections.servicemesh.pki, configure Hypothesis, and register skips.py.

Hypothesis draws the same examples in each run. HYPOTHESIS_PROFILE=search draws more, and others in each run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import ansible_collections  # the dependencies, from the ansible wheel
import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from hypothesis import HealthCheck, settings
from skips import pytest_make_collect_report, pytest_runtest_makereport, pytest_terminal_summary

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport", "pytest_terminal_summary"]  # hooks of pytest

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = [str(ROOT / ".collections"), str(Path(ansible_collections.__path__[0]).parent)]

for name in [name for name in sys.modules if name.split(".")[0] == "ansible_collections"]:
    del sys.modules[name]
_AnsibleCollectionFinder(paths=COLLECTIONS)._install()

QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "same", derandomize=True, database=None, deadline=None, max_examples=200, suppress_health_check=QUIET
)
settings.register_profile("search", database=None, deadline=None, max_examples=5000, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(autouse=True)
def own_kubernetes_configuration() -> Iterator[None]:
    """Reset the default configuration of the Kubernetes client, which a loaded kubeconfig replaces in the process."""
    yield
    if client := sys.modules.get("kubernetes.client"):
        client.Configuration.set_default(None)
