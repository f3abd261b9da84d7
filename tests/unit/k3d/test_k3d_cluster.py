# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module k3d_cluster with a stand-in for k3d. The real k3d runs in tests/end_to_end."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from ansible_collections.servicemesh.pki.plugins.modules import k3d_cluster

CONFIG = {
    "network": "pki-network",
    "options": {"k3s": {"extraArgs": [{"arg": "--disable=traefik", "nodeFilters": ["server:*"]}]}},
}
DOCKER_ADVICE = "Check that Docker is running."
# Output of k3d 5. It is coloured on a terminal.
NO_DOCKER = (
    "FATA[0000] runtime failed to list nodes: docker failed to get containers with labels 'map[app:k3d]': failed to "
    "list containers: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
)
NOT_CREATED = """\x1b[36mINFO\x1b[0m[0000] Prep: Network
\x1b[31mERRO\x1b[0m[0000] Failed Cluster Preparation: Failed Network Preparation: no address pool is left
\x1b[31mERRO\x1b[0m[0000] Failed to create cluster >>> Rolling Back
\x1b[36mINFO\x1b[0m[0000] Deleting cluster 'c'
\x1b[31mERRO\x1b[0m[0000] failed to get cluster: No nodes found for given cluster
\x1b[31mFATA\x1b[0m[0000] Cluster creation FAILED, all changes have been rolled back!
"""
NOT_PERMITTED = (
    "FATA[0000] runtime failed to list nodes: docker failed to get containers: permission denied while trying to "
    "connect to the Docker daemon socket at unix:///var/run/docker.sock: connect: permission denied\n"
)


@pytest.fixture
def k3d(make_standin):
    return make_standin("k3d", Path(__file__).with_name("standin_k3d.py"))


def changes(k3d):
    """The calls of k3d that change something."""
    return [call[:2] for call in k3d.calls() if call[:2] not in (["cluster", "list"], ["kubeconfig", "get"])]


def test_cluster_is_created_once(k3d, ok):
    predicted = ok("k3d_cluster", name="c", config=CONFIG, check=True)
    assert predicted["changed"]
    assert predicted["cluster"] == {}
    assert changes(k3d) == []
    done = ok("k3d_cluster", name="c", config=CONFIG)
    assert done["changed"]
    assert done["cluster"] == {
        "name": "c", "servers": 1, "agents": 0, "loadbalancer": True, "network": "pki-network", "ports": [],
        "running": True,
    }  # fmt: skip
    assert done["context"] == "k3d-c"
    assert done["diff"]["before"] == {} == predicted["diff"]["before"]
    assert done["diff"]["after"] == done["cluster"]
    known = {name: value for name, value in done["cluster"].items() if name != "loadbalancer"}
    assert predicted["diff"]["after"] == known
    for check in (False, True):
        again = ok("k3d_cluster", name="c", config=CONFIG, check=check)
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"]
    assert changes(k3d) == [["cluster", "create"]]


def test_config_for_k3d(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG, timeout=7)
    config = json.loads((k3d.folder / "config").read_text())
    assert (config["apiVersion"], config["kind"], config["metadata"]) == ("k3d.io/v1alpha5", "Simple", {"name": "c"})
    assert config["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": False}
    assert config["options"]["k3s"] == CONFIG["options"]["k3s"]
    create = next(call for call in k3d.calls() if call[:2] == ["cluster", "create"])
    assert create[-2:] == ["--wait", "--timeout=7s"]


def test_cluster_is_deleted_once(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG)
    ok("k3d_cluster", name="other")
    predicted = ok("k3d_cluster", name="c", state="absent", check=True)
    assert (predicted["changed"], predicted["cluster"]["name"], predicted["diff"]["after"]) == (True, "c", {})
    assert changes(k3d) == [["cluster", "create"]] * 2
    done = ok("k3d_cluster", name="c", state="absent")
    assert done["changed"]
    assert (done["cluster"], done["diff"]["after"]) == ({}, {})
    assert not ok("k3d_cluster", name="c", state="absent")["changed"]
    assert not ok("k3d_cluster", name="c", state="absent", check=True)["changed"]
    assert [cluster["name"] for cluster in json.loads((k3d.folder / "clusters").read_text())] == ["other"]


def test_stopped_cluster_is_started(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG)
    clusters = json.loads((k3d.folder / "clusters").read_text())
    for node in clusters[0]["nodes"]:
        node["State"] = {"Running": False, "Status": "exited"}
    k3d.write("clusters", json.dumps(clusters))
    predicted = ok("k3d_cluster", name="c", config=CONFIG, check=True)
    assert (predicted["changed"], predicted["diff"]["before"]["running"]) == (True, False)
    assert ok("k3d_cluster", name="c", config=CONFIG)["cluster"]["running"]
    assert changes(k3d) == [["cluster", "create"], ["cluster", "start"]]


