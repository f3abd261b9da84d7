# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects to facts about the components of a mesh. Pure.

The containers, arguments, labels and annotations are those of the components' charts and static manifests, which both
come from the same templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common.labels import is_managed
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd.sources import BUNDLE_LABEL, CERTIFICATE_NAME

Facts = dict[str, Any]
Object = dict[str, Any]

RELEASE_NAME, RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
POLICY = "helm.sh/resource-policy"
BUNDLE_VERSION, CHANNEL = "gateway.networking.k8s.io/bundle-version", "gateway.networking.k8s.io/channel"
CREATED_BY, PROXY_VERSION = "linkerd.io/created-by", "linkerd.io/proxy-version"
ISSUER_GROUP, ISSUER_KIND, ISSUER_NAME = (f"cert-manager.io/issuer-{one}" for one in ("group", "kind", "name"))
# What GitOps controllers put on the objects that they apply. By default, Argo CD before 3.0 only puts
# app.kubernetes.io/instance on them, which Helm does as well, so that is no evidence.
ARGO_TRACKING, ARGO_INSTANCE = "argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance"
FLUX = (("Kustomization", "kustomize.toolkit.fluxcd.io"), ("HelmRelease", "helm.toolkit.fluxcd.io"))
# Suffixes of the API groups of each component.
GROUPS = {
    "cert-manager": ("cert-manager.io", "acme.cert-manager.io"),
    "trust-manager": ("trust.cert-manager.io", "trust-manager.io"),
    "linkerd": ("linkerd.io", "policy.linkerd.io", "workload.linkerd.io"),
    "linkerd-multicluster": ("multicluster.linkerd.io",),  # of a separate chart
    "gateway-api": ("gateway.networking.k8s.io",),
}
TRUST_NAMESPACE, TARGET_NAMESPACES = "--trust-namespace=", "--target-namespaces="
# What trust-manager leaves out of Bundles, by its argument.
FILTERS = {"--filter-expired-certificates": "expired", "--filter-non-ca-certs": "non_ca"}
CONTROLLERS = {"cert-manager-controller": "cert-manager", "trust-manager": "trust-manager"}
LINKERD_CONTROLLER = "linkerd-identity"
DEFAULT_TRUST_NAMESPACE = "cert-manager"  # of trust-manager without the argument


def release_of(meta: Object) -> Facts | None:
    """The Helm release that an object belongs to."""
    annotations = meta.get("annotations") or {}
    if not annotations.get(RELEASE_NAME):
        return None
    return {"name": annotations[RELEASE_NAME], "namespace": annotations.get(RELEASE_NAMESPACE) or ""}


def component_of(group: str) -> str:
    return next((name for name, groups in GROUPS.items() if group in groups), "")


def definition_facts(found: Iterable[Object]) -> list[Facts]:
    """The CustomResourceDefinitions of the components, from their metadata."""
    facts = []
    for one in found:
        meta = one["metadata"]
        group = meta["name"].partition(".")[2]
        component = component_of(group)
        if component:
            annotations = meta.get("annotations") or {}
            facts.append(
                {
                    "name": meta["name"],
                    "component": component,
                    "release": release_of(meta),
                    "kept": annotations.get(POLICY) == "keep",
                    "bundle_version": annotations.get(BUNDLE_VERSION) or "",
                    "channel": annotations.get(CHANNEL) or "",
                    "created_by": annotations.get(CREATED_BY) or "",
                }
            )
    return sorted(facts, key=lambda one: one["name"])


def webhook_namespaces(configurations: Iterable[Object]) -> set[str]:
    """Namespaces of the services whose webhooks validate objects of the components."""
    found = set()
    for configuration in configurations:
        for webhook in configuration.get("webhooks") or []:
            groups = {group for rule in webhook.get("rules") or [] for group in rule.get("apiGroups") or []}
            service = (webhook.get("clientConfig") or {}).get("service") or {}
            if service.get("namespace") and any(component_of(group) for group in groups):
                found.add(service["namespace"])
    return found


def deployment_facts(deployments: Iterable[Object]) -> list[Facts]:
    """The controllers of the components."""
    return [facts for deployment in deployments for facts in _controllers(deployment)]


def _controllers(deployment: Object) -> Iterator[Facts]:
    meta, template = deployment["metadata"], deployment["spec"]["template"]
    spec = template.get("spec") or {}
    for container in spec.get("containers") or []:
        arguments = [str(one) for one in [*(container.get("command") or []), *(container.get("args") or [])]]
        namespaces = [one.removeprefix(TRUST_NAMESPACE) for one in arguments if one.startswith(TRUST_NAMESPACE)]
        component = CONTROLLERS.get(container["name"]) or ("trust-manager" if namespaces else "")
        if meta["name"] == LINKERD_CONTROLLER and container["name"] == "identity":
            component = "linkerd"
        if not component:
            continue
        facts = {
            "component": component,
            "name": meta["name"],
            "namespace": meta["namespace"],
            "version": _version(meta, template, container),
            "service_account": spec.get("serviceAccountName") or "default",
            "release": release_of(meta),
            "created_by": (meta.get("annotations") or {}).get(CREATED_BY) or "",
        }
        if component == "trust-manager":
            targets = [one.removeprefix(TARGET_NAMESPACES) for one in arguments if one.startswith(TARGET_NAMESPACES)]
            facts["trust_namespace"] = namespaces[-1] if namespaces else DEFAULT_TRUST_NAMESPACE
            facts["target_namespaces"] = [name for one in targets for name in one.split(",") if name]
            switches = {name: value for name, dummy, value in (one.partition("=") for one in arguments)}
            facts["filters"] = [
                left_out for name, left_out in FILTERS.items() if switches.get(name, "false").lower() in ("", "true")
            ]
        yield facts
        return


