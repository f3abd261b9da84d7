# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_pki_root against a real Vault. openssl reads the certificates."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
from concurrent.futures import ProcessPoolExecutor

import pytest
import requests
import server as vault_server
from server import expect_error, run_module

ROOT = dict(issuer_name="root-1", common_name="root.linkerd.cluster.local", ttl="2160h", max_path_length=1)


def openssl(pem: str) -> str:
    """The text of a certificate. Without the option for names, openssl 3.5 and 3.0 differ."""
    command = ["openssl", "x509", "-noout", "-text", "-nameopt", "RFC2253"]
    return subprocess.run(command, input=pem, capture_output=True, text=True, check=True).stdout


def keys(server, mount: str) -> list[str]:
    return (server.client.list(f"{mount}/keys") or {"data": {"keys": []}})["data"]["keys"]


def test_new_root_and_its_certificate(run, mount, server):
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


def test_all_options_of_both_products(run, mount):
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


def test_option_of_hashicorp_vault_is_refused_for_openbao(run, mount, server):
    """OpenBao would create a root without the constraint and only warn."""
    constrained = {**ROOT, "permitted_ip_ranges": ["10.0.0.0/8"], "excluded_dns_domains": ["x.test"]}
    large = {**ROOT, "issuer_name": "large", "key_type": "rsa", "key_bits": 8192}
    if server.product == "OpenBao":
        names = ["OpenBao", "permitted_ip_ranges, excluded_dns_domains"]
        run.error("vault_pki_root", code="unsupported_option", names=names, mount=mount, **constrained)
        run.error("vault_pki_root", code="unsupported_option", names=["OpenBao", "8192"], mount=mount, **large)
        assert keys(server, mount) == []
    else:
        text = openssl(run.four_ways("vault_pki_root", mount=mount, **constrained)["issuer"]["certificate"])
        assert "IP:10.0.0.0/255.0.0.0" in text
        assert "DNS:x.test" in text
        assert run("vault_pki_root", check=True, mount=mount, **large)["changed"]


def test_not_after_with_ed25519_key(run, mount):
    from datetime import UTC, datetime, timedelta

    end = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = run.four_ways(
        "vault_pki_root", mount=mount, issuer_name="r", common_name="r", not_after=end, key_type="ed25519"
    )
    assert "ED25519" in openssl(done["issuer"]["certificate"])


def test_drift_is_reported_by_option(run, mount):
    run.ok("vault_pki_root", mount=mount, **ROOT)
    other = {**ROOT, "common_name": "other", "key_bits": 384, "ttl": "2000h", "max_path_length": 0}
    result = run("vault_pki_root", mount=mount, **other, minimum_remaining="1999h", organization=["Mesh"])
    differing = {"common_name", "organization", "max_path_length", "key_bits", "ttl"}
    expect_error(result, "issuer_mismatch", "root-1", mount, "ttl is 90d, expected 2000h", *differing)
    assert set(result["differences"]) == differing
    warned = run.ok("vault_pki_root", mount=mount, **other, on_drift="warn")
    assert not warned["changed"]
    assert "common_name is root.linkerd.cluster.local" in str(warned["warnings"])
    ignored = run.ok("vault_pki_root", mount=mount, **other, on_drift="ignore")
    assert ignored["differences"]["key_bits"] == {"expected": 384, "found": 256}
    assert "warnings" not in ignored


def test_short_remaining_validity_is_drift(run, mount, server):
    data = {"issuer_name": "root-1", "common_name": ROOT["common_name"], "key_type": "ec", "ttl": "10h"}
    server.client.write_data(f"{mount}/issuers/generate/root/internal", data={**data, "max_path_length": 1})
    options = {**ROOT, "ttl": "30h", "minimum_remaining": "20h"}
    result = run.error("vault_pki_root", code="issuer_mismatch", mount=mount, **options)
    assert result["differences"]["ttl"] == {"expected": "30h", "found": "10h"}
    assert re.fullmatch("9h5[0-9]m", result["differences"]["minimum_remaining"]["found"])


