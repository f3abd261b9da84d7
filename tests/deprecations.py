# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deprecation warnings in the output of ansible-playbook. Every test that runs a playbook treats ours as errors."""

from __future__ import annotations

MARK = "[DEPRECATION WARNING]: "
# The module helm of kubernetes.core 6.6 reports this in every task that finds a release (get_release_status), also if
# nothing reads the value. ansible-core cannot switch off a single deprecation warning.
UNAVOIDABLE = ("The 'status.values' return value is deprecated and will be removed in version 8.0.0.",)


def deprecations(output: str) -> list[str]:
    """The first 200 characters of each deprecation warning, without the unavoidable ones."""
    warnings = " ".join(output.split()).split(MARK)[1:]  # long ones are wrapped
    return [warning[:200] for warning in warnings if not warning.startswith(UNAVOIDABLE)]
