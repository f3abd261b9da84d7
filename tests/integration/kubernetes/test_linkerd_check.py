# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""linkerd_check with the real CLI and a real API server without Linkerd. End-to-end tests cover a healthy mesh."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.servicemesh.pki.plugins.modules import linkerd_check
from lab import recipes


@pytest.fixture
def run(capsys):
    def call(check: bool = False, **options) -> dict:
        with patch_module_args({"_ansible_check_mode": check, **options}), pytest.raises(SystemExit):
            linkerd_check.main()
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def options(kubernetes, linkerd):
    kubeconfig = str(kubernetes.kubeconfig)
    return {"linkerd_path": str(linkerd), "kubeconfig": kubeconfig, "expected_version": recipes.LINKERD, "wait": 1}


def test_cluster_without_linkerd_fails_with_check_and_hint(run, options):
    answer = run(**options, linkerd_namespace="nowhere")
    assert answer["code"] == "checks_failed" and not answer["passed"]
    assert answer["categories"]["kubernetes-api"]["success"] == 2
    error = answer["errors"][0]
    assert error["description"] in answer["msg"] and error["hint"] in answer["msg"]


def test_check_mode_does_not_fail(run, options):
    answer = run(check=True, **options, linkerd_namespace="nowhere")
    assert not answer.get("failed") and not answer["passed"] and answer["errors"]
    assert answer["exit_code"] == 1 and "rc" not in answer  # Ansible fails a task whose result has another rc than 0


def test_unknown_context(run, options):
    answer = run(**options, context="nosuch")
    assert answer["code"] == "checks_failed" and answer["errors"][0]["category"] == "kubernetes-api"
    assert "nosuch" in answer["msg"]


def test_missing_cli(run):
    answer = run(linkerd_path="no-such-linkerd")
    assert answer["code"] == "linkerd_missing" and "no-such-linkerd" in answer["msg"]


def test_namespace_without_data_plane_is_invalid(run):
    answer = run(namespace="emojivoto")
    assert answer["code"] == "invalid_option" and "data_plane" in answer["msg"]
