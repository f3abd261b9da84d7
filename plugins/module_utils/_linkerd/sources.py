# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates in the Kubernetes objects of a mesh. Private to this collection.

Names are Linkerd's own: the identity controller's Secret and ConfigMap, and the variable that its injector writes into
pods (linkerd2: controller/cmd/identity/main.go, pkg/inject/inject.go).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterator
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, strict_pem
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import Encoding, x509

VALUES = "linkerd-config"
CONFIG_MAP, BUNDLE_KEY = "linkerd-identity-trust-roots", "ca-bundle.crt"
BUNDLE_LABEL = "trust.cert-manager.io/bundle"  # that trust-manager puts on what it writes
SECRET = "linkerd-identity-issuer"  # noqa: S105 - its name
CERTIFICATE_NAME = "cert-manager.io/certificate-name"  # the annotation of a Secret that cert-manager writes
MISSING = "does not exist"
# Keys of the issuer's certificate by scheme (linkerd2: pkg/issuercerts/issuercerts.go).
SCHEME_OF_CHART = "linkerd.io/tls"  # of an issuer that was passed to the chart or the CLI
ISSUER_KEYS = {SCHEME_OF_CHART: "crt.pem", "kubernetes.io/tls": "tls.crt"}
KEY_OF_CHART = "key.pem"  # that goes with crt.pem
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
PROXY, VARIABLE = "linkerd-proxy", "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"
CONTROLLER = "identity"  # its container also reads the anchors only when it starts
COMPONENT = "linkerd.io/control-plane-component"
SCHEME = "-identity-scheme="  # the argument of the identity controller
SELECTOR = "linkerd.io/control-plane-ns={namespace}"

with contextlib.suppress(ImportError):  # the client of Kubernetes needs it, and modules report that it is missing
    import yaml

Object = dict[str, Any]


def with_pem(certificate: x509.Certificate) -> dict[str, Any]:
    """The facts of a certificate, and the certificate as PEM."""
    return {**certs.certificate_facts(certificate), "certificate": certificate.public_bytes(Encoding.PEM).decode()}


def source(
    where: str, pem: str | bytes | None, problem: str = "", reader: strict_pem.Reader = strict_pem.read_as_go
) -> dict[str, Any]:
    """The certificates of one source. An error is returned as `problem`, a predicate without the contents.

    `reader` parses PEM as the part of Linkerd does that reads this source. If it finds fewer certificates than there
    are, that is the problem, and all certificates are listed.
    """
    certificates: list[dict[str, Any]] = []
    if not problem and not pem:
        problem = MISSING
    if not problem and pem:
        try:
            certificates = [with_pem(certificate) for certificate in certs.parse_bundle(pem)]
            read = reader(pem if isinstance(pem, bytes) else pem.encode("utf-8", "surrogatepass"))
            problem = f"cannot be read by Linkerd as PEM: {read.problem}" if read.problem else ""
        except certs.X509Error as exc:
            problem = f"cannot be read: {exc}"
    return {"where": where, "certificates": certificates, "problem": problem}


def anchors_source(found: Object | None, namespace: str, problem: str = "") -> dict[str, Any]:
    """The trust anchors in the ConfigMap: the controller reads them, and the injector writes their text into pods."""
    where = f"ConfigMap {namespace}/{CONFIG_MAP}"
    pem = ((found or {}).get("data") or {}).get(BUNDLE_KEY)
    if found is not None and not pem:
        problem = f"has no key {BUNDLE_KEY}"
    labels = ((found or {}).get("metadata") or {}).get("labels") or {}
    return {
        **source(where, pem, problem, strict_pem.read_as_linkerd),
        "bundle": labels.get(BUNDLE_LABEL),
        "changed_at": changed_at(found) if found else None,
    }


