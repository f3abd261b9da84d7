# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_pki_intermediate against a real Vault. openssl verifies the chains."""

from __future__ import annotations

import importlib
import multiprocessing
import subprocess
from concurrent.futures import ProcessPoolExecutor

import pytest
from server import expect_error, run_module


@pytest.fixture
def child(server, mount, run):
    """A mount for the intermediate; `mount` has a root."""
    run.ok("vault_pki_root", mount=mount, issuer_name="root", common_name="root.test", ttl="1000h", max_path_length=2)
    name = f"{mount}-child"
    server.client.sys.enable_secrets_engine("pki", name, config={"max_lease_ttl": "2160h"})
    yield name
    server.client.sys.disable_secrets_engine(name)


@pytest.fixture
def arguments(child, mount):
    return dict(
        mount=child, parent_mount=mount, issuer_name="cluster-1", common_name="c1.test", ttl="500h", max_path_length=1
    )


def test_new_intermediate_and_its_chain(run, child, arguments, server, tmp_path):
    done = run.four_ways("vault_pki_intermediate", **arguments)
    assert done["issuer"]["is_default"]
    assert (done["issuer"]["common_name"], done["issuer"]["path_length"]) == ("c1.test", 1)
    assert len(done["chain"]) == 2
    csr = subprocess.run(
        [
            *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "/dev/null", "-subj", "/CN=leaf-ca"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    data = {"csr": csr, "common_name": "leaf-ca", "ttl": "10h"}
    signed = server.client.write_data(f"{child}/root/sign-intermediate", data=data)["data"]
    (tmp_path / "root.pem").write_text(done["chain"][-1] + "\n")
    (tmp_path / "intermediate.pem").write_text(done["chain"][0] + "\n")
    (tmp_path / "leaf.pem").write_text(signed["certificate"] + "\n")
    verified = subprocess.run(
        ["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "intermediate.pem", "leaf.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.stdout == "leaf.pem: OK\n", verified.stderr
    assert any(pem.strip() == done["chain"][-1] for pem in signed["ca_chain"]), "cert-manager would not see the root"
    assert len(server.client.list(f"{child}/keys")["data"]["keys"]) == 1


def test_drift_is_reported_by_option(run, child, arguments, mount):
    run.ok("vault_pki_intermediate", **arguments)
    run.ok("vault_pki_root", mount=mount, issuer_name="root-2", common_name="root.test", ttl="1000h", default=True)
    result = run("vault_pki_intermediate", **{**arguments, "common_name": "other", "key_bits": 384})
    expect_error(result, "issuer_mismatch", "cluster-1", f"expected root-2 in mount {mount}")
    assert set(result["differences"]) == {"common_name", "key_bits", "parent_issuer"}


def test_second_intermediate_does_not_change_the_default(run, arguments):
    run.ok("vault_pki_intermediate", **arguments)
    second = {**arguments, "issuer_name": "cluster-2", "key_name": "key-2"}
    assert not run.four_ways("vault_pki_intermediate", **second)["issuer"]["is_default"]
    assert run.four_ways("vault_pki_intermediate", **second, default=True)["issuer"]["is_default"]
    run.four_ways("vault_pki_intermediate", **arguments, state="absent")


@pytest.mark.parametrize(
    ("change", "code", "names"),
    [
        ({"max_path_length": 2}, "invalid_option", ["root in mount {root}", "path length 2", "max_path_length"]),
        ({"ttl": "1001h"}, "validity_too_long", ["root in mount {root}", "outlive"]),
        ({"ttl": "9000h"}, "validity_too_long", ["{root}", "90d", "375d"]),
        ({"parent_issuer": "nobody"}, "issuer_not_found", ["nobody", "{root}"]),
        ({"parent_mount": "{child}"}, "invalid_option", ["parent_mount", "{child}"]),
        ({"mount": "nosuch"}, "mount_not_found", ["nosuch/issuers"]),
    ],
)
def test_invalid_request_is_refused_before_the_first_change(run, child, mount, arguments, server, change, code, names):
    change = {name: value.format(child=child) if isinstance(value, str) else value for name, value in change.items()}
    names = [name.format(root=mount, child=child) for name in names]
    run.error("vault_pki_intermediate", code=code, names=names, **{**arguments, **change})
    assert server.client.list(f"{child}/keys") is None


def test_key_is_deleted_when_signing_is_refused(run, child, mount, arguments, server):
    token = server.token_for(
        f'path "{child}/issuers/generate/intermediate/internal" {{ capabilities = ["update"] }}',
        f'path "{child}/key/*" {{ capabilities = ["delete"] }}',
        no_default_policy=True,  # so that the module cannot check the capabilities before
    )
    names = [f"update {mount}/issuer/default/sign-intermediate"]
    expected = dict(code="permission_denied", names=names, predicted=False)
    run.error("vault_pki_intermediate", **expected, token=token, **arguments)
    assert server.client.list(f"{child}/keys") is None


def race(start, url: str, token: str, arguments: dict) -> dict:
    start.wait()
    return run_module("vault_pki_intermediate", url=url, token=token, **arguments)


def test_concurrent_runs_create_one_intermediate(child, arguments, server):
    runs, context = 4, multiprocessing.get_context("fork")
    with context.Manager() as manager, ProcessPoolExecutor(runs, mp_context=context) as pool:
        start = manager.Barrier(runs)
        jobs = [pool.submit(race, start, server.url, server.token, arguments) for _run in range(runs)]
        results = [job.result(600) for job in jobs]
    assert not [result["msg"] for result in results if result.get("failed")]
    assert sum(result["changed"] for result in results) == 1
    assert len(server.client.list(f"{child}/keys")["data"]["keys"]) == 1, "a run left a key"
    issuers = server.client.list(f"{child}/issuers")["data"]["key_info"].values()
    assert sorted(issuer["issuer_name"] for issuer in issuers) == ["", "cluster-1"], "a run left an issuer"


def test_intermediate_is_rolled_back_when_another_run_takes_the_name(run, child, arguments, server, monkeypatch):
    """The other run acts between our import and our name."""
    module = importlib.import_module("ansible_collections.servicemesh.pki.plugins.module_utils._vault.intermediate")
    set_name = module.set_name

    def late(vault, mount, issuer_id, name):
        server.client.write_data(
            f"{child}/issuers/generate/root/internal", data={"issuer_name": name, "common_name": "first", "ttl": "9h"}
        )
        monkeypatch.setattr(module, "set_name", set_name)
        return set_name(vault, mount, issuer_id, name)

    monkeypatch.setattr(module, "set_name", late)
    result = run("vault_pki_intermediate", **arguments)
    expect_error(result, "issuer_mismatch", "cluster-1")
    assert result["differences"]["common_name"] == {"expected": "c1.test", "found": "first"}
    assert len(server.client.list(f"{child}/keys")["data"]["keys"]) == 1


def test_only_the_run_that_creates_the_first_issuer_sets_the_default(run, child, arguments, monkeypatch):
    """The other run has named its issuer between our import and our name, and has not made it the default yet."""
    module = importlib.import_module("ansible_collections.servicemesh.pki.plugins.module_utils._vault.intermediate")
    set_name = module.set_name

    def late(*ours):
        with monkeypatch.context() as other:
            other.setattr(module, "set_name", set_name)
            other.setattr(module, "find_unfinished", lambda *_: None)  # it started before our import
            other.setattr(module.pki, "make_default", lambda *_: None)
            assert run("vault_pki_intermediate", **arguments)["changed"]
        return set_name(*ours)

    with monkeypatch.context() as our:
        our.setattr(module, "set_name", late)
        result = run("vault_pki_intermediate", **arguments)
    assert (result["changed"], result["issuer"]["is_default"]) == (False, False)
    assert run.ok("vault_pki_intermediate", **arguments, default=True)["changed"]


def test_parent_that_cannot_sign(run, child, mount, arguments, server):
    last = dict(mount=mount, issuer_name="last", common_name="last.test", ttl="1000h", max_path_length=0)
    run.ok("vault_pki_root", **last)
    expected = dict(code="parent_cannot_sign", names=[f"last in mount {mount}", "path length 0"])
    run.error("vault_pki_intermediate", **expected, **{**arguments, "parent_issuer": "last"})
    public = server.client.read(f"{mount}/issuer/root")["data"]
    server.client.delete(f"{mount}/issuer/root")
    server.client.delete(f"{mount}/key/{public['key_id']}")
    imported = server.client.write_data(f"{mount}/issuers/import/cert", data={"pem_bundle": public["certificate"]})
    parent = imported["data"]["imported_issuers"][0]
    expected = dict(code="parent_cannot_sign", names=[parent, mount, "no key"])
    run.error("vault_pki_intermediate", **expected, **{**arguments, "parent_issuer": parent})


def test_key_name_in_use(run, child, arguments, server):
    run.ok("vault_pki_intermediate", **arguments, key_name="key-1")
    other = {**arguments, "issuer_name": "cluster-2", "key_name": "key-1"}
    run.error("vault_pki_intermediate", code="key_name_taken", names=["key-1", child], **other)
    run.four_ways("vault_pki_intermediate", **arguments, state="absent", force=True)
    assert not run.ok("vault_pki_intermediate", **arguments, state="absent")["changed"]
