# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations between the two roots of a mesh, and what is true when one is finished."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from pathlib import Path

from guides import playbook_arguments

from support.mesh import Mesh, Run

OLD, NEW = "linkerd-root-1", "linkerd-root-2"
FAST = {"rotation_restart_again": True}  # instead of waiting until proxies renew their certificates
GUIDE = "docs/guides/rotation.md"
PLAYBOOK = "playbooks/rotate_trust_anchor.yml"
KILLS = 3
PHASES = ("create", "distribute", "restart", "switch", "renew", "remove", "done")
TASKS = {"done": 5}  # of a phase, at least


def rotate(mesh: Mesh, root: str, *arguments: str, **variables) -> Run:
    return mesh.play(PLAYBOOK, *arguments,
                     variables={"pki_root_issuer_name": root, **FAST, **variables})  # fmt: skip


def rotate_as_in_guide(mesh: Mesh, part: str, **variables) -> Run:
    """Run the command of the guide that contains this text. Its root is NEW."""
    playbook, *arguments = playbook_arguments(GUIDE, part)
    assert f"pki_root_issuer_name={NEW}" in arguments
    return mesh.play(playbook, *arguments, variables={**FAST, **variables})


def kill_rotations(mesh: Mesh, phases: Sequence[str], seed: int, variables: dict) -> None:
    """Start a rotation for each phase, and end the run with SIGKILL at a task that the seed selects.

    Tasks are counted from the beginning of the phase, or of the next one if the phase is finished. A run can end before
    such a task, but not more than one.
    """
    chosen = random.Random(seed)  # noqa: S311 - no secret
    names = []
    for phase in phases:
        number = chosen.randint(1, TASKS.get(phase, 15))
        heads = [f"Run the tasks of the phase {one}]" for one in PHASES[PHASES.index(phase) :]]
        names.append(mesh.kill(PLAYBOOK, number, variables, after=heads))
        print(f"kill at task {number} of the phase {phase}: {names[-1] or 'not killed'}")
    assert names.count("") <= 1, mesh.runs[-1].output[-3000:]


def vault_root(mesh: Mesh, name: str, mount: str = "pki") -> str:
    return mesh.vault("GET", f"{mount}/issuer/{name}/json")[1]["data"]["certificate"].strip()


def assert_mesh_is_below(mesh: Mesh, root: str, tmp_path: Path, mount: str = "pki") -> None:
    """ConfigMap and identity issuer by openssl, everything else by verify.yml."""
    pem = vault_root(mesh, root, mount)
    assert mesh.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt").strip() == pem
    (tmp_path / "root.pem").write_text(pem)
    (tmp_path / "issuer.pem").write_bytes(base64.b64decode(mesh.data("secret", "linkerd-identity-issuer", "tls.crt")))
    mesh.run("openssl", "verify", "-CAfile", str(tmp_path / "root.pem"), str(tmp_path / "issuer.pem"))
    verified = mesh.play("playbooks/verify.yml", variables={"pki_root_issuer_name": root, "pki_vault_mount": mount})
    assert verified.rc == 0, verified.output[-3000:]
