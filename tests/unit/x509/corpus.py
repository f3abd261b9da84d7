# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Issuers and anchors for the comparison with Linkerd's own verifiers: each oddity at each level of a chain, and
shapes of chains.

The names of the cases are stable. The result of an oracle does not depend on the keys and signatures of a case.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ed448
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from support import forge
from support.authority import DAY, NOW, Credential, key, make, named
from support.forge import tlv
from support.oddities import ODDITIES, POLICIES, UNKNOWN, directory, dns, limits, mail, names, network, uri, usages

WORKLOAD = "default.default.serviceaccount.identity.linkerd.cluster.local"
SAN, CONSTRAINTS, BASIC, KEY_USAGE, EXTENDED = "2.5.29.17", "2.5.29.30", "2.5.29.19", "2.5.29.15", "2.5.29.37"
ANY_POLICY, POLICY = bytes.fromhex("0604551d2000"), bytes.fromhex("06032a0304")


@dataclass
class Case:
    chain: list[Credential]
    anchors: list[Credential]
    chain_text: bytes | None = None
    anchors_text: bytes | None = None

    @property
    def texts(self) -> tuple[bytes, bytes]:
        chain, anchors = ("".join(made.pem for made in some).encode() for some in (self.chain, self.anchors))
        return (chain if self.chain_text is None else self.chain_text), (
            anchors if self.anchors_text is None else self.anchors_text
        )


def workload(issuer: Credential, at: datetime = NOW, name: str = WORKLOAD) -> Credential:
    """Return a certificate as the identity controller signs it (linkerd2: pkg/tls/ca.go)."""
    own = key("p256", 500)
    builder = x509.CertificateBuilder(issuer.certificate.subject, named(name), own.public_key(), 1)
    builder = builder.not_valid_before(at - timedelta(seconds=20)).not_valid_after(at + DAY)
    usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
    builder = builder.add_extension(usage, True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([Usage.SERVER_AUTH, Usage.CLIENT_AUTH]), False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    made = Credential(builder.sign(issuer.key, hashes.SHA256()), own)
    raw = forge.parts(issuer.certificate)["subject"]  # byte by byte, whatever its strings are
    return forge.reissued(made, issuer.key, lambda parts: parts.update(issuer=raw))


def keyed(number: int, **more: Any) -> dict[str, Any]:
    return {"own_key": key("p256", number), **more}


def chain_with(level: str, **more: Any) -> Case:
    """Issuer, intermediate and root, one of them odd."""
    made: list[Credential] = []
    for number, (place, name) in enumerate((("root", "root"), ("middle", "middle"), ("issuer", "identity"))):
        options = keyed(70 + number) | (more if place == level else {})
        made.insert(0, make(options.pop("name", name), made[0] if made else None, **options))
    return Case(made[:2], made[2:])


def two_tiers(level: str, **more: Any) -> Case:
    root_options, issuer_options = (more if level == one else {} for one in ("root", "issuer"))
    root = make(**{"name": "root.linkerd.cluster.local", **keyed(80), **root_options})
    return Case([make(**{"name": "identity", "issuer": root, **keyed(81), **issuer_options})], [root])


Change = Callable[[forge.Parts], None]


def setting(**values: bytes) -> Change:
    return lambda parts: parts.update(values)


def without(*names: str) -> Change:
    return lambda parts: [parts.pop(name, None) for name in names] and None


def spki(change: Callable[[bytes], bytes]) -> Change:
    return lambda parts: parts.update(spki=change(parts["spki"]))


def with_point(point: bytes, parameters: bytes = bytes.fromhex("06082a8648ce3d030107")) -> bytes:
    return tlv(0x30, tlv(0x30, bytes.fromhex("06072a8648ce3d0201") + parameters) + tlv(3, b"\0" + point))


def compressed(dummy: bytes) -> bytes:
    return with_point(key("p256", 81).public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint))


def common_name(tag: int, value: bytes) -> bytes:
    return tlv(0x30, tlv(0x31, tlv(0x30, bytes.fromhex("0603550403") + tlv(tag, value))))


