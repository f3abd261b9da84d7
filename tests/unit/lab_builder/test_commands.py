# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `lab up` tells others, and how the lab knows its own engine."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from lab import commands, contents, engine
from lab.__main__ import main
from lab.places import LabError, cache, only_one, run_folder

IMAGES = {"node": "n:1", "balancer": "b:1", "tools": "t:1", "vault": "v:1"}


@pytest.fixture
def told():
    return commands.environment("unix:///engine", IMAGES)


def test_env_has_what_the_inventory_reads(told):
    assert told["environment"] == {
        "DOCKER_HOST": "unix:///engine", "K3D_IMAGE_LOADBALANCER": "b:1", "K3D_IMAGE_TOOLS": "t:1",
    }  # fmt: skip
    assert (told["node_image"], told["vault_image"]) == ("n:1", "v:1")
    assert set(told["charts"]) == {"cert_manager", "trust_manager", "linkerd_crds", "linkerd_control_plane"}
    paths = [told["path_prefix"], told["gateway_api_crds"], *told["charts"].values()]
    assert all(path.startswith(str(cache())) for path in paths)
    assert json.loads(json.dumps(told)) == told


def test_linkerd_values_name_the_images_that_the_node_has(told):
    values, images = told["linkerd_values"], told["images"]
    assert values["controllerImage"] == images["controller"]["name"]
    assert values["policyController"]["image"]["name"] == images["policy_controller"]["name"]
    assert values["proxy"]["image"]["name"] == images["proxy"]["name"]
    assert values["proxyInit"]["image"] == {
        "name": images["proxy_init"]["name"], "version": images["proxy_init"]["tag"],
    }  # fmt: skip
    assert {images[name]["tag"] for name in ("controller", "policy_controller", "proxy")} == {told["linkerd_version"]}


def test_parts_come_after_what_they_need():
    seen = set()
    for part in contents.PARTS:
        assert {need.name for need in part.needs} <= seen, part.name
        seen.add(part.name)


def test_env_before_up_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lab", "env"])
    assert main() == 1
    assert "run `python -m lab up` first" in capsys.readouterr().err


def test_env_prints_exports(told, capsys, own_cache):
    own_cache.mkdir(parents=True)
    commands._write(commands.env_file(), told)
    commands.env()
    lines = capsys.readouterr().out.splitlines()
    assert "export DOCKER_HOST=unix:///engine" in lines
    assert lines[-1] == f"export PATH={told['path_prefix']}:$PATH"


def test_pid_file_that_names_somebody_else_is_not_ours(tmp_path, monkeypatch):
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


def test_build_without_root_says_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="as root"):
        commands.build()


def test_second_command_waits_for_the_first(capsys):
    order = []

    def second():
        with only_one():
            order.append("second")

    thread, printed, end = threading.Thread(target=second), "", time.monotonic() + 120
    with only_one():
        thread.start()
        while "another lab command is at work" not in printed and time.monotonic() < end:
            printed += capsys.readouterr().err
            time.sleep(0.02)
        order.append("first")
    thread.join(120)
    assert order == ["first", "second"]
    assert "another lab command is at work" in printed


def test_build_of_named_parts_takes_what_they_need_and_nothing_else():
    names = [part.name for part in commands.selected(["tools", "kubernetes"])]
    assert names == ["wheels", "kubernetes", "helm", "k3d", "linkerd", "tools"]


def test_build_without_names_leaves_out_the_optional_parts():
    assert commands.selected([]) == list(contents.PARTS)
    assert [part.name for part in commands.selected(["hashicorp-vault"])] == ["hashicorp-vault"]


def test_build_of_an_unknown_part_names_it_and_the_parts(capsys, monkeypatch, own_cache):
    monkeypatch.setattr("sys.argv", ["lab", "build", "kubernetes", "k8s"])
    assert main() == 1
    message = capsys.readouterr().err
    assert "k8s" in message and "containerd" in message
