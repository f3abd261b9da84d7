# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_jwt_config with a real Vault and real API servers. A stand-in for a key set serves keys that change."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import hvac
import kubernetes_server
import pytest
from breaking_proxy import LOSE_ANSWER
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "vault://mesh/vault"
DISCOVERY = "system:service-account-issuer-discovery"


@pytest.fixture(scope="module")
def own_issuer(tmp_path_factory):
    """An API server whose address is the issuer of its tokens."""
    yield from kubernetes_server.start(tmp_path_factory.mktemp("own"), own_issuer=True)


@pytest.fixture
def anonymous(request):
    """What a cluster's administrator does to let everyone read the key set."""

    def permit(api):
        bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": DISCOVERY}
        group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"}
        api.call("POST", bindings, {"metadata": {"name": "anonymous"}, "roleRef": role, "subjects": [group]})
        request.addfinalizer(lambda: api.call("DELETE", f"{bindings}/anonymous"))
        deadline = time.monotonic() + 120
        while True:  # the authorizer reads the binding shortly afterwards
            try:
                kubernetes_server.urllib.request.urlopen(
                    f"{api.url}/openid/v1/jwks", context=kubernetes_server.UNVERIFIED, timeout=60
                ).close()
                return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    return permit


@pytest.fixture
def method(server, path):
    """An auth method of type jwt with a role."""
    name = f"jwt-{path}"
    server.client.sys.enable_auth_method("jwt", path=name)
    role = dict(role_type="jwt", user_claim="sub", bound_audiences=[AUDIENCE], token_policies=["default"])
    server.client.write_data(f"auth/{name}/role/r", data=role)
    yield name
    server.client.sys.disable_auth_method(name)


class KeySet:
    """Stands in for the public issuer of a managed cluster: a discovery document and keys that change."""

    def __init__(self, folder) -> None:
        self.key = new_key()
        self.serves_keys = True
        self.delay = 0.0  # seconds before the keys are served
        files = (folder / "tls.key", folder / "tls.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-keyout", files[0], "-out", files[1], "-subj", "/CN=issuer",
             "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True, capture_output=True,
        )  # fmt: skip
        self.ca = files[1].read_text()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files[1], files[0])
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = served.document(self.path)
                self.send_response(200 if body else 404)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *dummy) -> None:
                """Nothing is printed."""

        return Handler

    def document(self, path: str) -> dict:
        if path == "/.well-known/openid-configuration":
            supported = {"response_types_supported": ["id_token"], "subject_types_supported": ["public"]}
            algorithms = {"id_token_signing_alg_values_supported": ["RS256"]}
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **supported, **algorithms}
        time.sleep(self.delay)
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": str(numbers.n % 10**6), "e": "AQAB"}
        return {"keys": [{**key, "n": encoded(numbers.n.to_bytes(256, "big"))}]} if self.serves_keys else {}

    @property
    def public_key(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def token(self) -> str:
        now = int(time.time())
        head = {"alg": "RS256", "kid": str(self.key.public_key().public_numbers().n % 10**6)}
        body = {"iss": self.url, "sub": "s", "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 600}
        text = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(body).encode())}"
        return f"{text}.{encoded(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


@pytest.fixture
def public_issuer(tmp_path):
    keys = KeySet(tmp_path)
    yield keys
    keys.http.shutdown()
    keys.http.server_close()


def cluster(api) -> dict:
    """What service_account_issuer_info returns of an API server."""
    document = api.call("GET", "/.well-known/openid-configuration")
    keys = dict(public_keys=[api.token_key], ca_certificate=api.ca_file.read_text())
    return dict(issuer=document["issuer"], jwks_urls=[f"{api.url}/openid/v1/jwks"], **keys)


def of_public(keys: KeySet) -> dict:
    return dict(issuer=keys.url, ca_certificate=keys.ca, public_keys=[keys.public_key])


def can_login(server, method: str, token: str) -> bool:
    try:
        hvac.Client(url=server.url).auth.jwt.jwt_login("r", token, path=method)
    except hvac.exceptions.InvalidRequest:
        return False
    return True


def configured(run, method: str, **options) -> dict:
    """The result of a run. A second one and a check change nothing."""
    result = run("vault_jwt_config", path=method, role="r", **options)
    assert not result.get("failed"), result["msg"]
    for check in (False, True):
        again = run("vault_jwt_config", path=method, role="r", check=check, **options)
        assert not again["changed"], again
        assert again["source"] == result["source"]
    return result


def test_static_keys(run, server, method, kubernetes):
    found = cluster(kubernetes)
    done = run.four_ways("vault_jwt_config", path=method, keys="static", **found)
    assert (done["source"], done["url"]) == ("static", "")
    assert can_login(server, method, kubernetes.token("a", AUDIENCE))
    assert not can_login(server, method, kubernetes.token("a", "another"))


