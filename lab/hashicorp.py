# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HashiCorp Vault from its source: an optional part, for tests only, built by `python -m lab build hashicorp-vault`.

Its licence (BUSL-1.1) permits tests; nothing else of the project contains or needs it. The build leaves out the
plugins that no test uses, because the cloud providers' libraries take longer than everything else.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from lab.parts import Part, Workshop
from lab.places import SOURCES, LabError
from lab.recipes import GO, go_env, module_folder

MODULE = GO["hashicorp-vault"]["module"]
GO_MODULE = SOURCES / "go" / "hashicorp-vault"
# The release uses a copy of the sdk that is not served as a module. The sdk that is has one more argument in a
# function, and does not fit transit, which no test needs. File: (pattern, replacement); each must match once.
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

# Vault's build tag `minimal` has approle, cert, jwt, userpass, kv and pki. This adds two auth methods.
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


def program(shop: Workshop) -> None:
    """Build `vault` from a changed copy of the module's source, with the checksums of go.sum."""
    source = shop.folder / "source"
    # Only the content of the files: in the module cache they are read-only.
    shutil.copytree(module_folder(shop, "hashicorp-vault", "hashicorp-vault"), source, copy_function=shutil.copyfile)
    for folder in source.rglob("*/"):
        folder.chmod(0o755)
    for name, (pattern, replacement) in CHANGES.items():
        _change(source / name, pattern, replacement)
    (source / "helper/builtinplugins/registry_min.go").write_text(PLUGINS)
    for file in ("go.mod", "go.sum"):
        shutil.copy(GO_MODULE / file, shop.folder / file)
    shop.run("go", "mod", "edit", "-replace", f"{MODULE}={source}", "go.mod", cwd=shop.folder)
    shop.run(
        "go", "build", f"-modfile={shop.folder / 'go.mod'}", "-tags=minimal", "-ldflags=-s -w",
        "-o", shop.folder / "vault", MODULE, cwd=GO_MODULE, env=go_env(),
    )  # fmt: skip
    shutil.rmtree(source)
    for file in ("go.mod", "go.sum"):
        (shop.folder / file).unlink()


def _change(file: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, file.read_text())
    if count != 1:
        raise LabError(f"{file.name} of HashiCorp Vault has {count} places to change where one was expected")
    file.write_text(text)


HASHICORP_VAULT = Part(
    "hashicorp-vault",
    f"HashiCorp Vault {GO['hashicorp-vault']['version'][1:]}",
    program,
    (GO_MODULE / "go.mod", GO_MODULE / "go.sum", Path(__file__)),
)
