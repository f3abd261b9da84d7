# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until all pods have new certificates, and prints the progress. The module of its name has the documentation."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.servicemesh.pki.plugins.plugin_utils._rotation import plan
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.filter_input import readable, require_cryptography

OPTIONS = {
    "issuers": dict(type="list", elements="dict", required=True),
    "issuer_name": dict(type="str", required=True),
    "pods": dict(type="list", elements="str", default=["*"]),
    "ignored_pods": dict(type="list", elements="str", default=[]),
    "timeout": dict(type="int", default=90000),
    "interval": dict(type="int", default=60),
}
READ = "servicemesh.pki.linkerd_certificates_info"
display = Display()


class ActionModule(ActionBase):
    """Polls linkerd_certificates_info, which runs on the target."""

    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        require_cryptography()
        super().run(tmp, task_vars)
        options = own_options(self._task.args)
        others = {name: value for name, value in self._task.args.items() if name not in OPTIONS}
        host = (task_vars or {}).get("inventory_hostname", "")
        deadline = time.monotonic() + options["timeout"]
        shown = ""
        while True:
            reading = self._execute_module(READ, module_args={**others, "leaves": True}, task_vars=task_vars)
            if reading.get("failed") and not shown:  # later failures may be temporary outages
                return dict(reading)
            renewal = {"message": reading["msg"]} if reading.get("failed") else evaluate_reading(reading, options)
            if renewal["message"] != shown:
                shown = renewal["message"]
                display.display(f"{host}: {shown}")
            if renewal.get("waiting") == [] or self._task.check_mode:
                return {"changed": False, **renewal}
            if time.monotonic() >= deadline:
                message = timeout_message(shown, options, "waiting" in renewal)
                return {"failed": True, "code": "pods_not_renewed", "msg": message, **renewal}
            time.sleep(min(options["interval"], max(0.0, deadline - time.monotonic())))


def own_options(args: dict[str, Any]) -> dict[str, Any]:
    """The options of the action itself, checked and with defaults."""
    result = ArgumentSpecValidator(OPTIONS).validate({name: args[name] for name in OPTIONS if name in args})
    if result.error_messages:
        raise AnsibleActionFail(" ".join(result.error_messages))
    return dict(result.validated_parameters)


def evaluate_reading(reading: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    with readable("linkerd_workload_renewal", "the issuers that vault_pki_issuer_info returns"):
        return plan.renewal(
            reading, options["issuers"], options["issuer_name"], options["pods"], options["ignored_pods"]
        )


def timeout_message(message: str, options: dict[str, Any], is_read: bool) -> str:
    advice = "Restart these pods, or run the task again." if is_read else "Check the cluster, and run the task again."
    return f"Timed out after {options['timeout']} s. {message.rstrip('.')}. {advice}"