def test_cluster_without_public_keys_gets_static_keys(run, server, method, kubernetes):
    result = configured(run, method, **cluster(kubernetes))
    assert (result["source"], result["changed"]) == ("static", True)
    assert {one["source"] for one in result["refusals"]} == {"discovery", "jwks"}
    assert can_login(server, method, kubernetes.token("a", AUDIENCE))


def test_readable_key_set_replaces_static_keys(run, server, method, kubernetes, anonymous):
    configured(run, method, **cluster(kubernetes))
    anonymous(kubernetes)
    result = configured(run, method, **cluster(kubernetes))
    assert (result["source"], result["changed"]) == ("jwks", True)
    assert result["url"] == f"{kubernetes.url}/openid/v1/jwks"
    config = server.client.read(f"auth/{method}/config")["data"]
    assert config["jwt_validation_pubkeys"] == [] and config["bound_issuer"] == "https://test"
    assert can_login(server, method, kubernetes.token("a", AUDIENCE))
    assert not can_login(server, method, kubernetes.token("a", "another"))


def test_discovery_with_the_ca_of_the_cluster(run, server, method, own_issuer, anonymous):
    found = cluster(own_issuer)
    assert configured(run, method, **found)["source"] == "static"
    anonymous(own_issuer)
    result = configured(run, method, **found)
    assert (result["source"], result["url"]) == ("discovery", own_issuer.url)
    assert can_login(server, method, own_issuer.token("a", AUDIENCE))


def test_check_mode_cannot_predict_the_source(run, method, kubernetes):
    predicted = run("vault_jwt_config", check=True, path=method, **cluster(kubernetes))
    assert (predicted["changed"], predicted["source"]) == (True, "")


def test_vault_follows_changed_keys(run, server, method, public_issuer):
    assert configured(run, method, **of_public(public_issuer))["source"] == "discovery"
    assert can_login(server, method, public_issuer.token())
    public_issuer.key = new_key()
    assert can_login(server, method, public_issuer.token())


def test_next_run_replaces_outdated_static_keys(run, server, method, public_issuer):
    configured(run, method, keys="static", **of_public(public_issuer))
    public_issuer.key = new_key()
    assert not can_login(server, method, public_issuer.token())
    assert configured(run, method, keys="static", **of_public(public_issuer))["changed"]
    assert can_login(server, method, public_issuer.token())


def test_discovery_document_with_unreadable_keys_is_not_used(run, server, method, public_issuer):
    public_issuer.serves_keys = False
    result = configured(run, method, **of_public(public_issuer))
    assert result["source"] == "static"
    assert any("fetching keys" in one["reason"] for one in result["refusals"])
    assert can_login(server, method, public_issuer.token())
    config = server.client.read(f"auth/{method}/config")["data"]
    assert config["oidc_discovery_url"] == ""


def config(server, method: str) -> dict:
    return server.client.read(f"auth/{method}/config")["data"]


def test_configuration_that_works_is_restored_when_no_source_is_accepted(run, server, method, public_issuer):
    configured(run, method, keys="static", **of_public(public_issuer))
    path = f"auth/{method}/config"
    fields = {name: value for name, value in config(server, method).items() if value not in ("", [], {}, None)}
    server.client.write_data(path, data={**fields, "default_role": "r"})
    before = config(server, method)
    public_issuer.serves_keys = False
    options = dict(path=method, role="r", keys="discovery", **of_public(public_issuer))
    for dummy in range(2):
        run.error("vault_jwt_config", code="no_keys", names=[public_issuer.url], predicted=False, **options)
        assert config(server, method) == before
        assert can_login(server, method, public_issuer.token())


def test_discovery_of_a_killed_run_is_not_accepted(run, server, method, public_issuer):
    """Vault stores it before the keys are tried."""
    public_issuer.serves_keys = False
    data = {"oidc_discovery_url": public_issuer.url, "oidc_discovery_ca_pem": public_issuer.ca}
    server.client.write_data(f"auth/{method}/config", data={**data, "bound_issuer": public_issuer.url})
    options = dict(path=method, role="r", **of_public(public_issuer))
    refused = run("vault_jwt_config", keys="discovery", **options)
    assert refused["code"] == "no_keys", refused
    predicted, result = (run("vault_jwt_config", check=check, **options) for check in (True, False))
    assert predicted["changed"] and result["changed"]
    assert (predicted["source"], result["source"]) == ("", "static")
    assert can_login(server, method, public_issuer.token())


def test_keys_that_vault_waits_for_are_unreadable(run, server, method, public_issuer):
    """A firewall drops the connection, and the module waits as long as Vault."""
    public_issuer.delay = 8
    result = run("vault_jwt_config", path=method, role="r", timeout=4, **of_public(public_issuer))
    assert result.get("source") == "static", result
    assert any("did not respond in time" in one["reason"] for one in result["refusals"])
    assert can_login(server, method, public_issuer.token())


@pytest.mark.parametrize("fault", [LOSE_ANSWER, 504])
def test_lost_response_to_the_trial_login(run, vault, server, method, public_issuer, fault):
    vault.breaks("POST", f"auth/{method}/login", fault)
    result = run("vault_jwt_config", url=vault.url, path=method, role="r", **of_public(public_issuer))
    assert not result.get("failed"), result
    assert ("discovery", public_issuer.url) in [(one["source"], one["url"]) for one in result["refusals"]]
    assert can_login(server, method, public_issuer.token())


