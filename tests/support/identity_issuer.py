# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity issuer that cert-manager gets from Vault, as a user reads, verifies and renews it."""

from __future__ import annotations

import base64

from support.lab import until
from support.mesh import Mesh


def secret(mesh: Mesh, name: str, key: str, namespace: str = "linkerd") -> str:
    return base64.b64decode(mesh.data("secret", name, key, namespace)).decode()


def reissue(mesh: Mesh) -> str:
    """The identity issuer that cert-manager requests after its Secret was deleted."""
    before = secret(mesh, "linkerd-identity-issuer", "tls.crt")
    mesh.kubectl("delete", "secret", "linkerd-identity-issuer", "-n", "linkerd")

    def another() -> str:
        now = secret(mesh, "linkerd-identity-issuer", "tls.crt")
        return now if now != before else ""

    return until(another)


def openssl_verifies(mesh: Mesh, issuer: str, root_number: int = 1) -> bool:
    """Whether openssl verifies the issuer with the root that Vault returns."""
    root = mesh.vault("GET", f"pki/issuer/linkerd-root-{root_number}/json")[1]["data"]["certificate"]
    (mesh.home / "root.pem").write_text(root)
    (mesh.home / "issuer.pem").write_text(issuer)
    return "OK" in mesh.run("openssl", "verify", "-CAfile", f"{mesh.home}/root.pem", f"{mesh.home}/issuer.pem")


def login_token(mesh: Mesh, method: str = "jwt") -> str:
    """Log in with a token of the service account, as cert-manager does, and return the token of Vault."""
    made = mesh.kubectl(
        "create", "token", "vault-issuer", "-n", "linkerd", "--audience", "vault://linkerd/vault"
    ).strip()
    data = {"jwt": made, "role": "linkerd-identity-issuer-production"}
    status, answer = mesh.vault("POST", f"auth/{method}-production/login", data)
    assert status == 200, answer
    return answer["auth"]["client_token"]
