# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters on a rotation. Each is documented in the YAML file of its name."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.module_utils._vault.keys import DEFAULT_BITS
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import plan, problems
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.filter_input import (
    by_fingerprint,
    readable,
    require_cryptography,
)

RESULTS = "what was read from each cluster, the result of vault_pki_issuer_info, and the options with their target"
OPTIONS = {
    *("target", "wait", "force", "adopt"),
    *(
        "new_root",
        "ignored_pods",
        "ignore_external_workloads",
        "linked_clusters_ready",
        "retired_roots",
        "final_restart",
    ),
}
Facts = dict[str, Any]


def rotation_plan(
    clusters: dict[str, Facts],
    vault: Facts,
    options: Facts,
    at: str | None = None,
) -> Facts:
    require_cryptography()
    with readable("rotation_plan", RESULTS):
        now = chains.requirements(at).at
        return plan.plan(clusters, vault, rotation_options(options, clusters), now)


def rotation_durations(history: list[dict[str, str]], at: str | None = None) -> list[str]:
    with readable("rotation_durations", "phases, each with phase_name and at"):
        return plan.durations(history, chains.requirements(at).at)


def rotation_options(options: Facts, clusters: dict[str, Facts]) -> problems.Options:
    """The options, and those that the variables of the clusters set. What one cluster sets is valid for all."""
    if unknown := sorted({*options} - OPTIONS):
        names = ", ".join(sorted(OPTIONS))
        raise AnsibleFilterError(f"options contains unknown names: {', '.join(unknown)}. Choose from: {names}")
    return problems.Options(
        options["target"],
        by_fingerprint([pem for found in clusters.values() for pem in found.get("extra_anchors", ())]),
        wait=options.get("wait", True),
        force=options.get("force", False),
        adopt=options.get("adopt", False),
        ignored_pods=tuple(options.get("ignored_pods", ())),
        take_over=tuple(name for found in clusters.values() for name in found.get("take_over", ())),
        retired_anchors=tuple(
            one.replace(":", "").lower() for found in clusters.values() for one in found.get("retired_anchors", ())
        ),
        new_root=new_root(options.get("new_root") or {}),
        retired_roots=tuple(options.get("retired_roots", ())),
        ignore_external_workloads=options.get("ignore_external_workloads", False),
        linked_clusters_ready=options.get("linked_clusters_ready", False),
        final_restart=options.get("final_restart", True),
    )


def new_root(given: Facts) -> tuple[str, int, int]:
    key_type = given.get("key_type", "ec")
    return key_type, int(given.get("key_bits", DEFAULT_BITS.get(key_type, 0))), int(given.get("max_path_length", 1))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"rotation_durations": rotation_durations, "rotation_plan": rotation_plan}
