# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which workloads are certified by which issuer and root, and what is wrong with their certificates. Private.

A proxy renews its certificate when 70 % of its validity is over (linkerd2-proxy: linkerd/proxy/identity-client), so one
that is older than OVERDUE could not be renewed for a while.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import x509
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains

Facts = dict[str, Any]
CODES = frozenset(
    {
        "pod_leaf_unknown_issuer",
        "pod_leaf_untrusted",
        "pod_leaf_expired",
        "pod_leaf_near_end",
        "pod_without_leaf",
        "pod_leaf_unreadable",
    }
)
OVERDUE = 0.85  # of the validity of a certificate
GRACE = timedelta(minutes=2)  # that a proxy may take from its start to its first certificate
SHOWN = 3  # pods that a sentence names


class Known:
    """The certificates of one cluster and of Vault, parsed once."""

    def __init__(self, reading: Facts, vault_issuers: list[Facts]) -> None:
        self.facts: dict[str, Facts] = {}
        self._parsed: dict[str, x509.Certificate] = {}
        self.anchors = self.add(reading["anchors"]["certificates"])
        self.issuer = self.add(reading["issuer"]["certificates"])
        self.others = [*self.add(reading["signer"]["certificates"]), *self.add(vault_issuers)]

    def add(self, certificates: list[Facts]) -> list[x509.Certificate]:
        found = []
        for one in certificates:
            fingerprint = one["fingerprint_sha256"]
            if fingerprint not in self._parsed:
                self._parsed[fingerprint], self.facts[fingerprint] = parsed(one), one
            found.append(self._parsed[fingerprint])
        return found

    def above(self, leaf: x509.Certificate, presented: list[x509.Certificate]) -> list[x509.Certificate]:
        """Who signed a leaf, and who signed that one, up to an anchor, a root, or one that no signer is known of."""
        pool, path = [*presented, *self.issuer, *self.anchors, *self.others], [leaf]
        while not (path[1:] and (path[-1] in self.anchors or certs.is_self_signed(path[-1]))):
            signer = next((one for one in pool if one not in path and certs.is_signed_by(path[-1], one)), None)
            if signer is None:
                break
            path.append(signer)
        return path[1:]


def parsed(facts: Facts) -> x509.Certificate:
    return certs.parse_bundle(facts["certificate"])[0]


def evaluate(reading: Facts, vault_issuers: list[Facts], at: datetime) -> Facts | None:
    """What the leaves of a cluster show; None where none were asked for."""
    if reading.get("leaves") is None:
        return None
    with warnings.catch_warnings():
        # Linkerd writes identities of more than 64 letters into common names, which cryptography warns of each time.
        warnings.filterwarnings("ignore", "Attribute's length must be", UserWarning)
        return _evaluate(reading, vault_issuers, at)


def _evaluate(reading: Facts, vault_issuers: list[Facts], at: datetime) -> Facts:
    known = Known(reading, vault_issuers)
    groups: dict[tuple[Any, ...], Facts] = {}
    expired, near_end = [], []
    for presented in reading["leaves"]:
        above = known.add(presented["certificates"])
        for leaf in presented["leaves"]:
            group = group_of(known, parsed(leaf), above, leaf, at)
            key = (group["issuer_fingerprint"], group["root_fingerprint"], tuple(str(one) for one in group["reasons"]))
            groups.setdefault(key, group)["leaves"].append(leaf)
            if not leaf["not_before"] <= certs.iso(at) <= leaf["not_after"]:
                expired.append(leaf)
            elif spent(leaf, at) > OVERDUE:
                near_end.append(leaf)
    return {
        "certified": sum(len(group["leaves"]) for group in groups.values()),
        "groups": [summary(known, group) for group in sorted(groups.values(), key=lambda one: -len(one["leaves"]))],
        "expired": [end(leaf) for leaf in expired],
        "near_end": [end(leaf) for leaf in near_end],
        **missing(reading["leaves_missing"], at),
    }


def group_of(
    known: Known, leaf: x509.Certificate, presented: list[x509.Certificate], facts: Facts, at: datetime
) -> Facts:
    """A new group for a leaf. Its own validity is no reason of the group."""
    signers = known.above(leaf, presented)
    # A meshed client has what was presented, and nothing else. Nothing above the leaf means that it could not be read.
    chain = [leaf, *(presented or known.issuer)]
    verdict = chains.verify(chain, known.anchors, chains.requirements(at)) if known.anchors else None
    own = {"expired", "not_yet_valid"}
    reasons = verdict.facts()["reasons"] if verdict else []
    subject = leaf.subject.rfc4514_string()
    return {
        "issuer_fingerprint": certs.fingerprint(signers[0]) if signers else None,
        "root_fingerprint": certs.fingerprint(signers[-1]) if signers[1:] else None,
        "issuer_name": leaf.issuer.rfc4514_string(),
        "reasons": [one for one in reasons if not (one["code"] in own and one["subject"] == subject)],
        "compared": verdict is not None,
        "leaves": [],
    }


