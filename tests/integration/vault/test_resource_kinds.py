# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of objects that the PKI of a mesh has in Vault, written in several ways, are idempotent."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def public_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


KEY, OTHER_KEY = public_key(), public_key()
POLICY = 'path "pki/root/sign-intermediate" {\n  capabilities = ["update"]\n}\n'
SECRETS = ("pki", "ssh")  # engines of secrets; the others are auth methods
SERVICE_ACCOUNT = "system:serviceaccount:linkerd:issuer"

# engine type, path of the object, data, the same data written differently, other data
KINDS = {
    "role of approle": (
        "approle",
        "role/cert-manager",
        dict(
            token_policies=["b", "a"],
            token_ttl="20m",
            token_max_ttl="1h",
            token_bound_cidrs=["127.0.0.1/32", "10.0.0.0/8"],
            secret_id_ttl="90d",
            secret_id_num_uses=0,
            bind_secret_id=True,
            token_no_default_policy=True,
        ),
        dict(
            token_policies="a,b", token_ttl=1200, secret_id_ttl="2160h", bind_secret_id="true", secret_id_num_uses="0"
        ),
        dict(bind_secret_id=True, token_ttl="30m", secret_id_ttl="0"),
    ),
    "config of jwt": (
        "jwt",
        "config",
        dict(jwt_validation_pubkeys=[KEY], bound_issuer="https://kubernetes.default.svc.cluster.local"),
        dict(jwt_validation_pubkeys=f"\n{KEY}\n"),
        dict(jwt_validation_pubkeys=[OTHER_KEY, KEY]),
    ),
    "role of jwt": (
        "jwt",
        "role/linkerd",
        dict(
            role_type="jwt",
            user_claim="sub",
            bound_subject=SERVICE_ACCOUNT,
            bound_audiences=["vault://linkerd/vault"],
            bound_claims={"team": ["mesh", "pki"], "env": "test"},
            token_policies=["linkerd-issuer"],
            token_ttl="10m",
        ),
        dict(
            bound_audiences="vault://linkerd/vault",
            token_ttl="600s",
            bound_claims={"env": "test", "team": ["pki", "mesh"]},
        ),
        dict(
            role_type="jwt",
            user_claim="sub",
            bound_subject=SERVICE_ACCOUNT,
            bound_audiences=["vault://linkerd/other"],
            bound_claims={"team": ["mesh"]},
        ),
    ),
    "role of ssh": (
        "ssh",
        "roles/admin",
        dict(
            key_type="ca",
            allow_user_certificates=True,
            default_extensions={"permit-pty": "", "permit-port-forwarding": ""},
            ttl="10m",
        ),
        dict(default_extensions={"permit-port-forwarding": "", "permit-pty": ""}, ttl=600),
        dict(key_type="ca", allow_user_certificates=True, default_extensions={"permit-pty": ""}),
    ),
    "config of kubernetes": (
        "kubernetes",
        "config",
        dict(
            kubernetes_host="https://k3d-pki-cluster-server-0:6443",
            kubernetes_ca_cert="{ca}",
            pem_keys=[KEY],
            disable_local_ca_jwt=True,
        ),
        dict(kubernetes_ca_cert="\n{ca}\n\n", disable_local_ca_jwt="true"),
        dict(kubernetes_host="https://elsewhere.test:6443", kubernetes_ca_cert="{ca}", disable_local_ca_jwt=True),
    ),
    "role of kubernetes": (
        "kubernetes",
        "role/linkerd",
        dict(
            bound_service_account_names=["issuer"],
            bound_service_account_namespaces=["linkerd", "mesh"],
            audience="vault://linkerd/vault",
            token_policies=["linkerd-issuer"],
            token_ttl="10m",
        ),
        dict(bound_service_account_namespaces="mesh, linkerd", token_ttl=600),
        dict(
            bound_service_account_names=["issuer", "other"],
            bound_service_account_namespaces=["linkerd"],
            audience="vault://linkerd/vault",
        ),
    ),
    "role of pki": (
        "pki",
        "roles/mesh",
        dict(
            allowed_domains=["b.test", "a.test"],
            allow_subdomains=True,
            require_cn=False,
            key_type="ec",
            key_bits=256,
            ttl="24h",
            max_ttl="2d",
            not_before_duration="1m",
            key_usage=["DigitalSignature"],
            ext_key_usage=[],
            allowed_uri_sans="spiffe://*",
        ),
        dict(allowed_domains="a.test,b.test", max_ttl="48h", key_bits="256", ext_key_usage=""),
        dict(allowed_domains=["a.test"], allow_subdomains=False, key_type="ec", key_bits=384),
    ),
    "revocation list of pki": (
        "pki",
        "config/crl",
        dict(expiry="96h", auto_rebuild=True, auto_rebuild_grace_period="12h", ocsp_expiry="1h"),
        dict(expiry="4d", ocsp_expiry="60m"),
        dict(expiry="48h", auto_rebuild=False),
    ),
    "addresses of pki": (
        "pki",
        "config/urls",
        dict(issuing_certificates=["http://b.test/ca", "http://a.test/ca"], enable_templating=False),
        dict(issuing_certificates="http://a.test/ca,http://b.test/ca"),
        dict(issuing_certificates=[], crl_distribution_points="http://a.test/crl"),
    ),
    "address of the cluster for pki": (
        "pki",
        "config/cluster",
        dict(path="https://vault.test/v1/pki", aia_path="http://vault.test/v1/pki"),
        dict(path="https://vault.test/v1/pki"),
        dict(path="https://other.test/v1/pki"),
    ),
    "tidying of pki": (
        "pki",
        "config/auto-tidy",
        dict(enabled=True, interval_duration="12h", tidy_cert_store=True, safety_buffer="3d"),
        dict(interval_duration="720m", safety_buffer=259200),
        dict(enabled=False),
    ),
}


