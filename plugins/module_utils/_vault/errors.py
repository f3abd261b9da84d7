# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of Vault as a message and a code. Private to this collection.

The texts that are searched for are those of HashiCorp Vault 1.21 and OpenBao 2.6 (vault/router.go, vault/mount.go,
sdk/logical/error.go).
"""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError

CAPABILITIES = {"GET": "read", "LIST": "list", "POST": "update", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# Either may be needed to create an object: engines that implement an existence check ask for create.
SUFFICIENT = {"create": ["create", "update"]}

# Exceptions of requests and urllib3 that mean that nothing was sent. After any other one, Vault may have acted.
NOT_SENT = {
    *("ConnectTimeout", "ConnectTimeoutError", "NewConnectionError", "NameResolutionError", "ProxyError", "SSLError"),
    *("MissingSchema", "InvalidSchema", "InvalidURL", "InvalidHeader"),
}

REFUSED_HEADER = "Invalid header value"  # as the ValueError of http.client begins


class VaultError(PkiError):
    """A failed request to Vault, or a request that Vault could not fulfil.

    `status` is the HTTP status, 0 without a response. `reason` is the error text that Vault returned. `lost` is true
    when Vault may have acted although no conclusive response arrived.
    """

    def __init__(
        self, message: str, status: int = 0, reason: str = "", *, code: str, lost: bool = False, **details: Any
    ) -> None:
        super().__init__(message, code=code, **details)
        self.status, self.reason, self.lost = status, reason, lost


def format_reasons(errors: Any) -> str:
    """Vault's error texts in one line, without the header that Go's multierror adds."""
    reasons = errors if isinstance(errors, list) else [errors]
    text = "; ".join(re.sub(r"^\d+ errors? occurred:", "", str(error)) for error in reasons)
    return re.sub(r"\s+", " ", text.replace("\t*", " ")).strip().rstrip(".")


def from_response(url: str, capability: str, path: str, status: int, body: Any) -> VaultError:
    """The error for a response that is not a success. `body` is parsed JSON, or text."""
    lost = status >= 500
    if not isinstance(body, dict):
        return VaultError(explain_unknown_server(url, status, str(body)), status, code="not_vault", lost=lost)
    reason = format_reasons(body.get("errors") or body.get("warnings") or [])
    message, code = explain_response(url, capability, path, status, reason)
    return VaultError(message, status, reason, code=code, lost=lost)


def explain_response(url: str, capability: str, path: str, status: int, reason: str) -> tuple[str, str]:
    """The message and the code for an error response of Vault."""
    text, action = reason.lower(), f"{capability} {path}"
    if "sealed" in text and status == 503:
        return f"Vault at {url} is sealed. Unseal it, then run this again.", "vault_sealed"
    if status == 501 or "not initialized" in text:
        return f"Vault at {url} is not initialized. Initialize and unseal it first.", "vault_not_initialized"
    if status == 429 and reason:  # without a reason, it is the health of a standby node
        return explain_limited_rate(url, reason), "rate_limited"
    if status in (429, 472, 473) or "not active" in text or "standby" in text:
        message = f"Vault at {url} is a standby node that serves no requests. Set url to the active node."
        return message, "vault_standby"
    if "namespace not found" in text:
        message = f"Vault at {url} does not have this namespace. Check the option namespace and VAULT_NAMESPACE."
        return message, "namespace_not_found"
    if "no handler for route" in text:
        message = f"No engine in Vault at {url} serves {path}. Enable the engine first, or correct the path."
        return message, "mount_not_found"
    if "versioned k/v" in text:
        message = f"{path} belongs to a kv version 2 engine, which does not have this path. Correct the path or mount."
        return message, "unsupported_path"
    if "unsupported path" in text or "unsupported operation" in text or status == 405:
        message = f"The engine does not support {capability} of {path}. Correct the path, or the type of the engine."
        return message, "unsupported_path"
    if "path is already in use" in text:
        return explain_used_path(url, path, reason.split()[-1])
    if "plugin not found in the catalog" in text:
        return explain_unknown_type(url, reason.split()[-1])
    if status >= 500:
        return f"Vault at {url} failed to {action}: {reason or f'status {status}'}.", "vault_failed"
    return f"Vault refused to {action}: {reason or f'status {status}'}.", "request_refused"


def explain_used_path(url: str, path: str, other: str) -> tuple[str, str]:
    """The message and the code for a path that another engine contains."""
    return f"{path} is not free in Vault at {url}: an engine is mounted at {other}. Choose another path.", "path_in_use"


def explain_limited_rate(url: str, reason: str) -> str:
    """The message for a request that exceeds a quota of Vault."""
    return (
        f"Vault at {url} limits the number of requests ({reason}). Wait and run again, run fewer clusters at once "
        "(--forks), or raise the quota."
    )


def explain_unknown_type(url: str, engine_type: str) -> tuple[str, str]:
    """The message and the code for an engine type that Vault does not have."""
    message = f"Vault at {url} has no engine of type {engine_type}. Correct the type, or register its plugin."
    return message, "unknown_engine_type"


def explain_missing_capability(capability: str, path: str, *, sudo: bool, namespace: str) -> str:
    """The message for a missing capability, with the policy rule that grants it.

    `sudo` is true for a root-protected path. `namespace` is empty for the root namespace.
    """
    needed = [*SUFFICIENT.get(capability, [capability]), *(["sudo"] if sudo else [])]
    rule = f'path "{path}" {{ capabilities = {json.dumps(needed)} }}'
    message = f"The token does not have permission to {capability} {path}. Add this rule to its policy: {rule}"
    if not namespace:
        return message
    return (
        f"{message} The rule is for a policy of the namespace {namespace}. In a policy of the root namespace the path "
        f"is {namespace}/{path}."
    )


def from_login(url: str, method: str, exc: Any) -> VaultError:
    """The error for an exception of hvac during the login."""
    if not isinstance(exc.json, dict):
        return VaultError(explain_unknown_server(url, 0, exc.text or str(exc)), code="not_vault")
    reason = format_reasons(exc.errors or [])
    if "sealed" in reason.lower():
        message, code = explain_response(url, "update", "", 503, reason)
        return VaultError(message, 503, code=code)
    if "quota exceeded" in reason:
        return VaultError(explain_limited_rate(url, reason), 429, reason, code="rate_limited")
    refused = f"Vault at {url} refused the login with {method}"
    if reason in ("permission denied", ""):  # Vault gives no more detail before the login
        message = f"{refused}: permission denied. Check that the method is enabled at mount_point, and the credentials."
        return VaultError(message, 403, code="login_refused")
    return VaultError(f"{refused}: {reason}.", 403, code="login_refused")


def explain_unknown_server(url: str, status: int, text: str) -> str:
    """The message for a response that is not Vault's."""
    if "HTTP request to an HTTPS server" in text:
        return f"The server at {url} requires TLS. Set url to an address that begins with https://."
    title = re.search(r"<title>([^<]{1,80})", text, re.IGNORECASE)
    page = "an HTML page" if "<html" in text.lower() else "a response that is not JSON"
    page += f" ({title.group(1).strip()})" if title else ""
    page += f", status {status}" if status else ""
    return f"The server at {url} returned {page}. Check that url is the address of Vault and not of a proxy before it."


