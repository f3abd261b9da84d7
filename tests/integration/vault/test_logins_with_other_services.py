# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auth methods that need more than Vault: a client certificate, a directory, a cloud.

The client certificate is used with a real Vault with TLS. The directory is a real OpenLDAP server, where Vault has the
method ldap and the machine has slapd. For clouds, a stand-in of Vault's login endpoint records what the modules send.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests
import server as vault_server
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from server import expect_error, run_module
from vault_standin import VaultStandIn

READ_ONE = 'path "sys/policies/acl/default" { capabilities = ["read"] }'
OBJECT = dict(path="sys/policies/acl/default")


def client_certificate(folder) -> tuple[str, str]:
    """The files of a self-signed client certificate and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ansible")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(minutes=1), now + timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "client.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "client.key").write_bytes(private)
    return str(folder / "client.pem"), str(folder / "client.key")


def test_cert(tls, tmp_path):
    client = vault_server.hvac.Client(url=tls.url, token=tls.token, verify=tls.ca)
    client.sys.create_or_update_policy("one", READ_ONE)
    client.sys.enable_auth_method("cert", path="mine")
    (tmp_path / "other").mkdir()
    certificate, key = client_certificate(tmp_path)
    unknown, its_key = client_certificate(tmp_path / "other")
    with open(certificate) as file:
        client.write_data("auth/mine/certs/ansible", data={"certificate": file.read(), "token_policies": "one"})
    login = dict(url=tls.url, ca_cert=tls.ca, auth_method="cert", mount_point="mine", role_id="ansible", **OBJECT)
    result = run_module("vault_resource", **login, cert_auth_public_key=certificate, cert_auth_private_key=key)
    assert not result.get("failed"), result["msg"]
    assert result["data"]["name"] == "default"
    result = run_module("vault_resource", **login, cert_auth_public_key=unknown, cert_auth_private_key=its_key)
    expect_error(result, "login_refused", tls.url, "with cert")
    result = run_module("vault_resource", **login, cert_auth_public_key=certificate)
    expect_error(result, "invalid_login", "cert_auth_private_key")


@pytest.fixture
def ldap_method(server) -> None:
    catalog = f"{server.url}/v1/sys/plugins/catalog/auth/ldap"
    if requests.get(catalog, headers={"X-Vault-Token": server.token}, timeout=60).status_code != 200:
        pytest.skip("platform: this Vault has no built-in ldap; OpenBao has it as a plugin from 2.7 on")


@pytest.fixture
def directory(ldap_method, tmp_path):
    """A real directory with one entry: uid=ann,dc=test with the password l3tmein."""
    slapd = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/lib/openldap")
    if not slapd:
        pytest.skip("no slapd on this machine: apt-get install slapd installs it")
    (tmp_path / "data").mkdir()
    (tmp_path / "slapd.conf").write_text(
        "include /etc/ldap/schema/core.schema\n"
        "modulepath /usr/lib/ldap\nmoduleload back_mdb\n"
        f'database mdb\nsuffix "dc=test"\ndirectory {tmp_path}/data\n'
    )
    people = (
        "dn: dc=test\nobjectClass: organization\nobjectClass: dcObject\no: test\ndc: test\n\n"
        "dn: uid=ann,dc=test\nobjectClass: person\nobjectClass: uidObject\n"
        "uid: ann\ncn: Ann\nsn: Ann\nuserPassword: l3tmein\n"
    )
    add = [slapd, "-T", "add", "-f", str(tmp_path / "slapd.conf")]
    subprocess.run(add, input=people, text=True, check=True, capture_output=True)
    port = vault_server.free_port()
    url = f"ldap://127.0.0.1:{port}"
    process = subprocess.Popen(
        [slapd, "-h", url, "-f", str(tmp_path / "slapd.conf"), "-d", "0"], stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while not vault_server.accepts_connections(port):
        assert process.poll() is None, "slapd exited"
        assert time.monotonic() < end, "slapd does not accept connections"
        time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(120)


def test_ldap(server, path, directory):
    server.client.sys.create_or_update_policy(path, READ_ONE)
    server.client.sys.enable_auth_method("ldap", path=path)
    server.client.write_data(f"auth/{path}/config", data={"url": directory, "userdn": "dc=test", "userattr": "uid"})
    server.client.write_data(f"auth/{path}/users/ann", data={"policies": path})
    login = dict(url=server.url, auth_method="ldap", mount_point=path, username="ann", **OBJECT)
    try:
        result = run_module("vault_resource", **login, password="l3tmein")
        assert not result.get("failed"), result["msg"]
        assert result["data"]["name"] == "default"
        result = run_module("vault_resource", **login, password="wrong-0ne")
        expect_error(result, "login_refused", server.url, "with ldap")
    finally:
        server.client.sys.disable_auth_method(path)


AWS = dict(
    aws_access_key="AKIDEXAMPLE", aws_secret_key="example-of-a-secret-key", aws_security_token="example-of-a-session"
)
JWT = "eyJhbGciOiJub25lIn0.e30.example"

# auth method, options, path of the request, part of its body
LOGINS = {
    "ldap": ("ldap", dict(username="ann", password="l3tmein"), "ldap/login/ann", {"password": "l3tmein"}),
    "azure": ("azure", dict(role_id="mesh", jwt=JWT), "azure/login", {"role": "mesh", "jwt": JWT}),
    "gcp": ("gcp", dict(role_id="mesh", jwt=JWT), "gcp/login", {"role": "mesh", "jwt": JWT}),
    "gcp at another path": (
        "gcp",
        dict(role_id="mesh", jwt=JWT, mount_point="g"),
        "g/login",
        {"role": "mesh", "jwt": JWT},
    ),
    "aws_iam": (
        "aws_iam",
        dict(role_id="mesh", region="eu-central-1", aws_iam_server_id="vault.test", **AWS),
        "aws/login",
        {"role": "mesh", "iam_http_request_method": "POST"},
    ),
}


@pytest.fixture
def standin():
    """A stand-in of Vault that accepts every login, with one object to read."""
    seen = []

    def answer(method: str, path: str, headers: dict, body: bytes) -> tuple[int, str, str]:
        seen.append((method, path.removeprefix("/v1/auth/"), headers["X-Vault-Token"], json.loads(body or "{}")))
        if "/login" in path:
            return 200, "application/json", json.dumps({"auth": {"client_token": "token-after-login"}})
        return 200, "application/json", json.dumps({"data": {"name": "default"}})

    with VaultStandIn(answer) as vault:
        vault.seen = seen
        yield vault


@pytest.mark.parametrize("case", LOGINS)
def test_login_request_to_a_stand_in(standin, case):
    method, options, path, body = LOGINS[case]
    result = run_module("vault_resource", url=standin.url, auth_method=method, **options, **OBJECT)
    assert not result.get("failed"), result["msg"]
    login, read = standin.seen
    assert login[:3] == ("POST", path, None)
    assert body.items() <= login[3].items()
    assert read[2] == "token-after-login"
    assert "token-after-login" not in str(result)
    secret = [AWS["aws_secret_key"], AWS["aws_security_token"], JWT, "l3tmein"]
    assert not [value for value in secret if value in str(result)]


def test_aws_iam_login_sends_a_signed_request_and_no_keys(standin, monkeypatch):
    """Vault forwards the signed request to AWS. The keys stay in the module."""
    login = dict(auth_method="aws_iam", region="eu-central-1", aws_iam_server_id="vault.test", **AWS)
    run_module("vault_resource", url=standin.url, **login, **OBJECT)
    sent = standin.seen[0][3]
    assert base64.b64decode(sent["iam_request_url"]) == b"https://sts.amazonaws.com/"  # hvac uses it for all regions
    headers = {name: str(value) for name, value in json.loads(base64.b64decode(sent["iam_request_headers"])).items()}
    assert "Credential=AKIDEXAMPLE/" in headers["Authorization"]
    assert "/eu-central-1/sts/aws4_request" in headers["Authorization"]
    assert "vault.test" in headers["X-Vault-AWS-IAM-Server-ID"]
    assert AWS["aws_security_token"] in headers["X-Amz-Security-Token"]
    assert AWS["aws_secret_key"] not in json.dumps(sent) + json.dumps(headers)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (dict(auth_method="azure", jwt=JWT), "role_id"),
        (dict(auth_method="azure", role_id="mesh"), "azure-identity"),
        (dict(auth_method="gcp", role_id="mesh"), "jwt"),
        (dict(auth_method="aws_iam"), "boto3"),
        (dict(auth_method="ldap", username="ann"), "password"),
        (dict(auth_method="cert", role_id="mesh"), "cert_auth_public_key"),
    ],
)
def test_incomplete_login(standin, options, missing):
    result = run_module("vault_resource", url=standin.url, **options, **OBJECT)
    expect_error(result, "invalid_login", standin.url, f"with {options['auth_method']}", missing)
    assert standin.seen == []


def test_auth_method_none_sends_no_token(standin, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", "not-to-be-used")
    result = run_module("vault_resource", url=standin.url, auth_method="none", **OBJECT)
    assert not result.get("failed"), result["msg"]
    assert [request[2] for request in standin.seen] == [None]


def test_address_ca_and_namespace_from_environment(tls, standin, monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", tls.url)
    monkeypatch.setenv("VAULT_CACERT", tls.ca)
    monkeypatch.setenv("VAULT_TOKEN", tls.token)
    assert run_module("vault_resource", **OBJECT)["data"]["name"] == "default"
    monkeypatch.delenv("VAULT_CACERT")
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "true")
    assert run_module("vault_resource", **OBJECT)["data"]["name"] == "default"
    monkeypatch.setenv("VAULT_NAMESPACE", "nosuch")
    assert run_module("vault_resource", **OBJECT)["failed"]
