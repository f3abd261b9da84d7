#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_unfinished
short_description: Clears Helm releases that a killed Helm left pending
version_added: 0.1.0
description:
  - A Helm that is killed leaves its release in the status C(pending-install), C(pending-upgrade) or
    C(pending-rollback). Every later Helm then refuses to touch it, and M(kubernetes.core.helm) with it.
  - This module uninstalls a release that was never installed, and rolls one back that was being upgraded. The next
    M(kubernetes.core.helm) then does the work. A release in any other status is left alone.
  - A release is pending while another Helm works on it, too. O(grace) keeps this module from getting in its way.
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
  releases:
    description: Names of the releases to look at.
    type: list
    elements: str
    required: true
  namespace:
    description: Namespace of the releases.
    type: str
    required: true
  grace:
    description: Seconds that a release may have been pending before it counts as left behind.
    type: int
    default: 0
  kubeconfig:
    description:
      - Kubeconfig file of the cluster. Helm's own default when not given.
      - The environment variable E(K8S_AUTH_KUBECONFIG) is used when the option is not set.
    type: path
  context:
    description:
      - Context in the kubeconfig. The current one when not given.
      - The environment variable E(K8S_AUTH_CONTEXT) is used when the option is not set.
    type: str
  helm_path:
    description: The helm program.
    type: str
    default: helm
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Clear what a killed run left
  servicemesh.pki.helm_unfinished:
    releases: [cert-manager]
    namespace: cert-manager
    kubeconfig: ~/.config/k3d/kubeconfig-pki-cluster.yaml
"""

RETURN = r"""
cleared:
  description: What was uninstalled or rolled back, in check mode what would be.
  returned: always
  type: list
  elements: dict
  sample: [{"release": "cert-manager", "status": "pending-install", "action": "uninstall"}]
"""

import datetime
import json

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ansible_collections.servicemesh.pki.plugins.module_utils._common import errors

ACTIONS = {"pending-install": "uninstall", "pending-upgrade": "rollback", "pending-rollback": "rollback"}


class Helm:
    """Helm's command line in one namespace of one cluster."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        path = module.get_bin_path(module.params["helm_path"])
        if path is None:
            module.fail_json(
                msg=f"Helm is not installed: no program {module.params['helm_path']!r} in PATH. "
                "Install it (https://helm.sh) or name it in helm_path."
            )
        self.command = [path, "--namespace", module.params["namespace"]]
        for name, flag in (("kubeconfig", "--kubeconfig"), ("context", "--kube-context")):
            if module.params[name]:
                self.command += [flag, module.params[name]]

    def run(self, *arguments: str) -> str:
        rc, out, err = self.module.run_command([*self.command, *arguments])
        if rc != 0:
            hint = " Is the cluster running, and is this its kubeconfig?" if "unreachable" in err else ""
            self.module.fail_json(
                msg=f"helm {arguments[0]} failed in namespace {self.module.params['namespace']}: "
                f"{err.strip().removeprefix('Error: ')}.{hint}"
            )
        return out


def pending(helm: Helm, releases: list[str], grace: int) -> list[dict[str, str]]:
    found = json.loads(helm.run("list", "--pending", "--output", "json", "--time-format", "2006-01-02T15:04:05Z07:00"))
    now = datetime.datetime.now(tz=datetime.UTC)
    return [
        {"release": entry["name"], "status": entry["status"], "action": ACTIONS[entry["status"]]}
        for entry in found or []
        if entry["name"] in releases
        and (now - datetime.datetime.fromisoformat(entry["updated"].replace("Z", "+00:00"))).total_seconds() >= grace
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            releases=dict(type="list", elements="str", required=True),
            namespace=dict(type="str", required=True),
            grace=dict(type="int", default=0),
            kubeconfig=dict(type="path", fallback=(env_fallback, ["K8S_AUTH_KUBECONFIG"])),
            context=dict(type="str", fallback=(env_fallback, ["K8S_AUTH_CONTEXT"])),
            helm_path=dict(type="str", default="helm"),
        ),
        supports_check_mode=True,
    )
    errors.run(module, lambda: work(module, Helm(module)), lambda exc: unexpected_output(module, exc))


def unexpected_output(module: AnsibleModule, exc: Exception) -> errors.PkiError:
    return errors.PkiError(
        f"helm list printed no list of the releases in namespace {module.params['namespace']} ({type(exc).__name__}). "
        f"Run `{module.params['helm_path']} list --pending --output json` and check the version of Helm.",
        code="unreadable_output",
    )


def work(module: AnsibleModule, helm: Helm) -> dict:
    cleared = pending(helm, module.params["releases"], module.params["grace"])
    if not module.check_mode:
        for entry in cleared:
            helm.run(entry["action"], entry["release"], "--wait")
    before = {entry["release"]: entry["status"] for entry in cleared}
    return dict(changed=bool(cleared), cleared=cleared, diff={"before": before, "after": {}})


if __name__ == "__main__":
    main()
