# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_pki_intermediate against a real Vault, with openssl as the judge of the chain."""

from __future__ import annotations

import importlib
import multiprocessing
import subprocess
from concurrent.futures import ProcessPoolExecutor

import pytest
from server import run_module


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


def test_an_intermediate_four_ways_and_its_chain(run, child, arguments, server, tmp_path):
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
    (tmp_path / "between.pem").write_text(done["chain"][0] + "\n")
    (tmp_path / "leaf.pem").write_text(signed["certificate"] + "\n")
    verified = subprocess.run(
        ["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "between.pem", "leaf.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.stdout == "leaf.pem: OK\n", verified.stderr
    assert any(pem.strip() == done["chain"][-1] for pem in signed["ca_chain"]), "cert-manager would not see the root"
    assert len(server.client.list(f"{child}/keys")["data"]["keys"]) == 1


def test_each_difference_is_named(run, child, arguments, mount):
    run.ok("vault_pki_intermediate", **arguments)
    run.ok("vault_pki_root", mount=mount, issuer_name="root-2", common_name="root.test", ttl="1000h", default=True)
    result = run("vault_pki_intermediate", **{**arguments, "common_name": "other", "key_bits": 384})
    assert result["failed"]
    assert set(result["differences"]) == {"common_name", "key_bits", "parent_issuer"}
    assert "parent_issuer: wanted root-2 of" in result["msg"]


def test_a_second_one_leaves_the_default_alone(run, arguments):
    run.ok("vault_pki_intermediate", **arguments)
    second = {**arguments, "issuer_name": "cluster-2", "key_name": "key-2"}
    assert not run.four_ways("vault_pki_intermediate", **second)["issuer"]["is_default"]
    assert run.four_ways("vault_pki_intermediate", **second, default=True)["issuer"]["is_default"]
    run.four_ways("vault_pki_intermediate", **arguments, state="absent")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"max_path_length": 2}, "Issuer root of {root} has path length 2, so max_path_length must be 0 to 1, not 2."),
        ({"ttl": "1001h"}, "Issuer root of {root} lives until "),
        ({"ttl": "9000h"}, "The mount {root} issues for 90d at most, wanted is 375d."),
        ({"parent_issuer": "nobody"}, "There is no issuer nobody in {root} to sign with, only: root."),
        ({"parent_mount": "{child}"}, "mount and parent_mount are the same"),
        ({"mount": "nosuch"}, "Nothing is mounted at nosuch/issuers or above it in Vault at"),
    ],
)
def test_refused_before_anything(run, child, mount, arguments, server, change, sentence):
    change = {name: value.format(child=child) if isinstance(value, str) else value for name, value in change.items()}
    message = run.error("vault_pki_intermediate", **{**arguments, **change})
    assert message.startswith(sentence.format(root=mount))
    assert server.client.list(f"{child}/keys") is None


def test_nothing_stays_behind_when_signing_is_refused(run, child, mount, arguments, server):
    token = server.token_for(
        f'path "{child}/issuers/generate/intermediate/internal" {{ capabilities = ["update"] }}',
        f'path "{child}/key/*" {{ capabilities = ["delete"] }}',
        no_default_policy=True,  # so that it may not ask before
    )
    message = run.error("vault_pki_intermediate", foreseen=False, token=token, **arguments)
    assert message.startswith(f"The token may not update {mount}/issuer/default/sign-intermediate.")
    assert server.client.list(f"{child}/keys") is None


def race(start, url: str, token: str, arguments: dict) -> dict:
    start.wait()
    return run_module("vault_pki_intermediate", url=url, token=token, **arguments)


def test_runs_at_the_same_moment_make_one_intermediate(child, arguments, server):
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


def test_a_name_that_another_gives_at_that_moment_is_taken_back(run, child, arguments, server, monkeypatch):
    """The other run is made here, between our import and our name."""
    module = importlib.import_module("ansible_collections.servicemesh.pki.plugins.module_utils._vault.intermediate")
    give_name = module.give_name

    def late(vault, mount, issuer_id, name):
        server.client.write_data(
            f"{child}/issuers/generate/root/internal", data={"issuer_name": name, "common_name": "first", "ttl": "9h"}
        )
        monkeypatch.setattr(module, "give_name", give_name)
        return give_name(vault, mount, issuer_id, name)

    monkeypatch.setattr(module, "give_name", late)
    result = run("vault_pki_intermediate", **arguments)
    assert "exists and differs: common_name: wanted c1.test, found first" in result["msg"]
    assert len(server.client.list(f"{child}/keys")["data"]["keys"]) == 1


def test_the_default_of_an_empty_mount_is_left_to_the_run_that_makes_the_issuer(run, child, arguments, monkeypatch):
    """The other run has named its issuer between our import and our name, and not yet made it the default."""
    module = importlib.import_module("ansible_collections.servicemesh.pki.plugins.module_utils._vault.intermediate")
    give_name = module.give_name

    def late(*ours):
        with monkeypatch.context() as other:
            other.setattr(module, "give_name", give_name)
            other.setattr(module, "unfinished", lambda *_: None)  # it began before our import
            other.setattr(module.pki, "make_default", lambda *_: None)
            assert run("vault_pki_intermediate", **arguments)["changed"]
        return give_name(*ours)

    with monkeypatch.context() as our:
        our.setattr(module, "give_name", late)
        result = run("vault_pki_intermediate", **arguments)
    assert (result["changed"], result["issuer"]["is_default"]) == (False, False)
    assert run.ok("vault_pki_intermediate", **arguments, default=True)["changed"]


def test_parents_that_cannot_sign(run, child, mount, arguments, server):
    last = dict(mount=mount, issuer_name="last", common_name="last.test", ttl="1000h", max_path_length=0)
    run.ok("vault_pki_root", **last)
    message = run.error("vault_pki_intermediate", **{**arguments, "parent_issuer": "last"})
    assert message == f"Issuer last of {mount} has path length 0: it can sign no CA. Sign with another issuer."
    public = server.client.read(f"{mount}/issuer/root")["data"]
    server.client.delete(f"{mount}/issuer/root")
    server.client.delete(f"{mount}/key/{public['key_id']}")
    imported = server.client.write_data(f"{mount}/issuers/import/cert", data={"pem_bundle": public["certificate"]})
    parent = imported["data"]["imported_issuers"][0]
    message = run.error("vault_pki_intermediate", **{**arguments, "parent_issuer": parent})
    assert message.endswith("has no key in this Vault, so it cannot sign. Sign with another issuer.")


def test_a_key_name_that_is_taken_and_a_wrong_mount(run, child, arguments, server):
    run.ok("vault_pki_intermediate", **arguments, key_name="key-1")
    message = run.error("vault_pki_intermediate", **{**arguments, "issuer_name": "cluster-2"}, key_name="key-1")
    assert message == f"There is a key key-1 in {child} already. Choose another key_name."
    run.four_ways("vault_pki_intermediate", **arguments, state="absent", force=True)
    assert not run.ok("vault_pki_intermediate", **arguments, state="absent")["changed"]