def test_incomplete_cluster_is_recreated(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG)
    clusters = json.loads((k3d.folder / "clusters").read_text())
    clusters[0]["nodes"][-1]["State"] = {"Running": False, "Status": "created"}
    k3d.write("clusters", json.dumps(clusters))
    assert ok("k3d_cluster", name="c", config=CONFIG)["cluster"]["running"]
    assert changes(k3d) == [["cluster", "create"], ["cluster", "delete"], ["cluster", "create"]]


def test_cluster_that_does_not_match_is_an_error(k3d, ok, result_of):
    ok("k3d_cluster", name="c", config=CONFIG)
    result = result_of("k3d_cluster", name="c", config={**CONFIG, "agents": 2, "network": "other"})
    assert result["code"] == "cluster_mismatch"
    assert result["differences"] == {
        "agents": {"expected": 2, "found": 0},
        "network": {"expected": "other", "found": "pki-network"},
    }
    assert all(part in result["msg"] for part in ("Cluster c", "agents", "network", "recreate"))
    assert changes(k3d) == [["cluster", "create"]]


def test_cluster_that_does_not_match_is_recreated_on_request(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG)
    predicted = ok("k3d_cluster", name="c", config={**CONFIG, "agents": 1}, recreate=True, check=True)
    assert predicted["differences"] == {"agents": {"expected": 1, "found": 0}}
    assert changes(k3d) == [["cluster", "create"]]
    done = ok("k3d_cluster", name="c", config={**CONFIG, "agents": 1}, recreate=True)
    assert (done["changed"], done["cluster"]["agents"]) == (True, 1)
    assert changes(k3d) == [["cluster", "create"], ["cluster", "delete"], ["cluster", "create"]]
    assert not ok("k3d_cluster", name="c", config={**CONFIG, "agents": 1}, recreate=True)["changed"]


def test_image_is_compared_with_docker(k3d, ok, result_of, only_standins):
    docker = only_standins / "bin" / "docker"
    docker.write_text("#!/bin/sh\n# Stands in for Docker's client.\necho /k3d-c-server-0 k3s:1\n")
    docker.chmod(0o755)
    ok("k3d_cluster", name="c", config={"image": "k3s:1"})
    assert not ok("k3d_cluster", name="c", config={"image": "k3s:1"})["changed"]
    result = result_of("k3d_cluster", name="c", config={"image": "k3s:2"})
    assert result["differences"] == {"image": {"expected": "k3s:2", "found": "k3s:1"}}


def test_port_in_use_is_an_error_with_its_owner(k3d, result_of):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        for check in (True, False):
            result = result_of("k3d_cluster", name="c", config={"ports": [{"port": f"{port}:80"}]}, check=check)
            assert result["code"] == "port_in_use"
            assert [entry["port"] for entry in result["ports_in_use"]] == [port]
            assert "Cluster c" in result["msg"] and f"(pid {os.getpid()})" in result["msg"]
    assert changes(k3d) == []


def test_udp_port_is_free_beside_tcp_listener(k3d, ok):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert ok("k3d_cluster", name="c", config={"ports": [{"port": f"{port}:53/udp"}]})["changed"]


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"ports": ["8080:80"]}, "8080:80"),
        ({"ports": {"port": "8080:80"}}, "ports"),
        ({"ports": "8080:80"}, "ports"),
        ({"ports": [{"port": 1342}]}, "1342"),  # 22:22 in YAML
        ({"ports": [{"nodeFilters": ["loadbalancer"]}]}, "loadbalancer"),
        ({"ports": [{"port": "80:80", "nodeFilters": "loadbalancer"}]}, "80:80"),
        ({"options": "k3s"}, "options"),
        ({"options": {"k3s": ["x"]}}, "options.k3s"),
        ({"options": {"k3s": {"extraArgs": ["--disable=traefik"]}}}, "--disable=traefik"),
        ({"servers": "one"}, "servers"),
        ({"agents": None}, "agents"),
        ({"image": ["x"]}, "image"),
        ({"network": {"name": "x"}}, "network"),
        *(
            ({"ports": [{"port": port}]}, port)
            for port in ("70000:80", "8080:http", "", "80:", "8080:80/icmp", "1-3:1-2", "3-1:3-1", "-1:80", "\u00b2:80")
        ),
    ],
)
def test_invalid_config_is_an_error(k3d, result_of, config, what):
    result = result_of("k3d_cluster", name="c", config=config)
    assert result["failed"] and result["code"] == "invalid_config"
    assert what in result["what"] and what in result["msg"]
    assert changes(k3d) == []


