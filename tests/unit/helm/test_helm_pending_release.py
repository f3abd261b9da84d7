# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module helm_pending_release with a stand-in for helm."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

UNREACHABLE = (
    'Error: Kubernetes cluster unreachable: Get "https://127.0.0.1:6443/version": dial tcp 127.0.0.1:6443: connect: '
    "connection refused\n"
)


@pytest.fixture
def helm(make_standin):
    return make_standin("helm", Path(__file__).with_name("standin_helm.py"))


def seconds_ago(seconds: int) -> str:
    return (datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pending(helm, **releases):
    """Set the pending releases with their status, all updated a minute ago."""
    helm.write("status", json.dumps({"info": {"deleted": ""}}))
    helm.write(
        "pending",
        json.dumps(
            [
                {
                    "name": name.replace("_", "-"),
                    "status": status,
                    "revision": "4",
                    "updated": seconds_ago(60),
                }
                for name, status in releases.items()
            ]
        ),
    )


def actions(helm):
    """The calls that change a release."""
    return [call for call in helm.calls() if not {"list", "status"} & set(call)]


def test_no_pending_release(helm, ok):
    result = ok("helm_pending_release", releases=["cert-manager"], namespace="cert-manager")
    assert (result["changed"], result["cleared"]) == (False, [])
    assert actions(helm) == []


@pytest.mark.parametrize(
    ("status", "action", "option"),
    [
        ("pending-install", "rollback", "4"),
        ("pending-upgrade", "rollback", "--wait"),
        ("pending-rollback", "rollback", "--wait"),
        ("uninstalling", "uninstall", "--wait"),
    ],
)
def test_pending_release_is_cleared(helm, ok, status, action, option):
    pending(helm, cert_manager=status)
    arguments = {"releases": ["cert-manager"], "namespace": "cert-manager", "grace": 30}
    predicted = ok("helm_pending_release", check=True, **arguments)
    assert actions(helm) == []
    done = ok("helm_pending_release", **arguments)
    assert [one["action"] for one in predicted["cleared"]] == [action]
    age = done["cleared"][0].pop("age")
    assert 60 <= age < 90
    assert done["cleared"] == [{"release": "cert-manager", "status": status, "action": action, "revision": 4}]
    assert (predicted["changed"], done["changed"], predicted["diff"]) == (True, True, done["diff"])
    assert [call[2:] for call in actions(helm)] == [[action, "cert-manager", option]]
    for check in (False, True):
        assert not ok("helm_pending_release", check=check, **arguments)["changed"]


def test_other_releases_are_not_changed(helm, ok):
    pending(helm, other="pending-install")
    assert not ok("helm_pending_release", releases=["cert-manager"], namespace="cert-manager")["changed"]
    assert actions(helm) == []


@pytest.mark.parametrize("options", [{}, {"grace": 90}])
def test_release_within_grace_is_an_error_with_its_age(helm, ok, result_of, options):
    pending(helm, cert_manager="pending-upgrade")
    arguments = {"releases": ["cert-manager"], "namespace": "cert-manager"}
    for check in (True, False):
        result = result_of("helm_pending_release", check=check, **arguments, **options)
        assert result["failed"] and result["code"] == "release_in_progress"
        assert [one["release"] for one in result["pending"]] == ["cert-manager"]
        assert 60 <= result["pending"][0]["age"] < 90
        assert "cert-manager" in result["msg"] and "pending-upgrade" in result["msg"]
    assert actions(helm) == []
    assert ok("helm_pending_release", grace=30, **arguments)["changed"]


def test_one_release_within_grace_prevents_all_changes(helm, result_of):
    pending(helm, one="pending-install", two="pending-install")
    assert result_of("helm_pending_release", releases=["one", "two"], namespace="n")["code"] == "release_in_progress"
    assert actions(helm) == []


def test_cluster_and_namespace_are_passed_to_helm(helm, ok, tmp_path):
    ok("helm_pending_release", releases=["r"], namespace="n", kubeconfig=str(tmp_path / "k"), context="c")
    assert helm.calls()[0][:7] == [
        "--namespace", "n", "--kubeconfig", str(tmp_path / "k"), "--kube-context", "c", "list",
    ]  # fmt: skip


def test_missing_helm(only_standins, result_of):
    result = result_of("helm_pending_release", releases=["r"], namespace="n")
    assert result["code"] == "helm_missing" and "helm_path" in result["msg"]


def test_unreachable_cluster(helm, result_of):
    helm.write("fail", UNREACHABLE)
    result = result_of("helm_pending_release", releases=["r"], namespace="n")
    assert result["code"] == "helm_failed"
    assert "namespace n" in result["msg"] and "connection refused" in result["msg"] and "kubeconfig" in result["msg"]


def test_other_failure_has_no_advice_about_kubeconfig(helm, result_of):
    helm.write("fail", "Error: query: failed to query with labels: secrets is forbidden\n")
    result = result_of("helm_pending_release", releases=["r"], namespace="n")
    assert result["code"] == "helm_failed"
    assert result["msg"].endswith("secrets is forbidden.") and "kubeconfig" not in result["msg"]


@pytest.mark.parametrize(
    "entries",
    [7, [1], [{"name": "a"}], [{"name": "a", "status": "deployed", "updated": "x"}]]
    + [[{"name": "a", "status": "pending-install", "updated": time}] for time in ("yesterday", None, "")],
)
def test_unexpected_list_is_an_error(helm, result_of, entries):
    helm.write("pending", json.dumps(entries))
    result = result_of("helm_pending_release", releases=["a"], namespace="mesh")
    assert result["failed"] and result["code"] == "unreadable_output"
    assert "mesh" in result["msg"]
    assert actions(helm) == []


def test_a_removal_is_as_old_as_its_begin(helm, result_of):
    """`helm list` shows when the release was deployed."""
    pending(helm, cert_manager="uninstalling")
    helm.write("status", json.dumps({"info": {"deleted": seconds_ago(5)}}))
    result = result_of("helm_pending_release", releases=["cert-manager"], namespace="cert-manager", grace=30)
    assert result["code"] == "release_in_progress" and 5 <= result["pending"][0]["age"] < 30
    assert actions(helm) == []
