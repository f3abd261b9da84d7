# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a cluster and Vault with what the variables request: problems, notes and decisions. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight import anchors, linkerd, ownership, releases
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.releases import LEAVE, Chart
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts, Result, numbers

HELM = ((3, 8), (4,))  # the first version with OCI charts, and the first that kubernetes.core does not support
UPSTREAM = ("edge-", "stable-")  # versions that the project Linkerd publishes, unlike those of distributions
QUOTA = "ResourceQuota"
RETRY_LIMIT = (1, 21)  # cert-manager's certificateRequestMaximumBackoffDuration


def evaluate(
    cluster: str,
    found: Facts,
    requested: Facts,
    leaves: Facts | None = None,
    now: datetime | None = None,
    outdated: Sequence[Facts] = (),
) -> Facts:
    """Problems, notes and decisions for one cluster. Only the components in `requested` are checked.

    `outdated` are collections of Ansible that are too old.
    """
    result = Result(cluster, now or datetime.now(UTC))
    # The run writes nothing to a cluster whose objects come from Git, so only what Git would replace is checked.
    is_in_git = bool(requested.get("linkerd", {}).get("is_in_git"))
    may_be_older = bool(requested.get("allow_downgrade"))
    if "cert_manager" in requested:
        result.decisions["cert_manager"] = _cert_manager(result, found, requested["cert_manager"], may_be_older)
    if "trust_manager" in requested:
        stores_secrets = _stores_secrets(requested)
        result.decisions["trust_manager"] = _trust_manager(
            result, found, requested["trust_manager"], stores_secrets, may_be_older
        )
    if "linkerd" in requested:
        result.decisions["linkerd"] = linkerd.decide(result, found, requested["linkerd"], may_be_older)
    if "issuer" in requested:
        _addresses(result, requested["issuer"])
        _permissions(result, found, requested["issuer"], requested.get("cert_manager"))
    if "linkerd" in requested and requested["linkerd"]["certificates"]:
        anchor = linkerd.signing_anchor(requested["linkerd"], requested.get("vault"))
        plan = anchors.Plan.of_run(requested)
        linkerd.check_algorithms(result, requested["linkerd"], anchor)
        linkerd.check_lifetime(result, requested["linkerd"], anchor, plan.intermediates())
        if is_in_git:
            linkerd.check_sources_in_git(result, found, requested["linkerd"])
        else:
            linkerd.check_identity(result, found, requested["linkerd"], requested.get("take_over") or [])
            linkerd.check_namespaces(result, found, requested["linkerd"])
            linkerd.check_filters(result, found, requested["linkerd"])
        # adopt.yml, which the problem names, adds the new anchors before it changes the signer.
        if not any(one["code"] == "identity_in_release" for one in result.problems):
            anchors.check(result, found, plan, leaves)
    _objects(result, found, requested.get("take_over") or [])
    _programs(result, found, requested)
    _collections(result, outdated)
    if not is_in_git:
        _namespaces(result, found)
    report, code = (result.note, "cluster_not_checked") if is_in_git else (result.problem, "not_readable")
    for one in found["unreadable"]:
        report(
            code,
            one["what"],
            f"{one['what']} cannot be read, so the run cannot be checked: {one['problem']} Give the credential the "
            "permissions that the documentation of the module servicemesh.pki.mesh_prerequisites_info lists.",
        )
    return result.facts()


def cluster_key(kubernetes: Facts) -> str:
    """Name the cluster that these options of kubernetes.core connect to, as the key of what was checked in it.

    Credentials are left out, because a token from a lookup can differ each time that it is read.
    """
    names = {name: kubernetes.get(name) for name in ("kubeconfig", "context", "host")}
    if isinstance(names["kubeconfig"], Mapping):
        servers = [(one.get("cluster") or {}).get("server") for one in names["kubeconfig"].get("clusters") or []]
        names["kubeconfig"] = [names["kubeconfig"].get("current-context"), *servers]
    # An omitted value is an object of ansible-core, not text.
    known = {name: value for name, value in names.items() if isinstance(value, (str, list))}
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _cert_manager(result: Result, found: Facts, requested: Facts, may_be_older: bool) -> Facts:
    chart = Chart.requested(
        requested,
        component="cert-manager",
        title="cert-manager",
        chart="cert-manager",
        switch="cert_manager_manage_release",
        may_be_older=may_be_older,
        names="cert_manager_release and cert_manager_namespace",
        values=requested["values"],
    )
    decision = releases.decide(result, found, chart)
    version = releases.running(decision) if decision["release"] == LEAVE else requested["version"]
    limited = not numbers(version) or numbers(version) >= RETRY_LIMIT
    if requested["retry_limit"] and (not limited or decision["release"] == LEAVE):
        why = "is managed elsewhere" if limited else "does not have the setting, which requires 1.21"
        result.note(
            "retry_limit_not_set",
            "cert-manager",
            f"cert-manager {version} {why}. It waits up to 32 h between attempts to issue, so after an outage of Vault "
            "the identity issuer can expire. Set certificateRequestMaximumBackoffDuration in its configuration to "
            f"{requested['retry_limit']} if it is 1.21 or later.",
        )
    return {**decision, "version": version, "limits_retries": limited}


