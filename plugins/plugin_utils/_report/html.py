# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as an HTML page: the values for the template report.html.j2. Private to this collection."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import comparison, table

Facts = dict[str, Any]

# Boxes and arrows of the diagram: root to issuer to pods, and root to anchors to pods.
PARTS = ("vault", "issuer", "anchors", "pods", "signed", "certifies", "published", "trusted")
# Parts of the diagram and sources that a disagreement marks.
MARKS = {
    "vault_unreadable": ("vault",),
    "vault_issuer_unreadable": ("vault",),
    "cluster_unreadable": ("anchors", "issuer", "pods"),
    "anchors_unreadable": ("anchors", "signed", "certifies", "published", "trusted"),
    "anchor_not_a_root": ("anchors",),
    "anchor_expired": ("anchors",),
    "anchor_not_in_vault": ("vault", "anchors", "published"),
    "issuer_unreadable": ("issuer", "signed", "certifies"),
    "issuer_refused": ("issuer", "signed", "certifies"),
    "expires_soon": ("issuer",),
    "signer_unreadable": ("signer",),
    "signer_not_in_anchors": ("signer",),
    "renewal_overdue": ("issuer",),
    "certificate_missing": ("issuer",),
    "pod_anchors_unreadable": ("pods", "trusted"),
    "pod_anchors_unknown": ("pods", "trusted"),
    "pod_anchors_differ": ("pods", "trusted"),
    "pod_leaf_unknown_issuer": ("leaves", "certifies"),
    "pod_leaf_untrusted": ("leaves", "certifies"),
    "pod_leaf_expired": ("leaves", "certifies"),
    "pod_leaf_near_end": ("leaves",),
    "pod_identity_differs": ("leaves",),
    "issuer_not_in_use": ("issuer", "leaves", "certifies"),
    "pod_without_leaf": ("leaves", "certifies"),
    "pod_leaf_unreadable": ("leaves",),
    "linkerd_check": ("check",),
    "clusters_differ": ("anchors",),
}
WARNING = timedelta(days=60)  # before the expiry of an anchor, linkerd check begins to warn
NEAR = timedelta(hours=6)  # the timeline is linear up to here, and logarithmic beyond
TICKS = [
    (timedelta(days=days), text)
    for days, text in (
        (1, "1 d"),
        (7, "1 w"),
        (30, "30 d"),
        (90, "90 d"),
        (365, "1 y"),
        (3650, "10 y"),
        (10950, "30 y"),
    )
]
MIN_DISTANCE = 10  # percent of the width, between the labels of two ticks
LINE = 17  # characters in a line of a box of half the width


