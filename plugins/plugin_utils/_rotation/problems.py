# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems that stop a rotation before it changes anything. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight import ownership
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.anchors import MULTICLUSTER
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report.certified import namespace_of
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import adoption, phases
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.observed import ObservedState
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.outlook import RENEWED_AFTER
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.phases import Cluster, Goal, Phase
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import candidate, chains

Facts = dict[str, Any]
CODES = {
    "vault_unreadable": "The issuers of Vault cannot be read.",
    "cluster_unreadable": "A cluster cannot be read.",
    "anchors_unreadable": "A cluster has no trust anchors, or they cannot be read.",
    "issuer_unreadable": "A cluster has no identity issuer, or it cannot be read.",
    "pods_unreadable": "The meshed pods of a cluster cannot be listed.",
    "leaves_unreadable": "The certificates of pods cannot be read, for lack of permission.",
    "anchors_not_from_bundle": "trust-manager does not distribute the trust anchors of a cluster.",
    "issuer_not_from_cert_manager": "The identity issuer of a cluster was passed to Linkerd's chart or CLI.",
    "components_unreadable": "The installed components of a cluster cannot be read.",
    "object_in_git": "A GitOps controller applies an object that the rotation changes.",
    "object_unmanaged": "Others created an object that the rotation changes.",
    "chart_unavailable": "Helm cannot fetch the chart of Linkerd's release, which adopt.yml upgrades.",
    "release_unfinished": "Others have not finished an upgrade of Linkerd's Helm release, or it failed.",
    "cert_manager_mismatch": "The permissions of the issuer would name another service account than cert-manager has.",
    "address_missing": "An address that the issuer of cert-manager needs is not set.",
    "linkerd_check_failed": "linkerd check fails.",
    "pods_distrust": "A pod does not trust a certificate that is in use.",
    "anchor_expired": "A trust anchor in use has expired.",
    "issuer_expired": "The identity issuer of a cluster, or a certificate above it, has expired.",
    "anchor_expires_too_soon": "A trust anchor in use expires before the rotation can finish.",
    "linked_clusters": "A cluster is linked, and linked clusters outside of the inventory may not trust the new root.",
    "anchor_of_linked_clusters": "A cluster is linked, and trusts an anchor that may be of a linked cluster.",
    "external_workloads": "Proxies outside of Kubernetes are part of the mesh, and the rotation cannot read them.",
    "target_unusable": "The new root is not a self-signed CA, expires too soon, or does not fit Linkerd.",
    "root_unknown": "A root to retire is not in Vault.",
    "root_in_use": "A root to retire is still in use.",
}
EXTERNAL_WORKLOADS = "externalworkloads.workload.linkerd.io"  # each object stands for a proxy outside of the cluster
FORCED = (  # ignored with rotation_force
    "linkerd_check_failed",
    "pods_distrust",
    "anchor_expired",
    "anchor_expires_too_soon",
    "issuer_expired",
)
OF_UPGRADE = ("chart_unavailable", "release_unfinished")  # matter only if adopt.yml will upgrade Linkerd
EXPIRING = "trust anchors are valid for at least 60 days"  # a warning of linkerd check
IDENTITY_NAME, TRUST_DOMAIN = "identity.linkerd.cluster.local", "cluster.local"
MARGIN = timedelta(hours=1)  # for the restarts
# Before a root signs: the rotation to it, the two days of an identity issuer, and time for a rotation to the next root.
TARGET_VALIDITY = timedelta(days=7)


@dataclass(frozen=True)
class Options:
    """The variables of a rotation."""

    target: str  # name of the new root in Vault
    extra_anchors: dict[str, str] = field(default_factory=dict)  # PEM of those beside the new root, by fingerprint
    wait: bool = True  # until proxies have renewed their certificates; False restarts the workloads a second time
    force: bool = False
    adopt: bool = False  # take over anchors and issuer that come from Linkerd's chart or CLI
    ignored_pods: tuple[str, ...] = ()  # patterns of namespace/name
    take_over: tuple[str, ...] = ()  # objects that may be changed though others created them
    retired_anchors: tuple[str, ...] = ()  # fingerprints of trust anchors that no linked cluster needs
    new_root: tuple[str, int, int] = ("ec", 256, 1)  # type and size of its key and its path length, if it is created
    linked_clusters_ready: bool = False  # those outside of the inventory trust the target, or there are none
    retired_roots: tuple[str, ...] = ()  # names of roots that lose the permission to sign when the rotation is done
    ignore_external_workloads: bool = False  # proxies outside of Kubernetes are updated by others, or may fail
    final_restart: bool = True  # pods that carry removed anchors restart before roots are retired


