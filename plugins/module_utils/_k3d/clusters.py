# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation of a k3d config, and its comparison with an existing cluster. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORT = 65535
NODE_ROLES = ("server", "agent")
API_PORT = ":6443/"  # in host:container/protocol
CHANNELS = ("latest", "stable")  # k3d requests the current image from k3s, as for +v1.35


class K3dError(PkiError, ValueError):
    """An invalid config, or output of k3d that cannot be used. `what` is the invalid part of a config."""

    code = "k3d_failed"


def configured_ports(config: dict[str, Any]) -> set[str]:
    """``host:container/protocol`` of each port that a k3d config publishes at a fixed host port, with ranges expanded.

    The port of the API server is left out, as in published_ports().
    """
    return {pair for pair in _fixed_ports(config) if API_PORT not in pair}


def probed_ports(config: dict[str, Any], cluster: dict[str, Any] | None) -> list[int]:
    """The TCP ports of the host that must be free, without those of a cluster that will be deleted."""
    own = _bound_ports(cluster) if cluster else set()
    return sorted({int(pair.partition(":")[0]) for pair in _fixed_ports(config) - own if pair.endswith("/tcp")})


def _fixed_ports(config: dict[str, Any]) -> set[str]:
    return {pair for entry in config.get("ports") or [] for pair in port_pairs(entry["port"]) if pair[0] != ":"}


def port_pairs(port: str) -> list[str]:
    """``host:container/protocol`` for each port of k3d's ``[ip:]host:container[/protocol]``.

    Either side may be a range, ``30000-30100``. Without a host part k3d chooses one: ``:container/protocol``.
    """
    mapping, dummy, protocol = port.partition("/")
    parts = mapping.split(":")
    container = _port_range(parts[-1])
    host = _port_range(parts[-2]) if len(parts) > 1 and parts[-2] else [""] * len(container)
    return [f"{outer}:{inner}/{protocol.lower() or 'tcp'}" for outer, inner in zip(host, container, strict=True)]


def _port_range(text: str) -> list[int]:
    first, dummy, last = text.partition("-")
    if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in (first, last or first)):
        raise ValueError(text)
    numbers = list(range(int(first), int(last or first) + 1))
    if not numbers or numbers[-1] > MAX_PORT:
        raise ValueError(text)
    return numbers


def check_config(config: dict[str, Any]) -> None:
    """Raise K3dError for the parts of a config that this module uses and that k3d cannot parse."""
    _list_of_mappings(config, "ports", "port", "{port: 8080:80, nodeFilters: [loadbalancer]}")
    for entry in config.get("ports") or []:
        _check_port(entry["port"])
    for name in ("servers", "agents"):
        if name in config and (not isinstance(config[name], int) or isinstance(config[name], bool)):
            raise K3dError(
                f"config.{name} is {config[name]!r}, which is not a number. Write it without quotes.",
                code="invalid_config",
                what=name,
            )
    for name in ("image", "network"):
        if not isinstance(config.get(name) or "", str):
            raise K3dError(
                f"config.{name} is {config[name]!r}, which is not a string. Write it in quotes.",
                code="invalid_config",
                what=name,
            )
    options = _mapping(config, "options", "options")
    k3s = _mapping(options, "k3s", "options.k3s")
    _list_of_mappings(k3s, "extraArgs", "arg", "{arg: --disable=traefik, nodeFilters: [server:*]}", "options.k3s.")


def _check_port(port: str) -> None:
    protocol = port.partition("/")[2]
    try:
        pairs = port_pairs(port)
    except ValueError:
        pairs = []
    if not pairs or protocol.lower() not in ("", *PROTOCOLS):
        raise K3dError(
            f"config.ports: {port!r} is not a port. Write it like 8080:80, 127.0.0.1:8080:80/tcp or "
            f"3000-3010:3000-3010, with numbers up to {MAX_PORT} and {', '.join(PROTOCOLS)}.",
            code="invalid_config",
            what=port,
        )


