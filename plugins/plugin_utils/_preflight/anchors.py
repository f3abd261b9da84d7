# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a run removes a trust anchor that a mesh needs, or signs with a CA that the mesh refuses. Pure.

An anchor is needed when the identity issuer or the certificate of a pod chains to it, when a pod trusts it and
trusts none of the anchors of the new bundle, or when the cluster has the extension linkerd-multicluster: the
certificates of linked clusters may chain to it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import (
    Encoding,
    PublicFormat,
    x509,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.result import Facts, Result
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.vault import by_reference
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import candidate
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import linkerd as verifier

GROUP = "cert-manager.io"  # of the kinds Issuer and ClusterIssuer
MULTICLUSTER = "links.multicluster.linkerd.io"  # CRD of the extension, which both sides of a link have
SHOWN = 3  # pods that a message names
UNREAD = ("forbidden", "unreadable")
Key = tuple[bytes, bytes]


@dataclass(frozen=True)
class Plan:
    """The trust anchors after the run."""

    anchors: list[str]  # PEM of those that exist already
    signer: str  # PEM of the CA that will sign the identity issuer; empty when it does not exist yet
    signer_name: str  # for messages; empty when the run does not change the signer
    missing_root: str = ""  # name, for messages, of the root that Vault does not have yet
    root: str = ""  # PEM of the root in Vault; empty when it does not exist yet
    known: tuple[str, ...] = ()  # PEM of the CAs in Vault, which the signer may chain to
    beside: tuple[str, ...] = ()  # PEM of the CAs in the mount of the signer: Vault returns those above the signer
    identity: str = ""  # name in the certificate of the identity issuer
    is_checked: bool = True  # whether the run calls linkerd check
    accepted: frozenset[str] = frozenset()  # codes that verify.yml does not report as errors
    retired: frozenset[str] = frozenset()  # SHA-256 fingerprints of anchors that no linked cluster needs
    ca_of_secret: str = ""  # PEM of the ca.crt that cert-manager will write, if the Bundle reads the anchor from there
    kept_issuer: Facts = field(default_factory=dict)  # that the run does not change, so the ca.crt it wrote stays

    @classmethod
    def of_run(cls, requested: Facts) -> Plan:
        """The plan of a run, from what the role linkerd requests and from the roots in Vault.

        `vault` is what the role vault_pki publishes, with `issuer_name` and `issuer_path` of the issuer that uses
        Vault, and `is_managed`, whether the run writes that issuer. `signers` are the issuers in the mount of
        `issuer_path`, if it is another one. A run of the role linkerd alone has no `vault`.
        """
        linkerd, vault = requested["linkerd"], requested.get("vault")
        retired = frozenset(one.replace(":", "").lower() for one in requested.get("retired_anchors") or [])
        issuer = linkerd["issuer"]
        reads_secret = linkerd["trust_source"] == "secret"
        own = [] if reads_secret else linkerd["anchors"]
        if vault is None:
            kept = issuer if reads_secret else {}
            return cls(own + linkerd["extra_anchors"], "", "", retired=retired, kept_issuer=kept)
        root, roots = vault["root"], by_reference(vault["issuers"])
        mount, name = (re.findall("^(.+)/issuer/([^/]+)/", vault["issuer_path"].strip("/")) or [("", "")])[0]
        signers = roots if mount == vault["mount"].strip("/") else by_reference(vault.get("signers") or [])
        signer = signers.get(name, "")
        is_used = issuer["group"] == GROUP and issuer["name"] == vault["issuer_name"]
        is_written = is_used and vault["is_managed"]
        # cert-manager takes the last certificate of the chain that Vault returns from the mount of the signer.
        ca = chain(signer, signers.values())[-1] if reads_secret and is_used and signer else ""
        return cls(
            own + [ca] * bool(ca) + linkerd["extra_anchors"],
            signer,
            f"issuer {name} in mount {mount} of Vault" if name and is_written else "",
            "" if root in roots else f"The issuer {root} in mount {vault['mount']} of Vault",
            roots.get(root, ""),
            tuple(sorted({*roots.values(), *signers.values()})),
            tuple(sorted({*signers.values()})),
            linkerd["common_name"],
            linkerd["check"] and not linkerd.get("is_in_git"),
            frozenset(requested.get("verify_allowed") or []),
            retired,
            ca,
            issuer if reads_secret and not is_written else {},
        )

    def intermediates(self) -> list[x509.Certificate]:
        """The CAs between the next identity issuer and its root. Empty when the run does not change the signer."""
        above = chain(self.signer, self.known) if self.signer and self.signer_name else []
        return [one for text in above for one in certs.parse_bundle(text)[:1] if not certs.is_self_signed(one)]


def chain(signer: str, known: Iterable[str]) -> list[str]:
    """The PEM of a CA and of those above it: up to a root, or to one whose signer is not known."""
    parsed_by_text = {text: certs.parse_bundle(text)[0] for text in (signer, *known)}
    roots_first = sorted(parsed_by_text, key=lambda text: not certs.is_self_signed(parsed_by_text[text]))
    path = [signer]
    while not certs.is_self_signed(parsed_by_text[path[-1]]):
        below = parsed_by_text[path[-1]]
        signs = (one for one in roots_first if one not in path and certs.is_signed_by(below, parsed_by_text[one]))
        above = next(signs, None)
        if above is None:
            break
        path.append(above)
    return path


@dataclass
class Mesh:
    """The certificates of a running mesh."""

    found: Facts
    leaves: Facts | None
    anchors: dict[Key, x509.Certificate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in (self.found["anchors"], *self.found["copies"]):
            self.add(part["certificates"])
        for group in self.found["pods"]:
            self.add(group["certificates"])

    def add(self, certificates: Iterable[Facts]) -> None:
        for one in parsed(certificates):
            self.anchors.setdefault(key(one), one)

    @property
    def issuer(self) -> list[x509.Certificate]:
        return parsed(self.found["issuer"]["certificates"])

    def path(self, chain: list[x509.Certificate], roots: Container[Key] = ()) -> set[Key]:
        """The keys of all certificates that a chain leads to, without those that signed one of the `roots`."""
        pool = [*chain, *self.issuer, *parsed(self.found["signer"]["certificates"]), *self.anchors.values()]
        reached, pending = set(), chain[:1]
        while pending:
            one = pending.pop()
            if key(one) not in reached:
                reached.add(key(one))
                if key(one) not in roots:
                    pending += [other for other in pool if certs.is_signed_by(one, other)]
        return reached

    def certificate_needs(self) -> dict[Key, str]:
        """For each anchor, by its key, a sentence about what chains to it."""
        needs: dict[Key, str] = {}
        for one in (self.leaves or {}).get("leaves") or []:
            above = parsed(one["certificates"])
            # Those with the same certificates above them have the same signer.
            for leaf in one["leaves"][:1] if above else one["leaves"]:
                names = [other["pod"] for other in one["leaves"]] if above else [leaf["pod"]]
                for reached in self.path([*parsed([leaf]), *above]):
                    needs.setdefault(reached, f"the certificates of {some(names)} chain to it")
        for reached in self.path(self.issuer) if self.issuer else ():
            needs[reached] = f"the identity issuer in {self.found['issuer']['where']} chains to it"
        return needs


def check(result: Result, found: Facts, plan: Plan, leaves: Facts | None = None) -> None:
    """Add the problems of one cluster.

    Sets `needs_leaves` when the certificates of the pods decide whether an anchor can be removed.
    """
    mesh = Mesh(found["mesh"], leaves)
    planned = {key(one): one for text in plan.anchors for one in certs.parse_bundle(text)}
    if plan.kept_issuer and plan.kept_issuer == found["mesh"]["issuer_reference"]:
        planned |= {key(one): one for one in parsed(found["mesh"]["signer"]["certificates"])}
    if "anchor_not_a_root" not in plan.accepted:
        _check_root(result, mesh, plan, planned)
        _check_ca_of_secret(result, mesh, plan)
    if not mesh.issuer and not (mesh.anchors and found["mesh"]["pods"]):
        return  # no mesh runs here; pods without any trust anchor are still waiting for one
    is_linked = any(one["name"] == MULTICLUSTER for one in found["definitions"])
    _check_dropped(result, mesh, plan, planned, is_linked)
    if plan.signer_name:
        _check_signer(result, mesh, plan)


def _check_root(result: Result, mesh: Mesh, plan: Plan, planned: dict[Key, x509.Certificate]) -> None:
    """An intermediate CA as the trust anchor, unless the mesh trusts it already: then another anchor is a rotation.

    Other clusters of the mesh may trust it already. Then the user lets verify.yml accept it, and this is not checked.
    """
    root = certs.parse_bundle(plan.root)[0] if plan.root else None
    if root and not certs.is_self_signed(root) and key(root) in planned.keys() - mesh.anchors.keys():
        result.problem(
            "anchor_not_a_root",
            f"trust anchor {named(root)}",
            f"The issuer of pki_root_issuer_name, {named(root)}, is not self-signed, so it is not a root. As the trust "
            "anchor, verify.yml and rotate_trust_anchor.yml would refuse it. Set pki_vault_mount and "
            "pki_root_issuer_name to the root above it, and vault_issuer_path to the path at which this issuer signs "
            "(see docs/guides/real-clusters.md). If it already is the trust anchor of other clusters of the mesh, add "
            "anchor_not_a_root to pki_verify_allowed.",
        )


def _check_ca_of_secret(result: Result, mesh: Mesh, plan: Plan) -> None:
    """An intermediate CA that the Bundle would take from the Secret: Vault does not return the root above it."""
    ca = certs.parse_bundle(plan.ca_of_secret)[0] if plan.ca_of_secret not in ("", plan.root) else None
    if ca and not certs.is_self_signed(ca) and key(ca) not in mesh.anchors:
        result.problem(
            "anchor_not_a_root",
            f"trust anchor {named(ca)}",
            "linkerd_trust_source is secret, so the trust anchor is the ca.crt that cert-manager gets from Vault. That "
            f"is {named(ca)}, which is not a root, because its mount does not have the CAs above it. The next "
            "intermediate CA would replace it as the trust anchor under the running mesh. Import the CAs above it into "
            "the mount of vault_issuer_path, or set linkerd_trust_source to anchors.",
        )


def _check_dropped(
    result: Result, mesh: Mesh, plan: Plan, planned: dict[Key, x509.Certificate], is_linked: bool
) -> None:
    dropped = {one: certificate for one, certificate in mesh.anchors.items() if one not in planned}
    if not dropped:
        return
    needs = mesh.certificate_needs()
    for group in mesh.found["pods"]:
        carried = {key(one) for one in parsed(group["certificates"])}
        if carried and not carried & planned.keys():
            for one in carried:
                needs.setdefault(one, f"{some(group['pods'])} trust it and none of the new anchors")
    published = {key(one): one for one in parsed(mesh.found["anchors"]["certificates"]) if key(one) in dropped}
    for one, certificate in published.items():
        if is_linked and certs.fingerprint(certificate) not in plan.retired:
            needs.setdefault(one, _of_linked(certificate))
    needed = {one: certificate for one, certificate in dropped.items() if one in needs}
    if not needed:
        unread = [one["pod"] for one in (mesh.leaves or {}).get("leaves_missing") or [] if one["code"] in UNREAD]
        result.needs_leaves = mesh.leaves is None and bool(mesh.found["pods"])
        needs.update(dict.fromkeys(dropped, f"the certificates of {some(unread)} could not be read"))
        needed = dropped if unread else {}
    if not needed and not result.needs_leaves:
        _note_dropped(result, mesh, published.values())
    disjoint = needed and not planned.keys() & mesh.anchors.keys()
    for one, certificate in needed.items():
        result.problem(
            "anchors_disjoint" if disjoint else "anchor_missing",
            f"trust anchor {named(certificate)}",
            f"The run would remove the trust anchor {named(certificate)} from {mesh.found['anchors']['where']}, but "
            f"{needs[one]}. {_advice(plan)}",
        )


def _of_linked(certificate: x509.Certificate) -> str:
    return (
        "the cluster has the extension linkerd-multicluster, so the certificates of linked clusters may chain to it. "
        f"If none does, add its fingerprint {certs.fingerprint(certificate)} to pki_retired_trust_anchors"
    )


def _note_dropped(result: Result, mesh: Mesh, certificates: Iterable[x509.Certificate]) -> None:
    for one in certificates:
        result.note(
            "anchor_dropped",
            f"trust anchor {named(one)}",
            f"The run removes the trust anchor {named(one)} from {mesh.found['anchors']['where']}. Nothing in this "
            "cluster needs it.",
        )


def _advice(plan: Plan) -> str:
    lost = f"{plan.missing_root} does not exist, so this may be the wrong Vault, or one that lost its keys. "
    return (lost if plan.missing_root else "") + (
        "If the anchor is the root of another issuer in Vault, set vault_pki_previous_root to that issuer's name or "
        "use the Vault that has it. If it is not in Vault, add its certificate to pki_extra_trust_anchors. It can "
        "be removed after the rotation is complete."
    )


def _check_signer(result: Result, mesh: Mesh, plan: Plan) -> None:
    signer = certs.parse_bundle(plan.signer)[0] if plan.signer else None
    if signer and key(signer) in mesh.path(mesh.issuer):
        return  # it signs already
    above = _above(mesh, plan, signer) if signer else set()
    published = {key(one) for one in parsed(mesh.found["anchors"]["certificates"])}
    without = []
    for group in mesh.found["pods"]:
        carried = {key(one) for one in parsed(group["certificates"])}
        if group["evidence"] == "started_after":
            carried = published
        elif group["evidence"] == "started_before":
            carried = set()  # unknown
        if not above & carried:
            without += group["pods"]
    if without and signer is None:
        result.problem(
            "signer_untrusted",
            plan.signer_name,
            f"The {plan.signer_name} would sign the next identity issuer, but it does not exist or cannot be read, so "
            f"{some(sorted(without))} cannot trust it yet. Check vault_issuer_path. Before a new root can sign, "
            "distribute its certificate and restart the workloads (see docs/guides/rotation.md).",
        )
    elif without:
        result.problem(
            "signer_untrusted",
            plan.signer_name,
            f"The {plan.signer_name} would sign the next identity issuer, but {some(sorted(without))} trust neither it "
            "nor a CA above it yet, so they would reject every workload certified after that. Distribute the "
            "certificate of its root first and restart the workloads. Do not change the signer before that (see "
            "docs/guides/rotation.md).",
        )
    elif signer:
        _check_usable(result, mesh, plan, signer, above)


def _check_usable(result: Result, mesh: Mesh, plan: Plan, signer: x509.Certificate, above: set[Key]) -> None:
    """Whether Linkerd accepts what the signer signs. cert-manager uses it only when it renews the identity issuer."""
    trusted = [one for one_key, one in mesh.anchors.items() if one_key in above]
    beside = [certs.parse_bundle(one)[0] for one in plan.beside]
    returned = [one for one in beside if key(one) in above and not certs.is_self_signed(one)]
    workload = f"default.default.serviceaccount.{plan.identity}"
    reasons = candidate.reasons(signer, plan.identity, workload, result.now, returned, trusted) if trusted else []
    refused = [one for one in reasons if plan.is_checked or one.refused_by != (verifier.CHECK,)]
    if refused:
        result.problem(
            "signer_unusable",
            plan.signer_name,
            f"The {plan.signer_name} would sign the next identity issuer, but Linkerd would refuse the certificates "
            f"below it. {' '.join(f'{one.subject}: {one.message}.' for one in refused)} Nothing would show this "
            "before the next renewal. Set vault_issuer_path to a CA that can sign identity issuers (see "
            "docs/guides/real-clusters.md).",
        )


def _above(mesh: Mesh, plan: Plan, signer: x509.Certificate) -> set[Key]:
    """The keys of the signer and of the CAs above it. A root is the end, even if another one has signed it, too."""
    known = [certs.parse_bundle(one)[0] for one in plan.known]
    roots = {key(one) for one in (signer, *known, *mesh.anchors.values()) if certs.is_self_signed(one)}
    return mesh.path([signer, *known], roots)


def parsed(certificates: Iterable[Facts]) -> list[x509.Certificate]:
    return [certs.parse_bundle(one["certificate"])[0] for one in certificates]


def key(certificate: x509.Certificate) -> Key:
    """Subject and public key, which proxies compare: a root reissued with the same ones is the same anchor."""
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.subject.public_bytes(), public


def named(certificate: x509.Certificate) -> str:
    ski = certs.key_identifiers(certificate)[0] or certs.fingerprint(certificate)
    return f"{certificate.subject.rfc4514_string()} (SKI {ski[:16]})"


def some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} pod(s) ({', '.join(names[:SHOWN])}{more})"
