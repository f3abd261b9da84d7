# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real API server and etcd from the lab's build, without nodes and controllers."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ports import free_port

from lab import contents
from lab.parts import Part

TOKEN = "only-for-this-test"
UNVERIFIED = ssl._create_unverified_context()  # noqa: S323 - the server signs its own certificate


def built(part: Part, name: str) -> Path:
    """A program of the lab, in the version that lab/versions.toml names."""
    program = part.folder / name
    if not program.exists():
        pytest.skip(f"{part.title} is not in the lab's cache: make lab builds it")
    return program


class Kubernetes:
    """The API over plain HTTP, so that the tests do not use the code that they test."""

    def __init__(self, url: str, kubeconfig: Path) -> None:
        self.url, self.kubeconfig = url, kubeconfig
        self.token_key = ""  # the public key that verifies tokens of service accounts, by openssl
        self.issuer = "https://test"
        self.ca_file = kubeconfig.parent / "certs" / "apiserver.crt"  # the certificate that it makes, and its CA

    def call(self, method: str, path: str, body: dict | None = None, kind: str = "application/json") -> dict:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": kind},
        )
        with urllib.request.urlopen(request, context=UNVERIFIED, timeout=120) as answer:
            return json.loads(answer.read() or b"{}")

    def namespace(self, name: str) -> None:
        """Create a namespace, unless another test has: no controller deletes namespaces here."""
        try:
            self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        except urllib.error.HTTPError as refusal:
            if refusal.code != 409:
                raise

    def define(self, definition: dict) -> None:
        """Create a CustomResourceDefinition with one version, and wait until the server serves it."""
        self.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        spec = definition["spec"]
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        deadline = time.monotonic() + 300
        while True:
            try:
                self.call("GET", path)
                return
            except OSError:
                assert time.monotonic() < deadline, f"the API server does not serve {path}"
                time.sleep(0.1)

    def token(self, account: str, audience: str) -> str:
        """A token of a service account of the namespace default, which is created if it does not exist."""
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        with contextlib.suppress(urllib.error.HTTPError):
            self.call("POST", accounts, {"metadata": {"name": account}})
        request = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
        return self.call("POST", f"{accounts}/{account}/token", request)["status"]["token"]

    def status(self, path: str, status: dict) -> None:
        self.call("PATCH", f"{path}/status", {"status": status}, "application/merge-patch+json")


def start(folder: Path, *, own_issuer: bool = False) -> Iterator[Kubernetes]:
    """With `own_issuer` the issuer of tokens is the API server's own address, so that its discovery document works."""
    program = built(contents.KUBERNETES, "kubernetes")
    client, peer, secure = free_port(), free_port(), free_port()
    (folder / "tokens.csv").write_text(f"{TOKEN},tester,1,system:masters\n")
    subprocess.run(["openssl", "genrsa", "-out", folder / "sa.key", "2048"], check=True, capture_output=True)
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [
                    {
                        "name": "c",
                        "cluster": {"server": f"https://127.0.0.1:{secure}", "insecure-skip-tls-verify": True},
                    }
                ],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
                "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    commands = [
        [
            "etcd",
            f"--data-dir={folder}/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        ],
        [
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{client}",
            f"--secure-port={secure}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder}/certs",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.99.0.0/16",
            "--disable-admission-plugins=ServiceAccount",
            *token_issuer(secure, own_issuer),
            f"--service-account-key-file={folder}/sa.key",
            f"--service-account-signing-key-file={folder}/sa.key",
        ],
    ]
    processes = []
    with open(folder / "log", "wb") as log:
        for arguments in commands:
            command = [*arguments]
            processes.append(subprocess.Popen(command, executable=program, stdout=log, stderr=log))
        try:
            api = Kubernetes(f"https://127.0.0.1:{secure}", kubeconfig)
            public = ["openssl", "pkey", "-in", folder / "sa.key", "-pubout"]
            api.issuer = api.url if own_issuer else api.issuer
            api.token_key = subprocess.run(public, check=True, capture_output=True, text=True).stdout
            wait_until_up(api, processes, folder / "log")
            yield api
        finally:
            for process in processes:
                process.kill()  # its data is temporary
                process.wait(timeout=30)


def token_issuer(port: int, own: bool) -> list[str]:
    url = f"https://127.0.0.1:{port}"
    keys = f"--service-account-jwks-uri={url}/openid/v1/jwks"
    return [f"--service-account-issuer={url if own else 'https://test'}", *([keys] if own else [])]


def wait_until_up(api: Kubernetes, processes: list, log: Path) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            # Ready, with the default roles for every login. An administrator can read earlier.
            urllib.request.urlopen(f"{api.url}/readyz", context=UNVERIFIED, timeout=120).close()
            # Reads work before admission accepts writes.
            probe = {"metadata": {"name": "probe"}}
            api.call("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", probe)
            return
        except OSError:
            if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
                raise RuntimeError(f"the API server did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.2)
