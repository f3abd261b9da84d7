# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an auth method of type jwt gets the keys of a cluster from. Private to this collection."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError, cleaned

# Vault replaces the whole configuration on a write, so every source names the fields of the others, too.
EMPTY: dict[str, Any] = {
    "oidc_discovery_url": "",
    "oidc_discovery_ca_pem": "",
    "jwks_url": "",
    "jwks_ca_pem": "",
    "jwt_validation_pubkeys": [],
}
# An address that does not answer takes Vault half a minute, so another one at the same host is not tried.
SILENT = ("timeout", "deadline exceeded", "no route to host", "no such host", "in time", "connection refused")
REASON = 200  # letters of a reason, which may hold the whole answer of another server


@dataclass(frozen=True)
class Source:
    """One way for Vault to get the keys."""

    kind: str
    data: dict[str, Any]
    url: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


def sources(params: dict[str, Any]) -> list[Source]:
    """What `keys` permits, in the order to try.

    An address is tried with the cluster's CA and with the CAs that Vault's system trusts, as for a public issuer.
    """
    own, system = params["ca_certificate"], ""
    found = {
        "discovery": [
            _source(params, "discovery", url, oidc_discovery_url=url, oidc_discovery_ca_pem=ca)
            for url in _https([params["issuer"]])
            for ca in dict.fromkeys((system, own))
        ],
        "jwks": [
            _source(params, "jwks", url, jwks_url=url, jwks_ca_pem=ca)
            for url in _https(params["jwks_urls"])
            for ca in dict.fromkeys((own, system))
        ],
        "static": [
            _source(params, "static", "", jwt_validation_pubkeys=keys) for keys in [params["public_keys"]] if keys
        ],
    }
    kinds = found if params["keys"] == "auto" else [params["keys"]]
    return [source for kind in kinds for source in found[kind]]


def _https(urls: list[str]) -> list[str]:
    """A key that was read without TLS proves nothing."""
    return [url for url in dict.fromkeys(urls) if urlsplit(url).scheme == "https"]


def _source(params: dict[str, Any], kind: str, url: str, **data: Any) -> Source:
    return Source(kind, {**EMPTY, "bound_issuer": params["issuer"], **data}, url)


def configure(module: Any, vault: Vault) -> dict[str, Any]:
    params = module.params
    path = f"auth/{params['path'].strip('/')}/config"
    wanted = sources(params)
    if not wanted:
        raise VaultError(
            f"There is nothing for {path} to verify tokens with: the issuer {params['issuer']} is no https address, "
            "and jwks_urls and public_keys are empty. Set one of them.",
            code="no_keys",
        )
    found = vault.read(path) or {}
    current = next((source for source in wanted if not drift.differences(source.data, found)), None)
    if current and (current.kind != "static" or params["keys"] == "static" or module.check_mode or wanted == [current]):
        return result(found, current, found, [])
    if module.check_mode:
        vault.foresee(("update", path))
        certain = wanted[0] if len(wanted) == 1 else None
        return result(found, certain, certain.data if certain else {}, [])
    chosen, refusals = first_accepted(vault, path, wanted, current, params["role"])
    if chosen is None:
        reasons = "; ".join(f"{one['url']}: {one['reason']}" for one in refusals)
        raise VaultError(
            f"Vault accepts none of the addresses for the keys of {params['issuer']}: {reasons}. Let Vault reach one "
            "of them, or set keys to static.",
            code="no_keys",
            refusals=refusals,
        )
    now = found if chosen is current else vault.read(path) or {}
    return result(found, chosen, now, refusals)


def first_accepted(
    vault: Vault, path: str, wanted: list[Source], current: Source | None, role: str | None
) -> tuple[Source | None, list[dict[str, str]]]:
    """The source that Vault verifies tokens with from now on, and what it refused before."""
    refusals: list[dict[str, str]] = []
    silent: set[str] = set()
    replaced = False
    for source in wanted:
        if source.host and source.host in silent:
            continue
        if source is current and not replaced:
            return source, refusals
        reason, stored = refusal(vault, path, source, role)
        replaced = replaced or stored
        if not reason:
            return source, refusals
        refusals.append({"source": source.kind, "url": source.url, "reason": reason})
        if any(word in reason.lower() for word in SILENT):
            silent.add(source.host)
    return None, refusals


def refusal(vault: Vault, path: str, source: Source, role: str | None) -> tuple[str, bool]:
    """Why Vault cannot verify tokens with a source, empty if it can, and whether it has stored the source."""
    try:
        vault.request("POST", path, source.data)
    except VaultError as exc:
        if exc.status != 400 and not exc.lost:
            raise
        return shortened(exc.reason or str(exc)), False
    if source.kind == "discovery" and role:
        return unreadable_keys(vault, path.removesuffix("/config"), role, source.data["bound_issuer"]), True
    return "", True


def unreadable_keys(vault: Vault, path: str, role: str, issuer: str) -> str:
    """Vault checks the discovery document when it is written, and fetches the keys at the first login only."""
    body = vault.exchange("POST", f"{path}/login", {"role": role, "jwt": unsigned_token(issuer)})[1]
    reason = cleaned(body.get("errors") or "") if isinstance(body, dict) else ""
    return shortened(reason) if "fetching keys" in reason else ""


def unsigned_token(issuer: str) -> str:
    """A JSON Web Token (RFC 7519) that no key verifies."""
    parts = {"alg": "RS256", "kid": "none"}, {"iss": issuer, "sub": "nobody", "aud": "nothing", "iat": 1, "exp": 2}
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "bm9uZQ"])


def shortened(reason: str) -> str:
    return reason if len(reason) <= REASON else f"{reason[:REASON]}..."


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
        diff={"before": drift.view(found, names), "after": drift.view(now, names)},
    )
