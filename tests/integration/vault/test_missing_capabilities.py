# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy rule that a message about a missing capability contains: with it the module succeeds."""

from __future__ import annotations

import re

import pytest

RULE = re.compile(r'path "[^"]+" \{ capabilities = \[[^]]*\] \}')
ALL = '"create", "read", "update", "delete", "list"'
# module, options, rules of the token's policy, the missing capabilities in the order of the messages
TASKS = {
    "new auth method": (
        "vault_engine",
        dict(path="{path}", kind="auth", type="approle"),
        [f'path "sys/auth/{{path}}" {{{{ capabilities = [{ALL}] }}}}'],
        ['"read", "sudo"'],
    ),
    "new auth method, no capability at all": (
        "vault_engine",
        dict(path="{path}", kind="auth", type="approle"),
        [],
        ['"read", "sudo"', '"update", "sudo"'],
    ),
    "new secrets engine": ("vault_engine", dict(path="{path}", type="kv"), [], ['"read"', '"update"']),
    "sudo for reading alone": (
        "vault_resource",
        dict(path="sys/config/cors", data={"allowed_origins": "http://{path}.test"}),
        ['path "sys/config/cors" {{ capabilities = ["read", "sudo"] }}'],
        ['"update", "sudo"'],
    ),
}


@pytest.fixture
def clean(server, path):
    yield
    server.client.sys.disable_auth_method(path)
    server.client.delete("sys/config/cors")


def filled(value, path):
    return value.format(path=path) if isinstance(value, str) else value


@pytest.mark.parametrize("task", TASKS)
def test_rule_in_the_message_is_sufficient(run, server, path, clean, task):
    module, options, rules, granted = TASKS[task]
    options = {name: filled(value, path) for name, value in options.items()}
    rules = [filled(rule, path) for rule in rules] or [f'path "unused/{path}" {{ capabilities = ["read"] }}']
    for capabilities in granted:
        result = run.error(module, code="permission_denied", token=server.token_for(*rules), **options)
        rules += RULE.findall(result["msg"])
        assert rules[-1].endswith(f"{{ capabilities = [{capabilities}] }}"), result["msg"]
    assert run.ok(module, token=server.token_for(*rules), **options)["changed"]


def test_check_mode_predicts_missing_sudo_for_the_path_of_the_write(run, server, path, clean):
    server.client.sys.enable_auth_method("approle", path=path)
    rules = [f'path "sys/auth/{path}" {{ capabilities = ["read", "sudo"] }}']
    rules += [f'path "sys/auth/{path}/tune" {{ capabilities = ["update"] }}']
    options = dict(path=path, kind="auth", type="approle", description="new")
    missing = f'path "sys/auth/{path}/tune" {{ capabilities = ["update", "sudo"] }}'
    token = server.token_for(*rules)
    run.error("vault_engine", code="permission_denied", names=[missing], token=token, **options)
    assert run.ok("vault_engine", token=server.token_for(*rules, missing), **options)["changed"]
