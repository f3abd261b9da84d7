# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import UNEXPECTED
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight import evaluate, removal, result
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.filter_input import require_cryptography


def preflight(
    found: dict[str, Any],
    requested: dict[str, Any],
    cluster: str,
    leaves: dict[str, Any] | None = None,
) -> dict[str, Any]:
    require_cryptography()
    try:
        return evaluate.evaluate(cluster, found, requested, leaves)
    except certs.X509Error as exc:
        raise AnsibleFilterError(f"The trust anchors of {cluster}: {exc}") from exc
    except UNEXPECTED as exc:
        raise AnsibleFilterError(
            f"preflight cannot read its input for {cluster} ({type(exc).__name__}). Give it the result of "
            "mesh_prerequisites_info and what the roles request."
        ) from exc


def preflight_vault(vault: dict[str, Any], name: str) -> list[dict[str, Any]]:
    try:
        return evaluate.vault_problems(name, vault)
    except UNEXPECTED as exc:
        raise AnsibleFilterError(
            f"preflight_vault cannot read its input ({type(exc).__name__}). Give it what the role vault_pki publishes."
        ) from exc


def preflight_problem(message: str, code: str, cluster: str) -> dict[str, Any]:
    found = result.Result(cluster)
    try:
        found.problem(code, cluster, message)
    except KeyError as exc:
        raise AnsibleFilterError(f"There is no check {code}. Choose from: {', '.join(result.CHECKS)}") from exc
    return found.problems[0]


def preflight_message(problems: list[dict[str, Any]]) -> str:
    try:
        lines = [f"[{one['code']}] {one['cluster']}: {one['message']}" for one in problems]
    except UNEXPECTED as exc:
        raise AnsibleFilterError(
            f"preflight_message cannot read its input ({type(exc).__name__}). Give it a list of problems or notes."
        ) from exc
    return "\n".join(lines)


def removal_plan(found: dict[str, Any], component: str = "", namespace: str = "", release: str = "") -> dict[str, Any]:
    try:
        if component == "linkerd":
            return removal.linkerd(found, namespace)
        return removal.release(found, namespace, release) if release else removal.objects(found)
    except UNEXPECTED as exc:
        raise AnsibleFilterError(
            f"removal_plan cannot read its input ({type(exc).__name__}). Give it the result of mesh_prerequisites_info."
        ) from exc


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "preflight": preflight,
            "preflight_message": preflight_message,
            "preflight_problem": preflight_problem,
            "preflight_vault": preflight_vault,
            "removal_plan": removal_plan,
        }