def _stores_secrets(requested: Facts) -> set[str]:
    """Namespaces in which the run stores Secrets: Helm its releases, cert-manager certificates, a role credentials."""
    parts = [requested[name] for name in ("cert_manager", "trust_manager", "linkerd") if name in requested]
    objects = requested.get("issuer", {}).get("objects") or []
    # A run of the role trust_manager alone does not request Linkerd, but names its namespace.
    return {
        requested.get("linkerd_namespace", ""),
        *(one["namespace"] for one in parts),
        *(one["metadata"].get("namespace", "") for one in objects),
    }


def _trust_manager(
    result: Result, found: Facts, requested: Facts, stores_secrets: set[str], may_be_older: bool
) -> Facts:
    chart = Chart.requested(
        requested,
        component="trust-manager",
        title="trust-manager",
        chart="trust-manager",
        switch="trust_manager_manage_release",
        may_be_older=may_be_older,
        names="trust_manager_release and trust_manager_namespace",
        values=requested["values"],
    )
    decision = releases.decide(result, found, chart)
    trust_namespace = requested["trust_namespace"]
    present = next((one["trust_namespace"] for one in decision["controllers"]), trust_namespace)
    others = [one["name"] for one in found["bundles"] if not one["managed"] and one["name"] != linkerd.BUNDLE]
    is_left = decision["release"] == LEAVE
    if present != trust_namespace and is_left:
        result.note(
            "trust_namespace_used",
            f"namespace {present}",
            f"trust-manager is managed elsewhere and reads the namespace {present}, so the trust anchors go there "
            f"instead of {trust_namespace}.",
        )
        trust_namespace = present
    elif present != trust_namespace and others:
        result.problem(
            "trust_namespace_in_use",
            f"namespace {present}",
            f"trust-manager reads the namespace {present}, and the Bundles {', '.join(others)} depend on it. Set "
            f"pki_trust_namespace to {present}, or move their sources first.",
        )
    written = releases.merged(decision["kept_values"], requested["values"])
    controllers, app = decision["controllers"], written.get("app") or {}
    targets = linkerd.target_namespaces(controllers) if is_left else app.get("targetNamespaces")
    filters = [name for name, value in linkerd.FILTERS.items() if (written.get(value) or {}).get("enabled")]
    return {
        **decision,
        "trust_namespace": trust_namespace,
        "target_namespaces": targets or [],
        "filters": linkerd.filters(controllers) if is_left else filters,
        **_quota(result, found, requested, trust_namespace, is_left, stores_secrets),
    }


def _quota(result: Result, found: Facts, requested: Facts, name: str, is_left: bool, stores_secrets: set[str]) -> Facts:
    """Whether the run creates the trust namespace, and the quota that forbids Secrets in it."""
    space = found["namespaces"].get(name) or {"exists": False, "managed": False, "secrets": 0, "releases": 0}
    quotas = [one for one in found["objects"] if one["kind"] == QUOTA and one["namespace"] == name]
    reasons = {
        "belongs to a trust-manager that you manage elsewhere": is_left,
        f"holds {space['secrets']} Secret(s) and {space['releases']} Helm release Secret(s)": (
            space["secrets"] or space["releases"]
        ),
        "gets Secrets of this run": name in stores_secrets,
        "has a ResourceQuota of the same name from others or from Git": any(
            one["exists"] and (bool(one["gitops"]) or not (one["managed"] or _is_of_earlier_version(found, one)))
            for one in quotas
        ),
    }
    reason = next((text for text, applies in reasons.items() if applies), "")
    if requested["forbid_secrets"] and reason:
        result.note(
            "quota_omitted",
            f"namespace {name}",
            f"The namespace {name} {reason}, so it gets no quota that forbids Secrets.",
        )
    # A namespace of others does not get the label of this collection, with which a teardown could remove it.
    creates = requested["make_namespace"] and not is_left and (not space["exists"] or space["managed"])
    return {"namespace": bool(creates), "quota": bool(requested["forbid_secrets"]) and not reason}


def _addresses(result: Result, requested: Facts) -> None:
    """The addresses of the issuer."""
    for is_missing, name, what in (
        (
            not requested["server"],
            "vault_issuer_server",
            "Vault as pods reach it, such as https://vault.example.com:8200",
        ),
        (
            requested["auth"] == "kubernetes" and not requested["kubernetes_host"],
            "vault_issuer_kubernetes_host",
            "the cluster's API server as Vault reaches it, or set vault_issuer_auth to jwt, for which Vault needs no "
            "connection to the cluster",
        ),
    ):
        if is_missing:
            result.problem("address_missing", name, f"{name} is empty. Set it to the address of {what}.")


