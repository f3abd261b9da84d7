# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which issuer and root certified which workloads, and which of their certificates are a problem. Private.

A proxy renews its certificate after 70 % of its validity, and after a failure when 70 % of the rest have passed, which
is after 91 % (linkerd2-proxy: linkerd/proxy/identity-client/src/certify.rs). So after OVERDUE two attempts have failed.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import linkerd, oids, webpki
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.search import Signatures

Facts = dict[str, Any]
CODES = frozenset(
    {
        "pod_leaf_unknown_issuer",
        "pod_leaf_untrusted",
        "pod_leaf_expired",
        "pod_leaf_near_end",
        "pod_identity_differs",
        "issuer_not_in_use",
        "pod_without_leaf",
        "pod_leaf_unreadable",
    }
)
OVERDUE = 0.92  # of the validity of a certificate
UPDATE = timedelta(minutes=10)  # in which the kubelets update the Secret in the pods of the identity controller
GRACE = timedelta(minutes=2)  # from the start of a proxy to its first certificate
MAX_NAMES = 3  # pods in a message
LOGS = "kubectl logs -n <namespace> <pod> -c linkerd-proxy"
RESTART = "Run `kubectl rollout restart` for their workloads, so that the current issuer certifies them."


class Pool:
    """The certificates of one cluster and of Vault, each parsed once."""

    def __init__(self, reading: Facts, vault_issuers: list[Facts]) -> None:
        self.facts: dict[str, Facts] = {}
        self.signatures = Signatures()
        self._nodes: dict[str, Node] = {}
        self.anchors = self.add(reading["anchors"]["certificates"])
        self.issuer = self.add(reading["issuer"]["certificates"])
        self.others = [*self.add(reading["signer"]["certificates"]), *self.add(vault_issuers)]

    def add(self, certificates: list[Facts]) -> list[Node]:
        found = []
        for one in certificates:
            fingerprint = one["fingerprint_sha256"]
            if fingerprint not in self._nodes:
                self._nodes[fingerprint], self.facts[fingerprint] = parsed(one), one
            found.append(self._nodes[fingerprint])
        return found

    def signers(self, leaf: Node, presented: list[Node]) -> list[Node]:
        """Return the certificates above a leaf, up to an anchor, a root, or one whose signer is not known."""
        pool, path = [*presented, *self.issuer, *self.anchors, *self.others], [leaf]
        while not (path[1:] and (path[-1] in self.anchors or certs.is_self_signed(path[-1].certificate))):
            signer = next((one for one in pool if one not in path and self.signatures(path[-1], one)), None)
            if signer is None:
                break
            path.append(signer)
        return path[1:]

    def reasons(self, leaf: Node, presented: list[Node], at: datetime) -> list[Facts]:
        """Return why other proxies refuse a leaf, as a server or as a client. Its own validity is left out.

        They verify with the certificates that the proxy presents, and no others. If it presents only its own, the
        issuer in the Secret is used, which it got with its certificate.
        """
        reasons = linkerd.Reasons()
        for usage in (oids.SERVER_AUTH, oids.CLIENT_AUTH):
            found = webpki.verify(leaf, presented or self.issuer, self.anchors, at, usage, self.signatures)
            reasons.add((linkerd.PROXIES,), found.reasons)
        own = {(code, leaf.subject) for code in ("expired", "not_yet_valid")}
        return [one.facts() for one in reasons.all() if (one.code, one.subject) not in own]


def parsed(facts: Facts) -> Node:
    return Node(certs.parse_bundle(facts["certificate"])[0])


def evaluate(reading: Facts, vault_issuers: list[Facts], at: datetime) -> Facts | None:
    """Return what the certificates of the pods of a cluster show, or None if they were not read."""
    if reading.get("leaves") is None:
        return None
    with accept_long_names():
        return _evaluate(reading, vault_issuers, at)


