# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait of linkerd_workload_renewal, with stand-ins for linkerd_certificates_info and for the judgement.

test_rotation.py waits for real proxies.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.servicemesh.pki.plugins.action import linkerd_workload_renewal as action

CLUSTER = {"kubeconfig": "/kubeconfig", "linkerd_namespace": "linkerd"}
OUTAGE = {"failed": True, "code": "unreachable", "msg": "The API server cannot be reached."}


@pytest.fixture
def run(monkeypatch):
    """Run the action with readings in this order; a number is a reading with that many pods that wait."""
    shown: list[str] = []

    def evaluation(reading, options):
        return {"pods": 3, "waiting": ["app/web"] * reading["left"], "message": f"{reading['left']} wait."}

    def run(*readings, check_mode=False, **args):
        clock = [0.0]
        calls = []
        remaining = list(readings)
        shown.clear()
        monkeypatch.setattr(action, "evaluate_reading", evaluation)
        monkeypatch.setattr(action.display, "display", shown.append)
        monkeypatch.setattr(action.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(action.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
        task = SimpleNamespace(args={**CLUSTER, **args}, check_mode=check_mode, async_val=0, diff=False)
        task.environment, task.no_log = None, False

        def execute(name, module_args, task_vars):
            calls.append((name, module_args))
            one = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            return {"left": one} if isinstance(one, int) else one

        module = action.ActionModule.__new__(action.ActionModule)
        module._task, module._execute_module = task, execute
        monkeypatch.setattr(action.ActionBase, "run", lambda self, tmp, task_vars: {})
        result = module.run(task_vars={"inventory_hostname": "one"})
        return SimpleNamespace(result=result, shown=list(shown), calls=calls, seconds=clock[0])

    return run


NEEDED = {"issuers": [], "issuer_name": "linkerd-root-2"}


def test_it_waits_until_no_pod_is_left_and_shows_each_change_once(run):
    done = run(2, 2, 1, 0, **NEEDED)
    assert done.result == {"changed": False, "pods": 3, "waiting": [], "message": "0 wait."}
    assert done.shown == ["one: 2 wait.", "one: 1 wait.", "one: 0 wait."]
    assert done.seconds == 3 * 60
    assert done.calls == [(action.READ, {**CLUSTER, "leaves": True})] * 4


def test_an_outage_after_the_first_reading_does_not_end_the_wait(run):
    done = run(1, OUTAGE, 0, **NEEDED)
    assert done.result["waiting"] == [] and done.shown[1] == f"one: {OUTAGE['msg']}"
    assert run(OUTAGE, 0, **NEEDED).result == OUTAGE


def test_it_ends_at_the_timeout(run):
    done = run(2, **NEEDED, interval=60, timeout=90)
    assert done.result["failed"] and done.result["code"] == "pods_not_renewed" and done.seconds == 90
    assert done.result["waiting"] == ["app/web"] * 2 and "2 wait." in done.result["msg"]


def test_advice_at_the_timeout_fits_the_last_reading(run):
    assert "Restart these pods" in run(2, **NEEDED, timeout=90).result["msg"]
    outage = run(2, OUTAGE, **NEEDED, timeout=90).result["msg"]
    assert OUTAGE["msg"] in outage and "Check the cluster" in outage and "Restart" not in outage


def test_check_mode_reads_once(run):
    assert len(run(2, **NEEDED, check_mode=True).calls) == 1


def test_wrong_options_are_named(run):
    with pytest.raises(AnsibleActionFail, match="issuer_name"):
        run(0, issuers=[])
