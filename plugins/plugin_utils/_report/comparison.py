# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Vault and any number of clusters agree on a mesh's certificates. Private to this collection.

Everything here is a function of what was read: nothing is asked, nothing depends on the clock but what is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import certified
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains as verify_chains
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import rules

Facts = dict[str, Any]
NOT_ASKED = "it was not asked. Does --limit leave it out?"
SHOWN = 3  # pods or certificates that a sentence names
OVERDUE = timedelta(minutes=10)  # cert-manager takes seconds; longer means that it was refused
CODES = frozenset(
    {
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
        "pod_anchors_unreadable",
        "pod_anchors_unknown",
        "pod_anchors_differ",
        "linkerd_check",
        "clusters_differ",
    }
    | certified.CODES
)


@dataclass(frozen=True)
class Disagreement:
    """Something that does not fit: where, and what to do."""

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
    """What was read from one cluster. An empty reading has a problem in its place."""

    name: str
    reading: Facts
    check: Facts
    problem: str

    @classmethod
    def from_results(cls, name: str, result: Facts, check: Facts) -> Cluster:
        """From the results of linkerd_certificates_info and linkerd_check, either of which may have failed."""
        read = "anchors" in result
        return cls(name, result if read else {}, check, "" if read else str(result.get("msg") or NOT_ASKED))

    def certificates(self, part: str) -> list[Facts]:
        found: list[Facts] = self.reading.get(part, {}).get("certificates", [])
        return found


def vault_facts(result: Facts) -> Facts:
    """From the result of vault_pki_issuer_info, which may have failed, with address and mount beside it."""
    read = "issuers" in result
    return {
        "address": str(result.get("address") or ""),
        "mount": str(result.get("mount") or ""),
        "issuers": result["issuers"] if read else [],
        "unreadable": result.get("unreadable") or [],
        "problem": "" if read else str(result.get("msg") or NOT_ASKED),
    }


def report(vault: Facts, clusters: list[Cluster], wanted: rules.Requirements, allowed: Iterable[str] = ()) -> Facts:
    """Everything that was read, and every disagreement in it."""
    chains = {cluster.name: chain(cluster, wanted) for cluster in clusters}
    leaves = {cluster.name: certified.evaluate(cluster.reading, vault["issuers"], wanted.at) for cluster in clusters}
    found = list(disagreements(vault, clusters, chains, leaves, wanted.at))
    facts = [item.facts(tuple(allowed)) for item in found]
    return {
        "at": certs.iso(wanted.at),
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
    }


def chain(cluster: Cluster, wanted: rules.Requirements) -> Facts | None:
    """Whether the identity controller takes the issuer: what it reads is tls.crt and the ConfigMap, nothing else."""
    issuer, anchors = (_pem(cluster.certificates(part)) for part in ("issuer", "anchors"))
    if not issuer or not anchors:
        return None
    workload = verify_chains.workload_name(linkerd_namespace=_namespace(cluster), trust_domain=wanted.trust_domain)
    named = replace(wanted, workload=workload)
    return verify_chains.verify(certs.parse_bundle(issuer), certs.parse_bundle(anchors), named).facts()


