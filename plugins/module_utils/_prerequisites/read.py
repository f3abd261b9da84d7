# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One reading of a cluster: about twenty requests, none of which returns more than it needs. Changes nothing."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ansible_collections.servicemesh.pki.plugins.module_utils._common.labels import NOT_OWN, is_managed
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.cluster import Cluster, read_error
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.conditions import ObjectReference
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes.errors import ClusterError
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites import facts, helm

with contextlib.suppress(ImportError):  # AnsibleK8SModule reports it
    from kubernetes.dynamic.exceptions import DynamicApiError

SOME = 50  # Secrets of a namespace that are counted
HELM = "owner=helm"
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
WEBHOOKS = ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
POLICIES = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")
ANCHORS = "linkerd-trust-anchors"
# Kinds whose objects need the controller of a component, although it did not create them.
USES = (
    ("cert-manager", "cert-manager.io/v1", "Certificate"),
    ("cert-manager", "cert-manager.io/v1", "Issuer"),
    ("cert-manager", "cert-manager.io/v1", "ClusterIssuer"),
    ("trust-manager", "trust.cert-manager.io/v1alpha1", "Bundle"),
    ("trust-manager", "trust-manager.io/v1alpha2", "ClusterBundle"),
)
SAFE_UPGRADES = "safe-upgrades.gateway.networking.k8s.io"

Facts = dict[str, Any]
T = TypeVar("T")