def two_extensions(parts: forge.Parts) -> None:
    listed = forge.split(parts["extensions"])[0][1]
    items = forge.split(listed)[0][1]
    parts["extensions"] = tlv(0xA3, tlv(0x30, items + tlv(0x30, bytes.fromhex("06032a0304") + tlv(4, b"\5\0"))))


FORGED: dict[str, Change] = {
    "serial 0": setting(serial=b"\2\1\0"),
    "serial negative": setting(serial=b"\2\1\xfe"),
    "serial of 21 bytes": setting(serial=tlv(2, b"\1" * 21)),
    "version 1": without("version", "extensions"),
    "no extensions": without("extensions"),
    "unique id": setting(ids=b"\x81\2\0\1"),
    "one extension more": two_extensions,
    "point compressed": spki(compressed),
    "name in Latin": setting(subject=common_name(0x14, b"identit\xe9")),
    "name in BMP": setting(subject=common_name(0x1E, "identity".encode("utf-16-be"))),
    "name in Universal": setting(subject=common_name(0x1C, "identity".encode("utf-32-be"))),
    "name printable": setting(subject=common_name(0x13, b"identity")),
    "name IA5": setting(subject=common_name(0x16, b"identity@")),
    "name numeric": setting(subject=common_name(0x12, b"1 2")),
    "validity reversed": setting(validity=tlv(0x30, tlv(0x17, b"261124120001Z") + tlv(0x17, b"261124115959Z"))),
}


def forged(name: str, level: str) -> Case:
    """Return a two-tier chain with one forged certificate. The certificate below has the new name as issuer."""
    case = two_tiers("")
    issuer, root = case.chain[0], case.anchors[0]
    if level == "issuer":
        return Case([forge.reissued(issuer, root.key, FORGED[name])], [root])
    other = forge.reissued(root, root.key, FORGED[name])
    subject = forge.parts(other.certificate)["subject"]
    return Case([forge.reissued(issuer, root.key, setting(issuer=subject))], [other])


def tiers(count: int, **root: Any) -> Case:
    made = [make("tier 0", **keyed(100), **root)]
    for number in range(1, count):
        made.insert(0, make(f"tier {number}", made[0], **keyed(100 + number)))
    return Case(made[:-1], made[-1:])


def rsa_root(**issuer: Any) -> Case:
    root = make("root", own_key=key("rsa2048"))
    return Case([make("identity", root, **keyed(81), **issuer)], [root])


def absent_parameters() -> Case:
    """sha256WithRSAEncryption without the NULL that RFC 4055 requires."""
    case, algorithm = rsa_root(), tlv(0x30, bytes.fromhex("06092a864886f70d01010b"))
    root = case.anchors[0]
    return Case([forge.reissued(case.chain[0], root.key, setting(algorithm=algorithm))], [root])


def two_algorithms() -> Case:
    case = two_tiers("")
    other = tlv(0x30, bytes.fromhex("06082a8648ce3d040303"))
    return Case(
        [forge.reissued(case.chain[0], case.anchors[0].key, setting(algorithm=other), case_algorithm())], case.anchors
    )


def case_algorithm() -> bytes:
    return tlv(0x30, bytes.fromhex("06082a8648ce3d040302"))


def same_names(count: int, identifiers: bool) -> Case:
    """Anchors of one name, the right one last."""
    root = make("root", **keyed(200), identifiers=identifiers)
    wrong = [make("root", **keyed(201), identifiers=identifiers) for dummy in range(count - 1)]
    return Case([make("identity", root, **keyed(81), identifiers=identifiers)], [*wrong, root])


def self_issued(path_length: int | None, **more: Any) -> Case:
    root = make("root", **keyed(210), path_length=path_length, **more)
    return Case([make("root", root, **keyed(211))], [root])


def crossed(**old_options: Any) -> Case:
    """The new root, also signed by the old one, which alone is trusted."""
    old, new = make("old", **keyed(220), **old_options), make("new", **keyed(221))
    cross = make("new", old, **keyed(221))
    return Case([make("identity", new, **keyed(81)), new, cross], [old])


def two_ways(**first: Any) -> Case:
    """Two certificates for the intermediate, the first one odd."""
    root = make("root", **keyed(230))
    odd, good = make("middle", root, **keyed(231, **first)), make("middle", root, **keyed(231))
    return Case([make("identity", good, **keyed(81)), odd, good], [root])


