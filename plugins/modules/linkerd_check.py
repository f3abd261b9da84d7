#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_check
short_description: Let Linkerd check itself, and fail on anything that was not expected
version_added: 0.1.0
description:
  - Runs C(linkerd check) and returns what it found, check by check.
  - Fails on every check that failed and on every warning that is not in O(allowed_warnings), those of extensions too,
    whatever the program's exit code.
  - An extension that knows no JSON prints a table, which is read as well.
  - C(linkerd check) takes the trust anchors from C(ca.crt) of the issuer's Secret, not from the ConfigMap that the mesh
    uses. It can pass while the mesh refuses the issuer; M(servicemesh.pki.linkerd_check) does not change that.
    Compare them with P(servicemesh.pki.x509_chain#filter).
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
options:
  linkerd_path:
    description: The linkerd program, by name or path.
    type: str
    default: linkerd
  linkerd_namespace:
    description: Namespace of Linkerd's control plane.
    type: str
    default: linkerd
  expected_version:
    description:
      - Version that Linkerd should have, such as V(edge-26.8.3).
      - Without it the program asks a server on the internet for the newest one.
    type: str
  data_plane:
    description: Whether to check the data plane in place of what only concerns the control plane.
    type: bool
    default: false
  namespace:
    description: Namespace whose data plane is checked, all without it. Needs O(data_plane=true).
    type: str
  wait:
    description: Seconds that the checks that can recover may take to pass.
    type: int
    default: 300
  allowed_warnings:
    description:
      - Warnings that are no failure, each by its description or by the anchor of its hint, in any case of letters.
      - The default is the warning that the issuer lives less than 60 days. A short-lived issuer always gives it.
    type: list
    elements: str
    default: [l5d-identity-issuer-cert-not-expiring-soon]
notes:
  - A cluster may be given by O(host) and O(api_key), too. The program then reads a kubeconfig that exists in memory
    only, so no credential is written to a disk or is an argument of a process. That needs Linux.
  - In check mode a check that failed is returned but is no failure of the task, for what it looks at may not have been
    made.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: The control plane is well
  servicemesh.pki.linkerd_check:
    kubeconfig: ~/.config/k3d/kubeconfig-pki-cluster.yaml
    expected_version: edge-26.8.3

- name: The proxies of one namespace carry the current anchors
  servicemesh.pki.linkerd_check:
    data_plane: true
    namespace: emojivoto
    wait: 60
"""

RETURN = r"""
passed:
  description: Whether no check failed and no warning came that is not allowed.
  returned: when linkerd check could run
  type: bool
categories:
  description: For each category how many checks were C(success), C(warning), C(error).
  returned: when linkerd check could run
  type: dict
  sample: {"linkerd-identity": {"success": 7, "warning": 1, "error": 0}}
checks:
  description: All checks in the order they were made.
  returned: when linkerd check could run
  type: list
  elements: dict
  contains: &check
    category:
      description: Category of the check.
      type: str
      returned: always
      sample: linkerd-identity
    description:
      description: What was checked.
      type: str
      returned: always
      sample: issuer cert is valid for at least 60 days
    result:
      description: V(success), V(warning) or V(error).
      type: str
      returned: always
    error:
      description: What was found, empty for a success.
      type: str
      returned: always
    hint:
      description: Address of the page that says what to do, may be empty.
      type: str
      returned: always
warnings_allowed:
  description: The warnings that were allowed.
  returned: when linkerd check could run
  type: list
  elements: dict
  contains: *check
warnings_found:
  description: The warnings that were not allowed.
  returned: when linkerd check could run
  type: list
  elements: dict
  contains: *check
errors:
  description: The checks that failed.
  returned: when linkerd check could run
  type: list
  elements: dict
  contains: *check
other_output:
  description: The lines of the output that are part of no check. They are also in a warning or in the error.
  returned: when linkerd check could run
  type: list
  elements: str
stderr:
  description: What the program printed as error output. It is also in a warning or in the error.
  returned: always
  type: str
stdout:
  description: The whole output, when it cannot be used.
  returned: failure because of it
  type: str
code:
  description:
    - V(checks_failed), or V(unreadable_output) when the output is not what linkerd check prints.
    - V(ambiguous_cluster), V(no_login), V(no_host), V(invalid_kubeconfig) or V(unsupported_platform) when the
      options do not name one cluster.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import check_output as output


def arguments(params: dict, cluster: access.Files, check_mode: bool) -> list[str]:
    """In check mode nothing is waited for, since what would come true may not have been made."""
    options = {
        "--kubeconfig": cluster.kubeconfig,
        "--context": cluster.context,
        "--linkerd-namespace": params["linkerd_namespace"],
        "--expected-version": params["expected_version"],
        "--namespace": params["namespace"],
        "--wait": f"{1 if check_mode else params['wait']}s",
    }
    given = [f"{name}={value}" for name, value in options.items() if value]
    return ["check", "--output=json", *given, *(["--proxy"] if params["data_plane"] else [])]


def report(module: AnsibleModule, out: str, err: str, rc: int) -> tuple[dict, str]:
    """The results and the message of failure."""
    printed = " ".join(err.split())
    try:
        found = output.parse(out)
    except output.LinkerdCheckError as exc:
        module.fail_json(
            msg=f"linkerd check printed what cannot be used: {exc}. Exit code {rc}, error output: {printed or 'none'}. "
            "Run `linkerd check --output=json` to see it.",
            code="unreadable_output",
            stdout=out,
            stderr=err,
        )
    errors = [check for check in found.checks if check.result == "error"]
    warnings = [check for check in found.checks if check.result == "warning"]
    allowed = [check for check in warnings if output.is_allowed(check, module.params["allowed_warnings"])]
    unexpected = [check for check in warnings if check not in allowed]
    message = output.failure_message(errors, unexpected)
    if rc != 0 and not errors:
        message = f"linkerd check failed with exit code {rc} and names no check that failed. {message}".strip()
    others = {"error output": printed, "lines that are no check": "; ".join(found.other_lines)}
    also = ". ".join(f"linkerd check printed {name}: {text.rstrip('.')}" for name, text in others.items() if text)
    if also and message:
        message = f"{message.rstrip('.')}. {also}."
    elif also:
        module.warn(f"{also}.")
    results = {
        "passed": not message,
        "categories": output.count(found.checks),
        "checks": [check.facts() for check in found.checks],
        "warnings_allowed": [check.facts() for check in allowed],
        "warnings_found": [check.facts() for check in unexpected],
        "errors": [check.facts() for check in errors],
        "other_output": found.other_lines,
        "stderr": err,
    }
    return results, message


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            linkerd_path=dict(type="str", default="linkerd"),
            **access.AUTH_ARG_SPEC,
            linkerd_namespace=dict(type="str", default="linkerd"),
            expected_version=dict(type="str"),
            data_plane=dict(type="bool", default=False),
            namespace=dict(type="str"),
            wait=dict(type="int", default=300),
            allowed_warnings=dict(type="list", elements="str", default=["l5d-identity-issuer-cert-not-expiring-soon"]),
        ),
        supports_check_mode=True,
    )
    params = module.params
    if params["namespace"] and not params["data_plane"]:
        module.fail_json(
            msg="namespace is for the data plane's checks: set data_plane to true, or leave namespace out."
        )
    program = module.get_bin_path(params["linkerd_path"])
    if program is None:
        module.fail_json(
            msg=f"Linkerd's CLI is not installed: no program {params['linkerd_path']!r} in PATH. "
            "Install the version of the control plane, or name the program in linkerd_path."
        )
    try:
        with access.files(params) as cluster:
            command = [program, *arguments(params, cluster, module.check_mode)]
            rc, out, err = module.run_command(command, pass_fds=cluster.descriptors)
    except PkiError as exc:
        module.fail_json(**exc.result())
    results, message = report(module, out, err, rc)
    if message and not module.check_mode:
        module.fail_json(msg=message, code="checks_failed", **results)
    module.exit_json(changed=False, **results)


if __name__ == "__main__":
    main()
