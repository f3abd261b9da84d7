#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_resource
short_description: Any object of Vault that can be read and written, such as a policy, a role or a config
version_added: 0.1.0
description:
  - Reads what is at a path, compares what was given with it, and writes when something differs.
  - Durations are compared as seconds, lists without order, and a list may be given as text with commas. Texts are
    compared without the space at their ends and at the ends of their lines, and C(10.0.0.1/32) is C(10.0.0.1).
  - A diff, RV(differences) and warnings show values of those names only that O(data) has, also inside of its
    dictionaries. Of other names they show at most that something is there, so that deleting a secret does not show it.
  - A name that O(data) does not have is not compared. Most engines keep it on a write, some set it back to its default.
  - A dictionary inside of O(data) is compared key by key, because Vault replaces it as a whole. A key that O(data) does
    not have is removed, and a key with an empty value is a key, so that C(default_extensions) of an SSH role without
    C(permit-pty) withdraws that permission. A list in such a dictionary is not compared with text with commas.
  - An engine (C(sys/mounts), C(sys/auth)) adds defaults to its dictionaries, so use M(servicemesh.pki.vault_engine) for
    it.
  - For a name that O(data) has with an empty value, an object that does not have the name is the same, except where
    Vault stores any name, as in an engine of type C(kv).
  - After a write the object is read back. What Vault did not take is a warning that names it.
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
    details:
      - O(secret_data) is not compared, because Vault does not tell it.
options:
  path:
    description: Path of the object, as in the API after C(/v1/), each letter as it is, also C(#), C(?) and C(%).
    type: str
    required: true
  data:
    description: What the object shall have, as the API names it. Shown in diffs and logs.
    type: dict
    default: {}
  secret_data:
    description:
      - What the object shall have and Vault never tells, such as a password. Never shown.
      - Written together with O(data), when that differs or the object does not exist. A change of it alone is not seen.
    type: dict
    default: {}
  state:
    description: V(absent) deletes the object.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: servicemesh.pki.vault_engine
  - module: community.hashi_vault.vault_write
    description: Writes every time, and can return what the write answers.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Where clients find the CA and its revocation list
  servicemesh.pki.vault_resource:
    path: pki/config/urls
    data:
      issuing_certificates: http://vault:8200/v1/pki/ca
      crl_distribution_points: http://vault:8200/v1/pki/crl

- name: A policy that may sign one thing
  servicemesh.pki.vault_resource:
    path: sys/policies/acl/cert-manager
    data:
      policy: |
        path "pki/root/sign-intermediate" {
          capabilities = ["update"]
        }

- name: A login method
  servicemesh.pki.vault_engine:
    path: approle
    kind: auth
    type: approle

- name: Who may log in with it, and what for
  servicemesh.pki.vault_resource:
    path: auth/approle/role/cert-manager
    data:
      token_policies: [cert-manager]
      token_ttl: 20m
      secret_id_ttl: 90d

- name: Remove the policy
  servicemesh.pki.vault_resource:
    path: sys/policies/acl/cert-manager
    state: absent
"""

RETURN = r"""
data:
  description:
    - The object as Vault tells it now, in check mode as it would be. Empty when there is none.
    - Names that are in O(secret_data) are left out. All others are there, also those that were not given, so a task
      that reads a secret needs C(no_log).
  returned: success
  type: dict
differences:
  description: What was otherwise than wanted before, by name, each with C(wanted) and C(found).
  returned: success
  type: dict
  sample: {"max_lease_ttl": {"wanted": "90d", "found": 2764800}}
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, run


def predict_data(module: Any, vault: Vault, found: dict[str, Any], differing: drift.Differences) -> dict[str, Any]:
    """The object after the write, for check mode."""
    params = module.params
    ignored = vault.warn_of_unknown(params["path"], params["data"])
    return {**found, **{name: params["data"][name] for name in differing if name not in ignored}}


def compare(vault: Vault, path: str, data: dict[str, Any], found: dict[str, Any]) -> drift.Differences:
    """The differences, with values of names that the task does not give redacted."""
    differing = drift.differences(data, found)
    missing = [name for name, value in data.items() if value is not None and name not in {*found, *differing}]
    if missing and vault.stores_any_name(path):  # such as kv, which stores an empty value like any other
        differing |= {name: {"expected": data[name], "found": None} for name in missing}
    return {
        name: {"expected": pair["expected"], "found": drift.redact(pair["found"], pair["expected"])}
        for name, pair in differing.items()
    }


def present(module: Any, vault: Vault, found: dict[str, Any] | None) -> tuple[drift.Differences, bool, dict]:
    """Write the object if it differs. Returns what differed before, whether it was written, and the object now."""
    params, path = module.params, module.params["path"]
    differing = compare(vault, path, params["data"], found or {})
    if found is not None and not differing:
        return {}, False, found
    vault.write(path, {**params["data"], **params["secret_data"]}, new=found is None)
    if module.check_mode:
        return differing, True, predict_data(module, vault, found or {}, differing)
    now = vault.read(path) or {}
    advice = " Move values that Vault never returns to secret_data."
    vault.warn_of_ignored(path, compare(vault, path, params["data"], now), advice)
    return differing, True, now


def work(module: Any, vault: Vault) -> dict[str, Any]:
    params = module.params
    path = params["path"] = params["path"].strip("/")
    found = vault.read(path)
    if params["state"] == "present":
        differing, changed, now = present(module, vault, found)
        names = set(params["data"])
    else:
        differing, changed, now = {}, found is not None, {}
        names = set(found or {})
        if found is not None:
            vault.delete(path)
    hidden = set(params["secret_data"])
    before, after = (drift.select(drift.redact(state, params["data"]), names - hidden) for state in (found or {}, now))
    return dict(
        changed=changed,
        data={name: value for name, value in now.items() if name not in hidden},
        differences=differing,
        diff={"before": before, "after": after},
    )


def main() -> None:
    run(
        work,
        dict(
            path=dict(type="str", required=True),
            data=dict(type="dict", default={}),
            secret_data=dict(type="dict", default={}, no_log=True),
            state=dict(type="str", choices=["present", "absent"], default="present"),
        ),
    )


if __name__ == "__main__":
    main()
