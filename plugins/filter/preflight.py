# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight import (
    collections,
    evaluate,
    removal,
    result,
    vault_access,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight import vault as vault_checks
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.filter_input import (
    readable,
    require_cryptography,
)


def preflight(
    found: dict[str, Any],
    requested: dict[str, Any],
    cluster: str,
    leaves: dict[str, Any] | None = None,
) -> dict[str, Any]:
    require_cryptography()
    expected = "the result of mesh_prerequisites_info and what the roles request"
    with readable(f"preflight of {cluster}", expected):
        return evaluate.evaluate(cluster, found, requested, leaves, outdated=collections.outdated())


def preflight_vault(vault: dict[str, Any], name: str) -> list[dict[str, Any]]:
    with readable("preflight_vault", "what the role vault_pki publishes"):
        return vault_checks.problems(name, vault)


def preflight_vault_access(found: dict[str, Any], requested: dict[str, Any]) -> dict[str, Any]:
    with readable("preflight_vault_access", "what the role vault_issuer has read, and what was requested"):
        return vault_access.decide(found, requested)


def preflight_problem(message: str, code: str, cluster: str) -> dict[str, Any]:
    found = result.Result(cluster)
    try:
        found.problem(code, cluster, message)
    except KeyError as exc:
        raise AnsibleFilterError(f"There is no check {code}. Choose from: {', '.join(result.CHECKS)}") from exc
    return found.problems[0]


def preflight_message(problems: list[dict[str, Any]]) -> str:
    with readable("preflight_message", "a list of problems or notes"):
        return "\n".join(f"[{one['code']}] {one['cluster']}: {one['message']}" for one in problems)


def preflight_cluster(kubernetes: dict[str, Any] | None) -> str:
    with readable("preflight_cluster", "the connection options of a cluster"):
        return evaluate.cluster_key(kubernetes or {})


def removal_plan(
    found: dict[str, Any],
    component: str = "",
    namespace: str = "",
    release: str = "",
    predicts: bool = False,
    with_namespace: bool = False,
) -> dict[str, Any]:
    with readable("removal_plan", "the result of mesh_prerequisites_info"):
        if component == "linkerd":
            return removal.linkerd(found, namespace, with_namespace)
        if component == "issuer":
            return removal.issuer(found, predicts)
        return removal.release(found, namespace, release, predicts) if release else removal.objects(found)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "preflight": preflight,
            "preflight_cluster": preflight_cluster,
            "preflight_message": preflight_message,
            "preflight_problem": preflight_problem,
            "preflight_vault": preflight_vault,
            "preflight_vault_access": preflight_vault_access,
            "removal_plan": removal_plan,
        }
