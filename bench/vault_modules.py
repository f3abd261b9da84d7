# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and milliseconds of each module against a real OpenBao, beside vault_read and vault_write.

Modules run in this process, so the seconds that Ansible takes to start one are in no column. Run by `make bench`.
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
    """The requests and milliseconds of one run."""
    send, count = requests.Session.send, []

    def counted(*arguments: Any, **options: Any) -> Any:
        count.append(1)
        return send(*arguments, **options)

    with mock.patch.object(requests.Session, "send", counted):
        start = time.perf_counter()
        result = call()
        took = (time.perf_counter() - start) * 1000
    assert not result.get("failed"), result["msg"]
    return len(count), took


@dataclass
class Case:
    """A task for one of our modules, and what a playbook would do with the generic ones: each write in turn, a read."""

    title: str
    module: str
    options: dict[str, Any]
    read: str
    writes: list[Callable[[list[dict[str, Any]]], dict[str, Any]]]  # from the answers so far to path and data


def cases(path: str, kube: str) -> list[Case]:
    urls = {"issuing_certificates": ["http://vault.test/ca"]}
    root = dict(common_name="root.test", issuer_name="root", key_type="ec", ttl="100h")
    child = dict(common_name="child.test", key_type="ec")
    token = dict(policies=["default"], ttl="10h")
    secret = dict(secret_namespace="app", secret_name=path, kubernetes=dict(host=kube, api_key="stand-in"))

    def write(where: str, data: dict[str, Any]) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        return lambda dummy: dict(path=where, data=data)

    def sign(answers: list[dict[str, Any]]) -> dict[str, Any]:
        return dict(
            path=f"{path}/issuer/root/sign-intermediate", data={**child, "csr": answers[0]["csr"], "ttl": "50h"}
        )

    def bring_in(answers: list[dict[str, Any]]) -> dict[str, Any]:
        bundle = "\n".join([answers[1]["certificate"], answers[1]["issuing_ca"]])
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
            [write(f"{path}-child/issuers/generate/intermediate/internal", child), sign, bring_in],
        ),
        Case(
            "an issuer's usage",
            "vault_pki_issuer",
            dict(mount=path, issuer_name="root", usage=["issuing-certificates", "crl-signing"]),
            f"{path}/issuer/root",
            [write(f"{path}/issuer/root", {"issuer_name": "root", "usage": "read-only"})],
        ),
        Case("what issuers there are", "vault_pki_issuer_info", dict(mount=path), f"{path}/config/issuers", []),
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
    answers, measured = [], {}
    for wish in case.writes:
        results: list[dict[str, Any]] = []
        options = wish(answers)
        count, took = measure(lambda o=options, r=results: answered(r, "write", **login, **o))
        before = measured.get("write", (0, 0.0))
        measured["write"] = (before[0] + count, before[1] + took)
        answers.append((results[0].get("data") or {}).get("data") or {})
    measured["read"] = measure(lambda: vault_server.run_named(f"{HASHI}vault_read", **login, path=case.read))
    return measured


def answered(results: list[dict[str, Any]], kind: str, **options: Any) -> dict[str, Any]:
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
        print(f"{title:24}" + "".join(f"{shown(column):>16}" for column in columns))
    print("vault_read and vault_write compare nothing, so a task needs both. Each such write makes one more root.")
    print(
        "An intermediate takes three writes, and no name. A token's requests include those to Kubernetes, a stand-in."
    )


def shown(results: list[tuple[int, float]] | None) -> str:
    if not results:
        return "-"
    return f"{max(count for count, dummy in results)}, {statistics.median(took for dummy, took in results):.1f}"


if __name__ == "__main__":
    main()