def _permissions(result: Result, found: Facts, requested: Facts, chart: Facts | None) -> None:
    """The service account of cert-manager, which the role binding of the issuer must name.

    cert-manager reads the Secrets of a ClusterIssuer in its own namespace, so that must be right without an account.
    """
    is_cluster_wide = any(one["kind"] == "ClusterIssuer" for one in requested["objects"])
    running = [one for one in found["deployments"] if one["component"] == "cert-manager"]
    if not running and chart and result.decisions["cert_manager"]["release"] != LEAVE:
        running = [_controller(chart)]
    if not running or not (requested["needs_service_account"] or is_cluster_wide):
        return
    named = (requested["cert_manager_namespace"], requested["cert_manager_service_account"])
    count = len(named) if requested["needs_service_account"] else 1
    if named[:count] not in {(one["namespace"], one["service_account"])[:count] for one in running}:
        one = running[0]
        result.problem(
            "cert_manager_mismatch",
            f"Deployment {one['namespace']}/{one['name']}",
            f"cert-manager runs or will run in namespace {one['namespace']} with service account "
            f"{one['service_account']}, but the issuer would give permissions to {named[0]}/{named[1]}. Set "
            f"pki_cert_manager_namespace to {one['namespace']} and vault_issuer_cert_manager_service_account to "
            f"{one['service_account']}.",
        )


def _controller(chart: Facts) -> Facts:
    """The controller that the run installs."""
    values = chart["values"]
    name = values.get("fullnameOverride") or chart["release"]
    account = values.get("serviceAccount")
    account_name = account.get("name") if isinstance(account, dict) else ""
    return {"namespace": chart["namespace"], "name": name, "service_account": account_name or name}


def _is_of_earlier_version(found: Facts, one: Facts) -> bool:
    """Versions before 0.3.0 did not label objects. kubernetes.core wrote them under this name."""
    return one["owner"] == "OpenAPI-Generator" and any(release["is_earlier"] for release in found["releases"])


def _objects(result: Result, found: Facts, take_over: list[str]) -> None:
    """Objects of others, also with the same content: labelled as those of this collection, a teardown deletes them."""
    for one in found["objects"]:
        is_unchanged = one["managed"] and one["matches"]
        if one["kind"] in ("Namespace", QUOTA) or is_unchanged or _is_of_earlier_version(found, one):
            continue
        if refused := ownership.refusal(one, take_over):
            result.problem(refused[0], ownership.name_of(one), refused[1])


def _programs(result: Result, found: Facts, requested: Facts) -> None:
    programs = found.get("programs") or {}
    written = [name for name, one in result.decisions.items() if one["release"] != LEAVE]
    helm = programs.get("helm", "")
    if written and helm is None:
        result.problem(
            "helm_missing",
            "helm",
            "Helm is not installed: there is no program helm in PATH. Install it (https://helm.sh/docs/intro/install).",
        )
    elif written and helm and numbers(helm) and not HELM[0] <= numbers(helm) < HELM[1]:
        result.problem(
            "helm_unsupported",
            "helm",
            f"Helm {helm} is not supported: this collection is tested with Helm 3, and charts in OCI registries need "
            "3.8 or later. Install Helm 3 beside it and put it first in PATH.",
        )
    if requested.get("linkerd", {}).get("check") and requested["linkerd"]["cli"]:
        _linkerd_cli(result, programs.get("linkerd", ""), requested["linkerd"])


def _collections(result: Result, outdated: Sequence[Facts]) -> None:
    for one in outdated:
        result.problem(
            "collection_unsupported",
            one["name"],
            f"The Ansible collection {one['name']} {one['version']} is not supported: this collection needs "
            f"{one['required']}. Install a newer version, where Ansible finds it before the older one: "
            f"ansible-galaxy collection install --upgrade '{one['name']}:{one['required']}'",
        )


def _linkerd_cli(result: Result, present: str | None, requested: Facts) -> None:
    decision = result.decisions["linkerd"]
    is_left = decision["release"] == LEAVE
    if is_left and not decision["controllers"]:
        return  # without a control plane, the run does not call linkerd check
    # The version of a control plane that is left alone is not always known.
    version = decision["version"] if is_left else requested["expected_version"]
    install = (
        f"curl --proto '=https' --tlsv1.2 -sSfL https://run.linkerd.io/install-edge | LINKERD2_VERSION={version} sh"
        if version.startswith(UPSTREAM)
        else "see https://linkerd.io/2/getting-started or the documentation of your distribution of Linkerd"
    )
    if present is None:
        result.problem(
            "linkerd_cli_missing",
            requested["cli"],
            f"The program {requested['cli']} is not installed, and linkerd_check needs it. Install it: {install} -- or "
            "set linkerd_check to false.",
        )
    elif present and version and present != version:
        result.problem(
            "linkerd_cli_version",
            requested["cli"],
            f"The linkerd CLI has version {present}, and the control plane has or will have {version}, so linkerd "
            f"check would fail. Install the same version: {install} -- or set linkerd_check to false.",
        )


def _namespaces(result: Result, found: Facts) -> None:
    for name, one in found["namespaces"].items():
        if one["terminating"]:
            result.problem(
                "namespace_terminating",
                f"namespace {name}",
                f"The namespace {name} is terminating, so nothing can be created in it. Wait until it is removed. "
                f"Reason: {' '.join(one['held_by']) or 'not reported'}",
            )
