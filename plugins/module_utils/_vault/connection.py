# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to Vault. Options, environment variables and auth methods are those of community.hashi_vault."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift
from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import run as run_module
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.hashi_vault import (
    HashiVaultModule,
    HashiVaultValueError,
)
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import errors
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError

try:
    from requests.adapters import HTTPAdapter
    from requests.exceptions import RequestException
except ImportError:  # requests comes with hvac, and HashiVaultModule fails without hvac
    RequestException = OSError  # type: ignore[misc, assignment]

try:
    from ansible.module_utils.secrets import register_secret  # ansible-core 2.22
except ImportError:
    register_secret = None

# community.hashi_vault logs these; nothing of a login belongs into a log.
MASKED_OPTIONS = dict(role_id=dict(type="str", no_log=True), aws_security_token=dict(type="str", no_log=True))
AUTH_METHODS = HashiVaultModule.generate_argspec()["auth_method"]["choices"]


class Vault:
    """Requests to one Vault. Every expected failure is a VaultError."""

    last_request = "the login"  # method and path, for the message about an unexpected response

    def __init__(self, module: HashiVaultModule) -> None:
        self.module = module
        try:
            module.connection_options.process_connection_options()
            self.client = module.helper.get_vault_client(**module.connection_options.get_hvac_connection_options())
        except (HashiVaultValueError, TypeError, ValueError) as exc:
            message = f"The connection options of Vault are not valid: {with_full_stop(exc)}"
            raise VaultError(message, code="invalid_connection") from exc
        self.url = module.params["url"]
        if module.params["namespace"]:
            self.check_namespaces()
        self.login()

    def check_namespaces(self) -> None:
        """Fail for HashiCorp Vault's community edition, which ignores the header and uses the root namespace."""
        dummy, health = self.exchange("GET", "sys/health")
        if isinstance(health, dict) and health.get("enterprise") is False:
            raise VaultError(
                f"Vault at {self.url} is HashiCorp's community edition, which has no namespaces. "
                "Remove the option namespace, and VAULT_NAMESPACE.",
                code="namespaces_not_supported",
            )

    def login(self) -> None:
        method = self.module.params["auth_method"]
        try:
            self.module.authenticator.validate()
            self.module.authenticator.authenticate(self.client)
        except (HashiVaultValueError, NotImplementedError) as exc:
            message = f"The login to Vault at {self.url} with {method} is not possible: {with_full_stop(exc)}"
            raise VaultError(message, code="invalid_login") from exc
        except self.module.helper.get_hvac().exceptions.VaultError as exc:
            raise errors.from_login(self.url, method, exc) from exc
        except (RequestException, OSError) as exc:
            raise errors.from_transport(self.url, exc) from exc
        if self.client.token:
            mask_secret(self.module, self.client.token)

    def request(
        self, method: str, path: str, data: dict[str, Any] | None = None, *, capability: str = "", headers: Any = None
    ) -> dict[str, Any]:
        """The JSON of the response, empty when there is none. `capability` is what a policy must grant."""
        path, capability = path.strip("/"), capability or errors.CAPABILITIES[method]
        status, body = self.exchange(method, path, data, headers)
        if status < 300 and isinstance(body, dict):
            return body
        if status == 403 and isinstance(body, dict):
            self.check_token()
            raise self.permission_error(capability, path, errors.format_reasons(body.get("errors") or []))
        raise errors.from_response(self.url, capability, path, status, body)

    def create_once(self, path: str, data: dict[str, Any]) -> dict[str, Any]:
        """The JSON of the response to a request that creates another object each time it is sent.

        The option `retries` does not apply to it: after a lost response a retry would leave an object behind.
        """
        self.client.adapter.session.mount(f"{self.client.url.rstrip('/')}/v1/{quote(path)}", HTTPAdapter())
        return self.request("POST", path, data)

    def exchange(
        self, method: str, path: str, data: Any = None, headers: Any = None, params: Any = None
    ) -> tuple[int, Any]:
        """The status and the body of a response. `#` and `?` are ordinary characters of a path."""
        arguments = {"json": data} if data is not None else {}
        Vault.last_request = f"{method} {path}"
        try:
            response = self.client.adapter.request(
                method,
                f"/v1/{quote(path)}",
                headers=headers or None,
                params=params,
                raise_exception=False,
                **arguments,
            )
        except (RequestException, OSError) as exc:
            raise errors.from_transport(self.url, exc) from exc
        except ValueError as exc:
            if not str(exc).startswith(errors.REFUSED_HEADER):
                raise
            raise errors.from_transport(self.url, exc) from exc
        if not hasattr(response, "status_code"):  # hvac has parsed it
            return 200, response if isinstance(response, dict) else str(response)
        if not response.content:
            return response.status_code, {}
        try:
            return response.status_code, response.json()
        except ValueError:
            return response.status_code, response.text

    def check_token(self) -> None:
        """Fail if a status 403 is about the token itself, which Vault's response does not show."""
        if not self.client.token:
            message = f"Vault at {self.url} requires a login for this request. Set auth_method to another than none."
            raise VaultError(message, 403, code="login_required")
        status, body = self.exchange("GET", "auth/token/lookup-self")
        # A valid token without the default policy cannot look itself up. Only that refusal has Go's multierror header.
        is_valid = isinstance(body, dict) and "error occurred" in str(body.get("errors"))
        if status == 403 and (not is_valid or "invalid token" in str(body)):
            message = f"Vault at {self.url} does not accept the token: it is wrong, expired or revoked. Log in again."
            raise VaultError(message + self.namespace_hint, 403, code="invalid_token")

    def permission_error(self, capability: str, path: str, reason: str = "") -> VaultError:
        sudo = self.requires_sudo(path)
        message = errors.explain_missing_capability(capability, path, sudo=sudo, namespace=self.namespace)
        return VaultError(message + self.namespace_hint, 403, reason, code="permission_denied")

    @property
    def namespace(self) -> str:
        """The namespace of all requests; empty for the root namespace."""
        return (self.module.params["namespace"] or "").strip("/")

    @property
    def namespace_hint(self) -> str:
        """For the message about a refused token: an option that is empty overrides the environment."""
        unused = os.environ.get("VAULT_NAMESPACE", "").strip("/")
        if self.module.params["namespace"] or not unused:
            return ""
        return (
            " The option namespace is empty, so the request is for the root namespace: VAULT_NAMESPACE is not used. "
            f"If the token is one of the namespace {unused}, set namespace (pki_vault_namespace in the inventory)."
        )

    def help(self, path: str) -> dict[str, Any]:
        """Vault's OpenAPI description of a path, which every token can read. Empty when there is none."""
        status, body = self.exchange("GET", path, params={"help": 1})
        return (body.get("openapi") or {}) if status == 200 and isinstance(body, dict) else {}

    def requires_sudo(self, path: str) -> bool:
        return any(one.get("x-vault-sudo") for one in self.help(path).get("paths", {}).values())

    def describe(self, path: str) -> tuple[str, set[str]]:
        """The product (OpenBao or HashiCorp Vault), and the names that a write to a path accepts.

        Both are empty when Vault has no description. The names are empty for a path that accepts any name.
        """
        page = self.help(path)
        if not page:
            return "", set()
        schemas = page["components"]["schemas"].items()
        names = {name for title, one in schemas if title.endswith("Request") for name in one["properties"]}
        return page["info"]["title"].removesuffix(" API"), names

    def stores_any_name(self, path: str) -> bool:
        """Whether a write to the path stores every name, as kv does, so that a read returns all of them."""
        product, known = self.describe(path)
        return bool(product) and not known

    def warn_of_unknown(self, path: str, names: Iterable[str]) -> list[str]:
        """The names that a write to the path would ignore. Warns of them, for check mode."""
        product, known = self.describe(path)
        ignored = sorted(set(names) - known) if known else []
        if ignored:
            self.module.warn(
                f"{product} does not know {', '.join(ignored)} at {path}, so each run will write it again. "
                "Correct the name."
            )
        return ignored

    def warn_of_ignored(self, path: str, ignored: drift.Differences, advice: str = "") -> None:
        """Warn of settings that still differ after a write."""
        if ignored:
            self.module.warn(
                f"Vault accepted the write to {path} and returns other values: {drift.describe(ignored)}. Each run "
                f"will write it again. Correct the name or value.{advice}"
            )

    def read(self, path: str) -> dict[str, Any] | None:
        """The data at a path, None when there is none. Raises VaultError for a path without an engine."""
        try:
            return self.request("GET", path).get("data") or {}
        except VaultError as exc:
            if exc.status == 404 and not exc.reason:
                return None
            raise

    def list(self, path: str) -> dict[str, Any]:
        """The list at a path, empty when there is none. Raises VaultError for a path without an engine."""
        try:
            return self.request("LIST", path).get("data") or {}
        except VaultError as exc:
            if exc.status == 404 and not exc.reason:
                return {}
            raise

    def change(
        self, method: str, path: str, data: dict[str, Any] | None = None, *, capability: str = "", headers: Any = None
    ) -> dict[str, Any]:
        """Send a request that changes Vault. In check mode, only check that the token has the capability."""
        if self.module.check_mode:
            self.check_capabilities((capability or errors.CAPABILITIES[method], path))
            return {}
        return self.request(method, path, data, capability=capability, headers=headers)

    def write(self, path: str, data: dict[str, Any], *, new: bool = False) -> dict[str, Any]:
        """Create or update an object, and warn of what Vault warns of. Some engines require `create` for a new one."""
        response = self.change("POST", path, data, capability="create" if new else "update")
        for warning in response.get("warnings") or []:
            self.module.warn(f"Warning of Vault for {path}: {warning}")
        return response

    def patch(self, path: str, data: dict[str, Any]) -> dict[str, Any]:
        return self.change("PATCH", path, data, headers={"Content-Type": "application/merge-patch+json"})

    def delete(self, path: str) -> None:
        self.change("DELETE", path)

    def check_capabilities(self, *needed: tuple[str, str]) -> None:
        """Fail as a request would that the token has no permission for. Each one is a capability and a path.

        Vault answers only tokens with the default policy. Without it, nothing is known before the request.
        """
        paths = [path.strip("/") for dummy, path in needed]
        status, body = self.exchange("POST", "sys/capabilities-self", {"paths": paths})
        found = body.get("data") if status == 200 and isinstance(body, dict) else None
        for capability, path in zip((capability for capability, dummy in needed), paths, strict=True):
            granted = set((found or {}).get(path, ["root"]))
            if "root" in granted:
                continue
            sufficient = granted.intersection(errors.SUFFICIENT.get(capability, [capability]))
            if not sufficient or ("sudo" not in granted and self.requires_sudo(path)):
                raise self.permission_error(capability, path)


def with_full_stop(exc: Exception) -> str:
    return f"{str(exc).rstrip('.')}."


def mask_secret(module: HashiVaultModule, secret: str) -> None:
    """Mask a secret that is not an option in all output of the module."""
    module.no_log_values.add(secret)
    if register_secret:
        register_secret(secret)


def run(work: Callable[[HashiVaultModule, Vault], dict[str, Any]], options: dict[str, Any], **rules: Any) -> None:
    """The body of every Vault module: connect, log in, and exit with the result of `work`."""
    spec = HashiVaultModule.generate_argspec(**MASKED_OPTIONS, **options)
    module = HashiVaultModule(argument_spec=spec, supports_check_mode=True, **rules)
    run_module(module, lambda: work(module, Vault(module)), lambda exc: unexpected_answer(module.params["url"], exc))


def unexpected_answer(url: str, exc: Exception) -> VaultError:
    return VaultError(
        f"Vault at {url} returned a response to {Vault.last_request} that this module does not support "
        f"({type(exc).__name__}). Check that url is the address of Vault, and that its version is supported.",
        code="unexpected_answer",
    )