def disagreements(
    vault: Facts,
    clusters: list[Cluster],
    chains: dict[str, Facts | None],
    leaves: dict[str, Facts | None],
    at: datetime,
) -> Iterator[Disagreement]:
    if vault["problem"]:
        yield Disagreement("vault_unreadable", "Vault", f"Vault could not be asked for its issuers: {vault['problem']}")
    for issuer in vault["unreadable"]:
        name = f"{issuer['issuer_name'] or issuer['issuer_id']} of {vault['mount']}"
        yield Disagreement(
            "vault_issuer_unreadable",
            "Vault",
            f"The certificate of issuer {name} cannot be read, so it is not compared: {issuer['problem']}. "
            "Delete the issuer (vault_pki_issuer), or allow this disagreement.",
        )
    if not clusters:
        yield Disagreement(
            "no_clusters", "inventory", "No cluster was asked, so nothing is proved. Is the group clusters empty?"
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
        yield disagree("cluster_unreadable", "cluster", f"The cluster could not be asked: {cluster.problem}")
    for part, code in (
        ("anchors", "anchors_unreadable"),
        ("issuer", "issuer_unreadable"),
        ("signer", "signer_unreadable"),
    ):
        place = cluster.reading.get(part, {})
        if place.get("problem"):
            yield disagree(code, place["where"], f"{place['where']} {place['problem']}. {ADVICE[part]}")
    anchors = cluster.certificates("anchors")
    if anchors:
        yield from _anchors(disagree, cluster, anchors, vault, at)
    if found is not None and not found["verified"]:
        yield from _issuer(disagree, cluster, found)
    yield from _signer(disagree, cluster, anchors)
    yield from _renewal(disagree, cluster, at)
    if cluster.reading.get("pods_problem"):
        yield disagree(
            "pod_anchors_unreadable",
            "pods",
            f"The pods {cluster.reading['pods_problem'].rstrip('.')}. Allow the login to list pods of all namespaces.",
        )
    for group in cluster.reading.get("pods", []):
        yield from _pods(disagree, group, anchors)
    if leaves is not None:
        yield from certified.disagreements(disagree, leaves)
    yield from _check(disagree, cluster.check)


ADVICE = {
    "anchors": "Look at the Bundle: kubectl describe bundle linkerd-identity-trust-roots",
    "issuer": "Look at cert-manager's Certificate: kubectl describe certificate -A",
    "signer": "Linkerd does not need it, linkerd check does. Does the issuer in Vault have its whole chain?",
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
            f"The {where} holds a certificate that is no self-signed CA: {_subjects(not_roots)}. "
            "Look at the Bundle's sources: kubectl describe bundle linkerd-identity-trust-roots",
        )
    outside = [one for one in anchors if not one["not_before"] <= certs.iso(at) <= one["not_after"]]
    if outside:
        yield disagree(
            "anchor_expired",
            where,
            f"The {where} holds an anchor that is not valid at {certs.iso(at)}: "
            f"{'; '.join(f'''{one['subject']}, {one['not_before']} to {one['not_after']}''' for one in outside)}. "
            "Take it out once nothing is signed by it.",
        )
    known = _fingerprints(vault["issuers"])
    strangers = [one for one in anchors if one["fingerprint_sha256"] not in known]
    if strangers and not vault["problem"]:
        yield disagree(
            "anchor_not_in_vault",
            where,
            f"The cluster trusts {_subjects(strangers)}, which Vault at {vault['address']} does not have. It has: "
            f"{_subjects(vault['issuers']) or 'no issuer'}. "
            "Is this the right Vault, and has a Vault in dev mode lost its memory?",
        )


def is_refused(found: Facts) -> bool:
    """Whether Linkerd itself would not take the issuer; that too little time is left is only the operator's wish."""
    return any(reason["code"] != "expires_soon" for reason in found["reasons"])


def _issuer(disagree: Any, cluster: Cluster, found: Facts) -> Iterator[Disagreement]:
    where, subject, reasons = cluster.reading["issuer"]["where"], found["path"][0]["subject"], found["reasons"]
    why = " ".join(f"{reason['message'].rstrip('.')}." for reason in reasons)
    if is_refused(found):
        yield disagree(
            "issuer_refused",
            where,
            f"Linkerd refuses the identity issuer {subject} ({', '.join(found['refused_by'])}): {why} "
            "Deleting the Secret has cert-manager sign it anew; kubectl describe certificate -n "
            f"{_namespace(cluster)} linkerd-identity-issuer tells why it does not.",
            reasons=reasons,
        )
    else:
        yield disagree(
            "expires_soon",
            where,
            f"The identity issuer {subject} is good, with less time left than asked for: {why} An issuer is renewed by "
            "renew_issuer.yml, and issued for longer with linkerd_identity_duration; an anchor needs a new root.",
            reasons=reasons,
        )


def _signer(disagree: Any, cluster: Cluster, anchors: list[Facts]) -> Iterator[Disagreement]:
    others = [one for one in cluster.certificates("signer") if one["fingerprint_sha256"] not in _fingerprints(anchors)]
    if anchors and others:
        where, there = cluster.reading["signer"]["where"], cluster.reading["anchors"]["where"]
        secret, key = where.rsplit(", ", 1)
        yield disagree(
            "signer_not_in_anchors",
            where,
            f"{key} of the {secret} ({_subjects(others)}) is not in the {there} ({_subjects(anchors)}). "
            "`linkerd check` reads the former, the mesh trusts the latter. "
            "site.yml --tags linkerd brings the anchors up to date.",
        )


def _renewal(disagree: Any, cluster: Cluster, at: datetime) -> Iterator[Disagreement]:
    due = cluster.reading.get("renewal_time")
    if due and at > datetime.fromisoformat(due) + OVERDUE:
        yield disagree(
            "renewal_overdue",
            cluster.reading["issuer"]["where"],
            f"cert-manager was to renew the identity issuer at {due} and has not. Its newest request tells why: "
            f"kubectl get certificaterequests -n {_namespace(cluster)}. Is Vault reachable for it, is its token alive?",
        )


def _pods(disagree: Any, group: Facts, anchors: list[Facts]) -> Iterator[Disagreement]:
    pods, where, whole = _named(group["pods"]), f"{len(group['pods'])} pod(s)", {"pods": group["pods"]}
    restart = "kubectl rollout restart of what they belong to gives them those of the ConfigMap."
    if group["problem"]:
        yield disagree(
            "pod_anchors_unreadable", where, f"The anchors of {pods}: {group['problem']}. {restart}", **whole
        )
    elif group["evidence"] == "started_before":
        yield disagree(
            "pod_anchors_unknown",
            where,
            f"{pods} took the anchors when they started, and started before the ConfigMap was last written. What they "
            f"carry cannot be read from outside. {restart}",
            **whole,
        )
    elif group["evidence"] == "spec" and anchors:
        has, should = _fingerprints(group["certificates"]), _fingerprints(anchors)
        lacks = [one for one in anchors if one["fingerprint_sha256"] not in has]
        more = [one for one in group["certificates"] if one["fingerprint_sha256"] not in should]
        parts = [f"do not trust {_subjects(lacks)}"] if lacks else []
        parts += [f"trust {_subjects(more)}, which is not in the ConfigMap"] if more else []
        if parts:
            yield disagree("pod_anchors_differ", where, f"{pods} {' and '.join(parts)}. {restart}", **whole)


def _check(disagree: Any, check: Facts) -> Iterator[Disagreement]:
    if check and not check.get("passed"):
        found = "; ".join((check_facts(check) or {})["failed"])  # in check mode it does not fail and has no message
        yield disagree(
            "linkerd_check", "linkerd check", str(check.get("msg") or f"linkerd check did not pass: {found}")
        )


def between_clusters(clusters: list[Cluster]) -> Iterator[Disagreement]:
    """Clusters of one PKI trust the same anchors, else their meshes cannot be joined."""
    groups: dict[frozenset[str], list[Cluster]] = {}
    for cluster in clusters:
        if cluster.certificates("anchors"):
            groups.setdefault(frozenset(_fingerprints(cluster.certificates("anchors"))), []).append(cluster)
    if len(groups) > 1:
        trust = [
            f"{_named([cluster.name for cluster in alike])} trust(s) {_subjects(alike[0].certificates('anchors'))}"
            for alike in groups.values()
        ]
        yield Disagreement(
            "clusters_differ",
            "clusters",
            f"The clusters do not trust the same anchors: {'; '.join(trust)}. "
            "site.yml for all of them makes them alike.",
        )


def check_facts(check: Facts) -> Facts | None:
    """Of what linkerd check said only the counts and what did not pass."""
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
    """Each with the start of its key identifier, for roots that follow each other often have one name."""
    return "; ".join(f"{one['subject']} (SKI {(one['subject_key_identifier'] or 'none')[:16]})" for one in certificates)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _namespace(cluster: Cluster) -> str:
    where: str = cluster.reading["issuer"]["where"]
    return where.removeprefix("Secret ").partition("/")[0]
