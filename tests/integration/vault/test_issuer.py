# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_pki_issuer against a real Vault."""

from __future__ import annotations


def read(server, mount: str, name: str) -> dict:
    return server.client.read(f"{mount}/issuer/{name}")["data"]


def test_usage(run, roots, server):
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", usage=["ocsp-signing", "crl-signing"])
    assert done["issuer"]["usage"] == ["crl-signing", "ocsp-signing", "read-only"]
    assert read(server, roots, "one")["usage"] == "crl-signing,ocsp-signing,read-only"
    assert read(server, roots, "one")["leaf_not_after_behavior"] == "err", "a setting that was not given changed"


def test_all_settings(run, roots, server):
    settings = dict(
        leaf_not_after_behavior="truncate",
        issuing_certificates=["http://b.test/{{issuer_id}}", "http://a.test/ca"],
        crl_distribution_points=["http://a.test/crl"],
        delta_crl_distribution_points=["http://a.test/delta"],
        ocsp_servers=["http://a.test/ocsp"],
        enable_aia_url_templating=True,
        revocation_signature_algorithm="ECDSAWithSHA384",
        default=True,
    )
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="two", **settings)
    assert done["issuer"]["is_default"]
    found = read(server, roots, "default")
    assert (found["issuer_name"], found["leaf_not_after_behavior"]) == ("two", "truncate")
    assert found["revocation_signature_algorithm"] == "ECDSAWithSHA384"
    assert sorted(found["issuing_certificates"]) == sorted(settings["issuing_certificates"])
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="two", ocsp_servers=[])
    assert done["issuer"]["ocsp_servers"] == []


def test_manual_chain_has_an_order(run, roots, server):
    ids = {name: read(server, roots, name)["issuer_id"] for name in ("one", "two")}
    run.ok("vault_pki_root", mount=roots, issuer_name="three", common_name="three.test", ttl="100h")
    ids["three"] = read(server, roots, "three")["issuer_id"]
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", manual_chain=["one", "two", ids["three"]])
    assert done["issuer"]["manual_chain"] == [ids["one"], ids["two"], ids["three"]]
    assert len(read(server, roots, "one")["ca_chain"]) == 3
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", manual_chain=["one", "three", "two"])
    assert done["differences"]["manual_chain"]["expected"] == [ids["one"], ids["three"], ids["two"]]
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", manual_chain=[])
    one = dict(mount=roots, issuer_name="one")
    run.error("vault_pki_issuer", code="invalid_option", names=["manual_chain"], **one, manual_chain=["two", "one"])
    names = ["nobody", "manual_chain", f"one in mount {roots}"]
    run.error("vault_pki_issuer", code="issuer_not_found", names=names, **one, manual_chain=["one", "nobody"])


def test_behavior_of_hashicorp_vault_is_refused_for_openbao(run, roots, server):
    options = dict(mount=roots, issuer_name="two", leaf_not_after_behavior="always_enforce_err")
    if server.product == "OpenBao":
        run.error("vault_pki_issuer", code="unsupported_option", names=["OpenBao", "always_enforce_err"], **options)
    else:
        run.four_ways("vault_pki_issuer", **options)


def test_rename(run, roots, server):
    before = read(server, roots, "two")["issuer_id"]
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="next", rename_from="two")
    assert done["issuer"]["issuer_id"] == before == read(server, roots, "next")["issuer_id"]
    taken = dict(mount=roots, issuer_name="one", rename_from="next")
    run.error("vault_pki_issuer", code="issuer_name_taken", names=["next", "one", roots], **taken)
    invalid = dict(mount=roots, issuer_name="a b", rename_from="one")
    run.error("vault_pki_issuer", code="invalid_name", names=["issuer_name 'a b'"], **invalid)


def test_revoked(run, roots, server):
    default = dict(mount=roots, issuer_name="one", state="revoked")
    run.error("vault_pki_issuer", code="issuer_in_use", names=[f"one in mount {roots}", "default issuer"], **default)
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="two", state="revoked")
    assert done["issuer"]["revoked"]
    assert read(server, roots, "two")["revoked"]
    usage = dict(mount=roots, issuer_name="two", usage=["issuing-certificates"])
    run.error("vault_pki_issuer", code="issuer_revoked", names=[f"two in mount {roots}"], **usage)
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", state="revoked", force=True)


def test_absent(run, roots, server):
    default = dict(mount=roots, issuer_name="one", state="absent")
    run.error("vault_pki_issuer", code="issuer_in_use", names=[f"one in mount {roots}", "default issuer"], **default)
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="two", state="absent")
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", state="absent", force=True)
    assert server.client.list(f"{roots}/keys") is None


def test_missing_issuer(run, roots):
    names = ["three", roots, "one, two"]
    run.error("vault_pki_issuer", code="issuer_not_found", names=names, mount=roots, issuer_name="three")
