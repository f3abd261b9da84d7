#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_engine
short_description: Manage a secrets engine or auth method of Vault
version_added: 0.1.0
description:
  - Enables an engine at a path and configures it, or disables it.
  - Fails if an engine of another type is mounted at the path. An engine is never replaced.
  - Compares and changes only the settings that the task gives.
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
    description: Path of the engine. For an auth method, without C(auth/).
    type: str
    required: true
  kind:
    description:
      - Kind of the engine, V(secret) for a secrets engine and V(auth) for an auth method.
      - For V(auth), the policy also needs the capability C(sudo) for C(sys/auth/PATH) and C(sys/auth/PATH/tune), even
        to read them.
    type: str
    choices: [secret, auth]
    default: secret
  type:
    description:
      - Type of the engine, such as V(pki), V(kv) or V(approle). V(kv-v1) and V(kv-v2) are V(kv) with that version.
      - Required for O(state=present). With O(state=absent), the module fails for an engine of another type, or of
        another version of V(kv).
    type: str
  state:
    description:
      - V(absent) disables the engine and B(deletes all its data), including private keys. Vault cannot disable built-in
        engines, such as C(sys) and the auth method C(token).
    type: str
    choices: [present, absent]
    default: present
  description:
    description: Description of the engine in Vault's list.
    type: str
  max_lease_ttl:
    description:
      - Maximum TTL of what the engine issues, a duration. Vault shortens the validity of a certificate to it without an
        error.
      - V(0) is the maximum of the server, by default 768h (32 days).
    type: str
  shorten_max_lease_ttl:
    description:
      - Whether an existing maximum that is longer than O(max_lease_ttl) is shortened to it.
      - With V(false), certificates of other users of the engine are not shortened.
    type: bool
    default: true
    version_added: 0.3.0
  default_lease_ttl:
    description: TTL of what is issued without one, a duration. V(0) is the default of the server.
    type: str
  config:
    description:
      - Other parameters of Vault's C(tune) API, such as C(listing_visibility) or C(audit_non_hmac_request_keys), see
        U(https://openbao.org/api-docs/system/mounts/).
      - The module warns of settings that Vault ignores.
    type: dict
    default: {}
  options:
    description: Options of the engine's type, such as C(version) for V(kv).
    type: dict
    default: {}
  local:
    description: Whether to exclude the engine from replication. It cannot be changed later.
    type: bool
  seal_wrap:
    description: Whether to encrypt the engine's storage with the seal. It cannot be changed later.
    type: bool
seealso:
  - module: servicemesh.pki.vault_resource
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Enable a PKI engine for certificates of up to 90 days
  servicemesh.pki.vault_engine:
    path: pki
    type: pki
    max_lease_ttl: 90d
    description: Root of the mesh

- name: Enable an auth method
  servicemesh.pki.vault_engine:
    path: jwt-cluster-1
    kind: auth
    type: jwt

- name: Disable the auth method
  servicemesh.pki.vault_engine:
    path: jwt-cluster-1
    kind: auth
    type: jwt
    state: absent
"""

RETURN = r"""
engine:
  description: The engine after the run, in check mode the predicted one. Empty when it is disabled.
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
      description: Description of the engine in Vault's list.
      type: str
    accessor:
      description: Vault's identifier of the mount. None in check mode for a new engine.
      type: str
    config:
      description: Settings as Vault returns them, durations in seconds. A duration of 0 is the server's.
      type: dict
    options:
      description: Options of the engine's type.
      type: dict
    local:
      description: Whether it is excluded from replication.
      type: bool
    seal_wrap:
      description: Whether its storage is encrypted with the seal.
      type: bool
  sample:
    {"path": "pki", "type": "pki", "description": "Root of the mesh", "accessor": "pki_4b8295c5", "local": false,
     "config": {"default_lease_ttl": 0, "max_lease_ttl": 7776000, "force_no_cache": false}, "options": {},
     "seal_wrap": false}
roles:
  description:
    - Names of the roles of an existing auth method before the run, at C(auth/PATH/role). Empty for a method without
      roles. None if the login is not permitted to list them.
    - A role that you did not create shows that others use the auth method, too.
  returned: success
  type: list
  elements: str
code:
  description:
    - Kind of the failure. It does not change when the text of the message does. The notes describe the codes of the
      connection.
    - V(engine_type_mismatch), V(immutable_setting), V(built_in_engine), V(invalid_option), V(invalid_duration).
  returned: failure
  type: str
  sample: engine_type_mismatch
differences:
  description: Settings that differed before, by name, each with C(expected) and C(found).
  returned: success, and failure with C(immutable_setting)
  type: dict
"""

from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import errors
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault, run
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

SHOWN = ("type", "description", "accessor", "config", "options", "local", "seal_wrap")
DURATIONS = ("max_lease_ttl", "default_lease_ttl")
IMMUTABLE = ("local", "seal_wrap")
KV = {"kv-v1": "1", "kv-v2": "2"}  # Vault's short forms of type kv with option version
BUILT_IN = {"secret": ("sys", "identity", "cubbyhole"), "auth": ("token",)}  # Vault does not disable them
ONLY_WHEN_ENABLED = {"force_no_cache"}  # settings of sys/mounts that sys/mounts/PATH/tune does not accept


def read_engine(vault: Vault, api_path: str, path: str) -> dict[str, Any]:
    """The engine that serves a path, empty when there is none."""
    try:
        data = vault.request("GET", api_path)["data"]
    except VaultError as exc:
        if exc.status == 400 and "engine" in exc.reason:  # "No secret engine mount at", "No auth engine at"
            return {}
        raise
    return {"path": path, **{name: data[name] or {} if name == "options" else data[name] for name in SHOWN}}


def find_outer_engine(vault: Vault, top: str, path: str, found: dict[str, Any]) -> str:
    """The path of the engine that contains a path, because Vault returns it for the path. Empty for its own engine."""
    parts = path.split("/")
    for number in range(1, len(parts)):
        prefix = "/".join(parts[:number])
        status, body = vault.exchange("GET", f"{top}/{prefix}")
        if status == 200 and body["data"]["accessor"] == found["accessor"]:
            return prefix
    return ""


def list_roles(vault: Vault, path: str) -> list[str] | None:
    """The names of the roles of an auth method, None if the login is not permitted to list them."""
    api_path = f"auth/{path}/role"
    status, body = vault.exchange("LIST", api_path)
    if status == 403:
        return None
    if status == 429 or status >= 500 or not isinstance(body, dict):
        raise errors.from_response(vault.url, "list", api_path, status, body)
    return sorted(body["data"]["keys"]) if status == 200 else []


def requested_settings(params: dict[str, Any]) -> dict[str, Any]:
    """The settings that the task gives, in one dictionary, with durations in seconds."""
    settings = dict(params["config"])
    settings.update(
        {name: params[name] for name in ("description", *DURATIONS, *IMMUTABLE) if params[name] is not None}
    )
    settings.update({name: durations.zero_or_more(name, settings[name]) for name in DURATIONS if name in settings})
    return {**settings, **({"options": params["options"]} if params["options"] else {})}


def check_durations(path: str, settings: dict[str, Any], found: dict[str, Any]) -> None:
    default, maximum = ({**found.get("config", {}), **settings}.get(name) or 0 for name in reversed(DURATIONS))
    if maximum and default > maximum:
        raise VaultError(
            f"default_lease_ttl {durations.to_text(default)} of the engine at {path} is longer than its max_lease_ttl "
            f"{durations.to_text(maximum)}. Correct one of them.",
            code="invalid_option",
        )


def engine_options(engine: dict[str, Any]) -> dict[str, Any]:
    """The options with the version of a kv engine, which is 1 when Vault returns none."""
    return {**({"version": "1"} if engine["type"] == "kv" else {}), **engine["options"]}


def check_type(params: dict[str, Any], found: dict[str, Any]) -> None:
    """Fail for an engine of another type. Vault upgrades kv version 1 to 2, and changes no other type."""
    expected, existing = params["type"] or found["type"], found["type"]
    if existing == expected == "kv":
        existing = f"kv-v{engine_options(found)['version']}"
        expected = f"kv-v{params['options'].get('version', existing.removeprefix('kv-v'))}"
    if existing != expected and (params["state"], existing, expected) != ("present", "kv-v1", "kv-v2"):
        raise VaultError(
            f"The engine at {params['path']} is of type {existing}, expected {expected}. "
            "Use another path, or disable that engine first, which deletes all its data.",
            code="engine_type_mismatch",
        )


def compare(settings: dict[str, Any], engine: dict[str, Any]) -> drift.Differences:
    found = {**engine, **engine["config"], "options": engine_options(engine)}
    if "options" in settings:  # Vault does not change options that are not sent
        settings = {**settings, "options": {**found["options"], **settings["options"]}}
    return drift.differences(settings, found)


def present(
    vault: Vault, api_path: str, params: dict[str, Any], found: dict[str, Any]
) -> tuple[drift.Differences, dict[str, Any]]:
    """Enable or tune the engine. Returns what differed before, and the engine as it is now."""
    existing = found.get("config", {}).get("max_lease_ttl") or 0
    if not params["shorten_max_lease_ttl"] and existing >= (requested_settings(params).get("max_lease_ttl") or 0):
        params["max_lease_ttl"] = None
    settings = requested_settings(params)
    check_durations(params["path"], settings, found)
    if found:
        differing = compare(settings, found)
        tune(vault, api_path, settings, differing)
    else:
        differing = drift.differences({"type": params["type"], **settings}, {})
        enable(vault, api_path, params, settings)
    if not differing:
        return {}, found
    if vault.module.check_mode:
        return differing, predict_engine(vault, api_path, params, found)
    now = read_engine(vault, api_path, params["path"])
    vault.warn_of_ignored(api_path, compare(settings, now))
    return differing, now


def tune(vault: Vault, api_path: str, settings: dict[str, Any], differing: drift.Differences) -> None:
    immutable = drift.select(differing, IMMUTABLE)
    if immutable:
        path = vault.module.params["path"]
        raise VaultError(
            f"Vault cannot change the engine at {path}: {drift.describe(immutable)}. Correct the option, or disable "
            "the engine first, which deletes all its data.",
            code="immutable_setting",
            differences=immutable,
        )
    if differing:
        vault.write(f"{api_path}/tune", {name: settings[name] for name in differing})


def disable(vault: Vault, api_path: str, params: dict[str, Any]) -> None:
    if params["path"] in BUILT_IN[params["kind"]]:
        message = f"The engine at {params['path']} is part of Vault and cannot be disabled. Correct the path."
        raise VaultError(message, code="built_in_engine")
    vault.delete(api_path)


def enable(vault: Vault, api_path: str, params: dict[str, Any], settings: dict[str, Any]) -> None:
    if vault.module.check_mode:
        check_path_and_type(vault, api_path, params)
    top = drift.select(settings, ("description", "options", *IMMUTABLE))
    config = {name: value for name, value in settings.items() if name not in top}
    vault.write(api_path, {"type": params["type"], "config": config, **top})


def check_path_and_type(vault: Vault, api_path: str, params: dict[str, Any]) -> None:
    """Fail as Vault would for a path that is in use and for an unknown type, as far as the token can read them."""
    status, body = vault.exchange("GET", api_path.removesuffix(f"/{params['path']}"))
    for other in body["data"] if status == 200 else []:
        if other.startswith(f"{params['path']}/"):
            message, code = errors.explain_used_path(vault.url, api_path, other)
            raise VaultError(message, code=code)
    catalog = f"sys/plugins/catalog/{params['kind']}/{params['type']}"
    if vault.exchange("GET", catalog) == (404, {"errors": []}):  # a namespace has no catalog, and another 404
        message, code = errors.explain_unknown_type(vault.url, params["type"])
        raise VaultError(message, code=code)


def predict_engine(vault: Vault, api_path: str, params: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The engine after the change, for check mode."""
    settings = requested_settings(params)
    top = drift.select(settings, ("description", *IMMUTABLE))
    config = {name: value for name, value in settings.items() if name not in (*top, "options")}
    for name in vault.warn_of_unknown(f"{api_path}/tune", set(config) - (set() if found else ONLY_WHEN_ENABLED)):
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
    api_path = f"{top}/{params['path']}"
    found = read_engine(vault, api_path, params["path"])
    outer = find_outer_engine(vault, top, params["path"], found) if found else ""
    if outer and params["state"] == "present":
        message, code = errors.explain_used_path(vault.url, api_path, f"{outer}/")
        raise VaultError(message, code=code)
    found = {} if outer else found
    if found:
        check_type(params, found)
    roles = list_roles(vault, params["path"]) if found and params["kind"] == "auth" else []
    if params["state"] == "present":
        differing, now = present(vault, api_path, params, found)
        changed = bool(differing)
    else:
        differing, changed, now = {}, bool(found), {}
        if found:
            disable(vault, api_path, params)
    diff = {"before": found, "after": now}
    return dict(changed=changed, engine=now, roles=roles, differences=differing, diff=diff)


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