@pytest.fixture
def ca(server, mount):
    return server.client.write_data(f"{mount}/root/generate/internal", data={"common_name": "ca.test"})["data"][
        "certificate"
    ]


@pytest.fixture
def engine(run, path, server):
    """Enables an engine and returns the path of its objects."""

    def enable(kind: str) -> str:
        place = dict(path=f"{path}-engine", kind="secret" if kind in SECRETS else "auth")
        run.ok("vault_engine", **place, type=kind, max_lease_ttl="2160h")
        return f"{'' if kind in SECRETS else 'auth/'}{path}-engine"

    yield enable
    server.client.sys.disable_auth_method(f"{path}-engine")
    server.client.sys.disable_secrets_engine(f"{path}-engine")


def own_warnings(done: dict) -> list:
    """The warnings of the module, without those of Vault, which are about other parts of the engine."""
    return [warning for warning in done.get("warnings") or [] if "Warning of Vault" not in str(warning)]


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_idempotent_and_can_change(run, engine, ca, kind):
    engine_type, name, *variants = KINDS[kind]
    data, rewritten, another = (
        {option: value.format(ca=ca) if "{ca}" in str(value) else value for option, value in variant.items()}
        for variant in variants
    )
    where = f"{engine(engine_type)}/{name}"
    done = run.four_ways("vault_resource", path=where, data=data)
    assert own_warnings(done) == []
    same = run.ok("vault_resource", path=where, data=rewritten)
    assert not same["changed"], same["differences"]
    done = run.four_ways("vault_resource", path=where, data=another)
    assert own_warnings(done) == []
    if not name.startswith("config"):
        run.four_ways("vault_resource", path=where, state="absent")


@pytest.mark.parametrize(
    "written", [POLICY, POLICY.strip(), f"\n{POLICY}\n\n", POLICY.replace("\n", "\r\n"), POLICY.replace("\n", "  \n")]
)
def test_policy_with_other_line_ends_is_equal(run, path, server, written):
    where = f"sys/policies/acl/{path}"
    run.four_ways("vault_resource", path=where, data={"policy": written})
    for other in (POLICY, written.strip()):
        assert not run.ok("vault_resource", path=where, data={"policy": other})["changed"]
    done = run.four_ways("vault_resource", path=where, data={"policy": POLICY.replace("  cap", "    cap")})
    assert set(done["differences"]) == {"policy"}, "indentation counts"
    server.client.sys.delete_policy(path)


def test_token_reviewer_jwt_is_not_shown(run, engine, ca):
    where = f"{engine('kubernetes')}/config"
    arguments = dict(
        data={"kubernetes_host": "https://a.test", "kubernetes_ca_cert": ca},
        secret_data={"token_reviewer_jwt": "eyJhbGciOiJub25lIn0.e30."},
    )
    assert "eyJhbGciOiJub25lIn0" not in str(run.four_ways("vault_resource", path=where, **arguments))
