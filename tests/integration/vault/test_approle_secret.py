# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_approle_secret against a real Vault. Kubernetes is a stand-in here."""

from __future__ import annotations

import base64

import pytest

PLACE = ("cert-manager", "vault-approle")


@pytest.fixture
def arguments(kube, server, path):
    """A role whose secret IDs are valid for 100 hours."""
    server.client.sys.enable_auth_method("approle", path=path)
    server.client.auth.approle.create_or_update_approle("r", mount_point=path, secret_id_ttl="100h")
    yield dict(
        kubernetes={"host": kube.url, "api_key": "stand-in"},
        secret_namespace=PLACE[0],
        secret_name=PLACE[1],
        mount=path,
        role="r",
    )
    server.client.sys.disable_auth_method(path)


def secret_id(kube) -> str:
    return base64.b64decode(kube.secrets[PLACE]["data"]["secretId"]).decode()


def logs_in(server, path: str, secret: str) -> bool:
    role_id = server.client.auth.approle.read_role_id("r", mount_point=path)["data"]["role_id"]
    login = {"role_id": role_id, "secret_id": secret}
    answer = server.client.adapter.request("post", f"/v1/auth/{path}/login", json=login, raise_exception=False)
    return isinstance(answer, dict) and "auth" in answer


def test_secret_id_is_created_and_removed(run, kube, arguments, server, path):
    done = run.four_ways("vault_approle_secret", **arguments, minimum_ttl="10h")
    first = secret_id(kube)
    assert done["action"] == "created"
    assert first not in str(done)
    assert logs_in(server, path, first)
    run.four_ways("vault_approle_secret", **arguments, state="absent")
    assert not logs_in(server, path, first)
    assert PLACE not in kube.secrets


def test_old_or_revoked_secret_id_is_replaced(run, kube, arguments, server, path):
    server.client.auth.approle.create_or_update_approle("r", mount_point=path, secret_id_ttl="20h")
    run.ok("vault_approle_secret", **arguments)
    old = secret_id(kube)
    server.client.auth.approle.create_or_update_approle("r", mount_point=path, secret_id_ttl="100h")
    done = run("vault_approle_secret", **arguments, minimum_ttl="50h")
    assert done["action"] == "replaced"
    assert set(done["reasons"]) == {"minimum_ttl"}
    assert not logs_in(server, path, old)
    server.client.auth.approle.destroy_secret_id("r", secret_id(kube), mount_point=path)
    assert set(run.four_ways("vault_approle_secret", **arguments)["reasons"]) == {"secret_id"}


def test_invalid_request_is_refused_before_the_first_change(run, kube, arguments, server, path):
    names = ["role r", "100h", "secret_id_ttl", "minimum_ttl"]
    run.error("vault_approle_secret", code="validity_too_short", names=names, **arguments, minimum_ttl="100h")
    missing = {**arguments, "role": "nobody"}
    run.error("vault_approle_secret", code="role_not_found", names=["nobody", path], **missing)
    role = f"auth/{path}/role/r"
    token = server.token_for(f'path "{role}" {{ capabilities = ["read"] }}')
    names = [f"update {role}/secret-id", "policy"]
    run.error("vault_approle_secret", code="permission_denied", names=names, **arguments, token=token)
    assert kube.secrets == {}


def test_secret_id_that_vault_shortens_is_reported(run, kube, arguments, server, path):
    """Vault caps it at the maximum of the auth method, without an error."""
    server.client.sys.tune_auth_method(path, max_lease_ttl="50h")
    done = run("vault_approle_secret", **arguments, minimum_ttl="10h")
    assert done["action"] == "created"
    (warning,) = [str(one) for one in done["warnings"] if "secret_id_ttl" in str(one)]
    assert [text for text in ("50h", "100h", path, "max_lease_ttl") if text not in warning] == []
    server.client.sys.tune_auth_method(path, max_lease_ttl="200h")
    done = run("vault_approle_secret", **arguments, minimum_ttl="60h")
    assert done["action"] == "replaced" and not done.get("warnings")


SYNCED = {
    "ownerReferences": [{"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "x", "uid": "u"}]
}


@pytest.mark.parametrize(
    ("metadata", "secret", "is_ours"),
    [({"team": "x"}, {}, False), (None, {}, True), (None, SYNCED, False)],
    ids=["metadata of others", "no metadata", "no metadata in a Secret of others"],
)
def test_secret_id_of_others_is_not_destroyed(run, kube, arguments, server, path, metadata, secret, is_ours):
    """Secret IDs of versions up to 0.2.0 have no metadata, and neither have those of `vault write -f`."""
    created = server.client.auth.approle.generate_secret_id("r", mount_point=path, metadata=metadata)
    theirs = created["data"]["secret_id"]
    value = base64.b64encode(theirs.encode()).decode()
    described = {"name": PLACE[1], "resourceVersion": "1", **secret}
    kube.secrets[PLACE] = {"metadata": described, "data": {"secretId": value}}
    server.client.auth.approle.create_or_update_approle("r", mount_point=path, secret_id_ttl="200h")
    options = {**arguments, "minimum_ttl": "150h"}
    if not is_ours:
        run.error("vault_approle_secret", code="credential_unmanaged", names=["vault-approle"], **options)
        run.error("vault_approle_secret", code="credential_unmanaged", **options, state="absent")
        assert secret_id(kube) == theirs and logs_in(server, path, theirs)
        options["take_over"] = True
    assert run.four_ways("vault_approle_secret", **options)["action"] == "replaced"
    assert not logs_in(server, path, theirs)


@pytest.mark.parametrize("new", [{"role": "new"}, {"mount": "not-enabled"}])
def test_secret_of_others_is_reported_before_a_role_that_does_not_exist_yet(run, kube, arguments, new):
    """So that a check before the first run finds it."""
    value = base64.b64encode(b"of-others").decode()
    kube.secrets[PLACE] = {
        "metadata": {"name": PLACE[1], "resourceVersion": "1", **SYNCED},
        "data": {"secretId": value},
    }
    run.error("vault_approle_secret", code="credential_unmanaged", names=["vault-approle"], **{**arguments, **new})
    assert secret_id(kube) == "of-others"