def problem(code: str, cluster: str, message: str) -> Facts:
    return {"code": code, "cluster": cluster, "message": message}


def unreadable(readings: dict[str, Facts], vault: Facts) -> Iterator[Facts]:
    """Parts of Vault and of the clusters that could not be read."""
    if "issuers" not in vault:
        yield problem("vault_unreadable", "Vault", f"The issuers cannot be read: {vault.get('msg', 'no result')}")
    for name, reading in readings.items():
        if "anchors" not in reading:
            yield problem("cluster_unreadable", name, f"The cluster cannot be read: {reading.get('msg', 'no result')}")
            continue
        for part, code in (("anchors", "anchors_unreadable"), ("issuer", "issuer_unreadable")):
            if reading[part]["problem"]:
                yield problem(code, name, f"{reading[part]['where']} {reading[part]['problem']}.")
        if reading["pods_problem"]:
            yield problem("pods_unreadable", name, f"The meshed pods {reading['pods_problem']}")


def refusals(observed: ObservedState, clusters: dict[str, Facts], options: Options) -> Iterator[Facts]:
    """Every reason to refuse the rotation, except trust anchors that expire.

    `clusters` are what was read from each cluster: `certificates`, `check`, `components`.
    """
    for name, found in clusters.items():
        yield from forbidden(name, found["certificates"], observed.ignored_pods)
        yield from owned_elsewhere(name, found.get("components") or {}, options)
        yield from failed_check(name, found.get("check") or {}, observed)
        if not options.ignore_external_workloads:
            yield from external_workloads(name, found.get("components") or {})
    for cluster in observed.clusters:
        yield from of_later_phases(cluster, clusters[cluster.name], options)
    if not options.adopt:
        yield from not_adopted(observed)
    yield from distrust(observed)


def of_later_phases(cluster: Cluster, found: Facts, options: Options) -> Iterator[Facts]:
    """What would stop a later phase: GitOps controllers that apply Linkerd, and `obstacles`, which the playbook finds.

    The state of Linkerd's release and chart, and who applies Linkerd, matter only if the run upgrades Linkerd.
    """
    upgrades = options.adopt and cluster.chart_has_identity
    found_here = [(one["code"], one["message"]) for one in found.get("obstacles") or []]
    if upgrades:
        found_here += adoption.in_git(found.get("components") or {}, options.take_over)
    for code, message in found_here:
        if upgrades or code not in OF_UPGRADE:
            yield problem(code, cluster.name, message)


def owned_elsewhere(name: str, components: Facts, options: Options) -> Iterator[Facts]:
    """Objects that the rotation changes, but others own. Adoption takes over those of the mesh, unless from Git.

    `components` is the result of mesh_prerequisites_info.
    """
    if "objects" not in components:
        message = f"The installed components cannot be read: {components.get('msg', 'no result')}"
        yield problem("components_unreadable", name, message)
    source = _anchor_source(components)
    for one in [*(components.get("objects") or []), *source]:
        if adoption.is_of_chart(one):
            continue
        refused = ownership.refusal(one, options.take_over)
        # Linkerd's chart and CLI do not create the source of the Bundle.
        is_adopted = options.adopt and one not in source and ownership.is_of_mesh(ownership.name_of(one))
        if refused and not (is_adopted and refused[0] == "object_unmanaged"):
            yield problem(refused[0], name, refused[1])
    yield from _unread(name, components)