def secret_source(found: Object | None, namespace: str, key: str, problem: str = "") -> dict[str, Any]:
    where = f"Secret {namespace}/{SECRET}, {key}"
    encoded = ((found or {}).get("data") or {}).get(key)
    if found is not None and not encoded:
        problem = "is empty or does not exist"
    try:
        pem = base64.b64decode(encoded, validate=True) if encoded else None
    except binascii.Error:
        pem, problem = None, "is not base64"
    return source(where, pem, problem)


def issuer_source(
    found: Object | None, namespace: str, scheme: str | None, pods: list[Object], problem: str = ""
) -> dict[str, Any]:
    """The issuer that Linkerd reads, what shows that it uses it, and whether the key of an earlier one is left."""
    issuer = secret_source(found, namespace, issuer_key(scheme), problem)
    if found is None:
        return {**issuer, "changed_at": None, "evidence": None, "obsolete_key": None}
    changed = changed_at(found)
    starts = {_evidence(pod, changed) for pod in pods if is_controller(pod, namespace) and not is_finished(pod)}
    applied = (found["metadata"].get("annotations") or {}).get(APPLIED) or ""
    has_old_key = KEY_OF_CHART in (found.get("data") or {}) or KEY_OF_CHART in applied or "tls.key" in applied
    return {
        **issuer,
        "changed_at": changed,
        "evidence": "started_after" if starts == {"started_after"} else "started_before",
        "obsolete_key": has_old_key and scheme == "kubernetes.io/tls",
    }


def is_controller(pod: Object, namespace: str) -> bool:
    """Whether a pod belongs to the identity controller."""
    meta = pod["metadata"]
    return meta["namespace"] == namespace and (meta.get("labels") or {}).get(COMPONENT) == CONTROLLER


def changed_at(found: Object) -> str:
    """When the data was last written, according to the managed fields."""
    times = [
        entry["time"]
        for entry in found["metadata"].get("managedFields") or []
        if "f:data" in (entry.get("fieldsV1") or {}) and entry.get("time")
    ]
    return str(max(times, default=None) or found["metadata"]["creationTimestamp"])


def renewal_time(found: Object | None) -> str | None:
    """When cert-manager will renew the issuer; None without a Certificate of cert-manager that can be read."""
    return ((found or {}).get("status") or {}).get("renewalTime")


def certificate_missing(secret: Object | None, problem: str) -> bool:
    """Whether cert-manager wrote the issuer's Secret for a Certificate that does not exist any more.

    `problem` is the predicate of the Certificate. Without permission to read it, nothing is known about it.
    """
    annotations = ((secret or {}).get("metadata") or {}).get("annotations") or {}
    return problem == MISSING and annotations.get(CERTIFICATE_NAME) == SECRET


def chart_values(found: Object | None) -> dict[str, Any]:
    """The values of the chart, which it stores in the ConfigMap linkerd-config. Empty if they cannot be read."""
    try:
        values = yaml.safe_load(((found or {}).get("data") or {}).get("values") or "")
    except yaml.YAMLError:
        return {}
    return values if isinstance(values, dict) else {}


def trust_domain(values: dict[str, Any]) -> str | None:
    """The trust domain in the values of the chart, or None."""
    return values.get("identityTrustDomain") or values.get("clusterDomain") or None


def issuer_key(scheme: str | None) -> str:
    """The key of the issuer's certificate in its Secret."""
    return ISSUER_KEYS.get(scheme or "", "tls.crt")


def scheme_of(values: dict[str, Any], pods: list[Object], namespace: str) -> str | None:
    """The type of the issuer's Secret that Linkerd reads: of the running controller, else of the chart's values."""
    return scheme_in_use(pods, namespace) or issuer_scheme(values)


def issuer_scheme(values: dict[str, Any]) -> str | None:
    """The type of the issuer's Secret in the values of the chart, or None."""
    issuer = (values.get("identity") or {}).get("issuer") or {}
    return issuer.get("scheme") or None


