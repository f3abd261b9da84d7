# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML page as text, and the values for its template. tests/integration/report opens it in a browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from support.authority import DAY, NOW, key, make
from support.readings import EARLIER, ISSUER, NEXT, ROOT, pod, reading, report, vault

from ansible_collections.servicemesh.pki.plugins.filter.mesh import FilterModule, mesh_report_html
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import html

SCRIPT = "<script>alert(1)</script>"


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes |= {name for name, dummy in attrs}


def test_page_contains_no_script():
    root = make(f'{SCRIPT}"onload=', start=NOW - DAY)
    lost = {"msg": SCRIPT}
    found = report(vault(root), **{SCRIPT: reading((root,), ISSUER, root, [pod(SCRIPT, root.pem)]), "lost": lost})
    page = mesh_report_html(found)
    tags = Tags(page)
    assert not {"script", "img", "link", "iframe"} & tags.found
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page


def test_page_loads_nothing():
    page = mesh_report_html(report(berlin=reading()))
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://127.0.0.1:8200", "")
    assert "url(" not in re.sub(r"url\(#(good|bad|neutral)\)", "", page)


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(days=89, hours=23), "89 days"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=2, seconds=-1), "47 hours"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(hours=2, seconds=-1), "119 minutes"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(), "0 minutes"),
        (timedelta(hours=-3), "3 hours"),
    ],
)
def test_span(left, text):
    assert html.span(left) == text


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("identity.linkerd.cluster.local", ["identity.linkerd.", "cluster.local"]),
        ("x" * 40, ["x" * 17, "x" * 16 + "…"]),
        ("one two-three four", ["one two-three", "four"]),
    ],
)
def test_long_name_has_two_lines(text, lines):
    assert [line.strip() for line in html.folded(text, 17)] == lines


def test_timeline_is_in_order():
    line = html.timeline(report(berlin=reading(), oslo=reading()), NOW)
    root, issuer = line["rows"]
    assert (root["name"], issuer["name"]) == ("root.linkerd.cluster.local", "identity.linkerd.cluster.local")
    assert root["clusters"] == issuer["clusters"] == ["berlin", "oslo"]
    assert root["x"] < issuer["x"] < line["now"] < issuer["points"][0]["x"] < issuer["to"] < root["points"][0]["x"]
    assert root["points"][0]["time"] == NOW + 29 * DAY
    assert root["to"] == 100
    assert not root["invalid"]
    positions = [tick["x"] for tick in line["ticks"]]
    distances = [abs(one - other) for one in positions for other in positions if one is not other]
    assert min(distances) >= html.MIN_DISTANCE


def test_timeline_of_expired_and_future_certificates():
    old = make("old", own_key=key("p256", 42), start=NOW - 900 * DAY, end=NOW - DAY)
    new = make("new", own_key=key("p256", 43), start=NOW + DAY, end=datetime(9999, 12, 31, tzinfo=NOW.tzinfo))
    found = report(vault(old, new), berlin=reading((old, new), pods=[]))
    rows = html.timeline(found, NOW)["rows"]
    assert [(row["name"], row["invalid"]) for row in rows][:2] == [("old", True), ("new", True)]
    assert all(0 <= row["x"] <= row["to"] <= 100 for row in rows)
    assert "not valid yet" in mesh_report_html(found)


def test_timeline_of_certificate_of_year_1():
    """cryptography cannot create it, so the dates in the facts of another one are replaced."""
    early = reading()
    early["anchors"]["certificates"][0] |= {"not_before": "0001-01-01T00:00:00Z", "not_after": "0001-01-31T00:00:00Z"}
    assert f"expired {(NOW - datetime(1, 1, 31, tzinfo=UTC)).days} days ago" in mesh_report_html(report(berlin=early))


def parts(view: dict, state: str) -> set[str]:
    return {part for part, found in view["states"].items() if found == state}


def lacking(part: str) -> dict:
    found = reading()
    found[part] |= {"certificates": [], "problem": "does not exist"}
    return found


