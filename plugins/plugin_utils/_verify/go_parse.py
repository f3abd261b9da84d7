# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what Go's crypto/x509 cannot parse in a certificate. Private to this collection.

The identity controller and the CLI fail if one certificate in their input does not parse, whether the chain needs it or
not. The rules are those of crypto/x509/parser.go in Go 1.26. There are no rules for what cryptography cannot parse
either, because such certificates are an error before.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import UnsupportedAlgorithm, x509
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import der, go_uri, oids

CURVES = {  # size of a coordinate in bytes
    "1.3.132.0.33": 28,
    "1.2.840.10045.3.1.7": 32,
    "1.3.132.0.34": 48,
    "1.3.132.0.35": 66,
}
NEVER_CRITICAL = {
    oids.AUTHORITY_KEY_IDENTIFIER: "authority key identifier",
    oids.SUBJECT_KEY_IDENTIFIER: "subject key identifier",
    oids.AUTHORITY_INFORMATION_ACCESS: "authority information access",
}
GENERAL_NAMES = (oids.EMAIL, oids.DNS, oids.URI, oids.IP)  # the types that Go reads
PRINTABLE = re.compile(rb"[A-Za-z0-9'()+,\-./ :=?*&]*")
NUMERIC = re.compile(rb"[0-9 ]*")
ATOMS = re.compile(r"(?:\\.|[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.])+", re.DOTALL)
QUOTED = re.compile(r'"(?:[\x01-\x08\x0b\x0c\x0e-\x1f !#-\[\]-\x7f]|\\[\x01-\x09\x0b\x0c\x0e-\x7f])*"')


def problem(certificate: x509.Certificate, raw: der.Fields) -> str:
    """Return why Go cannot parse the certificate, or an empty text."""
    try:
        return next(_problems(certificate, raw), "")
    except der.MALFORMED:
        return "its encoding is not valid for Go"


def _problems(certificate: x509.Certificate, raw: der.Fields) -> Iterator[str]:
    if certificate.serial_number < 0:
        yield "its serial number is negative"
    if raw.signature_inner != raw.signature_outer:
        yield "its two signature algorithms differ"
    for role, name in (("issuer", raw.issuer), ("subject", raw.subject)):
        if not all(_string(value) for value in _values(name)):
            yield f"its {role} contains a string of a type or with characters that are not allowed"
    extensions = raw.extensions if raw.version == 3 else {}
    if not all(map(_is_small, _identifiers(raw, extensions))):
        yield "an object identifier has a number that is too large for Go"
    yield from _key(raw.spki)
    if not _is_on_curve(certificate, raw):
        yield "its EC key is not a point on its curve"
    for oid, (critical, value) in extensions.items():
        if critical and oid in NEVER_CRITICAL:
            yield f"its {NEVER_CRITICAL[oid]} is marked critical"
        if oid in PARSERS:
            yield from PARSERS[oid](value)


def _identifiers(raw: der.Fields, extensions: dict[str, tuple[bool, bytes]]) -> Iterator[str]:
    """The object identifiers that Go reads with cryptobyte's ReadASN1ObjectIdentifier."""
    yield from extensions
    yield der.dotted(der.children(raw.signature_inner)[0].value)
    yield key_algorithm(raw.spki)
    for name in (raw.issuer, raw.subject):
        for rdn in der.children(name):
            yield from (der.dotted(der.first(attribute.value).value) for attribute in der.elements(rdn.value))
    if oids.EXTENDED_KEY_USAGE in extensions:
        yield from (der.dotted(one.value) for one in der.children(extensions[oids.EXTENDED_KEY_USAGE][1]))
    if oids.AUTHORITY_INFORMATION_ACCESS in extensions:
        listed = der.children(extensions[oids.AUTHORITY_INFORMATION_ACCESS][1])
        yield from (der.dotted(der.first(one.value).value) for one in listed)


def _is_small(identifier: str) -> bool:
    """Whether each number has at most 31 bits, as cryptobyte's readBase128Int requires. The first two are one."""
    first, second, *rest = map(int, identifier.split("."))
    return max(40 * first + second, *rest, 0) < 2**31


