# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret is in the output of ansible-playbook with -vvv, --diff and tracebacks, the process list or the disk."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from secrets_standin import SecretsStandIn

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "c0rrect-h0rse-battery"


def playbook(server, mount: str, login: str, kube: SecretsStandIn) -> list[dict]:
    def secret(name: str) -> str:
        return "{{ lookup('env', '" + name + "') }}"

    root = dict(mount=mount, issuer_name="r", common_name="r.test", ttl="10h")
    holder = dict(
        kubernetes=dict(host=kube.url, api_key=secret("KUBE_KEY")),
        secret_namespace="app",
        secret_name="vault-token",
        policies=["default"],
        ttl="10h",
    )
    user = dict(path=f"auth/{login}/users/u", data={"token_ttl": "1h"}, secret_data={"password": secret("PASSWORD")})
    approle = dict(auth_method="approle", mount_point=f"{login}-approle", role_id=secret("ROLE_ID"))
    tasks = [
        ("vault_engine", dict(path=mount, type="pki", max_lease_ttl="90d")),
        ("vault_engine", dict(path=login, kind="auth", type="userpass")),
        ("vault_resource", user),
        ("vault_resource", {**user, "data": {"token_ttl": "2h"}}),
        ("vault_pki_root", root),
        ("vault_pki_issuer", dict(mount=mount, issuer_name="r", usage=["crl-signing"])),
        ("vault_pki_issuer_info", dict(mount=mount)),
        ("vault_token_secret", holder),
        ("vault_token_secret", {**holder, "ttl": "20h"}),
        (
            "vault_engine",
            dict(path="x", type="pki", **approle, secret_id=secret("SECRET_ID")),
        ),  # has no permission, and fails
        ("vault_engine", dict(path="x", type="pki", auth_method="userpass", username="u", password=secret("PASSWORD"))),
        # requests shows the header that it refuses
        ("vault_engine", dict(path="x", type="pki", token=secret("FILE_FROM_WINDOWS"))),
        ("vault_token_secret", {**holder, "state": "absent"}),
        ("vault_pki_root", {**root, "common_name": "other"}),
    ]
    defaults = {"group/servicemesh.pki.vault": dict(url=server.url, token=secret("ROOT_TOKEN"))}
    steps = [
        {"name": name, f"servicemesh.pki.{name}": options, "ignore_errors": True, "register": "result"}
        for name, options in tasks
    ]
    python = {"ansible_python_interpreter": sys.executable}
    return [dict(hosts="localhost", gather_facts=False, vars=python, module_defaults=defaults, tasks=steps)]


class Watch(threading.Thread):
    """Collects the command lines of all processes with this mark in their environment."""

    def __init__(self, mark: str) -> None:
        super().__init__(daemon=True)
        self.mark, self.seen, self.stopped = f"SECRETS_TEST={mark}\0".encode(), set(), threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.002):
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    with contextlib.suppress(OSError):
                        command = Path(f"/proc/{entry}/cmdline").read_bytes()
                        if self.mark in Path(f"/proc/{entry}/environ").read_bytes():
                            self.seen.add(command.decode(errors="replace"))


@pytest.fixture
def kube():
    standin = SecretsStandIn("app")
    yield standin
    standin.stop()


def test_no_secret_is_shown_or_stored(server, path, kube, tmp_path):
    client, approle = server.client, f"{path}-approle"
    client.sys.enable_auth_method("approle", path=approle)
    client.auth.approle.create_or_update_approle("r", mount_point=approle)
    role_id = client.auth.approle.read_role_id("r", mount_point=approle)["data"]["role_id"]
    secret_id = client.auth.approle.generate_secret_id("r", mount_point=approle)["data"]["secret_id"]
    secrets = {
        "ROOT_TOKEN": server.token,
        "PASSWORD": PASSWORD,
        "ROLE_ID": role_id,
        "SECRET_ID": secret_id,
        "KUBE_KEY": "kube-bearer-token",
    }
    written = []
    answer = kube.answer

    def listening(method: str, where: list[str], body: dict | None, dry: bool) -> tuple[int, dict]:
        written.extend(base64.b64decode(value).decode() for value in ((body or {}).get("data") or {}).values())
        return answer(method, where, body, dry)

    kube.answer = listening
    book = tmp_path / "book.yml"
    book.write_text(yaml.safe_dump(playbook(server, path, f"{path}-login", kube)))
    (tmp_path / "tmp").mkdir()
    watch = Watch(str(tmp_path))
    watch.start()
    done = subprocess.run(
        ["ansible-playbook", "-vvv", "--diff", "-i", "localhost,", "-c", "local", str(book)],
        cwd=ROOT,
        env={
            **os.environ,
            **secrets,
            "FILE_FROM_WINDOWS": f"{server.token}\r",
            "SECRETS_TEST": str(tmp_path),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
            "ANSIBLE_LOG_PATH": str(tmp_path / "log"),
            "ANSIBLE_DISPLAY_TRACEBACK": "error",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    watch.stopped.set()
    watch.join()
    client.sys.disable_auth_method(approle)
    client.sys.disable_auth_method(f"{path}-login")
    assert "failed=0" in done.stdout, done.stdout[-3000:]
    assert "ignored=4" in done.stdout, done.stdout[-3000:]
    assert "contains a space or a line end" in done.stdout and ", in exchange" in done.stdout + done.stderr
    assert len(set(written)) == 2, "the token was not replaced"
    assert any("ansible-playbook" in line for line in watch.seen)
    left = "".join(file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file())
    places = {"output": done.stdout + done.stderr, "process list": "\n".join(watch.seen), "disk": left}
    for place, text in places.items():
        for name, secret in [*secrets.items(), *(("token in the Secret", token) for token in written)]:
            assert secret not in text, f"{name} is in the {place}"
            assert base64.b64encode(secret.encode()).decode() not in text, f"{name} in base64 is in the {place}"
        assert "PRIVATE KEY" not in text