def from_transport(url: str, exc: Exception) -> VaultError:
    """The error for an exception of requests: no response arrived."""
    text = str(exc)
    kinds = {kind.__name__ for kind in type(exc).__mro__}
    # From requests or, if it is older, from http.client. The message contains the header, which is the token.
    if "InvalidHeader" in kinds or text.startswith(REFUSED_HEADER):
        return VaultError(
            f"The token or the namespace for Vault at {url} contains a space or a line end. Remove it, for instance "
            "the carriage return of a file from Windows.",
            code="invalid_header",
        )
    if {"MissingSchema", "InvalidSchema", "InvalidURL"} & kinds:
        message = f"{url!r} is not an address of Vault. Set url to one like https://vault.example.com:8200."
        return VaultError(message, code="invalid_address")
    if "CA certificate bundle" in text:
        file = text.rsplit(":", 1)[-1].strip()
        message = (
            f"The CA file {file} does not exist. Correct ca_cert (pki_vault_ca_file in the inventory) or VAULT_CACERT."
        )
        return VaultError(message, code="ca_file_not_found")
    lost = not kinds & NOT_SENT and not any(name in text for name in NOT_SENT) and "Connection refused" not in text
    message = f"Vault at {url} {explain_transport(kinds, text, exc)}."
    return VaultError(message, lost=lost, code="answer_lost" if lost else "unreachable")


def explain_transport(kinds: set[str], text: str, exc: Exception) -> str:
    """The reason why no response arrived, and what to do. `kinds` are the class names of the exception."""
    if "ProxyError" in kinds:
        return f"cannot be reached through the proxy ({root_cause(exc)}). Check the option proxies and HTTPS_PROXY"
    if "SSLError" in kinds or "CERTIFICATE_VERIFY_FAILED" in text:
        return explain_tls(text)
    if "ConnectTimeout" in kinds:
        return "did not accept the connection in time. Check the address, and firewalls between this host and Vault"
    if "Timeout" in kinds:
        return "accepted the request and did not respond in time. Raise the option timeout, or check the log of Vault"
    if "TooManyRedirects" in kinds:
        return "redirects endlessly. Set url to the active node"
    if "NameResolutionError" in text or "getaddrinfo" in text or "Name or service" in text:
        return "cannot be found, because its name does not resolve. Correct url, or the DNS of this host"
    if "Connection refused" in text:
        return "refuses the connection. Check that it is running, and the port"
    return f"cannot be reached: {root_cause(exc)}"


def explain_tls(text: str) -> str:
    """The reason why the TLS handshake failed, and what to do."""
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return "does not use TLS. Set url to an address that begins with http://, or check for a proxy"
    if "Hostname mismatch" in text or "IP address mismatch" in text or "doesn't match" in text:
        return "has a certificate for another name. Use a name that the certificate contains"
    if "expired" in text:
        return "has an expired certificate. Renew it"
    if "self-signed" in text or "self signed" in text or "unable to get local issuer" in text:
        return "has a certificate of an unknown CA. Set ca_cert or VAULT_CACERT to the file of that CA"
    found = re.search(r"\[SSL[^]]*\] ?([^(]+)", text)
    return f"cannot be reached over TLS: {found.group(1).strip() if found else 'the handshake failed'}"


def root_cause(exc: BaseException) -> str:
    """The message of the innermost exception, without the object addresses that urllib3 adds."""
    reason = getattr(exc, "reason", None) or (
        exc.args[0] if exc.args and isinstance(exc.args[0], BaseException) else None
    )
    if isinstance(reason, BaseException) and reason is not exc:
        return root_cause(reason)
    return re.sub(r"<[^>]*>:? ?", "", str(exc.args[-1] if exc.args else exc)) or type(exc).__name__