def test_protocol_is_case_insensitive(k3d, ok, result_of):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        port = f"{probe.getsockname()[1]}:53/UDP"
    config = {"ports": [{"port": port, "nodeFilters": ["loadbalancer"]}]}
    assert ok("k3d_cluster", name="c", config=config)["changed"]
    assert ok("k3d_cluster", name="c", config={"ports": [{"port": port.lower()}]})["changed"] is False
    assert ok("k3d_cluster", name="c", config=config)["changed"] is False


@pytest.mark.parametrize(
    "clusters",
    ["null", "{", "[1]", '[{"name": "c"}]', '[{"name": "c", "nodes": [{"role": "server", "name": "x", "Cmd": 7}]}]'],
)
def test_unreadable_output_is_an_error(k3d, result_of, clusters):
    k3d.write("printed", clusters)
    result = result_of("k3d_cluster", name="c")
    assert result["failed"] and result["code"] == "unreadable_output"
    assert "cluster c" in result["msg"]


def test_missing_k3d(only_standins, result_of):
    result = result_of("k3d_cluster", name="c")
    assert result["code"] == "k3d_missing" and "k3d_path" in result["msg"]


def test_docker_not_running(k3d, result_of):
    k3d.write("fail", NO_DOCKER)
    result = result_of("k3d_cluster", name="c")
    assert result["code"] == "k3d_failed" and "cluster c" in result["msg"] and "failed to list nodes" in result["msg"]
    assert result["msg"].endswith(DOCKER_ADVICE)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (NOT_CREATED, "Failed Cluster Preparation: Failed Network Preparation: no address pool is left"),
        ("INFO[0000] Prep: Network\nFATA[0001] flag needs an argument: an Error\n", "flag needs an argument: an Error"),
        ("\nflag needs an argument\n", "flag needs an argument"),
        (
            "FATA[0000] failed: Is the docker daemon running?",
            f"failed: Is the docker daemon running? {DOCKER_ADVICE}",
        ),
        ("FATA[0000] failed at /run/docker.sock", f"failed at /run/docker.sock {DOCKER_ADVICE}"),
        ("", "it printed no error"),
    ],
)
def test_failure_reason_is_first_error(printed, shown):
    assert k3d_cluster.failure_reason(printed) == shown


def test_docker_not_permitted(k3d, result_of):
    k3d.write("fail", NOT_PERMITTED)
    result = result_of("k3d_cluster", name="c")
    assert result["code"] == "k3d_failed" and "cluster c" in result["msg"]
    assert "group docker" in result["msg"]


def test_kubeconfig_has_mode_0600(k3d, ok, tmp_path):
    path = tmp_path / "new" / "kubeconfig"
    ok("k3d_cluster", name="c", kubeconfig=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_kubeconfig_is_written_and_deleted_with_cluster(k3d, ok, tmp_path):
    path = tmp_path / "new" / "kubeconfig"
    ok("k3d_cluster", name="c", kubeconfig=str(path))
    assert "ca-of-c" in path.read_text()
    assert not ok("k3d_cluster", name="c", kubeconfig=str(path))["changed"]
    path.write_text("of a former cluster")
    assert ok("k3d_cluster", name="c", kubeconfig=str(path), check=True)["changed"]
    assert path.read_text() == "of a former cluster"
    assert ok("k3d_cluster", name="c", kubeconfig=str(path))["changed"]
    assert "ca-of-c" in path.read_text()
    ok("k3d_cluster", name="c", kubeconfig=str(path), state="absent")
    assert not path.exists()


def test_kubeconfig_that_k3d_itself_deletes(k3d, ok, tmp_path):
    path = tmp_path / ".config" / "k3d" / "kubeconfig-c.yaml"  # the default of the role
    ok("k3d_cluster", name="c", kubeconfig=str(path))
    assert ok("k3d_cluster", name="c", kubeconfig=str(path), state="absent")["changed"]
    assert not path.exists()


def test_default_kubeconfig_is_changed_on_request_only(k3d, ok):
    ok("k3d_cluster", name="c")
    assert ["kubeconfig", "merge"] not in changes(k3d)
    assert ok("k3d_cluster", name="c", merge_kubeconfig=True)["changed"]
    merge = next(call for call in k3d.calls() if call[:2] == ["kubeconfig", "merge"])
    assert merge[2:] == ["c", "--kubeconfig-merge-default", "--kubeconfig-switch-context=false"]
    home = Path(os.environ["HOME"]) / ".kube" / "config"
    home.parent.mkdir()
    home.write_text("certificate-authority-data: ca-of-c\ncurrent-context: mine\n")
    assert not ok("k3d_cluster", name="c", merge_kubeconfig=True)["changed"]
    assert ok("k3d_cluster", name="c", merge_kubeconfig=True, switch_context=True)["changed"]
