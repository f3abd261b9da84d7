# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify.yml writes report.prom before it fails, also if neither Vault nor a cluster responds."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from support.plays import THIS_HOST

ROOT = Path(__file__).resolve().parents[2]
CLOSED = "http://127.0.0.1:1"
VARIABLES = {
    **THIS_HOST,
    "pki_vault_address": CLOSED,
    "pki_vault": {},
    "pki_kubernetes": {"host": CLOSED, "api_key": "none"},
    "pki_verify_wait": 0,
}


def test_metrics_are_written_although_nothing_responds(promtool, tmp_path):
    hosts = {"vault": {"hosts": {"v": {}}}, "clusters": {"hosts": {"berlin": {}, "oslo": {}}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": hosts, "vars": VARIABLES}}))
    started = time.time()
    command = ["ansible-playbook", "playbooks/verify.yml", "-i", str(tmp_path / "hosts.json")]
    done = subprocess.run(
        [*command, "-e", f"pki_report_dir={tmp_path}"],
        cwd=ROOT, env={**os.environ, "KUBECONFIG": "/dev/null"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    text = (tmp_path / "report.prom").read_text()
    assert promtool("check", "metrics", input=text).returncode == 0
    lines = text.splitlines()
    for labels in (f'vault="{CLOSED}",code="vault_unreadable"', 'cluster="oslo",code="cluster_unreadable"'):
        assert f'servicemesh_pki_disagreements{{{labels},allowed="false"}} 1' in lines
    assert f'servicemesh_pki_verification_success{{vault="{CLOSED}"}} 0' in lines
    [at] = [line for line in lines if line.startswith("servicemesh_pki_verification_timestamp_seconds")]
    assert started - 1 <= float(at.split()[-1]) <= time.time()
