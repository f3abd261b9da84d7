# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how many chains x509_chain verifies in a second, compared with a process of openssl and with cryptography.

The time is from PEM text to the verdict, without the facts. A chain is leaf, issuer and root with EC P-256 keys, and
valid for the Web PKI, so that the verifier of cryptography accepts it. Then the time for the worst inputs is measured,
with and without the profile linkerd.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = Path(__file__).resolve().parent.parent
NAME = "leaf.example.org"
COUNT = 100


def make(name: str, key, issuer: str, signer, authority: bool) -> x509.Certificate:
    subject, above = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer))
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(above, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(identifier, False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    builder = builder.add_extension(x509.BasicConstraints(authority, None), True)
    usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
    builder = builder.add_extension(usage, True)
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return builder.sign(signer, hashes.SHA256())


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def chains() -> tuple[list[str], str]:
    """Return chains that have only the root in common, so that no result can be cached."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    found = []
    for number in range(COUNT):
        issuer_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issuer = make(f"issuer {number}", issuer_key, "root", root_key, True)
        leaf = make(NAME, leaf_key, f"issuer {number}", issuer_key, False)
        found.append(pem(leaf) + pem(issuer))
    return found, pem(make("root", root_key, "root", root_key, True))


def per_second(verify: Callable[[str], bool], chains: list[str], seconds: float = 0.1) -> float:
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        if not verify(chains[done % len(chains)]):
            raise SystemExit("a valid chain was refused, so the figures would be wrong")
        done += 1
    return done / passed


def with_cryptography(anchors: str) -> Callable[[str], bool]:
    roots = x509.load_pem_x509_certificates(anchors.encode())

    def verify(chain: str) -> bool:
        leaf, *others = x509.load_pem_x509_certificates(chain.encode())
        builder = verification.PolicyBuilder().store(verification.Store(roots))
        return bool(builder.build_server_verifier(x509.DNSName(NAME)).verify(leaf, others))

    return verify


def with_openssl(folder: Path, anchors: str) -> Callable[[str], bool]:
    (folder / "anchors").write_text(anchors)

    def verify(chain: str) -> bool:
        (folder / "chain").write_text(chain)
        command = ["openssl", "verify", "-CAfile", folder / "anchors", "-untrusted", folder / "chain", folder / "chain"]
        return subprocess.run(command, capture_output=True).returncode == 0

    return verify


def authority(subject: str, key, issuer: str, signer, *extensions: x509.ExtensionType) -> str:
    name, above = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (subject, issuer))
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(above, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    for extension in (x509.BasicConstraints(True, None), *extensions):
        builder = builder.add_extension(extension, True)
    return pem(builder.sign(signer, hashes.SHA256()))


def names(count: int) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(f"a{number}.cluster.local") for number in range(count)])


def root_of_many(count: int, limits: x509.NameConstraints | None) -> tuple[str, str]:
    """Return an issuer and anchors: many of the same name, or one that constrains the many names of the issuer."""
    root_key, issuer_key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    if limits is not None:
        issuer = authority("identity", issuer_key, "root", root_key, names(count))
        return issuer, authority("root", root_key, "root", root_key, limits)
    anchors = [authority("root", key, "root", key) for key in (*[other] * count, root_key)]
    return authority("identity", issuer_key, "root", root_key), "".join(anchors)


def many_ways(count: int, names_of_issuer: int, limits: x509.NameConstraints) -> tuple[str, str]:
    """Return an issuer with many certificates for its intermediate, and a root that does not permit its names."""
    root_key, middle_key, issuer_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    issuer = authority("identity", issuer_key, "middle", middle_key, names(names_of_issuer))
    ways = [authority("middle", middle_key, "root", root_key) for _ in range(count)]
    return "".join([issuer, *ways]), authority("root", root_key, "root", root_key, limits)


def worst() -> dict[str, tuple[str, str]]:
    trees = [x509.DNSName(f"d{number}.example") for number in range(1999)]
    limits = x509.NameConstraints([*trees, x509.DNSName("cluster.local")], None)
    return {
        "1001 anchors of one name": root_of_many(1000, None),
        "1000 names under 2000 constraints": root_of_many(1000, limits),
        "500 ways, 3000 names under 100 constraints": many_ways(500, 3000, x509.NameConstraints(trees[:100], None)),
        "40 ways, 4000 names under 1000 constraints": many_ways(40, 4000, x509.NameConstraints(trees[:1000], None)),
    }


def main() -> None:
    sys.path.insert(0, str(ROOT / ".collections"))
    from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
    from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains as verify_chains

    pems, anchors = chains()
    roots = certs.parse_bundle(anchors)

    def own(chain: str) -> bool:
        return verify_chains.verify(certs.parse_bundle(chain), roots, verify_chains.requirements()).verified

    with tempfile.TemporaryDirectory() as folder:
        spawned = with_openssl(Path(folder), anchors)
        verifiers = {"x509_chain": own, "openssl spawned": spawned, "cryptography alone": with_cryptography(anchors)}
        rounds = [{name: per_second(verify, pems) for name, verify in verifiers.items()} for _ in range(25)]
    # The best of many short rounds, so that other load on the machine affects all verifiers alike.
    figures = {name: max(figures[name] for figures in rounds) for name in verifiers}
    for name, figure in figures.items():
        print(f"{name:20} {figure:8.0f} chains/s   x509_chain is {figures['x509_chain'] / figure:.2f} times that")
    from ansible_collections.servicemesh.pki.plugins.filter.x509 import x509_chain

    for name, (chain, anchors) in worst().items():
        for profile in (None, "linkerd"):
            started = time.process_time()
            codes = {reason["code"] for reason in x509_chain(chain, anchors, profile=profile)["reasons"]}
            answer = ", ".join(sorted(codes)) or "verified"
            print(f"{name}, profile {profile}: {time.process_time() - started:.3f} s of the processor, {answer}")


if __name__ == "__main__":
    main()
