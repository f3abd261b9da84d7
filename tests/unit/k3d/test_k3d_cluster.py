# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module k3d_cluster with a stand-in for k3d; tests/end_to_end and the whole flow use the real one."""

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
# As k3d 5 prints them, to a terminal in colours.
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
    """What was asked of k3d beside reading."""
    return [call[:2] for call in k3d.calls() if call[:2] not in (["cluster", "list"], ["kubeconfig", "get"])]


def test_a_cluster_four_ways(k3d, ok):
    foretold = ok("k3d_cluster", name="c", config=CONFIG, check=True)
    assert foretold["changed"]
    assert foretold["cluster"] == {}
    assert changes(k3d) == []
    done = ok("k3d_cluster", name="c", config=CONFIG)
    assert done["changed"]
    assert done["cluster"] == {
        "name": "c", "servers": 1, "agents": 0, "loadbalancer": True, "network": "pki-network", "ports": [],
        "running": True,
    }  # fmt: skip
    assert done["context"] == "k3d-c"
    assert done["diff"]["before"] == {} == foretold["diff"]["before"]
    assert done["diff"]["after"] == done["cluster"]
    known = {name: value for name, value in done["cluster"].items() if name != "loadbalancer"}
    assert foretold["diff"]["after"] == known
    for check in (False, True):
        again = ok("k3d_cluster", name="c", config=CONFIG, check=check)
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"]
    assert changes(k3d) == [["cluster", "create"]]


def test_the_config_that_k3d_gets(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG, timeout=7)
    config = json.loads((k3d.folder / "config").read_text())
    assert (config["apiVersion"], config["kind"], config["metadata"]) == ("k3d.io/v1alpha5", "Simple", {"name": "c"})
    assert config["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": False}
    assert config["options"]["k3s"] == CONFIG["options"]["k3s"]
    create = next(call for call in k3d.calls() if call[:2] == ["cluster", "create"])
    assert create[-2:] == ["--wait", "--timeout=7s"]


def test_absent_four_ways(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG)
    ok("k3d_cluster", name="other")
    foretold = ok("k3d_cluster", name="c", state="absent", check=True)
    assert (foretold["changed"], foretold["cluster"]["name"], foretold["diff"]["after"]) == (True, "c", {})
    assert changes(k3d) == [["cluster", "create"]] * 2
    done = ok("k3d_cluster", name="c", state="absent")
    assert done["changed"]
    assert (done["cluster"], done["diff"]["after"]) == ({}, {})
    assert not ok("k3d_cluster", name="c", state="absent")["changed"]
    assert not ok("k3d_cluster", name="c", state="absent", check=True)["changed"]
    assert [cluster["name"] for cluster in json.loads((k3d.folder / "clusters").read_text())] == ["other"]


def test_a_stopped_cluster_is_started(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG)
    clusters = json.loads((k3d.folder / "clusters").read_text())
    for node in clusters[0]["nodes"]:
        node["State"] = {"Running": False, "Status": "exited"}
    k3d.write("clusters", json.dumps(clusters))
    foretold = ok("k3d_cluster", name="c", config=CONFIG, check=True)
    assert (foretold["changed"], foretold["diff"]["before"]["running"]) == (True, False)
    assert ok("k3d_cluster", name="c", config=CONFIG)["cluster"]["running"]
    assert changes(k3d) == [["cluster", "create"], ["cluster", "start"]]


def test_a_cluster_that_a_killed_k3d_left_is_made_anew(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG)
    clusters = json.loads((k3d.folder / "clusters").read_text())
    clusters[0]["nodes"][-1]["State"] = {"Running": False, "Status": "created"}
    k3d.write("clusters", json.dumps(clusters))
    assert ok("k3d_cluster", name="c", config=CONFIG)["cluster"]["running"]
    assert changes(k3d) == [["cluster", "create"], ["cluster", "delete"], ["cluster", "create"]]


def test_a_cluster_that_differs_is_an_error_that_names_everything(k3d, ok, error):
    ok("k3d_cluster", name="c", config=CONFIG)
    message = error("k3d_cluster", name="c", config={**CONFIG, "agents": 2, "network": "other"})
    assert message == (
        "Cluster c exists and differs: agents: wanted 2, found 0; network: wanted other, found pki-network. "
        "Change the variables, or ask for it to be made anew (recreate), which removes everything in it."
    )
    assert changes(k3d) == [["cluster", "create"]]


