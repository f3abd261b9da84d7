# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules say where cryptography is not installed: a real Python that finds none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[2] / "plugins/modules"
NEEDING = {
    "linkerd_certificates_info": {},
    "linkerd_issuer_renewal": {"name": "linkerd-identity-issuer"},
    "service_account_issuer_info": {},
    "vault_pki_intermediate": {"mount": "pki", "issuer_name": "one", "common_name": "one", "ttl": "1h"},
    "vault_pki_issuer": {"mount": "pki", "issuer_name": "one"},
    "vault_pki_issuer_info": {"mount": "pki"},
    "vault_pki_root": {"mount": "pki", "issuer_name": "one", "common_name": "one", "ttl": "1h"},
}
WITHOUT = """
import json, runpy, sys
sys.path.append("..")  # as pytest does for a conftest.py
runpy.run_path("../conftest.py")
sys.modules["cryptography"] = None  # as if it were not there
from conftest import run_module
name, options = sys.argv[1], json.loads(sys.argv[2])
print(json.dumps(run_module(name, **options)))
"""


@pytest.mark.parametrize("name", NEEDING)
def test_a_missing_cryptography_is_said_before_anything_is_asked(name):
    options = NEEDING[name]
    if name.startswith("vault_"):
        options = {"url": "http://127.0.0.1:1", "auth_method": "none"} | options
    command = [sys.executable, "-c", WITHOUT, name, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["failed"] is True
    assert "cryptography" in told["msg"]


def test_every_module_that_uses_it_is_tried():
    using = {path.stem for path in MODULES.glob("*.py") if "cryptography.require(module)" in path.read_text()}
    assert using == set(NEEDING)
