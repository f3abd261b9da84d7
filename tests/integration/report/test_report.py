# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a browser: its text, its colours and its layout."""

from __future__ import annotations

import re

import pytest
from support.authority import DAY, NOW, key, make
from support.readings import EARLIER, ISSUER, NEXT, ROOT, pod, reading, report, vault

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report.table import failures

MATCHING = report(**{"pki-cluster": reading()})
LOST = {"failed": True, "msg": "The cluster's API server does not answer: refused."}
OLD = make("identity.linkerd.cluster.local", NEXT, own_key=key("p256", 41), start=NOW - 3 * DAY, end=NOW - DAY / 8)
BETWEEN = make("Intermediate of a Rather Long Name", ROOT, own_key=key("p256", 43), end=NOW + 60 * DAY)
BELOW = make("identity.linkerd.cluster.local", BETWEEN, own_key=key("p256", 44), end=NOW + DAY)
DEEP = reading(issuer=BELOW, above=(BETWEEN,))
DEEP["issuer"] = sources.source("Secret linkerd/linkerd-identity-issuer, tls.crt", BELOW.pem + BETWEEN.pem)
STALE = [pod("linkerd-identity-0", started=EARLIER), *(pod(f"web-{number}", ROOT.pem) for number in range(9))]
DIFFERING = report(
    berlin=reading(),
    oslo=reading((ROOT, NEXT), pods=STALE),
    rome=reading(issuer=OLD, signer=NEXT, renewal="2026-11-23T12:00:00Z"),
    prague=DEEP,
    lost=(LOST, {}),
)


def broken(part: str) -> dict:
    found = reading()
    found[part] |= {"certificates": [], "problem": "does not exist"}
    return found


SCRIPT = "<script>alert('CN')</script>"
IMAGE = "\"'><img src=x onerror=alert(1)>"

