#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_pending_release
short_description: Clear pending Helm releases
version_added: 0.1.0
description:
  - Clears releases with the status C(pending-install), C(pending-upgrade), C(pending-rollback) or C(uninstalling). A
    Helm process that was interrupted leaves a release in such a status. Every later C(helm upgrade) then fails, for
    example with I(another operation is in progress), and M(kubernetes.core.helm) with it. A release that is
    C(uninstalling) is not removed by M(kubernetes.core.helm) either.
  - Rolls back a release that was being upgraded. A release that was being installed is rolled back to its own
    revision, which creates its missing objects. It is not uninstalled, because that would also delete existing objects
    that were handed over to the release, such as CRDs with every object of their kinds. A release that was being
    uninstalled is uninstalled. Afterwards M(kubernetes.core.helm) works again. Releases with another status are not
    changed.
  - A release is also pending while another Helm process works on it. If a release has been pending for less than
    O(grace) seconds, the task fails and changes nothing.
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
    description: Names of the releases to clear.
    type: list
    elements: str
    required: true
  namespace:
    description: Namespace of the releases.
    type: str
    required: true
  grace:
    description:
      - Minimum time in seconds that a release must have been pending before the module clears it.
      - Set it to V(0) only if nobody else runs Helm on the cluster.
    type: int
    default: 600
  helm_path:
    description: Name or path of the Helm CLI.
    type: str
    default: helm
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Clear the release of an interrupted run
  servicemesh.pki.helm_pending_release:
    releases: [cert-manager]
    namespace: cert-manager
    kubeconfig: ~/.config/k3d/kubeconfig-pki-cluster.yaml
"""

RETURN = r"""
cleared:
  description: Releases that were rolled back or uninstalled. In check mode, those that would be.
  returned: success
  type: list
  elements: dict
  sample: [{"release": "cert-manager", "status": "pending-upgrade", "action": "rollback", "revision": 2, "age": 4000}]
pending:
  description: Releases that another Helm process may be working on, with the keys of RV(cleared).
  returned: failure with RV(code) V(release_in_progress)
  type: list
  elements: dict
code:
  description:
    - V(release_in_progress) when a release has been pending for less than O(grace) seconds.
    - V(helm_missing) when Helm is not installed, V(helm_failed) when it failed, V(unreadable_output) when its output is
      not a list of releases.
    - V(ambiguous_cluster), V(no_login), V(no_host), V(invalid_kubeconfig) or V(unsupported_platform) when the options
      and the environment do not name one cluster.
  returned: failure
  type: str
"""

import datetime
import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.servicemesh.pki.plugins.module_utils._common import errors
from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access

INSTALLING = "pending-install"
ACTIONS = {
    INSTALLING: "rollback",
    "pending-upgrade": "rollback",
    "pending-rollback": "rollback",
    "uninstalling": "uninstall",
}
# Helm prefers these to the kubeconfig. An empty value is the same as none.
UNSET_VARIABLES = dict.fromkeys(
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
    """The Helm CLI in one namespace of one cluster."""

    def __init__(self, module: AnsibleModule, cluster: access.Files) -> None:
        self.module, self.descriptors = module, cluster.descriptors
        path = module.get_bin_path(module.params["helm_path"])
        if path is None:
            raise PkiError(
                f"Helm is not installed: there is no program {module.params['helm_path']!r} in PATH. "
                "Install it (https://helm.sh), or set helm_path.",
                code="helm_missing",
            )
        self.command = [path, "--namespace", module.params["namespace"]]
        for value, flag in ((cluster.kubeconfig, "--kubeconfig"), (cluster.context, "--kube-context")):
            if value:
                self.command += [flag, value]
        self.environment = UNSET_VARIABLES if cluster.kubeconfig or cluster.context else {}

    def run(self, *arguments: str) -> str:
        rc, out, err = self.module.run_command(
            [*self.command, *arguments], environ_update=self.environment, pass_fds=self.descriptors
        )
        if rc != 0:
            hint = " Check that the cluster is running, and the kubeconfig." if "unreachable" in err else ""
            reason = err.strip().removeprefix("Error: ").rstrip(".") or f"it printed no error, exit code {rc}"
            raise PkiError(
                f"helm {arguments[0]} failed in namespace {self.module.params['namespace']}: {reason}.{hint}",
                code="helm_failed",
            )
        return out


def pending_releases(helm: Helm, releases: list[str]) -> list[dict[str, Any]]:
    """Those of the releases that are pending, with their age in seconds since Helm began to change them."""
    shown = ("--pending", "--uninstalling", "--output", "json", "--time-format", "2006-01-02T15:04:05Z07:00")
    found = json.loads(helm.run("list", *shown))
    now = datetime.datetime.now(tz=datetime.UTC)
    return [
        {
            "release": entry["name"],
            "status": entry["status"],
            "action": ACTIONS[entry["status"]],
            "revision": int(entry["revision"]),
            "age": round((now - datetime.datetime.fromisoformat(started_at(helm, entry))).total_seconds()),
        }
        for entry in found or []
        if entry["name"] in releases
    ]


def started_at(helm: Helm, entry: dict[str, Any]) -> str:
    """When the action started.

    `helm uninstall` does not change the time that `helm list` shows (Helm, pkg/action/uninstall.go).
    """
    updated: str = entry["updated"]
    if entry["status"] != "uninstalling":
        return updated
    deleted: str = json.loads(helm.run("status", entry["name"], "--output", "json"))["info"].get("deleted") or updated
    return deleted


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


def unexpected_output(module: AnsibleModule, exc: Exception) -> PkiError:
    return PkiError(
        f"The output of helm list for namespace {module.params['namespace']} is not a list of releases "
        f"({type(exc).__name__}). "
        f"Run `{module.params['helm_path']} list --pending --uninstalling --output json` and check the version of "
        "Helm.",
        code="unreadable_output",
    )


def work(module: AnsibleModule) -> dict:
    with access.files(module.params) as cluster:
        helm = Helm(module, cluster)
        found = pending_releases(helm, module.params["releases"])
        check_age(found, module.params["namespace"], module.params["grace"])
        if not module.check_mode:
            for entry in found:
                helm.run(*arguments(entry))
    before = {entry["release"]: entry["status"] for entry in found}
    return dict(changed=bool(found), cleared=found, diff={"before": before, "after": {}})


def arguments(entry: dict[str, Any]) -> list[str]:
    """Of the command that clears a release. After an installation that was killed, pods may never become ready."""
    if entry["status"] == INSTALLING:
        return [entry["action"], entry["release"], str(entry["revision"])]
    return [entry["action"], entry["release"], "--wait"]


def check_age(found: list[dict[str, Any]], namespace: str, grace: int) -> None:
    """Raise PkiError if another Helm process may be working on a release."""
    young = [entry for entry in found if entry["age"] < grace]
    if young:
        listed = ", ".join(f"{one['release']} has been {one['status']} for {one['age']} s" for one in young)
        raise PkiError(
            f"Another Helm process may be working in namespace {namespace}: {listed}. Wait until it has finished, "
            f"and run the task again. If it was interrupted, run the task again after {grace} s (grace).",
            code="release_in_progress",
            pending=young,
        )


if __name__ == "__main__":
    main()
