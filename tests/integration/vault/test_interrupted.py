# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that are killed between two requests to a real Vault, or lose a response, and the run after that."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess

import pytest
from breaking_proxy import LOSE_ANSWER, LOSE_REQUEST, BreakingProxy
from server import run_module

from ansible_collections.servicemesh.pki.plugins.module_utils._vault import intermediate

GENERATE, SIGN = "issuers/generate/intermediate/internal", "sign-intermediate"
IMPORT, NAME, DEFAULT = "issuers/import/cert", "/issuer/", "config/issuers"
# The requests that change something, in their order. Vault makes the first issuer with a key the default one itself.
STEPS = [("POST", GENERATE), ("POST", SIGN), ("POST", IMPORT), ("PATCH", NAME)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(intermediate, "GRACE", 0.1)


@pytest.fixture
def arguments(server, mount, run):
    """An intermediate in its own mount, below a root."""
    run.ok("vault_pki_root", mount=mount, issuer_name="root", common_name="root.test", ttl="1000h", max_path_length=2)
    child = f"{mount}-child"
    server.client.sys.enable_secrets_engine("pki", child, config={"max_lease_ttl": "2160h"})
    yield dict(mount=child, parent_mount=mount, issuer_name="i", common_name="i.test", ttl="500h", max_path_length=1)
    server.client.sys.disable_secrets_engine(child)


def kill_at(vault: BreakingProxy, server, module: str, step: tuple[str, str], when: str, arguments: dict) -> None:
    """Runs a module in a process that gets SIGKILL before or after Vault processes a request."""
    process = multiprocessing.get_context("fork").Process(
        target=run_module, args=(module,), kwargs={**arguments, "url": vault.url, "token": server.token}
    )

    def kill() -> None:
        os.kill(process.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # the other thread waits for the same process
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    vault.breaks(*step, LOSE_REQUEST if when == "before" else LOSE_ANSWER, **{when: kill})
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, "the module was not killed at this step"
    vault.rules.clear()


def keys(server, mount: str) -> dict[str, dict]:
    return (server.client.list(f"{mount}/keys") or {"data": {"key_info": {}}})["data"]["key_info"]


def expect_complete(server, arguments: dict, result: dict, folder) -> None:
    """The mount has one intermediate, which is the default, and only its key. openssl verifies the chain."""
    mount = arguments["mount"]
    issuers = server.client.list(f"{mount}/issuers")["data"]["key_info"]
    named = {issuer_id: one for issuer_id, one in issuers.items() if one["issuer_name"]}
    assert [one["issuer_name"] for one in named.values()] == [arguments["issuer_name"]]
    assert sorted(one["issuer_name"] for one in issuers.values()) == ["", "i"], "an issuer besides the root remains"
    (issuer_id,) = named
    assert server.client.read(f"{mount}/config/issuers")["data"]["default"] == issuer_id
    assert set(keys(server, mount)) == {server.client.read(f"{mount}/issuer/{issuer_id}")["data"]["key_id"]}
    (folder / "root.pem").write_text(result["chain"][-1] + "\n")
    (folder / "leaf.pem").write_text(result["chain"][0] + "\n")
    command = ["openssl", "verify", "-CAfile", "root.pem", "leaf.pem"]
    assert subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout == "leaf.pem: OK\n"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS, ids=[path for dummy, path in STEPS])
def test_next_run_completes_a_killed_one(run, server, vault, arguments, tmp_path, step, when):
    kill_at(vault, server, "vault_pki_intermediate", step, when, arguments)
    predicted = run("vault_pki_intermediate", check=True, **arguments)
    result = run("vault_pki_intermediate", **arguments)
    assert not result.get("failed"), result["msg"]
    finished = (step, when) == (STEPS[-1], "after")
    assert result["changed"] == predicted["changed"] == (not finished)
    expect_complete(server, arguments, result, tmp_path)
    assert not run.ok("vault_pki_intermediate", **arguments)["changed"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_next_run_sets_the_default_of_a_killed_one(run, server, vault, arguments, when):
    mount = arguments["mount"]
    run.ok("vault_pki_root", mount=mount, issuer_name="other", common_name="other", ttl="9h")
    arguments["default"] = True
    kill_at(vault, server, "vault_pki_intermediate", ("POST", DEFAULT), when, arguments)
    result = run.ok("vault_pki_intermediate", **arguments)
    assert result["changed"] == (when == "before") and result["issuer"]["is_default"]
    assert not run.ok("vault_pki_intermediate", **arguments)["changed"]


def test_mount_without_default_issuer_gets_one(run, server, arguments):
    run.ok("vault_pki_intermediate", **arguments)
    server.client.write_data(f"{arguments['mount']}/issuers/generate/root/internal", data=OTHER)
    run.ok("vault_pki_issuer", mount=arguments["mount"], issuer_name="other", default=True)
    run.ok("vault_pki_issuer", mount=arguments["mount"], issuer_name="other", state="absent", force=True)
    assert run.four_ways("vault_pki_intermediate", **arguments)["issuer"]["is_default"]


OTHER = {"common_name": "other", "issuer_name": "other", "ttl": "9h"}


def test_run_after_several_killed_ones_cleans_up(run, server, vault, arguments, tmp_path):
    for step in STEPS[:3]:
        kill_at(vault, server, "vault_pki_intermediate", step, "after", arguments)
    assert len(keys(server, arguments["mount"])) == 3
    result = run("vault_pki_intermediate", **arguments)
    assert result["changed"], result["msg"]
    expect_complete(server, arguments, result, tmp_path)


def test_leftover_key_with_a_given_name_is_reported(run, server, vault, arguments, tmp_path):
    arguments["key_name"] = "mine"
    kill_at(vault, server, "vault_pki_intermediate", STEPS[1], "after", arguments)
    result = run("vault_pki_intermediate", **arguments)
    (key_id,) = keys(server, arguments["mount"])
    assert result["failed"] and (result["code"], result["key_id"]) == ("key_name_taken", key_id)
    assert f"{arguments['mount']}/key/{key_id}" in result["msg"]
    server.client.delete(f"{arguments['mount']}/key/{key_id}")
    result = run("vault_pki_intermediate", **arguments)
    expect_complete(server, arguments, result, tmp_path)


def test_unrelated_issuers_and_keys_are_not_changed(run, server, arguments):
    """An issuer of another CA, a key without a certificate, and keys with other names."""
    mount, client = arguments["mount"], server.client
    client.write_data(f"{mount}/issuers/generate/root/internal", data={"common_name": "i.test", "ttl": "500h"})
    client.write_data(f"{mount}/keys/generate/internal", data={"key_name": "i.servicemesh-pki.other"})
    client.write_data(f"{mount}/keys/generate/internal", data={"key_name": "j.servicemesh-pki.01234567"})
    client.write_data(f"{mount}/{GENERATE}", data={"common_name": "i.test"})
    before = keys(server, mount)
    assert run.ok("vault_pki_intermediate", **arguments)["changed"]
    after = keys(server, mount)
    assert set(before) < set(after) and len(after) == len(before) + 1


@pytest.mark.parametrize("fault", [LOSE_ANSWER, LOSE_REQUEST, 504])
@pytest.mark.parametrize("step", STEPS, ids=[path for dummy, path in STEPS])
@pytest.mark.parametrize("retries", [None, 2])
def test_lost_response_leaves_nothing_or_an_intermediate(run, server, vault, arguments, tmp_path, step, fault, retries):
    vault.breaks(*step, fault)
    result = run("vault_pki_intermediate", **arguments, url=vault.url, retries=retries)
    if result.get("failed"):
        assert result["code"] in ("answer_lost", "not_vault")
        assert keys(server, arguments["mount"]) == {}, "a key remains"
    result = run("vault_pki_intermediate", **arguments)
    assert not result.get("failed"), result["msg"]
    expect_complete(server, arguments, result, tmp_path)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [("POST", "issuers/generate/root/internal"), ("POST", DEFAULT)])
def test_killed_runs_create_one_root(run, server, vault, mount, step, when):
    run.ok("vault_pki_root", mount=mount, issuer_name="first", common_name="first", ttl="9h")
    arguments = dict(mount=mount, issuer_name="r", common_name="r.test", ttl="90h", default=True)
    kill_at(vault, server, "vault_pki_root", step, when, arguments)
    assert not run("vault_pki_root", **arguments).get("failed")
    assert not run.ok("vault_pki_root", **arguments)["changed"]
    issuers = server.client.list(f"{mount}/issuers")["data"]["key_info"].values()
    assert sorted(one["issuer_name"] for one in issuers) == ["first", "r"]
    assert len(keys(server, mount)) == 2


@pytest.mark.parametrize("gone", ["issuer", "mount"])
def test_existing_intermediate_does_not_need_its_parent(run, server, arguments, gone):
    run.ok("vault_pki_intermediate", **arguments)
    parent = arguments["parent_mount"]
    if gone == "issuer":
        run.ok("vault_pki_issuer", mount=parent, issuer_name="root", state="absent", force=True)
    else:
        server.client.sys.disable_secrets_engine(parent)
    result = run.ok("vault_pki_intermediate", **arguments)
    assert not result["changed"] and len(result["chain"]) == 2
    assert any(parent in str(warning) and "issuer i in mount" in str(warning) for warning in result["warnings"])
    assert run.four_ways("vault_pki_intermediate", **arguments, state="absent", force=True)
    assert run("vault_pki_intermediate", **arguments)["failed"], "a new intermediate needs its parent"
