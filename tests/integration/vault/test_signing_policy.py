# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the policy of the role vault_issuer permits cert-manager's login to sign. A real Vault."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from cryptography import x509
from support.plays import THIS_HOST, role_play

ROOT = Path(__file__).resolve().parents[3]
IDENTITY = "identity.linkerd.cluster.local"
POLICY = "linkerd-identity-issuer-production"
PLAY = role_play("vault_issuer", "vault")
APPLY = "application/apply-patch+yaml"


@pytest.fixture
def csr() -> str:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null"]
    command = ["openssl", "req", *key, "-subj", f"/CN={IDENTITY}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def sign(run, mount, server, kubernetes, tmp_path, csr):
    """A function that writes the policy, and one that sends the request of cert-manager with a login of that policy."""
    run.ok("vault_pki_root", mount=mount, issuer_name="linkerd-root-1", common_name="r", ttl="2000h", max_path_length=1)
    path = f"{mount}/issuer/linkerd-root-1/sign-intermediate"
    (tmp_path / "play.yml").write_text(PLAY)
    variables = {
        **THIS_HOST, "pki_kubernetes": {"kubeconfig": str(kubernetes.kubeconfig)}, "pki_vault": {"url": server.url},
        "pki_vault_server": server.url, "pki_vault_mount": mount, "pki_vault_auth": "approle",
        "pki_linkerd_namespace": "default",
    }  # fmt: skip
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"production": variables}}}))

    def configure(**more: object) -> None:
        command = ["ansible-playbook", "-i", tmp_path / "hosts.json", tmp_path / "play.yml", "-e", json.dumps(more)]
        environment = {**os.environ, "VAULT_TOKEN": server.token}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def request(changes: dict) -> tuple[int, timedelta | None]:
        """The parameters are those of cert-manager, in internal/vault/vault.go. None is left out."""
        data = {
            "common_name": IDENTITY, "alt_names": IDENTITY, "ip_sans": "", "uri_sans": "", "ttl": "48h0m0s",
            "csr": csr, "exclude_cn_from_sans": "true",
        }  # fmt: skip
        data = {name: value for name, value in {**data, **changes}.items() if value != "left out"}
        token = server.client.auth.token.create(policies=[POLICY], ttl="10m", no_default_policy=True)
        headers = {"X-Vault-Token": token["auth"]["client_token"]}
        answer = requests.post(f"{server.url}/v1/{path}", json=data, headers=headers, timeout=60)
        if answer.status_code != 200:
            return answer.status_code, None
        found = x509.load_pem_x509_certificate(answer.json()["data"]["certificate"].encode())
        return 200, found.not_valid_after_utc - found.not_valid_before_utc

    request.configure = configure
    yield request
    server.client.sys.disable_auth_method("approle")
    server.client.sys.delete_policy(POLICY)


def seconds(text: timedelta | None) -> int:
    assert text
    return int(text.total_seconds()) - 30  # Vault backdates a certificate by 30 seconds


def test_only_the_validity_of_the_certificate_is_signed(sign):
    sign.configure()
    status, validity = sign({})
    assert status == 200 and abs(seconds(validity) - 48 * 3600) <= 1
    for other in ("2000h", "2000h0m0s", "48h0m0s1", "49h0m0s", "48h", 172800, 7200000, ["2000h"], None, "", "left out"):
        assert sign({"ttl": other})[0] == 403, other
    for changes in (
        {"ttl": "left out", "TTL": "48h0m0s"},
        {"not_after": "2099-01-01T00:00:00Z"},
        {"ttl": "left out", "not_after": "2099-01-01T00:00:00Z"},
        {"not_before_duration": "2000h"},
        {"max_path_length": 3},
        {"common_name": "evil.example.com"},
        {"use_csr_values": True},
    ):
        assert sign(changes)[0] == 403, changes


# As time.Duration.String() of Go writes them.
@pytest.mark.parametrize(("duration", "sent"), [("72h", "72h0m0s"), ("90m", "1h30m0s"), ("1h0m15s", "1h0m15s")])
def test_validity_of_the_certificate_can_be_set(sign, duration, sent):
    sign.configure(linkerd_identity_duration=duration)
    status, validity = sign({"ttl": sent})
    assert status == 200, duration
    assert sign({"ttl": "48h0m0s"})[0] == 403
    assert str(timedelta(seconds=seconds(validity)))  # it parses
    if duration == "90m":
        sign.configure(vault_issuer_duration="", pki_take_over=[f"Vault policy {POLICY}"])
        assert sign({"ttl": "2000h0m0s"})[0] == 200 and sign({"ttl": "1h30m0s"})[0] == 200


@pytest.fixture
def certificate(kinds):
    """A function that creates or changes the Certificate of the identity issuer."""
    name = "/apis/cert-manager.io/v1/namespaces/default/certificates/linkerd-identity-issuer"

    def apply(duration: str) -> None:
        kind = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "spec": {"duration": duration}}
        path = f"{name}?fieldManager=test&force=true"
        kinds.call("PATCH", path, {**kind, "metadata": {"name": "linkerd-identity-issuer"}}, APPLY)

    yield apply
    kinds.call("DELETE", name)


def test_the_present_certificate_can_be_renewed_until_it_has_the_new_validity(sign, certificate):
    """A run that stops before it changes the Certificate, or Git changes it later."""

    def permitted() -> list[str]:
        return [ttl for ttl in ("48h0m0s", "72h0m0s", "2000h0m0s") if sign({"ttl": ttl})[0] == 200]

    certificate("48h")
    sign.configure()
    assert permitted() == ["48h0m0s"]
    new = {"linkerd_identity_duration": "72h", "pki_take_over": [f"Vault policy {POLICY}"]}
    for dummy in range(2):
        sign.configure(**new)
        assert permitted() == ["48h0m0s", "72h0m0s"]
    certificate("72h0m0s")
    for dummy in range(2):
        sign.configure(**new)
        assert permitted() == ["72h0m0s"]
    certificate("2000h0m0s")  # the policy never permitted it
    sign.configure(pki_take_over=new["pki_take_over"])
    assert permitted() == ["48h0m0s"]
