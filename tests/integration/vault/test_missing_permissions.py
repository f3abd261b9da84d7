# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A token without a capability: the failure shows the rule of a policy that grants it."""

from __future__ import annotations

import pytest

RESOURCE = "vault_resource"


def rule(capabilities: str, *paths: str) -> list[str]:
    return [f'path "{path}" {{ capabilities = [{capabilities}] }}' for path in paths]


READ, UPDATE = '"read"', '"update"'
CREATE_CHILD = ("denied-child/issuers/generate/intermediate/internal", "denied-child/issuers/import/cert")
SIGN = "denied/issuer/standing/sign-intermediate"
ROOT_OPTIONS = dict(mount="denied", issuer_name="r", common_name="r", ttl="10h")
STANDING = dict(mount="denied", issuer_name="standing")
CHILD = dict(
    mount="denied-child",
    parent_mount="denied",
    parent_issuer="standing",
    issuer_name="c",
    common_name="c",
    ttl="10h",
    max_path_length=0,
)

# module, options, rules of the token's policy, missing capability. {id} and {key} are those of the issuer `standing`.
DENIED = {
    "engine read": ("vault_engine", dict(path="denied", type="pki"), [], ("read", "sys/mounts/denied")),
    "engine enable": (
        "vault_engine",
        dict(path="denied-new", type="pki"),
        rule(READ, "sys/mounts/denied-new"),
        ("update", "sys/mounts/denied-new"),
    ),
    "engine tune": (
        "vault_engine",
        dict(path="denied", type="pki", description="new"),
        rule(READ, "sys/mounts/denied"),
        ("update", "sys/mounts/denied/tune"),
    ),
    "engine delete": (
        "vault_engine",
        dict(path="denied", state="absent"),
        rule(READ, "sys/mounts/denied"),
        ("delete", "sys/mounts/denied"),
    ),
    "resource read": ("vault_resource", dict(path="denied/config/urls"), [], ("read", "denied/config/urls")),
    "resource create": (
        "vault_resource",
        dict(path="auth/denied-role/role/new", data={"token_ttl": "1h"}),
        rule(READ, "auth/denied-role/role/new"),
        ("create", "auth/denied-role/role/new"),
    ),
    "resource write": (
        "vault_resource",
        dict(path="denied/config/urls", data={"ocsp_servers": "http://a.test"}),
        rule(READ, "denied/config/urls"),
        ("update", "denied/config/urls"),
    ),
    "resource delete": (
        "vault_resource",
        dict(path="auth/denied-role/role/old", state="absent"),
        rule(READ, "auth/denied-role/role/old"),
        ("delete", "auth/denied-role/role/old"),
    ),
    "root generate": ("vault_pki_root", ROOT_OPTIONS, [], ("update", "denied/issuers/generate/root/internal")),
    "root default": (
        "vault_pki_root",
        {**ROOT_OPTIONS, "issuer_name": "standing-2", "common_name": "s.test", "ttl": "90h", "default": True},
        [],
        ("update", "denied/config/issuers"),
    ),
    "new root default": (
        "vault_pki_root",
        {**ROOT_OPTIONS, "default": True},
        rule(UPDATE, "denied/issuers/generate/root/internal"),
        ("update", "denied/config/issuers"),
    ),
    "root delete: certificates": (
        "vault_pki_root",
        {**STANDING, "issuer_name": "standing-2", "state": "absent"},
        [],
        ("list", "denied/certs"),
    ),
    "root delete": (
        "vault_pki_root",
        {**STANDING, "state": "absent", "force": True},
        [],
        ("delete", "denied/issuer/{id}"),
    ),
    "root delete: key": (
        "vault_pki_root",
        {**STANDING, "state": "absent", "force": True},
        rule('"delete"', "denied/issuer/{id}"),
        ("delete", "denied/key/{key}"),
    ),
    "issuer read": ("vault_pki_issuer", {**STANDING, "usage": ["crl-signing"]}, [], ("read", "denied/issuer/{id}")),
    "issuer change": (
        "vault_pki_issuer",
        {**STANDING, "usage": ["crl-signing"]},
        rule(READ, "denied/issuer/{id}"),
        ("patch", "denied/issuer/{id}"),
    ),
    "issuer revoke": (
        "vault_pki_issuer",
        {**STANDING, "state": "revoked", "force": True},
        rule(READ, "denied/issuer/{id}"),
        ("update", "denied/issuer/{id}/revoke"),
    ),
    "intermediate generate": ("vault_pki_intermediate", CHILD, [], ("update", CREATE_CHILD[0])),
    "intermediate sign": (
        "vault_pki_intermediate",
        CHILD,
        rule(UPDATE, *CREATE_CHILD, "denied-child/key/*"),
        ("update", SIGN),
    ),
}


@pytest.fixture
def standing(server):
    """Two issuers, a mount for an intermediate and a role. Returns the identifiers of the first issuer and its key."""
    client = server.client
    for mount in ("denied", "denied-child"):
        client.sys.enable_secrets_engine("pki", mount, config={"max_lease_ttl": "100h"})
    client.sys.enable_auth_method("approle", path="denied-role")
    client.auth.approle.create_or_update_approle("old", mount_point="denied-role")
    first, dummy = (
        client.write_data(
            "denied/issuers/generate/root/internal",
            data={"issuer_name": name, "common_name": "s.test", "key_type": "ec", "ttl": "90h"},
        )["data"]
        for name in ("standing", "standing-2")
    )
    yield {"id": first["issuer_id"], "key": first["key_id"]}
    client.sys.disable_auth_method("denied-role")
    for mount in ("denied", "denied-child"):
        client.sys.disable_secrets_engine(mount)


@pytest.mark.parametrize("default_policy", [True, False])
@pytest.mark.parametrize("case", DENIED)
def test_missing_capability_is_reported_with_the_rule_that_grants_it(run, standing, server, case, default_policy):
    """With the default policy a token can read its capabilities, so that check mode predicts the failure."""
    module, options, rules, (capability, path) = DENIED[case]
    rules = [line.replace("{id}", standing["id"]).replace("{key}", standing["key"]) for line in rules]
    path = path.format(**standing)
    given = "denied" if options.get("mount") else "unused"
    token = server.token_for(
        *(rules or rule(READ, f"{given}/unused")),
        *rule(READ, "denied-child/unused"),
        no_default_policy=not default_policy,
    )
    capabilities = '"create", "update"' if capability == "create" else f'"{capability}"'
    predicted = default_policy or capability in ("read", "list")
    names = [f"{capability} {path}", rule(capabilities, path)[0]]
    result = run.error(module, code="permission_denied", names=names, predicted=predicted, token=token, **options)
    assert ("left_behind" in result) == (case == "intermediate sign" and not predicted)
    if "left_behind" in result:  # the token may not roll back either
        (key_id,) = server.client.list("denied-child/keys")["data"]["keys"]
        assert result["left_behind"] == key_id and key_id in result["msg"]
