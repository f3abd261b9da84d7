# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the modules run, and the documentation matches the argument specs."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import server as vault_server
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import add_fragments

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("vault_*.py"))
NEEDS_KUBERNETES = {"vault_token_secret", "vault_approle_secret", "vault_jwt_config"}


def load(name: str):
    return importlib.import_module(f"ansible_collections.servicemesh.pki.plugins.modules.{name}")


@pytest.mark.parametrize("name", sorted(set(MODULES) - NEEDS_KUBERNETES))
def test_examples_succeed(name, tmp_path):
    own = vault_server.start()  # the examples use fixed names such as pki
    try:
        if name != "vault_engine":
            own.client.sys.enable_secrets_engine("pki", "pki", config={"max_lease_ttl": "2160h"})
        if name.endswith("_info"):
            own.client.write_data("pki/root/generate/internal", data={"common_name": "r.test", "issuer_name": "r"})
        tasks = yaml.safe_load(load(name).EXAMPLES)
        assert tasks
        python = {"ansible_python_interpreter": sys.executable}
        book = [dict(hosts="localhost", connection="local", gather_facts=False, vars=python, tasks=tasks)]
        (tmp_path / "book.yml").write_text(yaml.safe_dump(book, sort_keys=False))
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", str(tmp_path / "book.yml"), "--diff"],
            cwd=ROOT,
            env={**os.environ, "VAULT_ADDR": own.url, "VAULT_TOKEN": own.token},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"ok={len(tasks)} " in done.stdout
        assert "WARNING" not in done.stderr, done.stderr
    finally:
        own.stop()


@pytest.mark.parametrize("name", MODULES)
def test_documentation_matches_argument_spec(name):
    module = load(name)
    documented = yaml.safe_load(module.DOCUMENTATION)
    add_fragments(documented, str(ROOT / f"plugins/modules/{name}.py"), fragment_loader=fragment_loader, is_module=True)
    with mock.patch.object(module, "run") as run:
        module.main()
    options = {**vault_server.connection_options(), **run.call_args.args[1]}
    assert set(documented["options"]) == set(options)
    for option, spec in options.items():
        page = documented["options"][option]
        assert page.get("type", "str") == spec.get("type", "str"), option
        assert page.get("choices") == spec.get("choices") or set(page["choices"]) == set(spec["choices"]), option
        assert page.get("elements") == spec.get("elements"), option
        assert bool(page.get("required")) == bool(spec.get("required")), option
        default = spec.get("default")
        assert page.get("default") == default or (default == {} and page.get("default") in ({}, None)), option
