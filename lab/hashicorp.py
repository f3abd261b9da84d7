# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HashiCorp Vault from its source, an optional part for tests. `python -m lab build hashicorp-vault` builds it.

Its licence (BUSL-1.1) permits tests. Nothing else in the project contains or needs it. The build omits plugins that no
test uses, because the libraries of cloud providers take longer to build than everything else.
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
# The release uses a version of the sdk that is not available as a module. The available version has another argument in
# a function and is incompatible with transit, which no test uses. File: (pattern, replacement). Each must match once.
PATCHES = {
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

# The build tag `minimal` of Vault includes approle, cert, jwt, userpass, kv and pki. This adds two auth methods.
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
    """Build `vault` from a patched copy of the source, with the checksums of go.sum."""
    source = shop.folder / "source"
    # copyfile copies no permissions, because files in the module cache are read-only.
    shutil.copytree(module_folder(shop, "hashicorp-vault", "hashicorp-vault"), source, copy_function=shutil.copyfile)
    for folder in source.rglob("*/"):
        folder.chmod(0o755)
    for name, (pattern, replacement) in PATCHES.items():
        _patch(source / name, pattern, replacement)
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


def _patch(file: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, file.read_text())
    if count != 1:
        raise LabError(
            f"The pattern for {file.name} of HashiCorp Vault matches {count} times, expected once. Update PATCHES."
        )
    file.write_text(text)


HASHICORP_VAULT = Part(
    "hashicorp-vault",
    f"HashiCorp Vault {GO['hashicorp-vault']['version'][1:]}",
    program,
    (GO_MODULE / "go.mod", GO_MODULE / "go.sum", Path(__file__)),
)
