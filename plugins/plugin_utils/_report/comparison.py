# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the certificates in Vault and in any number of clusters. Private to this collection.

All functions are pure: they use the results of modules and the time that they get.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import certified
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains as verify_chains
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import rules

Facts = dict[str, Any]
NOT_READ = "it was not read. Does --limit exclude it?"
OVERDUE = timedelta(minutes=10)  # cert-manager needs seconds, so the request was probably refused
CODES = certified.CODES | {
    "vault_unreadable",
    "vault_issuer_unreadable",
    "no_clusters",
    "cluster_unreadable",
    "anchors_unreadable",
    "issuer_unreadable",
    "signer_unreadable",
    "anchor_not_a_root",
    "anchor_expired",
    "anchor_not_in_vault",
    "issuer_refused",
    "expires_soon",
    "signer_not_in_anchors",
    "renewal_overdue",
    "certificate_missing",
    "pod_anchors_unreadable",
    "pod_anchors_unknown",
    "pod_anchors_differ",
    "linkerd_check",
    "clusters_differ",
}


@dataclass(frozen=True)
class Disagreement:
    """A difference or problem, with its location and what to do."""

    code: str
    where: str
    message: str
    cluster: str | None = None
    reasons: list[dict[str, str]] = field(default_factory=list)
    pods: list[str] = field(default_factory=list)

    def facts(self, allowed: Iterable[str]) -> Facts:
        return {
            "code": self.code,
            "cluster": self.cluster,
            "where": self.where,
            "message": self.message,
            "reasons": self.reasons,
            "pods": self.pods,
            "allowed": self.code in allowed,
        }


@dataclass(frozen=True)
class Cluster:
    """What was read from one cluster. If the reading is empty, problem is the cause.

    `extra_anchors` are the fingerprints of trust anchors that the inventory adds to those of Vault.
    """

    name: str
    reading: Facts
    check: Facts
    problem: str
    extra_anchors: frozenset[str] = frozenset()

    @classmethod
    def from_results(cls, name: str, result: Facts, check: Facts, extra_anchors: Iterable[str] = ()) -> Cluster:
        """Create it from the results of linkerd_certificates_info and linkerd_check, which may have failed."""
        read = "anchors" in result
        for part in {"anchors", "issuer", "signer"} & result.keys() if read else ():
            itemgetter("where", "certificates", "problem")(result[part])  # KeyError: not a result of the module
        problem = "" if read else str(result.get("msg") or NOT_READ)
        return cls(name, result if read else {}, check, problem, frozenset(extra_anchors))

    def certificates(self, part: str) -> list[Facts]:
        found: list[Facts] = self.reading.get(part, {}).get("certificates", [])
        return found


def vault_facts(result: Facts) -> Facts:
    """Return the part of Vault from the result of vault_pki_issuer_info, which may have failed, address and mount."""
    read = "issuers" in result
    return {
        "address": str(result.get("address") or ""),
        "mount": str(result.get("mount") or ""),
        "issuers": result["issuers"] if read else [],
        "unreadable": result.get("unreadable") or [],
        "problem": "" if read else str(result.get("msg") or NOT_READ),
    }


def report(vault: Facts, clusters: list[Cluster], required: rules.Requirements, allowed: Iterable[str] = ()) -> Facts:
    """Return everything that was read, and all disagreements."""
    chains = {cluster.name: chain(cluster, required) for cluster in clusters}
    leaves = {cluster.name: certified.evaluate(cluster.reading, vault["issuers"], required.at) for cluster in clusters}
    found = list(disagreements(vault, clusters, chains, leaves, required.at))
    facts = [item.facts(tuple(allowed)) for item in found]
    return {
        "at": certs.iso(required.at),
        "agreed": all(item["allowed"] for item in facts),
        "disagreements": facts,
        "vault": vault,
        "clusters": [
            {
                "name": cluster.name,
                "problem": cluster.problem,
                **cluster.reading,
                "chain": chains[cluster.name],
                "certified": leaves[cluster.name],
                "check": check_facts(cluster.check),
            }
            for cluster in clusters
        ],
        "rotation": None,
    }