def _mapping(parent: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    value = parent.get(name) or {}
    if not isinstance(value, dict):
        raise K3dError(
            f"config.{path} is {value!r}, which is not a dictionary. Write it as in k3d's config file.",
            code="invalid_config",
            what=path,
        )
    return value


def _list_of_mappings(parent: dict[str, Any], name: str, key: str, sample: str, prefix: str = "") -> None:
    """Check that each entry has the key as a string, and nodeFilters, if any, as a list of strings."""
    entries, path = parent.get(name) or [], f"config.{prefix}{name}"
    if not isinstance(entries, list):
        message = f"{path} is {entries!r}, which is not a list. Write entries like {sample}."
        raise K3dError(message, code="invalid_config", what=name)
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
            hint = (
                " YAML parses two numbers with a colon as one number: write them in quotes." if name == "ports" else ""
            )
            raise K3dError(
                f"{path}: {entry!r} is not an entry with {key} as a string. Write it like {sample}.{hint}",
                code="invalid_config",
                what=str(entry),
            )
        filters = entry.get("nodeFilters") or []
        if not isinstance(filters, list) or not all(isinstance(one, str) for one in filters):
            raise K3dError(
                f"{path}: nodeFilters of {entry[key]} is {filters!r}. Write a list of strings.",
                code="invalid_config",
                what=entry[key],
            )


def published_ports(cluster: dict[str, Any]) -> set[str]:
    """``host:container/protocol`` of each published port of a cluster, without that of the API server."""
    return {pair for pair in _bound_ports(cluster) if API_PORT not in pair}


def _bound_ports(cluster: dict[str, Any]) -> set[str]:
    return {
        port_pairs(f"{binding['HostPort']}:{container}")[0]
        for node in cluster["nodes"]
        for container, bindings in (node.get("portMappings") or {}).items()
        for binding in bindings or []
    }


def _comparable_ports(config: dict[str, Any], cluster: dict[str, Any]) -> set[str]:
    """The published ports, without those whose host port k3d chose."""
    pairs = [pair for entry in config.get("ports") or [] for pair in port_pairs(entry["port"])]
    free = {pair[1:] for pair in pairs if pair[0] == ":"}
    return {port for port in published_ports(cluster) if port.partition(":")[2] not in free}


def _arguments(config: dict[str, Any], node: dict[str, Any]) -> set[str]:
    return {
        entry["arg"]
        for entry in ((config.get("options") or {}).get("k3s") or {}).get("extraArgs") or []
        if any(_filter_covers(node_filter, node) for node_filter in entry.get("nodeFilters") or ["server:*"])
    }


def _filter_covers(node_filter: str, node: dict[str, Any]) -> bool:
    """Whether k3d's ``group[:subset[:suffix]]`` selects a node. The name of a node ends with its number."""
    group, dummy, rest = node_filter.partition(":")
    return group == "all" or (
        group.rstrip("s") == node["role"] and _in_subset(node["name"].rpartition("-")[2], rest.partition(":")[0])
    )


def _in_subset(number: str, subset: str) -> bool:
    """Whether a number is in a subset: ``*``, ``0``, ``0,2``, ``1-3``, ``1-`` or ``-3``."""
    if subset in ("", "*"):
        return True
    spans = [part.partition("-") for part in subset.split(",")]
    return any(
        int(first or 0) <= int(number) <= int(last or (number if dash else first))
        for first, dash, last in spans
        if (first + last).isdecimal()
    )


def _full_image_name(name: str) -> str:
    """The name of an image with the registry and repository that Docker adds."""
    path, dummy, rest = name.partition("/")
    if not rest:
        return f"docker.io/library/{name}"
    has_registry = "." in path or ":" in path or path == "localhost"
    return name if has_registry else f"docker.io/{name}"


def _nodes(cluster: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [node for node in cluster["nodes"] if node.get("role") == role]


def _split_disables(arguments: Iterable[str]) -> tuple[set[str], set[str]]:
    """The disabled components of k3s, and the other arguments. ``--disable=a,b`` equals two flags."""
    parts: set[str] = set()
    others: set[str] = set()
    for argument in arguments:
        if argument.startswith("--disable="):
            parts.update(argument.removeprefix("--disable=").split(","))
        else:
            others.add(argument)
    return parts, others


def is_incomplete(cluster: dict[str, Any]) -> bool:
    """Whether k3d was interrupted while it created the cluster.

    k3d creates and starts the load balancer last. A node that never started beside one that did was added later, to a
    cluster that may be in use.
    """
    nodes = _nodes(cluster, "loadbalancer") or cluster["nodes"]
    return any((node.get("State") or {}).get("Status") == "created" for node in nodes)


def is_running(cluster: dict[str, Any]) -> bool:
    nodes = [node for node in cluster["nodes"] if node.get("role") in (*NODE_ROLES, "loadbalancer")]
    return all((node.get("State") or {}).get("Running") for node in nodes)


def differences(config: dict[str, Any], cluster: dict[str, Any], images: dict[str, str]) -> dict[str, tuple[Any, Any]]:
    """What differs between a k3d config and an existing cluster: name -> (expected, found).

    It compares servers, agents, network, published ports, the image (if it is in ``images``, node name -> image name,
    and the config names no channel), disabled components and other k3s arguments of each node. k3d does not return
    anything else about a cluster.
    """
    servers, agents = _nodes(cluster, "server"), _nodes(cluster, "agent")
    pairs: dict[str, tuple[Any, Any]] = {
        "servers": (config.get("servers", 1), len(servers)),
        "agents": (config.get("agents", 0), len(agents)),
        "ports": (sorted(configured_ports(config)), sorted(_comparable_ports(config, cluster))),
    }
    if config.get("network"):
        found = sorted({network for node in servers for network in node.get("Networks") or []})
        pairs["network"] = (config["network"], config["network"] if config["network"] in found else ", ".join(found))
    known = sorted({images[node["name"]] for node in servers + agents if node["name"] in images})
    image = config.get("image") or ""
    other = [name for name in known if _full_image_name(name) != _full_image_name(image)]
    if other and image and image not in CHANNELS and not image.startswith("+"):
        pairs["image"] = (image, ", ".join(known))
    for node in servers + agents:
        off, others = _split_disables(_arguments(config, node))
        command = set(node.get("Cmd") or [])
        found_off = _split_disables(command)[0]
        pairs[f"components disabled on {node['name']}"] = (sorted(off), sorted(found_off))
        pairs[f"k3s arguments of {node['name']}"] = (sorted(others), sorted(others & command))
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def summary(cluster: dict[str, Any] | None) -> dict[str, Any]:
    """The facts of a cluster for results and diffs; empty without a cluster."""
    if cluster is None:
        return {}
    return {
        "name": cluster["name"],
        "servers": len(_nodes(cluster, "server")),
        "agents": len(_nodes(cluster, "agent")),
        "loadbalancer": bool(_nodes(cluster, "loadbalancer")),
        "network": (cluster.get("network") or {}).get("name"),
        "ports": sorted(published_ports(cluster)),
        "running": is_running(cluster),
    }
