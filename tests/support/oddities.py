# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be odd about one certificate of a chain: extensions, names, keys, validity and signatures."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from support.authority import DAY, NOW, key, named
from support.forge import extension, tlv

SAN, CONSTRAINTS, BASIC, KEY_USAGE, EXTENDED = "2.5.29.17", "2.5.29.30", "2.5.29.19", "2.5.29.15", "2.5.29.37"
ANY_POLICY, POLICY = bytes.fromhex("0604551d2000"), bytes.fromhex("06032a0304")


def names(*found: x509.GeneralName, critical: bool = False) -> dict[str, Any]:
    return {"extensions": ((x509.SubjectAlternativeName(list(found)), critical),)}


def limits(permitted=None, excluded=None, critical: bool = True) -> dict[str, Any]:
    return {"extensions": ((x509.NameConstraints(permitted, excluded), critical),)}


def usages(*oids: x509.ObjectIdentifier, critical: bool = False) -> dict[str, Any]:
    return {"extensions": ((x509.ExtendedKeyUsage(oids), critical),)}


def raw(oid: str, value: bytes, critical: bool = False) -> dict[str, Any]:
    return {"extensions": (extension(oid, value, critical),)}


def raw_limit(tag: int, value: bytes, excluded: bool = False, more: bytes = b"") -> dict[str, Any]:
    tree = tlv(0x30, tlv(tag, value) + more)
    return raw(CONSTRAINTS, tlv(0x30, tlv(0xA1 if excluded else 0xA0, tree)), True)


def raw_names(*found: tuple[int, bytes]) -> dict[str, Any]:
    return raw(SAN, tlv(0x30, b"".join(tlv(tag, value) for tag, value in found)))


def dns(name: str) -> x509.DNSName:
    return x509.DNSName(name)


def uri(name: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(name)


def mail(name: str) -> x509.RFC822Name:
    return x509.RFC822Name(name)


def network(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(text))


def directory(name: str) -> x509.DirectoryName:
    return x509.DirectoryName(named(name))


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
POLICIES = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), None)])
REQUIRE = x509.PolicyConstraints(0, None)
POINTS = x509.CRLDistributionPoints([x509.DistributionPoint([uri("http://crl.example/")], None, None, None)])
ACCESS = x509.AuthorityInformationAccess(
    [x509.AccessDescription(x509.AuthorityInformationAccessOID.OCSP, uri("http://ocsp.example/"))]
)

