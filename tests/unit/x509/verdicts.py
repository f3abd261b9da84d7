# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of the oracles and of the profile for the same texts, for comparison."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import corpus
import oracles
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from support import forge
from support.authority import NOW

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains

CONTROLLER, PROXIES, CHECK = "identity controller", "proxies", "linkerd check"


def ours(chain: bytes, anchors: bytes, at: datetime = NOW) -> Any:
    """Return the verdict of the profile, or None if cryptography cannot parse a certificate."""
    try:
        found = [certs.parse_bundle(text) for text in (chain, anchors)]
    except certs.X509Error:
        return None
    required = chains.requirements(at, "linkerd")
    return chains.verify(found[0], found[1], required, ([chain], [anchors]))


@dataclass(frozen=True)
class Controller:
    """The result of Go. `check` is that of linkerd check if it reads all of these anchors."""

    reads: bool
    controller: bool
    check: bool
    intermediates: tuple[bytes, ...]
    answer: str

    @classmethod
    def of(cls, chain: bytes, anchors: bytes, at: datetime = NOW) -> Controller:
        found = oracles.ask_controller(chain, anchors, at)
        reads = not (found["ReadChain"] or found["ReadAnchors"])
        verifies = reads and not found["Verify"]
        return cls(
            reads,
            verifies and not found["IsCA"],
            verifies and not (found["IssuerAlg"] or found["AnchorAlgs"] or found["AnchorTimes"]),
            tuple(base64.b64decode(der) for der in found["Intermediates"] or ()),
            str({key: value for key, value in found.items() if key != "Intermediates"}),
        )


def signs_workloads(case: corpus.Case) -> bool:
    return isinstance(case.chain[0].key, ec.EllipticCurvePrivateKey)


def ask_proxies(case: corpus.Case, at: datetime = NOW) -> dict[str, str] | None:
    """Return the result of webpki for a workload below the issuer, or None if the controller signs none."""
    chain, anchors = case.texts
    go = Controller.of(chain, anchors, at)
    if not go.reads or not signs_workloads(case):
        return None
    try:
        workload = corpus.workload(case.chain[0], at)
    except (ValueError, x509.InvalidVersion):
        return None
    found = oracles.ask_proxies([forge.der(workload), *go.intermediates], anchors, at, corpus.WORKLOAD)
    return {use: (found["anchors"] or found[use]).partition(" ")[0].partition("(")[0] for use in ("server", "client")}