@contextlib.contextmanager
def accept_long_names() -> Iterator[None]:
    """Silence a warning of cryptography: Linkerd writes identities of more than 64 characters into common names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attribute's length must be", UserWarning)
        yield


def _evaluate(reading: Facts, vault_issuers: list[Facts], at: datetime) -> Facts:
    pool, expected = Pool(reading, vault_issuers), identities(reading)
    groups: dict[tuple[Any, ...], Facts] = {}
    found: dict[str, list[Facts]] = {"expired": [], "near_end": [], "differs": [], "not_in_use": []}
    for presented in reading["leaves"]:
        above = pool.add(presented["certificates"])
        for leaf in presented["leaves"]:
            group = group_of(pool, parsed(leaf), above, at)
            key = (group["issuer_fingerprint"], group["root_fingerprint"], tuple(str(one) for one in group["reasons"]))
            groups.setdefault(key, group)["leaves"].append(leaf)
            if not leaf["not_before"] <= certs.iso(at) <= leaf["not_after"]:
                found["expired"].append(validity(leaf))
            elif elapsed(leaf, at) > OVERDUE:
                found["near_end"].append(validity(leaf))
            if not leaf["identity"].endswith(expected):
                found["differs"].append({"pod": leaf["pod"], "identity": leaf["identity"]})
            if is_of_former_issuer(leaf, group["issuer_fingerprint"], reading["issuer"]):
                found["not_in_use"].append(validity(leaf))
    return {
        "certified": sum(len(group["leaves"]) for group in groups.values()),
        "groups": [summary(pool, group) for group in sorted(groups.values(), key=lambda one: -len(one["leaves"]))],
        "identities": expected,
        "issuer_since": reading["issuer"].get("changed_at"),
        **found,
        **missing(reading["leaves_missing"], at),
    }


def group_of(pool: Pool, leaf: Node, presented: list[Node], at: datetime) -> Facts:
    """Return a new group for a leaf. Leaves with the same signers and reasons belong together."""
    signers = [certs.fingerprint(one.certificate) for one in pool.signers(leaf, presented)]
    return {
        "issuer_fingerprint": signers[0] if signers else None,
        "root_fingerprint": signers[-1] if signers[1:] else None,
        "issuer_name": leaf.issuer,
        "reasons": pool.reasons(leaf, presented, at) if pool.anchors else [],
        "compared": bool(pool.anchors),
        "leaves": [],
    }


def summary(pool: Pool, group: Facts) -> Facts:
    leaves = group["leaves"]
    first = min(leaves, key=lambda one: one["not_after"])
    return {
        "issuer": pool.facts.get(group["issuer_fingerprint"]),
        "root": pool.facts.get(group["root_fingerprint"]),
        "issuer_name": group["issuer_name"],
        "trusted": group["compared"] and not group["reasons"],
        "compared": group["compared"],
        "reasons": group["reasons"],
        "pods": [one["pod"] for one in leaves],
        "first_end": first["not_after"],
        "first_end_pod": first["pod"],
    }


def elapsed(leaf: Facts, at: datetime) -> float:
    """Return the part of the validity that has passed, 0 to 1."""
    start, end = datetime.fromisoformat(leaf["not_before"]), datetime.fromisoformat(leaf["not_after"])
    return (at - start) / max(end - start, timedelta(seconds=1))


def validity(leaf: Facts) -> Facts:
    return {key: leaf[key] for key in ("pod", "not_before", "not_after")}


def identities(reading: Facts) -> str:
    """Return how the identity of every workload ends (linkerd2: charts/partials/templates/_proxy.tpl).

    It is empty if the trust domain could not be read.
    """
    domain, namespace = reading.get("trust_domain"), namespace_of(reading)
    return f".serviceaccount.identity.{namespace}.{domain}" if domain else ""


def namespace_of(reading: Facts) -> str:
    """Return the namespace of Linkerd."""
    where: str = reading["issuer"]["where"]
    return where.removeprefix("Secret ").partition("/")[0]


def is_of_former_issuer(leaf: Facts, signer: str | None, issuer: Facts) -> bool:
    """Return whether another issuer signed a leaf after the controller should have read the one in the Secret."""
    since, current = issuer.get("changed_at"), issuer["certificates"]
    if not (since and current and signer) or signer == current[0]["fingerprint_sha256"]:
        return False
    return datetime.fromisoformat(leaf["not_before"]) > datetime.fromisoformat(since) + UPDATE


def leads_to_anchor(certificate: Facts, reading: Facts, vault_issuers: list[Facts]) -> bool:
    """Return whether a trust anchor signed a certificate, directly or through others."""
    pool = Pool(reading, vault_issuers)
    (node,) = pool.add([certificate])
    return any(one in pool.anchors for one in pool.signers(node, []))


def has_just_started(started: str, read: str) -> bool:
    """Return whether a proxy may still wait for its first certificate. Both are times in ISO 8601."""
    return datetime.fromisoformat(read) - datetime.fromisoformat(started) < GRACE


def missing(found: list[Facts], at: datetime) -> Facts:
    """Return the pods whose certificate was not read, by the cause."""
    parts: dict[str, list[Facts]] = {"without": [], "starting": [], "unreadable": [], "forbidden": []}
    names = {"refused": "without", "unreadable": "unreadable", "forbidden": "forbidden", "starting": "starting"}
    for one in found:
        started = one["started_at"]
        young = started is None or has_just_started(started, one.get("read_at") or certs.iso(at))
        part = "starting" if young and one["code"] != "forbidden" else names[one["code"]]
        parts[part].append({"pod": one["pod"], "problem": one["problem"]})
    return parts


def disagreements(disagree: Callable[..., Any], found: Facts, namespace: str, at: datetime) -> Iterator[Any]:
    """Yield the problems with the certificates of workloads."""
    for group in found["groups"]:
        pods, where, details = join(group["pods"], ", "), f"{len(group['pods'])} pod(s)", {"pods": group["pods"]}
        if group["issuer"] is None:
            yield disagree(
                "pod_leaf_unknown_issuer",
                where,
                f"The certificates of {pods} name {group['issuer_name']} as issuer, but no certificate in the cluster "
                f"or in Vault has the key that signed them. {RESTART}",
                **details,
            )
        elif group["reasons"]:
            why = " ".join(f"{one['message'].rstrip('.')}." for one in group["reasons"])
            root = name(group["root"]) if group["root"] else "an unknown root"
            yield disagree(
                "pod_leaf_untrusted",
                where,
                f"The certificates of {pods}, signed by {name(group['issuer'])} below {root}, are not valid for the "
                f"trust anchors in the ConfigMap: {why} {RESTART}",
                reasons=group["reasons"],
                **details,
            )
    yield from _differing(disagree, found, namespace)
    yield from _expiring(disagree, found, at)
    yield from _missing(disagree, found)


def _differing(disagree: Callable[..., Any], found: Facts, namespace: str) -> Iterator[Any]:
    if pods := [one["pod"] for one in found["differs"]]:
        names = join([f"{one['pod']} is {one['identity']}" for one in found["differs"]])
        yield disagree(
            "pod_identity_differs",
            f"{len(pods)} pod(s)",
            f"Linkerd expects identities that end in {found['identities']}, but {names}. Meshed clients cannot connect "
            "to these pods. Run `kubectl rollout restart` for their workloads, or set Linkerd's identityTrustDomain "
            "back to the former value.",
            pods=pods,
        )
    if pods := [one["pod"] for one in found["not_in_use"]]:
        yield disagree(
            "issuer_not_in_use",
            f"{len(pods)} pod(s)",
            f"{join(pods, ', ')} got a certificate from another issuer than the one that the Secret has contained "
            f"since {found['issuer_since']}. So the identity controller, or one of its replicas, does not use the "
            "issuer in the Secret, and no pod gets a certificate when its own has expired. Run "
            f"`kubectl rollout restart deployment -n {namespace} linkerd-identity`.",
            pods=pods,
        )


def _expiring(disagree: Callable[..., Any], found: Facts, at: datetime) -> Iterator[Any]:
    log = f"Look for the cause in the log of the proxy: {LOGS}"
    clock = f"The clock of this machine shows {certs.iso(at)}. Compare it with those of the nodes."
    left = f"a certificate with less than {1 - OVERDUE:.0%} of its validity left"
    early = [one for one in found["expired"] if one["not_before"] > certs.iso(at)]
    expired = [one for one in found["expired"] if one not in early]
    for items, code, what, limit, advice in (
        (expired, "pod_leaf_expired", "an expired certificate", "until {not_after}", log),
        (early, "pod_leaf_expired", "a certificate that is not yet valid", "from {not_before}", clock),
        (found["near_end"], "pod_leaf_near_end", left, "until {not_after}", log),
    ):
        if pods := [one["pod"] for one in items]:
            limits = join([f"{one['pod']} {limit.format(**one)}" for one in items])
            message = f"{len(pods)} pod(s) present {what}: {limits}. {advice}"
            yield disagree(code, f"{len(pods)} pod(s)", message, pods=pods)


def _missing(disagree: Callable[..., Any], found: Facts) -> Iterator[Any]:
    for part, code, message, advice in (
        (
            "without",
            "pod_without_leaf",
            "present no certificate, so meshed clients cannot connect to them",
            f"Look at the log of the proxy: {LOGS}",
        ),
        (
            "unreadable",
            "pod_leaf_unreadable",
            "have a certificate that could not be read",
            "Check that the API server reaches the kubelets, or raise pki_verify_leaves_timeout.",
        ),
    ):
        pods = [one["pod"] for one in found[part]]
        if pods:
            problems = join([f"{one['pod']}: {one['problem'].rstrip('.')}" for one in found[part]])
            yield disagree(
                code, f"{len(pods)} pod(s)", f"{len(pods)} pod(s) {message}. {problems}. {advice}", pods=pods
            )


def name(certificate: Facts) -> str:
    """Return the subject with the start of the key identifier, because roots often have the same subject."""
    return f"{certificate['subject']} (SKI {(certificate['subject_key_identifier'] or 'none')[:16]})"


def join(items: list[str], separator: str = "; ") -> str:
    """Return the first items and the number of the others."""
    more = f" and {len(items) - MAX_NAMES} more" if len(items) > MAX_NAMES else ""
    return separator.join(items[:MAX_NAMES]) + more
