# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of the lab, env.json, the lock, and the pid file of the engine."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from lab import commands, contents, engine
from lab.__main__ import main
from lab.places import LabError, cache, exclusive_lock, run_folder

IMAGES = {"node": "n:1", "balancer": "b:1", "tools": "t:1", "vault": "v:1"}


@pytest.fixture
def content():
    return commands.environment("unix:///engine", IMAGES)


def test_environment_has_settings_that_inventory_reads(content):
    assert content["environment"] == {
        "DOCKER_HOST": "unix:///engine", "K3D_IMAGE_LOADBALANCER": "b:1", "K3D_IMAGE_TOOLS": "t:1",
    }  # fmt: skip
    assert (content["node_image"], content["vault_image"]) == ("n:1", "v:1")
    assert set(content["charts"]) == {"cert_manager", "trust_manager", "linkerd_crds", "linkerd_control_plane"}
    paths = [content["path_prefix"], content["gateway_api_crds"], *content["charts"].values()]
    assert all(path.startswith(str(cache())) for path in paths)
    assert json.loads(json.dumps(content)) == content


def test_linkerd_values_name_images_of_lab(content):
    values, images = content["linkerd_values"], content["images"]
    assert values["controllerImage"] == images["controller"]["name"]
    assert values["policyController"]["image"]["name"] == images["policy_controller"]["name"]
    assert values["proxy"]["image"]["name"] == images["proxy"]["name"]
    assert values["proxyInit"]["image"] == {
        "name": images["proxy_init"]["name"], "version": images["proxy_init"]["tag"],
    }  # fmt: skip
    assert {images[name]["tag"] for name in ("controller", "policy_controller", "proxy")} == {
        content["linkerd_version"]
    }


def test_parts_follow_their_dependencies():
    seen = set()
    for part in contents.PARTS:
        assert {need.name for need in part.needs} <= seen, part.name
        seen.add(part.name)


def test_env_before_up_fails(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lab", "env"])
    assert main() == 1
    assert "python -m lab up" in capsys.readouterr().err


def test_env_prints_exports(content, capsys, own_cache):
    own_cache.mkdir(parents=True)
    commands._write(commands.env_file(), content)
    commands.env()
    lines = capsys.readouterr().out.splitlines()
    assert "export DOCKER_HOST=unix:///engine" in lines
    assert lines[-1] == f"export PATH={content['path_prefix']}:$PATH"


def test_pid_file_with_pid_of_other_process_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "run_folder", lambda: tmp_path)
    assert engine._own_pid() is None
    (tmp_path / "docker.pid").write_text(str(os.getpid()))
    assert engine._own_pid() is None
    assert engine.stop() is False


def test_socket_path_is_short_and_differs_by_cache(monkeypatch):
    first = run_folder()
    monkeypatch.setenv("SERVICEMESH_PKI_CACHE", "/" + "long/" * 50)
    assert run_folder() != first
    assert len(engine.own_address()) < 100


def test_build_requires_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="root"):
        commands.build()


def test_second_command_waits_for_the_first(capsys):
    order = []

    def second():
        with exclusive_lock("test.lock"):
            order.append("second")

    thread, printed, end = threading.Thread(target=second), "", time.monotonic() + 120
    with exclusive_lock("test.lock"):
        thread.start()
        while "test.lock" not in printed and time.monotonic() < end:
            printed += capsys.readouterr().err
            time.sleep(0.02)
        order.append("first")
    thread.join(120)
    assert order == ["first", "second"]
    assert "test.lock" in printed


def test_locks_with_other_names_are_independent():
    with exclusive_lock("one.lock"), exclusive_lock("other.lock"):
        pass


def test_build_selects_named_parts_and_their_dependencies():
    names = [part.name for part in commands.select_parts(["tools", "kubernetes"])]
    assert names == ["wheels", "kubernetes", "helm", "k3d", "linkerd", "tools"]


def test_build_without_names_excludes_optional_parts():
    assert commands.select_parts([]) == list(contents.PARTS)
    assert [part.name for part in commands.select_parts(["hashicorp-vault"])] == ["hashicorp-vault"]


def test_build_rejects_unknown_part(capsys, monkeypatch, own_cache):
    monkeypatch.setattr("sys.argv", ["lab", "build", "kubernetes", "k8s"])
    assert main() == 1
    message = capsys.readouterr().err
    assert "k8s" in message and "containerd" in message
