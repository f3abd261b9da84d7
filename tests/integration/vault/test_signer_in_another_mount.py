# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An intermediate CA below the root of a company signs the identity issuer. A real Vault, and a real API server."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import hvac
import pytest
from cryptography import x509
from support.plays import THIS_HOST
from support.running_mesh import CN, running_mesh

from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import candidate

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime.now(UTC)
SPACE = "signer-in-another-mount"


@pytest.fixture
def company(kubernetes, server, mount, run, tmp_path):
    """A mesh whose root `live` is the issuer company-root, with the intermediate linkerd-int in its own mount."""
    child = f"{mount}-int"
    pods = f"/api/v1/namespaces/{SPACE}/pods"
    with running_mesh(kubernetes, tmp_path, SPACE) as live:
        variable = {"name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "value": live}
        proxy = {"name": "linkerd-proxy", "image": "x", "env": [variable]}
        metadata = {"name": "web", "labels": {"linkerd.io/control-plane-ns": SPACE}}
        kubernetes.call("POST", pods, {"metadata": metadata, "spec": {"containers": [proxy]}})
        bundle = live + (tmp_path / "live.key").read_text()
        imported = server.client.write_data(f"{mount}/config/ca", data={"pem_bundle": bundle})["data"]
        named = {"issuer_name": "company-root", "usage": "read-only,issuing-certificates"}
        server.client.write_data(f"{mount}/issuer/{imported['imported_issuers'][0]}", data=named)
        server.client.sys.enable_secrets_engine("pki", child, config={"max_lease_ttl": "2160h"})
        given = {"mount": child, "parent_mount": mount, "issuer_name": "linkerd-int", "common_name": "int.test"}
        run.ok("vault_pki_intermediate", **given, ttl="500h", max_path_length=1)
        yield child
        server.client.sys.disable_secrets_engine(child)
        kubernetes.call("DELETE", f"{pods}/web?gracePeriodSeconds=0")


@pytest.fixture
def preflight(company, kubernetes, server, mount, tmp_path):
    """A function that runs preflight.yml with a path that signs, and returns whether it succeeded and the output."""
    variables = {
        **THIS_HOST,
        "pki_vault": {"url": server.url}, "pki_vault_server": server.url, "pki_vault_mount": mount,
        "pki_root_issuer_name": "company-root", "linkerd_namespace": SPACE, "pki_manage": "vault",
        "pki_kubernetes": {"kubeconfig": str(kubernetes.kubeconfig)},
    }  # fmt: skip
    groups = {"vault": {"hosts": {"v": {}}}, "clusters": {"hosts": {"production": {}}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": groups, "vars": variables}}))

    def run_playbook(path: str, **more: str) -> tuple[bool, str]:
        command = ["ansible-playbook", "-i", tmp_path / "hosts.json", "playbooks/preflight.yml"]
        given = json.dumps({"vault_issuer_path": path, **more})
        environment = {**os.environ, "VAULT_TOKEN": server.token}
        done = subprocess.run(
            [*command, "-e", given], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode == 0, " ".join((done.stdout + done.stderr).split())

    return run_playbook


@pytest.fixture
def sign(server):
    """A function that requests an identity issuer from an issuer in Vault, as cert-manager does."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null"]
    command = ["openssl", "req", *key, "-subj", f"/CN={CN}"]
    csr = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def request(path: str) -> x509.Certificate:
        data = {"common_name": CN, "alt_names": CN, "ttl": "48h", "csr": csr, "exclude_cn_from_sans": "true"}
        answer = server.client.write_data(f"{path}/sign-intermediate", data=data)["data"]
        return x509.load_pem_x509_certificate(answer["certificate"].encode())

    return request


def test_intermediate_below_the_trust_anchor_may_sign(preflight, company, server, mount):
    identifier = server.client.read(f"{company}/issuer/linkerd-int")["data"]["issuer_id"]
    for reference in ("linkerd-int", identifier):
        ok, output = preflight(f"{company}/issuer/{reference}/sign-intermediate")
        assert ok, output
    for path in (f"{mount}/issuer/linkerd-int", "none/issuer/linkerd-int"):
        ok, output = preflight(f"{path}/sign-intermediate")
        assert not ok and "[signer_untrusted]" in output and f"pod(s) ({SPACE}/web)" in output, output


def test_intermediate_that_cannot_sign_an_identity_issuer_is_refused(preflight, company, mount, run, sign):
    given = {"mount": company, "parent_mount": mount, "issuer_name": "no-room", "common_name": "no-room.test"}
    run.ok("vault_pki_intermediate", **given, ttl="500h", max_path_length=0)
    path = f"{company}/issuer/no-room"
    ok, output = preflight(f"{path}/sign-intermediate")
    assert not ok and "[signer_unusable]" in output and "signer_untrusted" not in output, output
    with pytest.raises(hvac.exceptions.VaultError, match="path length"):  # as at the next renewal
        sign(path)


def test_signer_is_read_if_only_the_role_variable_names_the_mount_of_the_root(preflight, company, mount):
    path = f"{company}/issuer/linkerd-int/sign-intermediate"
    ok, output = preflight(path, pki_vault_mount=company, vault_pki_mount=mount)
    assert ok, output


@pytest.mark.parametrize(("key_type", "bits"), [("ec", 256), ("ec", 384), ("ec", 521), ("rsa", 2048), ("ed25519", 0)])
def test_the_assumed_issuer_has_the_signature_algorithm_of_vault(company, mount, run, sign, key_type, bits):
    given = {"mount": company, "parent_mount": mount, "issuer_name": "other", "common_name": "other.test"}
    more = {"key_type": key_type, "key_bits": bits} if bits else {"key_type": key_type}
    made = run.ok("vault_pki_intermediate", **given, ttl="500h", max_path_length=1, **more)
    signer = x509.load_pem_x509_certificate(made["issuer"]["certificate"].encode())
    assumed = candidate.issuer_below(signer, CN, NOW)
    assert assumed.signature_algorithm_oid == sign(f"{company}/issuer/other").signature_algorithm_oid
