# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of the workflow on GitHub provide what their tests need. actionlint (`make workflow`) checks its syntax."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
JOBS = WORKFLOW["jobs"]
IN_CONTAINERS = [name for name, job in JOBS.items() if "container" in job]


def scripts(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def entries(job: dict[str, Any]) -> list[dict[str, str]]:
    return job["strategy"]["matrix"]["include"]


def test_cache_is_outside_the_checkout_and_under_one_path_in_and_outside_containers():
    """`github.workspace` is the path of the host, even in a container, and linters check what is in the checkout."""
    variables = [WORKFLOW.get("env", {}), *(job.get("env", {}) for job in JOBS.values())]
    assert [names for names in variables if "SERVICEMESH_PKI_CACHE" in names] == []
    steps = [step for job in JOBS.values() for step in job["steps"] if "actions/cache@" in step.get("uses", "")]
    assert len(steps) >= 4
    assert [step["with"]["path"] for step in steps if not step["with"]["path"].startswith("~/.cache/")] == []


@pytest.mark.parametrize("name", IN_CONTAINERS)
def test_lab_in_a_container_does_not_use_the_engine_of_the_host(name):
    assert JOBS[name]["env"]["DOCKER_HOST"] == "unix:///nonexistent.sock"


@pytest.mark.parametrize("name", JOBS)
def test_failure_of_each_command_fails_the_step(name):
    """The default shell ignores a failure before `|`, and every shell one after `!`."""
    shell = JOBS[name].get("defaults", {}).get("run", {}).get("shell")
    lines = [line.strip() for script in scripts(JOBS[name]) for line in script.splitlines()]
    assert [line for line in lines if line.startswith("!")] == []
    assert shell == "bash" or [line for line in lines if re.search(r"[^|]\|[^|]", line)] == []


def test_push_does_not_cancel_the_nightly_run():
    assert "github.event_name" in WORKFLOW["concurrency"]["group"]


def test_real_images_job_installs_as_in_the_readme():
    """Otherwise a library or collection that the README lacks is not noticed. The Linkerd CLI is the newest one."""
    commands = r"^pip install .+|(?<=`)ansible-galaxy collection install \./\w+|^curl .+/(?:get-helm-3|install\.sh) .+"
    required = re.findall(commands, (ROOT / "README.md").read_text(), re.M)
    assert len(required) == 4
    lines = [line for script in scripts(JOBS["real-images"]) for line in script.splitlines()]
    assert [command for command in required if command not in lines] == []


def test_long_end_to_end_tests_have_curl():
    assert "make test-lab-long" in [entry["run"] for entry in entries(JOBS["nightly"])]
    assert re.search(r"\bcurl\b", scripts(JOBS["nightly"])[0])


def test_whole_flow_runs_on_debian_13_with_each_version_of_ansible_core():
    commands = [entry["run"] for entry in entries(JOBS["nightly"]) if entry["run"].startswith("make debian13")]
    assert len(commands) == 2
    assert [command for command in commands if command != "make debian13" and " flow " not in command] == []
