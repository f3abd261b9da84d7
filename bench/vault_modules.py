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
from pathlib import Path
from typing import Any
from unittest import mock

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "integration" / "vault")]
import conftest  # noqa: E402, F401 makes the checkout importable as a collection
import server as vault_server  # noqa: E402

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


def cases(path: str) -> list[tuple[str, str, dict[str, Any], list[tuple[str, dict[str, Any]]]]]:
    """Name, module, its options, and what a playbook would do with the generic modules."""
    urls = {"issuing_certificates": ["http://vault.test/ca"]}
    root = dict(common_name="root.test", issuer_name="root", key_type="ec", ttl="100h")
    return [
        (
            "an engine",
            "vault_engine",
            dict(path=path, type="pki", max_lease_ttl="2160h"),
            [
                ("read", dict(path=f"sys/mounts/{path}/tune")),
                ("write", dict(path=f"sys/mounts/{path}", data={"type": "pki"})),
            ],
        ),
        (
            "a config object",
            "vault_resource",
            dict(path=f"{path}/config/urls", data=urls),
            [("read", dict(path=f"{path}/config/urls")), ("write", dict(path=f"{path}/config/urls", data=urls))],
        ),
        (
            "a root",
            "vault_pki_root",
            dict(mount=path, **root),
            [
                ("read", dict(path=f"{path}/issuer/root")),
                ("write", dict(path=f"{path}/issuers/generate/root/internal", data=root)),
            ],
        ),
        (
            "an issuer's usage",
            "vault_pki_issuer",
            dict(mount=path, issuer_name="root", usage=["issuing-certificates", "crl-signing"]),
            [
                ("read", dict(path=f"{path}/issuer/root")),
                ("write", dict(path=f"{path}/issuer/root", data={"issuer_name": "root", "usage": "read-only"})),
            ],
        ),
        (
            "what issuers there are",
            "vault_pki_issuer_info",
            dict(mount=path),
            [("read", dict(path=f"{path}/config/issuers"))],
        ),
    ]


def main() -> None:
    own = vault_server.start()
    login = dict(url=own.url, token=own.token)
    new: dict[str, list[tuple[int, float]]] = {}
    again: dict[str, list[tuple[int, float]]] = {}
    generic: dict[str, dict[str, list[tuple[int, float]]]] = {}
    try:
        for number in range(RUNS):
            for title, module, options, _others in cases(f"pki-{number}"):
                for table in (new, again):
                    one = measure(
                        lambda module=module, options=options: vault_server.run_module(module, **login, **options)
                    )
                    table.setdefault(title, []).append(one)
            for title, *_ours, others in cases(f"pki-generic-{number}"):
                for kind, options in reversed(others):
                    call = lambda k=kind, o=options: vault_server.run_named(f"{HASHI}vault_{k}", **login, **o)  # noqa: E731
                    generic.setdefault(title, {}).setdefault(kind, []).append(measure(call))
    finally:
        own.stop()
    print(f"{'':24}{'new':>16}{'unchanged':>16}{'vault_read':>16}{'vault_write':>16}   (requests, median ms)")
    for title in new:
        columns = [new[title], again[title], generic[title].get("read"), generic[title].get("write")]
        print(f"{title:24}" + "".join(f"{shown(column):>16}" for column in columns))
    print("vault_read and vault_write compare nothing, so a task needs both. Each such write makes one more root.")


def shown(results: list[tuple[int, float]] | None) -> str:
    if not results:
        return "-"
    return f"{max(count for count, dummy in results)}, {statistics.median(took for dummy, took in results):.1f}"


if __name__ == "__main__":
    main()
