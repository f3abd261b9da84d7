# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rotate_trust_anchor.yml on three clusters, one of which does not respond for a while. Oracles: Vault and kubectl."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.lab import until
from support.mesh import Mesh

NEW = "linkerd-root-2"
BUNDLE = "linkerd-identity-trust-roots"


class Fleet(Mesh):
    """Three clusters below one Vault."""

    name = "fleet"
    suffixes = ("", "-2", "-3")

    def in_cluster(self, name: str, *arguments: str) -> str:
        kubeconfig = self.kubeconfig.with_name(f"kubeconfig-{name}.yaml")
        return self.run("kubectl", f"--kubeconfig={kubeconfig}", *arguments)

    def anchors(self, name: str) -> dict[str, str]:
        """Data and version of the ConfigMap with the trust anchors."""
        found = json.loads(self.in_cluster(name, "get", "configmap", BUNDLE, "-n", "linkerd", "--output=json"))
        return {"version": found["metadata"]["resourceVersion"], "pem": found["data"]["ca-bundle.crt"].strip()}

    def rotate(self, **variables):
        given = {"pki_root_issuer_name": NEW, "rotation_restart_again": True, **variables}
        return self.play("playbooks/rotate_trust_anchor.yml", variables=given)


@pytest.fixture
def fleet(unchanged_machine) -> Iterator[Fleet]:
    with Fleet.sandbox() as fleet:
        created = fleet.play("playbooks/site.yml")
        assert created.rc == 0, created.output[-4000:]
        yield fleet


def test_a_cluster_that_does_not_respond_stops_all_until_it_is_back(fleet):
    *others, last = fleet.names.clusters
    paused = fleet.rotate(rotation_pause_after_phase=1)
    assert paused.rc == 0 and "Phase 2 of 7" in paused.flat, paused.output[-3000:]
    before = {name: fleet.anchors(name) for name in others}

    fleet.run("k3d", "cluster", "stop", last)
    refused = fleet.rotate()
    assert refused.rc != 0 and f"{last}: The cluster cannot be read" in refused.flat, refused.output[-3000:]
    assert {name: fleet.anchors(name) for name in others} == before

    fleet.run("k3d", "cluster", "start", last)
    until(lambda: "linkerd" in fleet.in_cluster(last, "get", "namespaces"))
    fleet.in_cluster(last, "wait", "pods", "--all", "-n", "linkerd", "--for=condition=Ready", "--timeout=300s")
    done = fleet.rotate()
    assert done.rc == 0, done.output[-4000:]
    print(
        *(line.strip() for line in done.output.splitlines() if " min " in line or line.strip().endswith(' s"')),
        sep="\n",
    )
    root = fleet.vault("GET", f"pki/issuer/{NEW}/json")[1]["data"]["certificate"].strip()
    assert {fleet.anchors(name)["pem"] for name in fleet.names.clusters} == {root}
    verified = fleet.play("playbooks/verify.yml", variables={"pki_root_issuer_name": NEW})
    assert verified.rc == 0, verified.output[-3000:]
