# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roots that Linkerd refuses, or below which no identity issuer can exist, stop a rotation before they sign."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from support.authority import DAY, NOW, key, make, openssl_verifies, verdict_on
from support.readings import ISSUER, ROOT, leaf_of
from test_rotation_plan import GOOD, LONG_ISSUER, NEW_NAME, OLD_NAME, codes, reading, vault
from test_rotation_playbook import COLLECTION, PLAY, run

from ansible_collections.servicemesh.pki.plugins.filter.rotation import rotation_plan
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import plan
from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation.problems import Options
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import candidate, chains

NAME = "identity.linkerd.cluster.local"
KEY = "vault_pki_root_key_type"
DIGESTS = {384: hashes.SHA384(), 521: hashes.SHA512()}  # that Vault signs with, by the bits of an EC key


def constraints(*permitted: str, excluded: tuple[str, ...] = ()) -> tuple:
    trees = [[x509.DNSName(one) for one in names] or None for names in (permitted, excluded)]
    return ((x509.NameConstraints(*trees), True),)


def root(kind: str = "p256", **more):
    return make("root.new.example", own_key=key(kind, 60), end=NOW + 300 * DAY, **more)


FIT = {
    "p256": root(),
    "rsa2048": root("rsa2048"),
    "one CA": root(path_length=1),
    "no identifiers": root(identifiers=False),
    "constraints": root(extensions=constraints("cluster.local")),
}
UNFIT = {
    "p384": root("p384"),
    "p521": root("p521"),
    "ed25519": root("ed25519"),
    "rsa3072": root("rsa3072"),
    "no CA": root(path_length=0),
    "constraints": root(extensions=constraints("example.com")),
    "excluded": root(extensions=constraints(excluded=("linkerd.cluster.local",))),
}

MESH_ROOT = root(extensions=constraints("mesh.example"))
CONSTRAINED = {**sources.with_pem(MESH_ROOT.certificate), "issuer_name": NEW_NAME, "mount": "pki"}


def rotation(credential, anchors: str, carried: str, issuer=ISSUER, **options) -> dict:
    """The plan of a rotation to a root, and more that its cluster has read."""
    listed = {**sources.with_pem(credential.certificate), "issuer_name": NEW_NAME, "mount": "pki"}
    issuers = [*vault(OLD_NAME)["issuers"], listed]
    one = {"certificates": reading(anchors, issuer, carried, issuer), **GOOD}
    return plan.plan({"one": one}, {"issuers": issuers}, Options(NEW_NAME, **options), NOW)


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        *(pytest.param(one, [], id=f"fit-{name}") for name, one in FIT.items()),
        *(pytest.param(one, ["target_unusable"], id=f"unfit-{name}") for name, one in UNFIT.items()),
    ],
)
def test_a_root_that_linkerd_refuses_is_refused_before_it_signs(credential, expected):
    both = ROOT.pem + credential.pem
    for anchors, carried, phase in ((ROOT.pem, ROOT.pem, "distribute"), (both, both, "switch")):
        found = rotation(credential, anchors, carried, force=True)
        assert (found["phase_name"], codes(found)) == (phase, expected)


def test_a_root_that_vault_has_just_created_is_valid_for_a_clock_that_is_behind():
    new = make("root.new.example", own_key=key("p256", 60), start=NOW + timedelta(seconds=40), end=NOW + 300 * DAY)
    assert codes(rotation(new, ROOT.pem, ROOT.pem)) == []


@pytest.mark.parametrize("name", UNFIT)
def test_a_root_that_signs_already_is_not_checked_again(name):
    """A rotation that has begun with it continues: it must not leave two roots behind."""
    credential = UNFIT[name]
    issuer = make(NAME, credential, own_key=key("p256", 61), path_length=0, end=NOW + DAY)
    both = ROOT.pem + credential.pem
    assert codes(rotation(credential, both, both, issuer)) == []


@pytest.mark.parametrize("credential", [*FIT.values(), *UNFIT.values()])
def test_the_assumed_issuer_is_refused_as_a_real_one(credential):
    """Only its signature differs from an issuer that the root signed."""
    names = ((x509.SubjectAlternativeName([x509.DNSName(NAME)]), False),)
    digest = DIGESTS.get(getattr(credential.key, "key_size", 0))
    more = {"end": NOW + DAY, "extensions": names, "algorithm": digest}
    real = make(NAME, credential, own_key=key("p256", 61), path_length=0, **more)
    verdict = verdict_on([real], [credential], profile="linkerd")
    assumed = candidate.reasons(credential.certificate, NAME, chains.workload_name(), NOW)
    assert [one.message for one in assumed] == [one.message for one in verdict.reasons]