def test_ttl_over_the_limit_of_the_mount(run, mount, server):
    options = {**ROOT, "ttl": "9000h"}
    run.error("vault_pki_root", code="validity_too_long", names=[mount, "90d", "375d"], mount=mount, **options)
    assert keys(server, mount) == []


@pytest.mark.parametrize("default_policy", [True, False])
def test_ttl_limit_is_known_with_the_least_policy(run, mount, server, default_policy):
    rule = f'path "{mount}/issuers/generate/root/internal" {{ capabilities = ["update"] }}'
    token = server.token_for(rule, no_default_policy=not default_policy)
    options = {**ROOT, "ttl": "9000h", "token": token}
    run.error("vault_pki_root", code="validity_too_long", names=[mount, "90d", "375d"], mount=mount, **options)
    assert keys(server, mount) == []
    assert run.ok("vault_pki_root", mount=mount, token=token, **ROOT)["changed"]


def test_ttl_limit_that_the_token_cannot_read(run, path, server):
    server.client.sys.enable_secrets_engine("pki", path)  # with the limit of the server
    token = server.token_for(f'path "{path}/issuers/generate/root/internal" {{ capabilities = ["update"] }}')
    names = [path, "32d", "90d"]
    if server.product == "OpenBao":  # HashiCorp Vault returns the limit to each token with a capability in the mount
        names.append(f'path "sys/mounts/{path}/tune" {{ capabilities = ["read"] }}')
    run.error("vault_pki_root", code="validity_too_long", names=names, mount=path, token=token, **ROOT)
    assert keys(server, path) == []
    assert run.ok("vault_pki_root", mount=path, token=token, **{**ROOT, "ttl": "768h"})["changed"]


def test_shortened_validity_is_detected_afterwards(tmp_path):
    (tmp_path / "server.hcl").write_text('default_lease_ttl = "1h"\nmax_lease_ttl = "2h"\n')
    own = vault_server.start(f"-config={tmp_path}/server.hcl")
    try:
        own.client.sys.enable_secrets_engine("pki", "pki")
        token = own.token_for('path "pki/issuers/generate/root/internal" { capabilities = ["update"] }')
        run = vault_server.Runner(own)
        predicted = own.product != "OpenBao"
        code = "validity_too_long" if predicted else "issuer_mismatch"
        names = ["pki", "2h", "10h"]
        options = {**ROOT, "ttl": "10h", "token": token}
        run.error("vault_pki_root", code=code, names=names, predicted=predicted, **options)
        other = {**ROOT, "issuer_name": "root-2"}
        run.error("vault_pki_root", code="validity_too_long", names=["pki", "2h", "90d"], **other)
    finally:
        own.stop()


def test_key_name_in_use(run, mount, server):
    run.ok("vault_pki_root", mount=mount, **ROOT, key_name="key-1")
    options = {**ROOT, "issuer_name": "root-2", "key_name": "key-1"}
    result = run.error("vault_pki_root", code="key_name_taken", names=["key-1", mount], mount=mount, **options)
    assert result["key_id"] in keys(server, mount)


def test_default_issuer_changes_only_on_request(run, mount, server):
    run.ok("vault_pki_root", mount=mount, **ROOT)
    second = {**ROOT, "issuer_name": "root-2"}
    assert not run.four_ways("vault_pki_root", mount=mount, **second)["issuer"]["is_default"]
    server.client.write_data(
        f"{mount}/config/issuers", data={"default": "root-1", "default_follows_latest_issuer": True}
    )
    assert run.four_ways("vault_pki_root", mount=mount, **second, default=True)["issuer"]["is_default"]
    config = server.client.read(f"{mount}/config/issuers")["data"]
    assert config["default_follows_latest_issuer"], "the other setting of the same object was lost"