def _anchor_source(components: Facts) -> list[Facts]:
    """The ConfigMap in the namespace that trust-manager reads, which the rotation writes the trust anchors to."""
    found = [one for one in components.get("deployments") or [] if one["component"] == "trust-manager"]
    namespaces = [one["trust_namespace"] for one in found]
    return [one for one in components.get("anchor_sources") or [] if one["namespace"] in namespaces[:1]]


def _unread(name: str, components: Facts) -> Iterator[Facts]:
    """Objects that the rotation changes, and whose owner cannot be read."""
    changed = [*(components.get("objects") or []), {"kind": "ConfigMap", "namespace": "", "name": ""}]
    names = {ownership.name_of(one) for one in changed}
    for one in components.get("unreadable") or []:
        if ownership.name_of(one) in names:
            yield problem("components_unreadable", name, f"{one['what']} cannot be read: {one['problem']}")


def external_workloads(name: str, components: Facts) -> Iterator[Facts]:
    """Mesh expansion: proxies whose trust anchors and certificates no pod of the cluster shows."""
    definitions = components.get("definitions") or []
    if any(one["name"] == EXTERNAL_WORKLOADS and one.get("in_use") for one in definitions):
        message = (
            "The cluster has objects of the kind ExternalWorkload, or they cannot be listed. The rotation reads and "
            "restarts pods only, so it cannot see whether proxies outside of Kubernetes trust the new root and have "
            "certificates below it. Set rotation_ignore_external_workloads to true when you update them yourself: see "
            "docs/guides/rotation.md."
        )
        yield problem("external_workloads", name, message)


def not_adopted(observed: ObservedState) -> Iterator[Facts]:
    """Clusters in which Linkerd's chart or CLI owns the trust anchors or the issuer, and can overwrite them."""
    advice = "Run adopt.yml instead, which moves the mesh to certificates from Vault."
    for cluster in observed.clusters:
        if cluster.anchors_in_values or not cluster.anchors_from_bundle:
            message = f"The trust anchors come from Linkerd's chart or CLI, not from trust-manager. {advice}"
            yield problem("anchors_not_from_bundle", cluster.name, message)
        if not cluster.issuer_from_secret:
            message = f"The identity issuer was passed to Linkerd's chart or CLI. {advice}"
            yield problem("issuer_not_from_cert_manager", cluster.name, message)


def forbidden(name: str, reading: Facts, ignored: Sequence[str]) -> Iterator[Facts]:
    missing = [one["pod"] for one in reading.get("leaves_missing") or [] if one["code"] == "forbidden"]
    pods = [pod for pod in missing if not any(fnmatchcase(pod, pattern) for pattern in ignored)]
    if pods:
        message = f"The certificates of {len(pods)} pod(s) cannot be read. Permit get and create on pods/portforward."
        yield problem("leaves_unreadable", name, message)


def failed_check(name: str, check: Facts, observed: ObservedState) -> Iterator[Facts]:
    if not check.get("passed") and not fails_as_expected(check, observed):
        yield problem("linkerd_check_failed", name, f"linkerd check fails: {check.get('msg', 'no result')}")


def fails_as_expected(check: Facts, observed: ObservedState) -> bool:
    """Whether the only problems are those that the rotation solves.

    A trust anchor that expires within 60 days. And in the middle of an adoption, linked clusters with other anchors in
    the values of Linkerd's chart, if their ConfigMaps contain the same: only these are read by Linkerd.
    """
    warnings = {one["description"] for one in check.get("warnings_found") or []}
    errors = check.get("errors") or []
    if not (warnings or errors) or warnings - {EXPIRING} or (check.get("exit_code") != 0 and not errors):
        return False
    is_adopted = any(not one.anchors_in_values for one in observed.clusters)
    agree = len({one.anchors for one in observed.clusters}) == 1
    return not errors or (is_adopted and agree and all(map(adoption.compares_values, errors)))


