# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source of the keys with which an auth method of type jwt verifies tokens. Private to this collection."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import (
    VaultError,
    format_reasons,
    from_response,
)

# Vault replaces the whole configuration on a write, so each source resets the fields of the others.
EMPTY: dict[str, Any] = {
    "oidc_discovery_url": "",
    "oidc_discovery_ca_pem": "",
    "jwks_url": "",
    "jwks_ca_pem": "",
    "jwt_validation_pubkeys": [],
}
# Vault waits half a minute for an address that does not respond, so other addresses of that host are not tried.
UNREACHABLE = ("timeout", "deadline exceeded", "no route to host", "no such host", "in time", "connection refused")
MAX_REASON = 200  # characters of a reason, which may contain the whole response of another server


@dataclass(frozen=True)
class Source:
    """A source of the keys: an address, or the keys themselves."""

    kind: str
    data: dict[str, Any]
    url: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


def sources(params: dict[str, Any]) -> list[Source]:
    """The sources that the option `keys` permits, in the order to try them.

    An address is tried with the CA of the cluster, and with the CAs of Vault's system for a public issuer.
    """
    cluster, system = params["ca_certificate"], ""
    found = {
        "discovery": [
            _source(params, "discovery", url, oidc_discovery_url=url, oidc_discovery_ca_pem=ca)
            for url in _https([params["issuer"]])
            for ca in dict.fromkeys((system, cluster))
        ],
        "jwks": [
            _source(params, "jwks", url, jwks_url=url, jwks_ca_pem=ca)
            for url in _https(params["jwks_urls"])
            for ca in dict.fromkeys((cluster, system))
        ],
        "static": [
            _source(params, "static", "", jwt_validation_pubkeys=keys) for keys in [params["public_keys"]] if keys
        ],
    }
    kinds = found if params["keys"] == "auto" else [params["keys"]]
    return [source for kind in kinds for source in found[kind]]


def _https(urls: list[str]) -> list[str]:
    """The addresses with TLS. Keys that are read without it can be forged."""
    return [url for url in dict.fromkeys(urls) if urlsplit(url).scheme == "https"]


def _source(params: dict[str, Any], kind: str, url: str, **data: Any) -> Source:
    return Source(kind, {**EMPTY, "bound_issuer": params["issuer"], **data}, url)


def missing_keys(params: dict[str, Any]) -> list[str]:
    """Why there is no source of keys, for each kind that the option keys permits."""
    reasons = {
        "discovery": f"issuer {params['issuer']} is not an https address",
        "jwks": "jwks_urls contains no https address",
        "static": "public_keys is empty",
    }
    return list(reasons.values()) if params["keys"] == "auto" else [reasons[params["keys"]]]


def check_owner(params: dict[str, Any], found: dict[str, Any]) -> None:
    """Fail if the auth method verifies tokens of another issuer, whose clients could not log in any more."""
    other = str(found.get("bound_issuer") or "")
    if not found or other.rstrip("/") == params["issuer"].rstrip("/") or params["take_over"]:
        return
    path = params["path"].strip("/")
    issuer = f"the issuer {other}" if other else "any issuer (bound_issuer is empty)"
    raise VaultError(
        f"The auth method {path} is configured for another cluster: its tokens have {issuer}, and those of this "
        f"cluster {params['issuer']}. It was not changed. Use another path (set vault_issuer_cluster of the role "
        "vault_issuer to a name that no other cluster has), or, if the other cluster does not exist any more, set "
        f"take_over, or add 'Vault auth method {path}' to pki_take_over.",
        code="auth_method_of_other_cluster",
    )


def configure(module: Any, vault: Vault) -> dict[str, Any]:
    params = module.params
    path = f"auth/{params['path'].strip('/')}/config"
    candidates = sources(params)
    if not candidates:
        raise VaultError(
            f"{path} would have no keys to verify tokens: {', and '.join(missing_keys(params))}. Set one of these "
            "options, or another value of keys.",
            code="no_keys",
        )
    found = vault.read(path) or {}
    check_owner(params, found)
    current = next((source for source in candidates if not drift.differences(source.data, found)), None)
    refusals: list[dict[str, str]] = []
    reason = explain_unreadable_keys(vault, path, current, params["role"]) if current else ""
    if current and reason:  # a run that was killed may have left it
        refusals.append(refusal(current, reason))
        candidates, current = [source for source in candidates if source != current], None
    keeps_static = params["keys"] == "static" or candidates == [current] or module.check_mode
    if current and (current.kind != "static" or keeps_static):
        return result(found, current, found, [])
    if module.check_mode and candidates:
        vault.check_capabilities(("update", path))
        predicted = candidates[0] if len(candidates) == 1 else None
        return result(found, predicted, predicted.data if predicted else {}, refusals)
    chosen = write_first_accepted(vault, path, found, candidates, current, refusals)
    now = found if chosen is current else vault.read(path) or {}
    return result(found, chosen, now, refusals)