class Reader:
    """Reads one cluster. What is not permitted is collected in `problems`, and the rest is read all the same."""

    def __init__(self, cluster: Cluster, params: Facts) -> None:
        self.cluster, self.params = cluster, params
        self.problems: list[Facts] = []

    def all(self) -> Facts:
        namespace = self.params["linkerd_namespace"]
        definitions = facts.definition_facts(self.listed(*CRD, metadata=True))
        if self.params["count_objects"]:
            definitions = [{**one, "in_use": self.is_in_use(one)} for one in definitions]
        deployments = self.deployments()
        trust = {one["trust_namespace"] for one in deployments if one["component"] == "trust-manager"}
        namespaces = {namespace, *self.params["namespaces"], *trust}
        return {
            "releases": self.releases(definitions, deployments),
            "deployments": deployments,
            "definitions": definitions,
            "admission_policies": self.admission_policies(),
            "namespaces": {name: self.namespace(name) for name in sorted(namespaces)},
            "objects": [self.object(one) for one in self.params["objects"]],
            "bundles": self.bundles(definitions),
            "uses": [one for use in USES for one in self.uses(*use)] if self.params["count_objects"] else [],
            "anchor_sources": self.anchor_sources(),
            "mesh": self.mesh(namespace),
            "unreadable": self.problems,
        }

    def attempt(self, read: Callable[[], T], without: T, kind: str, namespace: str | None = None, name: str = "") -> T:
        """Return `without` if the object, or the objects of this kind, cannot be read."""
        try:
            return read()
        except ClusterError as exc:
            self.problems.append(facts.unreadable(str(exc), kind, namespace, name))
            return without

    def listed(
        self, api_version: str, kind: str, namespace: str | None = None, metadata: bool = False, **selection: Any
    ) -> list[Facts]:
        """All objects of a kind, in pages; none where the kind is unknown."""
        return self.attempt(
            lambda: self.cluster.list_objects(api_version, kind, namespace, metadata=metadata, **selection),
            [],
            kind,
            namespace,
        )

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Facts | None:
        reference = ObjectReference(api_version, kind, name, namespace)
        return self.attempt(lambda: self.cluster.get(reference), None, kind, namespace, name)

    def is_in_use(self, definition: Facts) -> bool:
        """Whether there are objects of a kind. What cannot be read counts as in use."""
        plural, dummy, group = definition["name"].partition(".")
        found = self.cluster.client.client.resources.search(name=plural, group=group)
        for resource in (one for one in found if not one.kind.endswith("List")):  # kinds of lists cannot be listed
            if self.attempt(functools.partial(self._has_any, resource), True, resource.kind):
                return True
        return False

    def _has_any(self, resource: Any) -> bool:
        try:
            return bool(resource.get(limit=1).to_dict()["items"])
        except DynamicApiError as exc:
            raise read_error(f"{resource.kind}s of the cluster", exc) from exc

    def deployments(self) -> list[Facts]:
        """The controllers, found by their webhooks and in the namespaces that a run would use."""
        webhooks = facts.webhook_namespaces(self.listed(*WEBHOOKS))
        namespaces = {self.params["linkerd_namespace"], *self.params["namespaces"], *webhooks}
        found = [one for name in sorted(namespaces) for one in self.listed("apps/v1", "Deployment", name)]
        return facts.deployment_facts(found)

    def releases(self, definitions: Iterable[Facts], deployments: Iterable[Facts]) -> list[Facts]:
        """The releases that a run would write, and those that own what was found."""
        names = {(one["namespace"], one["name"]) for one in self.params["releases"]}
        owners = [one["release"] for one in (*definitions, *deployments) if one["release"]]
        # The Gateway API and CRDs of extensions come with any chart; only the components' own releases matter.
        names |= {(one["namespace"], one["name"]) for one in owners}
        found = [self.release(namespace, name) for namespace, name in sorted(names)]
        return [one for one in found if one]

    def release(self, namespace: str, name: str) -> Facts | None:
        """The newest revision of a release; the older ones are not read."""
        selection = f"{HELM},name={name}"
        stored = self.listed("v1", "Secret", namespace, metadata=True, label_selector=selection)
        revisions = [(_revision(one), one["metadata"]["name"]) for one in stored]
        secret = self.get("v1", "Secret", max(revisions)[1], namespace) if revisions else None
        if secret is None:
            return None
        try:
            return helm.facts(helm.decode((secret.get("data") or {}).get("release") or ""))
        except helm.ReleaseError as exc:
            self.problems.append(facts.unreadable(str(exc), "Secret", namespace, secret["metadata"]["name"]))
            return None

    def admission_policies(self) -> list[str]:
        if not self.params["gateway_api"]:
            return []
        found = self.get(*POLICIES, SAFE_UPGRADES)
        return [SAFE_UPGRADES] if found else []

    def namespace(self, name: str) -> Facts:
        found = self.get("v1", "Namespace", name)
        secrets = self.listed("v1", "Secret", name, metadata=True, limit=SOME) if found else []
        return facts.namespace_facts(found, secrets)

    def object(self, definition: Facts) -> Facts:
        meta = definition["metadata"]
        found = self.get(definition["apiVersion"], definition["kind"], meta["name"], meta.get("namespace"))
        return facts.object_facts(definition, found)

    def anchor_sources(self) -> list[Facts]:
        """The ConfigMaps that a run writes trust anchors to, in any namespace: an earlier run may have used another."""
        found = self.listed("v1", "ConfigMap", metadata=True, field_selector=f"metadata.name={ANCHORS}")
        return [facts.object_facts({**one, "apiVersion": "v1", "kind": "ConfigMap"}, one) for one in found]

    def bundles(self, definitions: Iterable[Facts]) -> list[Facts]:
        if not any(one["name"] == "bundles.trust.cert-manager.io" for one in definitions):
            return []
        found = self.listed("trust.cert-manager.io/v1alpha1", "Bundle", metadata=True)
        return [{"name": one["metadata"]["name"], "managed": is_managed(one["metadata"])} for one in found]

    def uses(self, component: str, api_version: str, kind: str) -> list[Facts]:
        """Objects of others that need a component. What cannot be read counts as one without a name."""
        found: list[Facts] = self.attempt(
            lambda: self.cluster.list_objects(
                api_version, kind, None, metadata=True, limit=SOME, label_selector=NOT_OWN
            ),
            [{"metadata": {}}],
            kind,
        )
        return [
            {
                "component": component,
                "kind": kind,
                "name": one["metadata"].get("name") or "",
                "namespace": one["metadata"].get("namespace") or "",
                "release": facts.release_of(one["metadata"]),
            }
            for one in found
        ]

    def mesh(self, namespace: str) -> Facts:
        """What the mesh trusts, and what signs its certificates."""
        copies = self.listed("v1", "ConfigMap", field_selector=f"metadata.name={sources.CONFIG_MAP}")
        own = next((one for one in copies if one["metadata"]["namespace"] == namespace), None)
        secret = self.get("v1", "Secret", sources.SECRET, namespace)
        values = sources.chart_values(self.get("v1", "ConfigMap", sources.VALUES, namespace))
        anchors = sources.anchors_source(own, namespace)
        pods = self.listed("v1", "Pod", label_selector=sources.SELECTOR.format(namespace=namespace))
        key = sources.issuer_key(sources.scheme_of(values, pods, namespace))
        return {
            "anchors": anchors,
            "anchors_exist": own is not None,
            "anchors_owner": facts.owner(own["metadata"]) if own else "",
            "copies": [
                sources.anchors_source(one, one["metadata"]["namespace"])
                for one in copies
                if one["metadata"]["namespace"] != namespace
            ],
            "issuer": sources.secret_source(secret, namespace, key),
            "issuer_owner": facts.owner(secret["metadata"]) if secret else "",
            "issuer_reference": facts.issuer_reference((secret or {}).get("metadata") or {}),
            "issuer_type": str((secret or {}).get("type") or ""),
            "signer": sources.secret_source(secret, namespace, "ca.crt"),
            "pods": sources.pod_groups(pods, anchors["changed_at"]),
        }


def _revision(secret: Facts) -> int:
    text = str((secret["metadata"].get("labels") or {}).get("version") or "")
    return int(text) if text.isdigit() else 0