def linked(observed: ObservedState, clusters: dict[str, Facts], goal: Goal, options: Options) -> Iterator[Facts]:
    """Trust anchors that the rotation would remove from a cluster with the extension multicluster.

    The certificates of linked clusters that are not in the inventory may chain to them.
    """
    known = {*phases.roots_in_use(observed.clusters), goal.target, *goal.extra}
    for cluster in with_multicluster(observed, clusters):
        for fingerprint in sorted(cluster.anchors - known - {*options.retired_anchors}):
            message = (
                "The cluster has the extension linkerd-multicluster, and nothing in the clusters of the inventory "
                f"needs the trust anchor {subject(observed, fingerprint)}, but linked clusters may. Add it to "
                f"pki_extra_trust_anchors, or its fingerprint {fingerprint} to pki_retired_trust_anchors."
            )
            yield problem("anchor_of_linked_clusters", cluster.name, message)


def distrusting_links(
    observed: ObservedState, clusters: dict[str, Facts], goal: Goal, options: Options
) -> Iterator[Facts]:
    """Clusters whose certificates linked clusters outside of the inventory may refuse after phase 4.

    Only one side of a link has an object for it, so each cluster with the extension may be linked. A cluster that can
    issue no certificates below the old root has no links to protect.
    """
    if options.linked_clusters_ready:
        return
    for cluster in with_multicluster(observed, clusters):
        if cluster.signer != goal.target and not goal.stops(cluster):
            message = (
                "The cluster has the extension linkerd-multicluster, and phase 4 gives it certificates below "
                f"{options.target}. Linked clusters that do not trust this root refuse them. Run the rotation in those "
                "that are not in the inventory up to phase 3, too. Then set rotation_linked_clusters_ready to true, or "
                "set it now if all linked clusters are in the inventory: see docs/guides/rotation.md."
            )
            yield problem("linked_clusters", cluster.name, message)


def with_multicluster(observed: ObservedState, clusters: dict[str, Facts]) -> Iterator[Cluster]:
    """The clusters that have the extension multicluster."""
    for cluster in observed.clusters:
        definitions = (clusters[cluster.name].get("components") or {}).get("definitions") or []
        if any(one["name"] == MULTICLUSTER for one in definitions):
            yield cluster


def distrust(observed: ObservedState) -> Iterator[Facts]:
    for cluster, pod, missing in phases.distrusted(observed.clusters):
        subjects = ", ".join(sorted(subject(observed, one) for one in missing))
        yield problem("pods_distrust", cluster, f"Pod {pod} does not trust the certificates in use below {subjects}.")


def expired_issuers(observed: ObservedState, goal: Goal) -> Iterator[Facts]:
    """Identity issuers that have expired, or are below an intermediate certificate that has."""
    for cluster in observed.clusters:
        for fingerprint in sorted((cluster.issuer_path & goal.expired) - cluster.roots_in_use):
            message = (
                f"The certificate {subject(observed, fingerprint)} of the identity issuer expired at "
                f"{observed.facts[fingerprint]['not_after']}, so pods get no certificates. Renew it below its root if "
                "you can, for example with renew_issuer.yml. Otherwise set rotation_force to true to replace it with "
                "the shortest outage: see docs/guides/rotation.md."
            )
            yield problem("issuer_expired", cluster.name, message)


def expiries(observed: ObservedState, goal: Goal, phase: Phase, options: Options, at: datetime) -> Iterator[Facts]:
    """Trust anchors in use that expire before the rotation has replaced them.

    Once the new root signs, to restart the workloads is better than to wait, however little time is left.
    """
    needed = MARGIN + RENEWED_AFTER if options.wait else MARGIN if phase < Phase.RENEW else timedelta()
    for cluster in observed.clusters:
        for fingerprint in sorted(cluster.roots_in_use - {goal.target}):
            end = observed.facts[fingerprint]["not_after"]
            left = datetime.fromisoformat(end) - at
            named = f"The trust anchor {subject(observed, fingerprint)}"
            if left <= timedelta():
                message = (
                    f"{named} expired at {end}, so pods refuse each other's certificates. Set rotation_force to true "
                    "to replace it with the shortest outage: see docs/guides/rotation.md."
                )
                yield problem("anchor_expired", cluster.name, message)
            elif left < needed:
                message = f"{named} expires at {end}, in {hours(left)}, and the rotation needs {hours(needed)}"
                if options.wait:
                    message += (
                        f": {hours(MARGIN)} for restarts and {hours(RENEWED_AFTER)} until all workloads have renewed "
                        "their certificates. Set rotation_restart_again to true to restart them instead of waiting"
                    )
                else:
                    message += ". Set rotation_force to true to rotate in the time that is left"
                yield problem("anchor_expires_too_soon", cluster.name, f"{message}.")


