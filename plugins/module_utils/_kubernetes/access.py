# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster of a task, and its kubeconfig for programs. Private to this collection.

Modules have kubernetes.core's options and K8S_AUTH_* variables. Programs such as helm and linkerd read a kubeconfig
file. They get one in memory, so no credential is on a disk or in the arguments of a process.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._upstream.kubernetes_core_options import (
    AUTH_ARG_MAP,
    AUTH_ARG_SPEC,
)

try:
    import yaml
except ImportError:  # a requirement of kubernetes, whose absence modules report
    yaml = None  # type: ignore[assignment]

NAME = "task"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
CREDENTIALS = (("api_key",), ("username", "password"), ("cert_file", "key_file"))
# Settings that replace the cluster or the login of the kubeconfig of a task.
CONFLICTING = ("host", "api_key", "username", "password")


class AccessError(PkiError):
    """The options and the environment do not name one cluster, or its kubeconfig cannot be created."""


@dataclass(frozen=True)
class Files:
    """A kubeconfig for a program, the context in it, and the file descriptors that the program inherits."""

    kubeconfig: str | None = None
    context: str | None = None
    descriptors: tuple[int, ...] = ()


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a task by the names of the client, with K8S_AUTH_* variables as their defaults.

    The same as in kubernetes.core, except for proxy_headers.
    """
    found: dict[str, Any] = {}
    for name, option in AUTH_ARG_MAP.items():
        value = given.get(option) if given.get(option) is not None else given.get(name)
        if value is None and option != "proxy_headers":
            value = os.environ.get(f"K8S_AUTH_{option.upper()}") or os.environ.get(f"K8S_AUTH_{name.upper()}")
            if value is not None and AUTH_ARG_SPEC[option].get("type") == "bool":
                value = value.lower() not in ("0", "false", "no")
        if value is not None:
            found[name] = value
    return found


def check(given: Mapping[str, Any]) -> None:
    """Raise AccessError if kubernetes.core would use another cluster than the task names, or send a login to it."""
    auth = settings(given)
    selected = next((name for name in ("kubeconfig", "context") if given.get(name)), "")
    conflicts = [name for name in CONFLICTING if auth.get(name) and not given.get(name)]
    if selected and conflicts:
        variables = ", ".join(f"K8S_AUTH_{name.upper()}" for name in conflicts)
        raise AccessError(
            f"The option {selected} names a cluster, and the environment has {variables}, which would replace its "
            f"address or its login. Unset {variables}, or remove {selected}.",
            code="ambiguous_cluster",
        )
    has_login = any(all(auth.get(name) for name in names) for names in CREDENTIALS)
    is_file = auth.get("kubeconfig") or auth.get("context")
    if auth.get("host") and not has_login and not is_file:
        raise AccessError(
            f"The cluster {auth['host']} is set without a login, so the login of another kubeconfig would be sent to "
            "it. Set api_key (K8S_AUTH_API_KEY), or client_cert and client_key.",
            code="no_login",
        )
    if has_login and not auth.get("host") and not is_file:
        raise AccessError(
            "A login is set by api_key, username or client_cert, but no cluster, so it would be sent to that of the "
            "default kubeconfig. Set host (K8S_AUTH_HOST) or kubeconfig.",
            code="no_host",
        )


@contextlib.contextmanager
def files(given: Mapping[str, Any]) -> Iterator[Files]:
    """The kubeconfig of the cluster of a task for a program. It exists inside of the block only."""
    check(given)
    auth = settings(given)
    content = document(auth, *_impersonation(given))
    if content is None:
        yield Files(_path(auth.get("kubeconfig")), auth.get("context"))
        return
    if not hasattr(os, "memfd_create"):
        raise AccessError(
            f"The credentials for {auth.get('host') or 'the cluster'} would be written to a kubeconfig in memory, "
            "which requires Linux. Set kubeconfig to the path of a file instead.",
            code="unsupported_platform",
        )
    descriptor = os.memfd_create("kubeconfig")
    try:
        os.write(descriptor, json.dumps(content).encode())
        yield Files(f"/proc/self/fd/{descriptor}", None, (descriptor,))
    finally:
        os.close(descriptor)


def _impersonation(given: Mapping[str, Any]) -> tuple[str | None, list[str] | None]:
    user = given.get("impersonate_user") or os.environ.get("K8S_AUTH_IMPERSONATE_USER")
    groups = given.get("impersonate_groups") or os.environ.get("K8S_AUTH_IMPERSONATE_GROUPS", "").split(",")
    return user, [group for group in groups if group]


def document(auth: Mapping[str, Any], user: str | None, groups: list[str] | None) -> dict[str, Any] | None:
    """The kubeconfig to create; None if the file of the task or the program's own default is the same."""
    cluster, login = _cluster_overrides(auth), _login_overrides(auth, user, groups)
    source, context = auth.get("kubeconfig"), auth.get("context")
    if auth.get("host") and not source and not context:
        return _config(_with_ca_or_insecure({}, cluster), login)
    if isinstance(source, Mapping) or ((source or context) and (cluster or login)):
        path = "" if isinstance(source, Mapping) else _path(source) or _default_path()
        found_cluster, found_login = _selected(_load(path) if path else source, context, os.path.dirname(path))
        return _config(_with_ca_or_insecure(found_cluster, cluster), {**found_login, **login})
    if not source and not context and _in_cluster():
        return _config(
            _with_ca_or_insecure(_surrounding_cluster(), cluster), {"tokenFile": f"{SERVICE_ACCOUNT}/token", **login}
        )
    return None


