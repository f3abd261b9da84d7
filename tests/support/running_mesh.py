# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server without nodes shows of a mesh: an identity issuer, trust anchors and the identity controller."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from support.authority import DAY, make

CN = "identity.linkerd.cluster.local"
ISSUER, BUNDLE = "linkerd-identity-issuer", "linkerd-identity-trust-roots"


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def root(folder: Path, name: str) -> str:
    """The certificate of a root, with its key in `folder`.

    It begins yesterday: HashiCorp Vault signs no certificate that begins before that of its signer.
    """
    now = datetime.now(UTC)
    made = make(name, own_key=ec.generate_private_key(ec.SECP256R1()), start=now - DAY, end=now + 900 * DAY)
    (folder / f"{name}.key").write_bytes(made.key_pem)
    (folder / f"{name}.crt").write_text(made.pem)
    return made.pem


def issuer(folder: Path, name: str) -> tuple[str, str]:
    """An identity issuer below a root, and its key."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        "req", "-new", *curve, "-subj", f"/CN={CN}", "-keyout", folder / "issuer.key", "-out", folder / "issuer.csr"
    )
    (folder / "extensions").write_text("basicConstraints=critical,CA:TRUE\n")
    openssl(
        "x509", "-req", "-in", folder / "issuer.csr", "-CA", folder / f"{name}.crt", "-CAkey", folder / f"{name}.key",
        "-CAcreateserial", "-days", "2", "-extfile", folder / "extensions", "-out", folder / "issuer.crt",
    )  # fmt: skip
    return (folder / "issuer.crt").read_text(), (folder / "issuer.key").read_text()


def controller(name: str, container: str) -> dict[str, Any]:
    """A controller that others installed without Helm."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": container, "image": "x:v1.21.2"}]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template}}


@contextmanager
def running_mesh(kubernetes: Any, folder: Path, namespace: str) -> Iterator[str]:
    """A mesh with cert-manager's issuer below the root `live`; the value is the root's certificate."""
    kubernetes.namespace(namespace)
    live = root(folder, "live")
    certificate, key = issuer(folder, "live")
    core, deployments = f"/api/v1/namespaces/{namespace}", f"/apis/apps/v1/namespaces/{namespace}/deployments"
    bundle = {"name": BUNDLE, "labels": {"trust.cert-manager.io/bundle": BUNDLE}}
    secret = {"name": ISSUER, "annotations": {"cert-manager.io/certificate-name": ISSUER}}
    files = {"tls.crt": certificate, "tls.key": key, "ca.crt": live}
    data = {name: base64.b64encode(value.encode()).decode() for name, value in files.items()}
    kubernetes.call("POST", f"{core}/configmaps", {"metadata": bundle, "data": {"ca-bundle.crt": live}})
    kubernetes.call("POST", f"{core}/secrets", {"metadata": secret, "type": "kubernetes.io/tls", "data": data})
    kubernetes.call("POST", deployments, controller("linkerd-identity", "identity"))
    try:
        yield live
    finally:
        kubernetes.call("DELETE", f"{deployments}/linkerd-identity")
        kubernetes.call("DELETE", f"{core}/secrets/{ISSUER}")
        kubernetes.call("DELETE", f"{core}/configmaps/{BUNDLE}")
