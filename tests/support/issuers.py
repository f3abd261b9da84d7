# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A root CA made by openssl, and a stand-in for an external issuer of cert-manager that signs with it."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator

from support.custom_resources import custom_resource
from support.mesh import Mesh

GROUP = "issuers.standin.example"
IDENTITY = "identity.linkerd.cluster.local"
EXTENSIONS = f"""basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectAltName=DNS:{IDENTITY}
"""


class RootCA:
    """A root outside of Vault, in files of the sandbox."""

    def __init__(self, mesh: Mesh, name: str) -> None:
        self.mesh, self.folder = mesh, mesh.home
        self.certificate_file, self.key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        mesh.run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "90", "-keyout", str(self.key_file), "-out", str(self.certificate_file), "-subj", f"/CN={name}",
        )  # fmt: skip

    @property
    def pem(self) -> str:
        return self.certificate_file.read_text()

    def sign(self, request: str) -> str:
        """An identity issuer for the request, valid for two days."""
        (self.folder / "extensions").write_text(EXTENSIONS)
        command = ["openssl", "x509", "-req", "-CA", str(self.certificate_file), "-CAkey", str(self.key_file)]
        return self.mesh.run(
            *command, "-CAcreateserial", "-days", "2", "-extfile", f"{self.folder}/extensions", given=request
        )

    def issued(self, certificate: str) -> bool:
        (self.folder / "issued.pem").write_text(certificate)
        return "OK" in self.mesh.run(
            "openssl", "verify", "-CAfile", str(self.certificate_file), f"{self.folder}/issued.pem", check=False
        )


class StandInIssuer:
    """Approves and signs the CertificateRequests of its group, as the controller of an external issuer does."""

    def __init__(self, mesh: Mesh, root: RootCA) -> None:
        self.mesh, self.root, self.stopped = mesh, root, threading.Event()
        self.signed: list[str] = []
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.stopped.wait(1):
            try:
                for request in self.mesh.get("certificaterequests.cert-manager.io", "-A")["items"]:
                    # A request that nothing has handled yet has no status.
                    is_signed = "certificate" in request.get("status", {})
                    if request["spec"]["issuerRef"].get("group") == GROUP and not is_signed:
                        self.answer(request)
            except Exception as exc:  # tried again: cert-manager may have changed the request
                self.errors.append(repr(exc))

    def answer(self, request: dict) -> None:
        meta = request["metadata"]
        certificate = self.root.sign(base64.b64decode(request["spec"]["request"]).decode())
        approved = [condition("Approved", "cert-manager.io"), condition("Ready", "Issued")]
        self.patch(meta, {"conditions": approved[:1]})
        encoded = {"certificate": certificate, "ca": self.root.pem}
        self.patch(
            meta,
            {"conditions": approved, **{key: base64.b64encode(pem.encode()).decode() for key, pem in encoded.items()}},
        )
        self.signed.append(meta["name"])

    def patch(self, meta: dict, status: dict) -> None:
        name, namespace = meta["name"], f"--namespace={meta['namespace']}"
        change = ("--subresource=status", "--type=merge", f"--patch={json.dumps({'status': status})}")
        self.mesh.kubectl("patch", "certificaterequests.cert-manager.io", name, namespace, *change)


def condition(kind: str, reason: str) -> dict:
    time = "2026-01-01T00:00:00Z"
    return {"type": kind, "status": "True", "reason": reason, "message": "by the stand-in", "lastTransitionTime": time}


@contextlib.contextmanager
def standin_issuer(mesh: Mesh, root: RootCA) -> Iterator[StandInIssuer]:
    # cert-manager refuses the approval of a request whose issuer has no such kind.
    mesh.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(custom_resource("StandInIssuer", GROUP)))
    issuer = StandInIssuer(mesh, root)
    thread = threading.Thread(target=issuer.run, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.stopped.set()
        thread.join(60)


def ca_issuer(mesh: Mesh, root: RootCA, name: str) -> None:
    """cert-manager's own CA issuer, which signs with the key of the root."""
    mesh.kubectl("create", "secret", "tls", name, "--namespace=linkerd", f"--cert={root.certificate_file}",
                 f"--key={root.key_file}")  # fmt: skip
    definition = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Issuer",
        "metadata": {"name": name, "namespace": "linkerd"},
        "spec": {"ca": {"secretName": name}},
    }
    mesh.kubectl("apply", "-f", "-", given=json.dumps(definition))


__all__ = ["GROUP", "RootCA", "ca_issuer", "standin_issuer"]
