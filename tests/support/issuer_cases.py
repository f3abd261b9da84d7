# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Issuers and trust anchors of Linkerd, and the components that refuse them: a sample for Linkerd's own programs."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from support.authority import Credential, key, make
from support.oddities import ODDITIES, usages

now = datetime.now(UTC).replace(microsecond=0)


def create(*arguments, **options) -> Credential:
    """A certificate that is valid now, unless the options differ."""
    return make(*arguments, **{"start": now - timedelta(days=1), "end": now + timedelta(days=30), **options})


def issuer_of(root: Credential, **options) -> Credential:
    return create(options.pop("name", "identity.linkerd.cluster.local"), root, own_key=key("p256", 1), **options)


ROOT = create("root.linkerd.cluster.local")
ISSUER = issuer_of(ROOT)
CRITICAL_IDENTIFIER = create("root", **ODDITIES["authority identifier critical"])
SHORT = create("same name", path_length=0)
# Issuer, text of the trust anchors, and the components that refuse them. Created for the current time, which the
# controller uses.
CASES: dict[str, tuple[Credential, str, set[str]]] = {
    "valid": (ISSUER, ROOT.pem, set()),
    "blank line after the last block": (ISSUER, f"{ROOT.pem}\n", {"identity controller", "linkerd check"}),
    "byte order mark": (ISSUER, f"\ufeff{ROOT.pem}", {"identity controller", "linkerd check", "proxies"}),
    "headers in the block": (
        ISSUER,
        ROOT.pem.replace("CERTIFICATE-----\n", "CERTIFICATE-----\nA: b\n\n", 1),
        {"proxies"},
    ),
    "critical authority key identifier": (
        issuer_of(CRITICAL_IDENTIFIER),
        CRITICAL_IDENTIFIER.pem,
        {"identity controller", "linkerd check"},
    ),
    "issuer with serverAuth only": (issuer_of(ROOT, **usages(Usage.SERVER_AUTH)), ROOT.pem, {"proxies"}),
    "issuer with emailProtection only": (
        issuer_of(ROOT, **usages(Usage.EMAIL_PROTECTION)),
        ROOT.pem,
        {"identity controller", "linkerd check", "proxies"},
    ),
    "self-issued issuer below path length 0": (issuer_of(SHORT, name="same name"), SHORT.pem, {"Go clients"}),
    "issuer is not a CA": (
        issuer_of(ROOT, ca=False),
        ROOT.pem,
        {"identity controller", "proxies"},
    ),
    "another root": (
        ISSUER,
        create("root.linkerd.cluster.local", own_key=key("p256", 2)).pem,
        {"identity controller", "linkerd check", "proxies"},
    ),
}


def secret_data(issuer: Credential, anchors: str) -> dict[str, str]:
    """The data of a Secret of the type kubernetes.io/tls that cert-manager would write."""
    values = {"tls.crt": issuer.pem.encode(), "tls.key": issuer.key_pem, "ca.crt": anchors.encode()}
    return {name: base64.b64encode(value).decode() for name, value in values.items()}
