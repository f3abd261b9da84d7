#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_engine
short_description: A secrets engine or login method of Vault at a path
version_added: 0.1.0
description:
  - Enables an engine at a path and keeps its settings, or disables it.
  - An engine of another type at the path is an error that names both types. Nothing is replaced.
  - Only settings that are given are compared and changed.
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
  path:
    description: Path of the engine, without C(auth/) in front for a login method.
    type: str
    required: true
  kind:
    description:
      - Whether the path is one of the secrets engines or one of the login methods.
      - For V(auth) a policy has to give C(sudo) as well, for C(sys/auth/PATH) and for C(sys/auth/PATH/tune), also to
        read what is there.
    type: str
    choices: [secret, auth]
    default: secret
  type:
    description:
      - Type of the engine, such as V(pki), V(kv) or V(approle). V(kv-v1) and V(kv-v2) are V(kv) with that version.
      - Required for O(state=present). With O(state=absent) it guards against removing another engine, one of V(kv) with
        another version too.
    type: str
  state:
    description:
      - V(absent) disables the engine. B(Everything in it is lost), a root's key too. What Vault never disables, such as
        C(sys) and the login method C(token), is an error.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: What a person reads in the list of engines.
    type: str
  max_lease_ttl:
    description:
      - Longest life of what the engine issues, a duration. Vault cuts a certificate to it without an error.
      - V(0) is the maximum of the whole server, 768h (32 days) unless it was changed.
    type: str
  shorten_max_lease_ttl:
    description:
      - Whether a maximum that is longer than O(max_lease_ttl) is shortened to it.
      - With V(false), an engine that others use, too, does not begin to cut their certificates.
    type: bool
    default: true
    version_added: 0.3.0
  default_lease_ttl:
    description: Life of what is issued without a ttl, a duration. V(0) is the default of the whole server.
    type: str
  config:
    description:
      - Other settings of the path as the API's C(tune) call names them, such as C(listing_visibility) or
        C(audit_non_hmac_request_keys), see U(https://openbao.org/api-docs/system/mounts/).
      - What Vault does not take of it is a warning that names it.
    type: dict
    default: {}
  options:
    description: Options of the engine's type, such as C(version) of V(kv).
    type: dict
    default: {}
  local:
    description: Whether the engine is kept from replication. Only for a new engine, it cannot be changed later.
    type: bool
  seal_wrap:
    description: Whether the engine's storage is wrapped by the seal. Only for a new engine, it cannot be changed later.
    type: bool
seealso:
  - module: servicemesh.pki.vault_resource
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: A PKI engine that may issue for 90 days
  servicemesh.pki.vault_engine:
    path: pki
    type: pki
    max_lease_ttl: 90d
    description: Root of the mesh

- name: A login method
  servicemesh.pki.vault_engine:
    path: jwt-cluster-1
    kind: auth
    type: jwt

- name: Remove the login method, unless it is of another type
  servicemesh.pki.vault_engine:
    path: jwt-cluster-1
    kind: auth
    type: jwt
    state: absent
"""

RETURN = r"""
engine:
  description: The engine as it is now, in check mode as it would be. Empty when there is none.
  returned: success
  type: dict
  contains:
    path:
      description: Path without slashes at its ends.
      type: str
    type:
      description: Type of the engine.
      type: str
    description:
      description: What a person reads in the list of engines.
      type: str
    accessor:
      description: Vault's own name of this mount. None when it is not enabled yet.
      type: str
    config:
      description: Settings as Vault tells them, durations in seconds. A duration of 0 is the server's.
      type: dict
    options:
      description: Options of the engine's type.
      type: dict
    local:
      description: Whether it is kept from replication.
      type: bool
    seal_wrap:
      description: Whether its storage is wrapped by the seal.
      type: bool
  sample:
    {"path": "pki", "type": "pki", "description": "Root of the mesh", "accessor": "pki_4b8295c5", "local": false,
     "config": {"default_lease_ttl": 0, "max_lease_ttl": 7776000, "force_no_cache": false}, "options": {},
     "seal_wrap": false}
differences:
  description: What was otherwise than wanted before, by name, each with C(wanted) and C(found).
  returned: success
  type: dict
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import errors
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

SHOWN = ("type", "description", "accessor", "config", "options", "local", "seal_wrap")
DURATIONS = ("max_lease_ttl", "default_lease_ttl")
FIXED = ("local", "seal_wrap")
KV = {"kv-v1": "1", "kv-v2": "2"}  # Vault's own short forms
BUILT_IN = {"secret": ("sys", "identity", "cubbyhole"), "auth": ("token",)}  # Vault refuses to disable them
ONCE = {"force_no_cache"}  # what the settings of a new engine may have and tune does not take


def get(vault: Vault, place: str, path: str) -> dict[str, Any]:
    try:
        data = vault.request("GET", place)["data"]
    except VaultError as exc:
        if exc.status == 400 and "engine" in exc.reason:  # "No secret engine mount at", "No auth engine at"
            return {}
        raise
    return {"path": path, **{name: data[name] or {} if name == "options" else data[name] for name in SHOWN}}


def above(vault: Vault, top: str, path: str, found: dict[str, Any]) -> str:
    """The engine that a path is inside of, whose answer Vault gives for it; empty when the path is an engine."""
    parts = path.split("/")
    for number in range(1, len(parts)):
        prefix = "/".join(parts[:number])
        status, body = vault.exchange("GET", f"{top}/{prefix}")
        if status == 200 and body["data"]["accessor"] == found["accessor"]:
            return prefix
    return ""


def wanted(params: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given, flat, durations in seconds."""
    flat = dict(params["config"])
    flat.update({name: params[name] for name in ("description", *DURATIONS, *FIXED) if params[name] is not None})
    flat.update({name: durations.zero_or_more(name, flat[name]) for name in DURATIONS if name in flat})
    return {**flat, **({"options": params["options"]} if params["options"] else {})}


def check_durations(path: str, flat: dict[str, Any], found: dict[str, Any]) -> None:
    usual, longest = ({**found.get("config", {}), **flat}.get(name) or 0 for name in reversed(DURATIONS))
    if longest and usual > longest:
        raise VaultError(
            f"The engine at {path} cannot have a default_lease_ttl of {durations.text(usual)} with a max_lease_ttl of "
            f"{durations.text(longest)}: the default is the longer one. Correct one of them."
        )


def options_of(engine: dict[str, Any]) -> dict[str, Any]:
    """With the version of an engine of type kv, which is 1 where Vault tells none."""
    return {**({"version": "1"} if engine["type"] == "kv" else {}), **engine["options"]}


def check_type(params: dict[str, Any], found: dict[str, Any]) -> None:
    """Vault makes version 2 of kv from version 1, and nothing else of another type."""
    has, wish = found["type"], params["type"] or found["type"]
    if has == wish == "kv":
        has = f"kv-v{options_of(found)['version']}"
        wish = f"kv-v{params['options'].get('version', has.removeprefix('kv-v'))}"
    if has != wish and (params["state"], has, wish) != ("present", "kv-v1", "kv-v2"):
        raise VaultError(
            f"At {params['path']} is an engine of type {has}, wanted is {wish}. "
            "Choose another path, or disable that engine first, which loses all that is in it."
        )


def differences(flat: dict[str, Any], engine: dict[str, Any]) -> drift.Differences:
    settings = {**engine, **engine["config"], "options": options_of(engine)}
    if "options" in flat:  # Vault keeps the others
        flat = {**flat, "options": {**settings["options"], **flat["options"]}}
    return drift.differences(flat, settings)


def present(
    vault: Vault, place: str, params: dict[str, Any], found: dict[str, Any]
) -> tuple[drift.Differences, dict[str, Any]]:
    """Returns what differs, after it was made so, and the engine as it is then."""
    longest = found.get("config", {}).get("max_lease_ttl") or 0
    if not params["shorten_max_lease_ttl"] and longest >= (wanted(params).get("max_lease_ttl") or 0):
        params["max_lease_ttl"] = None
    flat = wanted(params)
    check_durations(params["path"], flat, found)
    if found:
        differing = differences(flat, found)
        tune(vault, place, flat, differing)
    else:
        differing = drift.differences({"type": params["type"], **flat}, {})
        create(vault, place, params, flat)
    if not differing:
        return {}, found
    if vault.module.check_mode:
        return differing, predicted(vault, place, params, found)
    now = get(vault, place, params["path"])
    vault.warn_of_ignored(place, differences(flat, now))
    return differing, now


def tune(vault: Vault, place: str, flat: dict[str, Any], differing: drift.Differences) -> None:
    fixed = drift.view(differing, FIXED)
    if fixed:
        path = vault.module.params["path"]
        raise VaultError(f"The engine at {path} cannot be changed so: {drift.sentence(fixed)}. Disable it first.")
    if differing:
        vault.write(f"{place}/tune", {name: flat[name] for name in differing})


def disable(vault: Vault, place: str, params: dict[str, Any]) -> None:
    if params["path"] in BUILT_IN[params["kind"]]:
        raise VaultError(f"Vault needs the engine at {params['path']} itself and never disables it. Correct the path.")
    vault.delete(place)


def create(vault: Vault, place: str, params: dict[str, Any], flat: dict[str, Any]) -> None:
    if vault.module.check_mode:
        foresee(vault, place, params)
    top = drift.view(flat, ("description", "options", *FIXED))
    config = {name: value for name, value in flat.items() if name not in top}
    vault.write(place, {"type": params["type"], "config": config, **top})


def foresee(vault: Vault, place: str, params: dict[str, Any]) -> None:
    """Fails as Vault would for a path that is not free and for a type that it does not have, if the token may know."""
    status, body = vault.exchange("GET", place.removesuffix(f"/{params['path']}"))
    for other in body["data"] if status == 200 else []:
        if other.startswith(f"{params['path']}/"):
            raise VaultError(errors.reason(vault.url, "update", place, 400, f"path is already in use at {other}"))
    catalog = f"sys/plugins/catalog/{params['kind']}/{params['type']}"
    if vault.exchange("GET", catalog) == (404, {"errors": []}):  # in a namespace it is the catalog that is not there
        said = f"plugin not found in the catalog: {params['type']}"
        raise VaultError(errors.reason(vault.url, "update", place, 400, said))


def predicted(vault: Vault, place: str, params: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    flat = wanted(params)
    top = drift.view(flat, ("description", *FIXED))
    config = {name: value for name, value in flat.items() if name not in (*top, "options")}
    for name in vault.unknown(f"{place}/tune", set(config) - (set() if found else ONCE)):
        del config[name]
    empty = {"description": "", "accessor": None, "config": {}, "options": {}, "local": False, "seal_wrap": False}
    before = found or {"path": params["path"], "type": params["type"], **empty}
    return {
        **before,
        **top,
        "config": {**before["config"], **config},
        "options": {**before["options"], **params["options"]},
    }


def work(module: Any, vault: Vault) -> dict[str, Any]:
    params = module.params
    params["path"] = params["path"].strip("/")
    if params["type"] in KV:
        params.update(type="kv", options={**params["options"], "version": KV[params["type"]]})
    top = f"sys/{'auth' if params['kind'] == 'auth' else 'mounts'}"
    place = f"{top}/{params['path']}"
    found = get(vault, place, params["path"])
    outer = above(vault, top, params["path"], found) if found else ""
    if outer and params["state"] == "present":
        raise VaultError(errors.reason(vault.url, "update", place, 400, f"path is already in use at {outer}/"))
    found = {} if outer else found
    if found:
        check_type(params, found)
    if params["state"] == "present":
        differing, now = present(vault, place, params, found)
        changed = bool(differing)
    else:
        differing, changed, now = {}, bool(found), {}
        if found:
            disable(vault, place, params)
    return dict(changed=changed, engine=now, differences=differing, diff={"before": found, "after": now})


def main() -> None:
    run(
        work,
        dict(
            path=dict(type="str", required=True),
            kind=dict(type="str", choices=["secret", "auth"], default="secret"),
            type=dict(type="str"),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            description=dict(type="str"),
            max_lease_ttl=dict(type="str"),
            shorten_max_lease_ttl=dict(type="bool", default=True),
            default_lease_ttl=dict(type="str"),
            config=dict(type="dict", default={}),
            options=dict(type="dict", default={}),
            local=dict(type="bool"),
            seal_wrap=dict(type="bool"),
        ),
        required_if=[("state", "present", ["type"])],
    )


if __name__ == "__main__":
    main()