def scheme_in_use(pods: list[Object], namespace: str) -> str | None:
    """The type of the issuer's Secret that the identity controller was started with; None without such a pod.

    An upgrade writes the values of the chart before it changes the controller. While the pods differ, some still read
    the issuer that the chart was given.
    """
    schemes = {
        argument.removeprefix(SCHEME)
        for pod in pods
        if is_controller(pod, namespace) and not is_finished(pod)
        for container in pod["spec"]["containers"]
        for argument in container.get("args") or []
        if container["name"] == CONTROLLER and argument.startswith(SCHEME)
    }
    return next((scheme for scheme in ISSUER_KEYS if scheme in schemes), None)


def anchors_in_values(values: dict[str, Any]) -> bool | None:
    """Whether the chart writes the ConfigMap with the trust anchors, from its values, or None."""
    identity = values.get("identity")
    return not identity.get("externalCA") if isinstance(identity, dict) else None


def pod_groups(pods: list[Object], changed: str | None) -> list[dict[str, Any]]:
    """Pods by their trust anchors and the evidence for them, without pods that have finished or are terminating.

    An injected pod has the anchors in a variable of its specification. Pods of the control plane read the ConfigMap
    when their container starts, so their anchors are known only if they started after its last change.
    """
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for pod in pods:
        meta = pod["metadata"]
        if is_finished(pod):
            continue
        variable = next(_variables(pod), None)
        if variable is None:
            continue  # it has no proxy
        name = f"{meta['namespace']}/{meta['name']}"
        if variable.get("value"):
            found, evidence = source(f"environment of {name}", variable["value"], "", strict_pem.read_as_rustls), "spec"
        else:
            found, evidence = source("", None, "-"), _evidence(pod, changed)
        key = (evidence, found["problem"], tuple(sorted(one["fingerprint_sha256"] for one in found["certificates"])))
        group = groups.setdefault(
            key,
            {
                "evidence": evidence,
                "certificates": found["certificates"],
                "problem": found["problem"] if evidence == "spec" else "",
                "pods": [],
            },
        )
        group["pods"].append(name)
    for group in groups.values():
        group["pods"].sort()
    return sorted(groups.values(), key=lambda group: (-len(group["pods"]), group["pods"][0]))


def is_finished(pod: Object) -> bool:
    """Whether a pod has finished or is terminating."""
    phase = (pod.get("status") or {}).get("phase")
    return bool(pod["metadata"].get("deletionTimestamp")) or phase in ("Succeeded", "Failed")


def proxy(pod: Object) -> Object | None:
    """The container of the proxy, which is an init container if it is a native sidecar."""
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return next((container for container in containers if container["name"] == PROXY), None)


def injected_source(pod: Object) -> dict[str, Any]:
    """The trust anchors that the injector wrote into a pod."""
    where = f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
    variable = next(_variables(pod), None)
    problem = "" if variable else "has no proxy: the injector did not respond, or skips the namespace"
    return source(where, (variable or {}).get("value"), problem, strict_pem.read_as_rustls)


def template_anchors(workload: Object) -> frozenset[str] | None:
    """Fingerprints of the trust anchors in a template that was injected by hand; None if others provide them."""
    value = next(_variables(workload["spec"]["template"]), {}).get("value")
    return frozenset(one["fingerprint_sha256"] for one in source("", value)["certificates"]) if value else None


def _variables(pod: Object) -> Iterator[dict[str, Any]]:
    yield from (entry for entry in (proxy(pod) or {}).get("env") or [] if entry["name"] == VARIABLE)


def _evidence(pod: Object, changed: str | None) -> str:
    status = pod.get("status") or {}
    states = [
        container.get("state") or {}
        for part in ("initContainerStatuses", "containerStatuses")
        for container in status.get(part) or []
        if container["name"] in (PROXY, CONTROLLER)
    ]
    started = [(state.get("running") or {}).get("startedAt") for state in states]
    if changed is None:
        return "started_before"
    # A container that has not started will read the current anchors. Times are in seconds, so equal ones prove nothing.
    return "started_after" if all(start is None or start > changed for start in started) else "started_before"
