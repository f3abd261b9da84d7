# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems, notes and decisions. Every code is documented here, and the guide has the same table."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Facts = dict[str, Any]

# Code: what is checked.
CHECKS = {
    "address_missing": "The addresses of Vault and of the API server are set, where the issuer needs them.",
    "anchor_algorithm": "linkerd check accepts the key and the signature of the root that signs.",
    "anchor_filtered": "trust-manager distributes every trust anchor.",
    "anchor_missing": "The new bundle contains every trust anchor that a certificate of the mesh still chains to.",
    "anchor_not_a_root": "The issuer that a mesh gets as its trust anchor is self-signed.",
    "anchors_disjoint": "The new bundle shares a trust anchor with the running mesh.",
    "anchors_not_selected": "The Bundle's selector matches Linkerd's namespace, and trust-manager writes to it.",
    "auth_method_in_use": "An auth method of Vault that others use suits the cluster as it is.",
    "auth_method_of_other_cluster": "The auth method in Vault is not configured for another cluster.",
    "auth_method_of_two_clusters": "No two clusters of a run have the same auth method in Vault.",
    "cert_manager_mismatch": "The issuer's permissions name the namespace and service account that cert-manager has.",
    "cluster_unreachable": "The cluster's API server responds, unless the inventory creates the cluster.",
    "collection_unsupported": "The Ansible collections that this collection needs have a supported version.",
    "component_missing": "A component that you manage elsewhere is installed.",
    "credential_unmanaged": "The Secret with the credential for Vault contains none of others.",
    "definitions_left_behind": "CRDs of an earlier installation do not block the installation with Helm.",
    "gateway_api_channel": "An upgrade of the Gateway API does not replace the experimental channel.",
    "gateway_api_downgrade": "An upgrade of the Gateway API does not install an older version.",
    "gateway_api_policy": "The admission policy of the Gateway API permits the version to install.",
    "gateway_api_too_old": "The Gateway API has the version that Linkerd needs.",
    "helm_missing": "Helm is installed, if the run installs or upgrades a release.",
    "helm_unsupported": "This collection supports the version of Helm.",
    "identity_in_release": "Linkerd takes its issuer and trust anchors from cert-manager and trust-manager.",
    "identity_lifetime": "The identity issuer is valid within the limits of cert-manager and of the CAs above it.",
    "linkerd_cli_missing": "The linkerd CLI is installed, if the run calls linkerd check.",
    "linkerd_cli_version": "The linkerd CLI has the version of the control plane.",
    "linkerd_elsewhere": "Linkerd runs in the configured namespace.",
    "namespace_missing": "The namespaces exist, if others install the charts.",
    "namespace_terminating": "No namespace of the mesh is terminating.",
    "not_readable": "The credential permits reading everything that is checked.",
    "object_in_git": "No GitOps controller applies an object that the run would change.",
    "object_unmanaged": "An object that the run would write does not exist, or the collection created it.",
    "pod_security": "The namespace of Linkerd permits the pods of the control plane.",
    "policy_in_use": "A policy of the same name in Vault is not that of another cluster.",
    "policy_path": "The policy in Vault permits the path that an issuer from Git signs with.",
    "release_downgrade": "No release is replaced by an older version of its chart.",
    "release_elsewhere": "A release to take over has the name and namespace that are configured.",
    "release_hidden_values": "The values of a release that is or was taken over contain no secrets.",
    "release_name_taken": "The name of a release is not used by another chart.",
    "release_not_helm": "A component to take over was installed with Helm.",
    "release_pending": "No other Helm operation on the release is in progress.",
    "signer_untrusted": "Every meshed pod trusts the CA that will sign the identity issuer, or a CA above it.",
    "signer_unusable": "Linkerd accepts certificates below the CA that will sign the identity issuer.",
    "trust_namespace_in_use": "A change of trust-manager's trust namespace breaks no other Bundle.",
    "trust_source_namespace": "The ConfigMap or Secret that the Bundle reads is in trust-manager's trust namespace.",
    "vault_mount_in_use": "The PKI engine is empty, has the root, or has another issuer of this collection.",
    "vault_previous_root_missing": "The previous root is in Vault.",
    "vault_unreadable": "Vault responds and returns its issuers.",
}
# Code: what a note reports. A note does not stop the run.
NOTES = {
    "anchor_dropped": "A trust anchor that nothing in the cluster needs is removed from the bundle.",
    "anchor_refused": "linkerd check, which the run does not call, refuses the key or signature of the root.",
    "cluster_not_checked": "A cluster whose objects come from Git cannot be read, so its anchors are not checked.",
    "definitions_newer": "The release linkerd-crds is newer than the requested chart and is not changed.",
    "definitions_protected": "CRDs get helm.sh/resource-policy: keep before their release is upgraded.",
    "definitions_unprotected": "An upgrade of a release that you manage would delete CRDs that others use.",
    "gateway_api_left": "The Gateway API is installed and is not changed.",
    "quota_omitted": "The trust namespace gets no quota that forbids Secrets, because of Secrets or a quota of others.",
    "release_left": "A component is managed elsewhere and is not changed.",
    "release_taken_over": "A release is taken over, with the values that this changes.",
    "retry_limit_not_set": "cert-manager keeps its own limit of 32 h between attempts to issue.",
    "trust_namespace_used": "trust-manager is managed elsewhere, and its trust namespace is used.",
}


@dataclass
class Result:
    """The result for one cluster."""

    cluster: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    problems: list[Facts] = field(default_factory=list)
    notes: list[Facts] = field(default_factory=list)
    decisions: Facts = field(default_factory=dict)
    needs_leaves: bool = False

    def problem(self, code: str, item: str, message: str) -> None:
        self._add(self.problems, CHECKS, code, item, message)

    def note(self, code: str, item: str, message: str) -> None:
        self._add(self.notes, NOTES, code, item, message)

    def _add(self, to: list[Facts], known: dict[str, str], code: str, item: str, message: str) -> None:
        if code not in known:
            raise KeyError(code)
        to.append({"code": code, "cluster": self.cluster, "object": item, "message": " ".join(message.split())})

    def facts(self) -> Facts:
        return {
            "problems": sorted(self.problems, key=lambda one: (one["code"], one["object"])),
            "notes": sorted(self.notes, key=lambda one: (one["code"], one["object"])),
            "decisions": self.decisions,
            "needs_leaves": self.needs_leaves,
        }


def numbers(version: str) -> tuple[int, ...]:
    """A version for comparisons: v1.5.1-rc.1 is (1, 5, 1). Empty when it has no number."""
    found: list[int] = []
    for part in version.lstrip("v").partition("-")[0].partition("+")[0].split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)
