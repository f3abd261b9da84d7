# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule that a refusal names: who puts it into a policy is let through."""

from __future__ import annotations

import re

import pytest

RULE = re.compile(r'path "[^"]+" \{ capabilities = \[[^]]*\] \}')
ALL = '"create", "read", "update", "delete", "list"'
# module, options, what the token may do from the start, the rights that it is told of one after the other
TASKS = {
    "new login method": (
        "vault_engine",
        dict(path="{path}", kind="auth", type="approle"),
        [f'path "sys/auth/{{path}}" {{{{ capabilities = [{ALL}] }}}}'],
        ['"read", "sudo"'],
    ),
    "new login method, no right at all": (
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
def test_who_follows_the_advice_gets_through(run, server, path, clean, task):
    module, options, rules, rights = TASKS[task]
    options = {name: filled(value, path) for name, value in options.items()}
    rules = [filled(rule, path) for rule in rules] or [f'path "unused/{path}" {{ capabilities = ["read"] }}']
    for right in rights:
        message = run.error(module, token=server.token_for(*rules), **options)
        rules += RULE.findall(message)
        assert rules[-1].endswith(f"{{ capabilities = [{right}] }}"), message
    assert run.ok(module, token=server.token_for(*rules), **options)["changed"]


def test_check_mode_knows_of_sudo_for_another_path_than_the_one_it_read(run, server, path, clean):
    server.client.sys.enable_auth_method("approle", path=path)
    rules = [f'path "sys/auth/{path}" {{ capabilities = ["read", "sudo"] }}']
    rules += [f'path "sys/auth/{path}/tune" {{ capabilities = ["update"] }}']
    options = dict(path=path, kind="auth", type="approle", description="new")
    message = run.error("vault_engine", token=server.token_for(*rules), **options)
    assert message == (
        f"The token may not update sys/auth/{path}/tune. A policy for it needs: "
        f'path "sys/auth/{path}/tune" {{ capabilities = ["update", "sudo"] }}'
    )
    assert run.ok("vault_engine", token=server.token_for(*rules, *RULE.findall(message)), **options)["changed"]
