# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to Vault. Options, environment variables and auth methods are those of community.hashi_vault."""

from __future__ import annotations

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
except ImportError:  # hvac brings it, and HashiVaultModule says that hvac is missing
    RequestException = OSError  # type: ignore[misc, assignment]

try:
    from ansible.module_utils.secrets import register_secret  # ansible-core 2.22
except ImportError:
    register_secret = None

# Not secret for community.hashi_vault; nothing of a login shall be in a log of ours.
HIDDEN = dict(role_id=dict(type="str", no_log=True), aws_security_token=dict(type="str", no_log=True))
LOGIN_METHODS = HashiVaultModule.generate_argspec()["auth_method"]["choices"]


class Vault:
    """Requests to one Vault. Every failure is a VaultError."""

    last = "the login"  # method and path of the last request

    def __init__(self, module: HashiVaultModule) -> None:
        self.module = module
        try:
            module.connection_options.process_connection_options()
            self.client = module.helper.get_vault_client(**module.connection_options.get_hvac_connection_options())
        except (HashiVaultValueError, TypeError, ValueError) as exc:
            raise VaultError(f"The connection to Vault is not described: {ended(exc)}") from exc
        self.url = module.params["url"]
        if module.params["namespace"]:
            self.check_namespaces()
        self.login()

    def check_namespaces(self) -> None:
        """HashiCorp Vault's community edition would do in the root namespace what is meant for another."""
        dummy, health = self.exchange("GET", "sys/health")
        if isinstance(health, dict) and health.get("enterprise") is False:
            raise VaultError(
                f"Vault at {self.url} has no namespaces, because it is HashiCorp's community edition. "
                "Leave out the option namespace, and VAULT_NAMESPACE."
            )

    def login(self) -> None:
        method = self.module.params["auth_method"]
        try:
            self.module.authenticator.validate()
            self.module.authenticator.authenticate(self.client)
        except (HashiVaultValueError, NotImplementedError) as exc:
            raise VaultError(f"Login to Vault at {self.url} with {method} is not possible: {ended(exc)}") from exc
        except self.module.helper.get_hvac().exceptions.VaultError as exc:
            raise errors.from_login(self.url, method, exc) from exc
        except (RequestException, OSError) as exc:
            raise errors.from_transport(self.url, exc) from exc
        if self.client.token:
            hide(self.module, self.client.token)

    def request(
        self, method: str, path: str, data: dict[str, Any] | None = None, *, doing: str = "", headers: Any = None
    ) -> dict[str, Any]:
        """The JSON of the answer, empty when there is none. `doing` is the right in a policy, if not the method's."""
        path, doing = path.strip("/"), doing or errors.CAPABILITIES[method]
        status, body = self.exchange(method, path, data, headers)
        if status < 300 and isinstance(body, dict):
            return body
        if status == 403 and isinstance(body, dict):
            self.check_token()
            raise self.refusal(doing, path, errors.cleaned(body.get("errors") or []))
        raise errors.from_answer(self.url, doing, path, status, body)

    def make(self, path: str, data: dict[str, Any]) -> dict[str, Any]:
        """The JSON of the answer to a request that makes something each time it is sent: the option retries does not
        repeat it, since what a lost answer was about would be left behind."""
        self.client.adapter.session.mount(f"{self.client.url.rstrip('/')}/v1/{quote(path)}", HTTPAdapter())
        return self.request("POST", path, data)

    def exchange(
        self, method: str, path: str, data: Any = None, headers: Any = None, params: Any = None
    ) -> tuple[int, Any]:
        """The status and what came back. The path is no part of an URL yet: `#` and `?` are letters in it."""
        arguments = {"json": data} if data is not None else {}
        Vault.last = f"{method} {path}"
        try:
            answer = self.client.adapter.request(
                method,
                f"/v1/{quote(path)}",
                headers=headers or None,
                params=params,
                raise_exception=False,
                **arguments,
            )
        except (RequestException, OSError) as exc:
            raise errors.from_transport(self.url, exc) from exc
        if not hasattr(answer, "status_code"):  # hvac has parsed it
            return 200, answer if isinstance(answer, dict) else str(answer)
        if not answer.content:
            return answer.status_code, {}
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, answer.text

    def check_token(self) -> None:
        """Whether a 403 is about the right or about the token itself, which Vault does not say by itself."""
        if not self.client.token:
            raise VaultError(f"Vault at {self.url} wants a login for this, and auth_method is none: set another.", 403)
        status, body = self.exchange("GET", "auth/token/lookup-self")
        # A token without the default policy may not look itself up. Vault puts a frame around that refusal only.
        framed = isinstance(body, dict) and "error occurred" in str(body.get("errors"))
        if status == 403 and (not framed or "invalid token" in str(body)):
            raise VaultError(
                f"Vault at {self.url} does not accept the token: it is wrong, expired or revoked. Log in again.", 403
            )

    def refusal(self, capability: str, path: str, said: str = "") -> VaultError:
        namespace = (self.module.params["namespace"] or "").strip("/")
        sentence = errors.missing_right(capability, path, sudo=self.wants_sudo(path), namespace=namespace)
        return VaultError(sentence, 403, said)

    def help(self, path: str) -> dict[str, Any]:
        """Vault's description of a path, which every token may read. Empty when it has none."""
        status, body = self.exchange("GET", path, params={"help": 1})
        return (body.get("openapi") or {}) if status == 200 and isinstance(body, dict) else {}

    def wants_sudo(self, path: str) -> bool:
        return any(one.get("x-vault-sudo") for one in self.help(path).get("paths", {}).values())

    def describe(self, path: str) -> tuple[str, set[str]]:
        """Which product it is, and the names that a write to a path takes. Empty when that is not known, as for a path
        that takes any name."""
        page = self.help(path)
        if not page:
            return "", set()
        schemas = page["components"]["schemas"].items()
        names = {name for title, one in schemas if title.endswith("Request") for name in one["properties"]}
        return page["info"]["title"].removesuffix(" API"), names

    def takes_any_name(self, path: str) -> bool:
        """Whether a write to the path stores every name, as kv does, so that a read returns all that was written."""
        product, known = self.describe(path)
        return bool(product) and not known

    def unknown(self, path: str, names: Iterable[str]) -> list[str]:
        """Those that a write to the path would not take. It warns of them, for a check."""
        product, known = self.describe(path)
        ignored = sorted(set(names) - known) if known else []
        if ignored:
            self.module.warn(f"{product} does not know {', '.join(ignored)} at {path}. Each run will write it again.")
        return ignored

    def warn_of_ignored(self, path: str, ignored: drift.Differences, advice: str = "") -> None:
        """`ignored` is what differs after a write."""
        if ignored:
            self.module.warn(
                f"Vault took the write to {path} and tells something else: {drift.sentence(ignored)}. Each run will "
                f"write it again. Correct the name or value.{advice}"
            )

    def read(self, path: str) -> dict[str, Any] | None:
        """The data at a path, None when there is nothing. A path of no engine is an error."""
        try:
            return self.request("GET", path).get("data") or {}
        except VaultError as exc:
            if exc.status == 404 and not exc.reason:
                return None
            raise

    def list(self, path: str) -> dict[str, Any]:
        try:
            return self.request("LIST", path).get("data") or {}
        except VaultError as exc:
            if exc.status == 404 and not exc.reason:
                return {}
            raise

    def change(
        self, method: str, path: str, data: dict[str, Any] | None = None, *, doing: str = "", headers: Any = None
    ) -> dict[str, Any]:
        """A request that changes something. In check mode it only looks whether the token has the right to it."""
        if self.module.check_mode:
            self.foresee((doing or errors.CAPABILITIES[method], path))
            return {}
        return self.request(method, path, data, doing=doing, headers=headers)

    def write(self, path: str, data: dict[str, Any], *, new: bool = False) -> dict[str, Any]:
        """Some engines want another right for what does not exist yet, see Vault's guide to policies."""
        answer = self.change("POST", path, data, doing="create" if new else "update")
        for warning in answer.get("warnings") or []:
            self.module.warn(f"Vault says about {path}: {warning}")
        return answer

    def patch(self, path: str, data: dict[str, Any]) -> dict[str, Any]:
        return self.change("PATCH", path, data, headers={"Content-Type": "application/merge-patch+json"})

    def delete(self, path: str) -> None:
        self.change("DELETE", path)

    def foresee(self, *acts: tuple[str, str]) -> None:
        """Fails as a request would for which the token lacks the right. Each act is a capability and a path.

        Only the default policy lets a token ask, so without it nothing is known before.
        """
        paths = [path.strip("/") for dummy, path in acts]
        status, body = self.exchange("POST", "sys/capabilities-self", {"paths": paths})
        rights = body.get("data") if status == 200 and isinstance(body, dict) else None
        for capability, path in zip((capability for capability, dummy in acts), paths, strict=True):
            has = set((rights or {}).get(path, ["root"]))
            if "root" in has:
                continue
            allowed = has.intersection(errors.ENOUGH.get(capability, [capability]))
            if not allowed or ("sudo" not in has and self.wants_sudo(path)):
                raise self.refusal(capability, path)


def ended(exc: Exception) -> str:
    return f"{str(exc).rstrip('.')}."


def hide(module: HashiVaultModule, secret: str) -> None:
    """Keeps a secret that was no option out of every output."""
    module.no_log_values.add(secret)
    if register_secret:
        register_secret(secret)


def run(work: Callable[[HashiVaultModule, Vault], dict[str, Any]], options: dict[str, Any], **rules: Any) -> None:
    """The body of every Vault module: connect, log in, and exit with the result of `work`."""
    spec = HashiVaultModule.generate_argspec(**HIDDEN, **options)
    module = HashiVaultModule(argument_spec=spec, supports_check_mode=True, **rules)
    run_module(module, lambda: work(module, Vault(module)), lambda exc: unexpected_answer(module.params["url"], exc))


def unexpected_answer(url: str, exc: Exception) -> VaultError:
    return VaultError(
        f"Vault at {url} returned an answer to {Vault.last} that this module does not expect ({type(exc).__name__}). "
        "Check that the address is that of Vault, in a supported version.",
        code="unexpected_answer",
    )
