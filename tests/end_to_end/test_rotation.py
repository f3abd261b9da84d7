# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rotate_trust_anchor.yml under traffic: no request is lost forward and back, and the prober notices a wrong order.

The oracles are the requests of the prober, openssl, and verify.yml.
"""

from __future__ import annotations

import json
import re

from support.lab import until
from support.prober import NAMESPACE
from support.rotation import FAST, NEW, OLD, PLAYBOOK, assert_mesh_is_below, rotate, rotate_as_in_guide

# Tasks of the phases 3 and 4. Each run gets to its task, wherever the one before ended.
KILLED_AT = ("Wait until the batch has restarted", "Renew the identity issuer", "Restart the identity controller")


def test_check_mode_shows_the_plan_and_changes_nothing(expendable_mesh, prober):
    before = expendable_mesh.state()
    done = rotate_as_in_guide(expendable_mesh, "--check")
    assert done.rc == 0 and done.changed == 0, done.output[-3000:]
    assert "Phase 1 of 7" in done.flat and NEW in done.flat
    assert expendable_mesh.state() == before


def test_a_bundle_from_git_stops_the_rotation(expendable_mesh, prober):
    bundle, tracking = "bundle.trust.cert-manager.io/linkerd-identity-trust-roots", "argocd.argoproj.io/tracking-id"
    before = expendable_mesh.state()
    expendable_mesh.kubectl("annotate", bundle, f"{tracking}=mesh:trust.cert-manager.io/Bundle:/roots")
    done = rotate(expendable_mesh, NEW)
    expendable_mesh.kubectl("annotate", bundle, f"{tracking}-")
    assert done.rc != 0 and done.changed == 0 and "Argo CD application mesh" in done.flat, done.output[-3000:]
    assert expendable_mesh.state() == before


def test_rotation_that_is_undone_loses_no_request(expendable_mesh, prober, tmp_path):
    """The first run restarts the control plane only. Three more are killed. The next one pauses after the new root has
    signed the identity issuer. Then the user returns to the old root."""
    part = rotate_as_in_guide(expendable_mesh, "rotation_namespaces")
    assert part.rc == 0 and f"They are in {NAMESPACE}." in part.flat, part.output[-3000:]
    assert re.search(r"Batch 1 of \d+, namespace linkerd: Deployment linkerd-\w+", part.flat)
    assert f"namespace {NAMESPACE}:" not in part.flat and "Phase 4 of 7" not in part.flat
    until_phase_4 = {"rotation_pause_after_phase": 4}
    variables = {"pki_root_issuer_name": NEW, **FAST, **until_phase_4}
    for task in KILLED_AT:
        assert expendable_mesh.kill(PLAYBOOK, task, variables), expendable_mesh.runs[-1].output[-3000:]
    paused = rotate(expendable_mesh, NEW, **until_phase_4)
    assert paused.rc == 0 and "Phase 5 of 7" in paused.flat, paused.output[-3000:]
    back = rotate(expendable_mesh, OLD)
    assert back.rc == 0, back.output[-3000:]
    assert_mesh_is_below(expendable_mesh, OLD, tmp_path)
    assert prober.good().over_held_connections > 0


def shorten_certificates(mesh) -> None:
    """Linkerd issues certificates for three minutes instead of 24 hours, so a wait for their renewal is short."""
    patch = []
    for number, container in enumerate(
        mesh.get("deployment/linkerd-identity", "-n", "linkerd")["spec"]["template"]["spec"]["containers"]
    ):
        for position, argument in enumerate(container.get("args") or []):
            if argument.startswith("-identity-issuance-lifetime="):
                path = f"/spec/template/spec/containers/{number}/args/{position}"
                patch.append({"op": "replace", "path": path, "value": "-identity-issuance-lifetime=3m0s"})
    assert patch
    mesh.kubectl("patch", "deployment/linkerd-identity", "-n", "linkerd", "--type=json", "-p", json.dumps(patch))
    mesh.kubectl("rollout", "status", "deployment/linkerd-identity", "-n", "linkerd", "--timeout=300s")


def issuer(mesh) -> dict:
    """The settings of the old root in Vault."""
    return mesh.vault("GET", f"pki/issuer/{OLD}", token=mesh.root_token())[1]["data"]


def test_rotation_loses_no_request_and_is_done_once(expendable_mesh, prober, tmp_path):
    """The playbook waits until the proxies have renewed their certificates, and shows how many have.

    The old root is retired at the end of the same run. Afterwards it gets its usage back for the next test.
    """
    shorten_certificates(expendable_mesh)
    old = issuer(expendable_mesh)
    waiting = {"rotation_restart_again": False, "rotation_poll_seconds": 5}
    done = rotate_as_in_guide(expendable_mesh, "rotation_retired_roots", **waiting)
    assert done.rc == 0, done.output[-3000:]
    assert "issuing-certificates" not in issuer(expendable_mesh)["usage"]
    restored = {name: old[name] for name in ("issuer_name", "leaf_not_after_behavior", "usage")}
    assert expendable_mesh.vault("POST", f"pki/issuer/{OLD}", restored, expendable_mesh.root_token())[0] == 200
    shown = re.findall(rf"(\d+) of (\d+) pods have certificates below {NEW}", done.flat)
    shown = [one for one in shown if one[1] == shown[-1][1]]  # without the wait for the identity controller alone
    assert len(shown) > 1 and shown[0][0] != shown[0][1] and shown[-1][0] == shown[-1][1], shown
    assert re.search(r"renew: \d+ (min|s)\b.*done: .*total: \d+ min", done.flat)
    assert_mesh_is_below(expendable_mesh, NEW, tmp_path)
    assert prober.good().over_held_connections > 0
    again = rotate(expendable_mesh, NEW)
    assert again.rc == 0 and again.changed == 0, again.output[-3000:]


def test_pods_that_a_rollout_cannot_restart_stop_the_rotation_by_name(expendable_mesh, prober):
    bare = {"name": "bare", "namespace": NAMESPACE}
    image = expendable_mesh.parts["test_app_image"]
    expendable_mesh.kubectl(
        "run", bare["name"], "-n", NAMESPACE, f"--image={image}", "--image-pull-policy=IfNotPresent"
    )
    expendable_mesh.kubectl("wait", "--for=condition=Ready", "pod/bare", "-n", NAMESPACE, "--timeout=300s")
    done = rotate(expendable_mesh, OLD)
    assert done.rc != 0 and f"{NAMESPACE}/bare" in done.flat
    expendable_mesh.kubectl("delete", "pod", "bare", "-n", NAMESPACE)
    assert prober.good().over_held_connections > 0


def test_the_prober_notices_a_wrong_order(expendable_mesh, prober):
    """The signer changes while the prober's pods carry only one anchor: a server that restarts is not trusted."""
    expendable_mesh.kubectl("rollout", "status", "deployment/api", "-n", NAMESPACE, "--timeout=300s")
    done = rotate(expendable_mesh, OLD, rotation_ignored_pods=[f"{NAMESPACE}/*"], rotation_pause_after_phase=4)
    assert done.rc == 0, done.output[-3000:]
    expendable_mesh.kubectl("rollout", "restart", "deployment/api", "-n", NAMESPACE)
    assert until(lambda: prober.count().failures)
