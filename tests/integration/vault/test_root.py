# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_pki_root against a real Vault, with openssl as the judge of what was made."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
from concurrent.futures import ProcessPoolExecutor

import pytest
import requests
import server as vault_server
from server import run_module

ROOT = dict(issuer_name="root-1", common_name="root.linkerd.cluster.local", ttl="2160h", max_path_length=1)


def openssl(pem: str) -> str:
    """Its text, with names as RFC 2253 writes them; without the option openssl 3.5 and 3.0 differ."""
    command = ["openssl", "x509", "-noout", "-text", "-nameopt", "RFC2253"]
    return subprocess.run(command, input=pem, capture_output=True, text=True, check=True).stdout


def keys(server, mount: str) -> list[str]:
    return (server.client.list(f"{mount}/keys") or {"data": {"keys": []}})["data"]["keys"]


def test_a_new_root_four_ways_and_what_openssl_says(run, mount, server):
    done = run.four_ways("vault_pki_root", mount=mount, **ROOT)
    text = openssl(done["issuer"]["certificate"])
    for expected in (
        "Subject: CN=root.linkerd.cluster.local",
        "Issuer: CN=root.linkerd.cluster.local",
        "ASN1 OID: prime256v1",
        "CA:TRUE, pathlen:1",
        "Certificate Sign, CRL Sign",
    ):
        assert expected in text
    assert done["issuer"]["issuer_name"] == "root-1"
    assert done["issuer"]["is_default"]
    assert "PRIVATE KEY" not in str(done)
    assert len(keys(server, mount)) == 1


def test_every_option_that_the_server_has(run, mount):
    done = run.four_ways(
        "vault_pki_root",
        mount=mount,
        issuer_name="root-2",
        key_name="key-2",
        common_name="Root 2",
        organization=["Mesh", "Net"],
        ou=["PKI"],
        country=["NL"],
        province=["Utrecht"],
        locality=["Utrecht"],
        street_address=["Street 1"],
        postal_code=["1234"],
        serial_number="42",
        key_type="rsa",
        key_bits=3072,
        signature_bits=384,
        use_pss=True,
        other_sans=["1.3.6.1.4.1.311.20.2.3;UTF8:mesh"],
        ttl="30d",
        not_before_duration="5m",
        max_path_length=-1,
        permitted_dns_domains=["b.test", "a.test"],
        exclude_cn_from_sans=True,
        default=True,
    )
    text = openssl(done["issuer"]["certificate"])
    for expected in (
        "3072 bit",
        "rsassaPss",
        "Hash Algorithm: sha384",
        "othername: UPN",
        "DNS:a.test",
        "serialNumber=42",
        "O=Mesh",
    ):
        assert expected in text
    assert "pathlen" not in text


def test_what_only_one_product_has_is_refused_before_by_the_other(run, mount, server):
    """OpenBao would make a root without the constraint and say so in a warning only."""
    constrained = {**ROOT, "permitted_ip_ranges": ["10.0.0.0/8"], "excluded_dns_domains": ["x.test"]}
    large = {**ROOT, "issuer_name": "large", "key_type": "rsa", "key_bits": 8192}
    if server.product == "OpenBao":
        assert run.error("vault_pki_root", mount=mount, **constrained) == (
            f"OpenBao at {server.url} does not know permitted_ip_ranges, excluded_dns_domains. Nothing was made. "
            "Leave it out."
        )
        assert run.error("vault_pki_root", mount=mount, **large) == (
            f"OpenBao at {server.url} makes no RSA keys of 8192 bits. Nothing was made. Ask for 4096."
        )
        assert keys(server, mount) == []
    else:
        text = openssl(run.four_ways("vault_pki_root", mount=mount, **constrained)["issuer"]["certificate"])
        assert "IP:10.0.0.0/255.0.0.0" in text
        assert "DNS:x.test" in text
        assert run("vault_pki_root", check=True, mount=mount, **large)["changed"]


def test_not_after_and_ed25519(run, mount):
    from datetime import UTC, datetime, timedelta

    end = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = run.four_ways(
        "vault_pki_root", mount=mount, issuer_name="r", common_name="r", not_after=end, key_type="ed25519"
    )
    assert "ED25519" in openssl(done["issuer"]["certificate"])


