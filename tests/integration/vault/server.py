# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Vault for the tests, and a fast way to run our modules against it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Any
from unittest import mock

import hvac
import requests
import urllib3
from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args
from support.ports import free_port

from ansible_collections.servicemesh.pki.plugins.module_utils._common.drift import same

urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


@dataclass
class Server:
    url: str
    token: str
    process: subprocess.Popen | None = None

    @property
    def client(self) -> hvac.Client:
        return hvac.Client(url=self.url, token=self.token)

    @property
    def product(self) -> str:
        """OpenBao or HashiCorp Vault, as its own description of the API says."""
        page = self.client.adapter.request("get", "/v1/sys/policies/acl/default?help=1")
        return page["openapi"]["info"]["title"].removesuffix(" API")

    def token_for(self, *rules: str, **options: Any) -> str:
        """A token that may do what the rules say, each a line of a policy."""
        name = f"test-{secrets.token_hex(4)}"
        self.client.sys.create_or_update_policy(name, "\n".join(rules))
        return self.client.auth.token.create(policies=[name], ttl="1h", **options)["auth"]["client_token"]

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(120)


def accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(*arguments: str, scheme: str = "http") -> Server:
    """Vault in dev mode: in memory, unsealed. Its root token is random."""
    program = os.environ.get("SERVICEMESH_PKI_TEST_VAULT_PROGRAM") or shutil.which("bao")
    assert program, "no bao in PATH; run this with the project's Python environment"
    port, token = free_port(), secrets.token_hex(12)
    process = subprocess.Popen(
        [program, "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}", *arguments],
        env={**os.environ, "BAO_DEV_ROOT_TOKEN_ID": token, "VAULT_DEV_ROOT_TOKEN_ID": token},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(f"{scheme}://127.0.0.1:{port}", token, process)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            health = requests.get(f"{server.url}/v1/sys/health", timeout=10, verify=False)  # noqa: S501 a new CA
            if health.status_code == 200:
                return server
        time.sleep(0.05)
    server.stop()
    raise AssertionError(f"{program} did not come up")


def connection_options() -> dict[str, Any]:
    """The options that each module takes beside its own."""
    connection = importlib.import_module("ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection")
    return connection.HashiVaultModule.generate_argspec(**connection.HIDDEN)


def run_module(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """The result of a module, run in this process as Ansible runs it: arguments in, JSON on stdout out."""
    return run_named(f"ansible_collections.servicemesh.pki.plugins.modules.{name}", check=check, **arguments)


def run_named(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    module = importlib.import_module(name)
    warnings._global_warnings.clear()
    out = io.StringIO()
    given = {key: value for key, value in arguments.items() if value is not None}
    arguments = {**given, "_ansible_check_mode": check, "_ansible_diff": True}
    on_target = mock.patch.object(
        _internal, "is_controller", False
    )  # another test may have loaded the controller's part
    with on_target, patch_module_args(arguments), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        module.main()
    return json.loads(out.getvalue())


class Runner:
    """Runs modules against one server, as its root unless another login is given."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __call__(self, name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        login = {} if {"auth_method", "token"} & set(arguments) else {"token": self.server.token}
        return run_module(name, check=check, **{"url": self.server.url, **login, **arguments})

    def ok(self, name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """A run that succeeds, and does what its check mode foretold."""
        foretold = self(name, check=True, **arguments)
        assert not foretold.get("failed"), foretold["msg"]
        if check:
            return foretold
        result = self(name, **arguments)
        assert not result.get("failed"), result["msg"]
        assert promised(foretold) == promised(result)
        assert came_true(foretold.get("diff"), result.get("diff"))
        assert set(about_differences(foretold)) <= set(about_differences(result))
        return {"foretold": foretold, **result}

    def error(self, name: str, *, foreseen: bool = True, **arguments: Any) -> str:
        """The sentence of a run that fails, which its check mode says too.

        `foreseen` is false where only Vault knows, and only when it is really asked.
        """
        foretold, result = self(name, check=True, **arguments), self(name, **arguments)
        assert result.get("failed"), result
        assert foretold.get("failed", False) == foreseen, foretold
        assert not foreseen or foretold["msg"] == result["msg"]
        return result["msg"]

    def four_ways(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Check, apply, again, again with check; what the check foretold is what was done."""
        before = self.ok(name, check=True, **arguments)
        done = self.ok(name, **arguments)
        assert before["diff"] == done["foretold"]["diff"], "the check changed something"
        assert done["changed"]
        again = self.ok(name, **arguments)
        for result in (again, again["foretold"], self.ok(name, check=True, **arguments)):
            assert not result["changed"], result["diff"]
            assert result["diff"]["before"] == result["diff"]["after"]
        return done


def promised(result: dict[str, Any]) -> dict[str, Any]:
    """What a check foretells to the letter. How much life is left holds for the second it was asked in."""
    told = {name: result.get(name) for name in ("changed", "differences", "action", "reasons")}
    if told["reasons"] and "minimum_ttl" in told["reasons"]:
        told["reasons"] = {**told["reasons"], "minimum_ttl": told["reasons"]["minimum_ttl"]["wanted"]}
    return told


def about_differences(result: dict[str, Any]) -> list[str]:
    """The warnings that a check can foretell, which are all but Vault's own about what it was sent."""
    return [str(warning) for warning in result.get("warnings") or [] if "exists and differs" in str(warning)]


def came_true(foretold: Any, done: Any) -> bool:
    """Whether everything that a check foretold is so. None is what only Vault can choose, such as an id."""
    if isinstance(foretold, dict):
        return isinstance(done, dict) and all(came_true(value, done.get(key)) for key, value in foretold.items())
    return foretold is None or same(foretold, done)