def test_default_issuer_stays_when_it_follows_the_latest(run, mount, server):
    """Others may have set it for their engine: a role without issuer_ref would sign with the new root."""
    run.ok("vault_pki_root", mount=mount, **ROOT)
    config = f"{mount}/config/issuers"
    server.client.write_data(config, data={"default": "root-1", "default_follows_latest_issuer": True})
    before = server.client.read(config)["data"]
    done = run.four_ways("vault_pki_root", mount=mount, **{**ROOT, "issuer_name": "root-2"})
    assert not done["issuer"]["is_default"]
    assert server.client.read(config)["data"] == before
    create = f'path "{mount}/issuers/generate/root/internal" {{ capabilities = ["update"] }}'
    read = f'path "{config}" {{ capabilities = ["read"] }}'
    third = {"mount": mount, **ROOT, "issuer_name": "root-3"}
    names = ["update", config]
    tune = f'path "sys/mounts/{mount}/tune" {{ capabilities = ["read"] }}'
    run.error(
        "vault_pki_root", code="permission_denied", names=names, **third, token=server.token_for(create, tune, read)
    )
    assert server.client.read(config)["data"] == before
    login = server.token_for(create, tune)
    names += ["root-1", "root-3"]
    run.error("vault_pki_root", code="permission_denied", names=names, predicted=False, **third, token=login)
    assert server.client.read(config)["data"]["default"] != before["default"], "the message names what must be restored"


def test_existing_root_costs_two_requests(run, mount, monkeypatch):
    run.ok("vault_pki_root", mount=mount, **ROOT)
    send, count = requests.Session.send, []
    monkeypatch.setattr(requests.Session, "send", lambda *given, **more: (count.append(1), send(*given, **more))[1])
    run("vault_pki_root", mount=mount, **ROOT, default=True)
    assert len(count) == 2


def race(start, number: int, url: str, token: str, mount: str) -> dict:
    start.wait()
    return run_module("vault_pki_root", url=url, token=token, mount=mount, **ROOT, default=number % 2 == 0)


def test_concurrent_runs_create_one_root(mount, server):
    """All processes find no root at first. One creates it, the others find it."""
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


def test_absent_refuses_a_root_in_use(run, mount, server):
    run.ok("vault_pki_root", mount=mount, **ROOT)
    run.ok("vault_pki_root", mount=mount, issuer_name="root-2", common_name="Two", ttl="100h", default=True)
    run.four_ways("vault_pki_root", mount=mount, issuer_name="root-3", common_name="Three", ttl="100h")
    run.four_ways("vault_pki_root", mount=mount, issuer_name="root-3", state="absent")
    assert len(keys(server, mount)) == 2
    absent = dict(code="issuer_in_use", mount=mount, state="absent")
    run.error("vault_pki_root", **absent, names=["root-2", "default issuer"], issuer_name="root-2")
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
    run.error("vault_pki_root", **absent, names=["root-1", "1 valid certificate", "CN=child"], issuer_name="root-1")
    run.four_ways("vault_pki_root", mount=mount, issuer_name="root-1", state="absent", force=True)
    assert len(keys(server, mount)) == 1


@pytest.mark.parametrize(
    ("options", "code", "names"),
    [
        ({"issuer_name": "default"}, "invalid_name", ["issuer_name", "'default'"]),
        ({"issuer_name": "a b"}, "invalid_name", ["issuer_name", "'a b'"]),
        ({"key_bits": 2048}, "invalid_option", ["key_bits 2048", "key_type ec"]),
        ({"key_bits": 0}, "invalid_option", ["key_bits 0", "key_type ec"]),
        ({"key_type": "rsa", "key_bits": 0}, "invalid_option", ["key_bits 0", "key_type rsa"]),
        ({"max_path_length": -2}, "invalid_option", ["max_path_length", "-2"]),
        ({"minimum_remaining": "91d"}, "validity_too_short", ["ttl 2160h", "minimum_remaining 91d"]),
        ({"ttl": None, "not_after": "2001-01-01"}, "invalid_option", ["not_after 2001-01-01"]),
        ({"ttl": None, "not_after": "tomorrow"}, "invalid_option", ["not_after 'tomorrow'"]),
    ],
)
def test_invalid_options_are_refused_before_the_first_change(run, mount, server, options, code, names):
    run.error("vault_pki_root", code=code, names=names, mount=mount, **{**ROOT, **options})
    assert keys(server, mount) == []


def test_ttl_or_not_after_is_required(run, mount):
    result = run("vault_pki_root", mount=mount, **{**ROOT, "ttl": None})
    assert result["failed"] and "ttl, not_after" in result["msg"]