def test_each_difference_is_named(run, mount):
    run.ok("vault_pki_root", mount=mount, **ROOT)
    other = {**ROOT, "common_name": "other", "key_bits": 384, "ttl": "2000h", "max_path_length": 0}
    result = run("vault_pki_root", mount=mount, **other, minimum_remaining="1999h", organization=["Mesh"])
    assert result["failed"]
    assert result["msg"] == (
        f"Issuer root-1 of {mount} exists and differs: common_name: wanted other, found root.linkerd.cluster.local; "
        "organization: wanted Mesh, found none; max_path_length: wanted 0, found 1; key_bits: wanted 384, found 256; "
        "ttl: wanted 2000h, found 90d. "
        "A certificate cannot be changed: correct the options, or make another root under another name."
    )
    assert set(result["differences"]) == {"common_name", "organization", "max_path_length", "key_bits", "ttl"}
    warned = run.ok("vault_pki_root", mount=mount, **other, on_drift="warn")
    assert not warned["changed"]
    assert "found root.linkerd.cluster.local" in str(warned["warnings"])
    ignored = run.ok("vault_pki_root", mount=mount, **other, on_drift="ignore")
    assert ignored["differences"]["key_bits"] == {"wanted": 384, "found": 256}
    assert "warnings" not in ignored


def test_too_little_life_left_is_a_difference(run, mount, server):
    data = {"issuer_name": "root-1", "common_name": ROOT["common_name"], "key_type": "ec", "ttl": "10h"}
    server.client.write_data(f"{mount}/issuers/generate/root/internal", data={**data, "max_path_length": 1})
    message = run.error("vault_pki_root", mount=mount, **{**ROOT, "ttl": "30h"}, minimum_remaining="20h")
    assert re.search("minimum_remaining: wanted 20h, found 9h5[0-9]m", message)
    assert "ttl: wanted 30h, found 10h" in message


def test_longer_than_the_mount_allows_is_refused_before(run, mount, server):
    message = run.error("vault_pki_root", mount=mount, **{**ROOT, "ttl": "9000h"})
    assert message == (
        f"The mount {mount} issues for 90d at most, wanted is 375d. "
        "Raise its max_lease_ttl first (vault_engine), or ask for less."
    )
    assert keys(server, mount) == []


@pytest.mark.parametrize("default_policy", [True, False])
def test_a_login_that_may_only_make_roots_is_told_before_too(run, mount, server, default_policy):
    rule = f'path "{mount}/issuers/generate/root/internal" {{ capabilities = ["update"] }}'
    token = server.token_for(rule, no_default_policy=not default_policy)
    message = run.error("vault_pki_root", mount=mount, token=token, **{**ROOT, "ttl": "9000h"})
    assert message.startswith(f"The mount {mount} issues for 90d at most, wanted is 375d.")
    assert keys(server, mount) == []
    assert run.ok("vault_pki_root", mount=mount, token=token, **ROOT)["changed"]


def test_a_limit_that_the_token_may_not_know(run, path, server):
    server.client.sys.enable_secrets_engine("pki", path)  # with the server's own maximum
    token = server.token_for(f'path "{path}/issuers/generate/root/internal" {{ capabilities = ["update"] }}')
    sentence = (
        f"The mount {path} has no max_lease_ttl of its own, and the token may not ask for the server's, which is 32d "
        "if nobody changed it; wanted is 90d. Give the mount one (vault_engine), or the token the right: "
        f'path "sys/mounts/{path}/tune" {{ capabilities = ["read"] }}'
    )
    if server.product != "OpenBao":  # HashiCorp Vault tells the server's limit to each token that may use the mount
        sentence = (
            f"The mount {path} issues for 32d at most, wanted is 90d. "
            "Raise its max_lease_ttl first (vault_engine), or ask for less."
        )
    assert run.error("vault_pki_root", mount=path, token=token, **ROOT) == sentence
    assert keys(server, path) == []
    assert run.ok("vault_pki_root", mount=path, token=token, **{**ROOT, "ttl": "768h"})["changed"]


def test_a_cut_life_is_seen_afterwards_when_nothing_told_of_it(tmp_path):
    (tmp_path / "server.hcl").write_text('default_lease_ttl = "1h"\nmax_lease_ttl = "2h"\n')
    own = vault_server.start(f"-config={tmp_path}/server.hcl")
    try:
        own.client.sys.enable_secrets_engine("pki", "pki")
        token = own.token_for('path "pki/issuers/generate/root/internal" { capabilities = ["update"] }')
        run = vault_server.Runner(own)
        sentence = (
            "Vault made issuer root-1 of pki otherwise than asked: ttl: wanted 10h, found 2h. Nothing trusts it yet: "
            "remove it (state absent, force), correct the options, run again."
        )
        told_before = own.product != "OpenBao"
        if told_before:
            sentence = (
                "The mount pki issues for 2h at most, wanted is 10h. "
                "Raise its max_lease_ttl first (vault_engine), or ask for less."
            )
        wish = dict(token=token, **{**ROOT, "ttl": "10h"})
        assert run.error("vault_pki_root", foreseen=told_before, **wish) == sentence
        message = run.error("vault_pki_root", **{**ROOT, "issuer_name": "root-2"})
        assert message.startswith("The mount pki issues for 2h at most, wanted is 90d.")
    finally:
        own.stop()


