# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a chain leads to an anchor, and if not, exactly why. Private to this collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import x509
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import cryptography_verifier, linkerd, rules
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import MAX_EDGES, Builder, Node
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.rules import Requirements, Verdict

PROFILES = ("linkerd",)
MAX_OBSTACLES = 20  # candidates for an issuer that a verdict names


def requirements(
    at: str | datetime | None = None,
    profile: str | None = None,
    key_types: list[str] | str | None = None,
    leaf_min_days: float = 0,
    anchor_min_days: float = 0,
    workload: str | None = None,
) -> Requirements:
    """From what a playbook gives; a list may be a text with commas, as everywhere in Ansible."""
    if isinstance(key_types, str):
        key_types = [one.strip() for one in key_types.split(",")]
    if profile not in (None, *PROFILES):
        raise certs.X509Error(f"There is no profile {profile!r}. Choose one of: {', '.join(PROFILES)}")
    try:
        return Requirements(
            at=moment(at),
            profile=profile,
            key_types=tuple(key_types or ()),
            leaf_min_life=timedelta(days=float(leaf_min_days)),
            anchor_min_life=timedelta(days=float(anchor_min_days)),
            workload=workload or workload_name(),
        )
    except (TypeError, OverflowError, ValueError) as exc:
        raise certs.X509Error(f"Requirements of the chain: {exc}") from exc


def workload_name(
    service_account: str = "default",
    namespace: str = "default",
    linkerd_namespace: str = "linkerd",
    trust_domain: str = "cluster.local",
) -> str:
    """The DNS identity of a workload (linkerd2: controller/identity/trust_domain.go)."""
    return f"{service_account}.{namespace}.serviceaccount.identity.{linkerd_namespace}.{trust_domain}"


def moment(at: str | datetime | None) -> datetime:
    """A time with its zone. UTC where none is given, now when there is no time."""
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
    wanted: Requirements,
    texts: tuple[Sequence[bytes], Sequence[bytes]] | None = None,
) -> Verdict:
    """Judges the first certificate of the chain; the others help, in any order. Anchors are trusted as given.

    The texts are those of the chain and of the anchors, which the profile linkerd reads as Linkerd does.
    """
    if wanted.profile == "linkerd":
        of_chain, of_anchors = texts or (None, None)
        return linkerd.verify(
            linkerd.Texts.of("the chain", chain, of_chain),
            linkerd.Texts.of("the trust anchors", anchors, of_anchors),
            wanted,
        )
    verdict = _generic(chain, anchors, wanted)
    return replace(verdict, second_judge=lambda: cryptography_verifier.judge(chain, anchors, wanted.at))


def _generic(chain: list[x509.Certificate], anchors: list[x509.Certificate], wanted: Requirements) -> Verdict:
    leaf, *others = [Node(certificate) for certificate in chain]
    builder = Builder(others, [Node(certificate) for certificate in anchors])
    best = None
    for path in builder.paths(leaf):
        verdict = Verdict(path, list(rules.path_reasons(path, wanted)))
        if verdict.verified:
            return verdict
        if best is None or len(verdict.reasons) < len(best.reasons):
            best = verdict
    if best is not None:
        return best
    partial = builder.partial or [leaf]
    obstacles = builder.obstacles[:MAX_OBSTACLES]
    if builder.exhausted:
        text = f"No path was found among the first {MAX_EDGES} candidates: give fewer certificates of the same names"
        obstacles = [leaf.reason("too_complex", text)]
    return Verdict(partial, [*obstacles, *rules.path_reasons(partial, wanted, complete=False)])
