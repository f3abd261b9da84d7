#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_resource
short_description: Manage a policy, role, configuration or other object of Vault
version_added: 0.1.0
description:
  - Reads the object at a path, compares it with O(data), and writes it if it differs.
  - Durations are compared as seconds, and lists without order. A list may be a comma-separated string. Strings are
    compared without trailing whitespace, and C(10.0.0.1/32) equals C(10.0.0.1).
  - Parameters that O(data) does not contain are not compared. Most engines do not change them on a write, but some
    reset them to their defaults.
  - A dictionary in O(data) is compared key by key, because Vault replaces it as a whole. Keys that O(data) does not
    contain are removed, and a key with an empty value differs from a missing key. For example, C(default_extensions) of
    an SSH role without C(permit-pty) removes that permission. In such a dictionary, a list does not equal a
    comma-separated string.
  - Outside of dictionaries, a parameter with an empty value equals a missing one, except where Vault stores any name,
    as in an engine of type C(kv).
  - The diff, RV(differences) and warnings show only the values of parameters that O(data) contains. Other values are
    redacted, so that the deletion of a secret does not show it.
  - After a write, the module reads the object again and warns of values that Vault ignored.
  - Use M(servicemesh.pki.vault_engine) for engines (C(sys/mounts), C(sys/auth)), because Vault adds defaults to their
    dictionaries.
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
      - O(secret_data) is not compared, because Vault does not return it.
options:
  path:
    description: >-
      Path of the object in the API, after C(/v1/). Do not URL-encode it, even if it contains C(#), C(?) or C(%).
    type: str
    required: true
  data:
    description: Parameters of the object as Vault's API names them. They are shown in diffs and logs.
    type: dict
    default: {}
  secret_data:
    description:
      - Parameters that Vault does not return, such as a password. They are not shown.
      - Written together with O(data) if that differs or the object does not exist. The module cannot detect that only
        these parameters differ.
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
    description: Writes every time, and can return the response.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Set the URLs of the CA and its revocation list
  servicemesh.pki.vault_resource:
    path: pki/config/urls
    data:
      issuing_certificates: http://vault:8200/v1/pki/ca
      crl_distribution_points: http://vault:8200/v1/pki/crl

- name: Create a policy
  servicemesh.pki.vault_resource:
    path: sys/policies/acl/cert-manager
    data:
      policy: |
        path "pki/root/sign-intermediate" {
          capabilities = ["update"]
        }

- name: Enable an auth method
  servicemesh.pki.vault_engine:
    path: approle
    kind: auth
    type: approle

- name: Create a role of the auth method
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
    - The object after the run, in check mode the predicted one. Empty when it is deleted.
    - It contains all parameters except those in O(secret_data), even if O(data) does not contain them. A task that
      reads a secret needs C(no_log).
  returned: success
  type: dict
code:
  description:
    - Kind of the failure. It stays the same when the text of the message changes.
    - The notes describe all codes that the module returns.
  returned: failure
  type: str
  sample: permission_denied
differences:
  description: Parameters that differed before, by name, each with C(expected) and C(found).
  returned: success
  type: dict
  sample: {"max_lease_ttl": {"expected": "90d", "found": 2764800}}
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
    """The differences, in which values that the task does not set are redacted."""
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
