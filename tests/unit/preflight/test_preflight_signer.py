# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA that pods trust, but below which Linkerd refuses identity issuers, does not become the signer of a mesh."""

from __future__ import annotations

import pytest
from cryptography import x509
from support.authority import DAY, key, make, openssl_verifies
from support.readings import leaf_of
from test_preflight_anchors import ISSUER, LOWER, MIDDLE, ONE, WEB, below, from_git, running
from worlds import NOW, check, codes, issuers, pods

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd.sources import with_pem

NAME = "identity.linkerd.cluster.local"
SIGNER = "issuer signing in mount int of Vault"


def constraints(name: str) -> tuple:
    return ((x509.NameConstraints([x509.DNSName(name)], None), True),)


def root(**more):
    return make("company-root", own_key=key("p256", 70), end=NOW + 300 * DAY, **more)


def signing(above, kind="p256", **more):
    return make("company-issuing", above, own_key=key(kind, 71), **{"end": NOW + 200 * DAY, **more})


ROOT = root()
GOOD = {
    "no limit": signing(ROOT),
    "room for one": signing(ROOT, path_length=1),
    "rsa": signing(ROOT, "rsa2048"),
    "names": signing(ROOT, extensions=constraints("cluster.local")),
}
REFUSED = {
    "no room": signing(ROOT, path_length=0),
    "no CA": signing(ROOT, ca=False),
    "expired": signing(ROOT, end=NOW - DAY / 24),
    "not yet valid": signing(ROOT, start=NOW + DAY),
    "names": signing(ROOT, extensions=constraints("example.com")),
}
# The issuer gets a signature with SHA-384, which only linkerd check refuses.
REFUSED_BY_CHECK = signing(ROOT, "p384")


def mesh(anchor=ROOT, signer=None):
    """A running mesh whose pods trust an anchor."""
    issuer = make(NAME, signer or anchor, own_key=key("p256", 72), end=NOW + DAY)
    trusted = with_pem(anchor.certificate)
    found = running([trusted], with_pem(issuer.certificate), [pods(WEB, trust=(trusted,))])
    found["mesh"]["issuer"]["certificates"] += [with_pem(signer.certificate)] if signer else []
    return found


def signed_by(signer, *known, anchor=ROOT, **linkerd):
    """A run that changes the signer of this mesh."""
    facts = (with_pem(one.certificate) for one in (signer, *known))
    configuration = below(*facts, anchor=with_pem(anchor.certificate))
    configuration["linkerd"] |= linkerd
    return configuration


def unusable(result) -> list[str]:
    return [one["object"] for one in result["problems"] if one["code"] == "signer_unusable"]


@pytest.mark.parametrize("name", GOOD)
def test_a_ca_below_the_trust_anchor_becomes_the_signer(name):
    assert codes(check(mesh(), signed_by(GOOD[name]))) == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_ca_below_which_linkerd_refuses_certificates_does_not_become_the_signer(name):
    configuration = signed_by(REFUSED[name])
    for one in (configuration, from_git(configuration)):
        result = check(mesh(), one)
        assert unusable(result) == [SIGNER] and "signer_untrusted" not in codes(result)
    configuration["vault"]["is_managed"] = False  # the run does not change the signer
    assert unusable(check(mesh(), configuration)) == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_ca_that_signs_already_stops_no_run(name):
    """The problem is not new, and the run may solve it."""
    assert unusable(check(mesh(signer=REFUSED[name]), signed_by(REFUSED[name]))) == []


@pytest.mark.parametrize(
    ("signer", "verified"),
    [*((one, True) for one in (*GOOD.values(), REFUSED_BY_CHECK)), *((one, False) for one in REFUSED.values())],
)
def test_openssl_agrees(tmp_path, signer, verified):
    names = ((x509.SubjectAlternativeName([x509.DNSName(NAME)]), False),)
    issuer = make(NAME, signer, own_key=key("p256", 72), path_length=0, end=NOW + DAY, extensions=names)
    chain = [leaf_of(f"default.default.serviceaccount.{NAME}", issuer, end=NOW + DAY), issuer, signer]
    assert openssl_verifies(tmp_path, chain, [ROOT], NOW) is verified


def test_signatures_that_only_linkerd_check_refuses_stop_runs_that_call_it():
    configuration = signed_by(REFUSED_BY_CHECK)
    assert codes(check(mesh(), configuration)) == ["signer_unusable"]
    assert codes(check(mesh(), from_git(configuration))) == []
    assert codes(check(mesh(), signed_by(REFUSED_BY_CHECK, check=False))) == []


@pytest.mark.parametrize(("limit", "expected"), [(2, []), (1, [SIGNER]), (None, [])])
def test_the_path_length_of_the_root_counts(limit, expected):
    anchor = root(path_length=limit)
    configuration = signed_by(signing(anchor), anchor=anchor)
    assert unusable(check(mesh(anchor), configuration)) == expected


@pytest.mark.parametrize(("name", "expected"), [("identity.linkerd.mesh.example", []), (NAME, [SIGNER])])
def test_the_names_are_those_of_the_mesh(name, expected):
    configuration = signed_by(signing(ROOT, extensions=constraints("mesh.example")), common_name=name)
    assert unusable(check(mesh(), configuration)) == expected


def test_vault_returns_only_the_cas_in_the_mount_of_the_signer():
    """Otherwise proxies get no path from the issuer to their trust anchor."""
    found = running([ONE], ISSUER, [pods(WEB, trust=(ONE,))])
    configuration = below(LOWER, MIDDLE)
    assert codes(check(found, configuration)) == []
    configuration["vault"]["issuers"] += issuers(middle=MIDDLE)
    configuration["vault"]["signers"] = issuers(signing=LOWER)
    assert codes(check(found, configuration)) == ["signer_unusable"]


def test_other_cas_in_the_mount_do_not_count():
    others = [make(f"other-{part}", own_key=key("p521", 73), end=NOW - DAY / 24) for part in "ab"]
    assert codes(check(mesh(), signed_by(GOOD["no limit"], *others))) == []