def _is_on_curve(certificate: x509.Certificate, raw: der.Fields) -> bool:
    """Return False for an EC key that cryptography cannot parse either."""
    try:
        certificate.public_key()
    except UnsupportedAlgorithm:
        return True
    except ValueError:
        return key_algorithm(raw.spki) != oids.EC
    return True


def _values(name: bytes) -> Iterator[der.Element]:
    for rdn in der.children(name):
        for attribute in der.elements(rdn.value):
            yield list(der.elements(attribute.value))[1]


def _string(value: der.Element) -> bool:
    match value.tag:
        case 0x14:  # T61String
            return True
        case 0x13:
            return PRINTABLE.fullmatch(value.value) is not None
        case 0x0C:
            return _decodes(value.value, "utf-8")
        case 0x1E:
            return _bmp(value.value)
        case 0x16:
            return value.value.isascii()
        case 0x12:
            return NUMERIC.fullmatch(value.value) is not None
        case _:
            return False


def _decodes(value: bytes, encoding: str) -> bool:
    try:
        return bool(value.decode(encoding)) or True
    except UnicodeDecodeError:
        return False


def _bmp(value: bytes) -> bool:
    if len(value) % 2:
        return False
    points = [int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value), 2)]
    if points and points[-1] == 0:
        points.pop()
    return not any(point >= 0xFFFE or 0xFDD0 <= point <= 0xFDEF or 0xD800 <= point <= 0xDFFF for point in points)


def key_algorithm(spki: bytes) -> str:
    """Return the object identifier of a public key's algorithm."""
    return der.dotted(der.first(der.children(spki)[0].value).value)


def _key(spki: bytes) -> Iterator[str]:
    algorithm, bits = der.children(spki)
    oid, *parameters = der.elements(algorithm.value)
    point, given = bits.value[1:], b"".join(item.whole for item in parameters)
    match der.dotted(oid.value):
        case oids.RSA:
            yield from _rsa_key(point, given)
        case oids.EC:
            yield from _ec_key(point, parameters)
        case oids.ED25519:
            if given or len(point) != 32:
                yield "its Ed25519 key is not encoded as RFC 8410 requires"
        case oids.X25519:
            if given:
                yield "its X25519 key is not encoded as RFC 8410 requires"


def _rsa_key(point: bytes, given: bytes) -> Iterator[str]:
    if given != b"\5\0":
        yield "its RSA key has parameters other than NULL"
    numbers = der.children(point)[:2]
    modulus, exponent = (int.from_bytes(item.value, "big", signed=True) for item in numbers)
    if point[:1] != bytes([der.SEQUENCE]) or not all(_is_integer(item) for item in numbers):
        yield "its RSA key is not encoded as two integers"
    if modulus <= 0 or not 0 < exponent < 2**63:
        yield "its RSA key is not positive, or its exponent is too large"


def _is_integer(item: der.Element) -> bool:
    """Return whether it is an integer in its shortest encoding."""
    start = int.from_bytes(item.value[:2], "big") >> 7  # the first nine bits
    return item.tag == der.INTEGER and bool(item.value) and (len(item.value) == 1 or start not in (0, 0x1FF))


def _ec_key(point: bytes, parameters: list[der.Element]) -> Iterator[str]:
    if not parameters or parameters[0].tag != der.OID:
        yield "its EC key has explicit curve parameters instead of a named curve"
        return
    size = CURVES.get(der.dotted(parameters[0].value))
    if size is None:
        yield "its EC key is on a curve that Go does not support (expected P-256)"
    elif point[:1] != b"\4" or len(point) != 1 + 2 * size:
        yield "its EC key is a compressed point"


def _alternative_names(value: bytes) -> Iterator[str]:
    for name in der.children(value):
        if name.tag in (oids.EMAIL, oids.DNS, oids.URI) and not name.value.isascii():
            yield "its subject alternative names contain characters other than ASCII"
        elif name.tag == oids.IP and len(name.value) not in (4, 16):
            yield "its subject alternative names contain an IP address that is not valid"
        elif name.tag == oids.URI and not _uri_parses(name.value.decode()):
            yield "its subject alternative names contain a URI that is not valid"