def unusable_target(
    observed: ObservedState, clusters: dict[str, Facts], goal: Goal, phase: Phase, options: Options, at: datetime
) -> Iterator[Facts]:
    """A target that exists in Vault, but cannot sign the identity issuers for long enough.

    Once it signs, the phases that are left need less time. The rotation must not remove the other anchors for a root
    that expires.
    """
    if goal.target is None:
        for reason in candidate.new_root_reasons(*options.new_root):
            message = f"Linkerd would refuse the new root {options.target}: {reason}."
            yield problem("target_unusable", "Vault", message)
        return
    root = observed.facts[goal.target]
    left = datetime.fromisoformat(root["not_after"]) - at
    needed = TARGET_VALIDITY if phase <= Phase.SWITCH else MARGIN + RENEWED_AFTER
    advice = "Set pki_root_issuer_name to another root. If Vault has none of that name, the playbook creates it."
    if not (root["self_signed"] and root["is_ca"]):
        message = f"The issuer {options.target} is not a self-signed CA, so it cannot be the trust anchor. {advice}"
        yield problem("target_unusable", "Vault", message)
    elif left < needed:
        expires = f"expired at {root['not_after']}" if left <= timedelta() else f"expires at {root['not_after']}"
        message = f"The root {options.target} {expires}. It must be valid for {hours(needed)} or longer. {advice}"
        yield problem("target_unusable", "Vault", message)
    elif reasons := refused_below(observed, clusters, goal.target, at):
        message = f"Linkerd refuses certificates below the root {options.target}. {'. '.join(reasons)}. {advice}"
        yield problem("target_unusable", "Vault", message)


def refused_below(observed: ObservedState, clusters: dict[str, Facts], root: str, at: datetime) -> list[str]:
    """Why the clusters that have no identity issuer below a root yet would refuse one, and their workloads.

    The clock of the controller can be behind that of Vault, which has just created the root.
    """
    found: dict[str, None] = {}
    certificate = certs.parse_bundle(observed.facts[root]["certificate"])[0]
    at = max(at, certificate.not_valid_before_utc)
    for cluster in observed.clusters:
        if cluster.signer != root:
            reading = clusters[cluster.name]["certificates"]
            domain = reading.get("trust_domain") or TRUST_DOMAIN
            workload = chains.workload_name(linkerd_namespace=namespace_of(reading), trust_domain=domain)
            name = clusters[cluster.name].get("identity_name") or IDENTITY_NAME
            reasons = candidate.reasons(certificate, name, workload, at)
            found |= dict.fromkeys(f"{one.subject}: {one.message}" for one in reasons)
    return list(found)


def retirement(observed: ObservedState, options: Options) -> Iterator[Facts]:
    """Roots that must not lose the permission to sign yet. Checked when the rotation is finished.

    A pod that still carries a root is a problem only if it does not restart before.
    """
    for name in options.retired_roots:
        root = observed.issuers.get(name)
        if root is None:
            yield problem("root_unknown", "Vault", f"The root {name} to retire is not in Vault. Check its name.")
        elif root == observed.issuers.get(options.target):
            yield problem("root_in_use", "Vault", f"{name} signs the identity issuers, so it cannot be retired.")
        else:
            yield from (
                problem("root_in_use", cluster.name, f"The cluster still trusts {name}, so it cannot be retired.")
                for cluster in observed.clusters
                if root in cluster.anchors
                or (not options.final_restart and any(root in (pod.anchors or ()) for pod in cluster.pods))
            )


def subject(observed: ObservedState, fingerprint: str) -> str:
    return str(observed.facts[fingerprint]["subject"])


def hours(length: timedelta) -> str:
    return f"{length.total_seconds() / 3600:.1f} hours"
