# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module helm_unfinished with a stand-in for helm."""

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


def pending(helm, **releases):
    """Releases with their status, all touched a minute ago."""
    moment = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(seconds=60)
    helm.write(
        "pending",
        json.dumps(
            [
                {"name": name.replace("_", "-"), "status": status, "updated": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
                for name, status in releases.items()
            ]
        ),
    )


def acted(helm):
    return [call for call in helm.calls() if "list" not in call]


def test_nothing_is_pending(helm, ok):
    result = ok("helm_unfinished", releases=["cert-manager"], namespace="cert-manager")
    assert (result["changed"], result["cleared"]) == (False, [])
    assert acted(helm) == []


@pytest.mark.parametrize(
    ("status", "action"),
    [("pending-install", "uninstall"), ("pending-upgrade", "rollback"), ("pending-rollback", "rollback")],
)
def test_a_pending_release_four_ways(helm, ok, status, action):
    pending(helm, cert_manager=status)
    arguments = {"releases": ["cert-manager"], "namespace": "cert-manager", "grace": 30}
    foretold = ok("helm_unfinished", check=True, **arguments)
    assert acted(helm) == []
    done = ok("helm_unfinished", **arguments)
    assert [one["action"] for one in foretold["cleared"]] == [action]
    age = done["cleared"][0].pop("age")
    assert 60 <= age < 90
    assert done["cleared"] == [{"release": "cert-manager", "status": status, "action": action}]
    assert (foretold["changed"], done["changed"], foretold["diff"]) == (True, True, done["diff"])
    assert [call[2:] for call in acted(helm)] == [[action, "cert-manager", "--wait"]]
    for check in (False, True):
        assert not ok("helm_unfinished", check=check, **arguments)["changed"]


def test_other_releases_are_left_alone(helm, ok):
    pending(helm, other="pending-install")
    assert not ok("helm_unfinished", releases=["cert-manager"], namespace="cert-manager")["changed"]
    assert acted(helm) == []


@pytest.mark.parametrize("options", [{}, {"grace": 90}])
def test_a_release_that_another_helm_may_work_on_is_refused_with_its_age(helm, ok, result_of, options):
    pending(helm, cert_manager="pending-upgrade")
    arguments = {"releases": ["cert-manager"], "namespace": "cert-manager"}
    for check in (True, False):
        result = result_of("helm_unfinished", check=check, **arguments, **options)
        assert result["failed"] and result["code"] == "release_in_progress"
        assert [one["release"] for one in result["pending"]] == ["cert-manager"]
        assert 60 <= result["pending"][0]["age"] < 90
        assert "cert-manager has been pending-upgrade for 6" in result["msg"]
    assert acted(helm) == []
    assert ok("helm_unfinished", grace=30, **arguments)["changed"]


def test_one_young_release_leaves_all_as_they_are(helm, result_of):
    pending(helm, one="pending-install", two="pending-install")
    assert result_of("helm_unfinished", releases=["one", "two"], namespace="n")["code"] == "release_in_progress"
    assert acted(helm) == []


def test_cluster_and_namespace_are_handed_on(helm, ok, tmp_path):
    ok("helm_unfinished", releases=["r"], namespace="n", kubeconfig=str(tmp_path / "k"), context="c")
    assert helm.calls()[0][:7] == [
        "--namespace", "n", "--kubeconfig", str(tmp_path / "k"), "--kube-context", "c", "list",
    ]  # fmt: skip


def test_helm_missing(only_standins, error):
    assert error("helm_unfinished", releases=["r"], namespace="n") == (
        "Helm is not installed: no program 'helm' in PATH. Install it (https://helm.sh) or name it in helm_path."
    )


def test_cluster_unreachable(helm, error):
    helm.write("fail", UNREACHABLE)
    message = error("helm_unfinished", releases=["r"], namespace="n")
    assert message.startswith("helm list failed in namespace n: Kubernetes cluster unreachable: ")
    assert message.endswith("connection refused. Is the cluster running, and is this its kubeconfig?")


def test_another_failure_is_not_taken_for_a_cluster_that_cannot_be_reached(helm, error):
    helm.write("fail", "Error: query: failed to query with labels: secrets is forbidden\n")
    message = error("helm_unfinished", releases=["r"], namespace="n")
    assert message == "helm list failed in namespace n: query: failed to query with labels: secrets is forbidden."


@pytest.mark.parametrize(
    "entries",
    [7, [1], [{"name": "a"}], [{"name": "a", "status": "deployed", "updated": "x"}]]
    + [[{"name": "a", "status": "pending-install", "updated": when}] for when in ("yesterday", None, "")],
)
def test_a_list_in_another_form_is_an_error(helm, result_of, entries):
    helm.write("pending", json.dumps(entries))
    result = result_of("helm_unfinished", releases=["a"], namespace="mesh")
    assert result["failed"] and result["code"] == "unreadable_output"
    assert "mesh" in result["msg"]
    assert acted(helm) == []
