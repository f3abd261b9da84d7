#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linkerd_check
short_description: Run linkerd check and fail on unexpected warnings
version_added: 0.1.0
description:
  - Runs C(linkerd check) and returns the result of each check.
  - Fails on every failed check and on every warning that is not in O(allowed_warnings), including those of extensions,
    for any exit code of the CLI.
  - Reads JSON, and the table that an extension without JSON output prints.
  - C(linkerd check) reads the trust anchors from C(ca.crt) of the issuer's Secret, not from the ConfigMap that the mesh
    uses. It can pass although the mesh rejects the issuer. Compare both with P(servicemesh.pki.x509_chain#filter).
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
options:
  linkerd_path:
    description: Name or path of the linkerd CLI.
    type: str
    default: linkerd
  linkerd_namespace:
    description: Namespace of Linkerd's control plane.
    type: str
    default: linkerd
  expected_version:
    description:
      - Expected version of Linkerd, such as V(edge-26.8.3).
      - The default is the version of the running control plane, or that of the CLI if there is none. So the check needs
        no connection to the internet, where the CLI would look up the newest version.
    type: str
  data_plane:
    description: Whether to check the data plane. With V(false), only the control plane is checked.
    type: bool
    default: false
  namespace:
    description: Namespace whose data plane is checked. The default is all namespaces. Requires O(data_plane=true).
    type: str
  wait:
    description: Seconds to wait for checks that can recover.
    type: int
    default: 300
  allowed_warnings:
    description:
      - Warnings that are not a failure, each by its description or by the anchor of its hint, case-insensitive.
      - The default is the warning about an issuer that is valid for less than 60 days, which every short-lived issuer
        causes.
    type: list
    elements: str
    default: [l5d-identity-issuer-cert-not-expiring-soon]
notes:
  - When O(host) and O(api_key) are set, the CLI reads a kubeconfig that exists in memory only, so no credential is on a
    disk or in the arguments of a process. This requires Linux.
  - In check mode, a failed check is returned but does not fail the task, because an earlier task may not have created
    what it checks.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Check the control plane
  servicemesh.pki.linkerd_check:
    kubeconfig: ~/.config/k3d/kubeconfig-pki-cluster.yaml
    expected_version: edge-26.8.3

- name: Check that the proxies of one namespace have the current trust anchors
  servicemesh.pki.linkerd_check:
    data_plane: true
    namespace: emojivoto
    wait: 60
"""

RETURN = r"""
passed:
  description: Whether no check failed and all warnings are allowed.
  returned: when linkerd check ran
  type: bool
categories:
  description: For each category the number of checks with the result C(success), C(warning) and C(error).
  returned: when linkerd check ran
  type: dict
  sample: {"linkerd-identity": {"success": 7, "warning": 1, "error": 0}}
checks:
  description: All checks in the order in which they ran.
  returned: when linkerd check ran
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
      description: Message of the warning or error. Empty for a success.
      type: str
      returned: always
    hint:
      description: URL of the page that explains how to fix it. It can be empty.
      type: str
      returned: always
warnings_allowed:
  description: Warnings that are allowed.
  returned: when linkerd check ran
  type: list
  elements: dict
  contains: *check
warnings_found:
  description: Warnings that are not allowed.
  returned: when linkerd check ran
  type: list
  elements: dict
  contains: *check
errors:
  description: Failed checks.
  returned: when linkerd check ran
  type: list
  elements: dict
  contains: *check
other_output:
  description: Lines of the output that belong to no check. A warning or the error contains them, too.
  returned: when linkerd check ran
  type: list
  elements: str
exit_code:
  description: Exit code of the CLI.
  returned: when linkerd check ran
  type: int
stderr:
  description: Error output of the CLI. A warning or the error contains it, too.
  returned: when linkerd check ran, and failure with RV(code) V(unreadable_output)
  type: str
stdout:
  description: The whole output.
  returned: failure with RV(code) V(unreadable_output)
  type: str
code:
  description:
    - V(checks_failed) when a check failed or a warning is not allowed.
    - V(unreadable_output) when the output is not that of linkerd check.
    - V(linkerd_missing) when the CLI is not installed.
    - V(invalid_option) when O(namespace) is set without O(data_plane).
    - V(ambiguous_cluster), V(no_login), V(no_host), V(invalid_kubeconfig) or V(unsupported_platform) when the options
      and the environment do not name one cluster.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.servicemesh.pki.plugins.module_utils._common import errors
from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import access
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import check_output, cli


def run_check(module: AnsibleModule) -> tuple[int, str, str]:
    """Run the CLI. In check mode it does not wait, because nothing is created meanwhile."""
    params = module.params
    if params["namespace"] and not params["data_plane"]:
        raise PkiError(
            "namespace applies to checks of the data plane only. Set data_plane to true, or remove namespace.",
            code="invalid_option",
        )
    options = {
        "output": "json",
        "expected-version": params["expected_version"] or cli.running_version(module),
        "namespace": params["namespace"],
        "wait": f"{1 if module.check_mode else params['wait']}s",
        "proxy": "true" if params["data_plane"] else "",
    }
    return cli.run(module, "check", options)


def evaluate(module: AnsibleModule, rc: int, out: str, err: str) -> tuple[dict, str]:
    """The results, and the message of the failure, which is empty if all checks passed."""
    printed = " ".join(err.split())
    try:
        output = check_output.parse(out)
    except check_output.LinkerdCheckError as exc:
        raise PkiError(
            f"The output of linkerd check cannot be used: {exc}. Exit code {rc}, error output: {printed or 'none'}. "
            "Run `linkerd check --output=json` to see it.",
            code="unreadable_output",
            stdout=out,
            stderr=err,
        ) from exc
    failed = [check for check in output.checks if check.result == "error"]
    warnings = [check for check in output.checks if check.result == "warning"]
    allowed = [check for check in warnings if check_output.is_allowed(check, module.params["allowed_warnings"])]
    unexpected = [check for check in warnings if check not in allowed]
    message = check_output.failure_message(failed, unexpected)
    if rc != 0 and not failed:
        message = f"linkerd check failed with exit code {rc}, but reports no failed check. {message}".strip()
    results = {
        "passed": not message,
        "categories": check_output.count(output.checks),
        "checks": [check.facts() for check in output.checks],
        "warnings_allowed": [check.facts() for check in allowed],
        "warnings_found": [check.facts() for check in unexpected],
        "errors": [check.facts() for check in failed],
        "other_output": output.other_lines,
        "exit_code": rc,
        "stderr": err,
    }
    return results, with_other_output(module, message, printed, output.other_lines)


def with_other_output(module: AnsibleModule, message: str, printed: str, other_lines: list[str]) -> str:
    """The message with the output that belongs to no check. Without a message, that output becomes a warning."""
    parts = {"error output": printed, "lines that belong to no check": "; ".join(other_lines)}
    other = ". ".join(f"linkerd check printed {name}: {text.rstrip('.')}" for name, text in parts.items() if text)
    if other and message:
        return f"{message.rstrip('.')}. {other}."
    if other:
        module.warn(f"{other}.")
    return message


def work(module: AnsibleModule) -> dict:
    results, message = evaluate(module, *run_check(module))
    if message and not module.check_mode:
        raise PkiError(message, code="checks_failed", **results)
    return dict(changed=False, **results)


def unexpected_output(exc: Exception) -> PkiError:
    return PkiError(
        f"The output of linkerd check does not have the format that this module expects ({type(exc).__name__}). "
        "Run `linkerd check --output=json` and check the version of the CLI.",
        code="unreadable_output",
    )


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
    errors.run(module, lambda: work(module), unexpected_output)


if __name__ == "__main__":
    main()
