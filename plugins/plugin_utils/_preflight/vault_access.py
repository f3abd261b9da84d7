# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else uses the access to Vault that the role vault_issuer would change for cert-manager. Pure.

The access is an auth method with a role, or a credential in a Secret, and a policy. Clusters of two inventories can
have the same name in one Vault, and other applications can use the same auth method.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts, Result

SERVICE_ACCOUNT = ("jwt", "kubernetes")  # the auth methods that verify the token of a service account
UNCHANGED = "Nothing of it was changed."


def decide(found: Facts, requested: Facts) -> Facts:
    """What the role may change, from what it has read and what was requested.

    `found` may be incomplete: the role reads the issuers, and compares the keys, only if that decides something. The
    keys of both are those of the variables `__vault_issuer_access_found` and `__vault_issuer_access_requested`.
    """
    method = AuthMethod(found, requested)
    return {
        "has_other_keys": method.has_other_keys,
        "is_shared": method.is_shared,
        "keeps_config": method.keeps_config,
        "other_cluster": method.other_cluster,
        "users": method.users,
        "problems": _problems(method),
    }


def _problems(method: AuthMethod) -> list[Facts]:
    found, requested = method.found, method.requested
    result = Result(requested["host"])
    if requested["state"] == "present":
        _check_path(result, found, requested)
    if requested["auth"] in SERVICE_ACCOUNT:
        _check_method(result, method)
        _check_hosts(result, method)
    elif requested["state"] == "present":
        _check_credential(result, found, requested)
    if not method.config:
        _check_policy(result, found, requested)
    return result.problems


@dataclass(frozen=True)
class AuthMethod:
    """The auth method as it is in Vault, for tokens of service accounts."""

    found: Facts
    requested: Facts

    @property
    def name(self) -> str:
        """As pki_take_over names it."""
        return f"Vault auth method {self.requested['auth_path']}"

    @property
    def taken_over(self) -> bool:
        return self.name in self.requested["take_over"]

    @property
    def config(self) -> Facts:
        return self.found["config"] or {}

    def _text(self, setting: str) -> str:
        return (self.config.get(setting) or "").strip()

    @property
    def issuer(self) -> str:
        return self._text("bound_issuer").rstrip("/")

    @property
    def host(self) -> str:
        return self._text("kubernetes_host")

    @property
    def has_ca_of_cluster(self) -> bool:
        return self._text("kubernetes_ca_cert") == _ca(self.found)

    @property
    def has_other_keys(self) -> bool:
        """Whether it verifies tokens with the keys of another cluster, or with earlier ones of this one.

        Most clusters have the same issuer, https://kubernetes.default.svc.cluster.local.
        """
        keys = _stripped(self.config.get("jwt_validation_pubkeys"))
        if keys and not keys & _stripped(self.found["tokens"].get("public_keys")):
            return True
        return self._text("jwks_ca_pem") not in ("", _ca(self.found))

    @property
    def other_roles(self) -> list[str] | None:
        """The roles of others, as Vault lists them. None if the login is not permitted to list them."""
        roles, own = self.found["roles"], self.requested["role"].lower()
        return None if roles is None else [role for role in map(str.lower, roles) if role != own]

    @property
    def is_shared(self) -> bool:
        """Whether others use it, so that its configuration is used as it is, and it is not disabled."""
        return not self.taken_over and self.other_roles != []

    @property
    def users(self) -> str:
        roles = self.other_roles
        return "the login is not permitted to list its roles" if roles is None else f"the roles {', '.join(roles)}"

    @property
    def keeps_config(self) -> bool:
        return self.requested["auth"] in SERVICE_ACCOUNT and bool(self.config) and self.is_shared

    @property
    def other_cluster(self) -> str:
        """The issuer or the address of the cluster that it is configured for, empty if it is this one."""
        if not self.config:
            return ""
        if self.requested["auth"] == "jwt":
            return self._other_issuer()
        # The same CA at another address is the same cluster.
        if self.host in ("", self.requested["kubernetes_host"]) or self.has_ca_of_cluster:
            return ""
        return self.host

    def _other_issuer(self) -> str:
        if not self.issuer:
            return "or for tokens of any issuer (bound_issuer is empty)"
        if self.issuer != self.found["tokens"].get("issuer", "").rstrip("/"):
            return self.issuer
        if self.has_other_keys and not self._may_have_changed_keys():
            return "whose tokens have the same issuer and other keys"
        return ""

    def _may_have_changed_keys(self) -> bool:
        """A cluster that has changed its keys differs from another one only by its issuer of cert-manager.

        The removal deletes that issuer first.
        """
        if self.requested["state"] == "absent":
            return False
        return self.is_shared or _may_use(self.found, self.requested, f"/v1/auth/{self.requested['auth_path']}")

    @property
    def suits_cluster(self) -> bool:
        if self.requested["auth"] == "jwt":
            keys = self.found["keys"]
            return bool(keys.get("source")) and not keys.get("differences")
        return self.host == self.requested["kubernetes_host"] and self.has_ca_of_cluster


