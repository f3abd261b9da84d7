#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3d_cluster
short_description: A k3d cluster, described by k3d's own config
version_added: 0.1.0
description:
  - Makes a cluster with k3d, starts one that is stopped, removes one.
  - A cluster of that name that differs from the config is an error that names every difference,
    unless O(recreate=true).
  - Compared are servers, agents, network, published ports, image, and of each node the disabled k3s parts and other k3s
    arguments. k3d tells nothing else of an existing cluster.
  - Not compared are an image that is a channel of k3s (V(latest), V(stable), V(+v1.35)), for what it means changes, and
    the port of the API server.
  - A TCP port of the host that is taken is an error that says by whom, before anything is made.
  - A cluster that k3d was making when it was killed has nodes that never started. It is made anew.
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
    description: V(present) means existing and running.
    type: str
    choices: [present, absent]
    default: present
  config:
    description:
      - A k3d config of kind C(Simple), API version C(k3d.io/v1alpha5), see U(https://k3d.io/stable/usage/configfile/).
      - C(apiVersion), C(kind) and C(metadata) are filled in. k3d's own wish to change the default kubeconfig is off
        unless the config says otherwise.
    type: dict
    default: {}
  recreate:
    description: Whether a cluster that differs from O(config) is removed and made anew, with all that it holds.
    type: bool
    default: false
  kubeconfig:
    description:
      - File to write the cluster's kubeconfig to, mode 0600. It holds the administrator's key.
      - Removed with the cluster.
    type: path
  merge_kubeconfig:
    description: Whether to add the cluster to the user's default kubeconfig too.
    type: bool
    default: false
  switch_context:
    description: Whether the user's current context becomes this cluster's. Needs O(merge_kubeconfig=true).
    type: bool
    default: false
  timeout:
    description: Seconds that k3d may take to bring the cluster up.
    type: int
    default: 300
  k3d_path:
    description: The k3d program.
    type: str
    default: k3d
  docker_path:
    description: Docker's client. It knows the name of an existing cluster's image; without it images are not compared.
    type: str
    default: docker
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: A cluster on a network of its own
  servicemesh.pki.k3d_cluster:
    name: pki-cluster
    config:
      network: pki-network
      ports:
        - port: 80:80
          nodeFilters: [loadbalancer]
    kubeconfig: ~/.config/k3d/kubeconfig-pki-cluster.yaml

- name: Remove it
  servicemesh.pki.k3d_cluster:
    name: pki-cluster
    state: absent
"""

RETURN = r"""
cluster:
  description: The cluster as it is now, in check mode as it was. Empty when there is none.
  returned: always
  type: dict
  sample:
    {"name": "pki-cluster", "servers": 1, "agents": 0, "loadbalancer": true, "network": "pki-network",
     "ports": ["443:443/tcp", "80:80/tcp"], "running": true}
differences:
  description: What an existing cluster has other than wanted, by name, each with C(wanted) and C(found).
  returned: always
  type: dict
context:
  description: Name of the cluster's context in its kubeconfig.
  returned: always
  type: str
  sample: k3d-pki-cluster
"""

import json
import os
import stat
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.dict_transformations import dict_merge

from ansible_collections.servicemesh.pki.plugins.module_utils._common import errors
from ansible_collections.servicemesh.pki.plugins.module_utils._k3d import clusters as k3d_clusters
from ansible_collections.servicemesh.pki.plugins.module_utils._k3d import ports

KUBECONFIG_OFF = {"options": {"kubeconfig": {"updateDefaultKubeconfig": False, "switchCurrentContext": False}}}


class K3d:
    """k3d's command line for one cluster."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.name = module.params["name"]
        path = module.get_bin_path(module.params["k3d_path"])
        if path is None:
            module.fail_json(
                msg=f"k3d is not installed: no program {module.params['k3d_path']!r} in PATH. "
                "Install it (https://k3d.io) or name it in k3d_path."
            )
        self.path = path

    def run(self, *arguments: str) -> str:
        rc, out, err = self.module.run_command([self.path, *arguments])
        if rc != 0:
            self.module.fail_json(msg=f"k3d {' '.join(arguments[:2])} failed for cluster {self.name}: {reason(err)}")
        return out

    def get(self) -> dict | None:
        clusters = json.loads(self.run("cluster", "list", "-o", "json") or "[]")
        return next((cluster for cluster in clusters if cluster["name"] == self.name), None)

    def images(self, cluster: dict) -> dict[str, str]:
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


def reason(stderr: str) -> str:
    """The first error line of k3d, without its time and level, with what to do where that is known.

    It names the cause; those after it report that k3d rolls back.
    """
    lines = [line.split("] ", 1)[-1].strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "ailed" in line or "rror" in line] or lines or ["it said nothing"]
    hint = ""
    if "docker daemon" in stderr or "docker.sock" in stderr:
        denied = "permission denied" in stderr
        hint = " Docker does not let this user in; add the user to its group." if denied else " Is Docker running?"
    return errors[0] + hint


def write_kubeconfig(k3d: K3d, check: bool) -> bool:
    path = k3d.params["kubeconfig"]
    if not path:
        return False
    wanted = k3d.run("kubeconfig", "get", k3d.name)
    found = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            found = file.read()
    if wanted.strip() == found.strip() and stat.S_IMODE(os.stat(path).st_mode) == 0o600:
        return False
    if not check:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        # mkstemp's file is its user's alone from the start; atomic_move would give a new one the mode 0644
        handle, partial = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".kubeconfig-")
        with open(handle, "w", encoding="utf-8") as file:
            file.write(wanted)
        os.replace(partial, path)
    return True


