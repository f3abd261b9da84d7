# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of Vault and the clusters, from the results of modules. Private to this collection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd.sources import SCHEME_OF_CHART
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report.certified import (
    Pool,
    accept_long_names,
    has_just_started,
    parsed,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import phases
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.phases import Anchors, Cluster, Pod
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Node

Facts = dict[str, Any]
# Time from the issue of an identity issuer until every identity controller has loaded it: the kubelet of each one
# writes the changed Secret within two minutes.
LOADED_AFTER = timedelta(minutes=5)


class ObservedState:
    """The clusters as they were read, and all certificates by their fingerprint."""

    def __init__(self, readings: dict[str, Facts], issuers: list[Facts], ignored_pods: Sequence[str] = ()) -> None:
        self.ignored_pods = ignored_pods
        self.facts = {one["fingerprint_sha256"]: one for one in issuers}
        self.issuers = {one["issuer_name"]: one["fingerprint_sha256"] for one in issuers if one["issuer_name"]}
        with accept_long_names():
            self.clusters = [self._cluster(name, reading, issuers) for name, reading in readings.items()]

    def expired(self, at: datetime) -> Anchors:
        """Trust anchors, roots in use, identity issuers and certificates above them that have expired."""
        found = phases.roots_in_use(self.clusters).union(*(one.issuer_path | one.anchors for one in self.clusters))
        return frozenset(one for one in found if datetime.fromisoformat(self.facts[one]["not_after"]) <= at)

    def _cluster(self, name: str, reading: Facts, issuers: list[Facts]) -> Cluster:
        pool = Pool(reading, issuers)
        signer = root(pool, pool.issuer[0], pool.issuer[1:]) if pool.issuer else None
        above = pool.signers(pool.issuer[0], pool.issuer[1:]) if pool.issuer else []
        path = (reading.get("cert_manager_issuer") or {}).get("path")
        found = Cluster(
            name,
            fingerprints(reading["anchors"]["certificates"]),
            signer,
            pods(reading, pool, self.ignored_pods),
            next_signer=next((root_of(pool, one) for one in issuers if signs_at(one, path or "")), None),
            issuer_in_use=issuer_in_use(reading),
            obsolete_issuer=bool(reading["issuer"].get("obsolete_key")),
            anchors_from_bundle=bool(reading["anchors"]["bundle"]),
            anchors_in_values=bool(reading["anchors"]["in_values"]),
            issuer_from_secret=reading["issuer_scheme"] != SCHEME_OF_CHART,
            issuer_path=frozenset(certs.fingerprint(one.certificate) for one in [*pool.issuer[:1], *above]),
        )
        self.facts |= pool.facts
        return found


def root(pool: Pool, certificate: Node, presented: list[Node]) -> str | None:
    """Fingerprint of the root or trust anchor that a certificate chains to; None if it is unknown."""
    path = pool.signers(certificate, presented)
    if not path or not (path[-1] in pool.anchors or certs.is_self_signed(path[-1].certificate)):
        return None
    return certs.fingerprint(path[-1].certificate)


def root_of(pool: Pool, issuer: Facts) -> str | None:
    """Fingerprint of the root above an issuer of Vault, which can be the issuer itself."""
    (node,) = pool.add([issuer])
    return issuer["fingerprint_sha256"] if certs.is_self_signed(node.certificate) else root(pool, node, [])


def signs_at(issuer: Facts, path: str) -> bool:
    """Whether a path in Vault, such as `pki/issuer/linkerd-root-1/sign-intermediate`, signs with an issuer."""
    names = [issuer["issuer_name"], issuer.get("issuer_id")]
    prefixes = [f"{issuer.get('mount')}/issuer/{name}/" for name in names if name]
    if issuer.get("is_default"):
        prefixes += [f"{issuer.get('mount')}/{name}/" for name in ("issuer/default", "root")]
    return path.lstrip("/").startswith(tuple(prefixes))


def issuer_in_use(reading: Facts) -> bool:
    """Whether the identity controller has loaded the issuer in the Secret.

    It has if it started after the last change of the Secret, or if the issuer signed all certificates of workloads
    since a time at which every pod of the controller must have loaded it. The newest one shows this for one pod only.
    """
    if reading["issuer"].get("evidence") == "started_after":
        return True
    signed = [
        (leaf["not_before"], [one["fingerprint_sha256"] for one in group["certificates"][:1]])
        for group in reading.get("leaves") or []
        for leaf in group["leaves"]
    ]
    current = reading["issuer"]["certificates"][:1]
    loaded = [datetime.fromisoformat(one["not_before"]) + LOADED_AFTER for one in current]
    recent = [issuer for time, issuer in signed if loaded and datetime.fromisoformat(time) >= loaded[0]]
    return bool(recent) and all(issuer == [current[0]["fingerprint_sha256"]] for issuer in recent)


def fingerprints(certificates: list[Facts]) -> Anchors:
    return frozenset(one["fingerprint_sha256"] for one in certificates)


def is_young(missing: Facts) -> bool:
    """Whether a proxy has just started. It requests its first certificate, and the identity controller signs it."""
    started, read = missing["started_at"], missing.get("read_at")
    return bool(missing["code"] != "forbidden" and started and read and has_just_started(started, read))


def pods(reading: Facts, pool: Pool, ignored: Sequence[str]) -> tuple[Pod, ...]:
    """The meshed pods, each with its anchors and the root above its certificate.

    `ignored` are patterns of names for fnmatch.
    """
    roots: dict[str, str | None] = {}
    starting = {one["pod"] for one in reading.get("leaves_missing") or [] if one["code"] == "starting" or is_young(one)}
    for group in reading.get("leaves") or []:
        presented = pool.add(group["certificates"])
        roots |= {leaf["pod"]: root(pool, parsed(leaf), presented) for leaf in group["leaves"]}
    distributed = fingerprints(reading["anchors"]["certificates"])
    carried: dict[str, Anchors | None] = {}
    for group in reading["pods"]:
        # What a pod of the control plane read before the last change of the ConfigMap is unknown: None.
        by_evidence = {"spec": fingerprints(group["certificates"]), "started_after": distributed}
        carried |= dict.fromkeys(group["pods"], by_evidence.get(group["evidence"]))
    names = sorted(name for name in carried if not any(fnmatchcase(name, pattern) for pattern in ignored))
    return tuple(Pod(name, carried[name], roots.get(name), name in starting) for name in names)
