#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_pki_issuer
short_description: Settings of an issuer that exists in a PKI mount
version_added: 0.1.0
description:
  - Changes what an issuer may be used for, its name, what it does with leaves that would outlive it, the addresses it
    writes into certificates, and whether it is the default. Revokes and deletes it.
  - Only settings that are given are compared and changed. The issuer itself is made by another module.
  - Left out of the API are HashiCorp Vault's C(disable_*_checks) of what it signs, because they let bad certificates be
    made.
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
    description: Name of the issuer in the mount, or its identifier when it has no name and shall get none.
    type: str
    required: true
  rename_from:
    description: Its name or identifier before. The issuer gets O(issuer_name) when there is none of that name yet.
    type: str
  default:
    description: V(true) makes it the mount's default issuer. Otherwise the default is left alone.
    type: bool
    default: false
  usage:
    description: All that it may be used for. Vault wants V(read-only) always, so it is added.
    type: list
    elements: str
    choices: [read-only, issuing-certificates, crl-signing, ocsp-signing]
  leaf_not_after_behavior:
    description:
      - What happens to a leaf that would outlive it. V(err) refuses, V(truncate) cuts its life, V(permit) lets it be.
      - V(always_enforce_err) refuses intermediates too. HashiCorp Vault from 1.18.2 on only.
      - For intermediates HashiCorp Vault cuts whatever this says, OpenBao lets them, each with a warning at most.
    type: str
    choices: [err, truncate, permit, always_enforce_err]
  issuing_certificates:
    description: URLs of the issuer's certificate for certificates that it signs. Empty uses the mount's C(config/urls).
    type: list
    elements: str
  crl_distribution_points:
    description: URLs of its revocation list, likewise.
    type: list
    elements: str
  delta_crl_distribution_points:
    description: URLs of its list of what was revoked since the last whole one, likewise.
    type: list
    elements: str
  ocsp_servers:
    description: URLs of its OCSP responders, likewise.
    type: list
    elements: str
  enable_aia_url_templating:
    description: Whether these URLs may have placeholders such as C({{issuer_id}}).
    type: bool
  revocation_signature_algorithm:
    description: How its revocation list is signed, such as V(ECDSAWithSHA256).
    type: str
  manual_chain:
    description:
      - Names or identifiers of issuers of the mount, this one first, that Vault tells as its chain instead of the one
        that it finds itself. They have an order. Empty goes back to Vault's own.
    type: list
    elements: str
  state:
    description:
      - V(revoked) revokes it, which cannot be undone. It signs nothing any more. No setting may be given with it.
      - V(absent) deletes it and its key. B(The key is lost for ever.)
      - V(revoked) is refused for the default issuer; V(absent) also when it has signed something in this mount that is
        valid.
    type: str
    choices: [present, revoked, absent]
    default: present
  force:
    description: Whether to revoke or delete an issuer all the same.
    type: bool
    default: false
seealso:
  - module: servicemesh.pki.vault_pki_root
  - module: servicemesh.pki.vault_pki_issuer_info
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: A root to work on
  servicemesh.pki.vault_pki_root:
    issuer_name: linkerd-root-1
    common_name: root.linkerd.cluster.local
    ttl: 2160h

- name: Sign no more with the old root, keep its revocation list
  servicemesh.pki.vault_pki_issuer:
    issuer_name: linkerd-root-1
    usage: [crl-signing, ocsp-signing]

- name: Give it another name
  servicemesh.pki.vault_pki_issuer:
    issuer_name: linkerd-root-old
    rename_from: linkerd-root-1

- name: Delete it, although it is still the default
  servicemesh.pki.vault_pki_issuer:
    issuer_name: linkerd-root-old
    state: absent
    force: true
"""

RETURN = r"""
issuer:
  description:
    - Settings and public facts of the issuer as it is now, in check mode as it would be. Empty when there is none.
    - Beside the keys below those of M(servicemesh.pki.vault_pki_issuer_info).
  returned: success
  type: dict
  contains:
    usage:
      description: What it may be used for.
      type: list
      elements: str
    leaf_not_after_behavior:
      description: What happens to a leaf that would outlive it.
      type: str
    revoked:
      description: Whether it is revoked.
      type: bool
    problem:
      description: Why its certificate cannot be read here. Then nothing else of the certificate is returned.
      returned: when it cannot be read
      type: str
differences:
  description: What was otherwise than wanted before, by name, each with C(wanted) and C(found).
  returned: success
  type: dict
  sample: {"usage": {"wanted": ["read-only"], "found": ["issuing-certificates", "read-only"]}}
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
    data = vault.read(f"{issuer.mount}/issuer/{issuer.issuer_id}") or {}
    settings = {name: data[name] for name in SETTINGS if name in data}
    settings |= {name: data.get(name) or [] for name in URLS}
    settings["enable_aia_url_templating"] = bool(data.get("enable_aia_url_templating"))  # OpenBao: none without URLs
    settings |= {"usage": sorted(data["usage"].split(",")), CHAIN: data.get(CHAIN) or []}
    public = {**issuer.own(), "problem": issuer.problem} if issuer.problem else issuer.facts()
    return {**public, **settings, "revoked": data.get("revoked", False)}


def locate(vault: Vault, params: dict[str, Any]) -> tuple[Issuer | None, list[Issuer]]:
    mount, name, old = params["mount"], params["issuer_name"], params["rename_from"]
    everything = pki.issuers(vault, mount)
    found, before = pki.find(everything, name), pki.find(everything, old) if old else None
    if found and before and found != before:
        raise VaultError(
            f"Issuer {old} of {mount} cannot be renamed to {name}: there is one of that name. Remove one of them."
        )
    found, everything = pki.complete(vault, found or before, everything)
    if found is None and params["state"] != "absent":
        names = ", ".join(sorted(issuer.issuer_name or issuer.issuer_id for issuer in everything)) or "none"
        raise VaultError(f"There is no issuer {name} in {mount}, only: {names}. Make it first (vault_pki_root).")
    return found, everything


