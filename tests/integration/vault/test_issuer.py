# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_pki_issuer against a real Vault."""

from __future__ import annotations


def read(server, mount: str, name: str) -> dict:
    return server.client.read(f"{mount}/issuer/{name}")["data"]


def test_usage_four_ways(run, roots, server):
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", usage=["ocsp-signing", "crl-signing"])
    assert done["issuer"]["usage"] == ["crl-signing", "ocsp-signing", "read-only"]
    assert read(server, roots, "one")["usage"] == "crl-signing,ocsp-signing,read-only"
    assert read(server, roots, "one")["leaf_not_after_behavior"] == "err", "what was not given was changed"


def test_all_settings_at_once(run, roots, server):
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


def test_a_chain_of_ones_own_choice_has_an_order(run, roots, server):
    ids = {name: read(server, roots, name)["issuer_id"] for name in ("one", "two")}
    run.ok("vault_pki_root", mount=roots, issuer_name="three", common_name="three.test", ttl="100h")
    ids["three"] = read(server, roots, "three")["issuer_id"]
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", manual_chain=["one", "two", ids["three"]])
    assert done["issuer"]["manual_chain"] == [ids["one"], ids["two"], ids["three"]]
    assert len(read(server, roots, "one")["ca_chain"]) == 3
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", manual_chain=["one", "three", "two"])
    assert done["differences"]["manual_chain"]["wanted"] == [ids["one"], ids["three"], ids["two"]]
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", manual_chain=[])
    message = run.error("vault_pki_issuer", mount=roots, issuer_name="one", manual_chain=["two", "one"])
    assert message == "The manual_chain of one must begin with itself."
    message = run.error("vault_pki_issuer", mount=roots, issuer_name="one", manual_chain=["one", "nobody"])
    assert message == f"There is no issuer nobody in {roots} for the manual_chain of one. Name one that is there."


def test_a_behavior_that_only_one_product_has(run, roots, server):
    wish = dict(mount=roots, issuer_name="two", leaf_not_after_behavior="always_enforce_err")
    if server.product == "OpenBao":
        assert run.error("vault_pki_issuer", **wish) == (
            f"OpenBao at {server.url} does not know the leaf_not_after_behavior always_enforce_err. "
            "Nothing was changed. Use err, truncate or permit."
        )
    else:
        run.four_ways("vault_pki_issuer", **wish)


def test_rename_four_ways(run, roots, server):
    before = read(server, roots, "two")["issuer_id"]
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="next", rename_from="two")
    assert done["issuer"]["issuer_id"] == before == read(server, roots, "next")["issuer_id"]
    message = run.error("vault_pki_issuer", mount=roots, issuer_name="one", rename_from="next")
    assert message == f"Issuer next of {roots} cannot be renamed to one: there is one of that name. Remove one of them."
    assert run.error("vault_pki_issuer", mount=roots, issuer_name="a b", rename_from="one").startswith(
        "issuer_name 'a b'"
    )


def test_revoked_four_ways(run, roots, server):
    message = run.error("vault_pki_issuer", mount=roots, issuer_name="one", state="revoked")
    assert message.startswith(f"Issuer one of {roots} is the default issuer of the mount. Nothing was revoked.")
    done = run.four_ways("vault_pki_issuer", mount=roots, issuer_name="two", state="revoked")
    assert done["issuer"]["revoked"]
    assert read(server, roots, "two")["revoked"]
    message = run.error("vault_pki_issuer", mount=roots, issuer_name="two", usage=["issuing-certificates"])
    assert message == f"Issuer two of {roots} is revoked, so it cannot sign again. Make a new one."
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", state="revoked", force=True)


def test_absent_four_ways(run, roots, server):
    message = run.error("vault_pki_issuer", mount=roots, issuer_name="one", state="absent")
    assert "is in use: it is the default issuer of the mount. Nothing was removed." in message
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="two", state="absent")
    run.four_ways("vault_pki_issuer", mount=roots, issuer_name="one", state="absent", force=True)
    assert server.client.list(f"{roots}/keys") is None


def test_one_that_does_not_exist(run, roots):
    message = run.error("vault_pki_issuer", mount=roots, issuer_name="three")
    assert message == f"There is no issuer three in {roots}, only: one, two. Make it first (vault_pki_root)."