def write_first_accepted(
    vault: Vault,
    path: str,
    found: dict[str, Any],
    candidates: list[Source],
    current: Source | None,
    refusals: list[dict[str, str]],
) -> Source:
    """Write the first source that Vault accepts. After an error, Vault has the earlier configuration again."""
    params = vault.module.params
    try:
        chosen = first_accepted(vault, path, candidates, current, params["role"], refusals)
        if chosen:
            return chosen
        reasons = "; ".join(f"{one['url']}: {one['reason']}" for one in refusals)
        raise VaultError(
            f"Vault accepts none of the addresses for the keys of {params['issuer']}: {reasons}. Let Vault reach one "
            "of them, or set keys to static.",
            code="no_keys",
            refusals=refusals,
        )
    except BaseException as exc:  # an interrupt, too
        restore(vault, path, found, exc)
        raise


def restore(vault: Vault, path: str, found: dict[str, Any], first: BaseException) -> None:
    """Write the earlier configuration again, if there was one. A failure is added to the first error."""
    try:
        if found and drift.differences(found, vault.read(path) or {}):
            fields = {name: value for name, value in found.items() if value not in drift.EMPTY}
            vault.request("POST", path, fields)
    except VaultError as second:
        if isinstance(first, VaultError):
            first.add(f"Vault may not have the earlier configuration of {path} any more: {second} Run again.")


def first_accepted(
    vault: Vault,
    path: str,
    candidates: list[Source],
    current: Source | None,
    role: str | None,
    refusals: list[dict[str, str]],
) -> Source | None:
    """The first source that Vault accepts, which is then stored. Those before it are added to the refusals."""
    replaced = False
    for source in candidates:
        if is_unreachable(source, refusals):
            continue
        if source is current and not replaced:
            return source
        reason, stored = try_source(vault, path, source, role)
        replaced = replaced or stored
        if not reason:
            return source
        refusals.append(refusal(source, reason))
    return None


def refusal(source: Source, reason: str) -> dict[str, str]:
    return {"source": source.kind, "url": source.url, "reason": reason}


def is_unreachable(source: Source, refusals: list[dict[str, str]]) -> bool:
    """Whether Vault did not reach another address of the same host."""
    reasons = [one["reason"].lower() for one in refusals if source.host and urlsplit(one["url"]).netloc == source.host]
    return any(text in reason for text in UNREACHABLE for reason in reasons)


def try_source(vault: Vault, path: str, source: Source, role: str | None) -> tuple[str, bool]:
    """Write a source. Returns why Vault cannot use it, empty if it can, and whether Vault may have stored it."""
    try:
        vault.request("POST", path, source.data)
    except VaultError as exc:
        if exc.status != 400 and not exc.lost:
            raise
        return shorten(exc.reason or str(exc)), exc.lost
    return explain_unreadable_keys(vault, path, source, role), True


def explain_unreadable_keys(vault: Vault, path: str, source: Source, role: str | None) -> str:
    """Why Vault cannot read the keys of a discovery document, empty if it can. It fetches them at a login only.

    Vault waits for them as long as this module waits for Vault, so a lost response is a reason, too.
    """
    if source.kind != "discovery" or not role:
        return ""
    login = f"{path.removesuffix('/config')}/login"
    try:
        status, body = vault.exchange("POST", login, {"role": role, "jwt": unsigned_token(source.data["bound_issuer"])})
        if status == 429 or status >= 500 or not isinstance(body, dict):
            raise from_response(vault.url, "update", login, status, body)
    except VaultError as exc:
        if not exc.lost:
            raise
        return shorten(str(exc))
    reason = format_reasons(body.get("errors") or "")
    return shorten(reason) if "fetching keys" in reason else ""


def unsigned_token(issuer: str) -> str:
    """A JSON Web Token (RFC 7519) that no key verifies."""
    parts = {"alg": "RS256", "kid": "none"}, {"iss": issuer, "sub": "nobody", "aud": "nothing", "iat": 1, "exp": 2}
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "bm9uZQ"])


def shorten(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}..."


def result(
    found: dict[str, Any], source: Source | None, now: dict[str, Any], refusals: list[dict[str, str]]
) -> dict[str, Any]:
    names = [*EMPTY, "bound_issuer"]
    differing = drift.differences(source.data, found) if source else {}
    return dict(
        changed=bool(differing) or source is None,
        source=source.kind if source else "",
        url=source.url if source else "",
        refusals=refusals,
        differences=differing,
        diff={"before": drift.select(found, names), "after": drift.select(now, names)},
    )
