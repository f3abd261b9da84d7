# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify a chain: find a path to a trust anchor, or return why there is none. Private to this collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import x509
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import (
    cryptography_verifier,
    linkerd,
    name_constraints,
    rules,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import MAX_EDGES, Builder, Node
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.rules import Requirements, Verdict

PROFILES = ("linkerd",)
MAX_OBSTACLES = 20  # reasons in a verdict without a path


def requirements(
    at: str | datetime | None = None,
    profile: str | None = None,
    key_types: list[str] | str | None = None,
    leaf_min_days: float = 0,
    anchor_min_days: float = 0,
    workload: str | None = None,
    intermediate_min_days: float = 0,
) -> Requirements:
    """Return the requirements from the options of the filters. Raises X509Error. A list may be comma-separated."""
    if isinstance(key_types, str):
        key_types = [one.strip() for one in key_types.split(",")]
    if profile not in (None, *PROFILES):
        raise certs.X509Error(
            f"profile {profile!r} does not exist. Choose one of: {', '.join(PROFILES)}", code="invalid_option"
        )
    try:
        return Requirements(
            at=parse_time(at),
            profile=profile,
            key_types=tuple(key_types or ()),
            leaf_min_validity=timedelta(days=float(leaf_min_days)),
            anchor_min_validity=timedelta(days=float(anchor_min_days)),
            intermediate_min_validity=timedelta(days=float(intermediate_min_days)),
            workload=workload or workload_name(),
        )
    except (TypeError, OverflowError, ValueError) as exc:
        raise certs.X509Error(f"An option of the verification is not valid: {exc}", code="invalid_option") from exc


def workload_name(
    service_account: str = "default",
    namespace: str = "default",
    linkerd_namespace: str = "linkerd",
    trust_domain: str = "cluster.local",
) -> str:
    """Return the DNS identity of a workload (linkerd2: controller/identity/trust_domain.go)."""
    return f"{service_account}.{namespace}.serviceaccount.identity.{linkerd_namespace}.{trust_domain}"


def parse_time(at: str | datetime | None) -> datetime:
    """Return a time in UTC, by default now. A time without a zone is UTC."""
    if at is None:
        return datetime.now(UTC)
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    if not isinstance(at, datetime):
        raise TypeError("at is a time in ISO 8601, such as 2026-11-24T12:00:00Z")
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"at {at.isoformat()} is outside the years 1 to 9999 in UTC: give another time") from None


def verify(
    chain: list[x509.Certificate],
    anchors: list[x509.Certificate],
    required: Requirements,
    texts: tuple[Sequence[bytes], Sequence[bytes]] | None = None,
) -> Verdict:
    """Verify the first certificate of the chain. The others can be in any order. Anchors are trusted as they are.

    `texts` are the PEM texts of chain and anchors. The profile linkerd checks that Linkerd can read them.
    """
    if required.profile == "linkerd":
        chain_texts, anchor_texts = texts or (None, None)
        return linkerd.verify(
            linkerd.Texts.of("the chain", chain, chain_texts),
            linkerd.Texts.of("the trust anchors", anchors, anchor_texts),
            required,
        )
    verdict = _verify_rfc5280(chain, anchors, required)
    return replace(verdict, run_cryptography=lambda: cryptography_verifier.verify(chain, anchors, required.at))


def _verify_rfc5280(chain: list[x509.Certificate], anchors: list[x509.Certificate], required: Requirements) -> Verdict:
    leaf, *others = [Node(certificate) for certificate in chain]
    builder = Builder(others, [Node(certificate) for certificate in anchors])
    limits = name_constraints.limits()
    best = None
    for path in builder.paths(leaf):
        verdict = Verdict(path, list(rules.path_reasons(path, required, limits)))
        if verdict.verified or limits.reached:
            return verdict
        if best is None or len(verdict.reasons) < len(best.reasons):
            best = verdict
    if best is not None:
        return best
    partial = builder.partial or [leaf]
    obstacles = builder.obstacles[:MAX_OBSTACLES]
    if builder.exhausted:
        message = f"There is no path among the first {MAX_EDGES} candidates: give fewer certificates of the same name"
        obstacles = [leaf.reason("too_complex", message)]
    return Verdict(partial, [*obstacles, *rules.path_reasons(partial, required, limits, complete=False)])
