# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster and a Vault with TLS that docker, k3d and openssl create, for runs with inventories/existing."""

from __future__ import annotations

import json
from pathlib import Path
from ssl import create_default_context

from lab.sandbox import ROOT
from support.lab import CREATION_TIMEOUT, http
from support.mesh import Mesh

LISTENER = """
listener "tcp" {
  address = "0.0.0.0:8200"
  tls_cert_file = "/tmp/server.pem"
  tls_key_file = "/tmp/server.key"
}
"""


class Company(Mesh):
    """A company with its own cluster and Vault, whose playbooks run with inventories/existing and -vvv."""

    name = "company"
    options = ("-vvv",)
    token = "token-of-the-tests-only"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.ca = home / "ca.pem"

    @property
    def inventory(self) -> Path:
        return ROOT / "inventories" / "existing"

    def write_inventory(self) -> None:
        """Do nothing: the inventory is part of the checkout."""

    @property
    def vault_url(self) -> str:
        return f"https://127.0.0.1:{self.names.vault_port}"

    @property
    def vault_server(self) -> str:
        """Address of Vault for pods."""
        return f"https://{self.names.vault}:8200"

    @property
    def playbook_env(self) -> dict[str, str]:
        return {**super().playbook_env, "VAULT_TOKEN": self.token}

    def create(self) -> None:
        """Create the network, the Vault and the cluster."""
        vault, network = self.names.vault, self.names.network
        self.run("docker", "network", "create", network)
        self.create_certificates()
        self.run(
            "docker", "create", "--name", vault, "--network", network, "--cap-add", "IPC_LOCK",
            "--publish", f"127.0.0.1:{self.names.vault_port}:8200",
            "--env", f"BAO_DEV_ROOT_TOKEN_ID={self.token}", self.parts["vault_image"],
            "server", "-dev", "-dev-no-store-token", "-dev-listen-address=127.0.0.1:8210", "-config=/tmp/tls.hcl",
        )  # fmt: skip
        (self.home / "tls.hcl").write_text(LISTENER)
        for file in ("server.pem", "server.key", "tls.hcl"):
            self.run("docker", "cp", str(self.home / file), f"{vault}:/tmp/{file}")
        self.run("docker", "start", vault)
        self.run(
            "k3d", "cluster", "create", self.cluster, "--image", self.parts["node_image"], "--network", network,
            "--no-lb", CREATION_TIMEOUT, "--kubeconfig-update-default=false", "--kubeconfig-switch-context=false",
        )  # fmt: skip
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        self.run("k3d", "kubeconfig", "write", self.cluster, "--output", str(self.kubeconfig))

    def create_certificates(self) -> None:
        """Create a CA and a server certificate for Vault with openssl."""
        paths = {
            name: str(self.home / name)
            for name in ("ca.pem", "ca.key", "server.pem", "server.key", "server.csr", "san")
        }
        Path(paths["san"]).write_text(f"subjectAltName=DNS:{self.names.vault},IP:127.0.0.1\n")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        for arguments in (
            ("req", "-x509", *key, "-keyout", paths["ca.key"], "-out", paths["ca.pem"], "-days", "2",
             "-subj", "/CN=Company"),
            ("req", *key, "-keyout", paths["server.key"], "-out", paths["server.csr"],
             "-subj", f"/CN={self.names.vault}"),
            ("x509", "-req", "-in", paths["server.csr"], "-CA", paths["ca.pem"], "-CAkey", paths["ca.key"],
             "-CAcreateserial", "-days", "2", "-extfile", paths["san"], "-out", paths["server.pem"]),
        ):  # fmt: skip
            self.run("openssl", *arguments)

    def extra_variables(self) -> dict:
        """The settings that a user adds to inventories/existing, and the charts of the lab."""
        parts = self.parts
        return {
            "pki_environment": {"PATH": self.env["PATH"]},
            "pki_kubernetes": {"kubeconfig": str(self.kubeconfig), "context": f"k3d-{self.cluster}"},
            "pki_vault_address": self.vault_url,
            "pki_vault_server": self.vault_server,
            "pki_vault_ca_file": str(self.ca),
            "vault_issuer_kubernetes_host": f"https://{self.server}:6443",
            "cert_manager_chart": parts["charts"]["cert_manager"],
            "trust_manager_chart": parts["charts"]["trust_manager"],
            "linkerd_chart_repository": "",
            "linkerd_chart_version": parts["linkerd_version"],
            "linkerd_crds_chart": parts["charts"]["linkerd_crds"],
            "linkerd_control_plane_chart": parts["charts"]["linkerd_control_plane"],
            "linkerd_values": parts["linkerd_values"],
            "linkerd_gateway_api_crds": parts["gateway_api_crds"],
            "linkerd_gateway_api_version": parts["versions"]["gateway-api"].removeprefix("v"),
        }

    def vault(self, method: str, path: str, data: dict | None = None, token: str = "") -> tuple[int, dict]:
        """Status and response of Vault over verified TLS."""
        context = create_default_context(cafile=str(self.ca))
        status, body = http(f"{self.vault_url}/v1/{path}", method, data, token, context=context)
        return status, json.loads(body or "{}")
