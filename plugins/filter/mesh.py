# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that compare the certificates of a mesh, and show them. Each is documented in the YAML file of its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jinja2
from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import comparison, html, metrics, table
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import plan, problems
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.filter_input import (
    by_fingerprint,
    readable,
    require_cryptography,
)

RESULTS = (
    "the results of linkerd_certificates_info and linkerd_check by cluster, and the result of vault_pki_issuer_info"
)


def mesh_report(
    certificates: dict[str, dict[str, Any]],
    vault: dict[str, Any],
    checks: dict[str, dict[str, Any]] | None = None,
    allowed: list[str] | None = None,
    at: str | None = None,
    issuer_min_days: float = 0,
    anchor_min_days: float = 0,
    trust_domain: str = "cluster.local",
    root: str | None = None,
    extra_anchors: object = None,
    ignored_pods: list[str] | None = None,
    intermediate_min_days: float = 0,
) -> dict[str, Any]:
    require_cryptography()
    unknown = sorted(set(allowed or ()) - comparison.CODES)
    if unknown:
        codes = ", ".join(sorted(comparison.CODES))
        raise AnsibleFilterError(f"allowed contains unknown codes: {', '.join(unknown)}. Choose from: {codes}")
    with readable("mesh_report", RESULTS):
        required = chains.requirements(
            at,
            "linkerd",
            leaf_min_days=issuer_min_days,
            anchor_min_days=anchor_min_days,
            intermediate_min_days=intermediate_min_days,
        )
        required = replace(required, trust_domain=trust_domain)
        extra = by_fingerprint(extra_anchors)
        clusters = [
            comparison.Cluster.from_results(name, result, (checks or {}).get(name) or {}, extra)
            for name, result in certificates.items()
        ]
        report = comparison.report(comparison.vault_facts(vault), clusters, required, allowed or ())
        options = problems.Options(root or "", extra, ignored_pods=tuple(ignored_pods or ()))
        report["rotation"] = plan.progress(certificates, vault, options, required.at) if root else None
        return {**report, "table": table.table(report), "failures": table.failures(report)}


def mesh_report_html(report: dict[str, Any]) -> str:
    with readable("mesh_report_html", "the result of mesh_report", jinja2.TemplateError):
        return html.page(report)


def mesh_metrics(report: dict[str, Any]) -> str:
    with readable("mesh_metrics", "the result of mesh_report"):
        return metrics.text(report)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"mesh_metrics": mesh_metrics, "mesh_report": mesh_report, "mesh_report_html": mesh_report_html}
