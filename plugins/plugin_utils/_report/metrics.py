# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as metrics, in text that is valid as Prometheus text and as OpenMetrics. Private to this collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import comparison

Facts = dict[str, Any]
Sample = tuple[dict[str, str], float]
PREFIX = "servicemesh_pki_"
GLOBAL_CODES = frozenset({"vault_unreadable", "vault_issuer_unreadable", "no_clusters", "clusters_differ"})
HELP = {
    "certificate_not_before_timestamp_seconds": "Start of the validity of a certificate.",
    "certificate_not_after_timestamp_seconds": "End of the validity of a certificate.",
    "issuer_renewal_timestamp_seconds": "Time at which cert-manager renews the identity issuer.",
    "credential_not_after_timestamp_seconds": "End of the validity of the credential that cert-manager has for Vault.",
    "issuance_failures": "Number of attempts in a row in which cert-manager failed to issue the identity issuer.",
    "cert_manager_issuer_ready": "Whether the issuer of cert-manager is Ready.",
    "bundle_synced": "Whether trust-manager has distributed the trust anchors.",
    "workload_certificates": "Number of certificates that pods present.",
    "workload_first_not_after_timestamp_seconds": "Time at which the first certificate of a pod expires.",
    "rotation_phase": "Phase of the rotation to a root, from 1, create, to 7, done.",
    "disagreements": "Number of disagreements with this code.",
    "verification_timestamp_seconds": "Time of the last verification.",
    "cluster_verification_timestamp_seconds": "Time of the last verification that read this cluster.",
    "verification_success": "Whether the last verification found no disagreement, except those that are allowed.",
}


def text(report: Facts) -> str:
    """Return one gauge for each key of HELP that has samples, in the order of HELP."""
    found: dict[str, dict[str, float]] = {name: {} for name in HELP}
    for name, (labels, value) in _samples(report):
        found[name].setdefault(_labels(labels), value)  # a source may contain a certificate twice
    lines = [line for name, samples in found.items() if samples for line in _family(PREFIX + name, HELP[name], samples)]
    return "".join(f"{line}\n" for line in [*lines, "# EOF"])


def _family(name: str, description: str, samples: dict[str, float]) -> list[str]:
    return [
        f"# HELP {name} {description}",
        f"# TYPE {name} gauge",
        *(f"{name}{labels} {value:.15g}" for labels, value in samples.items()),
    ]


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels.items()) + "}"


def escape(value: str) -> str:
    """Escape the value of a label. A character that UTF-8 cannot encode becomes a question mark."""
    encodable = value.encode("utf-8", "replace").decode()
    return encodable.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def timestamp(value: str) -> float:
    return datetime.fromisoformat(value).timestamp()


def _samples(report: Facts) -> Iterator[tuple[str, Sample]]:
    vault = {"vault": str(report["vault"]["address"])}
    for one in report["vault"]["issuers"]:
        where = f"issuer {one.get('issuer_name') or one.get('issuer_id') or ''} of {report['vault']['mount']}"
        yield from _validity({**vault, "source": "vault", "object": where}, one)
    for cluster in report["clusters"]:
        yield from _cluster(cluster)
        if not cluster["problem"]:
            labels = {"cluster": str(cluster["name"])}
            yield "cluster_verification_timestamp_seconds", (labels, timestamp(report["at"]))
    if report["rotation"]:
        yield "rotation_phase", ({**vault, "root": report["rotation"]["target"]}, report["rotation"]["phase"])
    yield from _disagreements(report, vault)
    yield "verification_timestamp_seconds", (vault, timestamp(report["at"]))
    yield "verification_success", (vault, int(report["agreed"]))


def _validity(labels: dict[str, str], one: Facts) -> Iterator[tuple[str, Sample]]:
    labels = {**labels, "subject": one["subject"], "fingerprint_sha256": one["fingerprint_sha256"]}
    for end in ("not_before", "not_after"):
        yield f"certificate_{end}_timestamp_seconds", (labels, timestamp(one[end]))


def _cluster(cluster: Facts) -> Iterator[tuple[str, Sample]]:
    labels = {"cluster": str(cluster["name"])}
    for part, first, others in (
        ("anchors", "anchor", "anchor"),
        ("issuer", "issuer", "intermediate"),
        ("signer", "signer", "signer"),
    ):
        source = cluster.get(part, {})
        for position, one in enumerate(source.get("certificates", [])):
            name = others if position else first
            yield from _validity({**labels, "source": name, "object": source["where"]}, one)
    if cluster.get("renewal_time"):
        yield "issuer_renewal_timestamp_seconds", (labels, timestamp(cluster["renewal_time"]))
    yield from _controllers(labels, cluster)
    yield from _workloads(labels, cluster["certified"])


def _controllers(labels: dict[str, str], cluster: Facts) -> Iterator[tuple[str, Sample]]:
    if cluster.get("failed_attempts") is not None:
        yield "issuance_failures", (labels, cluster["failed_attempts"])
    for key, name in (("cert_manager_issuer", "cert_manager_issuer_ready"), ("bundle", "bundle_synced")):
        state = cluster.get(key)
        if state:
            yield name, ({**labels, "object": state["where"]}, int(state["ready"]))
    credential = cluster.get("credential") or {}
    if credential.get("not_after"):
        named = {**labels, "object": credential["where"]}
        yield "credential_not_after_timestamp_seconds", (named, timestamp(credential["not_after"]))


def _workloads(labels: dict[str, str], certified: Facts | None) -> Iterator[tuple[str, Sample]]:
    if certified is None:
        return
    if certified["certified"] or not (certified["forbidden"] or certified["unreadable"]):
        yield "workload_certificates", (labels, certified["certified"])
    if certified["groups"]:
        first = min(timestamp(group["first_end"]) for group in certified["groups"])
        yield "workload_first_not_after_timestamp_seconds", (labels, first)


def _disagreements(report: Facts, vault: dict[str, str]) -> Iterator[tuple[str, Sample]]:
    """Yield every code, because an alert on a series that vanishes cannot be distinguished from one that recovers."""
    found = Counter((item["cluster"], item["code"], bool(item["allowed"])) for item in report["disagreements"])
    locations: list[tuple[Any, dict[str, str], frozenset[str]]] = [(None, vault, GLOBAL_CODES)]
    locations += [
        (one["name"], {"cluster": str(one["name"])}, comparison.CODES - GLOBAL_CODES) for one in report["clusters"]
    ]
    for name, labels, codes in locations:
        for code in sorted(codes):
            for allowed in (False, True):
                count = found[name, code, allowed]
                if count or not allowed:
                    given = {**labels, "code": code, "allowed": str(allowed).lower()}
                    yield "disagreements", (given, count)