@pytest.mark.parametrize(("part", "verified"), [("constraints", False), ("no CA", False), ("p521", True)])
def test_openssl_agrees_about_constraints_and_path_length(tmp_path, part, verified):
    credential = UNFIT[part]
    names = ((x509.SubjectAlternativeName([x509.DNSName(NAME)]), False),)
    real = make(NAME, credential, own_key=key("p256", 61), path_length=0, end=NOW + DAY, extensions=names)
    assert openssl_verifies(tmp_path, [leaf_of("web.example", real), real], [credential]) is verified


@pytest.mark.parametrize(
    ("identity_name", "trust_domain", "expected"),
    [
        ("identity.linkerd.mesh.example", "mesh.example", []),
        ("identity.linkerd.mesh.example", "cluster.local", ["target_unusable"]),
        (NAME, "mesh.example", ["target_unusable"]),
    ],
)
def test_the_names_are_those_of_the_cluster(identity_name, trust_domain, expected):
    given = reading(ROOT.pem, ISSUER, ROOT.pem, ISSUER, trust_domain=trust_domain)
    clusters = {"one": {"certificates": given, **GOOD, "identity_name": identity_name}}
    found = rotation_plan(clusters, {"issuers": [CONSTRAINED]}, {"target": NEW_NAME}, at=NOW.isoformat())
    assert codes(found) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0),
        ({"key_type": "rsa"}, 0),
        ({"key_type": "rsa", "key_bits": 0}, 1),
        ({"key_bits": 0}, 1),
        ({"key_type": "rsa", "key_bits": "4096", "max_path_length": "-1"}, 0),
        ({"key_type": "ec", "key_bits": 384}, 1),
        ({"key_type": "ed25519", "key_bits": 0}, 1),
        ({"key_type": "rsa", "key_bits": 3072, "max_path_length": 0}, 2),
    ],
)
def test_a_root_that_linkerd_would_refuse_is_not_created(options, expected):
    clusters = {"one": {"certificates": reading(ROOT.pem, ISSUER, ROOT.pem, ISSUER), **GOOD}}
    given = {"target": NEW_NAME, "new_root": options, "force": True}
    found = rotation_plan(clusters, vault(OLD_NAME), given, at=NOW.isoformat())
    assert (found["phase_name"], codes(found)) == ("create", ["target_unusable"] * expected)
    # The options do not describe a root that exists.
    assert codes(rotation_plan(clusters, vault(OLD_NAME, NEW_NAME), given, at=NOW.isoformat())) == []


@pytest.mark.parametrize(
    ("name", "new_root", "expected"),
    [
        ("p256", ("ec", 256, 1), []),
        ("one CA", ("ec", 256, -1), []),
        ("rsa2048", ("rsa", 2048, 1), []),
        ("ed25519", ("ed25519", 0, 1), []),
        ("rsa2048", ("ec", 256, 1), ["rsa:2048", "ec:256"]),
        ("rsa2048", ("rsa", 4096, 1), ["rsa:2048", "rsa:4096"]),
        ("p256", ("rsa", 2048, 1), ["ec:256", "rsa:2048"]),
    ],
)
def test_the_plan_shows_a_key_that_is_not_that_of_the_options(name, new_root, expected):
    """Until the root signs. The options do not describe a root that exists, so it is no problem."""
    credential = {**FIT, **UNFIT}[name]
    both = ROOT.pem + credential.pem
    for anchors in (ROOT.pem, both):
        shown = [line for line in rotation(credential, anchors, anchors, new_root=new_root)["table"] if KEY in line]
        assert [re.findall(r"\w+:\d+", line) for line in shown] == ([expected] if expected else [])
    issuer = make(NAME, credential, own_key=key("p256", 61), path_length=0, end=NOW + DAY)
    signing = rotation(credential, both, both, issuer, new_root=new_root)["table"]
    assert not any(KEY in line for line in signing)


@pytest.mark.parametrize(
    ("listed", "options", "phase", "expected"),
    [
        ([], {"vault_pki_root_key_bits": 521}, "create", ["target_unusable"]),
        ([CONSTRAINED], {"vault_pki_root_key_bits": 521}, "distribute", []),
    ],
)
def test_the_playbook_passes_the_options_of_the_root_and_the_name_of_the_issuer(
    tmp_path, listed, options, phase, expected
):
    given = reading(ROOT.pem, LONG_ISSUER, ROOT.pem, LONG_ISSUER, trust_domain="mesh.example")
    read = {"pki_certificates": given, "linkerd_check_result": GOOD["check"]}
    read |= {"rotation_components": {"objects": []}, "pki_identity_common_name": "identity.linkerd.mesh.example"}
    vault_host = {"pki_issuers": {"issuers": [*vault(OLD_NAME)["issuers"], *listed]}, **options}
    inventory = {"vault": {"hosts": {"vault-host": vault_host}}, "clusters": {"hosts": {"one": read}}}
    (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
    (tmp_path / "play.yml").write_text(PLAY.replace("ROOT", str(COLLECTION)))
    done = run(tmp_path, str(tmp_path / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "one").read_text())
    assert (found["phase_name"], [one["code"] for one in found["problems"]]) == (phase, expected)