def chain(cluster: Cluster, required: rules.Requirements) -> Facts | None:
    """Return the verdict on the issuer. Linkerd verifies tls.crt with the anchors in the ConfigMap, nothing else."""
    issuer, anchors = (_pem(cluster.certificates(part)) for part in ("issuer", "anchors"))
    if not issuer or not anchors:
        return None
    trust_domain = cluster.reading.get("trust_domain") or required.trust_domain
    workload = verify_chains.workload_name(linkerd_namespace=_namespace(cluster), trust_domain=trust_domain)
    required = replace(required, workload=workload)
    return verify_chains.verify(certs.parse_bundle(issuer), certs.parse_bundle(anchors), required).facts()


def disagreements(
    vault: Facts,
    clusters: list[Cluster],
    chains: dict[str, Facts | None],
    leaves: dict[str, Facts | None],
    at: datetime,
) -> Iterator[Disagreement]:
    if vault["problem"]:
        yield Disagreement("vault_unreadable", "Vault", f"The issuers in Vault could not be read: {vault['problem']}")
    for issuer in vault["unreadable"]:
        name = f"{issuer['issuer_name'] or issuer['issuer_id']} of {vault['mount']}"
        yield Disagreement(
            "vault_issuer_unreadable",
            "Vault",
            f"The certificate of issuer {name} cannot be read and is not compared: {issuer['problem']}. "
            "Delete the issuer (vault_pki_issuer), or allow this disagreement.",
        )
    if not clusters:
        yield Disagreement(
            "no_clusters", "inventory", "No cluster was read, so nothing was checked. Is the group clusters empty?"
        )
    for cluster in clusters:
        yield from of_cluster(cluster, vault, chains[cluster.name], leaves[cluster.name], at)
    yield from between_clusters(clusters)


def of_cluster(
    cluster: Cluster, vault: Facts, found: Facts | None, leaves: Facts | None, at: datetime
) -> Iterator[Disagreement]:
    def disagree(code: str, where: str, message: str, **more: Any) -> Disagreement:
        return Disagreement(code, where, message, cluster.name, **more)

    if cluster.problem:
        yield disagree("cluster_unreadable", "cluster", f"The cluster could not be read: {cluster.problem}")
    for part, code in (
        ("anchors", "anchors_unreadable"),
        ("issuer", "issuer_unreadable"),
        ("signer", "signer_unreadable"),
    ):
        source = cluster.reading.get(part, {})
        is_used = part != "signer" or cluster.reading.get("issuer_scheme") != "linkerd.io/tls"
        if source.get("problem") and is_used:
            yield disagree(code, source["where"], f"{source['where']} {source['problem']}. {ADVICE[part]}")
    anchors = cluster.certificates("anchors")
    if anchors:
        yield from _anchors(disagree, cluster, anchors, vault, at)
    if found is not None and not found["verified"]:
        yield from _issuer(disagree, cluster, found)
    yield from _signer(disagree, cluster, anchors, vault)
    yield from _renewal(disagree, cluster, at)
    if cluster.reading.get("pods_problem"):
        yield disagree(
            "pod_anchors_unreadable",
            "pods",
            f"The pods {cluster.reading['pods_problem'].rstrip('.')}. Allow the user to list pods in all namespaces.",
        )
    for group in cluster.reading.get("pods", []):
        yield from _pods(disagree, group, anchors)
    if leaves is not None:
        yield from certified.disagreements(disagree, leaves, _namespace(cluster), at)
    yield from _check(disagree, cluster.check)


ADVICE = {
    "anchors": "Look at the Bundle: kubectl describe bundle linkerd-identity-trust-roots",
    "issuer": "Look at the Certificate of cert-manager: kubectl describe certificate -A",
    "signer": "linkerd check needs it. Does the issuer in Vault have its complete chain?",
}


