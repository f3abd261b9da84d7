#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_pki_issuer
short_description: Manage the settings of an issuer in Vault
version_added: 0.1.0
description:
  - Manages the usage of an existing issuer, its name, the URLs that it adds to certificates, its behavior for leaf
    certificates that would outlive it, and whether it is the default issuer. Revokes or deletes an issuer.
  - Compares and changes only the settings that the task gives. Create the issuer with another module.
  - HashiCorp Vault's parameters C(disable_*_checks) are not supported, because they permit invalid certificates.
extends_documentation_fragment:
  - community.hashi_vault.connection
  - community.hashi_vault.auth
  - servicemesh.pki._attributes
  - servicemesh.pki._vault
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  mount:
    description: Path of the PKI engine.
    type: str
    default: pki
  issuer_name:
    description: Name of the issuer in the mount, or its identifier if it has no name.
    type: str
    required: true
  rename_from:
    description: Previous name or identifier. The issuer is renamed if no issuer has the name O(issuer_name) yet.
    type: str
  default:
    description: Whether to make it the default issuer of the mount. V(false) does not change the default.
    type: bool
    default: false
  usage:
    description: Complete list of what the issuer may be used for. V(read-only) is added, because Vault requires it.
    type: list
    elements: str
    choices: [read-only, issuing-certificates, crl-signing, ocsp-signing]
  leaf_not_after_behavior:
    description:
      - What Vault does for a leaf certificate that would outlive the issuer. V(err) refuses it, V(truncate) shortens
        its validity, and V(permit) issues it.
      - V(always_enforce_err) also refuses intermediates. HashiCorp Vault 1.18.2 or newer only.
      - The other values make no difference for intermediates. HashiCorp Vault shortens their validity, and OpenBao does
        not.
    type: str
    choices: [err, truncate, permit, always_enforce_err]
  issuing_certificates:
    description:
      - URLs of the issuer's certificate, for certificates that it signs. Empty uses C(config/urls) of the mount.
    type: list
    elements: str
  crl_distribution_points:
    description: URLs of its revocation list. Empty uses C(config/urls) of the mount.
    type: list
    elements: str
  delta_crl_distribution_points:
    description: URLs of its delta revocation list. Empty uses C(config/urls) of the mount.
    type: list
    elements: str
  ocsp_servers:
    description: URLs of its OCSP responders. Empty uses C(config/urls) of the mount.
    type: list
    elements: str
  enable_aia_url_templating:
    description: Whether the URLs may contain placeholders such as C({{issuer_id}}).
    type: bool
  revocation_signature_algorithm:
    description: Signature algorithm of its revocation list, such as V(ECDSAWithSHA256).
    type: str
  manual_chain:
    description:
      - Chain that Vault returns instead of the one that it builds. An ordered list of names or identifiers of issuers
        in the mount that begins with this issuer. Empty restores Vault's chain.
    type: list
    elements: str
  state:
    description:
      - V(revoked) revokes the issuer, which cannot be undone. It cannot issue certificates afterwards. No other setting
        may be changed in the same task.
      - V(absent) deletes the issuer and B(permanently destroys its private key).
      - Both fail for the default issuer of the mount, and V(absent) fails if it has signed a valid certificate in this
        mount.
    type: str
    choices: [present, revoked, absent]
    default: present
  force:
    description: Whether to revoke or delete an issuer that is in use.
    type: bool
    default: false
seealso:
  - module: servicemesh.pki.vault_pki_root
  - module: servicemesh.pki.vault_pki_issuer_info
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Create a root CA
  servicemesh.pki.vault_pki_root:
    issuer_name: linkerd-root-1
    common_name: root.linkerd.cluster.local
    ttl: 2160h

- name: Stop issuing certificates with the root, and sign only its revocation list
  servicemesh.pki.vault_pki_issuer:
    issuer_name: linkerd-root-1
    usage: [crl-signing, ocsp-signing]

- name: Rename it
  servicemesh.pki.vault_pki_issuer:
    issuer_name: linkerd-root-old
    rename_from: linkerd-root-1

- name: Delete it, although it is the default issuer
  servicemesh.pki.vault_pki_issuer:
    issuer_name: linkerd-root-old
    state: absent
    force: true
"""

RETURN = r"""
issuer:
  description:
    - Settings and public facts of the issuer after the run, in check mode the predicted ones. Empty when it is deleted.
    - In addition to the keys below, it has those of M(servicemesh.pki.vault_pki_issuer_info).
  returned: success
  type: dict
  contains:
    usage:
      description: What it may be used for.
      type: list
      elements: str
    leaf_not_after_behavior:
      description: What Vault does for a leaf certificate that would outlive the issuer.
      type: str
    revoked:
      description: Whether it is revoked.
      type: bool
    problem:
      description: Why its certificate cannot be parsed. Then the facts of the certificate are missing.
      returned: when it cannot be parsed
      type: str