def merge_kubeconfig(k3d: K3d, check: bool) -> bool:
    if not k3d.params["merge_kubeconfig"]:
        return False
    path = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or str(Path.home() / ".kube/config")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            before = file.read()
    except FileNotFoundError:
        before = ""
    switch = k3d.params["switch_context"]
    ca = next(  # made anew with every cluster, so it tells an old entry of the same name
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


def refuse_taken_ports(k3d: K3d, config: dict, cluster: dict | None) -> None:
    """Says who has a port before anything is removed or made; a cluster that is to go gives up its own."""
    found = ports.taken(k3d.module, k3d_clusters.probed_ports(config, cluster), k3d.params["docker_path"])
    if found:
        k3d.module.fail_json(
            msg=f"Cluster {k3d.name} cannot publish its ports. {ports.sentences(found)} "
            "Stop what has them, or give the cluster other ports.",
            taken=found,
        )


def present(k3d: K3d, cluster: dict | None) -> tuple[bool, dict]:
    module, params = k3d.module, k3d.params
    head = {"apiVersion": "k3d.io/v1alpha5", "kind": "Simple", "metadata": {"name": k3d.name}}
    config = dict_merge(dict_merge(KUBECONFIG_OFF, params["config"]), head)
    drift = {}
    if cluster and not k3d_clusters.is_incomplete(cluster):
        pairs = k3d_clusters.differences(config, cluster, k3d.images(cluster))
        drift = {name: {"wanted": wanted, "found": found} for name, (wanted, found) in pairs.items()}
    if drift and not params["recreate"]:
        listed = "; ".join(f"{name}: wanted {pair['wanted']}, found {pair['found']}" for name, pair in drift.items())
        module.fail_json(
            msg=f"Cluster {k3d.name} exists and differs: {listed}. Change the variables, or ask for it to be made anew "
            "(recreate), which removes everything in it.",
            differences=drift,
        )
    remove = cluster is not None and (bool(drift) or k3d_clusters.is_incomplete(cluster))
    create = cluster is None or remove
    start = not create and not k3d_clusters.is_running(cluster)
    if create:
        refuse_taken_ports(k3d, config, cluster)
    if not module.check_mode:
        if remove:
            k3d.delete()
        if create:
            k3d.create(config)
        elif start:
            k3d.start()
    changed = create or start
    if not (changed and module.check_mode):  # there is nothing to ask yet
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
            Path(path).unlink(missing_ok=True)  # in its own folder k3d has removed it already
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
        f"k3d or Docker describes cluster {module.params['name']} in a form that k3d 5 does not use "
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
    predicted = before if module.check_mode or not changed else k3d.get()
    return dict(
        changed=changed,
        cluster=k3d_clusters.summary(predicted),
        differences=drift,
        context=f"k3d-{k3d.name}",
        diff={"before": k3d_clusters.summary(before), "after": after(module, predicted, changed)},
    )


def after(module: AnsibleModule, cluster: dict | None, changed: bool) -> dict:
    """For the diff: in check mode what is to come, as far as it is known."""
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
        "ports": sorted(k3d_clusters.wanted_ports(config)),
        "running": True,
    }


if __name__ == "__main__":
    main()
