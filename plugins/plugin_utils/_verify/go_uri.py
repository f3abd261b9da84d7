# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse URIs as Go's net/url does (url.go of Go 1.26). Private to this collection."""

from __future__ import annotations

import ipaddress
import re

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
USER = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
# Other escapes of ASCII are refused, and a host with an escape of another character is not a domain.
HOST = re.compile(r"""(?:[A-Za-z0-9!"$&'()*+,\-.:;<=>\]_~]|%25)*""")
PORT = re.compile(r"(?::[0-9]*)?")


def host(text: str) -> str | None:
    """Return the host of a URI in ASCII, with its port; empty without a host, None if Go cannot parse the URI."""
    before, dummy, fragment = text.partition("#")
    if CONTROL.search(before) or before.startswith(":") or BAD_ESCAPE.search(fragment):
        return None
    found = SCHEME.match(before)
    scheme = found[1].lower() if found else ""
    rest = before[found.end() if found else 0 :].partition("?")[0]
    if scheme and not rest.startswith("/"):
        return ""  # an opaque URI, of which Go parses no more
    if not rest.startswith("/") and ":" in rest.partition("/")[0]:
        return None
    authority, path = "", rest
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, dummy, path = rest[2:].partition("/")
    user, dummy, place = authority.rpartition("@")
    if BAD_ESCAPE.search(path) or BAD_ESCAPE.search(user) or not USER.fullmatch(user):
        return None
    return place.replace("%25", "%") if _is_host(scheme, place) else None


def _is_host(scheme: str, place: str) -> bool:
    if place.startswith("[") and "[" not in place[1:]:
        address, bracket, port = place[1:].rpartition("]")
        return bool(bracket) and PORT.fullmatch(port) is not None and _is_ipv6(address)
    # Go 1.26 refuses a second colon for these schemes.
    at = place.find(":") if scheme in ("http", "https") else place.rfind(":")
    port = place[at:] if at >= 0 else ""
    return PORT.fullmatch(port) is not None and HOST.fullmatch(place) is not None


def _is_ipv6(address: str) -> bool:
    number, percent, zone = address.partition("%25")
    try:
        found = ipaddress.IPv6Address(number)
    except ValueError:
        return False
    return "%" not in number and (not percent or bool(HOST.fullmatch(zone) and zone and not found.ipv4_mapped))
