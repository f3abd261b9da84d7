# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter on a rotation. It is documented in the YAML file of its name."""

from __future__ import annotations

from typing import Any

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import plan, problems
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.filter_input import (
    fingerprints,
    readable,
    require_cryptography,
)

RESULTS = "the results of linkerd_certificates_info by cluster, and the result of vault_pki_issuer_info"


def rotation_plan(
    readings: dict[str, dict[str, Any]],
    vault: dict[str, Any],
    target: str,
    checks: dict[str, dict[str, Any]] | None = None,
    components: dict[str, dict[str, Any]] | None = None,
    extra_anchors: object = None,
    wait: bool = True,
    force: bool = False,
    adopt: bool = False,
    ignored_pods: list[str] | None = None,
    take_over: list[str] | None = None,
    retired_roots: list[str] | None = None,
    history: list[dict[str, str]] | None = None,
    at: str | None = None,
) -> dict[str, Any]:
    require_cryptography()
    with readable("rotation_plan", RESULTS):
        options = problems.Options(
            target,
            fingerprints(extra_anchors),
            wait=wait,
            force=force,
            adopt=adopt,
            ignored_pods=tuple(ignored_pods or ()),
            take_over=tuple(take_over or ()),
            retired=tuple(retired_roots or ()),
        )
        now = chains.requirements(at).at
        found = plan.plan(readings, vault, checks or {}, components or {}, options, now)
        return {**found, "durations": plan.durations(history or [], now)}


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"rotation_plan": rotation_plan}
