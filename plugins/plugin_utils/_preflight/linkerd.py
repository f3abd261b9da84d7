# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a cluster with what the role linkerd requests: charts, namespace, identity, trust anchors. Pure."""

from __future__ import annotations

from ansible_collections.servicemesh.pki.plugins.module_utils._common.durations import DurationError
from ansible_collections.servicemesh.pki.plugins.module_utils._common.labels import OWN_LABEL
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import x509
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight import (
    anchors,
    gateway_api,
    ownership,
    releases,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.releases import (
    CONTROL_PLANE,
    CRDS,
    LEAVE,
    Chart,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts, Result
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.vault import by_reference
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import issuer_lifetime
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import linkerd as verifier

PRIVILEGED, RESTRICTED = "privileged", "restricted"
ENFORCE = "pod-security.kubernetes.io/enforce"
NAME = "kubernetes.io/metadata.name"
BUNDLE = "linkerd-identity-trust-roots"
CERTIFICATE = "linkerd-identity-issuer"
FILTERS = {"expired": "filterExpiredCertificates", "non_ca": "filterNonCACerts"}  # values of trust-manager's chart
BY_CHART = ("Helm release ", "linkerd/")


def decide(result: Result, found: Facts, requested: Facts, may_be_older: bool) -> Facts:
    """What to install of Linkerd, and how to change its namespace."""
    common = {
        "component": "linkerd",
        "title": "Linkerd",
        "switch": "linkerd_manage_charts",
        "names": "linkerd_namespace",
        "may_be_older": may_be_older,
    }
    names = {key: requested[key] for key in ("manage", "namespace")}
    control_plane = Chart.requested(
        {**names, "release": CONTROL_PLANE, "chart_version": requested["chart_version"]},
        chart=CONTROL_PLANE,
        values=requested["values"],
        **common,
    )
    decision = releases.decide(result, found, control_plane, requested["required"])
    crds = Chart.requested(
        {**names, "release": CRDS, "chart_version": requested["crds_chart_version"]},
        chart=CRDS,
        values=requested["crds_values"],
        **common,
    )
    if decision["release"] == LEAVE:
        crds_decision = releases.leave([])
    else:
        without = {**found, "deployments": []}  # the control plane is decided already
        crds_decision = releases.decide(result, without, crds)
    is_written = crds_decision["release"] != LEAVE
    upstream = requested["gateway_api"]
    action = gateway_api.decide(
        result,
        found,
        gateway_api.Requested(upstream["source"], upstream["version"], upstream["upgrade"], is_written),
    )
    _pod_security(result, found, requested, decision["release"] != LEAVE)
    _elsewhere(result, decision["controllers"], requested["namespace"])
    namespace = _namespace(found, requested, decision["release"] != LEAVE)
    _selected(result, found, requested, namespace["labels"])
    _targeted(result, found, requested["namespace"])
    return {
        **decision,
        "version": releases.running(decision) if decision["release"] == LEAVE else "",
        "crds": crds_decision,
        "protect": gateway_api.protect(result, found, crds.place, is_written),
        "gateway_api": action,
        "namespace": namespace,
        "remove_anchors": _left_over(result, found, requested),
    }


def _elsewhere(result: Result, controllers: list[Facts], namespace: str) -> None:
    """A mesh in another namespace would neither be checked nor get the trust anchors."""
    present = sorted({one["namespace"] for one in controllers})
    if present and namespace not in present:
        result.problem(
            "linkerd_elsewhere",
            f"namespace {present[0]}",
            f"Linkerd runs in the namespace {present[0]}, but linkerd_namespace is {namespace}. The run would check "
            f"and change the wrong namespace. Set pki_linkerd_namespace to {present[0]}.",
        )


def _selected(result: Result, found: Facts, requested: Facts, added: Facts) -> None:
    """trust-manager removes the ConfigMap of trust anchors from namespaces that the Bundle does not select."""
    name, selector = requested["namespace"], requested["trust_selector"]
    space = found["namespaces"].get(name) or {"exists": False, "labels": {}}
    is_created = not space["exists"] and requested["creates_namespaces"]
    labels = {**added, **space["labels"], NAME: name}
    if (space["exists"] or is_created) and not _matches(selector, labels):
        result.problem(
            "anchors_not_selected",
            f"namespace {name}",
            f"linkerd_trust_selector does not match the namespace {name}, so trust-manager would not write Linkerd's "
            "trust anchors there, and would remove those that it has written. Correct the selector, or add the labels "
            "to the namespace.",
        )


def _targeted(result: Result, found: Facts, name: str) -> None:
    """trust-manager reports a Bundle as synced that it does not write to other namespaces than these."""
    decision = result.decisions.get("trust_manager") or {}
    targets = decision.get("target_namespaces", target_namespaces(found["deployments"]))
    if targets and name not in targets:
        result.problem(
            "anchors_not_selected",
            f"namespace {name}",
            f"trust-manager writes only to the namespaces {', '.join(targets)}, so Linkerd's trust anchors would not "
            f"appear in {name}. Add {name} to app.targetNamespaces in the values of trust-manager's chart.",
        )


def target_namespaces(controllers: list[Facts]) -> list[str]:
    """The only namespaces that trust-manager writes to; empty for all."""
    return [name for one in controllers for name in one.get("target_namespaces") or []]


def filters(controllers: list[Facts]) -> list[str]:
    """What trust-manager leaves out of Bundles."""
    return [name for one in controllers for name in one.get("filters") or []]


def check_filters(result: Result, found: Facts, requested: Facts) -> None:
    """The run waits for every trust anchor that it distributes, and trust-manager reports no error about these."""
    applied = (result.decisions.get("trust_manager") or {}).get("filters", filters(found["deployments"]))
    texts = (requested["anchors"] if requested["trust_source"] == "anchors" else []) + requested["extra_anchors"]
    for one in (each for text in texts for each in certs.parse_bundle(text)):
        facts = certs.certificate_facts(one)
        reasons = {"expired": one.not_valid_after_utc < result.now, "non_ca": not facts["is_ca"]}
        for name in (name for name in FILTERS if name in applied and reasons[name]):
            state = f"expired at {facts['not_after']}" if name == "expired" else "is not a CA certificate"
            result.problem(
                "anchor_filtered",
                f"trust anchor {anchors.named(one)}",
                f"The trust anchor {anchors.named(one)} {state}, and trust-manager leaves it out, because "
                f"{FILTERS[name]} is set in the values of its chart. Remove it from pki_extra_trust_anchors. If it is "
                "the previous root in Vault, set vault_pki_previous_root to an empty text.",
            )


def _matches(selector: Facts, labels: Facts) -> bool:
    """Whether a label selector of Kubernetes matches."""
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _fulfils(one, labels) for one in selector.get("matchExpressions") or []
    )


def _fulfils(one: Facts, labels: Facts) -> bool:
    key, values = one["key"], one.get("values") or []
    match one["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return True  # the API server refuses another operator


def _namespace(found: Facts, requested: Facts, is_written: bool) -> Facts:
    """Labels and annotations to add. Existing ones stay. A namespace of others does not get the managed-by label."""
    space = found["namespaces"].get(requested["namespace"]) or {"exists": False}
    if not space["exists"]:
        return {"labels": {**requested["labels"], **OWN_LABEL}, "annotations": requested["annotations"]}
    labels = {**requested["labels"], **(OWN_LABEL if space["managed"] else {})} if is_written else {}
    annotations = requested["annotations"] if is_written else {}
    return {
        "labels": {name: value for name, value in labels.items() if space["labels"].get(name, value) == value},
        "annotations": {
            name: value for name, value in annotations.items() if space["annotations"].get(name, value) == value
        },
    }


def _left_over(result: Result, found: Facts, requested: Facts) -> list[str]:
    """Namespaces with a ConfigMap of trust anchors of this collection that the Bundle does not read any more."""
    trust = _trust_namespace(result, requested)
    return [
        one["namespace"]
        for one in found["anchor_sources"]
        if one["managed"] and not one["gitops"] and not (requested["has_configmap"] and one["namespace"] == trust)
    ]


def _trust_namespace(result: Result, requested: Facts) -> str:
    """The trust namespace of a trust-manager that is left alone, or else the configured one."""
    found = result.decisions.get("trust_manager", {}).get("trust_namespace")
    return str(found or requested["trust_namespace"])


def _pod_security(result: Result, found: Facts, requested: Facts, is_written: bool) -> None:
    name = requested["namespace"]
    level = (found["namespaces"].get(name) or {}).get("labels", {}).get(ENFORCE)
    needed = RESTRICTED if requested["cni"] else PRIVILEGED
    if is_written and level and level != needed and needed == PRIVILEGED:
        result.problem(
            "pod_security",
            f"namespace {name}",
            f"The namespace {name} has the label {ENFORCE}={level}, and the control plane's init containers need "
            f"{PRIVILEGED}. Change the label (kubectl label namespace {name} --overwrite {ENFORCE}={PRIVILEGED}), or "
            "install Linkerd's CNI plugin and set cniEnabled in linkerd_values.",
        )


def signing_anchor(requested: Facts, vault: Facts | None) -> list[x509.Certificate]:
    """The trust anchor that signs, which is the first one. Empty if it does not exist yet."""
    texts = requested["anchors"]
    if vault and vault["root"] not in by_reference(vault["issuers"]) and texts == vault.get("anchors"):
        return []  # the run creates the root that signs, so the first anchor is the previous root
    return [one for text in texts for one in certs.parse_bundle(text)][:1]


def check_algorithms(result: Result, requested: Facts, anchor: list[x509.Certificate]) -> None:
    """The key and the signature of the trust anchor that signs.

    linkerd check reads it from the Secret of the identity issuer, and does not read the other trust anchors. Nothing
    else in Linkerd refuses it, so it does not stop a run that does not call linkerd check.
    """
    for one in anchor if requested["check"] else []:
        key_type, bits, dummy = certs.key_facts(one)
        problem = verifier.anchor_algorithm_problem(f"{key_type}:{bits}", certs.signature_algorithm(one))
        if problem and requested.get("is_in_git"):
            result.note(
                "anchor_refused",
                f"trust anchor {anchors.named(one)}",
                f"linkerd check refuses the trust anchor {anchors.named(one)}, so it fails in verify.yml. {problem}. "
                "Rotate to another root (see docs/guides/rotation.md), or set linkerd_check to false.",
            )
        elif problem:
            result.problem(
                "anchor_algorithm",
                f"trust anchor {anchors.named(one)}",
                f"linkerd check refuses the trust anchor {anchors.named(one)}. {problem}. Set pki_root_issuer_name to "
                "a root that it accepts, or to a new name, to have the run create one. If the mesh already runs with "
                "this root, rotate to another one (see docs/guides/rotation.md), or set linkerd_check to false.",
            )


def check_lifetime(
    result: Result, requested: Facts, anchor: list[x509.Certificate], intermediates: list[x509.Certificate]
) -> None:
    """The limits of cert-manager on the validity of the identity issuer, and those of the CAs above it."""
    signers = [anchor, *([one] for one in intermediates if one not in anchor)]
    durations = requested["duration"], requested["renew_before"]
    try:
        found = [issuer_lifetime.lifetime(one, *durations, result.now)["problems"] for one in signers]
        problems = list(dict.fromkeys(problem for some in found for problem in some))
    except DurationError as exc:
        problems = [str(exc)]
    if problems:
        result.problem(
            "identity_lifetime",
            f"Certificate {requested['namespace']}/{CERTIFICATE}",
            f"{' '.join(problems)} See linkerd_identity_duration and linkerd_identity_renew_before.",
        )


def check_identity(result: Result, found: Facts, requested: Facts, take_over: list[str]) -> None:
    """The Secret and the ConfigMap that cert-manager and trust-manager would overwrite."""
    mesh, namespace = found["mesh"], requested["namespace"]
    for kind, name, owner, exists, good in (
        ("ConfigMap", BUNDLE, mesh["anchors_owner"], mesh["anchors_exist"], f"Bundle {BUNDLE}"),
        ("Secret", CERTIFICATE, mesh["issuer_owner"], bool(mesh["issuer_type"]), f"Certificate {CERTIFICATE}"),
    ):
        if not exists or owner == good:
            continue
        item = f"{kind} {namespace}/{name}"
        if owner.startswith(BY_CHART):
            result.problem(
                "identity_in_release",
                item,
                f"{item} was created by {owner}. Linkerd takes its identity from its chart's values, and cert-manager "
                "and trust-manager would overwrite it under a running mesh. Run adopt.yml first, which moves the mesh "
                "to certificates from Vault without an outage, or leave this cluster out of the inventory.",
            )
        elif item not in take_over:
            result.problem("object_unmanaged", item, ownership.unmanaged(item, owner))
    _check_secret_source(result, requested, _trust_namespace(result, requested))


def check_sources_in_git(result: Result, found: Facts, requested: Facts) -> None:
    """Files are written for the configured trust namespace, also if trust-manager reads another one."""
    trust = next((one["trust_namespace"] for one in found["deployments"] if one["component"] == "trust-manager"), None)
    if trust is None:
        return
    if requested["has_configmap"] and requested["trust_namespace"] != trust:
        result.problem(
            "trust_source_namespace",
            f"namespace {trust}",
            f"trust-manager reads the namespace {trust}, but the ConfigMap with the trust anchors is written for the "
            f"namespace {requested['trust_namespace']}. Set pki_trust_namespace to {trust}.",
        )
    _check_secret_source(result, requested, trust)


def _check_secret_source(result: Result, requested: Facts, trust: str) -> None:
    namespace = requested["namespace"]
    if requested["trust_source"] == "secret" and trust != namespace:
        result.problem(
            "trust_source_namespace",
            f"namespace {trust}",
            f"linkerd_trust_source is secret, but trust-manager reads the namespace {trust} and the Secret is in "
            f"{namespace}. Set linkerd_trust_source to anchors, or pki_trust_namespace to {namespace}.",
        )


def check_namespaces(result: Result, found: Facts, requested: Facts) -> None:
    """Namespaces that the run needs and does not create, because others install the charts."""
    if requested["creates_namespaces"]:
        return
    trust = {_trust_namespace(result, requested)} if requested["has_configmap"] else set()
    for name in sorted({requested["namespace"], *trust}):
        if not (found["namespaces"].get(name) or {}).get("exists"):
            result.problem(
                "namespace_missing",
                f"namespace {name}",
                f"The namespace {name} does not exist, and pki_manage=certificates creates no namespace. Create it "
                "with the charts.",
            )