def wanted(params: dict[str, Any], found: Issuer) -> dict[str, Any]:
    given = {name: params[name] for name in SETTINGS if params[name] is not None}
    if "usage" in given:
        given["usage"] = sorted({"read-only", *given["usage"]})
    if params["issuer_name"] not in (found.issuer_name, found.issuer_id):
        pki.check_name("issuer_name", params["issuer_name"])
        given["issuer_name"] = params["issuer_name"]
    return given


def check_behavior(vault: Vault, found: Issuer, behavior: str) -> None:
    if behavior != "always_enforce_err":
        return
    product, dummy = vault.describe(f"{found.mount}/issuer/{found.issuer_id}")
    if product == "OpenBao":
        raise VaultError(
            f"OpenBao at {vault.url} does not know the leaf_not_after_behavior always_enforce_err. Nothing was "
            "changed. Use err, truncate or permit."
        )


def chain(params: dict[str, Any], found: Issuer, everything: list[Issuer]) -> list[str]:
    """The identifiers of the issuers of the wanted chain, as Vault tells them."""
    whole = []
    for ref in params[CHAIN]:
        # Under its new name it is not to be found yet.
        issuer = found if ref == params["issuer_name"] else pki.find(everything, ref)
        if issuer is None:
            raise VaultError(
                f"There is no issuer {ref} in {found.mount} for the manual_chain of {found.issuer_name}. "
                "Name one that is there."
            )
        whole.append(issuer.issuer_id)
    if whole and whole[0] != found.issuer_id:
        raise VaultError(f"The manual_chain of {found.issuer_name} must begin with itself.")
    return whole


def present(
    module: Any, vault: Vault, found: Issuer, before: dict[str, Any], everything: list[Issuer]
) -> tuple[drift.Differences, dict[str, Any]]:
    given = wanted(module.params, found)
    differing = drift.differences(given, before)
    algorithms = differing.get("revocation_signature_algorithm", {}).values()
    if len({str(name).lower() for name in algorithms}) == 1:  # Vault takes any case, and tells its own
        del differing["revocation_signature_algorithm"]
    if module.params[CHAIN] is not None:
        given[CHAIN] = chain(module.params, found, everything)
        if given[CHAIN] != before[CHAIN]:
            differing[CHAIN] = {"wanted": given[CHAIN], "found": before[CHAIN]}
    if "issuing-certificates" in given.get("usage", []) and before["revoked"] and "usage" in differing:
        raise VaultError(
            f"Issuer {found.issuer_name} of {found.mount} is revoked, so it cannot sign again. Make a new one."
        )
    if "leaf_not_after_behavior" in differing:
        check_behavior(vault, found, given["leaf_not_after_behavior"])
    makes_default = module.params["default"] and not found.is_default
    if makes_default and before["revoked"]:
        raise VaultError(
            f"Issuer {found.issuer_name} of {found.mount} is revoked, so it cannot be the default one. Name another."
        )
    acts = [("patch", f"{found.mount}/issuer/{found.issuer_id}")] if differing else []
    acts += [("update", f"{found.mount}/config/issuers")] if makes_default else []
    if len(acts) > 1:
        vault.foresee(*acts)  # both or none
    if differing:
        data = {name: ",".join(given[name]) if name == "usage" else given[name] for name in differing}
        vault.patch(f"{found.mount}/issuer/{found.issuer_id}", data)
    if makes_default:
        differing["is_default"] = {"wanted": True, "found": False}
        pki.make_default(vault, found)
    return differing, {name: pair["wanted"] for name, pair in differing.items()}


def revoked(
    module: Any, vault: Vault, found: Issuer, before: dict[str, Any], dummy: list[Issuer]
) -> tuple[drift.Differences, dict[str, Any]]:
    others = [name for name in ("rename_from", *SETTINGS, CHAIN) if module.params[name] is not None]
    others += ["default"] if module.params["default"] else []
    if others:
        raise VaultError(
            f"With state revoked nothing else is changed. Nothing was revoked. Leave out {', '.join(others)}."
        )
    if before["revoked"]:
        return {}, {}
    if found.is_default and not module.params["force"]:
        raise VaultError(
            f"Issuer {found.issuer_name} of {found.mount} is the default issuer of the mount. Nothing was revoked. "
            "Make another the default first, or say force."
        )
    vault.write(f"{found.mount}/issuer/{found.issuer_id}/revoke", {})
    usage = [name for name in before["usage"] if name != "issuing-certificates"]
    return {"revoked": {"wanted": True, "found": False}}, {"revoked": True, "usage": usage}


def work(module: Any, vault: Vault) -> dict[str, Any]:
    cryptography.require(module)
    params = module.params
    params["mount"] = params["mount"].strip("/")
    found, everything = locate(vault, params)
    if found is None:
        return dict(changed=False, issuer={}, differences={}, diff={"before": {}, "after": {}})
    before = describe(vault, found)
    if params["state"] == "absent":
        pki.remove(vault, found, everything, force=params["force"])
        return dict(changed=True, issuer={}, differences={}, diff={"before": drift.view(before, SHOWN), "after": {}})
    do = present if params["state"] == "present" else revoked
    differing, effect = do(module, vault, found, before, everything)
    after = {**before, **effect}
    if differing and not module.check_mode:
        again, dummy = pki.locate(vault, params["mount"], found.issuer_id)
        after = describe(vault, again)
    diff = {"before": drift.view(before, SHOWN), "after": drift.view(after, SHOWN)}
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
