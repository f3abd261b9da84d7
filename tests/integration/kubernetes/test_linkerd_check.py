# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real CLI against a real API server that has no Linkerd; the healthy case is the demo's."""

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


def test_a_cluster_without_linkerd_fails_with_the_checks_name_and_page(run, options):
    answer = run(**options, linkerd_namespace="nowhere")
    assert answer["failed"] and not answer["passed"]
    assert answer["categories"]["kubernetes-api"]["success"] == 2
    assert "linkerd.io/2/checks/#" in answer["msg"]
    assert answer["errors"] and answer["errors"][0]["description"] in answer["msg"]


def test_check_mode_reports_without_failing(run, options):
    answer = run(check=True, **options, linkerd_namespace="nowhere")
    assert not answer.get("failed") and not answer["passed"] and answer["errors"]


def test_a_context_that_is_not_there(run, options):
    answer = run(**options, context="nosuch")
    assert answer["failed"] and "kubernetes-api" in answer["msg"] and "nosuch" in answer["msg"]


def test_no_cli_is_one_sentence(run):
    answer = run(linkerd_path="linkerd-that-is-not-there")
    assert "CLI is not installed" in answer["msg"]


def test_a_namespace_without_data_plane_is_refused(run):
    assert "set data_plane to true" in run(namespace="emojivoto")["msg"]
