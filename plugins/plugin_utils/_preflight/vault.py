# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems of Vault, which affect every cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts, Result
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.linkerd import anchor_algorithm_problem


def by_reference(issuers: Iterable[Facts]) -> dict[str, str]:
    """The certificates of issuers by name and by identifier, because the path of a signer contains one of them."""
    return {one[key]: one["certificate"] for key in ("issuer_name", "issuer_id") for one in issuers if one[key]}


def problems(name: str, vault: Facts) -> list[Facts]:
    """The problems of what the role vault_pki has read."""
    result = Result(name)
    names = [one["issuer_name"] for one in vault["issuers"]]
    if vault.get("problem"):
        result.problem("vault_unreadable", name, str(vault["problem"]))
    elif vault.get("previous") and vault["previous"] not in names:
        result.problem(
            "vault_previous_root_missing",
            f"issuer {vault['previous']}",
            f"vault_pki_previous_root is {vault['previous']}, but the mount {vault['mount']} has no issuer of that "
            f"name, only: {', '.join(names) or 'none'}. Correct the name, or leave it empty.",
        )
    elif vault.get("others"):
        _check_owner(result, vault, names)
    if not vault.get("problem"):
        _check_new_root(result, vault, names)
    return result.facts()["problems"]  # type: ignore[no-any-return]


def _check_new_root(result: Result, vault: Facts, names: list[str]) -> None:
    """The key of a root that the run creates. `new_key` is type and bits. Vault signs the root with SHA-256."""
    new_key = vault.get("new_key", "")
    problem = anchor_algorithm_problem(new_key) if new_key and vault["root"] not in names else ""
    if problem:
        result.problem(
            "anchor_algorithm",
            f"issuer {vault['root']}",
            f"linkerd check would refuse the root {vault['root']} that the run creates. {problem}. Correct "
            "vault_pki_root_key_type and vault_pki_root_key_bits.",
        )


def _check_owner(result: Result, vault: Facts, names: list[str]) -> None:
    """The run would configure the engine of others, if no issuer in it belongs to a mesh.

    `others` are the names of the issuers that do not, empty for one without a name. `count` is the number of all.
    """
    item, others = f"Vault engine {vault['mount']}", vault["others"]
    if vault["root"] in names or len(others) < vault["count"] or item in vault["take_over"]:
        return
    listed = ", ".join(sorted({name or "one without a name" for name in others}))
    result.problem(
        "vault_mount_in_use",
        item,
        f"The PKI engine at {vault['mount']} has issuers that this collection does not recognize as its own "
        f"({listed}), and none with the name {vault['root']}. The run would create the root in the engine of others. "
        "Set pki_vault_mount to another path. If one of these issuers is your root, set pki_root_issuer_name to its "
        f"name: the engine is then used as it is. To have the run create the root in this engine, add '{item}' to "
        "pki_take_over: that also changes the maximum TTL and the URLs of all its certificates.",
    )
