# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules and filters in a Python that does not find cryptography name it in their error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
MODULES = {
    "linkerd_certificates_info": {},
    "linkerd_injected_anchors_info": {},
    "linkerd_issuer_renewal": {"name": "linkerd-identity-issuer"},
    "linkerd_upgrade_manifest": {},
    "linkerd_workloads_info": {"pods": []},
    "mesh_prerequisites_info": {},
    "service_account_issuer_info": {},
    "vault_pki_intermediate": {"mount": "pki", "issuer_name": "one", "common_name": "one", "ttl": "1h"},
    "vault_pki_issuer": {"mount": "pki", "issuer_name": "one"},
    "vault_pki_issuer_info": {"mount": "pki"},
    "vault_pki_root": {"mount": "pki", "issuer_name": "one", "common_name": "one", "ttl": "1h"},
}
# Expressions that use a filter or test of each plugin file.
EXPRESSIONS = {
    "filter/identity.py": ["'' | servicemesh.pki.identity_lifetime('48h', '25h')"],
    "filter/mesh.py": ["{} | servicemesh.pki.mesh_report({})"],
    "filter/preflight.py": ["{} | servicemesh.pki.preflight({}, 'cluster')"],
    "filter/rotation.py": ["{} | servicemesh.pki.rotation_plan({}, {'target': 'root'})"],
    "filter/x509.py": [
        "'pem' | servicemesh.pki.x509_certificates",
        "'pem' | servicemesh.pki.x509_chain('pem')",
        "'pem' | servicemesh.pki.x509_pem",
    ],
    "test/x509.py": ["'pem' is servicemesh.pki.issued_by('pem')", "'pem' is servicemesh.pki.trusted_by('pem')"],
}
RUN_MODULE = """
import json, runpy, sys
sys.path.append("..")  # as pytest does for a conftest.py
runpy.run_path("../conftest.py")
try:
    import kubernetes  # an old one uses google-auth, which imports cryptography
except ImportError:
    pass
sys.modules["cryptography"] = None  # import raises ImportError
from conftest import run_module
name, options = sys.argv[1], json.loads(sys.argv[2])
print(json.dumps(run_module(name, **options)))
"""
EVALUATE = """
import json, sys
sys.modules["cryptography"] = None  # import raises ImportError
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
init_plugin_loader([])
errors = {}
for expression in sys.argv[1:]:
    try:
        Templar(DataLoader()).template(trust_as_template("{{ " + expression + " }}"))
    except AnsibleError as exc:
        errors[expression] = str(exc)
print(json.dumps(errors))
"""


def run(program: str, *arguments: str, folder: str = "") -> str:
    """Run a program in another Python process and return its output."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", MODULES)
def test_module_names_missing_cryptography(name):
    options = MODULES[name]
    if name.startswith("vault_"):
        options = {"url": "http://127.0.0.1:1", "auth_method": "none"} | options
    result = json.loads(run(RUN_MODULE, name, json.dumps(options), folder="tests/unit"))
    assert (result["failed"], result.get("code")) == (True, "missing_library"), result
    assert "cryptography" in result["msg"]


def test_filters_and_tests_name_missing_cryptography():
    expressions = [one for some in EXPRESSIONS.values() for one in some]
    errors = json.loads(run(EVALUATE, *expressions))
    for expression in expressions:
        error = errors.get(expression, "")
        assert "Failed to import the required Python library (cryptography)" in error, expression
        assert "BaseException" not in error and "NoneType" not in error


def test_every_module_that_requires_cryptography_is_tested():
    found = {
        path.stem for path in (PLUGINS / "modules").glob("*.py") if "cryptography.require(module)" in path.read_text()
    }
    assert found == set(MODULES)


def test_every_filter_that_requires_cryptography_is_tested():
    files = [*(PLUGINS / "filter").glob("*.py"), *(PLUGINS / "test").glob("*.py")]
    found = {str(path.relative_to(PLUGINS)) for path in files if "require_cryptography" in path.read_text()}
    assert found == set(EXPRESSIONS)