code:
  description:
    - Kind of the failure. It does not change when the text of the message does. The notes describe the codes of the
      connection.
    - "Of the issuer: V(issuer_not_found), V(issuer_name_taken), V(issuer_revoked), V(issuer_in_use),
      V(unreadable_certificate)."
    - "Of the request: V(invalid_option), V(invalid_name), V(unsupported_option)."
    - V(missing_library), when C(cryptography) cannot be imported.
  returned: failure
  type: str
  sample: issuer_not_found
issuer_id:
  description: Identifier of the issuer, with C(issuer_in_use).
  returned: failure
  type: str
differences:
  description: Settings that differed before, by name, each with C(expected) and C(found).
  returned: success
  type: dict
  sample: {"usage": {"expected": ["read-only"], "found": ["issuing-certificates", "read-only"]}}
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import pki
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.pki import Issuer
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import cryptography

USAGES = ["read-only", "issuing-certificates", "crl-signing", "ocsp-signing"]
URLS = ("issuing_certificates", "crl_distribution_points", "delta_crl_distribution_points", "ocsp_servers")
SETTINGS = ("usage", "leaf_not_after_behavior", *URLS, "enable_aia_url_templating", "revocation_signature_algorithm")
CHAIN = "manual_chain"
SHOWN = ("issuer_name", "issuer_id", "is_default", "revoked", *SETTINGS, CHAIN)


def describe(vault: Vault, issuer: Issuer) -> dict[str, Any]:
    """The settings and the public facts of an issuer (Vault API: GET /pki/issuer/:issuer_ref)."""
    data = vault.read(f"{issuer.mount}/issuer/{issuer.issuer_id}") or {}
    settings = {name: data[name] for name in SETTINGS if name in data}
    settings |= {name: data.get(name) or [] for name in URLS}
    # OpenBao returns it only for an issuer with URLs.
    settings["enable_aia_url_templating"] = bool(data.get("enable_aia_url_templating"))
    settings |= {"usage": sorted(data["usage"].split(",")), CHAIN: data.get(CHAIN) or []}
    facts = {**issuer.vault_facts(), "problem": issuer.problem} if issuer.problem else issuer.facts()
    return {**facts, **settings, "revoked": data.get("revoked", False)}


def read_issuer(vault: Vault, params: dict[str, Any]) -> tuple[Issuer | None, list[Issuer]]:
    """The issuer under its new or previous name, and all issuers of the mount."""
    mount, name, previous_name = params["mount"], params["issuer_name"], params["rename_from"]
    issuers = pki.list_issuers(vault, mount)
    found = pki.find_issuer(issuers, name)
    previous = pki.find_issuer(issuers, previous_name) if previous_name else None
    if found and previous and found != previous:
        raise VaultError(
            f"Issuer {previous_name} in mount {mount} cannot be renamed to {name}, because another issuer has that "
            "name. Delete one of them.",
            code="issuer_name_taken",
        )
    found, issuers = pki.with_certificate(vault, found or previous, issuers)
    if found is None and params["state"] != "absent":
        raise VaultError(
            f"Issuer {name} does not exist in mount {mount}, which has: {pki.format_names(issuers)}. Create it first "
            "(vault_pki_root).",
            code="issuer_not_found",
        )
    return found, issuers


def requested_settings(params: dict[str, Any], found: Issuer) -> dict[str, Any]:
    settings = {name: params[name] for name in SETTINGS if params[name] is not None}
    if "usage" in settings:
        settings["usage"] = sorted({"read-only", *settings["usage"]})
    if params["issuer_name"] not in (found.issuer_name, found.issuer_id):
        pki.check_name("issuer_name", params["issuer_name"])
        settings["issuer_name"] = params["issuer_name"]
    return settings


def check_behavior(vault: Vault, found: Issuer, behavior: str) -> None:
    """Fail for a behavior that OpenBao does not have."""
    if behavior != "always_enforce_err":
        return
    product, dummy = vault.describe(f"{found.mount}/issuer/{found.issuer_id}")
    if product == "OpenBao":
        raise VaultError(
            f"OpenBao at {vault.url} does not support the leaf_not_after_behavior always_enforce_err. Nothing was "
            "changed. Use err, truncate or permit.",
            code="unsupported_option",
        )


def resolve_chain(params: dict[str, Any], found: Issuer, issuers: list[Issuer]) -> list[str]:
    """The identifiers of the issuers in manual_chain, as Vault returns them."""
    chain = []
    for reference in params[CHAIN]:
        # With rename_from the issuer itself does not have its new name yet.
        issuer = found if reference == params["issuer_name"] else pki.find_issuer(issuers, reference)
        if issuer is None:
            raise VaultError(
                f"Issuer {reference} in the manual_chain of {found.title} does not exist. Remove it, or create it "
                "first.",
                code="issuer_not_found",
            )
        chain.append(issuer.issuer_id)
    if chain and chain[0] != found.issuer_id:
        message = f"The manual_chain of issuer {found.title} must begin with the issuer itself. Put it first."
        raise VaultError(message, code="invalid_option")
    return chain


