# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deprecation warnings in the output of a run. Ours are errors in every test that runs a playbook."""

from __future__ import annotations

MARK = "[DEPRECATION WARNING]: "
# kubernetes.core 6.6 reports this from every task of its module helm that finds a release (get_release_status),
# whatever becomes of the value. Nothing here reads it, and ansible-core cannot switch off a single deprecation warning.
UNAVOIDABLE = ("The 'status.values' return value is deprecated and will be removed in version 8.0.0.",)


def deprecations(output: str) -> list[str]:
    """The beginnings of the deprecation warnings in what ansible-playbook printed, without those nobody can avoid."""
    warnings = " ".join(output.split()).split(MARK)[1:]  # long ones are wrapped
    return [warning[:200] for warning in warnings if not warning.startswith(UNAVOIDABLE)]