def _uri_parses(text: str) -> bool:
    """Return whether Go's net/url parses it, and its host is a domain, an address, or missing."""
    host = go_uri.host(text)
    return host is not None and domain_is_valid(host)


def domain_is_valid(name: str, constraint: bool = False) -> bool:
    """Return whether Go accepts a DNS name. A constraint may begin with a dot."""
    if not name:
        return True
    labels = name.removeprefix("." if constraint else "").split(".")
    return all(labels) and all(33 <= ord(one) <= 126 for one in name)


def mailbox(text: str) -> tuple[str, str] | None:
    """Return local part and domain of an email address, or None if Go cannot parse it."""
    found = QUOTED.match(text) or ATOMS.match(text)
    if not found or text[found.end() : found.end() + 1] != "@":
        return None
    local, domain = found.group(), text[found.end() + 1 :]
    quoted = local.startswith('"')
    local = re.sub(r"\\(.)", r"\1", local[1:-1] if quoted else local, flags=re.DOTALL)
    if not quoted and (local.startswith(".") or local.endswith(".") or ".." in local):
        return None
    valid = all(domain.split(".")) and all(33 <= ord(one) <= 126 for one in domain)
    return (local, domain) if valid or not domain else None


def bases(value: bytes) -> list[der.Element]:
    """Return the names of all subtrees of name constraints, permitted and excluded."""
    trees = (tree for part in der.children(value) for tree in der.elements(part.value))
    return [der.first(tree.value) for tree in trees]


def _name_constraints(value: bytes) -> Iterator[str]:
    found = bases(value)
    if not found:
        yield "its name constraints are empty"
    if not all(_constraint(base) for base in found):
        yield "one of its name constraints is not valid"


def _constraint(base: der.Element) -> bool:
    if base.tag == oids.IP:
        mask = base.value[len(base.value) // 2 :]
        bits = "".join(f"{byte:08b}" for byte in mask)
        return len(base.value) in (8, 32) and "01" not in bits
    if base.tag not in (oids.DNS, oids.EMAIL, oids.URI):
        return True
    if not base.value.isascii():
        return False
    text = base.value.decode()
    if base.tag == oids.EMAIL and "@" in text:
        return mailbox(text) is not None
    return domain_is_valid(text, constraint=True) and not (base.tag == oids.URI and is_address(text))


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _policies(value: bytes) -> Iterator[str]:
    found = [der.first(item.value).value for item in der.children(value)]
    if len(set(found)) != len(found):
        yield "it contains a certificate policy twice"


def _policy_mappings(value: bytes) -> Iterator[str]:
    items = der.children(value)
    found = [der.first(value), *items, *(part for pair in der.pairs(value) for part in pair)]
    expected = [der.SEQUENCE] * (1 + len(items)) + [der.OID] * (2 * len(items))
    if [one.tag for one in found] != expected or not all(map(_is_shortest, found)):
        yield "its policy mappings are not valid"


def _is_shortest(item: der.Element) -> bool:
    """Whether its length has the shortest encoding, as DER requires."""
    size = len(item.value)
    return len(item.whole) - size == 2 + (0 if size < 0x80 else (size.bit_length() + 7) // 8)


def _crl_points(value: bytes) -> Iterator[str]:
    for point in der.children(value):
        name = next(der.elements(point.value), None)
        if name is not None and name.tag == 0xA0 and der.first(name.value).tag != 0xA0:
            yield "it has a CRL distribution point that is relative to the issuer"


PARSERS: dict[str, Callable[[bytes], Any]] = {
    oids.SUBJECT_ALTERNATIVE_NAME: _alternative_names,
    oids.NAME_CONSTRAINTS: _name_constraints,
    oids.CERTIFICATE_POLICIES: _policies,
    oids.CRL_DISTRIBUTION_POINTS: _crl_points,
    oids.POLICY_MAPPINGS: _policy_mappings,
}
