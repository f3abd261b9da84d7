# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Linkerd CLI, for the cluster that a task names. Private to this collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access


def run(
    module: AnsibleModule, command: str, options: Mapping[str, Any], descriptors: Sequence[int] = ()
) -> tuple[int, str, str]:
    """Run a command of the CLI. Return its exit code, output and error output.

    The module has the options of `access.AUTH_ARG_SPEC`, linkerd_path and linkerd_namespace. `options` become
    `--name=value`, and are left out without a value. The CLI inherits `descriptors`. Raises PkiError if the CLI is not
    installed, and AccessError.
    """
    params = module.params
    program = module.get_bin_path(params["linkerd_path"])
    if program is None:
        raise PkiError(
            f"The Linkerd CLI is not installed: there is no program {params['linkerd_path']!r} in PATH. "
            "Install the version of the control plane, or set linkerd_path.",
            code="linkerd_missing",
        )
    with access.files(params) as cluster:
        place = {
            "kubeconfig": cluster.kubeconfig,
            "context": cluster.context,
            "linkerd-namespace": params["linkerd_namespace"],
        }
        flags = [f"--{name}={value}" for name, value in {**place, **options}.items() if value]
        rc, out, err = module.run_command([program, command, *flags], pass_fds=(*cluster.descriptors, *descriptors))
        return rc, out, err


def running_version(module: AnsibleModule) -> str:
    """Version of the running control plane, or that of the CLI if there is none. Empty if the CLI prints neither.

    Has the requirements and errors of `run`. The CLI prints its own version first, and "unavailable" for a control
    plane that it cannot read (Linkerd: cli/cmd/version.go).
    """
    out = run(module, "version", {"short": "true"})[1]
    found = [version for version in out.split() if version != "unavailable"]
    return found[-1] if found else ""