def summary(known: Known, group: Facts) -> Facts:
    leaves = group["leaves"]
    first = min(leaves, key=lambda one: one["not_after"])
    return {
        "issuer": known.facts.get(group["issuer_fingerprint"]),
        "root": known.facts.get(group["root_fingerprint"]),
        "issuer_name": group["issuer_name"],
        "trusted": group["compared"] and not group["reasons"],
        "compared": group["compared"],
        "reasons": group["reasons"],
        "pods": [one["pod"] for one in leaves],
        "first_end": first["not_after"],
        "first_end_pod": first["pod"],
    }


def spent(leaf: Facts, at: datetime) -> float:
    """How much of its validity is over, 0 to 1."""
    start, end_ = datetime.fromisoformat(leaf["not_before"]), datetime.fromisoformat(leaf["not_after"])
    return (at - start) / max(end_ - start, timedelta(seconds=1))


def end(leaf: Facts) -> Facts:
    return {key: leaf[key] for key in ("pod", "not_before", "not_after")}


def missing(found: list[Facts], at: datetime) -> Facts:
    """Pods whose leaf was not read, by what that means."""
    parts: dict[str, list[Facts]] = {"without": [], "starting": [], "unreadable": [], "forbidden": []}
    names = {"refused": "without", "unreadable": "unreadable", "forbidden": "forbidden"}
    for one in found:
        started = one["started_at"]
        young = started is None or at - datetime.fromisoformat(started) < GRACE
        part = "starting" if young and one["code"] != "forbidden" else names[one["code"]]
        parts[part].append({"pod": one["pod"], "problem": one["problem"]})
    return parts


def disagreements(disagree: Callable[..., Any], found: Facts) -> Iterator[Any]:
    """Everything that is wrong with the certificates of workloads."""
    restart = "`kubectl rollout restart` of what they belong to has them certified by the current issuer."
    for group in found["groups"]:
        named, where, whole = _named(group["pods"]), f"{len(group['pods'])} pod(s)", {"pods": group["pods"]}
        if group["issuer"] is None:
            yield disagree(
                "pod_leaf_unknown_issuer",
                where,
                f"{named} present certificates of {group['issuer_name']}, and no certificate at hand has the key that "
                f"signed them. {restart}",
                **whole,
            )
        elif group["reasons"]:
            why = " ".join(f"{one['message'].rstrip('.')}." for one in group["reasons"])
            root = _called(group["root"]) if group["root"] else "no known root"
            yield disagree(
                "pod_leaf_untrusted",
                where,
                f"{named} present certificates of {_called(group['issuer'])} below {root}, which do not lead to the "
                f"trust anchors of the ConfigMap: {why} {restart}",
                reasons=group["reasons"],
                **whole,
            )
    yield from _ends(disagree, found)
    yield from _missing(disagree, found)


def _ends(disagree: Callable[..., Any], found: Facts) -> Iterator[Any]:
    log = "The log of its proxy shows why it was not renewed: kubectl logs -n <namespace> <pod> -c linkerd-proxy"
    for part, code, message in (
        ("expired", "pod_leaf_expired", "present a certificate that is not valid now"),
        (
            "near_end",
            "pod_leaf_near_end",
            f"present a certificate with less than {1 - OVERDUE:.0%} of its validity left",
        ),
    ):
        pods = [one["pod"] for one in found[part]]
        if pods:
            ends = _some([f"{one['pod']} until {one['not_after']}" for one in found[part]])
            yield disagree(code, f"{len(pods)} pod(s)", f"{len(pods)} pod(s) {message}: {ends}. {log}", pods=pods)


def _missing(disagree: Callable[..., Any], found: Facts) -> Iterator[Any]:
    for part, code, message, advice in (
        (
            "without",
            "pod_without_leaf",
            "present no certificate, so meshed clients cannot connect to them",
            "Look at the log of the proxy: kubectl logs -n <namespace> <pod> -c linkerd-proxy",
        ),
        (
            "unreadable",
            "pod_leaf_unreadable",
            "could not be reached, so it is not known which certificate they present",
            "Check that the API server reaches the kubelets, or raise pki_verify_leaves_timeout.",
        ),
    ):
        pods = [one["pod"] for one in found[part]]
        if pods:
            problems = _some([f"{one['pod']}: {one['problem'].rstrip('.')}" for one in found[part]])
            yield disagree(
                code, f"{len(pods)} pod(s)", f"{len(pods)} pod(s) {message}. {problems}. {advice}", pods=pods
            )


def _called(one: Facts) -> str:
    return f"{one['subject']} (SKI {(one['subject_key_identifier'] or 'none')[:16]})"


def _named(names: list[str]) -> str:
    return _some(names, ", ")


def _some(items: list[str], between: str = "; ") -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return between.join(items[:SHOWN]) + more