def test_a_key_name_that_is_taken(run, mount, server):
    run.ok("vault_pki_root", mount=mount, **ROOT, key_name="key-1")
    message = run.error("vault_pki_root", mount=mount, **{**ROOT, "issuer_name": "root-2"}, key_name="key-1")
    assert message == f"There is a key key-1 in {mount} already. Choose another key_name."


def test_default_is_moved_only_when_asked(run, mount, server):
    run.ok("vault_pki_root", mount=mount, **ROOT)
    second = {**ROOT, "issuer_name": "root-2"}
    assert not run.four_ways("vault_pki_root", mount=mount, **second)["issuer"]["is_default"]
    server.client.write_data(
        f"{mount}/config/issuers", data={"default": "root-1", "default_follows_latest_issuer": True}
    )
    assert run.four_ways("vault_pki_root", mount=mount, **second, default=True)["issuer"]["is_default"]
    config = server.client.read(f"{mount}/config/issuers")["data"]
    assert config["default_follows_latest_issuer"], "the other setting of the same object was lost"


def test_an_existing_root_costs_two_requests(run, mount, monkeypatch):
    run.ok("vault_pki_root", mount=mount, **ROOT)
    send, count = requests.Session.send, []
    monkeypatch.setattr(requests.Session, "send", lambda *given, **more: (count.append(1), send(*given, **more))[1])
    run("vault_pki_root", mount=mount, **ROOT, default=True)
    assert len(count) == 2


def race(start, number: int, url: str, token: str, mount: str) -> dict:
    start.wait()
    return run_module("vault_pki_root", url=url, token=token, mount=mount, **ROOT, default=number % 2 == 0)


def test_runs_at_the_same_moment_make_one_root(mount, server):
    """Several processes, started together, all find none at first; one makes it, the others find it."""
    runs, context = 6, multiprocessing.get_context("fork")
    for _round in range(3):
        with context.Manager() as manager, ProcessPoolExecutor(runs, mp_context=context) as pool:
            start = manager.Barrier(runs)
            jobs = [pool.submit(race, start, number, server.url, server.token, mount) for number in range(runs)]
            results = [job.result(600) for job in jobs]
        assert not [result["msg"] for result in results if result.get("failed")]
        assert sum(result["changed"] for result in results) == 1
        assert len({result["issuer"]["issuer_id"] for result in results}) == 1
        assert len(keys(server, mount)) == 1, "a run left a key without an issuer"
        server.client.delete(f"{mount}/issuer/root-1")
        server.client.delete(f"{mount}/key/{keys(server, mount)[0]}")


def test_absent_refuses_what_is_in_use(run, mount, server):
    run.ok("vault_pki_root", mount=mount, **ROOT)
    run.ok("vault_pki_root", mount=mount, issuer_name="root-2", common_name="Two", ttl="100h", default=True)
    run.four_ways("vault_pki_root", mount=mount, issuer_name="root-3", common_name="Three", ttl="100h")
    run.four_ways("vault_pki_root", mount=mount, issuer_name="root-3", state="absent")
    assert len(keys(server, mount)) == 2
    message = run.error("vault_pki_root", mount=mount, issuer_name="root-2", state="absent")
    assert "in use: it is the default issuer of the mount. Nothing was removed." in message
    csr = subprocess.run(
        [
            *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "/dev/null", "-subj", "/CN=child"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    server.client.write_data(f"{mount}/issuer/root-1/sign-intermediate", data={"csr": csr, "common_name": "child"})
    message = run.error("vault_pki_root", mount=mount, issuer_name="root-1", state="absent")
    assert "it signed 1 valid certificate, such as CN=child" in message
    run.four_ways("vault_pki_root", mount=mount, issuer_name="root-1", state="absent", force=True)
    assert len(keys(server, mount)) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"issuer_name": "default"}, "issuer_name cannot be 'default': Vault keeps that word"),
        ({"issuer_name": "a b"}, "issuer_name 'a b' is not possible: Vault takes letters, digits, and _ - ."),
        ({"key_bits": 2048}, "key_bits 2048 is not for key_type ec: it takes 224 or 256 or 384 or 521."),
        ({"max_path_length": -2}, "max_path_length has to be -1 for no limit, or 0 and more."),
        ({"minimum_remaining": "91d"}, "ttl 2160h is not longer than minimum_remaining 91d"),
        ({"ttl": None, "not_after": "2001-01-01"}, "not_after 2001-01-01 is in the past. Give a later one."),
        ({"ttl": None, "not_after": "tomorrow"}, "not_after 'tomorrow' is no time"),
        ({"ttl": None}, "state is present but any of the following are missing: ttl, not_after"),
    ],
)
def test_bad_options_are_refused_before_anything(run, mount, server, options, sentence):
    assert run.error("vault_pki_root", mount=mount, **{**ROOT, **options}).startswith(sentence)
    assert keys(server, mount) == []