def _cluster_overrides(auth: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        "server": (auth.get("host") or "").rstrip("/"),
        "certificate-authority": _path(auth.get("ssl_ca_cert")),
        "proxy-url": auth.get("proxy"),
        "insecure-skip-tls-verify": None if auth.get("verify_ssl") is None else not auth["verify_ssl"],
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def _login_overrides(auth: Mapping[str, Any], user: str | None, groups: list[str] | None) -> dict[str, Any]:
    values = {
        "token": auth.get("api_key"),
        "username": auth.get("username"),
        "password": auth.get("password"),
        "client-certificate": _path(auth.get("cert_file")),
        "client-key": _path(auth.get("key_file")),
        "as": user,
        "as-groups": groups,
    }
    return {name: value for name, value in values.items() if value}


def _with_ca_or_insecure(found: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The cluster without settings that programs reject: a CA for an unverified connection, and a second CA."""
    cluster = {**found, **given}
    if "certificate-authority" in given or cluster.get("insecure-skip-tls-verify"):
        cluster.pop("certificate-authority-data", None)
    if cluster.get("insecure-skip-tls-verify"):
        cluster.pop("certificate-authority", None)
    return cluster


def _config(cluster: Mapping[str, Any], login: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{"name": NAME, "cluster": dict(cluster)}],
        "users": [{"name": NAME, "user": dict(login)}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
    }


def _selected(config: Any, context: str | None, folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cluster and user of a context, with absolute paths, because a file in memory has no folder."""
    try:
        selected = _entry(config, "contexts", context or config.get("current-context"))["context"]
        login = _entry(config, "users", selected["user"]).get("user") or {}
        return _absolute(_entry(config, "clusters", selected["cluster"])["cluster"], folder), _absolute(login, folder)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise AccessError(
            f"The context {context or '(current-context)'} of the kubeconfig is not complete ({type(exc).__name__}). "
            "Check kubeconfig and context.",
            code="invalid_kubeconfig",
        ) from exc


def _absolute(part: Mapping[str, Any], folder: str) -> dict[str, Any]:
    return {name: os.path.join(folder, value) if name in FILES else value for name, value in part.items()}


def _entry(config: Mapping[str, Any], part: str, name: str) -> dict[str, Any]:
    for entry in config[part]:
        if entry["name"] == name:
            return dict(entry)
    raise KeyError(f"{name} in {part}")


def _load(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return yaml.safe_load(file.read())
    except (OSError, UnicodeError, yaml.YAMLError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not YAML"
        raise AccessError(
            f"The kubeconfig {path} cannot be used: {reason}. Check its path and content.", code="invalid_kubeconfig"
        ) from exc


def _default_path() -> str:
    return os.path.abspath(os.path.expanduser((os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)[0]))


def _path(value: Any) -> str | None:
    return os.path.abspath(os.path.expanduser(str(value))) if value else None


def _in_cluster() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and os.path.isfile(f"{SERVICE_ACCOUNT}/token")


def _surrounding_cluster() -> dict[str, Any]:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    return {"server": f"https://{address}:{port}", "certificate-authority": f"{SERVICE_ACCOUNT}/ca.crt"}
