# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as lines for the terminal, in the format of the workshop. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Facts = dict[str, Any]
EVIDENCE = {
    "spec": "have these anchors in their specification",
    "started_after": "started after the last change of the ConfigMap",
    "started_before": "started before the last change of the ConfigMap",
}

UNREAD = {
    "without": "without a certificate",
    "starting": "that just started, still without a certificate",
    "unreadable": "whose certificate could not be read",
    "forbidden": "whose certificate was not read, because permission is missing",
}


def table(report: Facts) -> list[str]:
    return list(_lines(report))


def _lines(report: Facts) -> Iterator[str]:
    vault = report["vault"]
    yield f"Vault {vault['address']}, mount {vault['mount']}"
    for one in vault["issuers"]:
        yield from _certificate(one)
    for cluster in report["clusters"]:
        yield f"Cluster {cluster['name']}"
        for part, what in (
            ("anchors", "Trust anchor"),
            ("issuer", "Identity issuer"),
            ("signer", "Signer of the issuer"),
        ):
            source = cluster.get(part, {})
            for one in source.get("certificates", []):
                yield f"  {what} ({source['where']})"
                yield from _certificate(one)
        for group in cluster.get("pods", []):
            yield f"  {len(group['pods'])} pod(s) {EVIDENCE[group['evidence']]}{_short(group['certificates'])}"
        for one in (cluster["chain"] or {}).get("unusual", []):
            yield f"  Unusual, but the mesh works with it: {one['subject']}: {one['message']}"
        yield from _leaves(cluster["certified"])
        check = cluster["check"]
        if check:
            yield f"  linkerd check: {check['succeeded']} passed, {_count(check['allowed'], 'expected warning')}"
    rotation = report["rotation"]
    if rotation and rotation["phase"] < rotation["phases"]:
        yield (
            f"Rotation to {rotation['target']}, phase {rotation['phase']} of {rotation['phases']}, "
            f"{rotation['phase_name']}: {rotation['next']}."
        )
    yield from (f"Allowed: {sentence(item)}" for item in report["disagreements"] if item["allowed"])
    yield f"{len(failures(report))} disagreement(s)" if failures(report) else "All certificates match."


def _certificate(one: Facts) -> Iterator[str]:
    issuer = one["subject_key_identifier"] if one["self_signed"] else one["authority_key_identifier"]
    yield f"    Issuer:  {_identifier(issuer)}  {one['issuer']}"
    yield f"    Subject: {_identifier(one['subject_key_identifier'])}  {one['subject']}, until {one['not_after']}"


def _leaves(found: Facts | None) -> Iterator[str]:
    """Yield who certified how many pods, and how many certificates were not read."""
    if found is None:
        return
    for group in found["groups"]:
        issuer, root = group["issuer"], group["root"]
        yield f"  {len(group['pods'])} pod(s) certified, the first until {group['first_end']}, by"
        if issuer is None:
            yield f"    an unknown issuer, {group['issuer_name']}"
            continue
        yield from _certificate(issuer)
        if root and root["subject"] != issuer["issuer"]:
            yield f"    Root:    {_identifier(root['subject_key_identifier'])}  {root['subject']}"
    for part, what in UNREAD.items():
        if found[part]:
            yield f"  {len(found[part])} pod(s) {what}"
            yield f"    {found[part][0]['pod']}: {found[part][0]['problem']}"


def _identifier(value: str | None) -> str:
    return f"{(value or 'none')[:16]:16}"


def _short(certificates: list[Facts]) -> str:
    return (
        f" ({', '.join(_identifier(one['subject_key_identifier']).strip() for one in certificates)})"
        if certificates
        else ""
    )


def _count(items: list[str], what: str) -> str:
    return f"{len(items)} {what}{'' if len(items) == 1 else 's'}"


def failures(report: Facts) -> list[str]:
    """Return the disagreements that are not allowed, as sentences with their codes."""
    return [f"{sentence(item)} [{item['code']}]" for item in report["disagreements"] if not item["allowed"]]


def sentence(item: Facts) -> str:
    return f"{item['cluster']}: {item['message']}" if item["cluster"] else str(item["message"])
