# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for k3d in unit tests: it stores clusters in a file. The real k3d runs in tests/end_to_end.

A test adds a line that sets FOLDER. There the stand-in logs its `calls`, stores `clusters`, and reads the error `fail`.
"""

import json
import pathlib
import sys

folder = pathlib.Path(globals().get("FOLDER", "."))
arguments = sys.argv[1:]
with open(folder / "calls", "a") as log:
    log.write(json.dumps(arguments) + "\n")
if (folder / "fail").exists():
    sys.exit((folder / "fail").read_text())
if (folder / "printed").exists():
    sys.exit(print((folder / "printed").read_text()))
store = folder / "clusters"
clusters = json.loads(store.read_text()) if store.exists() else []


def node(name, role, config):
    """A node in the output of `k3d cluster list -o json`, with the fields that the module uses."""
    balanced = role == "loadbalancer"
    ports = {}
    for entry in config.get("ports", []) if balanced else []:
        host, dummy, container = entry["port"].rpartition(":")
        number, dummy, protocol = container.partition("/")
        ports[f"{number}/{protocol.lower() or 'tcp'}"] = [{"HostIp": "", "HostPort": host.split(":")[-1]}]
    extra = config.get("options", {}).get("k3s", {}).get("extraArgs", [])
    arguments = [entry["arg"] for entry in extra if f"{role}:*" in entry["nodeFilters"]]
    return {
        "name": name,
        "role": role,
        "portMappings": ports,
        "Cmd": None if balanced else [role, *arguments],
        "Networks": [config.get("network", "k3d")],
        "State": {"Running": True, "Status": "running"},
    }


if arguments[:2] == ["cluster", "list"]:
    print(json.dumps(clusters))
elif arguments[:2] == ["cluster", "create"]:
    config = json.loads(pathlib.Path(arguments[arguments.index("--config") + 1]).read_text())
    (folder / "config").write_text(json.dumps(config))
    name = config["metadata"]["name"]
    nodes = [node(f"k3d-{name}-server-{number}", "server", config) for number in range(config.get("servers", 1))]
    nodes += [node(f"k3d-{name}-agent-{number}", "agent", config) for number in range(config.get("agents", 0))]
    nodes += [node(f"k3d-{name}-serverlb", "loadbalancer", config)]
    clusters.append({"name": name, "nodes": nodes, "network": {"name": config.get("network", f"k3d-{name}")}})
elif arguments[:2] == ["cluster", "start"]:
    for cluster in clusters:
        for one in cluster["nodes"] if cluster["name"] == arguments[2] else []:
            one["State"] = {"Running": True, "Status": "running"}
elif arguments[:2] == ["cluster", "delete"]:
    clusters = [cluster for cluster in clusters if cluster["name"] != arguments[2]]
    own = pathlib.Path.home() / ".config" / "k3d" / f"kubeconfig-{arguments[2]}.yaml"
    own.unlink(missing_ok=True)  # k3d removes the file that `k3d kubeconfig write` creates
elif arguments[:2] == ["kubeconfig", "get"]:
    print(f"certificate-authority-data: ca-of-{arguments[2]}\ncurrent-context: k3d-{arguments[2]}")
elif arguments[:2] != ["kubeconfig", "merge"]:
    sys.exit(f"the stand-in does not support {arguments}")
store.write_text(json.dumps(clusters))
