# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and milliseconds of each module with a real OpenBao, compared with vault_read and vault_write.

Modules run in this process, so the time that Ansible takes to start a module is not included. `make bench` runs this.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "integration" / "vault")]
import conftest  # noqa: E402, F401 makes the checkout importable as a collection
import server as vault_server  # noqa: E402
from secrets_standin import SecretsStandIn  # noqa: E402

RUNS = 15
HASHI = "ansible_collections.community.hashi_vault.plugins.modules."


def measure(call: Callable[[], dict[str, Any]]) -> tuple[int, float]:
    """The number of requests and the milliseconds of one run."""
    send, sent = requests.Session.send, []

    def counted(*arguments: Any, **options: Any) -> Any:
        sent.append(1)
        return send(*arguments, **options)

    with mock.patch.object(requests.Session, "send", counted):
        start = time.perf_counter()
        result = call()
        milliseconds = (time.perf_counter() - start) * 1000
    assert not result.get("failed"), result["msg"]
    return len(sent), milliseconds


@dataclass
class Case:
    """A task with a module of this collection, and the writes and the read that replace it with generic modules."""

    title: str
    module: str
    options: dict[str, Any]
    read: str
    writes: list[Callable[[list[dict[str, Any]]], dict[str, Any]]]  # from the previous responses to path and data


def cases(path: str, kube: str) -> list[Case]:
    urls = {"issuing_certificates": ["http://vault.test/ca"]}
    root = dict(common_name="root.test", issuer_name="root", key_type="ec", ttl="100h")
    child = dict(common_name="child.test", key_type="ec")
    token = dict(policies=["default"], ttl="10h")
    secret = dict(secret_namespace="app", secret_name=path, kubernetes=dict(host=kube, api_key="stand-in"))

    def write(where: str, data: dict[str, Any]) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        return lambda dummy: dict(path=where, data=data)

    def sign(responses: list[dict[str, Any]]) -> dict[str, Any]:
        return dict(
            path=f"{path}/issuer/root/sign-intermediate", data={**child, "csr": responses[0]["csr"], "ttl": "50h"}
        )

    def import_chain(responses: list[dict[str, Any]]) -> dict[str, Any]:
        bundle = "\n".join([responses[1]["certificate"], responses[1]["issuing_ca"]])
        return dict(path=f"{path}-child/issuers/import/cert", data={"pem_bundle": bundle})

    return [
        Case(
            "an engine",
            "vault_engine",
            dict(path=path, type="pki", max_lease_ttl="2160h"),
            f"sys/mounts/{path}/tune",
            [write(f"sys/mounts/{path}", {"type": "pki"})],
        ),
        Case(
            "a config object",
            "vault_resource",
            dict(path=f"{path}/config/urls", data=urls),
            f"{path}/config/urls",
            [write(f"{path}/config/urls", urls)],
        ),
        Case(
            "a root",
            "vault_pki_root",
            dict(mount=path, **root),
            f"{path}/issuer/root",
            [write(f"{path}/issuers/generate/root/internal", root)],
        ),
        Case(
            "an intermediate",
            "vault_pki_intermediate",
            dict(
                mount=f"{path}-child", parent_mount=path, parent_issuer="root", issuer_name="child", ttl="50h", **child
            ),
            f"{path}-child/issuer/default",
            [write(f"{path}-child/issuers/generate/intermediate/internal", child), sign, import_chain],
        ),
        Case(
            "an issuer's usage",
            "vault_pki_issuer",
            dict(mount=path, issuer_name="root", usage=["issuing-certificates", "crl-signing"]),
            f"{path}/issuer/root",
            [write(f"{path}/issuer/root", {"issuer_name": "root", "usage": "read-only"})],
        ),
        Case("the list of issuers", "vault_pki_issuer_info", dict(mount=path), f"{path}/config/issuers", []),
        Case(
            "a token in a Secret",
            "vault_token_secret",
            {**token, **secret},
            "auth/token/lookup-self",
            [write("auth/token/create", token)],
        ),
    ]


def generic(case: Case, login: dict[str, str]) -> dict[str, tuple[int, float]]:
    """The requests and milliseconds of all writes, and of the read."""
    responses, measured = [], {}
    for options_of in case.writes:
        results: list[dict[str, Any]] = []
        options = options_of(responses)
        count, milliseconds = measure(lambda o=options, r=results: run_generic(r, "write", **login, **o))
        before = measured.get("write", (0, 0.0))
        measured["write"] = (before[0] + count, before[1] + milliseconds)
        responses.append((results[0].get("data") or {}).get("data") or {})
    measured["read"] = measure(lambda: vault_server.run_named(f"{HASHI}vault_read", **login, path=case.read))
    return measured


def run_generic(results: list[dict[str, Any]], kind: str, **options: Any) -> dict[str, Any]:
    """Run vault_read or vault_write, and append its result to `results`."""
    results.append(vault_server.run_named(f"{HASHI}vault_{kind}", **options))
    return results[0]


def main() -> None:
    own, kube = vault_server.start(), SecretsStandIn("app")
    login = dict(url=own.url, token=own.token)
    figures: dict[str, dict[str, list[tuple[int, float]]]] = {}
    try:
        for number in range(RUNS):
            for path in (f"pki-{number}", f"pki-generic-{number}"):
                own.client.sys.enable_secrets_engine("pki", f"{path}-child", config={"max_lease_ttl": "2160h"})
            for case in cases(f"pki-{number}", kube.url):
                rows = figures.setdefault(case.title, {})
                for column in ("new", "unchanged"):
                    one = measure(lambda c=case: vault_server.run_module(c.module, **login, **c.options))
                    rows.setdefault(column, []).append(one)
            for case in cases(f"pki-generic-{number}", kube.url):
                for column, one in generic(case, login).items():
                    figures[case.title].setdefault(column, []).append(one)
    finally:
        own.stop()
        kube.stop()
    print(f"{'':24}{'new':>16}{'unchanged':>16}{'vault_read':>16}{'vault_write':>16}   (requests, median ms)")
    for title, rows in figures.items():
        columns = [rows.get(column) for column in ("new", "unchanged", "read", "write")]
        print(f"{title:24}" + "".join(f"{format_column(column):>16}" for column in columns))
    print("vault_read and vault_write do not compare, so a task needs both. Each write creates another root.")
    print("An intermediate takes three writes and has no name. The requests of a token include those to Kubernetes.")


def format_column(results: list[tuple[int, float]] | None) -> str:
    """Maximum number of requests and median milliseconds, or `-` without results."""
    if not results:
        return "-"
    median = statistics.median(milliseconds for dummy, milliseconds in results)
    return f"{max(count for count, dummy in results)}, {median:.1f}"


if __name__ == "__main__":
    main()
