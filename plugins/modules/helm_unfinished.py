#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_unfinished
short_description: Clear Helm releases that a killed Helm left pending
version_added: 0.1.0
description:
  - A Helm that is killed leaves its release in the status C(pending-install), C(pending-upgrade) or
    C(pending-rollback). Every later Helm then refuses to touch it, and M(kubernetes.core.helm) with it.
  - This module uninstalls a release that was never installed, and rolls one back that was being upgraded. The next
    M(kubernetes.core.helm) then does the work. A release in any other status is left alone.
  - A release is also pending while another Helm works on it. A release that became pending within O(grace) is an error
    that names its age, and nothing is changed.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
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
    description:
      - Seconds that a release must have been pending before it counts as left behind.
      - Set it to V(0) only if nobody else runs Helm on the cluster.
    type: int
    default: 600
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
  sample: [{"release": "cert-manager", "status": "pending-install", "action": "uninstall", "age": 4000}]
pending:
  description: The releases that another Helm may still be working on, as in RV(cleared).
  returned: when RV(code) is V(release_in_progress)
  type: list
  elements: dict
code:
  description: >-
    V(release_in_progress), V(helm_missing), V(helm_failed), V(unreadable_output), or V(ambiguous_cluster), V(no_login),
    V(no_host), V(invalid_kubeconfig) and V(unsupported_platform) for a cluster that is not given clearly.
  returned: failure
  type: str
"""

import datetime
import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.servicemesh.pki.plugins.module_utils._common import errors
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access

ACTIONS = {"pending-install": "uninstall", "pending-upgrade": "rollback", "pending-rollback": "rollback"}
# Helm would prefer these to the kubeconfig. It takes an empty value as one that is not set.
OTHER_CLUSTER = dict.fromkeys(
    (
        "HELM_KUBEAPISERVER",
        "HELM_KUBETOKEN",
        "HELM_KUBECAFILE",
        "HELM_KUBECONTEXT",
        "HELM_KUBEASUSER",
        "HELM_KUBEASGROUPS",
    ),
    "",
)


class Helm:
    """Helm's command line in one namespace of one cluster."""

    def __init__(self, module: AnsibleModule, cluster: access.Files) -> None:
        self.module, self.descriptors = module, cluster.descriptors
        path = module.get_bin_path(module.params["helm_path"])
        if path is None:
            raise errors.PkiError(
                f"Helm is not installed: no program {module.params['helm_path']!r} in PATH. "
                "Install it (https://helm.sh) or name it in helm_path.",
                code="helm_missing",
            )
        self.command = [path, "--namespace", module.params["namespace"]]
        for value, flag in ((cluster.kubeconfig, "--kubeconfig"), (cluster.context, "--kube-context")):
            if value:
                self.command += [flag, value]
        self.environment = OTHER_CLUSTER if cluster.kubeconfig or cluster.context else {}

    def run(self, *arguments: str) -> str:
        rc, out, err = self.module.run_command(
            [*self.command, *arguments], environ_update=self.environment, pass_fds=self.descriptors
        )
        if rc != 0:
            hint = " Is the cluster running, and is this its kubeconfig?" if "unreachable" in err else ""
            raise errors.PkiError(
                f"helm {arguments[0]} failed in namespace {self.module.params['namespace']}: "
                f"{err.strip().removeprefix('Error: ')}.{hint}",
                code="helm_failed",
            )
        return out


def timestamp(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def pending(helm: Helm, releases: list[str]) -> list[dict[str, Any]]:
    """The pending releases, each with the seconds since a Helm wrote it last."""
    found = json.loads(helm.run("list", "--pending", "--output", "json", "--time-format", "2006-01-02T15:04:05Z07:00"))
    now = datetime.datetime.now(tz=datetime.UTC)
    return [
        {
            "release": entry["name"],
            "status": entry["status"],
            "action": ACTIONS[entry["status"]],
            "age": round((now - timestamp(entry["updated"])).total_seconds()),
        }
        for entry in found or []
        if entry["name"] in releases
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            releases=dict(type="list", elements="str", required=True),
            namespace=dict(type="str", required=True),
            grace=dict(type="int", default=600),
            helm_path=dict(type="str", default="helm"),
            **access.AUTH_ARG_SPEC,
        ),
        supports_check_mode=True,
    )
    errors.run(module, lambda: work(module), lambda exc: unexpected_output(module, exc))


def unexpected_output(module: AnsibleModule, exc: Exception) -> errors.PkiError:
    return errors.PkiError(
        f"helm list printed no list of the releases in namespace {module.params['namespace']} ({type(exc).__name__}). "
        f"Run `{module.params['helm_path']} list --pending --output json` and check the version of Helm.",
        code="unreadable_output",
    )


def work(module: AnsibleModule) -> dict:
    with access.files(module.params) as cluster:
        helm = Helm(module, cluster)
        found = pending(helm, module.params["releases"])
        refuse_young(found, module.params["namespace"], module.params["grace"])
        if not module.check_mode:
            for entry in found:
                helm.run(entry["action"], entry["release"], "--wait")
    before = {entry["release"]: entry["status"] for entry in found}
    return dict(changed=bool(found), cleared=found, diff={"before": before, "after": {}})


def refuse_young(found: list[dict[str, Any]], namespace: str, grace: int) -> None:
    """Another Helm may still work on a release that it wrote a moment ago."""
    young = [entry for entry in found if entry["age"] < grace]
    if young:
        listed = ", ".join(f"{one['release']} has been {one['status']} for {one['age']} s" for one in young)
        raise errors.PkiError(
            f"Another Helm may still be working in namespace {namespace}: {listed}. Wait until it has finished, and "
            f"run again. If it was killed, this is cleared once it is {grace} s old (grace).",
            code="release_in_progress",
            pending=young,
        )


if __name__ == "__main__":
    main()
