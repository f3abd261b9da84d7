#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3d_cluster
short_description: Manage a k3d cluster
version_added: 0.1.0
description:
  - Creates a cluster with k3d, starts a stopped one, or deletes one.
  - If a cluster of that name does not match O(config), the task fails and names every difference, unless
    O(recreate=true).
  - Compares servers, agents, network, published ports and image, and for each node the disabled components of k3s and
    the other k3s arguments. k3d does not return anything else about an existing cluster.
  - Does not compare the port of the API server. Does not compare an image that is a channel of k3s (V(latest),
    V(stable), V(+v1.35)) either, because the version of a channel changes.
  - If a TCP port of the host is already in use, the task fails before it changes anything, and names the owner.
  - Recreates a cluster that k3d has not finished, because it was interrupted. Its load balancer never started.
extends_documentation_fragment:
  - servicemesh.pki._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
  state:
    description: Whether the cluster exists and runs.
    type: str
    choices: [present, absent]
    default: present
  config:
    description:
      - A k3d config of kind C(Simple), API version C(k3d.io/v1alpha5), see U(https://k3d.io/stable/usage/configfile/).
      - The module sets C(apiVersion), C(kind) and C(metadata). It stops k3d from changing the default kubeconfig,
        unless the config enables that.
    type: dict
    default: {}
  recreate:
    description: Whether to delete and recreate a cluster that does not match O(config), with everything in it.
    type: bool
    default: false
  kubeconfig:
    description:
      - Path of the kubeconfig to write, with mode 0600. It contains the key of the cluster's administrator.
      - The module deletes it with the cluster.
    type: path
  merge_kubeconfig:
    description: Whether to add the cluster to the user's default kubeconfig.
    type: bool
    default: false
  switch_context:
    description: Whether to make this cluster the current context of the user. Requires O(merge_kubeconfig=true).
    type: bool
    default: false
  timeout:
    description: Seconds to wait until the cluster runs.
    type: int
    default: 300
  k3d_path:
    description: Name or path of the k3d CLI.
    type: str
    default: k3d
  docker_path:
    description:
      - Name or path of Docker's client, which returns the image of a cluster.
      - Images are not compared without it.
    type: str
    default: docker
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Create a cluster on its own network
  servicemesh.pki.k3d_cluster:
    name: pki-cluster
    config:
      network: pki-network
      ports:
        - port: "80:80"
          nodeFilters: [loadbalancer]
    kubeconfig: ~/.config/k3d/kubeconfig-pki-cluster.yaml

- name: Delete the cluster
  servicemesh.pki.k3d_cluster:
    name: pki-cluster
    state: absent
"""

RETURN = r"""
cluster:
  description: The cluster after the task, or in check mode before it. Empty if it does not exist.
  returned: success
  type: dict
  sample:
    {"name": "pki-cluster", "servers": 1, "agents": 0, "loadbalancer": true, "network": "pki-network",
     "ports": ["443:443/tcp", "80:80/tcp"], "running": true}
differences:
  description: Differences between O(config) and the existing cluster, by name, each with C(expected) and C(found).
  returned: success, and failure with RV(code) V(cluster_mismatch)
  type: dict
context:
  description: Name of the cluster's context in its kubeconfig.
  returned: success
  type: str
  sample: k3d-pki-cluster
ports_in_use:
  description: Ports that are already in use, in the format of RV(servicemesh.pki.host_port_info#module:in_use).
  returned: failure with RV(code) V(port_in_use)
  type: list
  elements: dict
what:
  description: The invalid part of O(config).
  returned: failure with RV(code) V(invalid_config)
  type: str
code:
  description:
    - V(cluster_mismatch) when the cluster does not match O(config), V(port_in_use) when a port of the host is in use.
    - V(invalid_config) when O(config) is not valid, V(invalid_port) when it has a number that is not a TCP port.
    - V(k3d_missing) when k3d is not installed, V(k3d_failed) when it failed.
    - V(unreadable_output) when the output of k3d or Docker cannot be used.
  returned: failure
  type: str
"""

import json
import os
import stat
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.dict_transformations import dict_merge

from ansible_collections.servicemesh.pki.plugins.module_utils._common import errors
from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._k3d import clusters as k3d_clusters
from ansible_collections.servicemesh.pki.plugins.module_utils._k3d import ports

DEFAULTS = {"options": {"kubeconfig": {"updateDefaultKubeconfig": False, "switchCurrentContext": False}}}


class K3d:
    """k3d's command line for one cluster."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.name = module.params["name"]
        path = module.get_bin_path(module.params["k3d_path"])
        if path is None:
            raise PkiError(
                f"k3d is not installed: there is no program {module.params['k3d_path']!r} in PATH. "
                "Install it (https://k3d.io), or set k3d_path.",
                code="k3d_missing",
            )
        self.path = path

    def run(self, *arguments: str) -> str:
        rc, out, err = self.module.run_command([self.path, *arguments])
        if rc != 0:
            message = f"k3d {' '.join(arguments[:2])} failed for cluster {self.name}: {failure_reason(err)}"
            raise PkiError(message, code="k3d_failed")
        return out

    def get(self) -> dict | None:
        clusters = json.loads(self.run("cluster", "list", "-o", "json") or "[]")
        return next((cluster for cluster in clusters if cluster["name"] == self.name), None)

    def images(self, cluster: dict) -> dict[str, str]:
        """Node name -> image; empty without Docker's client."""
        docker = self.module.get_bin_path(self.params["docker_path"])
        names = [node["name"] for node in cluster["nodes"]]
        if not docker:
            return {}
        rc, out, dummy = self.module.run_command([docker, "inspect", "--format", "{{.Name}} {{.Config.Image}}", *names])
        lines = out.splitlines() if rc == 0 else []
        return {name.lstrip("/"): image for name, dummy, image in (line.partition(" ") for line in lines)}

    def create(self, config: dict) -> None:
        path = os.path.join(self.module.tmpdir, "k3d.json")  # YAML includes JSON
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        self.run("cluster", "create", "--config", path, "--wait", f"--timeout={self.params['timeout']}s")

    def start(self) -> None:
        self.run("cluster", "start", self.name, "--wait", f"--timeout={self.params['timeout']}s")

    def delete(self) -> None:
        self.run("cluster", "delete", self.name)


def failure_reason(stderr: str) -> str:
    """The first error line of k3d without its time and level, and advice for known causes.

    The first line names the cause. The following ones report the rollback.
    """
    lines = [line.split("] ", 1)[-1].strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "ailed" in line or "rror" in line] or lines or ["it printed no error"]
    hint = ""
    if "docker daemon" in stderr or "docker.sock" in stderr:
        denied = "permission denied" in stderr
        hint = " Add this user to the group docker." if denied else " Check that Docker is running."
    return errors[0] + hint


def write_kubeconfig(k3d: K3d, check: bool) -> bool:
    """Write the kubeconfig of the cluster to a separate file; returns whether that changes it."""
    path = k3d.params["kubeconfig"]
    if not path:
        return False
    content = k3d.run("kubeconfig", "get", k3d.name)
    found = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            found = file.read()
    if content.strip() == found.strip() and stat.S_IMODE(os.stat(path).st_mode) == 0o600:
        return False
    if not check:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        # mkstemp creates it with mode 0600; atomic_move would create a new file with mode 0644
        handle, partial = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".kubeconfig-")
        with open(handle, "w", encoding="utf-8") as file:
            file.write(content)
        os.replace(partial, path)
    return True


def merge_kubeconfig(k3d: K3d, check: bool) -> bool:
    """Add the cluster to the user's default kubeconfig; returns whether that changes it."""
    if not k3d.params["merge_kubeconfig"]:
        return False
    path = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or str(Path.home() / ".kube/config")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            before = file.read()
    except FileNotFoundError:
        before = ""
    switch = k3d.params["switch_context"]
    ca = next(  # differs for each cluster, so an entry of a former cluster is recognized
        (
            line.split()[-1]
            for line in k3d.run("kubeconfig", "get", k3d.name).splitlines()
            if "certificate-authority-data" in line
        ),
        None,
    )
    if ca and ca in before and (not switch or f"current-context: k3d-{k3d.name}\n" in before):
        return False
    if not check:
        k3d.run(
            "kubeconfig",
            "merge",
            k3d.name,
            "--kubeconfig-merge-default",
            f"--kubeconfig-switch-context={str(switch).lower()}",
        )
    return True


def check_ports(k3d: K3d, config: dict, cluster: dict | None) -> None:
    """Raise PkiError if a port is in use, except by the cluster itself, which will be deleted."""
    found = ports.ports_in_use(k3d.module, k3d_clusters.probed_ports(config, cluster), k3d.params["docker_path"])
    if found:
        raise PkiError(
            f"Cluster {k3d.name} cannot publish its ports. {ports.describe(found)} "
            "Stop the owner, or publish other ports.",
            code="port_in_use",
            ports_in_use=found,
        )


def differences(k3d: K3d, config: dict, cluster: dict | None) -> dict:
    """The differences of an existing cluster. Raises PkiError for them unless it may be recreated."""
    if not cluster or k3d_clusters.is_incomplete(cluster):
        return {}
    pairs = k3d_clusters.differences(config, cluster, k3d.images(cluster))
    found = {name: {"expected": pair[0], "found": pair[1]} for name, pair in pairs.items()}
    if found and not k3d.params["recreate"]:
        listed = "; ".join(f"{name} is {pair[1]}, expected {pair[0]}" for name, pair in pairs.items())
        raise PkiError(
            f"Cluster {k3d.name} does not match its config: {listed}. Change the config, or set recreate to true, "
            "which deletes everything in the cluster.",
            code="cluster_mismatch",
            differences=found,
        )
    return found


def present(k3d: K3d, cluster: dict | None) -> tuple[bool, dict]:
    module = k3d.module
    header = {"apiVersion": "k3d.io/v1alpha5", "kind": "Simple", "metadata": {"name": k3d.name}}
    config = dict_merge(dict_merge(DEFAULTS, k3d.params["config"]), header)
    drift = differences(k3d, config, cluster)
    remove = cluster is not None and (bool(drift) or k3d_clusters.is_incomplete(cluster))
    create = cluster is None or remove
    start = not create and not k3d_clusters.is_running(cluster)
    if create:
        check_ports(k3d, config, cluster)
    if not module.check_mode:
        if remove:
            k3d.delete()
        if create:
            k3d.create(config)
        elif start:
            k3d.start()
    changed = create or start
    if not (changed and module.check_mode):  # otherwise there is no cluster yet
        changed |= write_kubeconfig(k3d, module.check_mode)
        changed |= merge_kubeconfig(k3d, module.check_mode)
    return changed, drift


def absent(k3d: K3d, cluster: dict | None) -> bool:
    path = k3d.params["kubeconfig"]
    stale = bool(path) and os.path.exists(path)
    if not k3d.module.check_mode:
        if cluster:
            k3d.delete()
        if stale:
            Path(path).unlink(missing_ok=True)  # k3d itself deletes it in its own folder
    return cluster is not None or stale


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            config=dict(type="dict", default={}),
            recreate=dict(type="bool", default=False),
            kubeconfig=dict(type="path"),
            merge_kubeconfig=dict(type="bool", default=False),
            switch_context=dict(type="bool", default=False),
            timeout=dict(type="int", default=300),
            k3d_path=dict(type="str", default="k3d"),
            docker_path=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    errors.run(module, lambda: work(module), lambda exc: unexpected_output(module, exc))


def unexpected_output(module: AnsibleModule, exc: Exception) -> k3d_clusters.K3dError:
    return k3d_clusters.K3dError(
        f"The output of k3d or Docker for cluster {module.params['name']} does not have the format of k3d 5 "
        f"({type(exc).__name__}). Run `{module.params['k3d_path']} cluster list -o json` and check the version of k3d.",
        code="unreadable_output",
    )


def work(module: AnsibleModule) -> dict:
    if module.params["state"] == "present":
        k3d_clusters.check_config(module.params["config"])
    k3d = K3d(module)
    before = k3d.get()
    if module.params["state"] == "present":
        changed, drift = present(k3d, before)
    else:
        changed, drift = absent(k3d, before), {}
    current = before if module.check_mode or not changed else k3d.get()
    return dict(
        changed=changed,
        cluster=k3d_clusters.summary(current),
        differences=drift,
        context=f"k3d-{k3d.name}",
        diff={"before": k3d_clusters.summary(before), "after": diff_after(module, current, changed)},
    )


def diff_after(module: AnsibleModule, cluster: dict | None, changed: bool) -> dict:
    """The cluster after the task for the diff; in check mode as far as it can be predicted."""
    if not (module.check_mode and changed):
        return k3d_clusters.summary(cluster)
    if module.params["state"] == "absent":
        return {}
    config = module.params["config"]
    return {
        **k3d_clusters.summary(cluster),
        "name": module.params["name"],
        "servers": config.get("servers", 1),
        "agents": config.get("agents", 0),
        "network": config.get("network"),
        "ports": sorted(k3d_clusters.configured_ports(config)),
        "running": True,
    }


if __name__ == "__main__":
    main()