# Contrast of every text with its background (WCAG 2.2, 1.4.3), and the text.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const parts = color => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = rgb => { const [r, g, b] = rgb.slice(0, 3).map(v => v / 255).map(
    v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      if (at.matches && at.matches('g.box') && element !== at)
        return parts(getComputedStyle(at.querySelector('rect')).fill);
      const color = parts(getComputedStyle(at).backgroundColor);
      if (color[3] > 0) return color;
    }
    return [255, 255, 255, 255]; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('title')) continue;
    const style = getComputedStyle(element), color = parts(element.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(color), light(behind(element))];
    found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), walker.currentNode.data.trim().slice(0, 40)]);
  }
  return found; }"""

# Texts that are larger than their box in the diagram.
OUTSIDE = """() => [...document.querySelectorAll('g.box')].flatMap(box => {
  const frame = box.querySelector('rect').getBoundingClientRect();
  return [...box.querySelectorAll('text')].filter(text => { const own = text.getBoundingClientRect();
    return own.right > frame.right || own.bottom > frame.bottom || own.left < frame.left; })
    .map(text => text.textContent); })"""

COLOR = "selector => getComputedStyle(document.querySelector(selector)).color"
STROKE = "selector => [...document.querySelectorAll(selector)].map(one => getComputedStyle(one).stroke)"


def hue(color: str) -> str:
    red, green, blue = map(int, re.findall(r"\d+", color)[:3])
    return "red" if red > green + 40 and red > blue + 40 else "green" if green > red + 40 else "other"


def test_report_without_disagreement(show):
    shown = show(MATCHING)
    assert shown.page.get_by_role("status").inner_text() == "All certificates match"
    assert hue(shown.ask(COLOR, "h1")) == "green"
    assert shown.page.locator(".bad:not(.arrow)").count() == 0
    assert {hue(color) for color in shown.ask(STROKE, "path.way")} == {"green"}
    assert shown.page.locator("path.way").count() == 4
    assert "pki-cluster" in shown.text


def test_every_source_has_its_fingerprint(show):
    shown = show(MATCHING)
    listed = shown.page.locator("dl.sources > div").all_inner_texts()
    root, issuer = (one["certificates"][0] for one in (reading()["anchors"], reading()["issuer"]))
    assert [source.splitlines()[0] for source in listed] == [
        "Root", "Trust anchors", "Identity issuer", "Signer of the issuer", "2 pods", "1 pod", "Certificates of 3 pods",
        "linkerd check",
    ]  # fmt: skip
    for number, one in ((0, root), (1, root), (2, issuer), (3, root), (4, root), (6, issuer), (6, root)):
        assert one["fingerprint_sha256"] in listed[number]
    assert "emojivoto/web-0" in listed[6] and "expires at 25 Nov 2026, 11:00 UTC" in listed[6]
    assert f"{issuer['authority_key_identifier'][:16]} CN=root.linkerd.cluster.local" in listed[2]
    assert f"{issuer['subject_key_identifier'][:16]} CN=identity.linkerd.cluster.local" in listed[2]
    assert all("matches" in source for source in listed)


def test_disagreements_are_first_and_red(show):
    shown = show(DIFFERING)
    count = len(failures(DIFFERING))
    assert count == 9
    assert shown.page.get_by_role("status").inner_text() == f"{count} problems"
    assert hue(shown.ask(COLOR, "h1")) == "red"
    items = shown.page.locator("ol.list li").all_inner_texts()
    assert len(items) == count
    for item in DIFFERING["disagreements"]:
        assert any(item["message"] in one and item["code"] in one for one in items), item
    assert hue(shown.ask(COLOR, ".state.bad")) == "red"


def test_diagram_shows_disagreements(show):
    shown = show(DIFFERING)
    clusters = {section.locator("h2").inner_text(): section for section in shown.page.locator("section.cluster").all()}
    assert list(clusters) == ["berlin", "oslo", "rome", "prague", "lost"]

    def bad(name: str) -> list[str]:
        boxes = clusters[name].locator("g.box.bad .kind").all_text_contents()
        return [*boxes, *(f"{count} arrows" for count in [clusters[name].locator("path.way.bad").count()] if count)]

    assert bad("berlin") == bad("prague") == ["Trust anchor, ConfigMap"]  # it differs from that of oslo
    assert bad("oslo") == ["Root, its key stays in Vault", "2 trust anchors", "Workloads", "2 arrows"]
    assert bad("rome") == ["Identity issuer, Secret", "Trust anchor, ConfigMap", "2 arrows"]
    assert "Intermediate CA" in clusters["prague"].locator("svg.chain").text_content()
    assert "does not answer: refused" in clusters["lost"].inner_text()


def test_parts_that_were_not_compared_are_neutral(show):
    """There is no pod, and Vault was not read, so no arrow was compared."""
    shown = show(report({"msg": "Vault refuses the connection."}, berlin=reading(pods=[])))
    assert {hue(color) for color in shown.ask(STROKE, "path.way")} == {"other"}
    assert shown.page.locator("path.way.neutral").count() == 4
    shown = show(report(berlin=broken("anchors")))
    states = shown.page.locator("dl.sources p.state .word").all_inner_texts()
    assert states == [
        "not compared",
        "problem",
        "not compared",
        "not compared",
        "not compared",
        "not compared",
        "not compared",
        "matches",
    ]
    assert {hue(color) for color in shown.ask(STROKE, "path.way")} == {"red"}


def test_timeline(show):
    shown = show(DIFFERING)
    rows = shown.page.locator(".time .row").all_inner_texts()
    assert len(rows) == 6  # each certificate once
    assert "trust anchor of berlin, oslo, rome, prague" in rows[0]
    assert sum("cert-manager renews it" in row for row in rows) == 3
    assert [row for row in rows if "expired 3 hours ago" in row]
    shape = (
        "() => [...document.querySelectorAll('svg.bar')].map(bar => ['.all,.invalid', '.now', '.point'].map(part => {"
    )
    shape += "const found = bar.querySelector(part); return found && found.getBoundingClientRect().toJSON(); }))"
    for row, (span, now, point) in zip(rows, shown.ask(shape), strict=True):
        expired = "expired" in row
        assert (span["left"] < now["left"] < span["right"]) is not expired, row
        if point and not expired:
            assert span["left"] < (point["left"] + point["right"]) / 2 < span["right"], row
    assert "now" in shown.page.locator("svg.axis").text_content()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_page_fits_the_width(show, width):
    for found in (MATCHING, DIFFERING):
        shown = show(found, width)
        assert shown.ask("() => document.documentElement.scrollWidth") <= width
        assert shown.ask(OUTSIDE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("found", [DIFFERING, report(berlin=broken("anchors"))], ids=["bad", "not compared"])
def test_contrast_in_light_and_dark(show, found, scheme):
    shown = show(found, color_scheme=scheme)
    contrast = shown.ask(CONTRAST)
    assert len(contrast) > (100 if found is DIFFERING else 50)
    assert [one for one in contrast if one[0] < 4.5] == []


def test_dark_background_and_white_paper(show):
    shown = show(MATCHING, color_scheme="dark")
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert max(map(int, re.findall(r"\d+", shown.ask(background)))) < 60
    shown.page.emulate_media(media="print", color_scheme="dark")
    assert shown.ask(background) == "rgb(255, 255, 255)"
    assert [one for one in shown.ask(CONTRAST) if one[0] < 4.5] == []
    assert 1 <= len(re.findall(rb"/Type /Page\b", shown.page.pdf(format="A4"))) <= 3


def test_page_loads_and_runs_nothing(show):
    shown = show(DIFFERING)
    assert len(shown.requests) == 1
    assert shown.requests[0].startswith("file:")
    assert shown.errors == []
    assert shown.page.locator("script, link, img, iframe, object, embed, [src], [href]:not(a)").count() == 0


def test_markup_in_names_is_escaped(show):
    root = make(SCRIPT, start=NOW - DAY)
    issuer = make(IMAGE, root, own_key=key("p256", 41), end=NOW + DAY)
    found = report(
        {**vault(root), "address": f"http://x/{IMAGE}"},
        **{SCRIPT: reading((root,), issuer, root, [pod(IMAGE, root.pem), pod("x", NEXT.pem)]), IMAGE: (LOST, {})},
    )
    shown = show(found)
    assert shown.errors == []
    assert len(shown.requests) == 1
    assert shown.page.locator("script, img").count() == 0
    assert SCRIPT in shown.text
    assert IMAGE in shown.text
    assert shown.ask("() => document.documentElement.scrollWidth") <= 1280


def test_long_names_fit(show):
    long = make("x" * 64, own_key=key("p256", 45))
    found = report(vault(long), **{"c" * 200: reading((long,), make("y" * 64, long, own_key=key("p256", 41)), long)})
    shown = show(found, 390)
    assert shown.ask("() => document.documentElement.scrollWidth") <= 390
    assert shown.ask(OUTSIDE) == []


def test_allowed_disagreement_is_no_problem(show):
    shown = show(report(allowed=("pod_anchors_differ",), berlin=reading(pods=[pod("web-0", NEXT.pem + ROOT.pem)])))
    assert shown.page.get_by_role("status").inner_text() == "All certificates match"
    assert shown.page.locator("ol.list li.expected").count() == 1
    assert shown.page.locator("h2").first.inner_text() == "Expected"


def test_report_without_clusters(show):
    shown = show(report({"msg": "Vault refuses the connection."}))
    assert "2 problems" in shown.text
    assert ISSUER.pem not in shown.page.content()