def test_a_cluster_that_differs_is_made_anew_when_asked_for(k3d, ok):
    ok("k3d_cluster", name="c", config=CONFIG)
    foretold = ok("k3d_cluster", name="c", config={**CONFIG, "agents": 1}, recreate=True, check=True)
    assert foretold["differences"] == {"agents": {"wanted": 1, "found": 0}}
    assert changes(k3d) == [["cluster", "create"]]
    done = ok("k3d_cluster", name="c", config={**CONFIG, "agents": 1}, recreate=True)
    assert (done["changed"], done["cluster"]["agents"]) == (True, 1)
    assert changes(k3d) == [["cluster", "create"], ["cluster", "delete"], ["cluster", "create"]]
    assert not ok("k3d_cluster", name="c", config={**CONFIG, "agents": 1}, recreate=True)["changed"]


def test_the_image_is_compared_where_docker_knows_it(k3d, ok, error, only_standins):
    docker = only_standins / "bin" / "docker"
    docker.write_text("#!/bin/sh\n# Stands in for Docker's client.\necho /k3d-c-server-0 k3s:1\n")
    docker.chmod(0o755)
    ok("k3d_cluster", name="c", config={"image": "k3s:1"})
    assert not ok("k3d_cluster", name="c", config={"image": "k3s:1"})["changed"]
    assert "image: wanted k3s:2, found k3s:1" in error("k3d_cluster", name="c", config={"image": "k3s:2"})


def test_a_taken_port_is_named_with_its_owner_before_anything_is_made(k3d, error):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        for check in (True, False):
            message = error("k3d_cluster", name="c", config={"ports": [{"port": f"{port}:80"}]}, check=check)
            assert message.startswith(f"Cluster c cannot publish its ports. Port {port} is taken by process ")
            assert f"(pid {os.getpid()})" in message
            assert message.endswith("Stop what has them, or give the cluster other ports.")
    assert changes(k3d) == []


def test_a_port_for_udp_is_free_beside_a_listener_for_tcp(k3d, ok):
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
        ({"ports": [{"port": 1342}]}, "1342"),  # what YAML makes of 22:22
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
def test_a_config_that_k3d_could_not_read_is_refused_before_anything_is_made(k3d, result_of, config, what):
    result = result_of("k3d_cluster", name="c", config=config)
    assert result["failed"] and result["code"] == "invalid_config"
    assert what in result["what"] and what in result["msg"]
    assert changes(k3d) == []


def test_a_protocol_in_capitals_is_the_same(k3d, ok, result_of):
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
def test_output_of_k3d_that_cannot_be_read_is_an_error(k3d, result_of, clusters):
    k3d.write("printed", clusters)
    result = result_of("k3d_cluster", name="c")
    assert result["failed"] and result["code"] == "unreadable_output"
    assert "cluster c" in result["msg"]


def test_k3d_missing(only_standins, error):
    assert error("k3d_cluster", name="c") == (
        "k3d is not installed: no program 'k3d' in PATH. Install it (https://k3d.io) or name it in k3d_path."
    )


def test_docker_not_running(k3d, error):
    k3d.write("fail", NO_DOCKER)
    message = error("k3d_cluster", name="c")
    assert message.startswith("k3d cluster list failed for cluster c: runtime failed to list nodes: docker failed")
    assert message.endswith("Is Docker running?")


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (NOT_CREATED, "Failed Cluster Preparation: Failed Network Preparation: no address pool is left"),
        ("INFO[0000] Prep: Network\nFATA[0001] flag needs an argument: an Error\n", "flag needs an argument: an Error"),
        ("\nflag needs an argument\n", "flag needs an argument"),
        (
            "FATA[0000] failed: Is the docker daemon running?",
            "failed: Is the docker daemon running? Is Docker running?",
        ),
        ("FATA[0000] failed at /run/docker.sock", "failed at /run/docker.sock Is Docker running?"),
        ("", "it said nothing"),
    ],
)
def test_the_cause_of_a_failure_is_the_first_error_not_that_of_the_rollback(printed, shown):
    assert k3d_cluster.reason(printed) == shown


def test_docker_not_permitted(k3d, error):
    k3d.write("fail", NOT_PERMITTED)
    message = error("k3d_cluster", name="c")
    assert message.startswith("k3d cluster list failed for cluster c: runtime failed to list nodes:")
    assert message.endswith("Docker does not let this user in; add the user to its group.")


def test_the_kubeconfig_is_for_its_user_alone(k3d, ok, tmp_path):
    path = tmp_path / "new" / "kubeconfig"
    ok("k3d_cluster", name="c", kubeconfig=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_kubeconfig_comes_and_goes_with_the_cluster(k3d, ok, tmp_path):
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


def test_a_kubeconfig_where_k3d_itself_removes_it(k3d, ok, tmp_path):
    path = tmp_path / ".config" / "k3d" / "kubeconfig-c.yaml"  # the default of the role
    ok("k3d_cluster", name="c", kubeconfig=str(path))
    assert ok("k3d_cluster", name="c", kubeconfig=str(path), state="absent")["changed"]
    assert not path.exists()


def test_the_users_own_kubeconfig_is_touched_only_when_asked_for(k3d, ok):
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