def _anchors(
    disagree: Any, cluster: Cluster, anchors: list[Facts], vault: Facts, at: datetime
) -> Iterator[Disagreement]:
    where = cluster.reading["anchors"]["where"]
    not_roots = [one for one in anchors if not (one["self_signed"] and (one["is_ca"] or one["version"] == 1))]
    if not_roots:
        yield disagree(
            "anchor_not_a_root",
            where,
            f"The {where} contains a certificate that is not a self-signed CA: {_subjects(not_roots)}. "
            "Look at the sources of the Bundle: kubectl describe bundle linkerd-identity-trust-roots",
        )
    outside = [one for one in anchors if not one["not_before"] <= certs.iso(at) <= one["not_after"]]
    if outside:
        yield disagree(
            "anchor_expired",
            where,
            f"The {where} contains a trust anchor that is not valid at {certs.iso(at)}: "
            f"{'; '.join(f'''{one['subject']}, {one['not_before']} to {one['not_after']}''' for one in outside)}. "
            "Remove it when nothing signed by it is in use.",
        )
    known = _fingerprints(vault["issuers"]) | cluster.extra_anchors
    unknown = [one for one in anchors if one["fingerprint_sha256"] not in known]
    if unknown and not vault["problem"]:
        yield disagree(
            "anchor_not_in_vault",
            where,
            f"The cluster trusts {_subjects(unknown)}, which is neither in Vault at {vault['address']} nor in "
            f"pki_extra_trust_anchors. Vault has: {_subjects(vault['issuers']) or 'no issuer'}. Check who added it to "
            "the cluster, and pki_vault_address. A Vault in dev mode loses its data when it restarts.",
        )


def is_refused(found: Facts) -> bool:
    """Return whether Linkerd refuses the issuer. A minimum of remaining validity is a requirement of the operator."""
    return any(reason["code"] != "expires_soon" for reason in found["reasons"])


def _issuer(disagree: Any, cluster: Cluster, found: Facts) -> Iterator[Disagreement]:
    where, subject, reasons = cluster.reading["issuer"]["where"], found["path"][0]["subject"], found["reasons"]
    why = " ".join(f"{reason['message'].rstrip('.')}." for reason in reasons)
    if is_refused(found):
        yield disagree(
            "issuer_refused",
            where,
            f"Linkerd refuses the identity issuer {subject} ({', '.join(found['refused_by'])}): {why} "
            "Run renew_issuer.yml to reissue it. `kubectl describe certificate -n "
            f"{_namespace(cluster)} linkerd-identity-issuer` shows why cert-manager does not.",
            reasons=reasons,
        )
    else:
        short = " ".join(f"{reason['subject']}: {reason['message'].rstrip('.')}." for reason in reasons)
        yield disagree(
            "expires_soon",
            where,
            f"Linkerd accepts the identity issuer {subject}, but its chain expires too soon: {short} Renew the issuer "
            "with renew_issuer.yml, raise linkerd_identity_duration, or replace the root or the intermediate CA.",
            reasons=reasons,
        )


def _signer(disagree: Any, cluster: Cluster, anchors: list[Facts], vault: Facts) -> Iterator[Disagreement]:
    others = [
        one
        for one in cluster.certificates("signer")
        if one["fingerprint_sha256"] not in _fingerprints(anchors)
        and not certified.leads_to_anchor(one, cluster.reading, vault["issuers"])
    ]
    if anchors and others:
        where, there = cluster.reading["signer"]["where"], cluster.reading["anchors"]["where"]
        secret, key = where.rsplit(", ", 1)
        yield disagree(
            "signer_not_in_anchors",
            where,
            f"{key} of the {secret} ({_subjects(others)}) is not in the {there} ({_subjects(anchors)}), or below it. "
            "`linkerd check` reads the former, the mesh trusts the latter. "
            "Run site.yml --tags linkerd to update the anchors.",
        )


