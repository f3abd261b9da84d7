# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command blocks of README and guides that are marked for the lab, with the names of the tests."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from guides import ROOT, blocks, commands


@pytest.mark.parametrize("block", commands("lab"), ids=str)
def test_command_block_succeeds_in_lab(mesh, block):
    text = block.text
    for documented, used in {
        "inventories/lab": str(mesh.inventory),
        "pki-cluster": mesh.cluster,
        "http://127.0.0.1:8200": mesh.vault_url,
        "pki_report_dir=report": f"pki_report_dir={mesh.home}/report",
    }.items():
        text = text.replace(documented, used)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=ROOT, env=mesh.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


IMAGES_OF_CHARTS = {
    *(f"quay.io/jetstack/cert-manager-{part}" for part in ("controller", "webhook", "cainjector", "acmesolver")),
    "quay.io/jetstack/trust-manager",
    *(f"cr.l5d.io/linkerd/{part}" for part in ("controller", "proxy", "proxy-init", "policy-controller")),
}


def test_mirror_guide_lists_every_image(mesh, tmp_path):
    """The charts of the lab are those of upstream."""
    page = [block for block in blocks() if block.page == "docs/guides/air-gapped.md"]
    (listing,) = [block.text for block in page if "helm template" in block.text]
    for chart in mesh.parts["charts"].values():
        shutil.copy(chart, tmp_path / f"{Path(chart).stem}-v1.tgz")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", listing],
        cwd=tmp_path, env=mesh.env, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = {image.rpartition(":")[0] for image in done.stdout.splitlines()}
    assert listed == IMAGES_OF_CHARTS

    example = yaml.safe_load(next(block.text for block in page if block.language == "yaml"))
    mirrored = {re.sub("^[^/]+", "mirror.example.com", image) for image in listed}
    assert {f"{example['linkerd_image_registry']}/{name}" for name in ("controller", "proxy")} <= mirrored
    assert {f"{example['cert_manager_image_registry']}/jetstack/cert-manager-controller"} <= mirrored
    fetched = "".join(block.text for block in page if block.is_command)
    assert Path(example["linkerd_gateway_api_crds"]).name in fetched