@pytest.mark.parametrize("fault", [LOSE_ANSWER, 504])
def test_lost_response_to_a_write_does_not_leave_its_source(run, vault, server, method, public_issuer, fault):
    """Vault has stored the discovery document, and the static keys count as the current ones."""
    configured(run, method, keys="static", **of_public(public_issuer))
    public_issuer.serves_keys = False
    vault.breaks("POST", f"auth/{method}/config", fault, times=2)  # with the CAs of the system, and of the cluster
    result = run("vault_jwt_config", url=vault.url, path=method, role="r", **of_public(public_issuer))
    assert result["source"] == "static", result
    assert config(server, method)["oidc_discovery_url"] == ""
    assert can_login(server, method, public_issuer.token())


def test_configuration_is_restored_after_an_error(run, vault, server, method, public_issuer):
    configured(run, method, keys="static", **of_public(public_issuer))
    before = config(server, method)
    vault.breaks("POST", f"auth/{method}/login", 429)
    result = run("vault_jwt_config", url=vault.url, path=method, role="r", **of_public(public_issuer))
    assert result.get("failed"), result
    assert config(server, method) == before


def test_configuration_that_may_not_be_restored_is_named(run, vault, server, method, public_issuer):
    configured(run, method, keys="static", **of_public(public_issuer))
    vault.breaks("POST", f"auth/{method}/login", 429, before=vault.goes_down)
    result = run("vault_jwt_config", url=vault.url, path=method, role="r", **of_public(public_issuer))
    names = ["earlier configuration", f"auth/{method}/config", "Run again"]
    assert result.get("failed") and all(name in result["msg"] for name in names), result
    assert not configured(run, method, keys="discovery", **of_public(public_issuer)).get("failed")


@pytest.mark.parametrize("keys", ["discovery", "jwks"])
def test_address_that_vault_does_not_accept(run, server, method, kubernetes, keys):
    result = run("vault_jwt_config", path=method, keys=keys, **cluster(kubernetes))
    assert result["failed"] and result["code"] == "no_keys"
    assert result["refusals"] and "static" in result["msg"]
    assert server.client.read(f"auth/{method}/config") is None


@pytest.mark.parametrize("issuer", ["kubernetes/serviceaccount", "http://issuer.example.com"])
def test_issuer_without_tls(run, method, issuer):
    run.error("vault_jwt_config", code="no_keys", names=[issuer, "public_keys"], path=method, issuer=issuer)


def test_missing_auth_method(run, kubernetes):
    expected = dict(code="mount_not_found", names=["auth/nosuch/config"])
    run.error("vault_jwt_config", **expected, path="nosuch", **cluster(kubernetes))


def test_missing_capability(run, server, method, kubernetes):
    token = server.token_for(f'path "auth/{method}/config" {{ capabilities = ["read"] }}')
    names = [f'path "auth/{method}/config" {{ capabilities = ["update"] }}']
    options = dict(path=method, token=token, **cluster(kubernetes))
    run.error("vault_jwt_config", code="permission_denied", names=names, **options)


@pytest.mark.parametrize("keys", ["static", "auto"])
def test_auth_method_of_another_cluster_is_not_changed(run, server, method, kubernetes, public_issuer, keys):
    """Two inventories with one Vault name their clusters alike."""
    configured(run, method, **of_public(public_issuer))
    before = server.client.read(f"auth/{method}/config")["data"]
    names = [method, public_issuer.url, f"'Vault auth method {method}'"]
    options = dict(path=method, keys=keys, **cluster(kubernetes))
    run.error("vault_jwt_config", code="auth_method_of_other_cluster", names=names, **options)
    assert server.client.read(f"auth/{method}/config")["data"] == before
    assert can_login(server, method, public_issuer.token())
    taken_over = run("vault_jwt_config", **options, take_over=True)
    assert taken_over["changed"] and not can_login(server, method, public_issuer.token())


def test_auth_method_for_any_issuer_is_not_changed(run, server, method, kubernetes, public_issuer):
    server.client.write_data(f"auth/{method}/config", data={"jwt_validation_pubkeys": [public_issuer.public_key]})
    before = config(server, method)
    options = dict(path=method, keys="static", **cluster(kubernetes))
    run.error("vault_jwt_config", code="auth_method_of_other_cluster", names=[method, "bound_issuer"], **options)
    assert config(server, method) == before
    assert run("vault_jwt_config", **options, take_over=True)["changed"]


def test_recreated_cluster_with_the_same_issuer_replaces_the_keys(run, server, method, kubernetes):
    options = {**cluster(kubernetes), "keys": "static"}
    key = new_key().public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    configured(run, method, **{**options, "public_keys": [pem], "issuer": f"{options['issuer']}/"})
    assert configured(run, method, **options)["changed"]