def many_ways(count: int, names_of_issuer: int, trees: int, **middle: Any) -> Case:
    """Many certificates for the intermediate, and many names of the issuer that the root does not permit."""
    root = make("root", **keyed(230), **limits([dns(f"d{number}.example") for number in range(trees)]))
    ways = [make("middle", root, **keyed(231, **middle)) for dummy in range(count)]
    found = names(*[dns(f"a{number}.cluster.local") for number in range(names_of_issuer)])
    return Case([make("identity", ways[0], **keyed(81), **found), *ways], [root])


def cycle() -> Case:
    one, two = make("one", **keyed(240)), make("two", **keyed(241))
    ring = [make("one", two, **keyed(240)), make("two", one, **keyed(241))]
    return Case([make("identity", one, **keyed(81)), *ring], [make("other", **keyed(242))])


def renewed_root() -> Case:
    old, new = make("root", **keyed(250), end=NOW - DAY / 2), make("root", **keyed(250))
    return Case([make("identity", new, **keyed(81))], [old, new])


def issuer_is_anchor(**more: Any) -> Case:
    root = make("root", **keyed(260))
    issuer = make("identity", root, **keyed(81), **more)
    return Case([issuer], [issuer])


def beside(**odd: Any) -> Case:
    """An odd anchor beside the good one, of another name."""
    case = two_tiers("")
    return Case(case.chain, [make(**{"name": "other", **keyed(270), **odd}), *case.anchors])


def unreadable_beside() -> Case:
    case = two_tiers("")
    odd = forge.reissued(make("other", **keyed(270)), key("p256", 270), FORGED["serial negative"])
    return Case(case.chain, [odd, *case.anchors])


def limited_issuer(constraint: dict[str, Any], *found: x509.GeneralName) -> Case:
    root = make("root", **keyed(280), **constraint)
    return Case([make("identity", root, **keyed(81), **names(*found))], [root])


def unsupported_key(own: Any) -> Case:
    """A key that signs nothing here, which cryptography puts into a certificate."""
    return two_tiers("issuer", own_key=own)


