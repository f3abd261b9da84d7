# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between the config and the output of k3d for a cluster."""

from __future__ import annotations

import pytest

from ansible_collections.servicemesh.pki.plugins.module_utils._k3d import clusters

WORKSHOP = {
    "network": "pki-network",
    "image": "k3s:1",
    "ports": [
        {"port": "80:80", "nodeFilters": ["loadbalancer"]},
        {"port": "443:443/tcp", "nodeFilters": ["loadbalancer"]},
    ],
    "options": {
        "k3s": {
            "extraArgs": [
                {"arg": "--disable=local-storage,traefik,metrics-server", "nodeFilters": ["server:*", "agents:*"]},
                {"arg": "--node-label=a=b", "nodeFilters": ["server:*"]},
            ]
        }
    },
}
DISABLED = ["--disable=local-storage,traefik,metrics-server"]


def node(role, *, number=0, cmd=(), ports=None, running=True, status="running", networks=("pki-network",)):
    return {
        "name": f"k3d-c-{role}-{number}",
        "role": role,
        "Cmd": [role, *cmd],
        "portMappings": ports,
        "Networks": list(networks),
        "State": {"Running": running, "Status": status},
    }


def cluster(*nodes):
    return {"name": "c", "nodes": list(nodes), "network": {"name": "pki-network"}}


def workshop_cluster(**server):
    bindings = {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}, {"HostIp": "::", "HostPort": "80"}],
        "443/tcp": [{"HostIp": "", "HostPort": "443"}],
        "6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40123"}],
    }
    return cluster(
        node("server", **{"cmd": [*DISABLED, "--node-label=a=b", "--tls-san", "x"], **server}),
        node("loadbalancer", ports=bindings),
    )


IMAGES = {"k3d-c-server-0": "k3s:1"}


def test_workshop_cluster_matches():
    assert clusters.differences(WORKSHOP, workshop_cluster(), IMAGES) == {}


def test_components_disabled_by_several_flags():
    flags = ["--disable=traefik", "--disable=metrics-server,local-storage", "--node-label=a=b"]
    assert clusters.differences(WORKSHOP, workshop_cluster(cmd=flags), IMAGES) == {}


@pytest.mark.parametrize(
    ("change", "name", "expected", "found"),
    [
        ({"servers": 3}, "servers", 3, 1),
        ({"agents": 2}, "agents", 2, 0),
        ({"network": "other"}, "network", "other", "pki-network"),
        ({"image": "k3s:2"}, "image", "k3s:2", "k3s:1"),
        ({"ports": [{"port": "80:80"}]}, "ports", ["80:80/tcp"], ["443:443/tcp", "80:80/tcp"]),
    ],
)
def test_each_difference(change, name, expected, found):
    assert clusters.differences(WORKSHOP | change, workshop_cluster(), IMAGES) == {name: (expected, found)}


def test_component_that_is_not_disabled():
    found = clusters.differences(WORKSHOP, workshop_cluster(cmd=["--disable=traefik", "--node-label=a=b"]), IMAGES)
    assert found == {
        "components disabled on k3d-c-server-0": (["local-storage", "metrics-server", "traefik"], ["traefik"]),
    }


def test_component_that_is_disabled_in_cluster_only():
    assert clusters.differences({}, cluster(node("server", cmd=["--disable=traefik"])), {}) == {
        "components disabled on k3d-c-server-0": ([], ["traefik"]),
    }


def test_missing_argument():
    assert clusters.differences(WORKSHOP, workshop_cluster(cmd=DISABLED), IMAGES) == {
        "k3s arguments of k3d-c-server-0": (["--node-label=a=b"], []),
    }


def test_arguments_of_agents():
    two = workshop_cluster()
    two["nodes"].append(node("agent", cmd=["--disable=traefik"]))
    assert clusters.differences(WORKSHOP | {"agents": 1}, two, IMAGES) == {
        "components disabled on k3d-c-agent-0": (["local-storage", "metrics-server", "traefik"], ["traefik"]),
    }


def test_argument_missing_on_one_of_two_servers():
    two = cluster(node("server", cmd=DISABLED), node("server", number=1))
    assert "components disabled on k3d-c-server-1" in clusters.differences(WORKSHOP | {"servers": 2}, two, {})


def test_unknown_image_is_not_compared():
    assert "image" not in clusters.differences(WORKSHOP | {"image": "k3s:2"}, workshop_cluster(), {})


def test_argument_of_each_node():
    argument = "--kubelet-arg=x"
    config = {"options": {"k3s": {"extraArgs": [{"arg": argument, "nodeFilters": ["all"]}]}}, "agents": 1}
    found = clusters.differences(config, cluster(node("server"), node("agent", cmd=[argument])), {})
    assert found == {"k3s arguments of k3d-c-server-0": ([argument], [])}


@pytest.mark.parametrize(
    ("port", "same"),
    [
        ("80:80", "80:80/tcp"),
        ("8080:80/tcp", "8080:80/tcp"),
        ("53:53/udp", "53:53/udp"),
        ("127.0.0.1:8080:80", "8080:80/tcp"),
        ("[::1]:8080:80/udp", "8080:80/udp"),
    ],
)
def test_ports_with_protocols_and_addresses(port, same):
    assert clusters.port_pairs(port) == [same]


def test_port_of_api_server_is_ignored():
    assert clusters.published_ports(workshop_cluster()) == {"80:80/tcp", "443:443/tcp"}


def test_cluster_with_node_that_never_started_is_incomplete():
    never = {"running": False, "status": "created"}
    assert not clusters.is_incomplete(workshop_cluster())
    assert clusters.is_incomplete(cluster(node("server"), node("loadbalancer", **never)))
    assert clusters.is_incomplete(cluster(node("server"), node("agent", **never)))  # no load balancer yet
    assert not clusters.is_incomplete(cluster(node("server", running=False, status="exited")))
    assert not clusters.is_incomplete(cluster({**node("server"), "State": None}))