def compare(
    params: dict[str, Any], found: Issuer, before: dict[str, Any], issuers: list[Issuer]
) -> tuple[dict[str, Any], drift.Differences]:
    """The requested settings, and those that differ."""
    settings = requested_settings(params, found)
    differing = drift.differences(settings, before)
    algorithms = differing.get("revocation_signature_algorithm", {}).values()
    if len({str(name).lower() for name in algorithms}) == 1:  # Vault accepts any case and returns Go's spelling
        del differing["revocation_signature_algorithm"]
    if params[CHAIN] is not None:
        settings[CHAIN] = resolve_chain(params, found, issuers)
        if settings[CHAIN] != before[CHAIN]:
            differing[CHAIN] = {"expected": settings[CHAIN], "found": before[CHAIN]}
    return settings, differing


def present(
    module: Any, vault: Vault, found: Issuer, before: dict[str, Any], issuers: list[Issuer]
) -> tuple[drift.Differences, dict[str, Any]]:
    """Change the settings. Returns what differed, and the settings that are new."""
    settings, differing = compare(module.params, found, before, issuers)
    if "issuing-certificates" in settings.get("usage", []) and before["revoked"] and "usage" in differing:
        message = f"Issuer {found.title} is revoked, so it cannot issue certificates again. Create another issuer."
        raise VaultError(message, code="issuer_revoked")
    if "leaf_not_after_behavior" in differing:
        check_behavior(vault, found, settings["leaf_not_after_behavior"])
    sets_default = module.params["default"] and not found.is_default
    if sets_default and before["revoked"]:
        message = f"Issuer {found.title} is revoked, so it cannot become the default issuer. Use another issuer."
        raise VaultError(message, code="issuer_revoked")
    path = f"{found.mount}/issuer/{found.issuer_id}"
    if differing and sets_default:  # check both before the first change
        vault.check_capabilities(("patch", path), ("update", f"{found.mount}/config/issuers"))
    if differing:
        data = {name: ",".join(settings[name]) if name == "usage" else settings[name] for name in differing}
        vault.patch(path, data)
    if sets_default:
        differing["is_default"] = {"expected": True, "found": False}
        pki.make_default(vault, found)
    return differing, {name: pair["expected"] for name, pair in differing.items()}


def revoked(
    module: Any, vault: Vault, found: Issuer, before: dict[str, Any], dummy: list[Issuer]
) -> tuple[drift.Differences, dict[str, Any]]:
    """Revoke the issuer. Returns what differed, and the settings that are new."""
    others = [name for name in ("rename_from", *SETTINGS, CHAIN) if module.params[name] is not None]
    others += ["default"] if module.params["default"] else []
    if others:
        raise VaultError(
            f"state revoked cannot be combined with other changes. Nothing was revoked. Remove {', '.join(others)}.",
            code="invalid_option",
        )
    if before["revoked"]:
        return {}, {}
    if found.is_default and not module.params["force"]:
        raise VaultError(
            f"Issuer {found.title} is the default issuer of the mount. Nothing was revoked. Make another issuer the "
            "default first, or set force.",
            code="issuer_in_use",
            issuer_id=found.issuer_id,
        )
    vault.write(f"{found.mount}/issuer/{found.issuer_id}/revoke", {})
    usage = [name for name in before["usage"] if name != "issuing-certificates"]
    return {"revoked": {"expected": True, "found": False}}, {"revoked": True, "usage": usage}


def work(module: Any, vault: Vault) -> dict[str, Any]:
    cryptography.require(module)
    params = module.params
    params["mount"] = params["mount"].strip("/")
    found, issuers = read_issuer(vault, params)
    if found is None:
        return dict(changed=False, issuer={}, differences={}, diff={"before": {}, "after": {}})
    before = describe(vault, found)
    if params["state"] == "absent":
        pki.delete_issuer(vault, found, issuers, force=params["force"])
        return dict(changed=True, issuer={}, differences={}, diff={"before": drift.select(before, SHOWN), "after": {}})
    ensure = present if params["state"] == "present" else revoked
    differing, effect = ensure(module, vault, found, before, issuers)
    after = {**before, **effect}
    if differing and not module.check_mode:
        now, dummy = pki.read_issuer(vault, params["mount"], found.issuer_id)
        after = describe(vault, now)
    diff = {"before": drift.select(before, SHOWN), "after": drift.select(after, SHOWN)}
    return dict(changed=bool(differing), issuer=after, differences=differing, diff=diff)


def main() -> None:
    run(
        work,
        dict(
            mount=dict(type="str", default="pki"),
            issuer_name=dict(type="str", required=True),
            rename_from=dict(type="str"),
            default=dict(type="bool", default=False),
            usage=dict(type="list", elements="str", choices=USAGES),
            leaf_not_after_behavior=dict(type="str", choices=["err", "truncate", "permit", "always_enforce_err"]),
            **{name: dict(type="list", elements="str") for name in URLS},
            enable_aia_url_templating=dict(type="bool"),
            revocation_signature_algorithm=dict(type="str"),
            manual_chain=dict(type="list", elements="str"),
            state=dict(type="str", choices=["present", "revoked", "absent"], default="present"),
            force=dict(type="bool", default=False),
        ),
    )


if __name__ == "__main__":
    main()