SHAPES: dict[str, Callable[[], Case]] = {
    **{f"{count} tiers": lambda count=count: tiers(count) for count in (2, 3, 5, 6, 7, 8, 9, 12)},
    "6 tiers, path length 4": lambda: tiers(6, path_length=4),
    "6 tiers, path length 3": lambda: tiers(6, path_length=3),
    "RSA root": rsa_root,
    "RSA root, SHA-512": lambda: rsa_root(algorithm=hashes.SHA512()),
    "RSA-PSS": lambda: rsa_root(pss=True),
    "RSA-PSS, SHA-512 with another mask": lambda: rsa_root(pss=True, algorithm=hashes.SHA512()),
    "RSA without parameters": absent_parameters,
    "two algorithms": two_algorithms,
    **{
        f"{count} anchors of one name{'' if identifiers else ' without identifiers'}": (
            lambda count=count, identifiers=identifiers: same_names(count, identifiers)
        )
        for count in (2, 99, 100, 101, 102)
        for identifiers in (True, False)
    },
    "self-issued": lambda: self_issued(None),
    "self-issued, path length 1": lambda: self_issued(1),
    "self-issued, path length 0": lambda: self_issued(0),
    "self-issued, another domain": lambda: self_issued(None, **limits([dns("corp.example")])),
    "cross-signed": crossed,
    "cross-signed, old root expired": lambda: crossed(end=NOW - DAY / 2),
    "cross-signed, path length 1": lambda: crossed(path_length=1),
    "two ways": two_ways,
    "two ways, one expired": lambda: two_ways(end=NOW - DAY / 2),
    "two ways, one with usages": lambda: two_ways(**usages(Usage.SERVER_AUTH)),
    "two ways, one with a critical extension": lambda: two_ways(extensions=((UNKNOWN, True),)),
    "two ways, one with policies critical": lambda: two_ways(extensions=((POLICIES, True),)),
    "two ways, one of another signature": lambda: two_ways(sign_with=key("p256", 99)),
    "a cycle": cycle,
    "renewed root": renewed_root,
    "the issuer is the anchor": issuer_is_anchor,
    "the issuer is the anchor, expired": lambda: issuer_is_anchor(end=NOW - DAY / 2),
    "the issuer is the anchor, path length 0": lambda: issuer_is_anchor(path_length=0),
    "the issuer is the anchor, usage serverAuth": lambda: issuer_is_anchor(**usages(Usage.SERVER_AUTH)),
    "the root is the issuer": lambda: Case([make("root", **keyed(290))], [make("root", **keyed(290))]),
    "an anchor of another curve beside": lambda: beside(own_key=key("p384", 270)),
    "an expired anchor beside": lambda: beside(end=NOW - DAY / 2),
    "an anchor with a critical extension beside": lambda: beside(extensions=((UNKNOWN, True),)),
    "an unreadable anchor beside": unreadable_beside,
    "unknown issuer": lambda: Case(two_tiers("").chain, [make("other", **keyed(270))]),
    "another key in the same name": lambda: Case(
        two_tiers("").chain, [make("root.linkerd.cluster.local", **keyed(271))]
    ),
    "issuer's DNS name within": lambda: limited_issuer(limits([dns("cluster.local")]), dns("a.cluster.local")),
    "issuer's DNS name outside": lambda: limited_issuer(limits([dns("cluster.local")]), dns("a.example")),
    "issuer's wildcard within": lambda: limited_issuer(limits([dns("cluster.local")]), dns("*.cluster.local")),
    "issuer's wildcard at the excluded": lambda: limited_issuer(limits(None, [dns("a.example")]), dns("*.example")),
    "issuer's URI within": lambda: limited_issuer(limits([uri("a.example")]), uri("spiffe://a.example/x")),
    "issuer's URI outside": lambda: limited_issuer(limits([uri("a.example")]), uri("spiffe://b.example/x")),
    "issuer's URI below the excluded": lambda: limited_issuer(
        limits(None, [uri("example")]), uri("spiffe://b.example/x")
    ),
    "issuer's mail within": lambda: limited_issuer(limits([mail("a.example")]), mail("me@a.example")),
    "issuer's mail outside": lambda: limited_issuer(limits([mail("a.example")]), mail("me@b.example")),
    "issuer's mail excluded": lambda: limited_issuer(limits(None, [mail("me@a.example")]), mail("me@a.example")),
    "issuer's address within": lambda: limited_issuer(
        limits([network("10.0.0.0/8")]), x509.IPAddress(ipaddress.ip_address("10.1.2.3"))
    ),
    "issuer's address outside": lambda: limited_issuer(
        limits([network("10.0.0.0/8")]), x509.IPAddress(ipaddress.ip_address("11.1.2.3"))
    ),
    "issuer's address of the other family": lambda: limited_issuer(
        limits([network("10.0.0.0/8")]), x509.IPAddress(ipaddress.ip_address("fd00::1"))
    ),
    "issuer's mail under directory limits": lambda: limited_issuer(
        limits([directory("x")], critical=False), mail("me@a.example")
    ),
    "Ed448 issuer": lambda: unsupported_key(ed448.Ed448PrivateKey.generate()),
    "DSA issuer": lambda: unsupported_key(dsa.generate_private_key(2048)),
    "many names under few limits": lambda: limited_issuer(
        limits([dns("cluster.local")]), *[dns(f"a{number}.cluster.local") for number in range(1000)]
    ),
    "many names under many limits": lambda: limited_issuer(
        limits([dns(f"d{number}.example") for number in range(300)] + [dns("cluster.local")]),
        *[dns(f"a{number}.cluster.local") for number in range(1000)],
    ),
}


def cases() -> dict[str, Callable[[], Case]]:
    """Return all cases, as functions that create them."""
    found = dict(SHAPES)
    for name, odd in ODDITIES.items():
        for level in ("root", "middle", "issuer"):
            found[f"{level}: {name}"] = lambda level=level, odd=odd: chain_with(level, **odd)
        found[f"root of two: {name}"] = lambda odd=odd: two_tiers("root", **odd)
    for name in FORGED:
        for level in ("root", "issuer"):
            found[f"{level} forged: {name}"] = lambda name=name, level=level: forged(name, level)
    return found
