# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages about a kubeconfig that cannot be used, without its contents. Private to this collection.

The Python client of Kubernetes does not validate a kubeconfig: it raises AttributeError for a cluster without a server,
for a user with an auth provider that Kubernetes 1.26 removed, and for invalid base64.
"""

from __future__ import annotations

import os
import re
import traceback
from typing import Any

try:
    import yaml
except ImportError:  # a requirement of kubernetes, whose absence modules report
    yaml = None  # type: ignore[assignment]

ADVICE = "Check kubeconfig and context."


def is_cause(exc: BaseException) -> bool:
    """Whether an exception of the client is about the kubeconfig or a file that it names, and not about an answer."""
    if isinstance(exc, OSError) or type(exc).__name__ in ("ConfigException", "CoreException"):
        return True
    frames = traceback.extract_tb(exc.__traceback__)
    return any("/kubernetes/config/" in frame.filename.replace(os.sep, "/") for frame in frames)


def problem(exc: Exception, kubeconfig: Any, context: str | None) -> str:
    """The message for an exception of the client. `kubeconfig` is the module's option: a path or the contents."""
    source = kubeconfig or os.environ.get("K8S_AUTH_KUBECONFIG") or os.environ.get("KUBECONFIG") or "~/.kube/config"
    name = "given as a dictionary" if isinstance(source, dict) else str(source)
    config = source if isinstance(source, dict) else _load(os.path.expanduser(str(source)))
    context = context or os.environ.get("K8S_AUTH_CONTEXT") or _field(config, "current-context")
    subject = f"The kubeconfig {name}" + (f", context {context}," if context else "")
    return f"{subject} cannot be used: {_reason(exc, config, context)}. {ADVICE}"


def _reason(exc: Exception, config: Any, context: Any) -> str:
    if isinstance(config, Exception):
        return _cause(config)
    if not isinstance(config, dict):
        return "it is not a mapping"
    selected = _entry(config, "contexts", context, "context")
    cluster, user = _field(selected, "cluster"), _field(selected, "user")
    provider = _field(_field(_entry(config, "users", user, "user"), "auth-provider"), "name")
    if provider:
        return (
            f"its user {user} has the auth provider {provider}, which Kubernetes 1.26 removed. Give the user an exec "
            "plugin or a token instead"
        )
    if cluster and not isinstance(_field(_entry(config, "clusters", cluster, "cluster"), "server"), str):
        return f"its cluster {cluster} has no server"
    return _cause(exc)


def _cause(exc: Exception) -> str:
    """The cause without the values in an exception, which may be a token or a key."""
    if isinstance(exc, FileNotFoundError):
        return f"{exc.filename} does not exist"
    if isinstance(exc, OSError):
        return str(exc.strerror or type(exc).__name__)
    if isinstance(exc, UnicodeDecodeError):
        return f"byte at offset {exc.start} is not UTF-8"
    mark = getattr(exc, "problem_mark", None)
    if mark is not None:
        return f"it is not YAML, see line {mark.line + 1}"
    if type(exc).__name__ in ("ConfigException", "CoreException"):
        return re.sub(r"\{.*\}", "{...}", " ".join(str(exc).split()), flags=re.S).rstrip(".")
    return f"the Kubernetes client fails with {type(exc).__name__}"


def _load(path: str) -> Any:
    """The contents, or the exception that reading raises. If KUBECONFIG names several files, the first one is read."""
    try:
        with open(path.split(os.pathsep)[0], "rb") as file:
            return yaml.safe_load(file.read())
    except (OSError, UnicodeError, RecursionError, yaml.YAMLError) as exc:
        return exc


def _entry(config: dict[str, Any], part: str, name: Any, kind: str) -> Any:
    """The entry of a name in one of the lists of a kubeconfig, such as the user in users."""
    entries = config.get(part)
    found = [entry for entry in entries if _field(entry, "name") == name] if isinstance(entries, list) else []
    return _field(found[0], kind) if found else None


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
