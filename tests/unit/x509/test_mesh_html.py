# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page as text, and what is drawn where; tests/integration/report looks at it with a browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from authority import DAY, NOW, key, make
from readings import EARLIER, ISSUER, NEXT, ROOT, pod, reading, report, vault

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


def test_the_page_holds_no_script_whatever_certificates_and_names_say():
    root = make(f'{SCRIPT}"onload=', start=NOW - DAY)
    lost = {"msg": SCRIPT}
    found = report(vault(root), **{SCRIPT: reading((root,), ISSUER, root, [pod(SCRIPT, root.pem)]), "lost": lost})
    page = mesh_report_html(found)
    tags = Tags(page)
    assert not {"script", "img", "link", "iframe"} & tags.found
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page


def test_the_page_refuses_to_load_anything():
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
def test_lengths_of_time(left, text):
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
def test_long_names_take_two_lines(text, lines):
    assert [line.strip() for line in html.folded(text, 17)] == lines


def test_the_time_line_keeps_the_order_of_time():
    line = html.timeline(report(berlin=reading(), oslo=reading()), NOW)
    root, issuer = line["rows"]
    assert (root["name"], issuer["name"]) == ("root.linkerd.cluster.local", "identity.linkerd.cluster.local")
    assert root["clusters"] == issuer["clusters"] == ["berlin", "oslo"]
    assert root["x"] < issuer["x"] < line["now"] < issuer["points"][0]["x"] < issuer["to"] < root["points"][0]["x"]
    assert root["points"][0]["time"] == NOW + 29 * DAY
    assert root["to"] == 100
    assert not root["over"]
    places = [tick["x"] for tick in line["ticks"]]
    assert all(abs(one - other) >= html.APART for one in places for other in places if one is not other)


def test_the_time_line_of_what_is_over_and_of_what_begins():
    old = make("old", own_key=key("p256", 42), start=NOW - 900 * DAY, end=NOW - DAY)
    new = make("new", own_key=key("p256", 43), start=NOW + DAY, end=datetime(9999, 12, 31, tzinfo=NOW.tzinfo))
    found = report(vault(old, new), berlin=reading((old, new), pods=[]))
    rows = html.timeline(found, NOW)["rows"]
    assert [(row["name"], row["over"]) for row in rows][:2] == [("old", True), ("new", True)]
    assert all(0 <= row["x"] <= row["to"] <= 100 for row in rows)
    assert "not valid yet" in mesh_report_html(found)


def test_the_time_line_of_what_ended_in_the_first_month_of_all_time():
    """cryptography makes none before 1950: a stand-in, the facts of a certificate with other dates."""
    early = reading()
    early["anchors"]["certificates"][0] |= {"not_before": "0001-01-01T00:00:00Z", "not_after": "0001-01-31T00:00:00Z"}
    assert f"ended {(NOW - datetime(1, 1, 31, tzinfo=UTC)).days} days ago" in mesh_report_html(report(berlin=early))


def parts(drawn: dict, state: str) -> set[str]:
    return {part for part, found in drawn["states"].items() if found == state}


def lacking(part: str) -> dict:
    found = reading()
    found[part] |= {"certificates": [], "problem": "does not exist"}
    return found


WAYS = {"signed", "certifies", "published", "trusted"}
# A report, what is bad in the picture of its first cluster, and what is neutral: not compared, or expected.
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
    "Vault was not asked": (
        {"vault_result": {"msg": "refused"}, "berlin": reading()},
        {"vault"},
        {"signed", "published"},
    ),
    "less time left than asked for": ({"min_days": (3, 0), "berlin": reading()}, {"issuer"}, set()),
    "no issuer": ({"berlin": lacking("issuer")}, {"issuer", "signed", "certifies"}, set()),
    "no anchors": ({"berlin": lacking("anchors")}, {"anchors", *WAYS}, {"vault", "issuer", "pods"}),
    "no pods": ({"berlin": reading(pods=[])}, set(), {"pods", "certifies", "trusted"}),
    "pods that may not be listed": (
        {"berlin": {**reading(pods=[]), "pods_problem": "may not be listed"}},
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
def test_green_is_only_what_was_compared_and_fits(name):
    given, bad, neutral = STATES[name]
    found = report(**given)
    drawn = html.drawn(found, found["clusters"][0])
    assert (parts(drawn, "bad"), parts(drawn, "neutral")) == (bad, neutral)
    assert set(drawn["states"]) == {"vault", "issuer", "anchors", "pods", *WAYS}


def test_a_pod_is_not_taken_for_one_whose_name_begins_alike():
    found = report(berlin=reading(pods=[pod("web-1", ROOT.pem), pod("web-10", NEXT.pem)]))
    places = {place["where"]: place for place in html.drawn(found, found["clusters"][0])["sources"]}
    assert places["emojivoto/web-1"]["against"] == []
    assert [item["pods"] for item in places["emojivoto/web-10"]["against"]] == [["emojivoto/web-10"]]


def test_a_cluster_that_differs_from_another_does_not_agree():
    page = mesh_report_html(report(vault(ROOT, NEXT), berlin=reading(), oslo=reading((ROOT, NEXT), pods=[])))
    assert page.count('<span class="badge bad">1 to settle</span>') == 2


def test_a_mark_stands_where_the_disagreement_is():
    found = report(
        vault(ROOT, NEXT), berlin=reading((ROOT, NEXT), pods=[pod("web", ROOT.pem), pod("i", started=EARLIER)])
    )
    drawn = html.drawn(found, found["clusters"][0])
    assert parts(drawn, "bad") == {"pods", "trusted"}
    against = [item["code"] for place in drawn["sources"] for item in place["against"]]
    assert sorted(against) == ["pod_anchors_differ", "pod_anchors_unknown"]
    assert drawn["picture"]["anchors"]["kind"] == "2 trust anchors"


def test_intermediates_are_drawn_between():
    middle = make("middle", ROOT, own_key=key("p256", 43), end=NOW + 60 * DAY)
    issuer = make("identity", middle, own_key=key("p256", 44), end=NOW + DAY)
    deep = reading(issuer=issuer, above=(middle,))
    deep["issuer"] = sources.source("Secret linkerd/linkerd-identity-issuer, tls.crt", issuer.pem + middle.pem)
    found, late = report(berlin=deep), report(min_days=(2, 0), berlin=deep)
    assert found["agreed"]
    for one in (found, late):  # with less time left than asked for it is the same way
        assert [box["name"] for box in html.drawn(one, one["clusters"][0])["picture"]["between"]] == ["middle"]
    assert "Intermediate CA" in mesh_report_html(found)


def test_the_filters_are_offered():
    assert set(FilterModule().filters()) == {"mesh_report", "mesh_report_html"}
