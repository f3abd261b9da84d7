# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Vault for the tests, and our modules run against it in this process."""

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
from collections.abc import Iterable
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

from ansible_collections.servicemesh.pki.plugins.module_utils._common.drift import is_equal

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
        """OpenBao or HashiCorp Vault, from the title of its OpenAPI description."""
        page = self.client.adapter.request("get", "/v1/sys/policies/acl/default?help=1")
        return page["openapi"]["info"]["title"].removesuffix(" API")

    def token_for(self, *rules: str, **options: Any) -> str:
        """A token with a policy of these rules."""
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
    """Start Vault in dev mode: in memory, unsealed, with a random root token."""
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
    raise AssertionError(f"{program} did not start")


def connection_options() -> dict[str, Any]:
    """The options of the connection and the login, which all modules have."""
    connection = importlib.import_module("ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection")
    return connection.HashiVaultModule.generate_argspec(**connection.MASKED_OPTIONS)


def run_module(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """The result of a module, run in this process as Ansible runs it: arguments in, JSON on stdout out."""
    return run_named(f"ansible_collections.servicemesh.pki.plugins.modules.{name}", check=check, **arguments)


def run_named(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    module = importlib.import_module(name)
    warnings._global_warnings.clear()
    out = io.StringIO()
    given = {key: value for key, value in arguments.items() if value is not None}
    arguments = {**given, "_ansible_check_mode": check, "_ansible_diff": True}
    # Another test may have loaded the controller's part of Ansible.
    on_target = mock.patch.object(_internal, "is_controller", False)
    with on_target, patch_module_args(arguments), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        module.main()
    return json.loads(out.getvalue())


class Runner:
    """Runs modules against one server, with its root token unless the test gives another login."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __call__(self, name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        login = {} if {"auth_method", "token"} & set(arguments) else {"token": self.server.token}
        return run_module(name, check=check, **{"url": self.server.url, **login, **arguments})

    def ok(self, name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """The result of a run that succeeds and does what its check mode predicts, with that prediction."""
        predicted = self(name, check=True, **arguments)
        assert not predicted.get("failed"), predicted["msg"]
        if check:
            return predicted
        result = self(name, **arguments)
        assert not result.get("failed"), result["msg"]
        assert comparable(predicted) == comparable(result)
        assert matches(predicted.get("diff"), result.get("diff"))
        assert set(drift_warnings(predicted)) <= set(drift_warnings(result))
        return {"predicted": predicted, **result}

    def error(
        self, name: str, *, code: str, names: Iterable[str] = (), predicted: bool = True, **arguments: Any
    ) -> dict[str, Any]:
        """The result of a run that fails with the code and names the objects, as its check mode does.

        `predicted` is false where only Vault can know, when it receives the request.
        """
        check, result = self(name, check=True, **arguments), self(name, **arguments)
        assert check.get("failed", False) == predicted, check
        assert not predicted or (check["code"], check["msg"]) == (result["code"], result["msg"])
        return expect_error(result, code, *names)

    def four_ways(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Check, apply, apply again, check again: the prediction is right, and the second run changes nothing."""
        before = self.ok(name, check=True, **arguments)
        done = self.ok(name, **arguments)
        assert before["diff"] == done["predicted"]["diff"], "the check changed something"
        assert done["changed"]
        again = self.ok(name, **arguments)
        for result in (again, again["predicted"], self.ok(name, check=True, **arguments)):
            assert not result["changed"], result["diff"]
            assert result["diff"]["before"] == result["diff"]["after"]
        return done


def expect_error(result: dict[str, Any], code: str, *names: str) -> dict[str, Any]:
    """The result of a module that failed with the code and names all these objects in its message."""
    assert result.get("failed"), result
    assert result["code"] == code, result["msg"]
    assert [name for name in names if name not in result["msg"]] == [], result["msg"]
    return result


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """What check mode must predict exactly. The remaining TTL changes from second to second."""
    values = {name: result.get(name) for name in ("changed", "differences", "action", "reasons")}
    if values["reasons"] and "minimum_ttl" in values["reasons"]:
        values["reasons"] = {**values["reasons"], "minimum_ttl": values["reasons"]["minimum_ttl"]["expected"]}
    return values


def drift_warnings(result: dict[str, Any]) -> list[str]:
    """The warnings that check mode can predict: all but those of Vault about what it received."""
    return [str(warning) for warning in result.get("warnings") or [] if "does not match" in str(warning)]


def matches(predicted: Any, found: Any) -> bool:
    """Whether a prediction is right. None is what only Vault can choose, such as an identifier."""
    if isinstance(predicted, dict):
        return isinstance(found, dict) and all(matches(value, found.get(key)) for key, value in predicted.items())
    return predicted is None or is_equal(predicted, found)
