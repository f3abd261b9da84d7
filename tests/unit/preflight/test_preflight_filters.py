# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trust anchors that trust-manager would leave out of the ConfigMap, so that the run would wait for them in vain."""

from __future__ import annotations

from datetime import timedelta

import pytest
from worlds import CLUSTER, NOW, certificate, deployment, empty, release, requested

from ansible_collections.servicemesh.pki.plugins.module_utils._prerequisites import facts
from ansible_collections.servicemesh.pki.plugins.plugin_utils._preflight.evaluate import evaluate

ROOT, OLD, LEAF = certificate("root", number=300), certificate("old"), certificate("leaf", number=300, is_ca=False)
LATER = NOW + timedelta(days=400)  # OLD has expired


def filtered(found, extra=(OLD, LEAF), now=LATER, **changes):
    """The common names of the trust anchors that are refused."""
    linkerd = {"anchors": [ROOT["certificate"]], "extra_anchors": [one["certificate"] for one in extra]}
    configuration = requested(linkerd=linkerd)
    for name, change in changes.items():
        configuration[name] |= change
    problems = evaluate(CLUSTER, found, configuration, None, now)["problems"]
    assert {one["code"] for one in problems} <= {"anchor_filtered"}
    return [one["object"].partition("CN=")[2].partition(" ")[0] for one in problems]


@pytest.mark.parametrize(("filters", "expected"), [
    ([], []), (["expired"], ["old"]), (["non_ca"], ["leaf"]), (["expired", "non_ca"], ["leaf", "old"]),
])  # fmt: skip
def test_a_trust_manager_of_others_distributes_every_trust_anchor(filters, expected):
    of_others = empty(deployments=[deployment("trust-manager", filters=filters)])
    assert filtered(of_others) == expected
    assert filtered(of_others, extra=(ROOT,)) == []
    assert filtered(of_others, extra=(OLD,), now=NOW) == []


def test_the_role_linkerd_alone_is_checked_too():
    found = empty(deployments=[deployment("trust-manager", filters=["expired"])])
    linkerd = {**requested()["linkerd"], "extra_anchors": [OLD["certificate"]]}
    problems = evaluate(CLUSTER, found, {"linkerd": linkerd}, None, LATER)["problems"]
    assert [one["code"] for one in problems] == ["anchor_filtered"]
    problem = problems[0]["message"]
    assert "filterExpiredCertificates" in problem and "pki_extra_trust_anchors" in problem
    # With objects from Git, the run does not wait for the ConfigMap.
    in_git = {**linkerd, "is_in_git": True}
    assert evaluate(CLUSTER, found, {"linkerd": in_git}, None, LATER)["problems"] == []


@pytest.mark.parametrize("enabled", [True, False])
def test_the_values_that_the_run_writes_decide(enabled):
    """The release of the collection is upgraded, so its present arguments do not count."""
    own = empty(
        releases=[release("trust-manager", managed="installed")],
        deployments=[deployment("trust-manager", filters=[] if enabled else ["expired"])],
    )
    values = {"filterExpiredCertificates": {"enabled": enabled}}
    assert filtered(own, trust_manager={"values": values}) == ["old"] * enabled


def test_anchors_that_the_configmap_does_not_contain_are_not_compared():
    found = empty(deployments=[deployment("trust-manager", filters=["non_ca"], trust_namespace="linkerd")])
    changes = {"trust_source": "secret", "anchors": [ROOT["certificate"], LEAF["certificate"]]}
    assert filtered(found, extra=(), linkerd=changes) == []


@pytest.mark.parametrize(("argument", "expected"), [
    ("--filter-expired-certificates=true", ["expired"]), ("--filter-expired-certificates", ["expired"]),
    ("--filter-expired-certificates=false", []), ("--filter-non-ca-certs=true", ["non_ca"]), ("--other=true", []),
])  # fmt: skip
def test_the_filters_are_arguments_of_trust_manager(argument, expected):
    """trust-manager: cmd/trust-manager/app/options."""
    container = {"name": "trust-manager", "args": ["--log-level=1", argument]}
    found = {"metadata": {"name": "tm", "namespace": "ns"}, "spec": {"template": {"spec": {"containers": [container]}}}}
    [facts_of_it] = facts.deployment_facts([found])
    assert facts_of_it["filters"] == expected