def _renewal(disagree: Any, cluster: Cluster, at: datetime) -> Iterator[Disagreement]:
    if cluster.reading.get("certificate_missing"):
        where = f"Certificate {_namespace(cluster)}/linkerd-identity-issuer"
        yield disagree(
            "certificate_missing",
            where,
            f"{where} of cert-manager does not exist, so nothing renews the identity issuer. "
            "Run site.yml --tags linkerd, or restore it in the Git repository that it comes from.",
        )
    due = cluster.reading.get("renewal_time")
    if due and at > datetime.fromisoformat(due) + OVERDUE:
        yield disagree(
            "renewal_overdue",
            cluster.reading["issuer"]["where"],
            f"cert-manager did not renew the identity issuer at {due}. Look for the cause in its latest request: "
            f"kubectl get certificaterequests -n {_namespace(cluster)}. Does it reach Vault, and is its token valid?",
        )


def _pods(disagree: Any, group: Facts, anchors: list[Facts]) -> Iterator[Disagreement]:
    pods, where = certified.join(group["pods"], ", "), f"{len(group['pods'])} pod(s)"
    details = {"pods": group["pods"]}
    restart = "Run `kubectl rollout restart` for their workloads, so that they use those in the ConfigMap."
    if group["problem"]:
        yield disagree(
            "pod_anchors_unreadable",
            where,
            f"The trust anchors of {pods} cannot be read: {group['problem']}. {restart}",
            **details,
        )
    elif group["evidence"] == "started_before":
        yield disagree(
            "pod_anchors_unknown",
            where,
            f"{pods} started before the last change of the ConfigMap. They read the trust anchors at their start, and "
            f"which ones cannot be seen from outside. {restart}",
            **details,
        )
    elif group["evidence"] == "spec" and anchors:
        found, expected = _fingerprints(group["certificates"]), _fingerprints(anchors)
        absent = [one for one in anchors if one["fingerprint_sha256"] not in found]
        unexpected = [one for one in group["certificates"] if one["fingerprint_sha256"] not in expected]
        parts = [f"do not trust {_subjects(absent)}"] if absent else []
        parts += [f"trust {_subjects(unexpected)}, which is not in the ConfigMap"] if unexpected else []
        if parts:
            yield disagree("pod_anchors_differ", where, f"{pods} {' and '.join(parts)}. {restart}", **details)


def _check(disagree: Any, check: Facts) -> Iterator[Disagreement]:
    if check and not check.get("passed"):
        found = "; ".join((check_facts(check) or {})["failed"])  # in check mode there is no message
        yield disagree(
            "linkerd_check", "linkerd check", str(check.get("msg") or f"linkerd check did not pass: {found}")
        )


def between_clusters(clusters: list[Cluster]) -> Iterator[Disagreement]:
    """Yield a disagreement if clusters trust different anchors, because then their meshes cannot be linked."""
    groups: dict[frozenset[str], list[Cluster]] = {}
    for cluster in clusters:
        if cluster.certificates("anchors"):
            groups.setdefault(frozenset(_fingerprints(cluster.certificates("anchors"))), []).append(cluster)
    if len(groups) > 1:
        trust = [
            f"{certified.join([cluster.name for cluster in alike], ', ')} trust(s) "
            f"{_subjects(alike[0].certificates('anchors'))}"
            for alike in groups.values()
        ]
        yield Disagreement(
            "clusters_differ",
            "clusters",
            f"The clusters do not trust the same anchors: {'; '.join(trust)}. Run site.yml for all of them.",
        )


def check_facts(check: Facts) -> Facts | None:
    """Return the counts of linkerd check and the checks that did not pass."""
    if not check:
        return None
    counts = check.get("categories", {}).values()
    return {
        "passed": bool(check.get("passed")),
        "succeeded": sum(count["success"] for count in counts),
        "allowed": [item["description"] for item in check.get("warnings_allowed", [])],
        "failed": [item["description"] for item in [*check.get("errors", []), *check.get("warnings_found", [])]],
    }


def _pem(certificates: list[Facts]) -> str:
    return "".join(one["certificate"] for one in certificates)


def _fingerprints(certificates: list[Facts]) -> set[str]:
    return {one["fingerprint_sha256"] for one in certificates}


def _subjects(certificates: list[Facts]) -> str:
    return "; ".join(map(certified.name, certificates))


def _namespace(cluster: Cluster) -> str:
    return certified.namespace_of(cluster.reading)
