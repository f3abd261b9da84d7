# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from the objects of a cluster."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from readings import EARLIER, ISSUER, LATER, NEXT, ROOT, WRITTEN, config_map, encoded, pod, secret

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources

KEY = ROOT.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def names(group: dict) -> list[str]:
    return [one["common_name"] for one in group["certificates"]]


def test_anchors_of_the_config_map():
    found = sources.anchors_source(config_map(ROOT, NEXT), "mesh")
    assert found["where"] == "ConfigMap mesh/linkerd-identity-trust-roots"
    assert [one["certificate"] for one in found["certificates"]] == [ROOT.pem, NEXT.pem]
    assert (found["problem"], found["changed_at"]) == ("", WRITTEN)


def test_without_managed_fields_the_creation_counts():
    found = config_map(ROOT)
    del found["metadata"]["managedFields"]
    assert sources.changed_at(found) == EARLIER


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "does not exist"),
        (config_map(other="x"), "has no key ca-bundle.crt"),
        (config_map(**{"ca-bundle.crt": "garbage"}), "cannot be read: No certificate found"),
        (config_map(**{"ca-bundle.crt": ROOT.pem + KEY}), "cannot be read: The input holds a private key"),
    ],
)
def test_anchors_that_are_none(found, problem):
    told = sources.anchors_source(found, "linkerd")
    assert told["certificates"] == []
    assert told["problem"].startswith(problem)
    assert not any(line in str(told) for line in KEY.splitlines()[1:-1])


def test_what_could_not_be_read_is_told_as_it_was():
    assert sources.anchors_source(None, "linkerd", "does not exist")["problem"] == "does not exist"


def test_the_key_in_the_secret_is_not_looked_at():
    found = secret(ISSUER, ROOT)
    told = [sources.secret_source(found, "linkerd", key) for key in ("tls.crt", "ca.crt")]
    assert [one["certificates"][0]["certificate"] for one in told] == [ISSUER.pem, ROOT.pem]
    assert encoded("not to be seen") not in str(told)
    assert "not to be seen" not in str(told)


@pytest.mark.parametrize(
    ("data", "problem"),
    [({}, "is empty or does not exist"), ({"ca.crt": ""}, "is empty"), ({"ca.crt": "!"}, "is not base64")],
)
def test_a_secret_that_lacks_something(data, problem):
    told = sources.secret_source({"metadata": {}, "data": data}, "linkerd", "ca.crt")
    assert told["problem"].startswith(problem)
    assert told["certificates"] == []


def test_the_time_of_renewal():
    assert sources.renewal_time({"status": {"renewalTime": LATER}}) == LATER
    assert sources.renewal_time({}) is sources.renewal_time(None) is None


def test_pods_with_the_same_anchors_stand_together():
    pods = [pod("b", ROOT.pem), pod("a", ROOT.pem, native=True), pod("c", NEXT.pem), pod("d", NEXT.pem + ROOT.pem)]
    groups = sources.pod_groups([*pods, pod("e", ROOT.pem + NEXT.pem)], WRITTEN)
    assert [group["pods"] for group in groups] == [
        ["emojivoto/a", "emojivoto/b"],
        ["emojivoto/d", "emojivoto/e"],  # the order in the bundle means nothing
        ["emojivoto/c"],
    ]
    assert {group["evidence"] for group in groups} == {"spec"}
    assert names(groups[0]) == ["root.linkerd.cluster.local"]


def test_pods_that_are_over_or_going_or_without_a_proxy_are_left_out():
    over = pod("over", ROOT.pem)
    over["status"]["phase"] = "Succeeded"
    going = pod("going", ROOT.pem, deletionTimestamp=LATER)
    plain = pod("plain", ROOT.pem)
    plain["spec"]["containers"][1]["name"] = "other"
    assert sources.pod_groups([over, going, plain], WRITTEN) == []


@pytest.mark.parametrize(
    ("started", "changed", "evidence"),
    [
        (LATER, WRITTEN, "started_after"),
        (EARLIER, WRITTEN, "started_before"),
        (WRITTEN, WRITTEN, "started_before"),  # in the same second: not known
        (None, WRITTEN, "started_after"),  # it has not started yet
        (LATER, None, "started_before"),  # there is no ConfigMap any more
    ],
)
def test_what_is_known_of_the_control_plane(started, changed, evidence):
    one = pod("linkerd-destination-0")
    one["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": started}} if started else {"waiting": {}}
    assert [group["evidence"] for group in sources.pod_groups([one], changed)] == [evidence]


def test_the_identity_controller_read_the_anchors_when_its_own_container_started():
    one = pod("linkerd-identity-0")
    controller = {"name": "identity", "state": {"running": {"startedAt": EARLIER}}}
    one["status"]["containerStatuses"].append(controller)
    assert sources.pod_groups([one], WRITTEN)[0]["evidence"] == "started_before"


def test_anchors_of_a_pod_that_cannot_be_read():
    group = sources.pod_groups([pod("web-0", "garbage")], WRITTEN)[0]
    assert group["certificates"] == []
    assert "No certificate found" in group["problem"]
