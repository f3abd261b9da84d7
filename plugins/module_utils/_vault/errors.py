# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong with Vault, as one sentence that says what to do. Private to this collection."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError

CAPABILITIES = {"GET": "read", "LIST": "list", "POST": "update", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
ENOUGH = {"create": ["create", "update"]}  # it depends on the engine which of them a new object needs


# Exceptions of requests and urllib3 when nothing was sent. After any other one the request may have been carried out.
NOT_SENT = {
    *("ConnectTimeout", "ConnectTimeoutError", "NewConnectionError", "NameResolutionError", "ProxyError", "SSLError"),
    *("MissingSchema", "InvalidSchema", "InvalidURL", "InvalidHeader"),
}


class VaultError(PkiError):
    """A failed request to Vault, or one that Vault could not carry out.

    `status` is the HTTP status, 0 without an answer. `reason` is the error text that Vault returned. `lost` is true
    when the request may have been carried out although no conclusive answer arrived.
    """

    code = "vault_error"

    def __init__(self, message: str, status: int = 0, reason: str = "", *, lost: bool = False, **details: Any) -> None:
        super().__init__(message, **details)
        self.status, self.reason, self.lost = status, reason, lost


def cleaned(errors: Any) -> str:
    """Vault's reasons without the frame that Go puts around a list of errors."""
    reasons = errors if isinstance(errors, list) else [errors]
    text = "; ".join(re.sub(r"^\d+ errors? occurred:", "", str(error)) for error in reasons)
    return re.sub(r"\s+", " ", text.replace("\t*", " ")).strip().rstrip(".")


def from_answer(url: str, doing: str, path: str, status: int, body: Any) -> VaultError:
    """For an answer that is an error, or no answer of Vault's at all. `body` is parsed JSON or text."""
    lost = status >= 500
    if not isinstance(body, dict):
        return VaultError(not_vault(url, status, str(body)), status, lost=lost, code="not_vault")
    said = cleaned(body.get("errors") or body.get("warnings") or [])
    return VaultError(reason(url, doing, path, status, said), status, said, lost=lost)


def reason(url: str, capability: str, path: str, status: int, said: str) -> str:
    text, doing = said.lower(), f"{capability} {path}"
    if "sealed" in text and status == 503:
        return f"Vault at {url} is sealed. Unseal it, then run this again."
    if status == 501 or "not initialized" in text:
        return f"Vault at {url} is not initialized. Initialize and unseal it first."
    if status in (429, 472, 473) or "not active" in text or "standby" in text:
        return f"Vault at {url} is a standby that serves no requests. Give the address of the active node."
    if "namespace not found" in text:
        return f"Vault at {url} has no such namespace. Look at the option namespace and at VAULT_NAMESPACE."
    if "no handler for route" in text:
        return (
            f"Nothing is mounted at {path} or above it in Vault at {url}. Enable the engine first, or correct the path."
        )
    if "versioned k/v" in text:
        return f"{path} is in an engine of type kv (version 2), which has no such path. Correct the path or the mount."
    if "unsupported path" in text or "unsupported operation" in text or status == 405:
        return f"The engine that {path} is in cannot {capability} it. Correct the path, or the engine's type."
    if "path is already in use" in text:
        return f"{path} is not free in Vault at {url}: there is an engine at {said.split()[-1]}. Choose another path."
    if "plugin not found in the catalog" in text:
        return f"Vault at {url} has no engine of type {said.split()[-1]}. Correct the type, or register its plugin."
    if status >= 500:
        return f"Vault at {url} failed to {doing}: {said or f'status {status}'}."
    return f"Vault refused to {doing}: {said or f'status {status}'}."


def missing_right(capability: str, path: str, *, sudo: bool, namespace: str) -> str:
    """`sudo` is whether the path wants that as well; `namespace` is empty for the root namespace."""
    needed = [*ENOUGH.get(capability, [capability]), *(["sudo"] if sudo else [])]
    rule = f'path "{path}" {{ capabilities = {json.dumps(needed)} }}'
    sentence = f"The token may not {capability} {path}. A policy for it needs: {rule}"
    if not namespace:
        return sentence
    return (
        f"{sentence} This is for a policy of the namespace {namespace}. In one of the root namespace the path is "
        f"{namespace}/{path}."
    )


def from_login(url: str, method: str, exc: Any) -> VaultError:
    """For an exception of hvac, which knows no status but the class."""
    if not isinstance(exc.json, dict):
        return VaultError(not_vault(url, 0, exc.text or str(exc)))
    said = cleaned(exc.errors or [])
    if "sealed" in said.lower():
        return VaultError(reason(url, "update", "", 503, said), 503)
    if said in ("permission denied", ""):  # Vault says no more to a stranger
        said = "permission denied. Is this method enabled at the path (mount_point), and are the credentials right?"
        return VaultError(f"Vault at {url} refused the login with {method}: {said}", 403)
    return VaultError(f"Vault at {url} refused the login with {method}: {said}.", 403)


def not_vault(url: str, status: int, text: str) -> str:
    if "HTTP request to an HTTPS server" in text:
        return f"The server at {url} speaks TLS. Write the address with https:// in front."
    title = re.search(r"<title>([^<]{1,80})", text, re.IGNORECASE)
    page = "an HTML page" if "<html" in text.lower() else "something that is no JSON"
    page += f" ({title.group(1).strip()})" if title else ""
    said = f"{page}, status {status}" if status else page
    return f"The server at {url} answered with {said}. Check the address: this is not Vault, or a proxy is in between."


def from_transport(url: str, exc: Exception) -> VaultError:
    """For an exception of requests: nothing came back."""
    text = str(exc)
    kinds = {kind.__name__ for kind in type(exc).__mro__}
    lost = not kinds & NOT_SENT and not any(name in text for name in NOT_SENT) and "Connection refused" not in text
    if "InvalidHeader" in kinds:  # its text holds the header, which is the token
        return VaultError(
            f"The token for Vault at {url}, or the namespace, holds a line end or a space. Take them out, for instance "
            "the line ends of Windows in a file.",
            code="invalid_header",
        )
    if "ProxyError" in kinds:
        said = f"cannot be reached through the proxy ({innermost(exc)}). Look at the option proxies and at HTTPS_PROXY"
    elif "SSLError" in kinds:
        said = tls(text)
    elif "ConnectTimeout" in kinds:
        said = "did not answer in time when connecting. Is a firewall in between, or the address wrong?"
    elif "Timeout" in kinds:
        said = "took the request and did not answer in time. Raise the option timeout, or look at Vault's log"
    elif "CERTIFICATE_VERIFY_FAILED" in text:
        said = tls(text)
    elif {"MissingSchema", "InvalidSchema", "InvalidURL"} & kinds:
        return VaultError(f"{url!r} is no address of Vault: write it like https://vault.example.com:8200.")
    elif "TooManyRedirects" in kinds:
        said = "redirects in a circle. Give the address of the active node"
    elif "NameResolutionError" in text or "getaddrinfo" in text or "Name or service" in text:
        said = "cannot be found: its name does not resolve"
    elif "Connection refused" in text:
        said = "refuses the connection. Is it running, and is the port right?"
    elif "CA certificate bundle" in text:
        file = text.rsplit(":", 1)[-1].strip()
        return VaultError(f"The file of ca_cert (VAULT_CACERT) is missing: {file}. Correct the path.")
    else:
        said = f"cannot be reached: {innermost(exc)}"
    sentence = f"Vault at {url} {said}" + ("" if said.endswith("?") else ".")
    return VaultError(sentence, lost=lost, code="answer_lost" if lost else "unreachable")


def tls(text: str) -> str:
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return "speaks no TLS. Write the address with http:// in front, or look for a proxy"
    if "Hostname mismatch" in text or "IP address mismatch" in text or "doesn't match" in text:
        return "has a certificate for another name. Use a name that is in it"
    if "expired" in text:
        return "has an expired certificate"
    if "self-signed" in text or "self signed" in text or "unable to get local issuer" in text:
        return "has a certificate from a CA that is not trusted here. Give the CA's file as ca_cert (VAULT_CACERT)"
    found = re.search(r"\[SSL[^]]*\] ?([^(]+)", text)
    return f"cannot be reached over TLS: {found.group(1).strip() if found else 'the handshake failed'}"


def innermost(exc: BaseException) -> str:
    """The cause at the bottom, which is the only part that a person needs."""
    reason = getattr(exc, "reason", None) or (
        exc.args[0] if exc.args and isinstance(exc.args[0], BaseException) else None
    )
    if isinstance(reason, BaseException) and reason is not exc:
        return innermost(reason)
    return re.sub(r"<[^>]*>:? ?", "", str(exc.args[-1] if exc.args else exc)) or type(exc).__name__
