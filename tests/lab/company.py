# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster and a Vault that somebody else made: by hand, with docker, k3d and openssl; Vault has TLS."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from ssl import create_default_context
from typing import Any

from conftest import Mesh, Run, ansible_playbook

NAME, NETWORK, VAULT = "company", "company-network", "company-vault"
LISTENER = """
listener "tcp" {
  address = "0.0.0.0:8200"
  tls_cert_file = "/tmp/server.pem"
  tls_key_file = "/tmp/server.key"
}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Company(Mesh):
    """Its programs, its Vault and our playbooks with inventories/existing."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.port, self.token = folder, free_port(), "a-token-only-of-this-test"
        self.kubeconfig, self.ca = folder / "kubeconfig", folder / "ca.pem"
        self.env["KUBECONFIG"] = str(self.kubeconfig)
        self.address, self.runs = f"https://127.0.0.1:{self.port}", []

    def create(self) -> None:
        self.run("docker", "network", "create", NETWORK)
        self.make_certificates()
        self.run(
            "docker", "create", "--name", VAULT, "--network", NETWORK, "--publish", f"127.0.0.1:{self.port}:8200",
            "--cap-add", "IPC_LOCK", "--env", f"BAO_DEV_ROOT_TOKEN_ID={self.token}", self.told["vault_image"],
            "server", "-dev", "-dev-no-store-token", "-dev-listen-address=127.0.0.1:8210", "-config=/tmp/tls.hcl",
        )  # fmt: skip
        (self.folder / "tls.hcl").write_text(LISTENER)
        for file in ("server.pem", "server.key", "tls.hcl"):
            self.run("docker", "cp", str(self.folder / file), f"{VAULT}:/tmp/{file}")
        self.run("docker", "start", VAULT)
        self.run(
            "k3d", "cluster", "create", NAME, "--image", self.told["node_image"], "--network", NETWORK, "--no-lb",
            "--timeout", "120s", "--kubeconfig-update-default=false", "--kubeconfig-switch-context=false",
        )  # fmt: skip
        self.run("k3d", "kubeconfig", "write", NAME, "--output", str(self.kubeconfig))

    def make_certificates(self) -> None:
        def openssl(*words: str) -> None:
            self.run("openssl", *words)

        at = {
            name: str(self.folder / name)
            for name in ("ca.pem", "ca.key", "server.pem", "server.key", "server.csr", "san")
        }
        Path(at["san"]).write_text(f"subjectAltName=DNS:{VAULT},IP:127.0.0.1\n")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl(
            "req", "-x509", *key, "-keyout", at["ca.key"], "-out", at["ca.pem"], "-days", "2", "-subj", "/CN=Company CA"
        )
        openssl("req", *key, "-keyout", at["server.key"], "-out", at["server.csr"], "-subj", f"/CN={VAULT}")
        openssl(
            "x509", "-req", "-in", at["server.csr"], "-CA", at["ca.pem"], "-CAkey", at["ca.key"], "-CAcreateserial",
            "-days", "2", "-extfile", at["san"], "-out", at["server.pem"],
        )  # fmt: skip

    def remove(self) -> None:
        for command in (
            ["k3d", "cluster", "delete", NAME],
            ["docker", "rm", "--force", "--volumes", VAULT],
            ["docker", "network", "rm", NETWORK],
        ):
            self.run(*command, check=False)

    def variables(self) -> dict[str, Any]:
        """What a user of inventories/existing would write into it, and the lab's own charts."""
        told = self.told
        return {
            "pki_environment": {"PATH": self.env["PATH"]},
            "pki_kubernetes": {"kubeconfig": str(self.kubeconfig), "context": f"k3d-{NAME}"},
            "pki_vault_address": self.address,
            "pki_vault_server": f"https://{VAULT}:8200",
            "pki_vault_ca_file": str(self.ca),
            "vault_issuer_kubernetes_host": f"https://k3d-{NAME}-server-0:6443",
            "cert_manager_chart": told["charts"]["cert_manager"],
            "trust_manager_chart": told["charts"]["trust_manager"],
            "linkerd_chart_repository": "",
            "linkerd_chart_version": told["linkerd_version"],
            "linkerd_crds_chart": told["charts"]["linkerd_crds"],
            "linkerd_control_plane_chart": told["charts"]["linkerd_control_plane"],
            "linkerd_values": told["linkerd_values"],
            "linkerd_gateway_api_crds": told["gateway_api_crds"],
            "linkerd_check_expected_version": told["linkerd_version"],
        }

    def play(self, playbook: str, *arguments: str, variables: dict | None = None) -> Run:
        """At the highest verbosity that a user would choose; everything that was printed is kept."""
        (self.folder / "variables.json").write_text(json.dumps({**self.variables(), **(variables or {})}))
        env = {name: value for name, value in self.env.items() if name not in ("KUBECONFIG", *self.told["environment"])}
        env["VAULT_TOKEN"] = self.token
        given = ("-i", "inventories/existing", "-vvv", "-e", f"@{self.folder}/variables.json")
        self.runs.append(ansible_playbook(env, playbook, *given, *arguments))
        return self.runs[-1]

    def vault(self, method: str, path: str, data: dict | None = None, token: str | None = None) -> tuple[int, dict]:
        """Vault's own answer, over TLS that is verified."""
        headers = {"X-Vault-Token": token} if token else {}
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", body, headers, method=method)
        context = create_default_context(cafile=str(self.ca))
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read() or b"{}")

    def until(self, true: Any, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not so within {seconds} s"
            time.sleep(0.5)