@pytest.mark.parametrize("role", ["server", "agent"])
def test_node_that_was_added_later_does_not_make_a_cluster_incomplete(role):
    added = node(role, running=False, status="created")
    found = cluster(node("server"), added, node("loadbalancer"))
    assert not clusters.is_incomplete(found) and not clusters.is_running(found)


def test_cluster_runs_if_all_its_nodes_run():
    assert clusters.is_running(workshop_cluster())
    assert not clusters.is_running(workshop_cluster(running=False, status="exited"))
    assert not clusters.is_running(cluster(node("server"), node("loadbalancer", running=False, status="exited")))
    assert clusters.is_running(cluster(node("server"), node("tools", running=False, status="exited")))


def test_summary():
    assert clusters.summary(None) == {}
    assert clusters.summary(workshop_cluster()) == {
        "name": "c",
        "servers": 1,
        "agents": 0,
        "loadbalancer": True,
        "network": "pki-network",
        "ports": ["443:443/tcp", "80:80/tcp"],
        "running": True,
    }


def test_exposed_port_is_not_published():
    assert clusters.published_ports(cluster(node("loadbalancer", ports={"80/tcp": None, "443/tcp": []}))) == set()


def test_port_range_is_expanded():
    assert clusters.port_pairs("8000-8001:80-81/udp") == ["8000:80/udp", "8001:81/udp"]


@pytest.mark.parametrize("port", ["80", "127.0.0.1::80"])
def test_port_that_k3d_chooses_is_not_compared(port):
    assert clusters.port_pairs(port) == [":80/tcp"]
    config = {"ports": [{"port": port}]}
    assert clusters.configured_ports(config) == set()
    node = {"role": "server", "portMappings": {"80/tcp": [{"HostPort": "41234"}]}, "State": {}}
    assert "ports" not in clusters.differences(config, {"nodes": [{**node, "name": "n"}]}, {})


@pytest.mark.parametrize(
    ("node_filter", "having"),
    [
        ("server:0", {0}),
        ("servers:0", {0}),
        ("server:0,2", {0, 2}),
        ("server:1-2", {1, 2}),
        ("server:1-", {1, 2}),
        ("server:-1", {0, 1}),
        ("server:*", {0, 1, 2}),
        ("server", {0, 1, 2}),
        ("all", {0, 1, 2}),
        ("agent:0", set()),
        ("server:x", set()),
    ],
)
def test_argument_applies_to_nodes_of_its_filter(node_filter, having):
    """The syntax is k3d's: https://k3d.io/stable/design/concepts"""
    extra = [{"arg": "--cluster-cidr=10.1.0.0/16", "nodeFilters": [node_filter]}]
    extra.append({"arg": "--disable=traefik", "nodeFilters": [node_filter]})
    config = {"servers": 3, "options": {"k3s": {"extraArgs": extra}}}
    arguments = [entry["arg"] for entry in extra]
    as_made = [node("server", number=number, cmd=arguments if number in having else []) for number in range(3)]
    assert clusters.differences(config, cluster(*as_made), {}) == {}
    without = clusters.differences(config, cluster(*[node("server", number=number) for number in range(3)]), {})
    assert set(without) == {
        f"{what} k3d-c-server-{number}" for number in having for what in ("components disabled on", "k3s arguments of")
    }


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("rancher/k3s:v1", "docker.io/rancher/k3s:v1"),
        ("docker.io/rancher/k3s:v1", "rancher/k3s:v1"),
        ("docker.io/library/k3s:v1", "k3s:v1"),
        ("latest", "docker.io/rancher/k3s:v1"),
        ("stable", "docker.io/rancher/k3s:v1"),
        ("+v1.21", "docker.io/rancher/k3s:v1"),
    ],
)
def test_equal_image_names_and_channels(expected, found):
    assert clusters.differences({"image": expected}, cluster(node("server")), {"k3d-c-server-0": found}) == {}


@pytest.mark.parametrize("registry", ["a.b", "registry:5000", "localhost"])
def test_image_of_another_registry_differs(registry):
    image = f"{registry}/rancher/k3s:1"
    found = clusters.differences({"image": "rancher/k3s:1"}, cluster(node("server")), {"k3d-c-server-0": image})
    assert found == {"image": ("rancher/k3s:1", image)}
    short = f"{registry}/k3s:1"
    assert "image" in clusters.differences(
        {"image": f"docker.io/{short}"}, cluster(node("server")), {"k3d-c-server-0": short}
    )


def test_argument_without_filter_applies_to_servers():
    config = {"agents": 1, "options": {"k3s": {"extraArgs": [{"arg": "--x"}]}}}
    made = cluster(node("server", cmd=["--x"]), node("agent"))
    assert clusters.differences(config, made, {}) == {}
    assert set(clusters.differences(config, cluster(node("server"), node("agent")), {})) == {
        "k3s arguments of k3d-c-server-0"
    }


def test_published_port_of_api_server_is_not_compared():
    config = {"ports": [{"port": "16443:6443", "nodeFilters": ["server:0:direct"]}]}
    made = cluster(node("server", ports={"6443/tcp": [{"HostIp": "0.0.0.0", "HostPort": "16443"}]}))  # noqa: S104
    assert clusters.differences(config, made, {}) == {}
    assert clusters.probed_ports(config, None) == [16443]  # it must be free all the same
    assert clusters.probed_ports(config, made) == []


def test_only_tcp_ports_are_probed():
    assert clusters.probed_ports({"ports": [{"port": "53:53/udp"}, {"port": "80-81:80-81"}]}, None) == [80, 81]