def _check_method(result: Result, method: AuthMethod) -> None:
    path = method.requested["auth_path"]
    if method.other_cluster and not method.taken_over:
        result.problem(
            "auth_method_of_other_cluster",
            method.name,
            f"The auth method {path} in Vault is configured for another cluster, {method.other_cluster}. {UNCHANGED} "
            "Set vault_issuer_cluster to a name that no other cluster has. If the other cluster does not exist any "
            "more, or this is the same one with another address or other keys, add "
            f"'{method.name}' to pki_take_over.",
        )
    elif method.requested["state"] == "present" and method.keeps_config and not method.suits_cluster:
        result.problem(
            "auth_method_in_use",
            method.name,
            f"Others use the auth method {path} in Vault, too: {method.users}. Its configuration does not suit this "
            f"cluster, and a change could lock them out. {UNCHANGED} Set vault_issuer_auth_path to a path that only "
            "this cluster uses, or, if the change is right for the others, too, add "
            f"'{method.name}' to pki_take_over.",
        )


def _check_hosts(result: Result, method: AuthMethod) -> None:
    """The auth method of a new cluster does not exist yet, so Vault does not show that another host has the same."""
    hosts = method.found.get("hosts_with_same_method")
    if hosts:
        result.problem(
            "auth_method_of_two_clusters",
            method.name,
            f"{' and '.join(sorted([result.cluster, *hosts]))} would use the same auth method "
            f"{method.requested['auth_path']} in Vault, so only one of them could log in. It was not changed. Set "
            "vault_issuer_cluster to a name that no other cluster has.",
        )


def _check_policy(result: Result, found: Facts, requested: Facts) -> None:
    """Without a configured auth method, nothing in Vault shows that a policy is that of this cluster.

    So a cluster without an issuer of this Vault does not change or delete a policy that exists with another content.
    The removal reads the issuers before it deletes that of this cluster.
    """
    name = f"Vault policy {requested['policy']}"
    differs = found["policy_differs"] and found["policy_before"]
    if differs and name not in requested["take_over"] and not _may_use(found, requested):
        result.problem(
            "policy_in_use",
            name,
            f"The policy {requested['policy']} exists in Vault with another content, and no issuer in this cluster "
            "uses this Vault. So it may be the policy of another cluster with the same name, whose cert-manager could "
            f"not renew the identity issuer any more. {UNCHANGED} Set vault_issuer_cluster to a name that no other "
            "cluster has. If it is the policy of this cluster, or the other cluster does not exist any more, add "
            f"'{name}' to pki_take_over.",
        )


def _check_path(result: Result, found: Facts, requested: Facts) -> None:
    """The issuer comes from Git. Until Git changes it, it signs with the path that the policy permits."""
    name, path = f"Vault policy {requested['policy']}", requested["path"]
    paths = re.findall(r'(?m)^path "([^"]+)"', found["policy_before"])
    if requested["keeps_path"] and set(paths) - {path} and name not in requested["take_over"]:
        result.problem(
            "policy_path",
            name,
            f"The policy {requested['policy']} permits {', '.join(paths)}, but vault_issuer_path is {path}. The issuer "
            "in the cluster may use the old path, and could not renew the identity issuer. Nothing was changed. Set "
            "pki_root_issuer_name back, and replace the root with rotate_trust_anchor.yml. If no issuer uses the old "
            f"path, add '{name}' to pki_take_over.",
        )


def _check_credential(result: Result, found: Facts, requested: Facts) -> None:
    """A credential that the role could not remove either is of others.

    Only then it matters whether the role would replace it.
    """
    codes = {found[one].get("code") for one in ("credential_owner", "credential")}
    if codes == {"credential_unmanaged"}:
        result.problem("credential_unmanaged", requested["secret"], found["credential"]["msg"])


def _may_use(found: Facts, requested: Facts, mount_path: str = "") -> bool:
    """Whether an issuer of cert-manager uses this Vault, and the auth method, if it is given.

    Also if the issuers could not be read.
    """
    if any("resources" not in one for one in found["issuers"]):
        return True
    issuers = [one.get("spec", {}).get("vault", {}) for kind in found["issuers"] for one in kind["resources"]]
    server = requested["server"].strip("/")
    used = [one for one in issuers if "server" in one and (not server or one["server"].rstrip("/") == server)]
    if not mount_path:
        return bool(used)
    return mount_path in [one.get("auth", {}).get("kubernetes", {}).get("mountPath", "") for one in used]


def _ca(found: Facts) -> str:
    return (found["tokens"].get("ca_certificate") or "").strip()


def _stripped(keys: list[str] | None) -> set[str]:
    return {key.strip() for key in keys or []}