def page(report: Facts) -> str:
    """Return the page. All values are escaped. The template contains no script and loads nothing."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    at = datetime.fromisoformat(report["at"])
    environment.filters.update(date=date, span=lambda text: span(datetime.fromisoformat(text) - at))
    return environment.get_template("report.html.j2").render(
        report=report,
        clusters=[{**cluster, **view(report, cluster)} for cluster in report["clusters"]],
        wrong=[item for item in report["disagreements"] if not item["allowed"]],
        expected=[item for item in report["disagreements"] if item["allowed"]],
        timeline=timeline(report, at),
    )


def date(text: str) -> str:
    return f"{datetime.fromisoformat(text):%-d %b %Y, %H:%M} UTC"


def span(left: timedelta) -> str:
    """Return a length of time in its largest unit: 89 days, 22 hours, 5 minutes."""
    seconds = abs(left.total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (unit == "minute"):
            count = math.floor(seconds / size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise AssertionError("the last unit always returns")


def view(report: Facts, cluster: Facts) -> Facts:
    """Return what the page shows of a cluster: disagreements, states of the parts, diagram and sources."""
    against = [item for item in report["disagreements"] if concerns(item, cluster)]
    marks: dict[str, list[Facts]] = {}
    for item in against:
        for part in MARKS[item["code"]]:
            marks.setdefault(part, []).append(item)
        if item["code"] == "anchor_not_in_vault" and not signed_by_vault(report, cluster):
            marks.setdefault("signed", []).append(item)
    skipped = uncompared(report, cluster)
    listed = list(sources(report, cluster, marks, skipped))
    shown: set[str] = set()
    for source in listed:  # details of a certificate are only in the first source that has it
        source["shown"] = frozenset(shown)
        shown |= {one["fingerprint_sha256"] for one in source["certificates"]}
    return {
        "against": against,
        "marks": marks,
        "states": {part: state(marks.get(part, []), part not in skipped) for part in PARTS},
        "diagram": diagram(report, cluster),
        "sources": listed,
    }


def concerns(item: Facts, cluster: Facts) -> bool:
    if item["code"] == "clusters_differ":
        return bool(certificates(cluster, "anchors"))
    return item["cluster"] in (None, cluster["name"])


def signed_by_vault(report: Facts, cluster: Facts) -> bool:
    """Return whether the trust anchor of the identity issuer is an issuer in Vault."""
    path = (cluster["chain"] or {}).get("path", [])
    return bool({one["fingerprint_sha256"] for one in path[-1:]} & in_vault(report))


def in_vault(report: Facts) -> set[str]:
    return {one["fingerprint_sha256"] for one in report["vault"]["issuers"]}


def certificates(cluster: Facts, part: str) -> list[Facts]:
    found: list[Facts] = cluster.get(part, {}).get("certificates", [])
    return found


def uncompared(report: Facts, cluster: Facts) -> set[str]:
    """Return the parts that were not compared, because there is nothing to compare them with."""
    skipped = {"signed", "published"} if report["vault"]["problem"] else set()
    if not certificates(cluster, "anchors"):
        skipped |= {"vault", "issuer", "signer", "pods"}
    if not cluster.get("pods"):
        skipped |= {"pods", "trusted"}
    if not (cluster["certified"] or {}).get("certified"):
        skipped |= {"certifies", "leaves"}
    return skipped


def state(against: list[Facts], compared: bool) -> str:
    """Return good for parts that were compared and match, bad, or neutral for expected differences."""
    if any(not item["allowed"] for item in against):
        return "bad"
    return "good" if compared and not against else "neutral"


def diagram(report: Facts, cluster: Facts) -> Facts:
    """Return the boxes with their lines of text. Two paths lead from the root to the pods: signers and anchors."""
    chain = cluster["chain"] or {"path": [], "reasons": []}
    path = chain["path"]
    used = path[-1]["fingerprint_sha256"] if path else None
    anchors, issuer = (certificates(cluster, part) for part in ("anchors", "issuer"))
    known = in_vault(report)
    root = next((one for one in [*path[-1:], *anchors] if one["fingerprint_sha256"] in known), None)
    shown = next((one for one in anchors if one["fingerprint_sha256"] == used), next(iter(anchors), None))
    between = [] if comparison.is_refused(chain) else path[1:-1]
    count = sum(len(group["pods"]) for group in cluster.get("pods", []))
    return {
        "root": box(root or next(iter(report["vault"]["issuers"]), None), 2 * LINE),
        "between": [box(one, LINE) for one in reversed(between)],
        "issuer": box(issuer[0] if issuer else None, LINE),
        "anchors": {
            **box(shown, LINE),
            "kind": f"{len(anchors)} trust anchors" if anchors[1:] else "Trust anchor, ConfigMap",
        },
        "pods": "not listed" if cluster.get("pods_problem") else f"{pods(count)} with a proxy",
        "leaves": certified_line(cluster["certified"]),
    }


def pods(count: int) -> str:
    return f"{count} pod{'' if count == 1 else 's'}"


def certified_line(found: Facts | None) -> str:
    if found is None or not found["groups"]:
        return "their certificates were not read"
    first = min(group["first_end"] for group in found["groups"])
    return f"{found['certified']} certified, the first until {datetime.fromisoformat(first):%-d %b, %H:%M} UTC"


def box(one: Facts | None, width: int) -> Facts:
    if one is None:
        return {"name": "nothing found", "lines": ["nothing found"], "key_identifier": "", "until": ""}
    name = one["common_name"] or one["subject"] or "no name"
    return {
        "name": name,
        "lines": folded(name, width),
        "key_identifier": (one["subject_key_identifier"] or "none")[:16],
        "until": f"{datetime.fromisoformat(one['not_after']):%-d %b %Y}",
    }


def folded(text: str, width: int) -> list[str]:
    """Return at most two lines. The break is after a dot, a space or a hyphen if there is one."""
    if len(text) <= width:
        return [text]
    cut = max(text.rfind(mark, 0, width) for mark in ". -") + 1 or width
    rest = text[cut:].strip()
    return [text[:cut], rest if len(rest) <= width else f"{rest[: width - 1]}…"]


def sources(report: Facts, cluster: Facts, marks: dict[str, list[Facts]], skipped: set[str]) -> Iterator[Facts]:
    """Yield each source with its certificates, its disagreements, and whether it was compared."""
    vault = report["vault"]
    used = {one["fingerprint_sha256"] for one in certificates(cluster, "anchors")}
    roots = [one for one in vault["issuers"] if one["fingerprint_sha256"] in used]
    yield {
        "what": "Root",
        "where": f"Vault {vault['address']}, mount {vault['mount']}",
        "certificates": roots,
        "none": vault["problem"] or "None of its issuers is a trust anchor of this cluster.",
        "against": marks.get("vault", []),
        "compared": "vault" not in skipped,
    }
    for part, what in (("anchors", "Trust anchors"), ("issuer", "Identity issuer"), ("signer", "Signer of the issuer")):
        source = cluster.get(part)
        if source:
            against, compared = marks.get(part, []), part not in skipped
            yield {"what": what, "none": source["problem"], "against": against, "compared": compared, **source}
    for group in cluster.get("pods", []):
        yield {
            "what": pods(len(group["pods"])),
            "where": ", ".join(group["pods"]),
            "certificates": group["certificates"],
            "none": group["problem"] or STARTED[group["evidence"]],
            "against": [item for item in marks.get("pods", []) if item["pods"] == group["pods"]],
            "compared": "pods" not in skipped,
        }
    yield from leaves(cluster, marks.get("leaves", []), "leaves" not in skipped)
    if cluster.get("pods_problem"):
        yield {
            "what": "Pods",
            "where": "Pods in all namespaces",
            "certificates": [],
            "none": cluster["pods_problem"],
            "against": marks["pods"],
            "compared": False,
        }


def leaves(cluster: Facts, against: list[Facts], compared: bool) -> Iterator[Facts]:
    """Yield issuers and roots of the certificates that pods present, and the pods whose certificate was not read."""
    found = cluster["certified"]
    if found is None:
        return
    for group in found["groups"]:
        yield {
            "what": f"Certificates of {pods(len(group['pods']))}",
            "where": f"presented by {', '.join(group['pods'])}",
            "certificates": [one for one in (group["issuer"], group["root"]) if one],
            "none": f"Signed by an unknown issuer, {group['issuer_name']}.",
            "note": f"The first of them expires at {date(group['first_end'])} ({group['first_end_pod']}).",
            "against": [item for item in against if set(item["pods"]) & set(group["pods"])],
            "compared": compared and group["compared"],
        }
    for part, text in table.UNREAD.items():
        if found[part]:
            missing = [one["pod"] for one in found[part]]
            yield {
                "what": f"{pods(len(missing))} {text}",
                "where": ", ".join(missing),
                "certificates": [],
                "none": f"{found[part][0]['pod']}: {found[part][0]['problem']}",
                "against": [item for item in against if set(item["pods"]) & set(missing)],
                "compared": False,
            }


STARTED = {
    "spec": "",
    "started_after": "Started after the last change of the ConfigMap, so they have its trust anchors.",
    "started_before": "Started before the last change of the ConfigMap. Their anchors cannot be read from outside.",
}


def timeline(report: Facts, at: datetime) -> Facts:
    """Return the bars in percent of the width, with near times enlarged. A line marks the time of the report."""
    rows = list(validities(report))
    starts = [scale(row["start"] - at) for row in rows]
    ends = [scale(row["end"] - at) for row in rows]
    low = min([*starts, scale(timedelta(hours=-1))])
    high = max([*ends, scale(timedelta(days=2))])

    def position(time: datetime) -> float:
        return round(100 * (scale(time - at) - low) / (high - low), 2)

    now = position(at)
    ticks: list[Facts] = []
    for sign in (1, -1):
        for distance, text in TICKS if sign > 0 else reversed(TICKS):
            x = position(at + sign * distance) if _reachable(at, sign * distance) else -1
            taken = [now, *(tick["x"] for tick in ticks)]
            if 4 <= x <= 97 and all(abs(x - other) >= MIN_DISTANCE for other in taken):
                ticks.append({"x": x, "text": text if sign > 0 else f"-{text}"})
    for row in rows:
        row["x"], row["to"] = position(row["start"]), position(row["end"])
        row["done"] = max(row["x"], min(row["to"], now))
        row["invalid"] = not row["start"] <= at <= row["end"]
        row["points"] = [{**point, "x": position(point["time"])} for point in row["points"]]
    return {"rows": rows, "ticks": ticks, "now": now}


def _reachable(at: datetime, distance: timedelta) -> bool:
    return datetime.min.replace(tzinfo=at.tzinfo) - at < distance < datetime.max.replace(tzinfo=at.tzinfo) - at


def scale(distance: timedelta) -> float:
    return math.copysign(math.log10(1 + abs(distance / NEAR)), distance.total_seconds())


def validities(report: Facts) -> Iterator[Facts]:
    """Yield every certificate of the mesh without duplicates, with the clusters that use it. Roots are first."""
    rows: dict[str, Facts] = {}
    for cluster in report["clusters"]:
        parts = [("anchors", "trust anchor of"), ("issuer", "identity issuer of")]
        for part, what in parts:
            for depth, one in enumerate(certificates(cluster, part)):
                row = rows.setdefault(
                    one["fingerprint_sha256"], _row(one, "intermediate CA of" if depth and part == "issuer" else what)
                )
                row["clusters"].append(cluster["name"])
                if part == "issuer" and depth == 0 and cluster["renewal_time"]:
                    time = datetime.fromisoformat(cluster["renewal_time"])
                    row["points"] = [{"time": time, "text": "cert-manager renews it"}]
    yield from sorted(rows.values(), key=lambda row: (not row["anchor"], row["start"]))


def _row(one: Facts, what: str) -> Facts:
    start, end = datetime.fromisoformat(one["not_before"]), datetime.fromisoformat(one["not_after"])
    anchor = what.startswith("trust anchor")
    warns = "linkerd check begins to warn: distribute the next root before"
    return {
        "name": one["common_name"] or one["subject"],
        "what": what,
        "anchor": anchor,
        "start": start,
        "end": end,
        "not_after": one["not_after"],
        "clusters": [],
        "points": [{"time": end - WARNING, "text": warns}] if anchor and end - start > WARNING else [],
    }