# Arguments of authority.make() that make a certificate differ from a usual CA.
ODDITIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    **{f"path length {number}": {"path_length": number} for number in (0, 1, 2, 5)},
    "path length 300": {"ca": None, **raw(BASIC, tlv(0x30, b"\1\1\xff\2\2\1\x2c"), True)},
    "no CA": {"ca": False},
    "no basic constraints": {"ca": None},
    "basic constraints not critical": {"ca": None, **raw(BASIC, tlv(0x30, b"\1\1\xff"))},
    "no key usage": {"key_cert_sign": None},
    "key usage without keyCertSign": {"key_cert_sign": False},
    "key usage without bits": {"key_cert_sign": None, **raw(KEY_USAGE, b"\3\1\0")},
    "usage serverAuth": usages(Usage.SERVER_AUTH),
    "usage clientAuth": usages(Usage.CLIENT_AUTH),
    "usages serverAuth, clientAuth": usages(Usage.SERVER_AUTH, Usage.CLIENT_AUTH),
    "usages critical": usages(Usage.SERVER_AUTH, Usage.CLIENT_AUTH, critical=True),
    "usages and any": usages(Usage.SERVER_AUTH, Usage.CLIENT_AUTH, Usage.ANY_EXTENDED_KEY_USAGE),
    "usage any": usages(Usage.ANY_EXTENDED_KEY_USAGE),
    "usage email": usages(Usage.EMAIL_PROTECTION),
    "usages email, serverAuth": usages(Usage.EMAIL_PROTECTION, Usage.SERVER_AUTH),
    "usage unknown": usages(x509.ObjectIdentifier("1.2.3.4")),
    "usages empty": raw(EXTENDED, tlv(0x30, b"")),
    "unknown extension": {"extensions": ((UNKNOWN, False),)},
    "unknown extension critical": {"extensions": ((UNKNOWN, True),)},
    "policies": {"extensions": ((POLICIES, False),)},
    "policies critical": {"extensions": ((POLICIES, True),)},
    "policies twice": raw("2.5.29.32", tlv(0x30, tlv(0x30, POLICY) * 2)),
    "policy constraints": {"extensions": ((REQUIRE, False),)},
    "policy constraints critical": {"extensions": ((REQUIRE, True),)},
    "policy constraints and policies": {"extensions": ((REQUIRE, False), (POLICIES, False))},
    "policy mappings critical": raw("2.5.29.33", tlv(0x30, tlv(0x30, POLICY + POLICY)), True),
    "inhibit any policy critical": {"extensions": ((x509.InhibitAnyPolicy(0), True),)},
    "CRL addresses critical": {"extensions": ((POINTS, True),)},
    "key identifier critical": {"identifiers": False, **raw("2.5.29.14", tlv(4, b"x" * 20), True)},
    "authority identifier critical": {"identifiers": False, **raw("2.5.29.35", tlv(0x30, tlv(0x80, b"x" * 20)), True)},
    "information access critical": {"extensions": ((ACCESS, True),)},
    "issuer alternative name critical": {"extensions": ((x509.IssuerAlternativeName([dns("a.example")]), True),)},
    "authority identifier of another key": {"aki": b"x" * 20},
    "no identifiers": {"identifiers": False},
    "authority by name and serial": {"authority": x509.AuthorityKeyIdentifier(None, [directory("x")], 7)},
    "names, DNS": names(dns("a.cluster.local")),
    "names critical": names(dns("a.cluster.local"), critical=True),
    "names, only a directory, critical": names(directory("x"), critical=True),
    "names, only a directory": names(directory("x")),
    "names, all kinds": names(dns("a.example"), uri("spiffe://a.example/x"), mail("me@a.example"), directory("x")),
    "names, a wildcard": names(dns("*.cluster.local")),
    "names, beyond ASCII": raw_names((0x82, b"\xc3\xa4.example")),
    "names, DNS that is none": raw_names((0x82, b"a b")),
    "names, DNS with a dot at its end": raw_names((0x82, b"a.example.")),
    "names, URI with a bad escape": raw_names((0x86, b"spiffe://a.example/%zz")),
    "names, URI with a blank host": raw_names((0x86, b"spiffe://a b/")),
    "names, URI without a host": raw_names((0x86, b"urn:a:b")),
    "names, mail that is none": raw_names((0x81, b"nobody")),
    "names, none": raw(SAN, tlv(0x30, b"")),
    "limits to the mesh": limits([dns("cluster.local")]),
    "limits to below the mesh": limits([dns(".cluster.local")]),
    "limits not critical": limits([dns("cluster.local")], critical=False),
    "limits to another domain": limits([dns("corp.example")]),
    "limits to another domain, not critical": limits([dns("corp.example")], critical=False),
    "limits to one of two domains": limits([dns("corp.example"), dns("identity.linkerd.cluster.local")]),
    "limits to every name": limits([dns("")]),
    "limits to upper case": limits([dns("CLUSTER.LOCAL")]),
    "limits to part of a label": limits([dns("uster.local")]),
    "excludes the mesh": limits(None, [dns("cluster.local")]),
    "excludes below the mesh": limits(None, [dns(".cluster.local")]),
    "excludes another domain": limits(None, [dns("corp.example")]),
    "excludes every name": limits(None, [dns("")]),
    "permits and excludes": limits(
        [dns("cluster.local")], [dns("default.serviceaccount.identity.linkerd.cluster.local")]
    ),
    "limits addresses": limits([network("10.0.0.0/8")]),
    "limits to no address": limits(None, [network("0.0.0.0/0")]),
    "limits mails": limits([mail("corp.example")]),
    "limits URIs": limits([uri(".corp.example")]),
    "excludes URIs": limits(None, [uri("corp.example")]),
    "limits directories": limits([directory("x")]),
    "limits directories, not critical": limits([directory("x")], critical=False),
    "excludes directories": limits(None, [directory("x")]),
    "excludes directories, not critical": limits(None, [directory("x")], critical=False),
    "limits registered ids": limits([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))]),
    "limits to a DNS name that is none": raw_limit(0x82, b"-x.local"),
    "limits with a dot at the end": raw_limit(0x82, b"cluster.local."),
    "limits with an empty label": raw_limit(0x82, b"cluster..local"),
    "limits beyond ASCII": raw_limit(0x82, b"\xc3\xa4"),
    "limits with a minimum": raw_limit(0x82, b"cluster.local", more=b"\x80\1\0"),
    "limits with a URI that is an address": raw_limit(0x86, b"10.0.0.1"),
    "limits with a mailbox that is none": raw_limit(0x81, b"a b@c"),
    "expired": {"end": NOW - DAY / 2},
    "not yet valid": {"start": NOW + DAY},
    "until 9999": {"end": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)},
    "since 1950": {"start": datetime(1950, 1, 1, tzinfo=UTC)},
    "signed by another key": {"sign_with": key("p256", 99)},
    "empty name": {"name": x509.Name([])},
    **{
        f"hash {one.name}": {"algorithm": one}
        for one in (hashes.SHA224(), hashes.SHA384(), hashes.SHA512(), hashes.SHA3_256())
    },
}
KEYS = {
    **{name: key(name, 60) for name in ("p224", "p384", "p521", "rsa1024", "rsa2048", "rsa3072", "rsa4096", "ed25519")},
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "brainpool": ec.generate_private_key(ec.BrainpoolP256R1()),
}
ODDITIES |= {f"key {name}": {"own_key": one} for name, one in KEYS.items()}