ARROWS = {"signed", "certifies", "published", "trusted"}
# A report, the parts of the diagram of its first cluster that are bad, and those that are not compared or expected.
STATES = {
    "all agree": ({"berlin": reading()}, set(), set()),
    "Vault has another root, which signed nothing here": (
        {"vault_result": vault(NEXT), "berlin": reading()},
        {"vault", "anchors", "signed", "published"},
        set(),
    ),
    "Vault lacks an anchor that signed nothing": (
        {"berlin": reading((ROOT, NEXT))},
        {"vault", "anchors", "published"},
        set(),
    ),
    "Vault was not read": (
        {"vault_result": {"msg": "refused"}, "berlin": reading()},
        {"vault"},
        {"signed", "published"},
    ),
    "less validity than required": ({"min_days": (3, 0), "berlin": reading()}, {"issuer"}, set()),
    "no issuer": ({"berlin": lacking("issuer")}, {"issuer", "signed", "certifies"}, set()),
    "no anchors": ({"berlin": lacking("anchors")}, {"anchors", *ARROWS}, {"vault", "issuer", "pods"}),
    "no pods": ({"berlin": reading(pods=[])}, set(), {"pods", "certifies", "trusted"}),
    "pods that cannot be listed": (
        {"berlin": {**reading(pods=[]), "pods_problem": "cannot be listed"}},
        {"pods", "trusted"},
        {"certifies"},
    ),
    "clusters differ": (
        {"vault_result": vault(ROOT, NEXT), "berlin": reading(), "oslo": reading((ROOT, NEXT))},
        {"anchors"},
        set(),
    ),
    "a disagreement that is expected": (
        {"allowed": ("anchor_not_in_vault",), "vault_result": vault(NEXT), "berlin": reading()},
        set(),
        {"vault", "anchors", "signed", "published"},
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_states_of_diagram(name):
    given, bad, neutral = STATES[name]
    found = report(**given)
    view = html.view(found, found["clusters"][0])
    assert (parts(view, "bad"), parts(view, "neutral")) == (bad, neutral)
    assert set(view["states"]) == {"vault", "issuer", "anchors", "pods", *ARROWS}


def test_disagreement_of_pod_with_common_prefix():
    found = report(berlin=reading(pods=[pod("web-1", ROOT.pem), pod("web-10", NEXT.pem)]))
    listed = {source["where"]: source for source in html.view(found, found["clusters"][0])["sources"]}
    assert listed["emojivoto/web-1"]["against"] == []
    assert [item["pods"] for item in listed["emojivoto/web-10"]["against"]] == [["emojivoto/web-10"]]


def test_difference_between_clusters_counts_for_each():
    page = mesh_report_html(report(vault(ROOT, NEXT), berlin=reading(), oslo=reading((ROOT, NEXT), pods=[])))
    assert page.count('<span class="badge bad">1 ') == 2


def test_sources_with_disagreements():
    found = report(
        vault(ROOT, NEXT), berlin=reading((ROOT, NEXT), pods=[pod("web", ROOT.pem), pod("i", started=EARLIER)])
    )
    view = html.view(found, found["clusters"][0])
    assert parts(view, "bad") == {"pods", "trusted"}
    against = [item["code"] for source in view["sources"] for item in source["against"]]
    assert sorted(against) == ["pod_anchors_differ", "pod_anchors_unknown"]
    assert view["diagram"]["anchors"]["kind"] == "2 trust anchors"


def test_diagram_with_intermediate_ca():
    middle = make("middle", ROOT, own_key=key("p256", 43), end=NOW + 60 * DAY)
    issuer = make("identity", middle, own_key=key("p256", 44), end=NOW + DAY)
    deep = reading(issuer=issuer, above=(middle,))
    deep["issuer"] = sources.source("Secret linkerd/linkerd-identity-issuer, tls.crt", issuer.pem + middle.pem)
    found, late = report(berlin=deep), report(min_days=(2, 0), berlin=deep)
    assert found["agreed"]
    for one in (found, late):  # with less validity than required, the path is the same
        assert [box["name"] for box in html.view(one, one["clusters"][0])["diagram"]["between"]] == ["middle"]
    assert "Intermediate CA" in mesh_report_html(found)


def test_filters():
    assert set(FilterModule().filters()) == {"mesh_metrics", "mesh_report", "mesh_report_html"}