def _version(meta: Object, template: Object, container: Object) -> str:
    labels = meta.get("labels") or {}
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    tag = re.search(r":([^:/]+)$", (container.get("image") or "").partition("@")[0])
    return labels.get("app.kubernetes.io/version") or annotations.get(PROXY_VERSION) or (tag[1] if tag else "")


def namespace_facts(found: Object | None, secrets: Iterable[Object]) -> Facts:
    """One namespace, and what a quota on Secrets would get in the way of."""
    meta = (found or {}).get("metadata") or {}
    listed = list(secrets)
    return {
        "exists": found is not None,
        "terminating": bool(meta.get("deletionTimestamp")),
        "held_by": [
            str(one.get("message") or "")
            for one in ((found or {}).get("status") or {}).get("conditions") or []
            if one.get("status") == "True"
        ],
        "managed": is_managed(meta),
        "labels": meta.get("labels") or {},
        "annotations": meta.get("annotations") or {},
        "secrets": sum(1 for one in listed if (one["metadata"].get("labels") or {}).get("owner") != "helm"),
        "releases": sum(1 for one in listed if (one["metadata"].get("labels") or {}).get("owner") == "helm"),
    }


def object_facts(definition: Object, found: Object | None) -> Facts:
    """How an object of the cluster compares with one that a run would write."""
    meta = definition["metadata"]
    live = (found or {}).get("metadata") or {}
    return {
        "api_version": definition["apiVersion"],
        "kind": definition["kind"],
        "name": meta["name"],
        "namespace": meta.get("namespace") or "",
        "exists": found is not None,
        "managed": is_managed(live),
        "matches": found is not None and includes(found, {key: definition[key] for key in definition if key in BODY}),
        "owner": owner(live),
        "gitops": gitops_source(live),
    }


BODY = ("spec", "data", "type", "rules", "roleRef", "subjects", "automountServiceAccountToken")


def includes(found: Any, desired: Any) -> bool:
    """Whether an object has every desired field. Null means an absent field. The API server leaves out empty fields."""
    if isinstance(desired, dict):
        live = found if isinstance(found, dict) else {}
        return all(includes(live.get(key), value) for key, value in desired.items())
    if isinstance(desired, list):
        live_items = found if isinstance(found, list) else []
        return len(live_items) == len(desired) and all(map(includes, live_items, desired))
    return bool(found == desired or (found is None and desired in ("", False)))


def unreadable(problem: str, kind: str, namespace: str | None = None, name: str = "") -> Facts:
    """What could not be read: an object, or without a name all of a kind, in a namespace or in the cluster."""
    what = str(ObjectReference("", kind, name, namespace)) if name else f"{kind}s of {namespace or 'the cluster'}"
    return {"kind": kind, "namespace": namespace or "", "name": name, "what": what, "problem": problem}


def gitops_source(meta: Object) -> str:
    """What applies an object from a Git repository; empty if nothing does, or if that is disabled for the object.

    Argo CD: docs/user-guide/resource_tracking.md. Flux: docs/flux/components/kustomize/kustomizations.md.
    """
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    application = annotations.get(ARGO_TRACKING, "").partition(":")[0] or labels.get(ARGO_INSTANCE)
    if application:
        return f"Argo CD application {application}"
    for kind, group in FLUX:
        if labels.get(f"{group}/name") and annotations.get(f"{group}/reconcile") != "disabled":
            return f"Flux {kind} {labels.get(f'{group}/namespace', '')}/{labels[f'{group}/name']}"
    return ""


def issuer_reference(meta: Object) -> Facts:
    """The issuer whose certificate cert-manager has stored in a Secret; empty for a Secret of others."""
    annotations = meta.get("annotations") or {}
    if not annotations.get(ISSUER_NAME):
        return {}
    return {
        "group": annotations.get(ISSUER_GROUP) or "cert-manager.io",
        "kind": annotations.get(ISSUER_KIND) or "Issuer",
        "name": annotations[ISSUER_NAME],
    }


def owner(meta: Object) -> str:
    """What manages an object, as far as it shows."""
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    release = release_of(meta)
    if release:
        return f"Helm release {release['namespace']}/{release['name']}"
    if labels.get(BUNDLE_LABEL):
        return f"Bundle {labels[BUNDLE_LABEL]}"
    if annotations.get(CERTIFICATE_NAME):
        return f"Certificate {annotations[CERTIFICATE_NAME]}"
    if annotations.get(CREATED_BY):
        return str(annotations[CREATED_BY])
    managers = [str(one.get("manager") or "") for one in meta.get("managedFields") or []]
    return managers[0] if managers else ""
